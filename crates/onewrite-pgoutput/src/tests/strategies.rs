//! Random messages.

use proptest::collection::vec;
use proptest::prelude::*;

use super::encoder;
use crate::{Column, LogicalMessage, Message, Name, OldKind, Relation, RelationColumn, ReplicaIdentity};
use crate::{TruncateOptions, Tuple};

pub fn message() -> impl Strategy<Value = Message> {
    let lsn = any::<u64>;
    let micros = any::<i64>;
    let oid = any::<u32>;
    prop_oneof![
        (lsn(), micros(), oid()).prop_map(|(final_lsn, commit_time_micros, xid)| Message::Begin {
            final_lsn,
            commit_time_micros,
            xid
        }),
        (any::<u8>(), lsn(), lsn(), micros()).prop_map(|(flags, commit_lsn, end_lsn, commit_time_micros)| {
            Message::Commit {
                flags,
                commit_lsn,
                end_lsn,
                commit_time_micros,
            }
        }),
        (lsn(), name()).prop_map(|(commit_lsn, name)| Message::Origin { commit_lsn, name }),
        relation().prop_map(Message::Relation),
        (oid(), namespace(), name()).prop_map(|(oid, namespace, name)| Message::Type { oid, namespace, name }),
        (oid(), tuple()).prop_map(|(relation, new)| Message::Insert { relation, new }),
        (oid(), proptest::option::of((old_kind(), tuple())), tuple())
            .prop_map(|(relation, old, new)| Message::Update { relation, old, new }),
        (oid(), old_kind(), tuple()).prop_map(|(relation, kind, old)| Message::Delete { relation, kind, old }),
        (vec(oid(), 0..5), any::<u8>()).prop_map(|(relations, options)| Message::Truncate {
            relations,
            options: TruncateOptions(options)
        }),
        logical_message().prop_map(Message::LogicalMessage),
    ]
}

pub fn columns() -> impl Strategy<Value = Vec<Column>> {
    let column = prop_oneof![
        Just(Column::Null),
        Just(Column::Unchanged),
        bytes().prop_map(|value| Column::Text(value.into())),
        bytes().prop_map(|value| Column::Binary(value.into())),
    ];
    vec(column, 0..8)
}

/// The tuple of these columns.
pub fn tuple_of(columns: &[Column]) -> Tuple {
    let count = u16::try_from(columns.len()).expect("few columns");
    Tuple::new(count, encoder::columns(columns).into())
}

fn tuple() -> impl Strategy<Value = Tuple> {
    columns().prop_map(|columns| tuple_of(&columns))
}

fn relation() -> impl Strategy<Value = Relation> {
    let column =
        (any::<u8>(), name(), any::<u32>(), any::<i32>()).prop_map(|(flags, name, type_oid, type_modifier)| {
            RelationColumn {
                flags,
                name,
                type_oid,
                type_modifier,
            }
        });
    let identity = proptest::sample::select(vec![
        ReplicaIdentity::Default,
        ReplicaIdentity::Nothing,
        ReplicaIdentity::Full,
        ReplicaIdentity::Index,
    ]);
    (any::<u32>(), namespace(), name(), identity, vec(column, 0..5)).prop_map(
        |(oid, namespace, name, replica_identity, columns)| Relation {
            oid,
            namespace,
            name,
            replica_identity,
            columns,
        },
    )
}

fn logical_message() -> impl Strategy<Value = LogicalMessage> {
    (any::<bool>(), any::<u64>(), name(), bytes()).prop_map(|(transactional, lsn, prefix, content)| LogicalMessage {
        transactional,
        lsn,
        prefix,
        content: content.into(),
    })
}

fn old_kind() -> impl Strategy<Value = OldKind> {
    prop_oneof![Just(OldKind::Key), Just(OldKind::Full)]
}

fn name() -> impl Strategy<Value = Name> {
    "[^\0]{0,12}".prop_map(Name::from)
}

fn namespace() -> impl Strategy<Value = Name> {
    prop_oneof![Just(Name::from("pg_catalog")), "[^\0]{1,12}".prop_map(Name::from)]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..24)
}
