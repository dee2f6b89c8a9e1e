//! A record that a contract lays down to the byte, as `parked_event.record` keeps it while its event is set aside.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use onewrite_core::Verbatim;
use onewrite_core::event::Headers;
use serde::{Deserialize, Serialize};

/// Bytes as base64, since no JSON holds any bytes.
#[derive(Serialize, Deserialize)]
struct Record {
    key: Option<String>,
    tombstone: bool,
    headers: Vec<(String, Option<String>)>,
    partition: Option<i32>,
    timestamp: Option<i64>,
}

/// The JSON text of a record.
pub(super) fn to_json(verbatim: &Verbatim) -> String {
    let text = |bytes: &Bytes| STANDARD.encode(bytes);
    let record = Record {
        key: verbatim.key.as_ref().map(text),
        tombstone: verbatim.tombstone,
        headers: (verbatim.headers.iter())
            .map(|(name, value)| (name.to_string(), value.as_ref().map(text)))
            .collect(),
        partition: verbatim.partition,
        timestamp: verbatim.timestamp,
    };
    serde_json::to_string(&record).unwrap_or_default()
}

/// The record of a JSON text.
///
/// # Errors
/// What is wrong with it: somebody changed it by hand.
pub(super) fn from_json(text: &str) -> Result<Verbatim, String> {
    let record: Record = serde_json::from_str(text).map_err(|error| format!("the record cannot be read: {error}"))?;
    let bytes = |text: String| {
        let bytes = STANDARD.decode(text).map(Bytes::from);
        bytes.map_err(|error| format!("the record holds what is no base64: {error}"))
    };
    let headers = record.headers.into_iter();
    let headers = headers.map(|(name, value)| Ok((name.into(), value.map(bytes).transpose()?)));
    Ok(Verbatim {
        key: record.key.map(bytes).transpose()?,
        tombstone: record.tombstone,
        headers: headers.collect::<Result<_, String>>()?,
        partition: record.partition,
        timestamp: record.timestamp,
    })
}

/// The headers of a record, from an event's.
pub(super) fn headers_json(headers: &Headers) -> String {
    let headers: Vec<(&str, String)> = (headers.iter())
        .map(|(name, value)| (&**name, STANDARD.encode(&**value)))
        .collect();
    serde_json::to_string(&headers).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was() {
        let full = Verbatim {
            key: Some(Bytes::from_static(b"\0\xff")),
            tombstone: true,
            headers: vec![
                ("a".into(), Some(Bytes::from_static(b"\xfe"))),
                ("a".into(), None),
                ("ü".into(), Some(Bytes::new())),
            ],
            partition: Some(3),
            timestamp: Some(-1),
        };
        for verbatim in [full, Verbatim::default()] {
            assert_eq!(from_json(&to_json(&verbatim)), Ok(verbatim));
        }
    }

    #[test]
    fn what_is_no_record_is_told() {
        assert!(
            from_json("{}")
                .unwrap_err()
                .starts_with("the record cannot be read: missing field")
        );
        let text = to_json(&Verbatim::default()).replace("\"key\":null", "\"key\":\"?\"");
        assert!(
            from_json(&text)
                .unwrap_err()
                .starts_with("the record holds what is no base64")
        );
    }
}
