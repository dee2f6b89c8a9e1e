//! One parked event in full.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use onewrite_core::store::ParkedEvent;
use serde_json::{Value, json};

use super::human::{bytes, count, plural, printable, span};

/// Most bytes of a binary payload that are shown to people.
const HEX_BYTES_MAX: usize = 512;

/// The event as JSON, its payload under `payload_text` where it is text and under `payload_base64` where it is not.
pub fn full_json(event: &ParkedEvent) -> Value {
    let mut value = json!(event);
    match std::str::from_utf8(&event.payload) {
        Ok(text) => value["payload_text"] = text.into(),
        Err(_) => value["payload_base64"] = STANDARD.encode(&event.payload).into(),
    }
    value
}

/// The event for people: what is known of it, its headers, its payload.
pub fn full_text(event: &ParkedEvent, now: Timestamp) -> String {
    let mut out = String::new();
    let state = match event.state.as_str() {
        "held" => "held behind a parked event of its key",
        "retry" => "waiting for another delivery",
        _ => "parked",
    };
    let attempts = plural(event.attempts.unsigned_abs(), "delivery").replace("deliverys", "deliveries");
    let _ = writeln!(
        out,
        "event {}: {state} by the route {:?} {} after {attempts}",
        event.id,
        event.route,
        ago(event.parked_at, now)
    );
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<13} {}", printable(value));
    };
    line("error", &event.error);
    line("id", &event.event_id.to_string());
    line("topic", &event.topic);
    line("key", event.key.as_deref().unwrap_or("–"));
    line("type", event.event_type.as_deref().unwrap_or("–"));
    line(
        "occurred at",
        &format!("{} ({})", event.occurred_at, ago(event.occurred_at, now)),
    );
    line("content type", &event.content_type);
    if let Some(headers) = event.headers.as_object() {
        for (name, value) in headers {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            line("header", &format!("{name}: {value}"));
        }
    }
    line("payload", &bytes(event.payload_bytes));
    out.push('\n');
    out.push_str(&payload(&event.payload));
    out
}

/// How long ago something happened.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let passed = now.duration_since(then).try_into().unwrap_or_default();
    format!("{} ago", span(passed))
}

fn payload(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) => text.lines().map(|line| printable(line) + "\n").collect(),
        Err(_) => hex(payload),
    }
}

fn hex(payload: &[u8]) -> String {
    let mut out = String::new();
    for (row, chunk) in payload.chunks(16).take(HEX_BYTES_MAX / 16).enumerate() {
        let digits: String = chunk.iter().map(|byte| format!("{byte:02x} ")).collect();
        let text: String = chunk
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        let _ = writeln!(out, "{:06x}  {digits:<48} {text}", row * 16);
    }
    if payload.len() > HEX_BYTES_MAX {
        let more = count(i64::try_from(payload.len() - HEX_BYTES_MAX).unwrap_or(i64::MAX));
        let _ = writeln!(out, "… and {more} bytes more; --json has them all");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: &[u8]) -> ParkedEvent {
        ParkedEvent {
            id: 12,
            relay: "shop".to_owned(),
            route: "orders".to_owned(),
            state: "parked".to_owned(),
            event_id: uuid::Uuid::from_u128(7),
            topic: "shop.orders".to_owned(),
            key: None,
            event_type: Some("OrderPlaced".to_owned()),
            content_type: "application/json".to_owned(),
            headers: json!({"traceparent": "00-ab"}),
            payload: payload.to_vec(),
            payload_bytes: i64::try_from(payload.len()).unwrap(),
            occurred_at: Timestamp::from_second(1_700_000_000).unwrap(),
            parked_at: Timestamp::from_second(1_700_000_060).unwrap(),
            attempts: 1,
            error: "too large\x07".to_owned(),
        }
    }

    #[test]
    fn an_event_is_shown_in_full_and_cannot_command_the_terminal() {
        let now = Timestamp::from_second(1_700_000_090).unwrap();
        assert_eq!(
            full_text(&event(b"{\"a\":\"\x1b\"}\n"), now),
            "event 12: parked by the route \"orders\" 30.0s ago after 1 delivery\n  \
             error         too large\\u{7}\n  \
             id            00000000-0000-0000-0000-000000000007\n  \
             topic         shop.orders\n  \
             key           –\n  \
             type          OrderPlaced\n  \
             occurred at   2023-11-14T22:13:20Z (1m 30s ago)\n  \
             content type  application/json\n  \
             header        traceparent: 00-ab\n  \
             payload       10 B\n\
             \n\
             {\"a\":\"\\u{1b}\"}\n"
        );
        let text = full_text(&event(b"\xff\x00A"), now);
        assert!(
            text.ends_with("000000  ff 00 41                                         ..A\n"),
            "{text}"
        );
    }

    #[test]
    fn json_holds_the_payload_whatever_it_is() {
        assert_eq!(full_json(&event(b"{}"))["payload_text"], "{}");
        assert_eq!(full_json(&event(b"\xff"))["payload_base64"], "/w==");
    }
}
