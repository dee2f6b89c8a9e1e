//! An HTTP server of the test's own, for answers that no real one gives on demand.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

/// A server; it ends with the test's runtime.
pub struct Stub {
    port: u16,
    /// Its certificate as PEM, where it speaks TLS.
    pub certificate: Option<String>,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// A request that came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(found, _)| found == name).map(|(_, value)| &**value)
    }
}

/// What is answered.
pub struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    pub fn new(status: u16, body: &str) -> Self {
        Self {
            status,
            body: body.to_owned(),
        }
    }
}

impl Stub {
    /// A server that answers so.
    pub async fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::listening(answer, None, None).await
    }

    /// The same over TLS, with a certificate for 127.0.0.1 that it gave itself.
    pub async fn encrypted(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = made.signing_key.serialize_der().try_into().unwrap();
        let config = ServerConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self::listening(answer, Some(TlsAcceptor::from(Arc::new(config))), Some(made.cert.pem())).await
    }

    async fn listening(
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
        certificate: Option<String>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, answer, tls) = (Arc::clone(&noted), Arc::clone(&answer), tls.clone());
                // A client that goes away in the middle is none of the server's concern.
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &noted, &*answer).await.ok(),
                        Some(tls) => serve(tls.accept(stream).await.ok()?, &noted, &*answer).await.ok(),
                    }
                });
            }
        });
        Self {
            port,
            certificate,
            seen,
        }
    }

    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/", self.port)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(&Request) -> Answer + Send + Sync),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = Request::default();
        if stream.read_line(&mut request.line).await? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            request.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let length = request
            .header("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        request.body.resize(length, 0);
        stream.read_exact(&mut request.body).await?;
        let Answer { status, body } = answer(&request);
        seen.lock().unwrap().push(request);
        let text = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).await?;
    }
}
