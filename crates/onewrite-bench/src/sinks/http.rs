//! An HTTP endpoint in this process that answers 200 to everything, by reqwest.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::headers;
use crate::workload::Workload;

/// Requests under way at once, as the sink has it.
const WINDOW: usize = 64;

pub struct Subject {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Subject {
    /// An endpoint on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("a port")?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener));
        Ok(Self {
            address,
            _serving: serving,
        })
    }
}

async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    Ok(Response::new(Empty::new()))
}

#[async_trait(?Send)]
impl super::Subject for Subject {
    fn sink(&self) -> String {
        format!("type = \"http\"\nurl = \"http://{}/\"", self.address)
    }

    async fn alone(&self, workload: Arc<Workload>, events: usize) -> Result<f64> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{}/", self.address);
        let began = Instant::now();
        stream::iter(0..events)
            .map(|number| {
                let mut request = client.post(&url).body(workload.payload(number).clone());
                for (name, value) in headers(number) {
                    request = request.header(name, value);
                }
                async move {
                    let response = request.send().await?;
                    let status = response.status();
                    ensure!(status.is_success(), "the endpoint answered {status}");
                    response.bytes().await?;
                    Ok(())
                }
            })
            .buffer_unordered(WINDOW)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        Ok(began.elapsed().as_secs_f64())
    }
}
