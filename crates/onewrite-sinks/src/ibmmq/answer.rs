//! What the server's answer to a put means.

use onewrite_core::error::{Action, SinkError};
use reqwest::StatusCode;
use serde::Deserialize;

use super::settings::Settings;
use crate::keyed::Fate;
use crate::web::{Body, readable, shown};

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// This event will never be taken as it is.
    Park(&'static str),
    /// This event is not taken now.
    Later(&'static str),
    /// Nothing is taken now, by anybody.
    AllLater(&'static str),
    /// Nothing is taken by this server, but perhaps by another.
    Elsewhere(&'static str),
    /// A person must change something.
    Halt(&'static str),
}

/// Judges the answer of `server`.
pub(super) fn judge(settings: &Settings, server: &str, status: StatusCode, body: &Body) -> Fate {
    if status == StatusCode::CREATED {
        return Fate::Delivered;
    }
    let problem = Problem::read(body);
    let meaning = problem
        .as_ref()
        .and_then(Problem::reason)
        .and_then(of_reason)
        .unwrap_or_else(|| of_status(status, problem.as_ref()));
    let said = match &problem {
        Some(problem) => problem.words(),
        None => String::from_utf8_lossy(&body.bytes).trim().to_owned(),
    };
    let said = readable(&settings.redact(&said));
    let words = |advice: &str| {
        let mut words = format!("{server} answered {}", shown(status));
        for part in [advice, said.as_str()].into_iter().filter(|part| !part.is_empty()) {
            words.push_str("; ");
            words.push_str(part);
        }
        words
    };
    match meaning {
        Meaning::Park(advice) => Fate::Refused(SinkError::park(words(advice))),
        Meaning::Later(advice) => Fate::Refused(SinkError::retry(words(advice))),
        Meaning::AllLater(advice) => Fate::Lost(SinkError::retry(words(advice))),
        Meaning::Elsewhere(advice) => Fate::Lost(SinkError::new(Action::Reconnect, words(advice))),
        Meaning::Halt(advice) => Fate::Lost(SinkError::halt(words(advice))),
    }
}

/// The first words of an error body, for people; empty where there are none.
pub(super) fn words(settings: &Settings, body: &Body) -> String {
    let said = Problem::read(body).map_or_else(String::new, |problem| problem.words());
    readable(&settings.redact(&said))
}

/// The meaning of a reason code (IBM MQ, "API completion and reason codes"); `None` where the status says as much.
pub(crate) fn of_reason(reason: u32) -> Option<Meaning> {
    const UNROUTABLE: &str = "there is no such destination; define it, or change the template";
    const TOO_LARGE: &str = "the message is too large; raise MAXMSGL or MAXPROPL there, or make events smaller";
    const AWAY: &str = "the queue manager is not available there";
    Some(match reason {
        // UNKNOWN_ALIAS_BASE_Q, UNKNOWN_OBJECT_NAME, UNKNOWN_OBJECT_Q_MGR, UNKNOWN_REMOTE_Q_MGR, UNKNOWN_XMIT_Q
        2082 | 2085 | 2086 | 2087 | 2196 => Meaning::Park(UNROUTABLE),
        // NOT_AUTHORIZED
        2035 => Meaning::Park("the user may not put there; grant the authority, then redrive what was parked"),
        // MSG_TOO_BIG_FOR_Q, MSG_TOO_BIG_FOR_Q_MGR, MSG_TOO_BIG_FOR_CHANNEL, PROPERTY_NAME_TOO_BIG, PROPERTY_VALUE_TOO_BIG, PROPERTIES_TOO_BIG
        2030 | 2031 | 2218 | 2465 | 2469 | 2478 => Meaning::Park(TOO_LARGE),
        // DATA_LENGTH_ERROR, OBJECT_TYPE_ERROR, PERSISTENT_NOT_ALLOWED, OBJECT_NAME_ERROR, TOPIC_STRING_ERROR,
        // OBJECT_STRING_ERROR, PROPERTY_NAME_ERROR, PROPERTY_TYPE_ERROR
        2010 | 2043 | 2048 | 2152 | 2425 | 2441 | 2442 | 2473 => Meaning::Park(""),
        // PUT_INHIBITED, Q_DELETED, Q_FULL, Q_SPACE_NOT_AVAILABLE, STORAGE_MEDIUM_FULL
        2051 => Meaning::Later("putting is inhibited there; enable it"),
        2053 => Meaning::Later("the queue is full; read from it, or raise MAXDEPTH"),
        2052 | 2056 | 2192 => Meaning::Later(""),
        // STORAGE_NOT_AVAILABLE, RESOURCE_PROBLEM
        2071 | 2102 => Meaning::AllLater("the queue manager is short of something"),
        // CONNECTION_BROKEN, MAX_CONNS_LIMIT_REACHED, Q_MGR_NAME_ERROR, Q_MGR_NOT_AVAILABLE, Q_MGR_QUIESCING, Q_MGR_STOPPING,
        // CONNECTION_QUIESCING, CONNECTION_STOPPING, Q_MGR_NOT_ACTIVE, CONNECTION_ERROR, CHANNEL_NOT_AVAILABLE, HOST_NOT_AVAILABLE
        2009 | 2025 | 2058 | 2059 | 2161 | 2162 | 2202 | 2203 | 2223 | 2273 | 2537 | 2538 => Meaning::Elsewhere(AWAY),
        _ => return None,
    })
}

fn of_status(status: StatusCode, problem: Option<&Problem>) -> Meaning {
    let about_messaging = problem.is_some_and(Problem::is_about_messaging);
    match status.as_u16() {
        200..=299 => Meaning::AllLater("which acknowledges nothing; only 201 does"),
        300..=399 => Meaning::AllLater("redirects are not followed; check urls"),
        400 if problem.is_some_and(Problem::is_about_options) => Meaning::Halt(
            "it does not take what expiry, persistent or priority says; change the option, then resume the route",
        ),
        400 | 406 | 415 if problem.is_none() => {
            Meaning::AllLater("which is not the queue manager's own answer; check urls and what stands in between")
        }
        // A size is that of this message, whoever says so.
        400 | 406 | 413 | 415 | 431 => Meaning::Park(""),
        401 => Meaning::Halt(
            "the credentials are refused; check user, password and the client certificate, then resume the route",
        ),
        403 if about_messaging => {
            Meaning::Park("the user may not put there; grant the authority, then redrive what was parked")
        }
        403 => {
            Meaning::Halt("the user may not use the messaging API; give it the role MQWebUser, then resume the route")
        }
        404 if about_messaging => Meaning::Park("there is no such destination; define it, or change the template"),
        404 => Meaning::AllLater("nothing takes messages there; check urls, api_version and queue_manager"),
        405 => Meaning::Later("putting is inhibited there; enable it"),
        502..=504 => Meaning::Elsewhere("the queue manager is not available there"),
        500 => Meaning::Later(""),
        _ => Meaning::AllLater(""),
    }
}

/// An error as the REST API describes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Problem {
    #[serde(alias = "messageId")]
    msg_id: Option<String>,
    message: Option<String>,
    explanation: Option<String>,
    /// A number; tolerated as a text.
    reason_code: serde_json::Value,
}

#[derive(Deserialize)]
struct Problems {
    error: Vec<Problem>,
}

impl Problem {
    /// The first error of a body in the form of the API.
    fn read(body: &Body) -> Option<Self> {
        if body.cut {
            return None;
        }
        let problems: Problems = serde_json::from_slice(&body.bytes).ok()?;
        problems.error.into_iter().next()
    }

    /// The reason code, from its own field or from the words, such as `JMSCMQ0001: … reason '2053' ('MQRC_Q_FULL')`.
    fn reason(&self) -> Option<u32> {
        let field = match &self.reason_code {
            serde_json::Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let texts = [&self.message, &self.explanation];
        field
            .filter(|reason| *reason != 0)
            .or_else(|| texts.into_iter().flatten().find_map(|text| reason_in(text)))
    }

    /// Whether the messaging API itself said it (MQWB0300 to MQWB0399), not what stands before it.
    fn is_about_messaging(&self) -> bool {
        let texts = [&self.msg_id, &self.message];
        texts.into_iter().flatten().any(|text| text.starts_with("MQWB03"))
    }

    /// Whether it refuses a header that is the same with every event.
    fn is_about_options(&self) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_ascii_lowercase();
        ["ibm-mq-md-persistence", "ibm-mq-md-expiry", "ibm-mq-md-priority"]
            .iter()
            .any(|header| message.contains(header))
    }

    fn words(&self) -> String {
        let mut words = self.message.clone().or_else(|| self.msg_id.clone()).unwrap_or_default();
        if let Some(explanation) = self.explanation.as_ref().filter(|text| !text.is_empty()) {
            words.push(' ');
            words.push_str(explanation);
        }
        if let Some(reason) = self.reason() {
            words.push_str(&format!(" (reason {reason})"));
        }
        words
    }
}

fn reason_in(text: &str) -> Option<u32> {
    let (_, after) = text.split_once("reason '")?;
    after.split_once('\'')?.0.parse().ok()
}

/// Nothing but 201 delivers, and what any answer says is fit to be shown.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    use std::sync::LazyLock;

    use onewrite_core::options::Options;

    const SECRET: &str = "hunter2-and-3";
    static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
        let texts = [
            ("urls", "http://localhost:9080"),
            ("queue_manager", "QM1"),
            ("user", "relay"),
            ("password", SECRET),
        ];
        let options = Options::from_texts("sinks.x", super::FIELDS, &texts).expect("they are right");
        Settings::read(&options).expect("they are right")
    });
    let Some((status, _, body)) = crate::web::answer_of(bytes) else {
        return;
    };
    match judge(&SETTINGS, "localhost:9080", status, &body) {
        Fate::Delivered => assert_eq!(status, StatusCode::CREATED),
        Fate::Refused(error) | Fate::Lost(error) => {
            let words = error.to_string();
            assert!(!words.contains(char::is_control) && !words.contains(SECRET), "{words}");
        }
    }
    words(&SETTINGS, &body);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(json: &str) -> Problem {
        let body = Body {
            bytes: format!("{{\"error\": [{json}]}}").into_bytes(),
            cut: false,
        };
        Problem::read(&body).unwrap()
    }

    #[test]
    fn the_reason_is_read_wherever_it_stands() {
        for json in [
            r#"{"reasonCode": 2053}"#,
            r#"{"reasonCode": "2053"}"#,
            r#"{"reasonCode": 0, "message": "MQ call failed with compcode '2' ('MQCC_FAILED') reason '2053' ('MQRC_Q_FULL')"}"#,
            r#"{"message": "it failed", "explanation": "reason '2053'"}"#,
        ] {
            assert_eq!(problem(json).reason(), Some(2053), "{json}");
        }
        assert_eq!(
            problem(r#"{"reasonCode": 0, "message": "no reason 'at all'"}"#).reason(),
            None
        );
    }

    #[test]
    fn a_body_of_another_form_is_no_error_of_the_api() {
        for bytes in [
            &b""[..],
            b"<html>",
            b"[]",
            b"{}",
            b"{\"error\": []}",
            b"{\"error\": [3]}",
        ] {
            let body = Body {
                bytes: bytes.to_vec(),
                cut: false,
            };
            assert!(Problem::read(&body).is_none());
        }
    }

    #[test]
    fn a_header_that_all_events_share_is_told_from_one_of_an_event() {
        let refused = |header: &str| {
            problem(&format!(
                "{{\"message\": \"MQWB0302E: The '{header}' request header cannot be set\"}}"
            ))
        };
        let meaning = |header| of_status(StatusCode::BAD_REQUEST, Some(&refused(header)));
        assert!(matches!(meaning("ibm-mq-md-expiry"), Meaning::Halt(_)));
        assert!(matches!(meaning("ibm-mq-md-correlationId"), Meaning::Park(_)));
    }
}
