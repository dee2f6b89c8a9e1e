//! Events without a table.

use super::*;

pub(super) const SCENARIOS: &[Scenario] = &[
    messages(
        "messages",
        &[],
        &[("table.fields.additional.placement", "type:header,type:envelope")],
        WITH_SCHEMAS,
        &[
            Message(
                "message-1",
                r#"{"id":"message-1","aggregateid":"k","aggregatetype":"Message","type":"Made","payload":{"a":1,"b":null,"c":[]}}"#,
            ),
            Message(
                "700200300",
                r#"{"id":700200300,"aggregateid":5,"aggregatetype":"Message","type":"Made","payload":"{\"a\": 1}"}"#,
            ),
        ],
    ),
    messages(
        "messages-nulls",
        &[("fields.null.include", "true")],
        &[("table.expand.json.payload", "true")],
        PLAIN,
        &[
            Message(
                "message-3",
                r#"{"id":"message-3","aggregateid":null,"aggregatetype":"Message","type":null,"payload":{"a":1,"b":null,"c":[]}}"#,
            ),
            Message(
                "message-4",
                r#"{"id":"message-4","aggregateid":"k","aggregatetype":"Message","payload":"{\"a\": [1]}"}"#,
            ),
        ],
    ),
    Scenario {
        fails: true,
        ..messages("fails-message", &[], &[], PLAIN, &[Message("fails-16", "plain")])
    },
    Scenario {
        fails: true,
        ..messages(
            "fails-message-null-payload",
            &[],
            &[],
            PLAIN,
            &[Message(
                "fails-17",
                r#"{"id":"fails-17","aggregateid":"k","aggregatetype":"Message","payload":null}"#,
            )],
        )
    },
];
