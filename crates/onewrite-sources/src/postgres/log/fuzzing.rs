//! What `./x fuzz` tries of this module.

use bytes::BytesMut;
use onewrite_pgoutput::{Column, Message, decode};

use super::super::rows::Decoder;
use super::relation::Layout;
use super::stream::{Frame, take_frames};

/// Any bytes are messages of a replication stream or an error, and no more than came is handed over.
pub(crate) fn frames(bytes: &[u8]) {
    let (mut read, mut batch) = (BytesMut::from(bytes), Vec::new());
    loop {
        let before = read.len();
        if take_frames(&mut read, &mut batch).is_err() || read.len() == before {
            break;
        }
    }
    let held = batch.iter().map(|frame| match frame {
        Frame::Data(data) => data.len(),
        Frame::Idle { .. } => size_of::<u64>(),
    });
    assert!(held.sum::<usize>() <= bytes.len());
}

/// A table and a row of it, as the log has them: the row is an event of the outbox, or the error says why not.
pub(crate) fn logged(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let Some((table, row)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else {
        return;
    };
    let (Ok(Message::Relation(table)), Ok(Message::Insert { new, .. })) =
        (decode(table.to_vec().into()), decode(row.to_vec().into()))
    else {
        return;
    };
    let Ok(Some(layout)) = Layout::of(&table) else { return };
    let Ok(found) = layout.read(&new) else { return };
    let _topic = found.topic_and_type();
    let hashed = found.hash().is_ok();
    let held: usize = new
        .columns()
        .map(|column| match column {
            Column::Text(value) | Column::Binary(value) => value.len(),
            Column::Null | Column::Unchanged => 0,
        })
        .sum();
    if let Ok(row) = found.into_row(&mut Decoder::default()) {
        assert!(hashed && row.event.payload.len() <= held);
    }
}
