//! Payloads that are JSON.

use super::*;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "expansion",
        &[("table.expand.json.payload", "true")],
        WITH_SCHEMAS,
        LOOSE,
        &[
            Insert(
                "(id, aggregatetype, aggregateid, payload) VALUES ('expand-1', 'E', 'k', '{\"fullName\": \"John Doe\", \"enabled\": true, \
                    \"rating\": 4.9, \"age\": 42, \"big\": 3000000000, \"small\": 1e-7, \"large\": 1.5e300, \"pets\": [\"dog\", \"cat\"], \
                    \"petObjects\": [{\"type\": \"dog\"}, {\"type\": \"cat\"}], \"none\": null, \"empty\": [], \"object\": {\"a\": {}}}')",
            ),
            Insert(
                "(id, aggregatetype, aggregateid, payload) VALUES ('expand-2', 'E', 'k', '{\"a\": [null, 2, 3], \"b\": [[1], [2, 3]], \
                    \"c\": [{\"x\": 1}, null], \"a b.c\": \"ü😀\"}')",
            ),
            Insert(
                "(id, aggregatetype, aggregateid, payload) VALUES ('expand-3', 'E', 'k', '{\"a\": 1, \"b\": 2, \"a\": 3} and more')",
            ),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('expand-4', 'E', 'k', 'plain')"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('expand-5', 'E', 'k', '{\"a\":')"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('expand-6', 'E', 'k', '{\"a\": [1, \"x\"]}')"),
            Insert(
                "(id, aggregatetype, aggregateid, payload) VALUES ('expand-7', 'E', 'k', '{\"a\": [1, 3000000000]}')",
            ),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('expand-8', 'E', 'k', '{\"a\": [null]}')"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('expand-9', 'E', 'k', '[]')"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('expand-10', 'E', 'k', NULL)"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('expand-11', 'E', 'k', '')"),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('expand-12', 'E', 'k', '{}')"),
            Insert(
                "(id, aggregatetype, aggregateid, payload) VALUES ('expand-13', 'E', 'k', '{\"a\": [{\"t\": \"dog\", \"c\": []}]}')",
            ),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('expand-14', 'E', 'k', ' {}')"),
            Insert(
                "(id, aggregatetype, aggregateid, payload) VALUES ('expand-15', 'E', 'k', '{\"a\": [{\"b\": 1, \"c\": 2}, {\"b\": 3}]}')",
            ),
        ],
    ),
    scenario(
        "expansion-nulls",
        &[
            ("table.expand.json.payload", "true"),
            ("table.json.payload.null.behavior", "optional_bytes"),
            ("table.fields.additional.placement", "type:envelope"),
        ],
        WITH_SCHEMAS,
        LOOSE,
        &[
            Insert(
                "(id, aggregatetype, aggregateid, payload) VALUES ('nulls-1', 'E', 'k', '{\"a\": null, \"b\": [null], \"c\": {\"d\": null}}')",
            ),
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('nulls-2', 'E', 'k', 'plain')"),
        ],
    ),
    scenario(
        "expansion-jsonb",
        &[("table.expand.json.payload", "true")],
        PLAIN,
        STANDARD,
        &[
            Insert(
                "VALUES ('00000000-0000-4000-8000-000000002501', 'Order', '1', 'Made', '{\"b\": [1, 2], \"a\": {\"c\": null, \"d\": 1.0}}')",
            ),
            Insert("VALUES ('00000000-0000-4000-8000-000000002502', 'Order', '1', 'Made', '\"text\"')"),
            Insert("VALUES ('00000000-0000-4000-8000-000000002503', 'Order', '1', 'Made', NULL)"),
        ],
    ),
    scenario(
        "expansion-late-failures",
        &[("table.expand.json.payload", "true")],
        STRINGS,
        LOOSE,
        &[
            Insert("(id, aggregatetype, aggregateid, payload) VALUES ('late-1', 'E', 'k', '[{\"a\": 1}]')"),
            Insert(
                "(id, aggregatetype, aggregateid, payload) VALUES ('late-2', 'E', 'k', '{\"a\": 99999999999999999999}')",
            ),
            Insert(
                "(id, aggregatetype, aggregateid, payload) VALUES ('late-3', 'E', 'k', '{\"a\": 1, \"b\": [{\"c\": 2.50}], \"d\": null}')",
            ),
        ],
    ),
];
