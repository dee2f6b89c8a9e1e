//! From bytes to messages.

use bytes::Bytes;

use crate::error::DecodeError;
use crate::message::{LogicalMessage, Message, OldKind, Relation, RelationColumn, ReplicaIdentity, TruncateOptions};
use crate::name::Name;
use crate::reader::{Reader, TupleFields};
use crate::tuple::Tuple;

/// Decodes one message of protocol version 1: its tag, its fields, and nothing behind them.
///
/// # Errors
///
/// If the bytes are anything else; see [`DecodeError`].
pub fn decode(data: Bytes) -> Result<Message, DecodeError> {
    let mut reader = Reader::new(data);
    let tag = reader.u8("tag")?;
    let (kind, body) = kind(tag).ok_or_else(|| {
        let expected = "'B', 'C', 'O', 'R', 'Y', 'I', 'U', 'D', 'T' or 'M' (protocol version 1)";
        reader.unknown_byte("tag", tag, expected)
    })?;
    reader.message = kind;
    let message = body(&mut reader)?;
    reader.finish()?;
    Ok(message)
}

type Body = fn(&mut Reader) -> Result<Message, DecodeError>;

/// The kind that a tag stands for: its name, and what reads the fields behind the tag.
fn kind(tag: u8) -> Option<(&'static str, Body)> {
    Some(match tag {
        b'B' => ("Begin", begin),
        b'C' => ("Commit", commit),
        b'O' => ("Origin", origin),
        b'R' => ("Relation", relation),
        b'Y' => ("Type", type_name),
        b'I' => ("Insert", insert),
        b'U' => ("Update", update),
        b'D' => ("Delete", delete),
        b'T' => ("Truncate", truncate),
        b'M' => ("Message", logical_message),
        _ => return None,
    })
}

fn begin(reader: &mut Reader) -> Result<Message, DecodeError> {
    Ok(Message::Begin {
        final_lsn: reader.u64("final position")?,
        commit_time_micros: reader.i64("commit time")?,
        xid: reader.u32("transaction id")?,
    })
}

fn commit(reader: &mut Reader) -> Result<Message, DecodeError> {
    Ok(Message::Commit {
        flags: reader.u8("flags")?,
        commit_lsn: reader.u64("commit position")?,
        end_lsn: reader.u64("end position")?,
        commit_time_micros: reader.i64("commit time")?,
    })
}

fn origin(reader: &mut Reader) -> Result<Message, DecodeError> {
    Ok(Message::Origin {
        commit_lsn: reader.u64("commit position")?,
        name: reader.name("name")?,
    })
}

fn relation(reader: &mut Reader) -> Result<Message, DecodeError> {
    Ok(Message::Relation(Relation {
        oid: reader.u32("oid")?,
        namespace: namespace(reader)?,
        name: reader.name("name")?,
        replica_identity: replica_identity(reader)?,
        columns: relation_columns(reader)?,
    }))
}

fn type_name(reader: &mut Reader) -> Result<Message, DecodeError> {
    Ok(Message::Type {
        oid: reader.u32("oid")?,
        namespace: namespace(reader)?,
        name: reader.name("name")?,
    })
}

fn insert(reader: &mut Reader) -> Result<Message, DecodeError> {
    Ok(Message::Insert {
        relation: reader.u32("relation")?,
        new: match reader.u8("kind of tuple")? {
            b'N' => new_tuple(reader)?,
            found => return Err(reader.unknown_byte("kind of tuple", found, "'N'")),
        },
    })
}

fn update(reader: &mut Reader) -> Result<Message, DecodeError> {
    let relation = reader.u32("relation")?;
    let first = reader.u8("kind of the first tuple")?;
    if first == b'N' {
        let new = new_tuple(reader)?;
        return Ok(Message::Update {
            relation,
            old: None,
            new,
        });
    }
    let Some(kind) = old_kind(first) else {
        return Err(reader.unknown_byte("kind of the first tuple", first, "'K', 'O' or 'N'"));
    };
    let old = old_tuple(reader)?;
    match reader.u8("kind of the second tuple")? {
        b'N' => Ok(Message::Update {
            relation,
            old: Some((kind, old)),
            new: new_tuple(reader)?,
        }),
        found => Err(reader.unknown_byte("kind of the second tuple", found, "'N'")),
    }
}

fn delete(reader: &mut Reader) -> Result<Message, DecodeError> {
    let relation = reader.u32("relation")?;
    let found = reader.u8("kind of tuple")?;
    let Some(kind) = old_kind(found) else {
        return Err(reader.unknown_byte("kind of tuple", found, "'K' or 'O'"));
    };
    let old = old_tuple(reader)?;
    Ok(Message::Delete { relation, kind, old })
}

fn truncate(reader: &mut Reader) -> Result<Message, DecodeError> {
    let count = reader.size("number of relations")?;
    let options = TruncateOptions(reader.u8("options")?);
    reader.require("relations", count.saturating_mul(size_of::<u32>()))?;
    let relations = (0..count).map(|_| reader.u32("relations")).collect::<Result<_, _>>()?;
    Ok(Message::Truncate { relations, options })
}

fn logical_message(reader: &mut Reader) -> Result<Message, DecodeError> {
    let transactional = match reader.u8("flags")? {
        0 => false,
        1 => true,
        found => return Err(reader.unknown_byte("flags", found, "0 or 1")),
    };
    let lsn = reader.u64("position")?;
    let prefix = reader.name("prefix")?;
    let length = reader.size("content's length")?;
    Ok(Message::LogicalMessage(LogicalMessage {
        transactional,
        lsn,
        prefix,
        content: reader.bytes("content", length)?,
    }))
}

/// The server sends nothing for `pg_catalog`.
fn namespace(reader: &mut Reader) -> Result<Name, DecodeError> {
    let sent = reader.name("namespace")?;
    Ok(if sent.is_empty() { "pg_catalog".into() } else { sent })
}

fn replica_identity(reader: &mut Reader) -> Result<ReplicaIdentity, DecodeError> {
    Ok(match reader.u8("replica identity")? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        found => return Err(reader.unknown_byte("replica identity", found, "'d', 'n', 'f' or 'i'")),
    })
}

fn relation_columns(reader: &mut Reader) -> Result<Vec<RelationColumn>, DecodeError> {
    /// Flags, the end of an empty name, the type's oid, its modifier.
    const SHORTEST: usize = 1 + 1 + 4 + 4;
    let count = usize::from(reader.count("number of columns")?);
    reader.require("columns", count * SHORTEST)?;
    let column = |_| {
        Ok(RelationColumn {
            flags: reader.u8("column's flags")?,
            name: reader.name("column's name")?,
            type_oid: reader.u32("column's type")?,
            type_modifier: reader.i32("column's type modifier")?,
        })
    };
    (0..count).map(column).collect()
}

fn old_kind(tag: u8) -> Option<OldKind> {
    match tag {
        b'K' => Some(OldKind::Key),
        b'O' => Some(OldKind::Full),
        _ => None,
    }
}

fn new_tuple(reader: &mut Reader) -> Result<Tuple, DecodeError> {
    reader.tuple(&TupleFields {
        count: "number of columns of the new tuple",
        kind: "column kind of the new tuple",
        length: "column length of the new tuple",
        value: "column value of the new tuple",
    })
}

fn old_tuple(reader: &mut Reader) -> Result<Tuple, DecodeError> {
    reader.tuple(&TupleFields {
        count: "number of columns of the old tuple",
        kind: "column kind of the old tuple",
        length: "column length of the old tuple",
        value: "column value of the old tuple",
    })
}
