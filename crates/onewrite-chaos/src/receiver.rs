//! An HTTP endpoint that keeps what it is sent, and can be killed in the middle of a request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::broker::Broker;
use crate::limits::POISON_PAYLOAD;

/// The endpoint. What it has kept outlives its being killed, as what a server has written to its disk does.
pub struct Receiver {
    address: SocketAddr,
    kept: Arc<Kept>,
    serving: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Kept {
    ids: Mutex<Vec<Uuid>>,
    refusing: AtomicBool,
}

impl Receiver {
    /// One that has kept nothing yet.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let receiver = Self {
            address: listener.local_addr().expect("an address"),
            kept: Arc::default(),
            serving: Mutex::default(),
        };
        receiver.serve(listener);
        receiver
    }

    fn serve(&self, listener: TcpListener) {
        let mut serving = self.serving.lock().expect("nobody panics");
        serving.spawn(serve(listener, self.kept.clone()));
    }
}

async fn serve(listener: TcpListener, kept: Arc<Kept>) {
    // Connections end with the task that holds them.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let kept = kept.clone();
        let service = service_fn(move |request| keep(request, kept.clone()));
        connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn keep(request: Request<Incoming>, kept: Arc<Kept>) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let answer = |status| {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = status;
        Ok(response)
    };
    if kept.refusing.load(Ordering::SeqCst) {
        return answer(StatusCode::SERVICE_UNAVAILABLE);
    }
    if body.len() >= POISON_PAYLOAD {
        return answer(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let id = head.headers["onewrite-id"].to_str().ok().and_then(|id| id.parse().ok());
    kept.ids
        .lock()
        .expect("nobody panics")
        .push(id.expect("an id is a UUID"));
    // Killed here, it has kept what it never acknowledged.
    tokio::task::yield_now().await;
    answer(StatusCode::OK)
}

#[async_trait]
impl Broker for Receiver {
    fn port(&self) -> u16 {
        self.address.port()
    }

    fn sink_at(&self, port: u16) -> String {
        format!("type = \"http\"\nurl = \"http://127.0.0.1:{port}/\"")
    }

    async fn kill(&self) {
        let mut serving = std::mem::take(&mut *self.serving.lock().expect("nobody panics"));
        serving.shutdown().await;
    }

    async fn start_again(&self) {
        self.serve(TcpListener::bind(self.address).await.expect("the same port"));
    }

    async fn delivered(&self, _topic: &str) -> Vec<Uuid> {
        self.kept.ids.lock().expect("nobody panics").clone()
    }

    async fn count(&self, _topic: &str) -> Option<u64> {
        Some(self.kept.ids.lock().expect("nobody panics").len() as u64)
    }

    async fn refuse(&self, _topic: &str, on: bool) {
        self.kept.refusing.store(on, Ordering::SeqCst);
    }

    fn refuses_large(&self) -> bool {
        true
    }
}
