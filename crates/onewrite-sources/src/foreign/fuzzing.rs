//! What `./x fuzz` tries of this module.

use std::sync::LazyLock;

use bytes::Bytes;
use jiff::Timestamp;

use super::debezium::{Change, Messages, Operation, Router, Table, TableColumn, Texts};
use super::value::{Column, Raw, Value, oid};

const TYPES: [u32; 20] = [
    oid::BOOL,
    oid::BYTEA,
    oid::NAME,
    oid::INT8,
    oid::INT2,
    oid::INT4,
    oid::TEXT,
    oid::JSON,
    oid::FLOAT4,
    oid::FLOAT8,
    oid::UNKNOWN,
    oid::BPCHAR,
    oid::VARCHAR,
    oid::DATE,
    oid::TIME,
    oid::TIMESTAMP,
    oid::TIMESTAMPTZ,
    oid::NUMERIC,
    oid::UUID,
    oid::JSONB,
];

fn column(name: &str, type_oid: u32) -> Column {
    Column {
        name: name.into(),
        type_oid,
        type_modifier: -1,
    }
}

/// A type, a form and a value: what can be read is written as a text that is read as the same again, where it can be.
pub(crate) fn value(bytes: &[u8]) {
    let [kind, form, value @ ..] = bytes else { return };
    let Some(type_oid) = TYPES.get(usize::from(kind.wrapping_sub(b'a'))) else {
        return;
    };
    let value = Bytes::copy_from_slice(value);
    let raw = match form {
        b'b' => Raw::Binary(value),
        _ => Raw::Text(value),
    };
    let column = column("c", *type_oid);
    let read = match Value::read(&column, &raw) {
        Ok(read) => read,
        Err(words) => return assert!(words.starts_with("column c "), "{words}"),
    };
    let _body_and_time = (read.payload(), read.time(), read.uuid());
    let text = read.text().expect("it is not NULL").into_owned();
    let again = Value::read(&column, &Raw::Text(text.clone().into()));
    let same = |again: &Value| *again == read || text == "NaN";
    assert!(
        again.as_ref().map_or(true, same),
        "{read:?} is written {text:?}, which is {again:?}"
    );
}

/// Any default of a column is a value of its type or none.
pub(crate) fn column_default(expression: &str) {
    let columns = TYPES.map(|type_oid| TableColumn {
        default: Some(expression.into()),
        ..TableColumn::new(column("c", type_oid))
    });
    Table::new("shop", "public", "outbox", columns.into());
}

static ROUTERS: LazyLock<[Router; 2]> = LazyLock::new(|| {
    let router = |options: &[(&str, &str)], converters: &[(&str, &str)]| {
        let texts = |pairs: &[(&str, &str)]| -> Texts {
            let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
            pairs.iter().map(pair).collect()
        };
        Router::new(&texts(options), &texts(converters)).expect("the options are right")
    };
    let expanding = [
        ("table.expand.json.payload", "true"),
        ("table.json.payload.null.behavior", "optional_bytes"),
        (
            "table.fields.additional.placement",
            "at:header,price:envelope,type:envelope:kind,number:partition",
        ),
        ("table.field.event.timestamp", "at"),
        ("route.topic.regex", "(?<first>[a-z]+)(.*)"),
        ("route.topic.replacement", "${first}.$2"),
        ("route.tombstone.on.empty.payload", "true"),
    ];
    let plain = [
        ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
        ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
        ("value.converter.schemas.enable", "false"),
    ];
    [router(&[], &[]), router(&expanding, &plain)]
});

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let columns = [
        ("id", oid::TEXT),
        ("aggregatetype", oid::VARCHAR),
        ("aggregateid", oid::TEXT),
        ("type", oid::TEXT),
        ("payload", oid::JSONB),
        ("at", oid::TIMESTAMP),
        ("price", oid::NUMERIC),
        ("number", oid::INT4),
        ("tracingspancontext", oid::TEXT),
    ];
    let columns = columns.map(|(name, type_oid)| TableColumn::new(column(name, type_oid)));
    Table::new("shop", "public", "outbox", columns.into())
});

/// Any row, its values with a NUL between each two, is a record with a value in JSON, or is told why not.
pub(crate) fn row(bytes: &[u8]) {
    let values: Vec<Raw> = bytes
        .split(|byte| *byte == 0)
        .map(|value| match value {
            b"NULL" => Raw::Null,
            value => Raw::Text(Bytes::copy_from_slice(value)),
        })
        .collect();
    let change = Change {
        operation: Operation::Insert,
        values: &values,
        committed: Timestamp::UNIX_EPOCH,
    };
    for router in &*ROUTERS {
        let routed = router.route(&TABLE, &change);
        if let Ok(Some(routed)) = routed
            && !routed.verbatim.tombstone
        {
            let json: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&routed.payload);
            assert!(json.is_ok(), "{}", routed.payload.escape_ascii());
        }
        router.remains(&TABLE, &values);
    }
}

/// The content of any logical message is a record, or is told why not.
pub(crate) fn message(content: &[u8]) {
    static MESSAGES: LazyLock<Messages> = LazyLock::new(|| Messages::new(&Texts::new()).expect("no option is wrong"));
    let content = Bytes::copy_from_slice(content);
    for router in &*ROUTERS {
        let _routed = MESSAGES.route(router, &content, Timestamp::UNIX_EPOCH);
    }
}

/// Any options, a line each, make a router or an error; whatever their regular expression and replacement are, a topic comes of them.
pub(crate) fn options(text: &str) {
    let pair = |line: &str| {
        line.split_once('=')
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
    };
    let (converters, options): (Texts, Texts) = text
        .lines()
        .filter_map(pair)
        .partition(|(name, _): &(String, String)| name.contains("converter"));
    match Router::new(&options, &converters) {
        Ok(router) => drop(router.remains(&TABLE, &[Raw::Text("1".into()), Raw::Text("order-42".into())])),
        Err(words) => assert!(!words.is_empty()),
    }
}
