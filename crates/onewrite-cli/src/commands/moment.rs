//! Moments as people write them: `2026-11-24T08:00:00Z`, `2026-11-24`, `2h ago`.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use onewrite_core::options::{Kind, Value};

/// Reads a moment. A date alone is its beginning in UTC; a span, with or without `ago`, is counted back from `now`.
///
/// # Errors
/// What is expected.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(date) = text.parse::<Date>()
        && let Ok(start) = date.to_zoned_datetime(TimeZone::UTC)
        && text.len() == "2026-11-24".len()
    {
        return Ok(start.timestamp());
    }
    span(text)
        .and_then(|span| now.checked_sub(SignedDuration::try_from(span).ok()?).ok())
        .ok_or_else(|| {
            "expected a time such as 2026-11-24T08:00:00Z, a date such as 2026-11-24, or a span such as \"2h ago\""
                .to_owned()
        })
}

fn span(text: &str) -> Option<Duration> {
    let span = text.strip_suffix("ago").map_or(text, str::trim_end);
    match Kind::Duration.parse(span) {
        Ok(Value::Duration(span)) => Some(span),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        for (text, moment) in [
            ("2026-11-24T08:00:00Z", "2026-11-24T08:00:00Z"),
            ("2026-11-24T08:00:00+02:00", "2026-11-24T06:00:00Z"),
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            ("2h ago", "2026-11-24T10:00:00Z"),
            (" 30m ", "2026-11-24T11:30:00Z"),
            ("1d ago", "2026-11-23T12:00:00Z"),
        ] {
            assert_eq!(parse(text, now), Ok(moment.parse().unwrap()), "{text}");
        }
        for text in ["", "ago", "yesterday", "2 weeks ago", "-1h", "2026-11-24T08:00:00"] {
            assert!(parse(text, now).is_err(), "{text}");
        }
    }
}
