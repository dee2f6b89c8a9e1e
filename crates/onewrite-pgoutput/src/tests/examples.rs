//! Each message, its bytes written by hand from the documentation's tables.

use bytes::Bytes;

use super::strategies::tuple_of;
use crate::{Column, LogicalMessage, Message, OldKind, Relation, RelationColumn, ReplicaIdentity};
use crate::{TruncateOptions, decode};

fn decoded(parts: &[&[u8]]) -> Message {
    decode(parts.concat().into()).unwrap_or_else(|error| panic!("{error}"))
}

fn text(value: &'static str) -> Column {
    Column::Text(Bytes::from_static(value.as_bytes()))
}

const LSN: &[u8] = &[0, 0, 0, 0x16, 0xB3, 0x74, 0xD8, 0x48];
const TIME: &[u8] = &[0, 2, 0x8B, 0xE4, 0x12, 0x34, 0x56, 0x78];
const RELATION: &[u8] = &[0, 0, 0x40, 1];

#[test]
fn begin() {
    let message = Message::Begin {
        final_lsn: 0x16_B374_D848,
        commit_time_micros: 0x2_8BE4_1234_5678,
        xid: 0xFFFF_FFFE,
    };
    assert_eq!(decoded(&[b"B", LSN, TIME, &[0xFF, 0xFF, 0xFF, 0xFE]]), message);
}

#[test]
fn commit() {
    let message = Message::Commit {
        flags: 0,
        commit_lsn: 0x16_B374_D848,
        end_lsn: 0x16_B374_D878,
        commit_time_micros: -1,
    };
    let end = [0, 0, 0, 0x16, 0xB3, 0x74, 0xD8, 0x78];
    assert_eq!(decoded(&[b"C\0", LSN, &end, &[0xFF; 8]]), message);
}

#[test]
fn origin() {
    let message = Message::Origin {
        commit_lsn: 0x16_B374_D848,
        name: "pg_16389".into(),
    };
    assert_eq!(decoded(&[b"O", LSN, b"pg_16389\0"]), message);
}

#[test]
fn relation() {
    let column = |flags, name: &'static str, type_oid, type_modifier| RelationColumn {
        flags,
        name: name.into(),
        type_oid,
        type_modifier,
    };
    let message = decoded(&[
        b"R",
        RELATION,
        b"onewrite\0outbox\0d\0\x02",
        b"\x01id\0\0\0\x0B\x86\xFF\xFF\xFF\xFF",
        "\0größe\0\0\0\x04\x13\0\0\0\x24".as_bytes(),
    ]);
    let Message::Relation(relation) = &message else {
        panic!("{message:?}");
    };
    assert!(relation.columns[0].is_key() && !relation.columns[1].is_key());
    let expected = Relation {
        oid: 16385,
        namespace: "onewrite".into(),
        name: "outbox".into(),
        replica_identity: ReplicaIdentity::Default,
        columns: vec![column(1, "id", 2950, -1), column(0, "größe", 1043, 36)],
    };
    assert_eq!(*relation, expected);
}

#[test]
fn each_replica_identity_and_a_table_without_columns() {
    let identities = [
        (b"d", ReplicaIdentity::Default),
        (b"n", ReplicaIdentity::Nothing),
        (b"f", ReplicaIdentity::Full),
        (b"i", ReplicaIdentity::Index),
    ];
    for (sent, replica_identity) in identities {
        let expected = Relation {
            oid: 16385,
            namespace: "s".into(),
            name: "t".into(),
            replica_identity,
            columns: Vec::new(),
        };
        let message = decoded(&[b"R", RELATION, b"s\0t\0", sent, b"\0\0"]);
        assert_eq!(message, Message::Relation(expected));
    }
}

#[test]
fn type_and_the_namespace_that_is_not_sent() {
    let message = |namespace: &'static str| Message::Type {
        oid: 16385,
        namespace: namespace.into(),
        name: "mood".into(),
    };
    assert_eq!(decoded(&[b"Y", RELATION, b"public\0mood\0"]), message("public"));
    assert_eq!(decoded(&[b"Y", RELATION, b"\0mood\0"]), message("pg_catalog"));
}

#[test]
fn insert_with_each_kind_of_column() {
    let message = decoded(&[b"I", RELATION, b"N\0\x05nut\0\0\0\x0242b\0\0\0\x03\0\xFF\x01t\0\0\0\0"]);
    let columns = [
        Column::Null,
        Column::Unchanged,
        text("42"),
        Column::Binary(Bytes::from_static(&[0, 0xFF, 1])),
        text(""),
    ];
    let Message::Insert { relation: 16385, new } = message else {
        panic!("{message:?}");
    };
    assert_eq!(new.columns().len(), 5);
    assert_eq!(new.columns().collect::<Vec<_>>(), columns);
}

#[test]
fn values_are_slices_of_what_was_given() {
    let data = Bytes::from([b"I", RELATION, b"N\0\x01t\0\0\0\x0242"].concat());
    let place = data.as_ptr() as usize + 13;
    let Ok(Message::Insert { new, .. }) = decode(data) else {
        panic!("an insert");
    };
    let Some(Column::Text(value)) = new.columns().next() else {
        panic!("a text");
    };
    assert_eq!(value.as_ptr() as usize, place);
}

#[test]
fn update_with_and_without_an_old_row() {
    let tuple = |value| tuple_of(&[text(value)]);
    let message = |old| Message::Update {
        relation: 16385,
        old,
        new: tuple("2"),
    };
    let new: &[u8] = b"N\0\x01t\0\0\0\x012";
    assert_eq!(decoded(&[b"U", RELATION, new]), message(None));
    let key = Some((OldKind::Key, tuple("1")));
    assert_eq!(decoded(&[b"U", RELATION, b"K\0\x01t\0\0\0\x011", new]), message(key));
    let full = Some((OldKind::Full, tuple("1")));
    assert_eq!(decoded(&[b"U", RELATION, b"O\0\x01t\0\0\0\x011", new]), message(full));
}

#[test]
fn delete_by_key_and_by_row() {
    for (sent, kind) in [(b"K", OldKind::Key), (b"O", OldKind::Full)] {
        let old = tuple_of(&[text("1"), Column::Null]);
        let message = Message::Delete {
            relation: 16385,
            kind,
            old,
        };
        assert_eq!(decoded(&[b"D", RELATION, sent, b"\0\x02t\0\0\0\x011n"]), message);
    }
}

#[test]
fn truncate() {
    let message = decoded(&[b"T\0\0\0\x02\x03", RELATION, &[0, 0, 0x40, 2]]);
    let options = TruncateOptions(3);
    assert!(options.cascade() && options.restart_identity());
    assert!(!TruncateOptions(1).restart_identity() && !TruncateOptions(2).cascade());
    let relations = vec![16385, 16386];
    assert_eq!(message, Message::Truncate { relations, options });
}

#[test]
fn logical_messages_inside_and_outside_of_a_transaction() {
    for (flag, transactional) in [([0], false), ([1], true)] {
        let expected = LogicalMessage {
            transactional,
            lsn: 0x16_B374_D848,
            prefix: "outbox".into(),
            content: Bytes::from_static(&[1, 0, 2]),
        };
        let message = decoded(&[b"M", &flag, LSN, b"outbox\0\0\0\0\x03\x01\0\x02"]);
        assert_eq!(message, Message::LogicalMessage(expected));
    }
}
