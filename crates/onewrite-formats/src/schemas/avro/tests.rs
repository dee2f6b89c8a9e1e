use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use proptest::prelude::*;

use super::*;
use crate::schemas::tests::event;

fn compiled(text: &str, references: &[&str]) -> AvroSchema {
    let references = references.iter().map(|text| ("name".to_owned(), (*text).to_owned()));
    let source = Source {
        text: text.to_owned(),
        references: references.collect(),
    };
    Avro::new(RULES).compile(&source).unwrap()
}

const RULES: Rules = Rules {
    base64: true,
    refuse_unknown: true,
};

fn encoded_by(schema: &AvroSchema, rules: Rules, payload: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    Avro::new(rules).encode(schema, &event(payload), &mut out).map(|()| out)
}

fn encoded(schema: &str, payload: &str) -> Result<Vec<u8>, String> {
    encoded_by(&compiled(schema, &[]), RULES, payload)
}

fn read_back(schema: &AvroSchema, bytes: &mut &[u8]) -> Value {
    let reader = GenericDatumReader::builder(&schema.schema).build().unwrap();
    reader.read_value(bytes).unwrap()
}

const ORDER: &str = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
    {"name":"id","type":"long"},
    {"name":"note","type":["null","string"],"default":null},
    {"name":"state","type":{"type":"enum","name":"State","symbols":["OPEN","PAID"]},"default":"OPEN"},
    {"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[
        {"name":"sku","type":"string"},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}},"default":[]},
    {"name":"last","type":["null","Line"]},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"day","type":{"type":"int","logicalType":"date"}},
    {"name":"hash","type":{"type":"fixed","name":"Hash","size":2}},
    {"name":"tags","type":{"type":"map","values":"double"},"default":{}}
]}"#;

const PLACED: &str = r#"{"id":150,"note":"hi","lines":[{"sku":"a","price":12.3}],"at":"1970-01-01T00:00:00.000001Z",
    "day":"1970-01-03","hash":"AP8=","tags":{"x":1.5}}"#;

#[test]
fn a_record_is_laid_down_as_the_specification_has_it() {
    // By hand from "Binary Encoding" of Avro 1.12: zigzag 150 = ac 02; branch 1, length 2, hi; symbol 0; one item: length 1, a,
    // two bytes of 1230 = 04 ce, end; branch 0; 1; 2 days; two bytes; one entry: x, 1.5 little-endian, end.
    let expected = b"\xac\x02\x02\x04hi\x00\x02\x02a\x04\x04\xce\x00\x00\x02\x04\x00\xff\x02\x02x\x00\x00\x00\x00\x00\x00\xf8\x3f\x00";
    assert_eq!(encoded(ORDER, PLACED).unwrap(), expected);
}

#[test]
fn the_librarys_own_reader_reads_it() {
    let schema = compiled(ORDER, &[]);
    let bytes = encoded_by(&schema, RULES, PLACED).unwrap();
    let read = read_back(&schema, &mut &bytes[..]);
    let Value::Record(fields) = read else {
        panic!("{read:?}")
    };
    assert_eq!(fields[0].1, Value::Long(150));
    assert_eq!(fields[2].1, Value::Enum(0, "OPEN".to_owned()));
    assert_eq!(fields[5].1, Value::TimestampMicros(1));
}

#[test]
fn what_does_not_fit_is_told_with_its_path() {
    let wrong = |payload: &str| encoded(ORDER, payload).unwrap_err();
    let with = |name: &str, value: &str| {
        let mut order: serde_json::Value = serde_json::from_str(PLACED).unwrap();
        order[name] = serde_json::from_str(value).unwrap();
        wrong(&order.to_string())
    };
    assert_eq!(with("id", "\"x\""), "id: found the text \"x\"; expected long");
    assert_eq!(with("id", "1.5"), "id: found the number 1.5; expected long");
    assert_eq!(
        with("note", "7"),
        "note: found the number 7; expected one of null, string"
    );
    assert_eq!(
        with("state", "\"LOST\""),
        "state: found the text \"LOST\"; expected one of OPEN, PAID"
    );
    assert!(
        with("lines", r#"[{"sku":"a","price":"1.234"}]"#)
            .starts_with("lines[0].price: found the text \"1.234\"; it has")
    );
    assert!(with("lines", r#"[{"sku":"a","price":12345678.9}]"#).contains("at most 9 digits"));
    assert_eq!(
        with("lines", r#"[{"sku":"a"}]"#),
        "lines[0].price: is missing, and the schema has no default for it"
    );
    assert_eq!(
        with("last", r#"{"sku":1,"price":1}"#),
        "last.sku: found the number 1; expected string"
    );
    assert_eq!(with("hash", "\"AA==\""), "hash: found 1 bytes; expected exactly 2");
    assert!(with("hash", "\"?\"").starts_with("hash: found a text that is not base64"));
    assert!(with("extra", "1").starts_with("at its top: the schema has no field \"extra\""));
    assert_eq!(
        with("at", "\"today\""),
        "at: found the text \"today\"; expected timestamp-micros"
    );
    assert_eq!(
        with("tags", r#"{"x":"y"}"#),
        "tags.x: found the text \"y\"; expected double"
    );
    assert!(wrong("{").starts_with("it is not JSON"));
    assert_eq!(wrong("[]"), "at its top: found an array; expected shop.Order");
}

#[test]
fn unknown_fields_can_be_left_out_and_bytes_written_as_avro_does() {
    let schema = compiled(
        r#"{"type":"record","name":"R","fields":[{"name":"b","type":"bytes"}]}"#,
        &[],
    );
    let rules = Rules {
        base64: false,
        refuse_unknown: false,
    };
    assert_eq!(
        encoded_by(&schema, rules, r#"{"b":"\u00ff\u0000","c":1}"#).unwrap(),
        b"\x04\xff\x00"
    );
    assert!(
        encoded_by(&schema, rules, r#"{"b":"\u0100"}"#)
            .unwrap_err()
            .contains("U+00FF")
    );
}

#[test]
fn unions_take_avros_own_form_and_the_plain_one() {
    let union = r#"["null","int","long","double","string","bytes",{"type":"map","values":"int"}]"#;
    let told = |payload: &str| encoded(union, payload).unwrap();
    assert_eq!(told("null"), [0]);
    assert_eq!(told("1"), [2, 2]);
    assert_eq!(told("3000000000")[0], 4);
    assert_eq!(told("1.5")[0], 6);
    assert_eq!(told("1.0")[0], 6, "what was written with a point is no int");
    assert_eq!(told("\"a\""), [8, 2, b'a']);
    assert_eq!(told(r#"{"bytes":"AA=="}"#), [10, 2, 0]);
    assert_eq!(told(r#"{"long":1}"#), [4, 2]);
    assert_eq!(told(r#"{"a":1}"#), [12, 2, 2, b'a', 2, 0]);
    assert_eq!(told(r#"{"string":7}"#)[0], 12, "no text: a map with that name");
    assert_eq!(
        encoded(union, "[]").unwrap_err().split(';').next(),
        Some("at its top: found an array")
    );
}

#[test]
fn neither_depth_nor_unions_of_unions_take_all_there_is() {
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"],"default":null}]}"#;
    let nested = |depth: usize| format!("{}{{}}{}", "{\"next\":".repeat(depth), "}".repeat(depth));
    assert!(encoded(list, &nested(100)).is_ok());
    let words = encoded(list, &nested(100_000)).unwrap_err();
    assert!(words.contains("more than 128 deep"), "{words}");
    let tree = r#"{"type":"record","name":"A","fields":[{"name":"next","type":["int","A",
        {"type":"record","name":"B","fields":[{"name":"next","type":["int","A","B"]}]}]}]}"#;
    let wrong = format!("{}\"x\"{}", "{\"next\":".repeat(100), "}".repeat(100));
    let words = encoded(tree, &wrong).unwrap_err();
    assert!(words.contains("tried in vain"), "{words}");
}

#[test]
fn a_long_list_whose_elements_are_not_of_the_first_branch_is_written() {
    let either = r#"{"type":"array","items":[{"type":"record","name":"A","fields":[{"name":"a","type":"int"}]},
        {"type":"record","name":"B","fields":[{"name":"b","type":"int"}]}]}"#;
    let many = format!("[{}{{\"b\":1}}]", "{\"b\":1},".repeat(29_999));
    assert_eq!(encoded(either, &many).unwrap().len(), 4 + 30_000 * 2);
}

#[test]
fn what_defaults_add_is_bounded() {
    let record = |name: &str, fields: Vec<String>| {
        format!(r#"{{"type":"record","name":"{name}","fields":[{}]}}"#, fields.join(","))
    };
    // Each record holds the one before it by default.
    let mut chain = vec![record(
        "R0",
        vec![r#"{"name":"n","type":"int","default":1}"#.to_owned()],
    )];
    for level in 1..140 {
        let below = format!(r#"{{"name":"n","type":"R{}","default":{{}}}}"#, level - 1);
        chain.push(record(&format!("R{level}"), vec![below]));
    }
    let fields = (0..).zip(&chain);
    let fields = fields.map(|(at, link)| format!(r#"{{"name":"f{at}","type":{link},"default":{{}}}}"#));
    let words = encoded(&record("All", fields.collect()), "{}").unwrap_err();
    assert!(words.contains("defaults go more than 128 deep"), "{words}");

    let fields = (0..20).map(|at| format!(r#"{{"name":"f{at}","type":"int","default":0}}"#));
    let list = format!(r#"{{"type":"array","items":{}}}"#, record("Wide", fields.collect()));
    let many = |count: usize| format!("[{}{{}}]", "{},".repeat(count - 1));
    assert_eq!(encoded(&list, &many(1_000)).unwrap().len(), 3 + 1_000 * 20);
    let words = encoded(&list, &many(50_001)).unwrap_err();
    assert!(words.contains("defaults add more than 1000000 values"), "{words}");
}

#[test]
fn a_schema_can_refer_to_others() {
    let address =
        r#"{"type":"record","name":"Address","namespace":"common","fields":[{"name":"city","type":"string"}]}"#;
    let order = r#"{"type":"record","name":"Order","namespace":"shop","fields":[{"name":"to","type":"common.Address"},
        {"name":"next","type":["null","Order"]}]}"#;
    let schema = compiled(order, &[address]);
    let bytes = encoded_by(&schema, RULES, r#"{"to":{"city":"B"},"next":{"to":{"city":"C"}}}"#).unwrap();
    assert_eq!(bytes, b"\x02B\x02\x02C\x00");
    assert_eq!(Avro::new(RULES).name(&schema).as_deref(), Some("shop.Order"));
}

#[test]
fn decimals_are_exact() {
    let of = |schema: &str, json: &str| encoded(schema, json);
    let decimal = |scale: u32| format!(r#"{{"type":"bytes","logicalType":"decimal","precision":38,"scale":{scale}}}"#);
    assert_eq!(of(&decimal(2), "-1").unwrap(), [2, 0x9c]);
    assert_eq!(of(&decimal(2), "1.28").unwrap(), [4, 0, 0x80]);
    assert_eq!(of(&decimal(0), "\"0\"").unwrap(), [2, 0]);
    assert_eq!(of(&decimal(1), "1.2e1").unwrap(), [2, 120]);
    assert_eq!(of(&decimal(1), "120e-2").unwrap(), [2, 12]);
    assert!(of(&decimal(1), "0.05").is_err());
    assert!(of(&decimal(38), "1").unwrap_err().contains("38 digits"));
    let long = of(&decimal(2), "123456789012345678901234567890.12").unwrap();
    let number = long[1..]
        .iter()
        .fold(0_i128, |number, byte| number << 8 | i128::from(*byte));
    assert_eq!(number, 12_345_678_901_234_567_890_123_456_789_012);
    let fixed = r#"{"type":"fixed","name":"D","size":3,"logicalType":"decimal","precision":6,"scale":0}"#;
    assert_eq!(of(fixed, "-2").unwrap(), [0xff, 0xff, 0xfe]);
}

#[test]
fn times_are_numbers_or_texts() {
    let of = |base: &str, logical: &str, json: &str| {
        encoded(&format!(r#"{{"type":"{base}","logicalType":"{logical}"}}"#), json)
    };
    assert_eq!(of("int", "date", "7"), of("int", "date", "\"1970-01-08\""));
    assert_eq!(of("int", "date", "\"1969-12-31\"").unwrap(), [1]);
    assert_eq!(
        of("int", "time-millis", "\"00:00:01\"").unwrap(),
        encoded("\"int\"", "1000").unwrap()
    );
    assert_eq!(of("long", "time-micros", "\"00:00:00.000002\"").unwrap(), [4]);
    assert_eq!(
        of("long", "timestamp-millis", "\"1970-01-01T01:00:00.001+01:00\"").unwrap(),
        [2]
    );
    assert!(
        of("long", "timestamp-millis", "\"1970-01-01T00:00:00.0001Z\"").is_err(),
        "nothing is rounded"
    );
    assert_eq!(
        of("long", "local-timestamp-millis", "\"1970-01-01T00:00:00.001\"").unwrap(),
        [2]
    );
    assert!(of("int", "date", "3000000000").is_err());
    assert_eq!(
        of("string", "uuid", "\"da8d6de6-3b77-45ff-8f44-57db55a7a06c\"")
            .unwrap()
            .len(),
        37
    );
    assert!(of("string", "uuid", "\"x\"").is_err());
}

/// A schema, and JSON that fits it.
fn fitting() -> impl Strategy<Value = (serde_json::Value, serde_json::Value)> {
    use serde_json::json;
    let scalar = prop_oneof![
        any::<i32>().prop_map(|number| (json!("int"), json!(number))),
        any::<i64>().prop_map(|number| (json!("long"), json!(number))),
        any::<bool>().prop_map(|flag| (json!("boolean"), json!(flag))),
        (-1e12..1e12_f64).prop_map(|number| (json!("double"), json!(number))),
        any::<String>().prop_map(|text| (json!("string"), json!(text))),
        any::<Option<String>>().prop_map(|text| (json!(["null", "string"]), json!(text))),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|(schema, json)| (json!({"type": "array", "items": schema}), json!([json]))),
            inner
                .clone()
                .prop_map(|(schema, json)| (json!({"type": "map", "values": schema}), json!({"k": json}))),
            (inner, any::<u64>()).prop_map(|((schema, json), number)| {
                let name = format!("R{number}");
                (
                    json!({"type": "record", "name": name, "fields": [{"name": "f", "type": schema}]}),
                    json!({"f": json}),
                )
            }),
        ]
    })
}

/// What a read value is as JSON.
fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Union(_, inner) => json_of(inner),
        Value::Null => serde_json::Value::Null,
        Value::Boolean(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Long(number) => (*number).into(),
        Value::Double(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(name, value)| (name.clone(), json_of(value)))
            .collect(),
        Value::Record(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), json_of(value)))
            .collect(),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read_back((schema, json) in fitting()) {
        let schema = compiled(&schema.to_string(), &[]);
        let bytes = encoded_by(&schema, RULES, &json.to_string()).unwrap();
        let mut rest = &bytes[..];
        let read = read_back(&schema, &mut rest);
        prop_assert!(rest.is_empty());
        prop_assert_eq!(json_of(&read), json);
    }

    #[test]
    fn no_payload_makes_the_encoder_fail_but_with_words(payload in ".{0,60}") {
        let _ = encoded(ORDER, &payload);
    }
}
