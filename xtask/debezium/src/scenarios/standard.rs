//! The table that Debezium documents, under each converter.

use super::*;

macro_rules! standard_rows {
    ($number:literal) => {
        &[
            Insert(concat!(
                "VALUES ('00000000-0000-4000-8000-0000000",
                $number,
                "01', 'Order', '1', 'Made', '{\"a\": 1, \"b\": [true, null]}')"
            )),
            Sql("UPDATE outbox SET type = 'Changed'"),
            Sql("DELETE FROM outbox"),
            Insert(concat!(
                "VALUES ('00000000-0000-4000-8000-0000000",
                $number,
                "02', 'Order', 'zwei', 'Made', NULL)"
            )),
            Insert(concat!(
                "VALUES ('00000000-0000-4000-8000-0000000",
                $number,
                "03', 'Customer', E'\\x01\\x1f\"\\\\/\\t\\u007f', 'Made', \
                 '\"ü€😀\\u0001\\n\\/\"')"
            )),
        ]
    };
}

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "standard-json-schemas",
        &[],
        WITH_SCHEMAS,
        STANDARD,
        standard_rows!("000"),
    ),
    scenario("standard-json", &[], PLAIN, STANDARD, standard_rows!("001")),
    scenario(
        "standard-strings",
        &[("table.fields.additional.placement", "type:header:eventType")],
        STRINGS,
        STANDARD,
        standard_rows!("002"),
    ),
    Scenario {
        snapshot: true,
        ..scenario(
            "standard-snapshot",
            &[],
            PLAIN,
            STANDARD,
            &[
                Insert("VALUES ('00000000-0000-4000-8000-000000000301', 'Order', '1', 'Made', '{\"a\": 1}')"),
                Insert("VALUES ('00000000-0000-4000-8000-000000000302', 'Order', '2', 'Made', NULL)"),
            ],
        )
    },
];
