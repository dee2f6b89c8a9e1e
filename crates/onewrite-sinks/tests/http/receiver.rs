//! An HTTP server on 127.0.0.1 that does what a test tells it to.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

/// How long a test waits for a fact.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Takes the events and answers with this status.
    Take(u16),
    /// Takes the events and closes the connection: the answer is lost.
    TakeAndDrop,
    /// Takes those events that are not among these, and answers 200 with this body.
    TakeBut(Vec<Uuid>, String),
    /// Takes nothing and answers.
    Refuse(u16, Vec<(&'static str, String)>, String),
    /// Takes nothing and closes the connection.
    Drop,
    /// Takes nothing and never answers.
    Hang,
    /// Takes the events once the test opens the gate.
    Gate,
    /// Takes the events and answers 200 after this time.
    Late(Duration),
    /// Answers with this status and a body without end.
    Endless(u16),
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The events in it: id and key.
    pub events: Vec<(Uuid, Option<String>)>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Script = Box<dyn FnMut(&Received) -> Reply + Send>;

struct State {
    script: Script,
    seen: Vec<Received>,
    taken: Vec<(Uuid, Option<String>)>,
    keys_under_way: HashSet<String>,
    under_way: usize,
    most_under_way: usize,
    overlaps: Vec<String>,
    connections: usize,
}

/// The server. It ends with the value.
pub struct Receiver {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    gate: watch::Sender<bool>,
    changes: watch::Receiver<u64>,
    server: Server,
    tasks: JoinSet<()>,
}

impl Receiver {
    /// A server that takes everything.
    pub async fn new() -> Self {
        Self::scripted(|_| Reply::Take(200)).await
    }

    /// A server that asks `script` about each request.
    pub async fn scripted(script: impl FnMut(&Received) -> Reply + Send + 'static) -> Self {
        Self::start(script, None).await
    }

    /// The same behind TLS.
    pub async fn encrypted(acceptor: TlsAcceptor) -> Self {
        Self::start(|_| Reply::Take(200), Some(acceptor)).await
    }

    async fn start(script: impl FnMut(&Received) -> Reply + Send + 'static, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            script: Box::new(script),
            seen: Vec::new(),
            taken: Vec::new(),
            keys_under_way: HashSet::new(),
            under_way: 0,
            most_under_way: 0,
            overlaps: Vec::new(),
            connections: 0,
        }));
        let (gate, opened) = watch::channel(false);
        let (changed, changes) = watch::channel(0);
        let server = Server {
            state: Arc::clone(&state),
            opened,
            changed,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(server.clone().accept(listener, acceptor));
        Self {
            server,
            address,
            state,
            gate,
            changes,
            tasks,
        }
    }

    /// Ends the server as a crash does.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Starts it at the same address.
    pub async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.tasks.spawn(self.server.clone().accept(listener, None));
    }

    pub fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// Changes what the server does from now on.
    pub fn script(&self, script: impl FnMut(&Received) -> Reply + Send + 'static) {
        self.state.lock().unwrap().script = Box::new(script);
    }

    /// Lets all [`Reply::Gate`] requests through.
    pub fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Received> {
        self.state.lock().unwrap().seen.clone()
    }

    /// The ids of the events it took, in the order in which it took them, repetitions included.
    pub fn taken(&self) -> Vec<Uuid> {
        self.state.lock().unwrap().taken.iter().map(|(id, _)| *id).collect()
    }

    pub fn most_under_way(&self) -> usize {
        self.state.lock().unwrap().most_under_way
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Waits until the server has seen `count` requests.
    pub async fn wait_seen(&self, count: usize) {
        self.wait(|state| state.seen.len() >= count, &format!("{count} requests"))
            .await;
    }

    /// Waits until the server has accepted `count` connections.
    pub async fn wait_connections(&self, count: usize) {
        self.wait(|state| state.connections >= count, &format!("{count} connections"))
            .await;
    }

    /// Waits until the server has taken `count` events.
    pub async fn wait_taken(&self, count: usize) {
        self.wait(|state| state.taken.len() >= count, &format!("{count} taken events"))
            .await;
    }

    /// Checks that no two requests of one key were under way at once, and that the first taking of each key's events is
    /// in ascending order of their ids.
    pub fn check_order(&self) {
        let overlaps = self.state.lock().unwrap().overlaps.clone();
        assert_eq!(overlaps, Vec::<String>::new(), "keys with two requests at once");
        self.check_first_takings();
    }

    /// Checks the order of first takings alone: after a cancelled request the server may see the next one before it sees
    /// that the first was given up.
    pub fn check_first_takings(&self) {
        let state = self.state.lock().unwrap();
        let mut seen = HashSet::new();
        let mut last: HashMap<&str, Uuid> = HashMap::new();
        for (id, key) in &state.taken {
            if let Some(key) = key
                && seen.insert(id)
                && let Some(before) = last.insert(key, *id)
            {
                assert!(before < *id, "key {key}: {id} was taken after {before}");
            }
        }
    }

    async fn wait(&self, fact: impl Fn(&State) -> bool, what: &str) {
        let mut changes = self.changes.clone();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                if fact(&self.state.lock().unwrap()) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        assert!(waited.is_ok(), "the server did not see {what} within {DEADLINE:?}");
    }
}

#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    opened: watch::Receiver<bool>,
    changed: watch::Sender<u64>,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

impl Server {
    async fn accept(self, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
        // Dropped with this task, and the connections with it.
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            self.state.lock().unwrap().connections += 1;
            self.changed.send_modify(|count| *count += 1);
            let server = self.clone();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                match acceptor {
                    None => server.serve(stream).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            server.serve(stream).await;
                        }
                    }
                }
            });
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) {
        let service = service_fn(move |request| {
            let server = self.clone();
            async move { server.handle(request).await }
        });
        // An error is a connection that the client or the script has broken, which is what many tests are about.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn handle(self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let received = Received {
            events: events_of(&head.headers, &body),
            method: head.method,
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body,
        };
        let (reply, _under_way) = self.begin(&received);
        self.answer(reply, &received).await
    }

    fn begin(&self, received: &Received) -> (Reply, UnderWay) {
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        let keys: Vec<String> = received.events.iter().filter_map(|(_, key)| key.clone()).collect();
        for key in &keys {
            if !state.keys_under_way.insert(key.clone()) {
                state.overlaps.push(key.clone());
            }
        }
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
        state.seen.push(received.clone());
        let reply = (state.script)(received);
        self.changed.send_modify(|count| *count += 1);
        let under_way = UnderWay {
            state: Arc::clone(&self.state),
            keys,
        };
        (reply, under_way)
    }

    async fn answer(&self, mut reply: Reply, received: &Received) -> io::Result<Response<Body>> {
        if let Reply::Gate = reply {
            self.opened.clone().wait_for(|open| *open).await.unwrap();
            reply = Reply::Take(200);
        }
        let dropped = || Err(io::ErrorKind::ConnectionAborted.into());
        match reply {
            Reply::Take(status) => {
                self.take(received, &[]);
                Ok(response(status, &[], String::new()))
            }
            Reply::Late(after) => {
                tokio::time::sleep(after).await; // slow on purpose
                self.take(received, &[]);
                Ok(response(200, &[], String::new()))
            }
            Reply::TakeBut(rejected, body) => {
                self.take(received, &rejected);
                Ok(response(200, &[], body))
            }
            Reply::TakeAndDrop => {
                self.take(received, &[]);
                dropped()
            }
            Reply::Refuse(status, headers, body) => Ok(response(status, &headers, body)),
            Reply::Endless(status) => Ok(endless(status)),
            Reply::Drop => dropped(),
            Reply::Hang | Reply::Gate => std::future::pending().await,
        }
    }

    fn take(&self, received: &Received, rejected: &[Uuid]) {
        let taken = received.events.iter().filter(|(id, _)| !rejected.contains(id));
        self.state.lock().unwrap().taken.extend(taken.cloned());
        self.changed.send_modify(|count| *count += 1);
    }
}

/// A request under way; the client may go away at any moment, which drops it.
struct UnderWay {
    state: Arc<Mutex<State>>,
    keys: Vec<String>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.state.lock().unwrap();
        state.under_way -= 1;
        for key in &self.keys {
            state.keys_under_way.remove(key);
        }
    }
}

fn events_of(headers: &HeaderMap, body: &[u8]) -> Vec<(Uuid, Option<String>)> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| Some(value.to_str().ok()?.to_owned()))
    };
    if let Some(id) = text("onewrite-id") {
        return vec![(id.parse().unwrap(), text("onewrite-key"))];
    }
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let array = json.as_array().cloned().unwrap_or_default();
    let event = |json: &serde_json::Value| {
        let key = json["key"].as_str().map(str::to_owned);
        (json["id"].as_str().unwrap().parse().unwrap(), key)
    };
    array.iter().map(event).collect()
}

fn response(status: u16, headers: &[(&'static str, String)], body: String) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(Full::new(Bytes::from(body)).boxed_unsync()).unwrap()
}

fn endless(status: u16) -> Response<Body> {
    let chunk = || Ok(Frame::data(Bytes::from_static(&[b'x'; 8192])));
    let stream: Pin<Box<dyn futures::Stream<Item = _> + Send>> = Box::pin(futures::stream::repeat_with(chunk));
    Response::builder()
        .status(status)
        .body(StreamBody::new(stream).boxed_unsync())
        .unwrap()
}
