//! The converters, to the byte.

use onewrite_sources::foreign::debezium::{Problem, Router};
use onewrite_sources::foreign::value::oid;

use super::rows::{Cell, inserted, line, texts, user};

const JSON: &str = "org.apache.kafka.connect.json.JsonConverter";
const STRING: &str = "org.apache.kafka.connect.storage.StringConverter";
const BINARY: &str = "io.debezium.converters.BinaryDataConverter";
const OLD_BINARY: &str = "io.debezium.converters.ByteArrayConverter";
const BYTES: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";

fn value(converters: &[(&str, &str)], cell: Cell) -> Result<String, String> {
    let row = user(&[("payload", cell.1, cell.2, cell.3)]);
    match inserted(&[], converters, &row) {
        Ok(routed) if routed.verbatim.tombstone => Ok("-".to_owned()),
        Ok(routed) => Ok(String::from_utf8_lossy(&routed.payload).into_owned()),
        Err(Problem::Failed(words)) => Err(words),
        Err(other) => panic!("{other:?}"),
    }
}

/// A type of PostgreSQL, its modifier and a value; the value as JSON, as Java's text, and its schema.
const TYPES: &[(u32, i32, &str, &str, &str, &str)] = &[
    (
        oid::BOOL,
        -1,
        "t",
        "true",
        "true",
        r#""type":"boolean","optional":false"#,
    ),
    (oid::INT2, -1, "-7", "-7", "-7", r#""type":"int16","optional":false"#),
    (oid::INT4, -1, "7", "7", "7", r#""type":"int32","optional":false"#),
    (oid::INT8, -1, "7", "7", "7", r#""type":"int64","optional":false"#),
    (
        oid::FLOAT4,
        -1,
        "0.1",
        "0.1",
        "0.1",
        r#""type":"float","optional":false"#,
    ),
    (
        oid::FLOAT8,
        -1,
        "1e+20",
        "1.0E20",
        "1.0E20",
        r#""type":"double","optional":false"#,
    ),
    (
        oid::FLOAT8,
        -1,
        "NaN",
        "\"NaN\"",
        "NaN",
        r#""type":"double","optional":false"#,
    ),
    (
        oid::TEXT,
        -1,
        "a\"b",
        r#""a\"b""#,
        "a\"b",
        r#""type":"string","optional":false"#,
    ),
    (
        oid::BPCHAR,
        7,
        "abc",
        r#""abc""#,
        "abc",
        r#""type":"string","optional":false"#,
    ),
    (
        oid::UUID,
        -1,
        "da8d6de6-3b77-45ff-8f44-57db55a7a06c",
        r#""da8d6de6-3b77-45ff-8f44-57db55a7a06c""#,
        "da8d6de6-3b77-45ff-8f44-57db55a7a06c",
        r#""type":"string","optional":false,"name":"io.debezium.data.Uuid","version":1"#,
    ),
    (
        oid::JSONB,
        -1,
        "{}",
        r#""{}""#,
        "{}",
        r#""type":"string","optional":false,"name":"io.debezium.data.Json","version":1"#,
    ),
    (
        oid::DATE,
        -1,
        "1970-01-03",
        "2",
        "2",
        r#""type":"int32","optional":false,"name":"io.debezium.time.Date","version":1"#,
    ),
    (
        oid::TIME,
        3,
        "00:00:01.5",
        "1500",
        "1500",
        r#""type":"int32","optional":false,"name":"io.debezium.time.Time","version":1"#,
    ),
    (
        oid::TIME,
        -1,
        "00:00:01.5",
        "1500000",
        "1500000",
        r#""type":"int64","optional":false,"name":"io.debezium.time.MicroTime","version":1"#,
    ),
    (
        oid::TIMESTAMP,
        0,
        "1970-01-01 00:00:02",
        "2000",
        "2000",
        r#""type":"int64","optional":false,"name":"io.debezium.time.Timestamp","version":1"#,
    ),
    (
        oid::TIMESTAMP,
        -1,
        "1970-01-01 00:00:02",
        "2000000",
        "2000000",
        r#""type":"int64","optional":false,"name":"io.debezium.time.MicroTimestamp","version":1"#,
    ),
    (
        oid::NUMERIC,
        (10 << 16 | 2) + 4,
        "12.30",
        r#""BM4=""#,
        "12.30",
        r#""type":"bytes","optional":false,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2","connect.decimal.precision":"10"}"#,
    ),
];

#[test]
fn each_type_as_json_and_as_text() {
    let json = [("value.converter", JSON), ("value.converter.schemas.enable", "false")];
    for (type_oid, modifier, text, in_json, in_java, schema) in TYPES {
        let cell = ("payload", *type_oid, *modifier, Some(*text));
        assert_eq!(value(&json, cell).as_deref(), Ok(*in_json));
        let with_schema = format!("{{\"schema\":{{{schema}}},\"payload\":{in_json}}}");
        assert_eq!(value(&[], cell), Ok(with_schema));
        assert_eq!(value(&[("value.converter", STRING)], cell).as_deref(), Ok(*in_java));
    }
}

#[test]
fn decimals() {
    let json = [("value.converter", JSON), ("value.converter.schemas.enable", "false")];
    let numbers = [json[0], json[1], ("value.converter.decimal.format", "NUMERIC")];
    let fixed = ("payload", oid::NUMERIC, (20 << 16 | 10) + 4, Some("0.0000000500"));
    assert_eq!(value(&numbers, fixed).as_deref(), Ok("5.00E-8"));
    assert_eq!(value(&[("value.converter", STRING)], fixed).as_deref(), Ok("5.00E-8"));
    let free = ("payload", oid::NUMERIC, -1, Some("-12.3400"));
    assert_eq!(value(&json, free).as_deref(), Ok(r#"{"scale":2,"value":"+y4="}"#));
    assert_eq!(
        value(&[], free).as_deref(),
        Ok(concat!(
            r#"{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"scale"},"#,
            r#"{"type":"bytes","optional":false,"field":"value"}],"optional":false,"name":"io.debezium.data.VariableScaleDecimal","#,
            r#""version":1,"doc":"Variable scaled decimal"},"payload":{"scale":2,"value":"+y4="}}"#
        ))
    );
    let not_a_number = user(&[("payload", oid::NUMERIC, -1, Some("NaN"))]);
    let refused = inserted(&[], &json, &not_a_number);
    assert!(matches!(refused, Err(Problem::Failed(words)) if words.contains("required value")));
    let header = [("table.fields.additional.placement", "n:header")];
    let routed = inserted(&header, &json, &user(&[("n", oid::NUMERIC, -1, Some("NaN"))])).unwrap();
    assert_eq!(routed.verbatim.headers[1], ("n".into(), None));
    assert!(routed.warning.is_some_and(|words| words.contains("column n is NaN")));
    assert!(
        value(&[("value.converter", STRING)], free)
            .unwrap_err()
            .contains("has no text")
    );
}

#[test]
fn nulls() {
    let null = ("payload", oid::JSONB, -1, None);
    let bytes = ("payload", oid::BYTEA, -1, None);
    let schema =
        r#"{"schema":{"type":"string","optional":true,"name":"io.debezium.data.Json","version":1},"payload":null}"#;
    assert_eq!(value(&[], null).as_deref(), Ok(schema));
    assert_eq!(
        value(
            &[("value.converter", JSON), ("value.converter.schemas.enable", "false")],
            null
        )
        .as_deref(),
        Ok("null")
    );
    assert_eq!(value(&[("value.converter", STRING)], null).as_deref(), Ok("-"));
    assert_eq!(value(&[("value.converter", BINARY)], bytes).as_deref(), Ok("-"));
    assert_eq!(value(&[("value.converter", BYTES)], bytes).as_deref(), Ok("-"));
}

#[test]
fn bytes_and_what_is_none() {
    const DELEGATE: &str = "value.converter.delegate.converter.type";
    let bytes = ("payload", oid::BYTEA, -1, Some("\\x7b7d"));
    let text = ("payload", oid::TEXT, -1, Some("a"));
    let delegating = [
        ("value.converter", BINARY),
        (DELEGATE, JSON),
        ("value.converter.delegate.converter.type.schemas.enable", "false"),
    ];
    let old = [("value.converter", OLD_BINARY), delegating[1], delegating[2]];
    assert_eq!(value(&[("value.converter", BYTES)], bytes).as_deref(), Ok("{}"));
    assert_eq!(value(&[("value.converter", BINARY)], bytes).as_deref(), Ok("{}"));
    assert_eq!(value(&delegating, bytes).as_deref(), Ok("{}"));
    assert_eq!(value(&delegating, text).as_deref(), Ok("\"a\""));
    assert_eq!(value(&old, bytes).as_deref(), Ok("\"e30=\""));
    assert_eq!(
        value(&[("value.converter", STRING)], bytes).as_deref(),
        Ok("java.nio.HeapByteBuffer[pos=0 lim=2 cap=2]")
    );
    for (class, cell, words) in [
        (BINARY, text, "needs delegate.converter.type"),
        (OLD_BINARY, bytes, "needs delegate.converter.type"),
        (BYTES, text, "takes bytes alone, and a string was found"),
    ] {
        let error = value(&[("value.converter", class)], cell).unwrap_err();
        assert!(
            error.contains("the value cannot be written by its converter") && error.contains(words),
            "{error}"
        );
    }
}

#[test]
fn keys_and_headers_have_their_own() {
    let plain = [("value.converter", STRING)];
    let options = [(
        "table.fields.additional.placement",
        "n:header,f:header,b:header,v:header",
    )];
    let row = user(&[
        ("aggregateid", oid::INT8, -1, Some("7")),
        ("n", oid::TEXT, -1, None),
        ("f", oid::FLOAT8, -1, Some("1000000000")),
        ("b", oid::BYTEA, -1, Some("\\x00ff")),
        ("v", oid::NUMERIC, -1, Some("1.50")),
    ]);
    let id = "da8d6de6-3b77-45ff-8f44-57db55a7a06c";
    let records = [
        (
            &plain[..],
            format!(
                "outbox.event.User {{\"schema\":{{\"type\":\"int64\",\"optional\":false}},\"payload\":7}} id={id} n=- f=1.0E9 b=AP8= \
                 v={{\"scale\":1,\"value\":\"Dw==\"}} {{}}"
            ),
        ),
        (
            &[
                plain[0],
                ("key.converter", STRING),
                ("header.converter", JSON),
                ("header.converter.schemas.enable", "false"),
            ],
            format!(
                "outbox.event.User 7 id=\"{id}\" n=null f=1.0E9 b=\"AP8=\" v={{\"scale\":1,\"value\":\"Dw==\"}} {{}}"
            ),
        ),
    ];
    for (converters, expected) in records {
        assert_eq!(line(&inserted(&options, converters, &row).unwrap()), expected);
    }
}

#[test]
fn what_cannot_be_configured_is_told() {
    for (converters, words) in [
        (
            &[("value.converter", "io.confluent.connect.avro.AvroConverter")][..],
            "value.converter is \"io.confluent.connect.avro.AvroConverter\"; expected one of org.apache",
        ),
        (
            &[(
                "key.converter",
                "org.apache.kafka.connect.storage.SimpleHeaderConverter",
            )],
            "key.converter is \"org.apache.kafka.connect.storage.SimpleH",
        ),
        (
            &[("value.convertr", JSON)],
            "value.convertr is not an option here; did you mean value.converter?",
        ),
        (
            &[("value.converter.schema.enable", "false")],
            "did you mean value.converter.schemas.enable?",
        ),
        (
            &[("value.converter.schemas.enable", "no")],
            "value.converter.schemas.enable is \"no\"; expected true or false",
        ),
        (
            &[("value.converter", BINARY), ("value.converter.delegate", STRING)],
            "did you mean value.converter.delegate.converter.type?",
        ),
        (
            &[
                ("value.converter", BINARY),
                ("value.converter.delegate.converter.type", "Json"),
            ],
            "value.converter.delegate.converter.type is \"Json\"; expected one of",
        ),
    ] {
        let error = Router::new(&texts(&[]), &texts(converters)).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
