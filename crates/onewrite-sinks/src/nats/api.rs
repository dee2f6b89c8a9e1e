//! Questions to the JetStream API.

use bytes::Bytes;
use onewrite_core::error::SinkError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{ApiError, NO_MESSAGE};
use super::link::{Link, NoAnswer};
use super::settings::Settings;

/// Which stream takes a subject.
#[derive(Debug)]
pub(super) enum Listener {
    None,
    Stream(String),
    /// The reason why it cannot be told.
    Unknown(String),
}

/// The last message of a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Last {
    /// Its sequence; 0 where the stream holds none.
    pub sequence: u64,
    /// Its headers as they are on the wire.
    pub headers: Vec<u8>,
}

/// Why a question has no answer that helps.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The connection is of no more use.
    Ended(SinkError),
    /// JetStream said so.
    Refused(ApiError),
    /// Anything else, in words.
    Unknown(String),
}

/// The error that an answer tells of.
pub(super) fn error(answer: &[u8]) -> Option<ApiError> {
    #[derive(Deserialize)]
    struct Body {
        error: Option<ApiError>,
    }
    serde_json::from_slice::<Body>(answer).ok()?.error
}

/// Asks the JetStream API, such as `STREAM.NAMES`.
pub(super) async fn ask(settings: &Settings, link: &Link, request: &str, body: &Value) -> Result<Value, Unanswered> {
    let subject = format!("{}.{request}", settings.api);
    let asked = link.request(&subject, None, Bytes::from(body.to_string()), settings.ack_timeout);
    match asked.await {
        Ok(answer) => match error(&answer) {
            Some(error) => Err(Unanswered::Refused(error)),
            None => serde_json::from_slice(&answer)
                .map_err(|error| Unanswered::Unknown(format!("the answer on {subject} makes no sense: {error}"))),
        },
        Err(NoAnswer::Ended(error)) => Err(Unanswered::Ended(error)),
        Err(NoAnswer::Denied(words) | NoAnswer::TooLarge(words)) => Err(Unanswered::Unknown(words)),
        Err(NoAnswer::NoResponders) => Err(Unanswered::Unknown(format!("nobody answers on {subject}"))),
        Err(NoAnswer::Silent) => Err(Unanswered::Unknown(format!("no answer on {subject} in time"))),
    }
}

/// Which stream takes a subject, also when it has no leader that would listen.
///
/// # Errors
/// When the connection is of no more use.
pub(super) async fn listener(settings: &Settings, link: &Link, subject: &str) -> Result<Listener, SinkError> {
    match ask(settings, link, "STREAM.NAMES", &json!({ "subject": subject })).await {
        Ok(answer) => Ok(match answer["streams"].as_array().and_then(|names| names.first()) {
            Some(Value::String(name)) => Listener::Stream(name.clone()),
            _ => Listener::None,
        }),
        Err(Unanswered::Ended(error)) => Err(error),
        Err(Unanswered::Refused(error)) => Ok(Listener::Unknown(error.words())),
        Err(Unanswered::Unknown(words)) => Ok(Listener::Unknown(words)),
    }
}

/// The last message of a subject in a stream.
pub(super) async fn last(settings: &Settings, link: &Link, stream: &str, subject: &str) -> Result<Last, Unanswered> {
    use base64::Engine as _;
    let request = format!("STREAM.MSG.GET.{stream}");
    match ask(settings, link, &request, &json!({ "last_by_subj": subject })).await {
        Ok(answer) => {
            let message = &answer["message"];
            let headers = message["hdrs"].as_str().unwrap_or_default();
            Ok(Last {
                sequence: message["seq"].as_u64().unwrap_or_default(),
                headers: base64::engine::general_purpose::STANDARD
                    .decode(headers)
                    .unwrap_or_default(),
            })
        }
        Err(Unanswered::Refused(error)) if error.err_code == NO_MESSAGE => Ok(Last::default()),
        Err(unanswered) => Err(unanswered),
    }
}
