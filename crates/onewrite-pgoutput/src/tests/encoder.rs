//! What the server does: from messages to bytes.

use crate::{Column, LogicalMessage, Message, OldKind, Relation, ReplicaIdentity, Tuple};

pub fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Begin {
            final_lsn,
            commit_time_micros,
            xid,
        } => join(
            b'B',
            &[
                &final_lsn.to_be_bytes(),
                &commit_time_micros.to_be_bytes(),
                &xid.to_be_bytes(),
            ],
        ),
        Message::Commit {
            flags,
            commit_lsn,
            end_lsn,
            commit_time_micros,
        } => {
            let (commit_lsn, end_lsn) = (commit_lsn.to_be_bytes(), end_lsn.to_be_bytes());
            join(
                b'C',
                &[&[*flags], &commit_lsn, &end_lsn, &commit_time_micros.to_be_bytes()],
            )
        }
        Message::Origin { commit_lsn, name } => join(b'O', &[&commit_lsn.to_be_bytes(), &text(name)]),
        Message::Relation(definition) => relation(definition),
        Message::Type { oid, namespace, name } => join(b'Y', &[&oid.to_be_bytes(), &schema(namespace), &text(name)]),
        Message::Insert { relation, new } => join(b'I', &[&relation.to_be_bytes(), b"N", &tuple(new)]),
        Message::Update { relation, old, new } => {
            let old = old
                .iter()
                .flat_map(|(kind, old)| tagged(*kind, old))
                .collect::<Vec<u8>>();
            join(b'U', &[&relation.to_be_bytes(), &old, b"N", &tuple(new)])
        }
        Message::Delete { relation, kind, old } => join(b'D', &[&relation.to_be_bytes(), &tagged(*kind, old)]),
        Message::Truncate { relations, options } => {
            let oids: Vec<u8> = relations.iter().flat_map(|oid| oid.to_be_bytes()).collect();
            join(b'T', &[&size(relations.len()), &[options.0], &oids])
        }
        Message::LogicalMessage(message) => logical_message(message),
    }
}

fn relation(definition: &Relation) -> Vec<u8> {
    let identity = match definition.replica_identity {
        ReplicaIdentity::Default => b"d",
        ReplicaIdentity::Nothing => b"n",
        ReplicaIdentity::Full => b"f",
        ReplicaIdentity::Index => b"i",
    };
    let columns = definition.columns.iter().flat_map(|column| {
        let parts: [&[u8]; 3] = [
            &text(&column.name),
            &column.type_oid.to_be_bytes(),
            &column.type_modifier.to_be_bytes(),
        ];
        join(column.flags, &parts)
    });
    let columns: Vec<u8> = columns.collect();
    let parts: [&[u8]; 6] = [
        &definition.oid.to_be_bytes(),
        &schema(&definition.namespace),
        &text(&definition.name),
        identity,
        &count(definition.columns.len()),
        &columns,
    ];
    join(b'R', &parts)
}

fn logical_message(message: &LogicalMessage) -> Vec<u8> {
    let parts: [&[u8]; 5] = [
        &[u8::from(message.transactional)],
        &message.lsn.to_be_bytes(),
        &text(&message.prefix),
        &size(message.content.len()),
        &message.content,
    ];
    join(b'M', &parts)
}

/// A count of columns, and the columns.
fn tuple(tuple: &Tuple) -> Vec<u8> {
    let columns: Vec<Column> = tuple.columns().collect();
    [count(columns.len()).to_vec(), self::columns(&columns)].concat()
}

pub fn columns(columns: &[Column]) -> Vec<u8> {
    let column = |column: &Column| match column {
        Column::Null => b"n".to_vec(),
        Column::Unchanged => b"u".to_vec(),
        Column::Text(value) => join(b't', &[&size(value.len()), value]),
        Column::Binary(value) => join(b'b', &[&size(value.len()), value]),
    };
    columns.iter().flat_map(column).collect()
}

fn tagged(kind: OldKind, old: &Tuple) -> Vec<u8> {
    let tag = match kind {
        OldKind::Key => b'K',
        OldKind::Full => b'O',
    };
    join(tag, &[&tuple(old)])
}

fn join(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[tag], parts.concat().as_slice()].concat()
}

fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

fn schema(name: &str) -> Vec<u8> {
    text(if name == "pg_catalog" { "" } else { name })
}

fn count(count: usize) -> [u8; 2] {
    i16::try_from(count).expect("a count fits two bytes").to_be_bytes()
}

fn size(size: usize) -> [u8; 4] {
    i32::try_from(size).expect("a size fits four bytes").to_be_bytes()
}
