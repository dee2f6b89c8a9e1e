//! `table.expand.json.payload`: the facts of Debezium's tests, and of its code where those are silent.

use onewrite_sources::foreign::debezium::Problem;
use onewrite_sources::foreign::value::oid;

use super::rows::{PLAIN, inserted, user};

const EXPAND: (&str, &str) = ("table.expand.json.payload", "true");
const KEEP_NULLS: (&str, &str) = ("table.json.payload.null.behavior", "optional_bytes");
const KEEP_EMPTY: (&str, &str) = ("table.json.payload.empty.array.behavior", "optional_string");

fn value(options: &[(&str, &str)], payload: &'static str) -> (String, Option<String>) {
    let routed = inserted(options, &PLAIN, &user(&[("payload", oid::TEXT, -1, Some(payload))])).unwrap();
    (String::from_utf8(routed.payload.to_vec()).unwrap(), routed.warning)
}

#[test]
fn texts_become_structures() {
    for (options, payload, expected) in [
        (
            &[EXPAND][..],
            r#"{"fullName": "John Doe", "enabled": true, "rating": 4.9, "age": 42, "pets": ["dog", "cat"], "petObjects": [{"type": "dog"}, {"type": "cat"}]}"#,
            r#"{"fullName":"John Doe","enabled":true,"rating":4.9,"age":42,"pets":["dog","cat"],"petObjects":[{"type":"dog"},{"type":"cat"}]}"#,
        ),
        // An array that is empty in one object and not in another.
        (
            &[EXPAND],
            r#"{"petObjects": [{"type": "dog", "colors": []}, {"type": "cat", "colors": [{"name": "white"}]}]}"#,
            r#"{"petObjects":[{"type":"dog","colors":[]},{"type":"cat","colors":[{"name":"white"}]}]}"#,
        ),
        (
            &[EXPAND],
            r#"{"a": [{"type": "dog", "colors": []}]}"#,
            r#"{"a":[{"type":"dog"}]}"#,
        ),
        (
            &[EXPAND, KEEP_EMPTY],
            r#"{"a": [{"type": "dog", "colors": []}]}"#,
            r#"{"a":[{"type":"dog","colors":[]}]}"#,
        ),
        (&[EXPAND], r#"{"numbers": [null, 2, 3]}"#, r#"{"numbers":[null,2,3]}"#),
        (
            &[EXPAND],
            r#"{"a": null, "b": [{"c": null, "d": 3000000000}]}"#,
            r#"{"b":[{"d":3000000000}]}"#,
        ),
        (
            &[EXPAND, KEEP_NULLS],
            r#"{"a": null, "b": [null], "c": [{"d": null}, {"d": 1}]}"#,
            r#"{"a":null,"b":[null],"c":[{"d":null},{"d":1}]}"#,
        ),
        (
            &[EXPAND],
            r#"{"a": [{"b": 1}, {"c": "x"}]}"#,
            r#"{"a":[{"b":1,"c":null},{"b":null,"c":"x"}]}"#,
        ),
        (
            &[EXPAND],
            r#"{"a": [[1, 2], [3]], "b": 1e2}"#,
            r#"{"a":[[1,2],[3]],"b":100.0}"#,
        ),
        (&[EXPAND], r#"{"a": 1, "a": 2} and more"#, r#"{"a":2}"#),
        (&[EXPAND], "{}", "{}"),
        (
            &[EXPAND, ("table.fields.additional.placement", "type:envelope")],
            r#"{"fullName": "John Doe"}"#,
            r#"{"payload":{"fullName":"John Doe"},"type":"UserCreated"}"#,
        ),
    ] {
        assert_eq!(value(options, payload), (expected.to_owned(), None), "{payload}");
    }
}

#[test]
fn what_is_not_expanded_stays_a_text_with_a_warning() {
    for (payload, words) in [
        ("plain", "it begins with \"p\""),
        ("{\"a\":", "EOF"),
        (
            r#"{"a": [1, "x"]}"#,
            "an array holds a text beside a whole number of 32 bits",
        ),
        (
            r#"{"a": [1, 3000000000]}"#,
            "an array holds a whole number of 64 bits beside",
        ),
        (r#"{"a": [null]}"#, "tell no type"),
        (r#"{"a": [[]]}"#, "tell no type"),
        // Its schema is none, so that the converter does not mind.
        ("[]", "only an object becomes a struct"),
    ] {
        let (value, warning) = value(&[EXPAND], payload);
        assert_eq!(value, serde_json::to_string(payload).unwrap());
        assert!(
            warning.as_ref().is_some_and(|found| found.contains(words)),
            "{warning:?}"
        );
    }
    let bytes = inserted(
        &[EXPAND],
        &PLAIN,
        &user(&[("payload", oid::BYTEA, -1, Some("\\x7b7d"))]),
    )
    .unwrap();
    assert!(bytes.warning.is_some_and(|words| words.contains("it is a bytes")));
}

#[test]
fn without_the_option_and_without_a_payload_nothing_happens() {
    let payload = r#"{"fullName": "John Doe", "rating": 4.9, "age": 42}"#;
    assert_eq!(value(&[], payload), (serde_json::to_string(payload).unwrap(), None));
    let null = user(&[("payload", oid::JSONB, -1, None)]);
    let routed = inserted(&[EXPAND, ("route.tombstone.on.empty.payload", "true")], &PLAIN, &null).unwrap();
    assert!(routed.verbatim.tombstone && routed.warning.is_none());
}

/// Where inference succeeds and the value then does not fit, Debezium has exchanged the schema and not the value.
#[test]
fn a_late_failure_leaves_a_text_under_a_foreign_schema() {
    for payload in [
        r#"[{"a": 1}]"#,
        r#"{"a": 99999999999999999999}"#,
        r#"{"a": [{"b": 1}, {"b": "x"}]}"#,
    ] {
        let row = user(&[("payload", oid::TEXT, -1, Some(payload))]);
        match inserted(&[EXPAND], &PLAIN, &row) {
            Err(Problem::Failed(words)) => assert!(words.contains("the value cannot be written"), "{words}"),
            other => panic!("{other:?}"),
        }
        let text = [("value.converter", "org.apache.kafka.connect.storage.StringConverter")];
        let routed = inserted(&[EXPAND], &text, &row).unwrap();
        assert_eq!(routed.payload, payload);
        assert!(routed.warning.is_some());
    }
}

#[test]
fn equal_structures_have_equal_schemas() {
    let schema = |payload: &'static str| {
        let converters = [("value.converter", "org.apache.kafka.connect.json.JsonConverter")];
        let routed = inserted(
            &[EXPAND],
            &converters,
            &user(&[("payload", oid::TEXT, -1, Some(payload))]),
        )
        .unwrap();
        let value: serde_json::Value = serde_json::from_slice(&routed.payload).unwrap();
        value["schema"].clone()
    };
    let one = r#"{"id":"1","attributes":[{"id":"2","adr":null,"eans":[{"code":"3","at":"x"}],"ok":false}]}"#;
    let two = r#"{"id":"1","attributes":[{"id":"2","adr":null,"eans":[{"code":"3","at":"x"},{"code":"4","at":"y"}],"ok":false}]}"#;
    assert_eq!(schema(one), schema(two));
    assert_eq!(
        schema(one)["fields"][1]["items"]["fields"][1]["items"]["name"],
        "payload.attributes.eans"
    );
}
