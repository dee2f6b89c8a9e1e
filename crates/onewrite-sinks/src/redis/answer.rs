//! What a server's refusals mean.

use onewrite_core::error::{Action, SinkError};
use redis::{ServerError, Value};

use crate::endpoint::Endpoint;

/// A refusal; unlike an error it can be said of several events.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub action: Action,
    pub words: String,
}

impl Refusal {
    pub(super) fn new(action: Action, words: impl Into<String>) -> Self {
        Self {
            action,
            words: words.into(),
        }
    }

    pub(super) fn error(&self) -> SinkError {
        SinkError::new(self.action, self.words.clone())
    }
}

/// Where a cluster sends a transaction instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    pub slot: u16,
    pub to: Endpoint,
    /// Whether only this once, because the slot is on its way.
    pub asking: bool,
}

/// The server's own words.
pub(super) fn words(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

/// What is to be done about a refusal; `what` is what was refused, such as `the stream "shop.orders"`.
pub(super) fn judge(what: &str, error: &ServerError) -> Refusal {
    let (code, details) = parts(error);
    let retry = Action::Retry { after: None };
    let (action, advice) = match code {
        "WRONGTYPE" => (Action::Park, "; what has this name is no stream"),
        "NOPERM" if details.contains("key") => (
            Action::Park,
            "; the user may not write to it: give it the pattern ~NAME, or name another stream",
        ),
        "NOPERM" => (Action::Halt, "; give the user this command"),
        "NOAUTH" => (Action::Halt, "; set password"),
        "WRONGPASS" => (Action::Halt, "; check user and password"),
        "DENIED" => (Action::Halt, "; set a password on the server, or bind it to an address"),
        "READONLY" => (Action::Reconnect, "; it has become a replica"),
        "MOVED" | "ASK" => (Action::Reconnect, "; it belongs to a cluster, set mode = \"cluster\""),
        "CLUSTERDOWN" => (
            Action::Reconnect,
            "; the cluster has lost slots, or this server its majority",
        ),
        "OOM" => (retry, "; its memory is full: raise maxmemory, or trim the streams"),
        "MISCONF" => (retry, "; it cannot save to its disk"),
        "NOREPLICAS" => (retry, "; too few replicas are connected"),
        "ERR" if details.starts_with("unknown command") => (
            Action::Halt,
            "; the sink needs Redis 5 or later, or Valkey, with this command not renamed",
        ),
        "ERR" if starts_with_any(details, &["invalid password", "AUTH ", "Client sent AUTH"]) => {
            (Action::Halt, "; check user and password")
        }
        "ERR" if starts_with_any(details, &["DB index", "SELECT is not allowed"]) => {
            (Action::Halt, "; check database, which is 0 in a cluster")
        }
        "ERR" if details.starts_with("max number of clients") => (Action::Reconnect, ""),
        _ => (retry, ""),
    };
    Refusal::new(action, format!("{what} was refused: {}{advice}", words(error)))
}

/// Code and details. What is refused at `EXEC` alone is within the words of another refusal: `EXECABORT Transaction discarded because
/// of: OOM command not allowed …`.
fn parts(error: &ServerError) -> (&str, &str) {
    let details = error.details().unwrap_or_default();
    let inner = details.split_once("because of: ").map(|(_, inner)| inner);
    match inner {
        Some(inner) if error.code() == "EXECABORT" => inner.split_once(' ').unwrap_or((inner, "")),
        _ => (error.code(), details),
    }
}

/// Where a cluster wants this to go, if that is what it answers. An empty host stands for the one that answered.
pub(super) fn redirect(error: &ServerError, answered: &Endpoint) -> Option<Redirect> {
    let asking = match error.code() {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let (slot, address) = error.details()?.split_once(' ')?;
    let mut to = Endpoint::told(address)?;
    if to.host.is_empty() {
        to.host.clone_from(&answered.host);
    }
    Some(Redirect {
        slot: slot.parse().ok()?,
        to,
        asking,
    })
}

/// The error that a reply is, if it is one.
pub(super) fn refused(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}

fn starts_with_any(text: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| text.starts_with(beginning))
}

/// Any reply is a refusal, a redirection, slots, entries, or none of them.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(value) = redis::parse_redis_value(bytes) else {
        return;
    };
    let asked = Endpoint {
        host: "localhost".to_owned(),
        port: 6379,
    };
    if let Some(error) = refused(&value) {
        assert!(judge("the stream", error).words.contains(&words(error)));
        redirect(error, &asked);
    }
    if let Some(slots) = super::slots::Slots::read(&value, &asked) {
        let owned = (0..16_384).filter(|slot| slots.owner(*slot).is_some()).count();
        assert_eq!(owned + slots.uncovered(), 16_384);
    }
    super::readback::fuzz(&value);
}
