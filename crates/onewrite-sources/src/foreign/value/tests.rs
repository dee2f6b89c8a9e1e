//! Both forms, type by type. What PostgreSQL sends was taken from its output and send functions.

use bytes::Bytes;
use jiff::Timestamp;

use super::{Column, Numeric, Raw, Value, oid};

fn read(type_oid: u32, raw: &Raw) -> Result<Value, String> {
    let column = Column {
        name: "payload".into(),
        type_oid,
        type_modifier: -1,
    };
    Value::read(&column, raw)
}

fn text(type_oid: u32, text: &'static str) -> Value {
    read(type_oid, &Raw::Text(Bytes::from_static(text.as_bytes()))).unwrap()
}

fn binary(type_oid: u32, bytes: &[u8]) -> Value {
    read(type_oid, &Raw::Binary(Bytes::copy_from_slice(bytes))).unwrap()
}

#[test]
fn both_forms_mean_the_same() {
    let uuid = *b"\x12\x34\x56\x78\x9a\xbc\xde\xf0\x12\x34\x56\x78\x9a\xbc\xde\xf0";
    let cases: &[(u32, &str, &[u8], &str)] = &[
        (oid::BOOL, "t", &[1], "t"),
        (oid::INT2, "-7", &(-7_i16).to_be_bytes(), "-7"),
        (oid::INT4, "70000", &70_000_i32.to_be_bytes(), "70000"),
        (
            oid::INT8,
            "-9000000000",
            &(-9_000_000_000_i64).to_be_bytes(),
            "-9000000000",
        ),
        (oid::FLOAT4, "1.5", &1.5_f32.to_be_bytes(), "1.5"),
        (oid::FLOAT8, "-0.1", &(-0.1_f64).to_be_bytes(), "-0.1"),
        (oid::TEXT, "Grüße", "Grüße".as_bytes(), "Grüße"),
        (oid::VARCHAR, "a", b"a", "a"),
        (oid::BPCHAR, "a  ", b"a  ", "a  "),
        (oid::NAME, "a", b"a", "a"),
        (oid::JSON, "{ }", b"{ }", "{ }"),
        (oid::JSONB, "{}", b"\x01{}", "{}"),
        (
            oid::UUID,
            "12345678-9abc-def0-1234-56789abcdef0",
            &uuid,
            "12345678-9abc-def0-1234-56789abcdef0",
        ),
        (oid::BYTEA, "\\x00ff61", &[0, 255, 97], "\\x00ff61"),
        (oid::BYTEA, "\\000\\377a\\\\", &[0, 255, 97, 92], "\\x00ff615c"),
        (oid::DATE, "2000-01-02", &1_i32.to_be_bytes(), "2000-01-02"),
        (oid::DATE, "1969-12-31", &(-10_958_i32).to_be_bytes(), "1969-12-31"),
        (oid::DATE, "infinity", &i32::MAX.to_be_bytes(), "infinity"),
        (oid::TIME, "00:00:01.5", &1_500_000_i64.to_be_bytes(), "00:00:01.5"),
        (oid::TIME, "24:00:00", &86_400_000_000_i64.to_be_bytes(), "24:00:00"),
        (
            oid::TIMESTAMP,
            "2000-01-01 00:00:00.000001",
            &1_i64.to_be_bytes(),
            "2000-01-01T00:00:00.000001",
        ),
        (
            oid::TIMESTAMPTZ,
            "2000-01-01 02:00:00+02",
            &0_i64.to_be_bytes(),
            "2000-01-01T00:00:00Z",
        ),
        (
            oid::TIMESTAMPTZ,
            "1999-12-31 18:30:00-05:30",
            &0_i64.to_be_bytes(),
            "2000-01-01T00:00:00Z",
        ),
        (oid::TIMESTAMPTZ, "-infinity", &i64::MIN.to_be_bytes(), "-infinity"),
    ];
    for (type_oid, as_text, as_binary, shown) in cases {
        let value = text(*type_oid, as_text);
        assert_eq!(value, binary(*type_oid, as_binary), "{as_text}");
        assert_eq!(value.text().as_deref(), Some(*shown), "{as_text}");
    }
}

#[test]
fn numbers_of_any_length() {
    let groups = |weight: i16, sign: u16, scale: u16, groups: &[u16]| {
        let count = u16::try_from(groups.len()).unwrap();
        let fields = [count, weight.cast_unsigned(), sign, scale];
        let words = fields.iter().chain(groups).flat_map(|word| word.to_be_bytes());
        words.collect::<Vec<u8>>()
    };
    for (shown, bytes) in [
        ("0", groups(0, 0, 0, &[])),
        ("0.00", groups(0, 0, 2, &[])),
        ("-12345.67", groups(1, 0x4000, 2, &[1, 2345, 6700])),
        ("0.00012", groups(-1, 0, 5, &[1, 2000])),
        ("1000000000000", groups(3, 0, 0, &[1])),
        ("10000.0001", groups(1, 0, 4, &[1, 0, 1])),
        ("1.1000", groups(0, 0, 4, &[1, 1000])),
        ("NaN", groups(0, 0xC000, 0, &[])),
        ("Infinity", groups(0, 0xD000, 0, &[])),
        ("-Infinity", groups(0, 0xF000, 0, &[])),
    ] {
        let value = binary(oid::NUMERIC, &bytes);
        assert_eq!(value.text().as_deref(), Some(shown));
        assert_eq!(value, text(oid::NUMERIC, shown));
    }
    assert!(Numeric::from_text("1.").is_none());
    assert!(Numeric::from_text("1e3").is_none());
    assert!(Numeric::from_binary(&groups(0, 0, 0, &[10_000])).is_none());
    assert!(Numeric::from_binary(&groups(0, 0, 0, &[1])[..9]).is_none());
}

#[test]
fn what_a_value_offers() {
    let uuid = text(oid::UUID, "12345678-9abc-def0-1234-56789abcdef0");
    assert_eq!(
        uuid.uuid(),
        text(oid::TEXT, "12345678-9ABC-def0-1234-56789abcdef0").uuid()
    );
    assert!(text(oid::TEXT, "seven").uuid().is_none());
    assert_eq!(uuid.payload().unwrap(), "12345678-9abc-def0-1234-56789abcdef0");
    assert_eq!(text(oid::BYTEA, "\\x6162").payload().unwrap(), "ab");
    assert_eq!(text(oid::JSONB, "{\"a\": 1}").payload().unwrap(), "{\"a\": 1}");
    assert_eq!(Value::Null.payload(), None);
    assert_eq!(Value::Null.text(), None);
    assert_eq!(
        text(oid::TIMESTAMP, "1970-01-01 00:00:01").time(),
        Some(Timestamp::from_second(1).unwrap())
    );
    assert_eq!(text(oid::TIMESTAMPTZ, "infinity").time(), Some(Timestamp::MAX));
    assert_eq!(text(oid::TEXT, "1970-01-01").time(), None);
    assert_eq!(read(oid::TEXT, &Raw::Null).unwrap(), Value::Null);
}

#[test]
fn what_cannot_be_read_says_where() {
    let text = |text: &'static [u8]| Raw::Text(Bytes::from_static(text));
    for (type_oid, raw, words) in [
        (
            600,
            text(b"(1,2)"),
            "column payload has a type (oid 600) that cannot be read",
        ),
        (
            oid::TEXT,
            Raw::Unchanged,
            "column payload (type oid 25) is not in the log",
        ),
        (
            oid::TEXT,
            text(b"\xff"),
            "column payload (type oid 25) is not the text form of a text in UTF-8: \"\\xff\" (1 bytes)",
        ),
        (
            oid::INT4,
            text(b"x"),
            "column payload (type oid 23) is not the text form of integer: \"x\" (1 bytes)",
        ),
        (oid::BYTEA, text(b"\\x0"), "the text form of bytea"),
        (oid::BYTEA, text(b"\\9"), "the text form of bytea"),
        (
            oid::DATE,
            text(b"0044-03-15 BC"),
            "the text form of date (ISO, years 1 to 9999)",
        ),
        (
            oid::JSONB,
            Raw::Binary(Bytes::from_static(b"\x02{}")),
            "the binary form of JSON",
        ),
        (
            oid::INT4,
            Raw::Binary(Bytes::from_static(b"\x02")),
            "the binary form of integer",
        ),
    ] {
        let error = read(type_oid, &raw).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}
