//! Where values of a row go in the record.

use super::*;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "tombstones",
        &[
            ("route.tombstone.on.empty.payload", "true"),
            ("table.fields.additional.placement", "n:envelope,type:header"),
            ("table.expand.json.payload", "true"),
        ],
        WITH_SCHEMAS,
        LOOSE,
        &[
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('tomb-1', 'T', 'k', '')"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('tomb-2', 'T', 'k', E' \\t\\n')"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('tomb-3', 'T', 'k', NULL)"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('tomb-4', 'T', 'k', '{}')"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('tomb-5', 'T', 'k', '\u{a0}')"),
        ],
    ),
    scenario(
        "empty-payloads",
        &[("table.fields.additional.placement", "n:envelope")],
        PLAIN,
        LOOSE,
        &[
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('empty-1', 'T', NULL, '')"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('empty-2', 'T', 'k', NULL)"),
        ],
    ),
    scenario(
        "placements",
        &[
            (
                "table.fields.additional.placement",
                "p:partition, type : HEADER : eventType,absent:header,absent:partition,n:header",
            ),
            ("table.field.additional.missing", "Ignore"),
            ("table.field.event.timestamp", "ts"),
            ("table.field.event.key", "n"),
            ("route.by.field", "type"),
            ("route.topic.regex", "(a)|a(b)?([cd]+)"),
            ("route.topic.replacement", "place-$1-$3-\\x"),
        ],
        &[("key.converter", STRING), ("value.converter", STRING)],
        LOOSE,
        &[
            Insert("(id, type, payload, n, p, ts) VALUES ('place-1', 'abcd', 'x', 5, 2, '2020-01-02 03:04:05.999999')"),
            Insert("(id, type, payload, n, p, ts) VALUES ('place-2', 'place-untouched', 'x', NULL, NULL, NULL)"),
            Insert("(id, type, payload, n, p, ts) VALUES ('place-3', 'acd', 'x', -5, 0, '1970-01-01')"),
        ],
    ),
    scenario(
        "timestamp-milliseconds",
        &[
            ("table.field.event.timestamp", "ts3"),
            ("route.topic.replacement", "time.${routedByValue}"),
        ],
        PLAIN,
        LOOSE,
        &[Insert(
            "(id, aggregatetype, aggregateid, payload, ts3) VALUES ('ts3-1', 'T', 'k', 'x', '2020-01-02 03:04:05.678')",
        )],
    ),
    scenario(
        "schema-version",
        &[
            ("table.field.event.schema.version", "n"),
            ("table.fields.additional.placement", "type:envelope,absent:envelope"),
            ("table.field.additional.missing", "ignore"),
        ],
        WITH_SCHEMAS,
        LOOSE,
        &[
            Insert("(id, aggregatetype, aggregateid, type, payload, n) VALUES ('version-1', 'V', 'k', 'Made', 'x', 1)"),
            Insert("(id, aggregatetype, aggregateid, type, payload, n) VALUES ('version-2', 'V', 'k', 'Made', 'x', 3)"),
            Insert(
                "(id, aggregatetype, aggregateid, type, payload, n) VALUES ('version-3', 'V', 'k', 'Made', 'x', NULL)",
            ),
        ],
    ),
    scenario(
        "trace-context",
        &[],
        &[("key.converter", STRING), ("value.converter", STRING)],
        LOOSE,
        &[
            Insert(
                "(id, aggregatetype, aggregateid, payload, tracingspancontext) VALUES ('trace-1', 'Trace', 'k', 'x', E'#Thu Nov 26\\n\
                    traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\\ntracestate=a\\\\=b\\nbaggage=k\\\\=v\\nother=1\\n')",
            ),
            Insert(
                "(id, aggregatetype, aggregateid, payload, tracingspancontext) VALUES ('trace-2', 'Trace', 'k', 'x', NULL)",
            ),
        ],
    ),
    scenario(
        "other-types",
        &[(
            "table.fields.additional.placement",
            "aggregatetype:envelope:kind,id:envelope",
        )],
        WITH_SCHEMAS,
        "CREATE TABLE outbox (id bigint PRIMARY KEY, aggregatetype mood, aggregateid uuid, payload char(5))",
        &[
            Insert("VALUES (7002003001, 'good', '00000000-0000-4000-8000-000000004001', 'ab')"),
            Insert("VALUES (-7002003002, 'good', NULL, NULL)"),
        ],
    ),
];
