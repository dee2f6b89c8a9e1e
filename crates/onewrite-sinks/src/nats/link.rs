//! One connection to a NATS server, from logging in until it breaks for the first time.
//!
//! The client connects anew by itself and then sends what was left in its queue. A sink has nothing to reconnect inside, so
//! the client's second try to log in is refused before it says a word, and it ends; and whoever waits for an answer is told
//! as soon as the client notices that the connection is gone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{
    AuthError, Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Request, ServerInfo,
};
use bytes::Bytes;
use onewrite_core::error::{Action, SinkError, chain};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::settings::{ENCRYPTED, PLAIN, Settings};
use crate::endpoint::Endpoint;
use crate::limits::{NATS_CONNECT_TIME, NATS_CONNECT_TIMEOUT, NATS_DENIAL_GRACE};
use crate::turns::{ConnectLimit, Turns};

/// A connection that was logged in.
pub(super) struct Link {
    client: Client,
    state: Arc<State>,
    server: String,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The user may not publish to this subject.
    Denied(String),
    /// The server refused its size, and closed the connection for it.
    TooLarge(String),
    /// Nobody listens to the subject.
    NoResponders,
    /// Not in time.
    Silent,
    /// The connection is of no more use.
    Ended(SinkError),
}

impl Link {
    /// Connects to the server whose turn it is, or to the first after it that takes a connection.
    ///
    /// # Errors
    /// The one that a person must do something about, if there is one; else those of all servers.
    pub(super) async fn open(settings: &Arc<Settings>, turns: &Turns) -> Result<Self, SinkError> {
        let limit = ConnectLimit {
            whole: NATS_CONNECT_TIME,
            each: NATS_CONNECT_TIMEOUT,
        };
        let opening = turns.connect(&settings.urls, limit, |url| Self::open_at(settings, url));
        opening.await
    }

    async fn open_at(settings: &Arc<Settings>, url: &Endpoint) -> Result<Self, SinkError> {
        let scheme = if settings.encrypted { ENCRYPTED } else { PLAIN };
        let server = format!("{}://{url}", scheme.name);
        let state = Arc::new(State::default());
        let options = options(settings, &server, &state)
            .tls_client_config(settings.tls.client_aside().await?)
            // What it takes is limited by whoever waits for it.
            .connection_timeout(NATS_CONNECT_TIMEOUT);
        match options.connect(server.as_str()).await {
            Ok(client) => {
                state.connected.store(true, Ordering::SeqCst);
                Ok(Self { client, state, server })
            }
            Err(error) => Err(refused(settings, &server, error)),
        }
    }

    /// The server that it goes to, as the options name it.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The client, for questions of another kind than those below.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// What the server said of itself.
    pub(super) fn info(&self) -> ServerInfo {
        self.client.server_info()
    }

    /// Most bytes of a message, headers included.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Sends a message and waits for its answer.
    pub(super) async fn request(
        &self,
        subject: &str,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Bytes, NoAnswer> {
        let mut waiting = self
            .state
            .wait(subject, payload.len() + headers.as_ref().map_or(0, header_bytes))?;
        let mut request = Request::new().payload(payload).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let mut asked = std::pin::pin!(timeout(limit, self.client.send_request(subject.to_owned(), request)));
        let answered = tokio::select! {
            biased;
            answered = &mut asked => answered,
            verdict = &mut waiting.verdict => {
                let verdict = verdict.unwrap_or_else(|_| NoAnswer::Ended(SinkError::reconnect("the connection ended")));
                if !matches!(verdict, NoAnswer::Denied(_)) {
                    return Err(verdict);
                }
                // It may be about another message to this subject, from when the user still might: then an answer is under way.
                match timeout(NATS_DENIAL_GRACE, &mut asked).await {
                    Ok(answered) => answered,
                    Err(_) => return Err(verdict),
                }
            }
        };
        match answered {
            Err(_) => Err(NoAnswer::Silent),
            Ok(Ok(message)) => Ok(message.payload),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => NoAnswer::NoResponders,
                RequestErrorKind::TimedOut => NoAnswer::Silent,
                RequestErrorKind::MaxPayloadExceeded => NoAnswer::TooLarge(error.to_string()),
                RequestErrorKind::InvalidSubject | RequestErrorKind::Other => {
                    let ended = SinkError::reconnect(format!("the connection to {} ended", self.server));
                    NoAnswer::Ended(ended.because(error))
                }
            }),
        }
    }

    /// Lets nothing more be sent; what is under way may still be answered.
    pub(super) fn send_no_more(&self, words: &str) {
        let mut waiting = self.state.lock();
        waiting
            .ended
            .get_or_insert_with(|| (Action::Reconnect, words.to_owned()));
    }

    /// Ends the connection after what was sent. What else it is asked for ends with it.
    pub(super) async fn end(&self) {
        self.state
            .lock()
            .end(Action::Reconnect, "the sink was closed".to_owned());
        // An error: it has ended already.
        let _ = self.client.drain().await;
    }
}

/// What is known of a connection, and who waits for an answer on it.
#[derive(Default)]
struct State {
    connected: AtomicBool,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    requests: HashMap<u64, Asked>,
    next: u64,
    /// Why the connection is of no more use.
    ended: Option<(Action, String)>,
    /// The last error that the server told.
    last_words: Option<String>,
}

struct Asked {
    subject: String,
    bytes: usize,
    verdict: oneshot::Sender<NoAnswer>,
}

/// A place among those who wait, until it is dropped.
struct Place<'a> {
    state: &'a State,
    number: u64,
    verdict: oneshot::Receiver<NoAnswer>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.state.lock().requests.remove(&self.number);
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, subject: &str, bytes: usize) -> Result<Place<'_>, NoAnswer> {
        let (sender, verdict) = oneshot::channel();
        let mut waiting = self.lock();
        if let Some((action, words)) = &waiting.ended {
            return Err(NoAnswer::Ended(SinkError::new(*action, words.clone())));
        }
        let number = waiting.next;
        waiting.next += 1;
        let asked = Asked {
            subject: subject.to_owned(),
            bytes,
            verdict: sender,
        };
        waiting.requests.insert(number, asked);
        Ok(Place {
            state: self,
            number,
            verdict,
        })
    }

    /// Takes in what the client tells of the connection.
    fn hear(&self, server: &str, inbox_prefix: &str, event: &Event) {
        let mut waiting = self.lock();
        match event {
            Event::Disconnected | Event::Closed => {
                let told = waiting.last_words.take();
                let told = told.map_or(String::new(), |words| format!("; the server had said: {words}"));
                waiting.end(Action::Reconnect, format!("the connection to {server} broke{told}"));
            }
            Event::ServerError(error) => {
                let words = error.to_string();
                let words = words.trim_start_matches("nats: ");
                waiting.refusal(inbox_prefix, words);
                waiting.last_words = Some(words.to_owned());
            }
            _ => {}
        }
    }
}

impl Waiting {
    /// Tells all who wait, and all who come, that the connection is of no more use; the first reason stays.
    fn end(&mut self, action: Action, words: String) {
        let (action, words) = self.ended.get_or_insert((action, words));
        for (_, asked) in self.requests.drain() {
            // Who went away need not be told.
            let _ = asked
                .verdict
                .send(NoAnswer::Ended(SinkError::new(*action, words.clone())));
        }
    }

    /// Tells those whom an error of the server concerns, which names no message.
    fn refusal(&mut self, inbox_prefix: &str, words: &str) {
        if words.eq_ignore_ascii_case("maximum payload violation") {
            // The server ends the connection at the first such message: the largest that is unanswered is over its limit.
            let largest = self.requests.iter().max_by_key(|(_, asked)| asked.bytes);
            if let Some(number) = largest.map(|(number, _)| *number) {
                self.tell(number, NoAnswer::TooLarge(words.to_owned()));
            }
            return;
        }
        if let Some(subject) = quoted(words, "Permissions Violation for Publish to ") {
            let concerned = self.requests.iter().filter(|(_, asked)| asked.subject == subject);
            let concerned: Vec<u64> = concerned.map(|(number, _)| *number).collect();
            for number in concerned {
                self.tell(number, NoAnswer::Denied(words.to_owned()));
            }
        } else if quoted(words, "Permissions Violation for Subscription to ")
            .or_else(|| quoted(words, "Permissions Violation for Publish with Reply of "))
            .is_some_and(|subject| subject.starts_with(inbox_prefix))
        {
            let advice = format!(
                "{words}: no acknowledgement can reach this client; let its user subscribe to {inbox_prefix}.>, or set \
                 inbox_prefix to what it may subscribe to"
            );
            self.end(Action::Halt, advice);
        }
    }

    fn tell(&mut self, number: u64, verdict: NoAnswer) {
        if let Some(asked) = self.requests.remove(&number) {
            // Who went away need not be told.
            let _ = asked.verdict.send(verdict);
        }
    }
}

/// The subject behind such a beginning, which the server writes in quotes, with escapes as JSON has them.
fn quoted(words: &str, beginning: &str) -> Option<String> {
    let rest = words.strip_prefix(beginning)?;
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
    values.next()?.ok()
}

/// Any words of a server name a subject or none.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(bytes: &[u8]) {
    quoted(&String::from_utf8_lossy(bytes), "");
}

/// Headers as the server counts them.
fn header_bytes(headers: &HeaderMap) -> usize {
    let values = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    values
        .map(|(name, value)| AsRef::<str>::as_ref(name).len() + value.as_str().len() + 4)
        .sum()
}

fn options(settings: &Arc<Settings>, server: &str, state: &Arc<State>) -> ConnectOptions {
    let (login, connection) = (Arc::clone(settings), Arc::clone(state));
    let answer = move |nonce: Vec<u8>| {
        let (login, connection) = (Arc::clone(&login), Arc::clone(&connection));
        async move {
            if connection.connected.load(Ordering::SeqCst) {
                return Err(AuthError::new("a connection that broke is not made again"));
            }
            let answer = tokio::task::spawn_blocking(move || login.login.answer(&nonce)).await;
            answer.unwrap_or_else(|error| Err(AuthError::new(error)))
        }
    };
    let (state, settings, server) = (Arc::clone(state), Arc::clone(settings), server.to_owned());
    let (prefix, encrypted, tls_first) = (settings.inbox_prefix.clone(), settings.encrypted, settings.tls_first);
    let options = ConnectOptions::with_auth_callback(answer)
        .name("onewrite")
        .event_callback(move |event| {
            state.hear(&server, &settings.inbox_prefix, &event);
            std::future::ready(())
        })
        .custom_inbox_prefix(prefix)
        .require_tls(encrypted)
        // The one try of `connect` itself; what follows is refused by the answer above at the latest.
        .max_reconnects(1)
        .ignore_discovered_servers();
    if tls_first { options.tls_first() } else { options }
}

/// What it means that a server could not be connected to.
fn refused(settings: &Settings, server: &str, error: ConnectError) -> SinkError {
    let words = chain(&error);
    let lower = words.to_ascii_lowercase();
    let ended = [
        "authentication expired",
        "authentication revoked",
        "authorization violation",
    ];
    if error.kind() == ConnectErrorKind::AuthorizationViolation || ended.iter().any(|words| lower.contains(words)) {
        let words = format!(
            "{server} refuses the login; {}",
            settings.login.advice(settings.tls.has_client_certificate())
        );
        return SinkError::halt(words).because(error);
    }
    if !settings.encrypted && (lower.contains("certificate") || lower.contains("handshake")) {
        let words = format!("{server} wants TLS, which nats:// does not promise; use tls://");
        return SinkError::halt(words).because(error);
    }
    SinkError::reconnect(format!("cannot connect to {server}")).because(error)
}
