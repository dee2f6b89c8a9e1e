//! What the answers mean.

use onewrite_core::error::{Action, SinkError};
use reqwest::StatusCode;

use super::Service;
use crate::web::{Body, readable, shown};

/// What became of the entries of a batch, as the service says it.
pub(crate) struct Results {
    /// The ids of those that it keeps.
    pub successful: Vec<String>,
    /// Those that it does not.
    pub failed: Vec<Failed>,
}

/// An entry that was not taken.
pub(crate) struct Failed {
    pub id: String,
    pub code: String,
    pub message: String,
    pub sender_fault: bool,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) enum Answer {
    /// What became of each entry, by its place; `None` where it is not said.
    Each(Vec<Option<Result<(), SinkError>>>),
    /// Nothing was taken.
    Refused(Refusal),
}

/// Why nothing was taken.
#[derive(Debug)]
pub(super) struct Refusal {
    pub action: Action,
    pub scope: Scope,
    pub words: String,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The route: nothing else should be tried now.
    Route,
    /// Everything that the request held.
    Request,
    /// Perhaps one event of the request.
    Event,
}

impl Refusal {
    pub(super) fn error(&self) -> SinkError {
        SinkError::new(self.action, self.words.clone())
    }
}

/// Judges the answer to a batch of so many entries. `one_place`: all events of the route go to one queue or topic.
pub(super) fn judge<S: Service>(
    origin: &str,
    status: StatusCode,
    body: &Body,
    entries: usize,
    one_place: bool,
) -> Answer {
    if !status.is_success() {
        return Answer::Refused(refusal::<S>(origin, status, body, one_place));
    }
    let unclear = |problem: &str| {
        Answer::Refused(Refusal {
            action: Action::Retry { after: None },
            scope: Scope::Route,
            words: format!("{origin} answered {}, but {problem}", shown(status)),
        })
    };
    let Some(results) = S::results(&body.bytes).filter(|_| !body.cut) else {
        return unclear(&format!(
            "not as {} does; whether the events arrived is unknown",
            S::NAME
        ));
    };
    let mut each: Vec<Option<Result<(), SinkError>>> = std::iter::repeat_with(|| None).take(entries).collect();
    let successful = results.successful.into_iter().map(|id| (id, Ok(())));
    let failed = results.failed.into_iter().map(|failed| {
        let error = failed.error(origin);
        (failed.id, Err(error))
    });
    // Failures last: of an entry that is in both lists nobody knows that it is kept.
    for (id, outcome) in successful.chain(failed) {
        match id.parse::<usize>().ok().filter(|place| *place < entries) {
            Some(place) => each[place] = Some(outcome),
            None => return unclear("it names an entry that was not sent"),
        }
    }
    Answer::Each(each)
}

/// The code and the words of an error answer.
pub(crate) fn words<S: Service>(body: &Body) -> (String, String) {
    let (code, message) = S::error(&body.bytes);
    let code = code.unwrap_or_default();
    // Such as com.amazonaws.sqs#QueueDoesNotExist.
    let code = readable(code.rsplit('#').next().unwrap_or_default());
    let message = match message {
        Some(message) => message,
        None if code.is_empty() => String::from_utf8_lossy(&body.bytes).trim().to_owned(),
        None => String::new(),
    };
    (code, readable(&message))
}

/// Whether an error is that the credentials may not do this.
pub(super) fn is_denial(code: &str) -> bool {
    matches!(bare(code), "AccessDenied" | "AuthorizationError" | "NotAuthorized")
}

/// The code as it is compared: whether `Exception` stands at its end depends on the service and on its protocol.
pub(crate) fn bare(code: &str) -> &str {
    code.strip_suffix("Exception").unwrap_or(code)
}

fn refusal<S: Service>(origin: &str, status: StatusCode, body: &Body, one_place: bool) -> Refusal {
    let (code, message) = words::<S>(body);
    let (action, scope, advice) = verdict::<S>(status, bare(&code), &message, one_place);
    let mut words = format!("{origin} answered {}", shown(status));
    for part in [code.as_str(), message.as_str(), advice.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty())
    {
        words.push_str("; ");
        words.push_str(part);
    }
    Refusal { action, scope, words }
}

/// `code`: the [bare] one.
fn verdict<S: Service>(status: StatusCode, code: &str, message: &str, one_place: bool) -> (Action, Scope, String) {
    let retry = Action::Retry { after: None };
    match code {
        code if S::MISSING.contains(&code) => {
            let advice = format!("create the {}, or change {}", S::PLACE, S::ADDRESS);
            (Action::Park, Scope::Request, advice)
        }
        code if is_denial(code) && one_place => {
            let advice = format!("allow {}, then resume the route", S::PERMISSION);
            (Action::Halt, Scope::Route, advice)
        }
        code if is_denial(code) => {
            let advice = format!("allow {}, then redrive what was parked", S::PERMISSION);
            (Action::Park, Scope::Request, advice)
        }
        code if is_out_of_date(code, message) => {
            let advice = "the credentials have expired, or the clock is wrong";
            (Action::Reconnect, Scope::Route, advice.to_owned())
        }
        "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "InvalidSignature"
        | "SignatureDoesNotMatch"
        | "InvalidSecurity"
        | "MissingAuthenticationToken"
        | "IncompleteSignature"
        | "OptInRequired" => {
            let advice = "check the credentials and region, then resume the route";
            (Action::Halt, Scope::Route, advice.to_owned())
        }
        "BatchRequestTooLong" | "AWS.SimpleQueueService.BatchRequestTooLong" => {
            (Action::Park, Scope::Event, "lower max_message_bytes".to_owned())
        }
        code if is_throttling(code) || status == StatusCode::TOO_MANY_REQUESTS => (retry, Scope::Route, String::new()),
        code if is_of_encryption(code) && one_place => {
            let advice = format!("see to the key that encrypts the {}, then resume the route", S::PLACE);
            (Action::Halt, Scope::Route, advice)
        }
        code if is_of_encryption(code) => {
            let advice = format!("see to the key that encrypts the {}", S::PLACE);
            (retry, Scope::Request, advice)
        }
        _ if matches!(status.as_u16(), 400 | 413) && !code.is_empty() => (Action::Park, Scope::Event, String::new()),
        _ if status.is_server_error() => (retry, Scope::Request, String::new()),
        _ => (retry, Scope::Route, String::new()),
    }
}

/// Whether a request came too late or too early. Of a signature only the message says whether it is wrong, or of another time.
fn is_out_of_date(code: &str, message: &str) -> bool {
    match code {
        "ExpiredToken" | "RequestExpired" => true,
        "InvalidSignature" | "SignatureDoesNotMatch" => ["Signature expired", "Signature not yet current"]
            .iter()
            .any(|words| message.contains(words)),
        _ => false,
    }
}

fn is_throttling(code: &str) -> bool {
    let limits = ["OverLimit", "RequestLimitExceeded", "TooManyRequests"];
    code.contains("Throttl") || limits.contains(&bare(code))
}

/// Whether a key of the Key Management Service is the trouble: SQS writes `KmsDisabled`, SNS `KMSDisabled`.
fn is_of_encryption(code: &str) -> bool {
    code.get(..3)
        .is_some_and(|beginning| beginning.eq_ignore_ascii_case("kms"))
}

impl Failed {
    fn error(&self, origin: &str) -> SinkError {
        let (code, message) = (readable(&self.code), readable(&self.message));
        let words = format!("{origin} did not take the event; {code}; {message}");
        // What a key of encryption lacks, or a permission, is not the event's fault, whoever's it is.
        let of_others = is_throttling(&self.code) || is_of_encryption(&self.code) || is_denial(&self.code);
        if self.sender_fault && !of_others {
            SinkError::park(words)
        } else {
            SinkError::retry(words)
        }
    }
}

/// As many outcomes as entries, none of them good where the answer is not, and all words fit to be shown.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz<S: Service>(bytes: &[u8]) {
    const ENTRIES: usize = 3;
    let shown = |words: String| assert!(!words.contains(char::is_control), "{words:?}");
    let Some((status, _, body)) = crate::web::answer_of(bytes) else {
        return;
    };
    for one_place in [true, false] {
        match judge::<S>("localhost", status, &body, ENTRIES, one_place) {
            Answer::Each(each) => {
                assert!(each.len() == ENTRIES && status.is_success());
                for error in each.into_iter().flatten().filter_map(Result::err) {
                    shown(error.to_string());
                }
            }
            Answer::Refused(refusal) => shown(refusal.words),
        }
    }
}
