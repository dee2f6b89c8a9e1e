//! Rows of an outbox table as texts, and records as one line to compare.

use std::fmt::Write;

use jiff::Timestamp;
use onewrite_sources::foreign::debezium::{Change, Operation, Problem, Routed, Router, Table, TableColumn, Texts};
use onewrite_sources::foreign::value::{Column, Raw, oid};

/// A column with its value in text form: name, type, type modifier, value.
pub type Cell = (&'static str, u32, i32, Option<&'static str>);

/// The event of a user that was created.
pub const USER: [Cell; 5] = [
    ("id", oid::VARCHAR, -1, Some("da8d6de6-3b77-45ff-8f44-57db55a7a06c")),
    ("aggregatetype", oid::VARCHAR, -1, Some("User")),
    ("aggregateid", oid::VARCHAR, -1, Some("10711fa5")),
    ("type", oid::VARCHAR, -1, Some("UserCreated")),
    ("payload", oid::TEXT, -1, Some("{}")),
];

/// Plain texts, so that a record is easily read.
pub const PLAIN: [(&str, &str); 3] = [
    ("key.converter", "org.apache.kafka.connect.storage.StringConverter"),
    ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
    ("value.converter.schemas.enable", "false"),
];

/// The row with these cells in place of its own, or added to it.
pub fn user(changed: &[Cell]) -> Vec<Cell> {
    let mut row = USER.to_vec();
    for cell in changed {
        match row.iter_mut().find(|known| known.0 == cell.0) {
            Some(known) => *known = *cell,
            None => row.push(*cell),
        }
    }
    row
}

/// Options from pairs.
pub fn texts(pairs: &[(&str, &str)]) -> Texts {
    let pairs = pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    pairs.collect()
}

/// Routes a change of a row.
pub fn change(router: &Router, operation: Operation, row: &[Cell]) -> Result<Option<Routed>, Problem> {
    let columns = row.iter().map(|(name, type_oid, type_modifier, value)| TableColumn {
        // Where a test has no null, the column takes none.
        optional: value.is_none(),
        ..TableColumn::new(Column {
            name: (*name).into(),
            type_oid: *type_oid,
            type_modifier: *type_modifier,
        })
    });
    let table = Table::new("shop", "public", "outbox", columns.collect());
    let values = row
        .iter()
        .map(|(_, _, _, value)| value.map_or(Raw::Null, |text| Raw::Text(text.into())));
    let values: Vec<Raw> = values.collect();
    let change = Change {
        operation,
        values: &values,
        committed: Timestamp::from_second(1_700_000_000).unwrap(),
    };
    router.route(&table, &change)
}

/// Routes an inserted row with these options and converters.
pub fn inserted(options: &[(&str, &str)], converters: &[(&str, &str)], row: &[Cell]) -> Result<Routed, Problem> {
    let router = Router::new(&texts(options), &texts(converters)).unwrap();
    change(&router, Operation::Insert, row).map(Option::unwrap)
}

/// The record as one line: topic, partition, key, headers, value, time. What is not there is a dash.
pub fn line(routed: &Routed) -> String {
    let mut line = routed.topic.to_string();
    let verbatim = &routed.verbatim;
    let text = |bytes: Option<&[u8]>| bytes.map_or("-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned());
    if let Some(partition) = verbatim.partition {
        write!(line, "[{partition}]").unwrap();
    }
    write!(line, " {}", text(verbatim.key.as_deref())).unwrap();
    for (name, value) in &verbatim.headers {
        write!(line, " {name}={}", text(value.as_deref())).unwrap();
    }
    write!(line, " {}", text((!verbatim.tombstone).then_some(&*routed.payload))).unwrap();
    if let Some(timestamp) = verbatim.timestamp {
        write!(line, " at {timestamp}").unwrap();
    }
    line
}
