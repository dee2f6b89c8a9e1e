//! An HTTP endpoint that keeps what it is sent, and can be killed in the middle of a request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::end_to_end::broker::Broker;

/// The endpoint. What it has kept outlives its being killed, as what a server has written to its disk does.
pub struct Receiver {
    address: SocketAddr,
    kept: Arc<Mutex<Vec<Uuid>>>,
    serving: Mutex<JoinSet<()>>,
}

impl Receiver {
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

async fn serve(listener: TcpListener, kept: Arc<Mutex<Vec<Uuid>>>) {
    // Connections end with the task that holds them.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let kept = kept.clone();
        let service = service_fn(move |request| keep(request, kept.clone()));
        connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn keep(request: Request<Incoming>, kept: Arc<Mutex<Vec<Uuid>>>) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    body.collect().await?;
    let id = head.headers["onewrite-id"].to_str().ok().and_then(|id| id.parse().ok());
    kept.lock().expect("nobody panics").push(id.expect("an id is a UUID"));
    // Killed here, it has kept what it never acknowledged.
    tokio::task::yield_now().await;
    Ok(Response::new(Empty::new()))
}

#[async_trait]
impl Broker for Receiver {
    fn sink(&self, _topic: &str) -> String {
        format!("type = \"http\"\nurl = \"http://{}/\"", self.address)
    }

    async fn kill(&self) {
        let mut serving = std::mem::take(&mut *self.serving.lock().expect("nobody panics"));
        serving.shutdown().await;
    }

    async fn start_again(&self) {
        self.serve(TcpListener::bind(self.address).await.expect("the same port"));
    }

    async fn delivered(&self, _topic: &str) -> Vec<Uuid> {
        self.kept.lock().expect("nobody panics").clone()
    }
}
