//! A server whose answers are a function's.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// Status and body for headers and body.
type Handler = dyn Fn(HeaderMap, Bytes) -> (u16, String) + Send + Sync;

/// The server. It ends with the value, and its connections with it.
pub struct Server {
    pub address: String,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    pub async fn start(
        acceptor: Option<TlsAcceptor>,
        handler: impl Fn(HeaderMap, Bytes) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let handler: Arc<Handler> = Arc::new(handler);
        let task = tokio::spawn(async move {
            // Dropped with this task, and the connections with it.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (handler, acceptor) = (Arc::clone(&handler), acceptor.clone());
                connections.spawn(async move {
                    match acceptor {
                        None => serve(handler, stream).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(handler, stream).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

async fn serve<S>(handler: Arc<Handler>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = Arc::clone(&handler);
        async move {
            let (head, body) = request.into_parts();
            let (status, said) = handler(head.headers, body.collect().await?.to_bytes());
            let said = Full::new(Bytes::from(said));
            Ok::<_, hyper::Error>(Response::builder().status(status).body(said).unwrap())
        }
    });
    // An error is a connection that the client has broken.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
