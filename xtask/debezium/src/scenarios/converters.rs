//! Bytes and decimal numbers.

use super::*;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "decimals-as-numbers",
        &[("table.fields.additional.placement", "n2:envelope,n:envelope")],
        &[
            ("key.converter", STRING),
            ("value.converter", JSON),
            ("value.converter.schemas.enable", "false"),
            ("value.converter.decimal.format", "numeric"),
        ],
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, payload numeric(30,10), n2 numeric(10,2), n numeric)",
        &[
            Insert("VALUES ('00000000-0000-4000-8000-000000001101', 'D', 'k', 0.00000005, 100, 100)"),
            Insert("VALUES ('00000000-0000-4000-8000-000000001102', 'D', 'k', 0, 0, 0)"),
            Insert("VALUES ('00000000-0000-4000-8000-000000001103', 'D', 'k', -12345678901234567890.5, 1.10, 0.10)"),
        ],
    ),
    scenario(
        "decimals-as-texts",
        &[("table.fields.additional.placement", "n2:header,n:header")],
        STRINGS,
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid numeric(10,2), payload numeric(30,10), n2 numeric(10,2), \
            n numeric(20,8))",
        &[
            Insert("VALUES ('00000000-0000-4000-8000-000000001201', 'D', 3, 0.00000005, 100, 100)"),
            Insert("VALUES ('00000000-0000-4000-8000-000000001202', 'D', 0, 0, 0, 0)"),
        ],
    ),
    scenario(
        "binary",
        &[("route.tombstone.on.empty.payload", "true")],
        &[
            ("key.converter", STRING),
            ("value.converter", "io.debezium.converters.BinaryDataConverter"),
            ("value.converter.delegate.converter.type", JSON),
            ("value.converter.delegate.converter.type.schemas.enable", "false"),
        ],
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, payload bytea)",
        &[
            Insert("VALUES ('00000000-0000-4000-8000-000000001301', 'B', 'k', '\\x00ff7b')"),
            Insert("VALUES ('00000000-0000-4000-8000-000000001302', 'B', 'k', '')"),
            Insert("VALUES ('00000000-0000-4000-8000-000000001303', 'B', 'k', NULL)"),
        ],
    ),
    scenario(
        "binary-delegating",
        &[("table.fields.additional.placement", "payload:header:copy")],
        &[
            ("key.converter", "io.debezium.converters.BinaryDataConverter"),
            ("key.converter.delegate.converter.type", STRING),
            ("value.converter", "io.debezium.converters.ByteArrayConverter"),
            ("value.converter.delegate.converter.type", JSON),
            ("value.converter.delegate.converter.type.schemas.enable", "false"),
        ],
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, payload bytea)",
        &[
            Insert("VALUES ('00000000-0000-4000-8000-000000001401', 'B', 'k', '\\x00ff7b')"),
            Insert("VALUES ('00000000-0000-4000-8000-000000001402', 'B', 'k', NULL)"),
        ],
    ),
    scenario(
        "binary-apache",
        &[],
        &[
            (
                "key.converter",
                "org.apache.kafka.connect.converters.ByteArrayConverter",
            ),
            (
                "value.converter",
                "org.apache.kafka.connect.converters.ByteArrayConverter",
            ),
        ],
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid bytea, payload bytea)",
        &[
            Insert("VALUES ('00000000-0000-4000-8000-000000001501', 'B', '\\x01', '\\x00ff7b')"),
            Insert("VALUES ('00000000-0000-4000-8000-000000001502', 'B', NULL, NULL)"),
        ],
    ),
    scenario(
        "binary-as-text",
        &[],
        STRINGS,
        "CREATE TABLE outbox (id uuid PRIMARY KEY, aggregatetype text, aggregateid text, payload bytea)",
        &[Insert(
            "VALUES ('00000000-0000-4000-8000-000000001601', 'B', 'k', '\\x00ff7b')",
        )],
    ),
];
