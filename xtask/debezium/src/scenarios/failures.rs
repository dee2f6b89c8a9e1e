//! What a task fails at.

use super::*;

pub(super) const SCENARIOS: &[Scenario] = &[
    failing(
        "fails-root-array",
        &[("table.expand.json.payload", "true")],
        PLAIN,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload) VALUES ('fails-1', 'F', 'k', '[{\"a\": 1}]')",
        )],
    ),
    failing(
        "fails-merged-types",
        &[("table.expand.json.payload", "true")],
        PLAIN,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload) VALUES ('fails-2', 'F', 'k', '{\"a\": [{\"b\": 1}, {\"b\": \"x\"}]}')",
        )],
    ),
    failing(
        "fails-timestamptz",
        &[("table.field.event.timestamp", "t")],
        PLAIN,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload, t) VALUES ('fails-3', 'F', 'k', 'x', now())",
        )],
    ),
    failing(
        "fails-missing-column",
        &[("table.fields.additional.placement", "absent:envelope")],
        PLAIN,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload) VALUES ('fails-4', 'F', 'k', 'x')",
        )],
    ),
    failing(
        "fails-partition-type",
        &[("table.fields.additional.placement", "type:partition")],
        PLAIN,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload) VALUES ('fails-5', 'F', 'k', 'x')",
        )],
    ),
    failing(
        "fails-negative-partition",
        &[("table.fields.additional.placement", "p:partition")],
        PLAIN,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload, p) VALUES ('fails-6', 'F', 'k', 'x', -1)",
        )],
    ),
    failing(
        "fails-no-route",
        &[],
        PLAIN,
        &[Insert("(id, aggregateid, payload) VALUES ('fails-7', 'k', 'x')")],
    ),
    failing(
        "fails-route-type",
        &[("route.by.field", "n")],
        PLAIN,
        &[Insert("(id, aggregateid, payload, n) VALUES ('fails-8', 'k', 'x', 1)")],
    ),
    Scenario {
        table: "CREATE TABLE outbox (id text PRIMARY KEY, aggregatetype text, aggregateid text, z numeric NOT NULL)",
        ..failing(
            "fails-not-a-number",
            &[("table.field.event.payload", "z")],
            PLAIN,
            &[Insert("VALUES ('fails-9', 'F', 'k', 'NaN')")],
        )
    },
    failing(
        "fails-before-1970",
        &[("table.field.event.timestamp", "ts")],
        PLAIN,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload, ts) VALUES ('fails-10', 'F', 'k', 'x', '1969-12-31')",
        )],
    ),
    failing(
        "fails-no-delegate",
        &[],
        &[
            ("key.converter", STRING),
            ("value.converter", "io.debezium.converters.BinaryDataConverter"),
        ],
        &[Insert(
            "(id, aggregatetype, aggregateid, payload) VALUES ('fails-11', 'F', 'k', 'x')",
        )],
    ),
    failing(
        "fails-old-binary",
        &[("table.field.event.payload", "bytes")],
        &[
            ("key.converter", STRING),
            ("value.converter", "io.debezium.converters.ByteArrayConverter"),
        ],
        &[Insert(
            "(id, aggregatetype, aggregateid, bytes) VALUES ('fails-12', 'F', 'k', 'x')",
        )],
    ),
    Scenario {
        table: "CREATE TABLE outbox (id text PRIMARY KEY, aggregatetype text, aggregateid text, payload text); \
                INSERT INTO outbox VALUES ('fails-13', 'F', 'k', 'x')",
        ..failing(
            "fails-update",
            &[("table.op.invalid.behavior", "fatal")],
            PLAIN,
            &[Sql("UPDATE outbox SET payload = 'y'")],
        )
    },
    failing(
        "fails-key-column",
        &[("table.field.event.key", "absent")],
        PLAIN,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload) VALUES ('fails-14', 'F', 'k', 'x')",
        )],
    ),
    failing(
        "fails-version-type",
        &[
            ("table.field.event.schema.version", "type"),
            ("table.fields.additional.placement", "type:envelope"),
        ],
        PLAIN,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload) VALUES ('fails-15', 'F', 'k', 'x')",
        )],
    ),
];
