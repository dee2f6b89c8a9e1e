//! The subscriber of the demo: a small HTTP server with a database of its own, where each event takes effect through the inbox.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rusqlite::{Connection, TransactionBehavior};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use uuid::Uuid;

/// The name under which the subscriber keeps its inbox.
const CONSUMER: &str = "demo-subscriber";

/// How the subscriber behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// It takes every event and says so.
    Well,
    /// It answers 503 to everything.
    Refusing,
    /// It takes every event, but cuts the connection instead of every third reply.
    LosingReplies,
}

impl fmt::Display for Mood {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Well => "is well",
            Self::Refusing => "answers 503",
            Self::LosingReplies => "loses replies",
        })
    }
}

/// A running subscriber; dropping it ends it.
pub struct Subscriber {
    url: String,
    state: Arc<Mutex<State>>,
    server: AbortHandle,
}

struct State {
    mood: Mood,
    database: Connection,
    deliveries: Vec<Uuid>,
    seen: HashSet<Uuid>,
}

impl Subscriber {
    /// Starts it on a free loopback port.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut database = Connection::open(folder.join("subscriber.db"))?;
        onewrite::sqlite::migrate(&mut database)?;
        database.pragma_update(None, "synchronous", "NORMAL")?;
        database.execute_batch(
            "CREATE TABLE effect (event_id TEXT NOT NULL, account TEXT NOT NULL, amount INTEGER NOT NULL)",
        )?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/events", listener.local_addr()?);
        let state = State {
            mood: Mood::Well,
            database,
            deliveries: Vec::new(),
            seen: HashSet::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let server = tokio::spawn(serve(listener, state.clone())).abort_handle();
        Ok(Self { url, state, server })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Changes how it behaves.
    pub fn set_mood(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// How it behaves.
    pub fn mood(&self) -> Mood {
        self.state().mood
    }

    /// How many different events have arrived.
    pub fn distinct(&self) -> u64 {
        self.state().seen.len() as u64
    }

    /// All events in the order in which they arrived, repetitions included.
    pub fn deliveries(&self) -> Vec<Uuid> {
        self.state().deliveries.clone()
    }

    /// How often each event took effect.
    pub fn effects(&self) -> anyhow::Result<HashMap<Uuid, u64>> {
        let state = self.state();
        let mut statement = state
            .database
            .prepare("SELECT event_id, count(*) FROM effect GROUP BY event_id")?;
        let mut rows = statement.query([])?;
        let mut effects = HashMap::new();
        while let Some(row) = rows.next()? {
            effects.insert(row.get::<_, String>(0)?.parse()?, row.get::<_, i64>(1)?.cast_unsigned());
        }
        Ok(effects)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("the subscriber does not panic")
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    // A failed accept (such as too many open files) passes; the relay simply tries again.
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_connection(stream, state.clone()));
        }
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| answer(request, state.clone()));
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // A lost reply ends a connection on purpose.
    drop(served);
}

/// An error that makes the server cut the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the reply is lost on purpose")]
struct LostReply;

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, LostReply> {
    let id = header(&request, "onewrite-id").and_then(|id| id.parse::<Uuid>().ok());
    let Ok(body) = request.into_body().collect().await else {
        return Err(LostReply);
    };
    let body = body.to_bytes();
    let taken = tokio::task::spawn_blocking(move || {
        let mut state = state.lock().expect("the subscriber does not panic");
        take(&mut state, id, &body)
    });
    match taken.await {
        Ok(Ok(Some(status))) => Ok(respond(status, "")),
        Ok(Ok(None)) => Err(LostReply),
        Ok(Err(error)) => Ok(respond(StatusCode::BAD_REQUEST, &format!("{error:#}"))),
        Err(_) => Ok(respond(StatusCode::INTERNAL_SERVER_ERROR, "the subscriber panicked")),
    }
}

/// Takes an event, or does not; `None` means that the reply is to be lost.
fn take(state: &mut State, id: Option<Uuid>, body: &[u8]) -> anyhow::Result<Option<StatusCode>> {
    if state.mood == Mood::Refusing {
        return Ok(Some(StatusCode::SERVICE_UNAVAILABLE));
    }
    let id = id.context("the header onewrite-id is missing or no UUID")?;
    let body: serde_json::Value = serde_json::from_slice(body)?;
    apply(&mut state.database, id, &body)?;
    state.deliveries.push(id);
    state.seen.insert(id);
    let lost = state.mood == Mood::LosingReplies && state.deliveries.len().is_multiple_of(3);
    Ok((!lost).then_some(StatusCode::NO_CONTENT))
}

/// The consumer's one transaction: the inbox and the effect together.
fn apply(database: &mut Connection, id: Uuid, body: &serde_json::Value) -> anyhow::Result<()> {
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if onewrite::sqlite::receive(&transaction, CONSUMER, id)? {
        let (account, amount) = (body["account"].as_str(), body["amount"].as_i64());
        transaction.execute(
            "INSERT INTO effect VALUES (?1, ?2, ?3)",
            (id.to_string(), account, amount),
        )?;
    }
    Ok(transaction.commit()?)
}

fn header<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn respond(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(words.as_bytes())));
    *response.status_mut() = status;
    response
}
