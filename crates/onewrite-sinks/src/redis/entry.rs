//! An event as an entry of a stream.

use onewrite_core::Event;
use onewrite_core::wire::HEADER_CONTENT_TYPE;
use redis::Cmd;
use uuid::Uuid;

use super::settings::{Rest, Trim};

/// What the names of the fields with an event's own headers begin with.
const HEADER_PREFIX: &str = "header:";

/// Bytes of an entry besides payload and headers, roughly: enough that its buffer need not grow.
const REST_BYTES: usize = 320;

/// The command that adds an event to a stream.
pub(super) fn xadd(stream: &str, trim: Option<Trim>, event: &Event) -> Cmd {
    let headers: usize = event
        .headers
        .iter()
        .map(|(name, value)| HEADER_PREFIX.len() + name.len() + value.len())
        .sum();
    let bytes = stream.len() + event.payload.len() + headers + REST_BYTES;
    let mut command = Cmd::with_capacity(24 + 2 * event.headers.len(), bytes);
    command.arg("XADD").arg(stream);
    if let Some(trim) = trim {
        let operator = if trim.exact { "=" } else { "~" };
        match trim.rest {
            Rest::Entries(entries) => command.arg("MAXLEN").arg(operator).arg(entries),
            Rest::Age(age) => {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                let oldest = jiff::Timestamp::now().as_millisecond().saturating_sub(age).max(0);
                command.arg("MINID").arg(operator).arg(oldest)
            }
        };
    }
    command.arg("*");
    fields(event, |name, value| {
        command.arg(name).arg(value);
    });
    command
}

/// Whether any argument of an event's command may be longer than `bytes`.
pub(super) fn is_longer_than(event: &Event, bytes: usize) -> bool {
    longest(event) > bytes
}

/// The length of the longest argument of an event's command.
pub(super) fn longest(event: &Event) -> usize {
    let headers = event.headers.iter();
    let header = headers.map(|(name, value)| (HEADER_PREFIX.len() + name.len()).max(value.len()));
    header.max().unwrap_or(0).max(event.payload.len())
}

/// The fields of an entry, in their order.
fn fields(event: &Event, mut put: impl FnMut(&str, &[u8])) {
    if !event.headers_complete {
        let mut id = Uuid::encode_buffer();
        put("id", event.id.hyphenated().encode_lower(&mut id).as_bytes());
        put("topic", event.topic.as_bytes());
        if let Some(event_type) = &event.event_type {
            put("type", event_type.as_bytes());
        }
        put("occurred_at", format!("{:.6}", event.occurred_at).as_bytes());
        if let Some(replay) = event.replay {
            put("replay", replay.to_string().as_bytes());
        }
    }
    if let Some(key) = &event.key {
        put("key", key.as_bytes());
    }
    if !event.headers_complete || !event.content_type.is_empty() {
        put("content_type", event.content_type.as_bytes());
    }
    let mut field = String::from(HEADER_PREFIX);
    for (name, value) in &event.headers {
        // The event's own gives way to the column of that name, as on every wire.
        if name.eq_ignore_ascii_case(HEADER_CONTENT_TYPE) {
            continue;
        }
        field.truncate(HEADER_PREFIX.len());
        field.push_str(name);
        put(&field, value.as_bytes());
    }
    put("payload", &event.payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_holds_all_of_an_event() {
        let mut event = Event {
            id: Uuid::from_u128(7),
            topic: "shop.orders".into(),
            key: Some("42".into()),
            event_type: Some("OrderPlaced".into()),
            payload: vec![0xff, 0].into(),
            content_type: "application/json".into(),
            headers: vec![
                ("Content-Type".into(), "forged".into()),
                ("payload".into(), "mine".into()),
            ],
            occurred_at: jiff::Timestamp::UNIX_EPOCH,
            replay: None,
            headers_complete: false,
            verbatim: None,
        };
        let names = |event: &Event| {
            let mut all = Vec::new();
            fields(event, |name, value| {
                all.push(format!("{name}={}", String::from_utf8_lossy(value)));
            });
            all.join(" ")
        };
        assert_eq!(
            names(&event),
            "id=00000000-0000-0000-0000-000000000007 topic=shop.orders type=OrderPlaced \
             occurred_at=1970-01-01T00:00:00.000000Z key=42 content_type=application/json header:payload=mine payload=\u{fffd}\0"
        );
        event.replay = Some(3);
        assert!(names(&event).contains(" occurred_at=1970-01-01T00:00:00.000000Z replay=3 key=42 "));
        event.headers_complete = true;
        event.headers = vec![("ce-id".into(), "7".into())];
        assert_eq!(
            names(&event),
            "key=42 content_type=application/json header:ce-id=7 payload=\u{fffd}\0"
        );
    }
}
