//! What a stream's answer to a publish means.

use onewrite_core::error::{Action, SinkError};
use serde::Deserialize;

/// What a stream said.
#[derive(Debug)]
pub(super) enum Answer {
    /// The stream keeps it, under this sequence.
    Kept(u64),
    /// The stream's last message of the subject is another than was expected.
    OtherLast(SinkError),
    /// It does not keep it.
    Refused(SinkError),
}

/// An error of the JetStream API.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    pub err_code: u32,
    #[serde(default)]
    pub description: String,
}

// The server's own numbers, from its server/errors.json.
const MESSAGE_TOO_LARGE: u32 = 10_054;
const OTHER_STREAM: u32 = 10_060;
const OTHER_LAST_SEQUENCE: u32 = 10_071;
const STORE_FAILED: u32 = 10_077;
const HEADERS_TOO_LARGE: u32 = 10_097;
const OTHER_LAST_SEQUENCE_CONSTANT: u32 = 10_164;
/// JetStream is not enabled for the account.
pub(super) const NOT_FOR_ACCOUNT: u32 = 10_039;
/// The stream or its subject holds no message.
pub(super) const NO_MESSAGE: u32 = 10_037;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    stream: String,
    #[serde(default, rename = "seq")]
    sequence: u64,
    error: Option<ApiError>,
}

impl ApiError {
    /// The server's words, with the number that its documentation lists.
    pub(super) fn words(&self) -> String {
        format!("{} ({})", self.description, self.err_code)
    }
}

/// Reads the answer to what was published to `subject`.
pub(super) fn read(subject: &str, payload: &[u8]) -> Answer {
    let body = match serde_json::from_slice::<Body>(payload) {
        Ok(body) => body,
        Err(error) => return Answer::Refused(no_acknowledgement(subject).because(error)),
    };
    let Some(error) = body.error else {
        if body.stream.is_empty() || body.sequence == 0 {
            return Answer::Refused(no_acknowledgement(subject));
        }
        return Answer::Kept(body.sequence);
    };
    let words = error.words();
    match error.err_code {
        OTHER_LAST_SEQUENCE | OTHER_LAST_SEQUENCE_CONSTANT => Answer::OtherLast(SinkError::retry(format!(
            "somebody else publishes to subject {subject}: {words}"
        ))),
        MESSAGE_TOO_LARGE | HEADERS_TOO_LARGE => {
            refused(Action::Park, format!("the stream refuses the message: {words}"))
        }
        OTHER_STREAM => refused(
            Action::Park,
            format!("subject {subject} belongs to another stream than the option stream says: {words}"),
        ),
        STORE_FAILED => refused(
            Action::Retry { after: None },
            format!("the stream takes nothing more: {words}"),
        ),
        _ => refused(
            Action::Retry { after: None },
            format!("the stream does not take the message: {words}"),
        ),
    }
}

fn refused(action: Action, words: String) -> Answer {
    Answer::Refused(SinkError::new(action, words))
}

fn no_acknowledgement(subject: &str) -> SinkError {
    SinkError::retry(format!(
        "what answered on subject {subject} is no JetStream acknowledgement; something else than a stream replies there"
    ))
}

/// What is kept has a sequence.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Answer::Kept(sequence) = read("s", bytes) {
        assert!(sequence > 0);
    }
    super::api::error(bytes);
    super::guard::fuzz(bytes);
    super::link::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stream_and_a_sequence_are_an_acknowledgement() {
        let kept = read("s", br#"{"stream":"EVENTS","seq":7,"duplicate":true,"domain":"hub"}"#);
        assert!(matches!(kept, Answer::Kept(7)), "{kept:?}");
        for text in ["+OK", "", "{}", r#"{"stream":"EVENTS"}"#, r#"{"seq":7}"#, "null"] {
            let Answer::Refused(error) = read("s", text.as_bytes()) else {
                panic!("{text}");
            };
            assert_eq!(error.action, Action::Retry { after: None });
            assert!(error.to_string().contains("no JetStream acknowledgement"), "{error}");
        }
    }

    #[test]
    fn errors_are_told_in_the_servers_words() {
        let error = |code: u32| {
            let text = format!(
                "{{\"error\":{{\"code\":400,\"err_code\":{code},\"description\":\"said so\"}},\"stream\":\"EVENTS\",\"seq\":0}}"
            );
            match read("s", text.as_bytes()) {
                Answer::Refused(error) | Answer::OtherLast(error) => error,
                Answer::Kept(_) => panic!("{code} is no acknowledgement"),
            }
        };
        for (code, action) in [
            (MESSAGE_TOO_LARGE, Action::Park),
            (OTHER_STREAM, Action::Park),
            (STORE_FAILED, Action::Retry { after: None }),
            (OTHER_LAST_SEQUENCE, Action::Retry { after: None }),
            (10_008, Action::Retry { after: None }),
        ] {
            let error = error(code);
            assert_eq!(error.action, action, "{code}");
            assert!(error.to_string().contains(&format!("said so ({code})")), "{error}");
        }
    }
}
