//! The facts of Debezium's `EventRouterTest` (3.6), in this project's words; those of JSON expansion are in `expansion.rs`.
//!
//! Of its 44 cases five have no counterpart: a log has no records of other kinds (heartbeats, tombstones) that the router would
//! have to tell from rows.

use onewrite_sources::foreign::debezium::{Operation, Problem, Remains, Router, Table, TableColumn};
use onewrite_sources::foreign::value::{Column, Raw, oid};

use super::rows::{Cell, PLAIN, USER, change, inserted, line, texts, user};

const ID: &str = "id=da8d6de6-3b77-45ff-8f44-57db55a7a06c";

/// Options, changes to the row of a user, and the record, of which `ID` is left out.
type Case = (&'static [(&'static str, &'static str)], &'static [Cell], &'static str);

const PLACEMENT: &str = "table.fields.additional.placement";

const RECORDS: &[Case] = &[
    (&[], &[], "outbox.event.User 10711fa5 _ \"{}\""),
    (
        &[("table.field.event.key", "type")],
        &[],
        "outbox.event.User UserCreated _ \"{}\"",
    ),
    (
        &[("route.by.field", "type")],
        &[],
        "outbox.event.UserCreated 10711fa5 _ \"{}\"",
    ),
    (
        &[("route.by.field", "aggregatetype")],
        &[("aggregatetype", oid::VARCHAR, -1, Some("Address"))],
        "outbox.event.Address 10711fa5 _ \"{}\"",
    ),
    (
        &[("route.topic.regex", "(?i)(user)"), ("route.topic.replacement", "$1s")],
        &[],
        "Users 10711fa5 _ \"{}\"",
    ),
    (
        &[("table.field.event.timestamp", "event_timestamp")],
        &[("event_timestamp", oid::TIMESTAMP, 3, Some("2420-09-06 20:03:45.338"))],
        "outbox.event.User 10711fa5 _ \"{}\" at 14222203425338",
    ),
    (
        &[("table.field.event.timestamp", "event_timestamp")],
        &[(
            "event_timestamp",
            oid::TIMESTAMP,
            -1,
            Some("2024-01-02 03:04:05.678901"),
        )],
        "outbox.event.User 10711fa5 _ \"{}\" at 1704164645678",
    ),
    (
        &[("table.field.event.timestamp", "event_timestamp")],
        &[("event_timestamp", oid::TIMESTAMP, -1, None)],
        "outbox.event.User 10711fa5 _ \"{}\"",
    ),
    (
        &[(PLACEMENT, "type:header:eventType")],
        &[],
        "outbox.event.User 10711fa5 _ eventType=UserCreated \"{}\"",
    ),
    (
        &[(PLACEMENT, "type:envelope")],
        &[],
        "outbox.event.User 10711fa5 _ {\"payload\":\"{}\",\"type\":\"UserCreated\"}",
    ),
    (
        &[(PLACEMENT, "type:envelope:aggregateType")],
        &[],
        "outbox.event.User 10711fa5 _ {\"payload\":\"{}\",\"aggregateType\":\"UserCreated\"}",
    ),
    (
        &[(
            PLACEMENT,
            "type:envelope:payloadType, aggregateid:envelope:payloadId,type:header:payloadType",
        )],
        &[],
        "outbox.event.User 10711fa5 _ payloadType=UserCreated \
             {\"payload\":\"{}\",\"payloadType\":\"UserCreated\",\"payloadId\":\"10711fa5\"}",
    ),
    (
        &[(PLACEMENT, "p:partition")],
        &[("p", oid::INT4, -1, Some("123"))],
        "outbox.event.User[123] 10711fa5 _ \"{}\"",
    ),
    (
        &[(PLACEMENT, "p:partition")],
        &[("p", oid::INT4, -1, None)],
        "outbox.event.User 10711fa5 _ \"{}\"",
    ),
    (
        &[
            (PLACEMENT, "absent:envelope:alias,absent:header,absent:partition"),
            ("table.field.additional.missing", "ignore"),
        ],
        &[],
        "outbox.event.User 10711fa5 _ {\"payload\":\"{}\"}",
    ),
    (
        &[],
        &[("aggregateid", oid::INT4, -1, Some("54321"))],
        "outbox.event.User 54321 _ \"{}\"",
    ),
    (
        &[],
        &[("payload", oid::BYTEA, -1, Some("\\x6162"))],
        "outbox.event.User 10711fa5 _ \"YWI=\"",
    ),
    (
        &[],
        &[("payload", oid::JSONB, -1, None)],
        "outbox.event.User 10711fa5 _ null",
    ),
    (
        &[],
        &[("aggregateid", oid::VARCHAR, -1, None)],
        "outbox.event.User - _ \"{}\"",
    ),
];

#[test]
fn rows_become_records() {
    for (options, changed, expected) in RECORDS {
        let routed = inserted(options, &PLAIN, &user(changed)).unwrap();
        assert_eq!(line(&routed), expected.replace('_', ID), "{options:?}");
    }
}

#[test]
fn deleted_rows_are_dropped_and_updated_ones_treated_as_configured() {
    let router =
        |behavior: &str| Router::new(&texts(&[("table.op.invalid.behavior", behavior)]), &texts(&PLAIN)).unwrap();
    assert_eq!(change(&router("fatal"), Operation::Delete, &USER), Ok(None));
    for (behavior, severe) in [("warn", false), ("error", true)] {
        let problem = change(&router(behavior), Operation::Update, &USER).unwrap_err();
        assert!(
            matches!(problem, Problem::Skipped { severe: found, .. } if found == severe),
            "{problem:?}"
        );
    }
    let problem = change(&router("fatal"), Operation::Update, &USER).unwrap_err();
    assert!(matches!(problem, Problem::Failed(_)), "{problem:?}");
    let found = change(&router("fatal"), Operation::Snapshot, &USER).unwrap();
    assert_eq!(found, change(&router("warn"), Operation::Insert, &USER).unwrap());
}

#[test]
fn every_column_can_have_another_name_and_type() {
    let options = [
        ("table.field.event.id", "event_id"),
        ("table.field.event.key", "payload_id"),
        ("table.field.event.type", "event_type"),
        ("table.field.event.payload", "payload_body"),
        ("route.by.field", "my_route_field"),
        ("table.fields.additional.placement", "some_boolean:envelope:bool"),
    ];
    let row = [
        ("event_id", oid::INT4, -1, Some("2")),
        ("payload_id", oid::INT4, -1, Some("1232")),
        ("my_route_field", oid::TEXT, -1, Some("routename")),
        ("event_type", oid::BYTEA, -1, Some("\\x436f6f6c")),
        ("payload_body", oid::BYTEA, -1, Some("\\x7b7d")),
        ("some_boolean", oid::BOOL, -1, Some("t")),
    ];
    let routed = inserted(&options, &PLAIN, &row).unwrap();
    assert_eq!(
        line(&routed),
        "outbox.event.routename 1232 id=2 {\"payload\":\"e30=\",\"bool\":true}"
    );
    assert_eq!((&*routed.event_id, routed.key.as_deref()), ("2", Some("1232")));
    let routed = inserted(&options[..5], &PLAIN, &row).unwrap();
    assert_eq!(line(&routed), "outbox.event.routename 1232 id=2 \"e30=\"");
}

#[test]
fn the_schema_version_counts_in_an_envelope_alone() {
    let with_schemas = [PLAIN[0], PLAIN[1]];
    let version = ("table.field.event.schema.version", "version");
    let envelope = ("table.fields.additional.placement", "type:envelope:eventType");
    for number in ["1", "3"] {
        let row = user(&[("version", oid::INT4, -1, Some(number))]);
        let value = |options: &[(&str, &str)]| inserted(options, &with_schemas, &row).unwrap().payload;
        let schema = |version: &str| {
            format!(
                "{{\"schema\":{{\"type\":\"struct\",\"fields\":[{{\"type\":\"string\",\"optional\":false,\"field\":\"payload\"}},\
                 {{\"type\":\"string\",\"optional\":false,\"field\":\"eventType\"}}],\"optional\":false,\
                 \"name\":\"shop.public.outbox.User.Value\"{version}}},\
                 \"payload\":{{\"payload\":\"{{}}\",\"eventType\":\"UserCreated\"}}}}"
            )
        };
        assert_eq!(value(&[version, envelope]), schema(&format!(",\"version\":{number}")));
        assert_eq!(value(&[envelope]), schema(""));
        let alone = "{\"schema\":{\"type\":\"string\",\"optional\":false},\"payload\":\"{}\"}";
        assert_eq!(value(&[version]), alone);
    }
}

#[test]
fn an_empty_payload_is_a_tombstone_where_that_is_configured() {
    let envelope = ("table.fields.additional.placement", "is_deleted:envelope:deleted");
    let tombstones = ("route.tombstone.on.empty.payload", "true");
    let row = |payload: Option<&'static str>| {
        user(&[
            ("payload", oid::TEXT, -1, payload),
            ("is_deleted", oid::BOOL, -1, Some("t")),
        ])
    };
    let with_schemas = [PLAIN[0], PLAIN[1]];
    for payload in [Some(""), Some(" \n\t"), None] {
        for converters in [&PLAIN[..], &with_schemas] {
            let routed = inserted(&[envelope, tombstones], converters, &row(payload)).unwrap();
            assert!(routed.verbatim.tombstone && routed.payload.is_empty(), "{routed:?}");
            assert_eq!(routed.verbatim.key.as_deref(), Some(b"10711fa5".as_slice()));
        }
        let routed = inserted(&[envelope], &PLAIN, &row(payload)).unwrap();
        assert!(routed.payload.ends_with(b",\"deleted\":true}") && !routed.verbatim.tombstone);
    }
    let routed = inserted(&[envelope, tombstones], &PLAIN, &row(Some("{}"))).unwrap();
    assert_eq!(routed.payload, "{\"payload\":\"{}\",\"deleted\":true}");
    let empty_bytes = user(&[("payload", oid::BYTEA, -1, Some("\\x"))]);
    assert!(
        !inserted(&[tombstones], &PLAIN, &empty_bytes)
            .unwrap()
            .verbatim
            .tombstone
    );
}

#[test]
fn a_trace_context_becomes_headers_before_the_id() {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let context = "#Thu Nov 26\ntraceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n";
    for (options, column) in [
        ([].as_slice(), "tracingspancontext"),
        (&[("tracing.span.context.field", "span")], "span"),
        (&[("tracing.with.context.field.only", "false")], "tracingspancontext"),
    ] {
        let routed = inserted(options, &PLAIN, &user(&[(column, oid::VARCHAR, -1, Some(context))])).unwrap();
        assert_eq!(
            line(&routed),
            format!("outbox.event.User 10711fa5 traceparent={parent} {ID} \"{{}}\"")
        );
        assert_eq!(routed.headers[0], ("traceparent".into(), parent.into()));
        let without = inserted(options, &PLAIN, &user(&[(column, oid::VARCHAR, -1, None)])).unwrap();
        assert_eq!(line(&without), format!("outbox.event.User 10711fa5 {ID} \"{{}}\""));
    }
}

/// In place of the record, words of the failure.
const FAILURES: &[Case] = &[
    (
        &[("table.field.event.key", "fakefield")],
        &[],
        "no column fakefield, which table.field.event.key names",
    ),
    (
        &[("table.field.event.id", "fakefield")],
        &[],
        "no column fakefield, which table.field.event.id names",
    ),
    (
        &[("table.field.event.payload", "fakefield")],
        &[],
        "no column fakefield, which table.field.event.payload names",
    ),
    (
        &[("table.fields.additional.placement", "a:envelope:b")],
        &[],
        "no column a, which table.fields.additional.placement",
    ),
    (
        &[("table.fields.additional.placement", "a:header")],
        &[],
        "no column a, which table.fields.additional.placement",
    ),
    (
        &[("table.fields.additional.placement", "type:partition")],
        &[],
        "type, which table.fields.additional.placement names, is a string",
    ),
    (
        &[("table.fields.additional.placement", "p:partition")],
        &[("p", oid::INT4, -1, Some("-1"))],
        "p is the partition -1",
    ),
    (
        &[("route.by.field", "n")],
        &[("n", oid::INT4, -1, Some("1"))],
        "n, which route.by.field names, is a int32",
    ),
    (
        &[],
        &[("aggregatetype", oid::TEXT, -1, None)],
        "aggregatetype, which route.by.field names, is null",
    ),
    (&[], &[("id", oid::TEXT, -1, None)], "id is null"),
    (
        &[("table.field.event.timestamp", "t")],
        &[("t", oid::TIMESTAMPTZ, -1, Some("2024-01-01 00:00:00+00"))],
        "t, which table.field.event.timestamp names, is a string; a int64 is needed",
    ),
    (
        &[("table.field.event.timestamp", "t")],
        &[("t", oid::INT8, -1, Some("1"))],
        "is no timestamp without time zone",
    ),
    (
        &[("table.field.event.timestamp", "t")],
        &[("t", oid::TIMESTAMP, -1, Some("1969-12-31 00:00:00"))],
        "lies before 1970",
    ),
    (
        &[
            ("table.field.event.schema.version", "type"),
            ("table.fields.additional.placement", "type:envelope"),
        ],
        &[],
        "type, which table.field.event.schema.version names, is a string",
    ),
    (
        &[],
        &[("payload", 600, -1, Some("(1,2)"))],
        "column payload has a type (oid 600) that Onewrite does not know",
    ),
];

#[test]
fn what_debezium_would_stop_at_says_why() {
    for (options, changed, words) in FAILURES {
        match inserted(options, &PLAIN, &user(changed)) {
            Err(Problem::Failed(found)) => assert!(found.contains(words), "{found}"),
            other => panic!("{other:?} and not {words}"),
        }
    }
}

#[test]
fn what_people_see_of_an_event() {
    let routed = inserted(
        &[("table.fields.additional.placement", "type:header:eventType")],
        &PLAIN,
        &USER,
    )
    .unwrap();
    assert_eq!(routed.event_type.as_deref(), Some("UserCreated"));
    assert_eq!(routed.content_type, "application/json");
    assert_eq!(routed.occurred_at.as_second(), 1_700_000_000);
    assert_eq!(routed.headers[1], ("eventType".into(), "UserCreated".into()));
    let event = onewrite_core::Event::from(routed);
    assert_eq!(event.id.to_string(), "da8d6de6-3b77-45ff-8f44-57db55a7a06c");
    assert_eq!(event.check(), Ok(()));
}

#[test]
fn what_is_left_of_a_row_that_became_nothing() {
    let router = Router::new(&texts(&[]), &texts(&PLAIN)).unwrap();
    let columns = ["id", "aggregateid", "payload", "type"].map(|name| {
        TableColumn::new(Column {
            name: name.into(),
            type_oid: if name == "type" { 600 } else { oid::TEXT },
            type_modifier: -1,
        })
    });
    let table = Table::new("shop", "public", "outbox", columns.to_vec());
    let values = ["7", "k", "{}", "(1,2)"].map(|text| Raw::Text(text.into()));
    let remains = Remains {
        event_id: Some("7".into()),
        key: Some("k".into()),
        payload: "{}".into(),
        ..Remains::default()
    };
    assert_eq!(router.remains(&table, &values), remains);
    assert_eq!(router.remains(&table, &[]), Remains::default());
}
