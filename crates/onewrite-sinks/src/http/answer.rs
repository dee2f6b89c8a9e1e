//! What a server's answer means.

use std::time::Duration;

use jiff::Timestamp;
use onewrite_core::error::{Action, SinkError};
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use serde::Deserialize;
use uuid::Uuid;

use super::settings::Settings;
use crate::limits::RETRY_AFTER_MAX;
use crate::web::{Body, readable, shown};

/// What became of a request.
#[derive(Debug)]
pub(super) enum Answer {
    /// All its events are accepted.
    Accepted,
    /// All but these are.
    Partly(Vec<Rejected>),
    /// None is.
    Refused(Refusal),
}

/// Why none of a request's events was accepted.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub action: Action,
    /// Whether it is about the whole route, so that nothing else should be tried now.
    pub route_wide: bool,
    /// Whether a single event among several can be the cause of it.
    pub may_be_one_event: bool,
    pub words: String,
}

impl Refusal {
    pub(super) fn error(&self) -> SinkError {
        SinkError::new(self.action, self.words.clone())
    }
}

/// An event that a receiver did not take out of a batch.
#[derive(Debug)]
pub(super) struct Rejected {
    pub id: Uuid,
    pub retry: bool,
    pub words: String,
}

/// Judges an answer by its status. A 2xx to a batch still has to be [read](partial).
pub(super) fn judge(settings: &Settings, status: StatusCode, headers: &HeaderMap, body: &Body) -> Answer {
    if status.is_success() {
        return Answer::Accepted;
    }
    let after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| retry_after(text, server_time(headers)));
    let (action, route_wide, advice) = match status.as_u16() {
        302 | 303 | 307 => (
            Action::Retry { after },
            true,
            "; redirects are not followed: if the address has changed, change the url",
        ),
        300..=399 => (
            Action::Halt,
            true,
            "; redirects are not followed: change the url, then resume the route",
        ),
        410 => (
            Action::Halt,
            true,
            "; the receiver says that this address is gone for good: change the url, then resume the route",
        ),
        401 | 403 | 407 => (
            Action::Retry { after },
            true,
            "; the credentials are refused: check bearer_token, headers and the client certificate",
        ),
        404 | 405 | 421 => (
            Action::Retry { after },
            true,
            "; nothing takes events at this address: check the url and the receiver",
        ),
        429 => (Action::Retry { after }, true, ""),
        408 | 425 => (Action::Retry { after }, after.is_some(), ""),
        400..=499 => (Action::Park, false, ""),
        _ => (Action::Retry { after }, after.is_some(), ""),
    };
    let mut words = format!("{} answered {}", settings.origin, shown(status));
    if let Some(location) = headers.get(LOCATION).filter(|_| status.is_redirection()) {
        let target = String::from_utf8_lossy(location.as_bytes()).into_owned();
        let target = target.split(['?', '#']).next().unwrap_or_default();
        words.push_str(&format!(" to {:?}", readable(&settings.redact(target))));
    }
    words.push_str(advice);
    let said = settings.redact(&String::from_utf8_lossy(&body.bytes));
    let said = readable(said.trim());
    if !said.is_empty() {
        words.push_str(&format!("; it said: {said}"));
    }
    Answer::Refused(Refusal {
        action,
        route_wide,
        may_be_one_event: action == Action::Park || (status == StatusCode::INTERNAL_SERVER_ERROR && !route_wide),
        words,
    })
}

/// Reads the answer to a batch that was accepted: a JSON object may name events that were not.
///
/// What cannot be understood settles nothing, since any of the events may be among the failures that it tells of.
pub(super) fn partial(settings: &Settings, body: &Body, sent: &[Uuid]) -> Answer {
    let trimmed = body.bytes.trim_ascii_start();
    if trimmed.first() != Some(&b'{') {
        return Answer::Accepted;
    }
    let unclear = |problem: String| {
        Answer::Refused(Refusal {
            action: Action::Retry { after: None },
            route_wide: false,
            may_be_one_event: false,
            words: format!(
                "{} accepted the batch, but its answer {problem}; expected no body, or \
                 {{\"failed\": [{{\"id\": …, \"retry\": true or false, \"error\": …}}]}}",
                settings.origin
            ),
        })
    };
    if body.cut {
        return unclear(format!("is longer than {} bytes", body.bytes.len()));
    }
    let results: Results = match serde_json::from_slice(trimmed) {
        Ok(results) => results,
        // The error may repeat what the receiver wrote.
        Err(error) => {
            let words = readable(&settings.redact(&error.to_string()));
            return unclear(format!("cannot be read ({words})"));
        }
    };
    let mut rejected = Vec::with_capacity(results.failed.len());
    for failure in results.failed {
        if !sent.contains(&failure.id) {
            return unclear(format!("names {}, which was not sent", failure.id));
        }
        let said = readable(&settings.redact(failure.error.as_deref().unwrap_or("no reason given")));
        rejected.push(Rejected {
            id: failure.id,
            retry: failure.retry,
            words: format!("{} did not accept the event: {said}", settings.origin),
        });
    }
    if rejected.is_empty() {
        Answer::Accepted
    } else {
        Answer::Partly(rejected)
    }
}

/// Reads `Retry-After`: seconds, or one of the three forms of an HTTP date (RFC 9110 section 5.6.7), which is compared with `now`.
/// A date that is past means no wait; anything longer than [`RETRY_AFTER_MAX`] is cut to it.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = if digits {
        // More digits than fit are more than the longest wait, too.
        text.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        let seconds = http_date(text)?.duration_since(now).as_secs();
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The server's clock where it says what it shows, so that clocks that differ do not stretch a wait.
fn server_time(headers: &HeaderMap) -> Timestamp {
    headers
        .get(DATE)
        .and_then(|value| http_date(value.to_str().ok()?))
        .unwrap_or_else(Timestamp::now)
}

fn http_date(text: &str) -> Option<Timestamp> {
    use jiff::civil::DateTime;

    let forms = [
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %e %H:%M:%S %Y",
    ];
    let time = forms.iter().find_map(|form| DateTime::strptime(form, text).ok())?;
    jiff::tz::TimeZone::UTC.to_timestamp(time).ok()
}

#[derive(Deserialize)]
struct Results {
    #[serde(default)]
    failed: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    id: Uuid,
    #[serde(default = "yes")]
    retry: bool,
    error: Option<String>,
}

fn yes() -> bool {
    true
}

/// What any answer is judged to be is fit to be shown, and settles no event but those that were sent.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    use std::sync::{Arc, LazyLock};

    use onewrite_core::options::Options;

    use super::egress::SystemLookup;

    const SECRET: &str = "hunter2-and-3";
    static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
        let texts = [
            ("url", "http://localhost/in"),
            ("bearer_token", SECRET),
            ("mode", "batch"),
        ];
        let options = Options::from_texts("sinks.x", super::FIELDS, &texts).expect("they are right");
        Settings::read(&options, Arc::new(SystemLookup)).expect("they are right")
    });
    let shown = |words: &str| assert!(!words.contains(char::is_control) && !words.contains(SECRET), "{words}");
    let Some((status, headers, body)) = crate::web::answer_of(bytes) else {
        return;
    };
    match judge(&SETTINGS, status, &headers, &body) {
        Answer::Refused(refusal) => {
            shown(&refusal.words);
            assert!(!status.is_success());
            if let Action::Retry { after: Some(wait) } = refusal.action {
                assert!(wait <= RETRY_AFTER_MAX);
            }
        }
        answer => assert!(status.is_success(), "{answer:?}"),
    }
    let sent = [Uuid::nil(), Uuid::max()];
    match partial(&SETTINGS, &body, &sent) {
        Answer::Accepted => {}
        Answer::Partly(rejected) => {
            for one in rejected {
                shown(&one.words);
                assert!(sent.contains(&one.id));
            }
        }
        Answer::Refused(refusal) => shown(&refusal.words),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(784_111_777, 0); // Sun, 06 Nov 1994 08:49:37 GMT

    #[test]
    fn retry_after_is_read_in_every_form() {
        for (text, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            (" 5 ", Some(5)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Some(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(3600)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, NOW), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_of_retry_after_fail(text in "\\PC{0,40}|[0-9]{1,30}") {
            if let Some(wait) = retry_after(&text, NOW) {
                prop_assert!(wait <= RETRY_AFTER_MAX);
            }
        }

        #[test]
        fn any_second_of_a_date_is_read_back(seconds in 0_i64..4_000_000_000) {
            let then = Timestamp::from_second(seconds).unwrap();
            let text = then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            prop_assert_eq!(http_date(&text), Some(then));
        }
    }
}
