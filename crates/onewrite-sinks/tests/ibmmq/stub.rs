//! A stand-in for mqweb, written from IBM's reference of the messaging REST API: what the reference does not allow is refused, so a
//! sink that passes has at least sent nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::reference::{Message, Target, message, target};

pub const USER: &str = "onewrite";
pub const PASSWORD: &str = "hunter2-secret";

/// What the server refuses, and how: status, MQWB number, reason code.
pub type Refusal = (u16, &'static str, u32);

/// A queue: what it holds, and what is wrong with it.
#[derive(Default)]
pub struct Queue {
    pub messages: Vec<Message>,
    /// How it refuses what it is sent.
    pub refuses: Option<Refusal>,
    /// Most bytes of a message, MAXMSGL.
    pub message_bytes_max: Option<usize>,
    /// Messages after which it refuses as `refuses` says.
    pub after: usize,
}

/// The server's state, which outlives its crashes.
pub struct State {
    pub queue_manager: String,
    pub queues: BTreeMap<String, Queue>,
    pub topics: BTreeMap<String, Vec<Message>>,
    pub password: String,
    /// Whether the user has the role MQWebUser.
    pub role: bool,
    /// An answer to every put, in place of what the API would say: status and body.
    pub instead: Option<(u16, String)>,
    /// Whether a put is carried out and its answer lost with the connection.
    pub lose_answers: bool,
    /// Requests so far.
    pub requests: usize,
    /// Requests to put that the reference does not allow, with the reason.
    pub not_allowed: Vec<String>,
}

/// The server. It ends with the value.
pub struct Stub {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    acceptor: Option<TlsAcceptor>,
    tasks: JoinSet<()>,
}

impl Stub {
    /// A server of the queue manager `QM.1` with these queues.
    pub async fn start(queues: &[&str]) -> Self {
        Self::start_with(queues, None).await
    }

    /// The same behind TLS.
    pub async fn encrypted(queues: &[&str], acceptor: TlsAcceptor) -> Self {
        Self::start_with(queues, Some(acceptor)).await
    }

    async fn start_with(queues: &[&str], acceptor: Option<TlsAcceptor>) -> Self {
        let queues = queues.iter().map(|name| ((*name).to_owned(), Queue::default()));
        let state = State {
            queue_manager: "QM.1".to_owned(),
            queues: queues.collect(),
            topics: BTreeMap::new(),
            password: PASSWORD.to_owned(),
            role: true,
            instead: None,
            lose_answers: false,
            requests: 0,
            not_allowed: Vec::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut stub = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(state)),
            acceptor,
            tasks: JoinSet::new(),
        };
        stub.listen(listener);
        stub
    }

    pub fn url(&self) -> String {
        let scheme = if self.acceptor.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Looks at the state, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// The messages of a queue.
    pub fn messages(&self, queue: &str) -> Vec<Message> {
        self.with(|state| state.queues[queue].messages.clone())
    }

    /// Ends the server as a crash does: connections break, and what is not persistent is gone.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
        self.with(|state| {
            for queue in state.queues.values_mut() {
                queue.messages.retain(|message| message.persistent);
            }
        });
    }

    /// Starts it at the same address.
    pub async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listen(listener);
    }

    fn listen(&mut self, listener: TcpListener) {
        let (state, acceptor) = (Arc::clone(&self.state), self.acceptor.clone());
        self.tasks.spawn(async move {
            // Dropped with this task, and the connections with it.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, acceptor) = (Arc::clone(&state), acceptor.clone());
                connections.spawn(async move {
                    match acceptor {
                        None => serve(state, stream).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(state, stream).await;
                            }
                        }
                    }
                });
            }
        });
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(state: Arc<Mutex<State>>, stream: S) {
    let service = service_fn(move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
            let path = head.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
            let mut state = state.lock().unwrap();
            state.requests += 1;
            let answer = state.answer(&head.method, &path, &head.headers, &body);
            if state.lose_answers {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted));
            }
            Ok(answer)
        }
    });
    // An error is a connection that the client or the test has broken, which is what many tests are about.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Answer = Response<Full<Bytes>>;

impl State {
    fn answer(&mut self, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) -> Answer {
        let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{}", self.password)));
        let authorization = headers.get("authorization").map(|value| value.to_str().unwrap());
        if authorization != Some(&expected) {
            return refusal(
                (401, "MQWB0104E", 0),
                "The user is not authenticated; you sent hunter2-secret",
            );
        }
        if method == Method::GET {
            return self.look(path);
        }
        if let Some((status, body)) = &self.instead {
            return answer(*status, body.clone());
        }
        if !self.role {
            return refusal(
                (403, "MQWB0108E", 0),
                "The user is in no role that may use the resource",
            );
        }
        if !headers.contains_key("ibm-mq-rest-csrf-token") {
            self.not_allowed.push("no ibm-mq-rest-csrf-token".to_owned());
            return refusal((403, "MQWB0109E", 0), "The CSRF token is missing");
        }
        let read = target(path).and_then(|target| Ok((message(target.version, headers, body)?, target)));
        match read {
            _ if method != Method::POST => answer(405, String::new()),
            Err((status, problem)) => {
                self.not_allowed.push(problem.clone());
                refusal((status, "MQWB0302E", 0), &problem)
            }
            Ok((message, target)) => self.put(&target, message),
        }
    }

    fn put(&mut self, target: &Target, message: Message) -> Answer {
        if target.queue_manager != self.queue_manager {
            return refusal((503, "MQWB0300E", 2058), "Cannot create messaging connection");
        }
        if target.topic {
            self.topics.entry(target.name.clone()).or_default().push(message);
            return put();
        }
        let Some(queue) = self.queues.get_mut(&target.name) else {
            return refusal((404, "MQWB0303E", 2085), "MQRC_UNKNOWN_OBJECT_NAME");
        };
        if let Some(refused) = queue.refuses.filter(|_| queue.messages.len() >= queue.after) {
            return refusal(refused, "The queue refuses");
        }
        if queue.message_bytes_max.is_some_and(|most| message.body.len() > most) {
            return refusal((500, "MQWB0303E", 2030), "MQRC_MSG_TOO_BIG_FOR_Q");
        }
        queue.messages.push(message);
        put()
    }

    fn look(&self, path: &str) -> Answer {
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["", "ibmmq", "rest", "v1" | "v2" | "v3", "login"] => answer(
                200,
                format!("{{\"user\": [{{\"name\": {USER:?}, \"role\": [\"MQWebUser\"]}}]}}"),
            ),
            [
                "",
                "ibmmq",
                "rest",
                "v2" | "v3",
                "messaging",
                "qmgr",
                _,
                "queue",
                queue,
                "messagelist?limit=1",
            ] => match self.queues.get(queue) {
                Some(queue) if queue.refuses == Some((403, "MQWB0303E", 2035)) => {
                    refusal((403, "MQWB0303E", 2035), "MQRC_NOT_AUTHORIZED")
                }
                Some(_) => answer(200, "{\"messages\": []}".to_owned()),
                None => refusal((404, "MQWB0303E", 2085), "MQRC_UNKNOWN_OBJECT_NAME"),
            },
            _ => answer(404, "no such resource".to_owned()),
        }
    }
}

fn put() -> Answer {
    let mut answer = answer(201, String::new());
    let id = "414d5120514d4144455620202020202067d8ce5923582f07";
    answer.headers_mut().insert("ibm-mq-md-messageid", id.parse().unwrap());
    answer
}

fn refusal((status, id, reason): Refusal, message: &str) -> Answer {
    let error = serde_json::json!({
        "type": "rest",
        "msgId": id,
        "message": format!("{id}: {message}"),
        "explanation": "",
        "action": "Resubmit the request, correcting any issues.",
        "completionCode": 2,
        "reasonCode": reason,
    });
    answer(status, serde_json::json!({ "error": [error] }).to_string())
}

fn answer(status: u16, body: String) -> Answer {
    let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
    response.unwrap()
}
