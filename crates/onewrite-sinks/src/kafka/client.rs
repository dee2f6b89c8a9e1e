//! What librdkafka tells: logs, errors, reports of records, and its wish for a fresh token.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use onewrite_core::SinkError;
use rdkafka::ClientContext;
use rdkafka::Message;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::connector::Lessons;
use super::flight::{Failure, Fate, Flight, Tag, weight};
use super::limits::TROUBLES_LAST;
use super::native::broker_words;

/// Receives all calls back from the client, in its polling thread.
pub(super) struct Context {
    /// What is on its way.
    pub flight: Flight,
    /// What went wrong lately.
    pub troubles: Troubles,
    /// What the next producer should know.
    pub lessons: Arc<Lessons>,
    /// Where the token of OAUTHBEARER lies.
    pub token_file: Option<PathBuf>,
    /// Records that fill a request alone, by their key and payload in bytes; nought where every record goes alone.
    pub alone_from: usize,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Closed connections are told here alone, and often are all that a wrong protocol shows of itself.
        if facility == "FAIL" && level as i32 > RDKafkaLogLevel::Error as i32 {
            let words = message.split_once("]: ").map_or(message, |(_, words)| words);
            self.troubles.note(RDKafkaErrorCode::BrokerTransportFailure, words);
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            // Every refused connection is one; what matters to people comes back as the error of a delivery.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::info!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let KafkaError::Global(code) = error else { return };
        tracing::debug!(target: "librdkafka", ?code, "{reason}");
        self.troubles.note(code, reason);
        if code == RDKafkaErrorCode::Fatal {
            self.flight.break_off(reason);
        }
        // Deliveries that wait look at the troubles.
        self.flight.announce();
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token(self.token_file.as_deref())
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let message = match result {
            Ok(message) | Err((_, message)) => message,
        };
        let bytes = message.key_len() + message.payload_len();
        let fate = match result {
            Ok(_) => Fate::Delivered,
            Err((error, message)) => Fate::Failed(Box::new(Failure {
                code: error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
                words: broker_words(message),
                partition: message.partition(),
                alone: bytes >= self.alone_from,
            })),
        };
        let weight = weight(message.key_len(), message.payload_len());
        if let Some(Refusal::SomeRecord { size }) = self.flight.reported(Tag(tag), weight, fate) {
            self.lessons.suspect(size);
        }
    }
}

/// The latest errors of a client, so that "transport failure" is told by its cause.
#[derive(Default)]
pub(super) struct Troubles {
    latest: Mutex<Vec<Trouble>>,
}

#[derive(Clone)]
struct Trouble {
    code: RDKafkaErrorCode,
    words: String,
    at: Instant,
}

impl Troubles {
    /// Notes an error; the latest of each code is kept.
    pub fn note(&self, code: RDKafkaErrorCode, words: &str) {
        let mut latest = self.latest();
        latest.retain(|trouble| trouble.code != code);
        latest.push(Trouble {
            code,
            words: words.to_owned(),
            at: Instant::now(),
        });
    }

    /// What tells most since `since`: a refused login or certificate before a refused connection.
    pub fn telling(&self, since: Instant) -> Option<(RDKafkaErrorCode, String)> {
        let latest = self.latest();
        let best = latest
            .iter()
            .filter(|trouble| trouble.at >= since)
            .min_by_key(|trouble| weight_of(trouble.code))?;
        Some((best.code, best.words.clone()))
    }

    /// The most telling words of late, or these.
    pub fn words_or(&self, otherwise: &str) -> String {
        let since = Instant::now().checked_sub(TROUBLES_LAST);
        let told = since.and_then(|since| self.telling(since));
        told.map_or_else(|| otherwise.to_owned(), |(_, words)| words)
    }

    /// Whether trying on is of no use for now: no broker is left, or one refused this client.
    pub fn are_decisive(&self) -> bool {
        self.latest().iter().any(|trouble| {
            matches!(
                trouble.code,
                RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::SSL
                    | RDKafkaErrorCode::Fatal
            )
        })
    }

    fn latest(&self) -> MutexGuard<'_, Vec<Trouble>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn weight_of(code: RDKafkaErrorCode) -> u8 {
    match code {
        RDKafkaErrorCode::Fatal => 0,
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => 1,
        RDKafkaErrorCode::SSL => 2,
        RDKafkaErrorCode::Resolve => 3,
        // It only sums up what the others say.
        RDKafkaErrorCode::AllBrokersDown => 5,
        _ => 4,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(formatter, "{}: {words}", said(self.code)),
            None => formatter.write_str(&said(self.code)),
        }
    }
}

/// A code in librdkafka's words, such as "Broker: Message size too large".
pub(super) fn said(code: RDKafkaErrorCode) -> String {
    // The wrapper puts the code's own name before them.
    let text = code.to_string();
    let words = text.split_once(" (").and_then(|(_, words)| words.strip_suffix(')'));
    words.map_or(text.clone(), str::to_owned)
}

/// What a refusal of the broker says about the records of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No record of this topic is taken.
    Topic,
    /// This very record will never be taken.
    Record,
    /// A record of the request will never be taken, or all of them together are too much.
    SomeRecord {
        /// Whether size is the reason.
        size: bool,
    },
}

impl Failure {
    /// Whether the broker refused the record for what it is, rather than for what was the matter with the broker.
    pub fn refusal(&self) -> Option<Refusal> {
        let size = match self.code {
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::InvalidTopic => return Some(Refusal::Topic),
            // Another record of its request is at fault.
            RDKafkaErrorCode::InvalidDifferentRecord => return Some(Refusal::SomeRecord { size: false }),
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidMessageSize => true,
            RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::UnsupportedForMessageFormat => false,
            _ => return None,
        };
        Some(if self.alone {
            Refusal::Record
        } else {
            Refusal::SomeRecord { size }
        })
    }

    /// The words for a person who finds the event parked.
    pub fn park(&self, topic: &str) -> SinkError {
        let advice = match self.code {
            RDKafkaErrorCode::TopicAuthorizationFailed => "; grant this client Write on the topic",
            RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge => {
                "; raise max.message.bytes of the topic, or make the event smaller"
            }
            _ => "",
        };
        SinkError::park(format!("topic {topic}, partition {}: {self}{advice}", self.partition))
    }
}

/// A fresh token of OAUTHBEARER.
pub(super) fn token(file: Option<&Path>) -> Result<OAuthToken, Box<dyn Error>> {
    let path = file.ok_or("no token_file is configured")?;
    read_token(path).map_err(|problem| format!("token_file {}: {problem}", path.display()).into())
}

/// Reads a JWT; its own claims name the principal and its end.
fn read_token(path: &Path) -> Result<OAuthToken, String> {
    let token = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let token = token.trim().to_owned();
    let claims = token
        .split('.')
        .nth(1)
        .ok_or("it holds no JWT (three parts with dots between)")?;
    let claims = URL_SAFE_NO_PAD
        .decode(claims.trim_end_matches('='))
        .map_err(|_| "the second part of the JWT is not base64url")?;
    let claims: serde_json::Value =
        serde_json::from_slice(&claims).map_err(|_| "the second part of the JWT is not JSON")?;
    let expiry = claims["exp"].as_f64().ok_or("the JWT has no \"exp\" claim")?;
    let lifetime_ms = (expiry * 1000.0) as i64;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as i64);
    if lifetime_ms <= now {
        return Err(format!(
            "the token ended {} s ago; whatever renews the file does not",
            now.saturating_sub(lifetime_ms) / 1000
        ));
    }
    Ok(OAuthToken {
        principal_name: claims["sub"].as_str().unwrap_or_default().to_owned(),
        lifetime_ms,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Result<OAuthToken, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let claims = URL_SAFE_NO_PAD.encode(claims);
        std::fs::write(file.path(), format!("e30.{claims}.c2ln\n")).unwrap();
        read_token(file.path())
    }

    #[test]
    fn a_token_tells_its_own_end_and_principal() {
        let read = token(r#"{"sub": "relay", "exp": 4102444800}"#).unwrap();
        assert_eq!(
            (read.principal_name.as_str(), read.lifetime_ms),
            ("relay", 4_102_444_800_000)
        );
        assert!(read.token.starts_with("e30.") && !read.token.ends_with('\n'));
    }

    #[test]
    fn what_is_wrong_with_a_token_is_told_without_showing_it() {
        for (claims, told) in [
            (r#"{"sub": "relay"}"#, "no \"exp\""),
            (r#"{"exp": 1000}"#, "the token ended"),
            (r#"{"exp": -1e300}"#, "the token ended"),
            ("{", "not JSON"),
        ] {
            let problem = token(claims).err().unwrap();
            assert!(problem.contains(told), "{problem}");
        }
    }

    #[test]
    fn a_refused_login_tells_more_than_a_lost_connection() {
        let troubles = Troubles::default();
        let since = Instant::now();
        troubles.note(RDKafkaErrorCode::BrokerTransportFailure, "connection lost");
        troubles.note(RDKafkaErrorCode::Authentication, "SASL authentication error: no");
        troubles.note(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(troubles.telling(since).unwrap().1, "SASL authentication error: no");
        assert!(troubles.are_decisive());
    }
}
