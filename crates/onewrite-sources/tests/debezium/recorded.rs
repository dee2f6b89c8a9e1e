//! Recordings of a real Debezium (`./x record-debezium` makes them again), replayed: the same rows become the same records.
//!
//! Not compared is what the two cannot have in common: the id of a run, the id of a span, and the time and partition of a record
//! where no column gives them.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use onewrite_sources::foreign::debezium::{
    Change, Messages, Operation, Problem, Routed, Router, Table, TableColumn, Texts,
};
use onewrite_sources::foreign::value::{Column, Raw};
use serde_json::Value;

#[test]
fn rows_become_the_records_that_debezium_made_of_them() {
    let mut files: Vec<PathBuf> = fs::read_dir(Path::new("tests/debezium/recorded"))
        .expect("the recordings")
        .map(|entry| entry.expect("a recording").path())
        .collect();
    files.sort();
    assert!(files.len() > 40, "{} recordings", files.len());
    let mut differences = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let recording = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        differences.extend(
            replay(&recording)
                .into_iter()
                .map(|difference| format!("{name}: {difference}")),
        );
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn replay(recording: &Value) -> Vec<String> {
    let prefix = recording["topic_prefix"].as_str().unwrap();
    let router = Router::new(&texts(&recording["router"]), &texts(&recording["converters"])).unwrap();
    let router = router.with_context_headers(prefix);
    let table = Table::new(prefix, "public", "outbox", columns(recording));
    let mut differences = Vec::new();
    let rows = recording["rows"].as_array().unwrap();
    for form in ["text", "binary"] {
        for (at, row) in rows.iter().enumerate() {
            let made = match row["message"].as_str() {
                Some(content) => message(recording, &router, content),
                None => inserted(&router, &table, row, form),
            };
            let difference = match (made, &recording["failure"]) {
                (Ok(routed), Value::Null) => compare(&recording["records"][at], &routed),
                (Err(Problem::Failed(_)), Value::String(_)) => None,
                (made, failure) => Some(format!("{made:?} and not {failure}")),
            };
            differences.extend(difference.map(|difference| format!("row {at}, {form}: {difference}")));
        }
    }
    if rows.is_empty() {
        // Of these an update is the failure.
        let change = Change {
            operation: Operation::Update,
            values: &[],
            committed: Timestamp::UNIX_EPOCH,
        };
        let made = router.route(&table, &change);
        differences.extend((!matches!(made, Err(Problem::Failed(_)))).then(|| format!("{made:?}")));
    }
    differences
}

fn columns(recording: &Value) -> Vec<TableColumn> {
    let columns = recording["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| TableColumn {
            column: Column {
                name: column["name"].as_str().unwrap().into(),
                type_oid: column["type_oid"].as_u64().unwrap() as u32,
                type_modifier: column["type_modifier"].as_i64().unwrap() as i32,
            },
            optional: column["optional"].as_bool().unwrap(),
            default: column["default"].as_str().map(Into::into),
            labels: column["labels"].as_str().map(Into::into),
        });
    columns.collect()
}

fn inserted(router: &Router, table: &Table, row: &Value, form: &str) -> Result<Routed, Problem> {
    let values = row["values"].as_array().unwrap().iter().map(|value| match form {
        _ if value.is_null() => Raw::Null,
        "text" => Raw::Text(bytes(&value[form]).unwrap()),
        _ => Raw::Binary(bytes(&value[form]).unwrap()),
    });
    let values: Vec<Raw> = values.collect();
    let change = Change {
        operation: Operation::Insert,
        values: &values,
        committed: Timestamp::UNIX_EPOCH,
    };
    router
        .route(table, &change)
        .map(|routed| routed.expect("a record of an insert"))
}

fn message(recording: &Value, router: &Router, content: &str) -> Result<Routed, Problem> {
    let messages = Messages::new(&texts(&recording["decode"])).unwrap();
    messages.route(
        router,
        &Bytes::copy_from_slice(content.as_bytes()),
        Timestamp::UNIX_EPOCH,
    )
}

fn compare(recorded: &Value, routed: &Routed) -> Option<String> {
    let verbatim = &routed.verbatim;
    let value = (!verbatim.tombstone).then(|| routed.payload.clone());
    let headers = recorded["headers"].as_array().unwrap().iter();
    let headers = headers.map(|header| (header[0].as_str().unwrap().to_owned(), bytes(&header[1])));
    let expected = (
        recorded["topic"].as_str().unwrap(),
        bytes(&recorded["key"]),
        bytes(&recorded["value"]),
        headers.map(normal).collect::<Vec<_>>(),
        recorded["timestamp"].as_i64(),
    );
    let own = verbatim
        .headers
        .iter()
        .map(|(name, value)| normal((name.to_string(), value.clone())));
    let made = (
        &*routed.topic,
        verbatim.key.clone(),
        value,
        own.collect::<Vec<_>>(),
        verbatim.timestamp,
    );
    let partition = verbatim.partition.is_none_or(|own| recorded["partition"] == own);
    (made != expected || !partition).then(|| format!("\n  made     {made:?}\n  recorded {expected:?}"))
}

/// Without what is another each time.
fn normal((name, value): (String, Option<Bytes>)) -> (String, Option<Bytes>) {
    match (name.as_str(), value) {
        ("__debezium.context.runId", Some(value)) => {
            let text = String::from_utf8_lossy(&value).replace(|digit: char| digit.is_ascii_hexdigit(), "0");
            (name, Some(text.into()))
        }
        // Version, trace and flags stay.
        ("traceparent", Some(value)) if value.len() == 55 => {
            let kept = [&value[..36], b"span".as_slice(), &value[52..]].concat();
            (name, Some(kept.into()))
        }
        (_, value) => (name, value),
    }
}

fn bytes(value: &Value) -> Option<Bytes> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into()),
        other => Some(STANDARD.decode(other["base64"].as_str().unwrap()).unwrap().into()),
    }
}

fn texts(value: &Value) -> Texts {
    let pairs = value.as_object().into_iter().flatten();
    pairs
        .map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned()))
        .collect()
}
