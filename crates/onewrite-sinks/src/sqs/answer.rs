//! What the answers of SQS mean.

use onewrite_core::error::{Action, SinkError};
use reqwest::StatusCode;
use serde::Deserialize;

use crate::web::{Body, readable, shown};

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
    /// Whether nothing else should be tried now.
    pub route_wide: bool,
    /// Whether a single event among several can be the cause.
    pub may_be_one_event: bool,
    pub words: String,
}

impl Refusal {
    pub(super) fn error(&self) -> SinkError {
        SinkError::new(self.action, self.words.clone())
    }
}

/// Judges the answer to a batch of so many entries. `one_queue`: all events of the route go to one queue.
pub(super) fn judge(origin: &str, status: StatusCode, body: &Body, entries: usize, one_queue: bool) -> Answer {
    if !status.is_success() {
        return Answer::Refused(refusal(origin, status, body, one_queue));
    }
    let unclear = |problem: &str| {
        Answer::Refused(Refusal {
            action: Action::Retry { after: None },
            route_wide: true,
            may_be_one_event: false,
            words: format!("{origin} answered {}, but {problem}", shown(status)),
        })
    };
    let read = serde_json::from_slice::<Results>(&body.bytes).ok();
    let Some(results) = read.filter(|_| !body.cut) else {
        return unclear("not as SQS does; whether the events arrived is unknown");
    };
    let mut each: Vec<Option<Result<(), SinkError>>> = std::iter::repeat_with(|| None).take(entries).collect();
    let place = |id: &str| id.parse::<usize>().ok().filter(|place| *place < entries);
    for entry in results.successful {
        match place(&entry.id) {
            Some(place) => each[place] = Some(Ok(())),
            None => return unclear("it names an entry that was not sent"),
        }
    }
    for failed in results.failed {
        match place(&failed.id) {
            Some(place) => each[place] = Some(Err(failed.error(origin))),
            None => return unclear("it names an entry that was not sent"),
        }
    }
    Answer::Each(each)
}

/// The code and the words of an error answer.
pub(super) fn words(body: &Body) -> (String, String) {
    let error: ErrorBody = serde_json::from_slice(&body.bytes).unwrap_or_default();
    let code = error.code.unwrap_or_default();
    // Such as com.amazonaws.sqs#QueueDoesNotExist.
    let code = code.rsplit('#').next().unwrap_or_default().to_owned();
    let message = match error.message {
        Some(message) => message,
        None if code.is_empty() => String::from_utf8_lossy(&body.bytes).trim().to_owned(),
        None => String::new(),
    };
    (code, readable(&message))
}

fn refusal(origin: &str, status: StatusCode, body: &Body, one_queue: bool) -> Refusal {
    let (code, message) = words(body);
    let retry = Action::Retry { after: None };
    let (action, route_wide, may_be_one_event, advice) = match code.as_str() {
        "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" | "InvalidAddress" => {
            (Action::Park, false, false, "create the queue, or change queue_url")
        }
        "AccessDenied" | "AccessDeniedException" if one_queue => (
            Action::Halt,
            true,
            false,
            "allow sqs:SendMessage, then resume the route",
        ),
        "AccessDenied" | "AccessDeniedException" => (
            Action::Park,
            false,
            false,
            "allow sqs:SendMessage, then redrive what was parked",
        ),
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSecurity"
        | "MissingAuthenticationToken"
        | "IncompleteSignature"
        | "OptInRequired" => (
            Action::Halt,
            true,
            false,
            "check the credentials and region, then resume the route",
        ),
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => (
            Action::Reconnect,
            true,
            false,
            "the credentials have expired, or the clock is wrong",
        ),
        "BatchRequestTooLong" | "AWS.SimpleQueueService.BatchRequestTooLong" => {
            (Action::Park, false, true, "lower max_message_bytes")
        }
        code if is_throttling(code) || status == StatusCode::TOO_MANY_REQUESTS => (retry, true, false, ""),
        _ if matches!(status.as_u16(), 400 | 413) && !code.is_empty() => (Action::Park, false, true, ""),
        _ => (retry, !status.is_server_error(), false, ""),
    };
    let mut words = format!("{origin} answered {}", shown(status));
    for part in [code.as_str(), message.as_str(), advice]
        .into_iter()
        .filter(|part| !part.is_empty())
    {
        words.push_str("; ");
        words.push_str(part);
    }
    Refusal {
        action,
        route_wide,
        may_be_one_event,
        words,
    }
}

fn is_throttling(code: &str) -> bool {
    code.contains("Throttl") || matches!(code, "OverLimit" | "RequestLimitExceeded" | "TooManyRequestsException")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Results {
    #[serde(default)]
    successful: Vec<Entry>,
    #[serde(default)]
    failed: Vec<Failed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failed {
    id: String,
    #[serde(default)]
    code: String,
    message: Option<String>,
    #[serde(default)]
    sender_fault: bool,
}

impl Failed {
    fn error(&self, origin: &str) -> SinkError {
        let message = readable(self.message.as_deref().unwrap_or_default());
        let words = format!("{origin} did not take the event; {}; {message}", self.code);
        // What a key of encryption lacks is not the event's fault, whoever's it is.
        if self.sender_fault && !is_throttling(&self.code) && !self.code.starts_with("Kms") {
            SinkError::park(words)
        } else {
            SinkError::retry(words)
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    #[serde(rename = "__type")]
    code: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}
