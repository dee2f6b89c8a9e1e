//! Any bytes are a message or an error, and a message holds no more than the bytes it was made from.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use onewrite_pgoutput::{Column, Message, Tuple, decode};

fuzz_target!(|data: &[u8]| {
    let held = match decode(Bytes::copy_from_slice(data)) {
        Err(error) => {
            assert!(error.offset <= data.len(), "{error}");
            return;
        }
        Ok(Message::Insert { new, .. }) => bytes_of(&new),
        Ok(Message::Delete { old, .. }) => bytes_of(&old),
        Ok(Message::Update { old, new, .. }) => bytes_of(&new) + old.map_or(0, |(_, old)| bytes_of(&old)),
        Ok(Message::Truncate { relations, .. }) => size_of_val(relations.as_slice()),
        Ok(Message::LogicalMessage(message)) => message.prefix.len() + message.content.len(),
        // It says pg_catalog where the server sent nothing.
        Ok(Message::Relation(relation)) => relation.name.len() + relation.columns.len() * 10,
        Ok(Message::Type { name, .. } | Message::Origin { name, .. }) => name.len(),
        Ok(Message::Begin { .. } | Message::Commit { .. }) => 0,
    };
    assert!(held < data.len(), "{held} bytes from {}", data.len());
});

/// What the columns take on the wire.
fn bytes_of(tuple: &Tuple) -> usize {
    assert_eq!(tuple.columns().count(), tuple.len());
    let column = |column| match column {
        Column::Null | Column::Unchanged => 1,
        Column::Text(value) | Column::Binary(value) => 1 + size_of::<u32>() + value.len(),
    };
    tuple.columns().map(column).sum()
}
