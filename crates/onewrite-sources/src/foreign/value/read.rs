//! From the wire to a value.

use std::str::FromStr;

use bytes::Bytes;
use jiff::SignedDuration;
use jiff::civil::{Date, Time};
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use uuid::Uuid;

use super::{Column, Numeric, Raw, Text, Value, oid};

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;

/// PostgreSQL counts from the year 2000.
const DAYS_TO_2000: i32 = 10_957;
const MICROSECONDS_TO_2000: i64 = DAYS_TO_2000 as i64 * DAY;

pub(super) fn read(column: &Column, raw: &Raw) -> Result<Value, String> {
    let Column { name, type_oid, .. } = column;
    if type_name(*type_oid).is_none() {
        return Err(format!(
            "column {name} has a type (oid {type_oid}) that cannot be read; cast it to text, jsonb or bytea in the table"
        ));
    }
    let (form, value, bytes) = match raw {
        Raw::Null => return Ok(Value::Null),
        Raw::Unchanged => {
            return Err(format!(
                "column {name} (type oid {type_oid}) is not in the log: the update left it as it was, and it is stored apart \
                 from its row"
            ));
        }
        Raw::Text(bytes) => ("text", from_text(*type_oid, bytes), bytes),
        Raw::Binary(bytes) => ("binary", from_binary(*type_oid, bytes), bytes),
    };
    value.ok_or_else(|| {
        let kind = type_name(*type_oid).unwrap_or_default();
        let found = excerpt(bytes);
        format!("column {name} (type oid {type_oid}) is not the {form} form of {kind}: {found}")
    })
}

fn type_name(type_oid: u32) -> Option<&'static str> {
    Some(match type_oid {
        oid::BOOL => "boolean",
        oid::BYTEA => "bytea",
        oid::INT8 => "bigint",
        oid::INT2 => "smallint",
        oid::INT4 => "integer",
        oid::TEXT | oid::NAME | oid::UNKNOWN | oid::BPCHAR | oid::VARCHAR => "a text in UTF-8",
        oid::JSON | oid::JSONB => "JSON in UTF-8",
        oid::FLOAT4 => "real",
        oid::FLOAT8 => "double precision",
        oid::DATE => "date (ISO, years 1 to 9999)",
        oid::TIME => "time",
        oid::TIMESTAMP => "timestamp (ISO, years 1 to 9999)",
        oid::TIMESTAMPTZ => "timestamptz (ISO, years 1 to 9999)",
        oid::NUMERIC => "numeric",
        oid::UUID => "uuid",
        _ => return None,
    })
}

/// The beginning of what was found, for an error.
fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 40;
    let beginning = &bytes[..bytes.len().min(SHOWN)];
    let more = if bytes.len() > SHOWN { "…" } else { "" };
    format!("\"{}{more}\" ({} bytes)", beginning.escape_ascii(), bytes.len())
}

fn from_binary(type_oid: u32, bytes: &Bytes) -> Option<Value> {
    Some(match type_oid {
        oid::BOOL => Value::Bool(match **bytes {
            [0] => false,
            [1] => true,
            _ => return None,
        }),
        oid::BYTEA => Value::Bytea(bytes.clone()),
        oid::INT2 => Value::Int2(i16::from_be_bytes(exactly(bytes)?)),
        oid::INT4 => Value::Int4(i32::from_be_bytes(exactly(bytes)?)),
        oid::INT8 => Value::Int8(i64::from_be_bytes(exactly(bytes)?)),
        oid::FLOAT4 => Value::Float4(f32::from_be_bytes(exactly(bytes)?)),
        oid::FLOAT8 => Value::Float8(f64::from_be_bytes(exactly(bytes)?)),
        oid::NUMERIC => Value::Numeric(Numeric::from_binary(bytes)?),
        oid::UUID => Value::Uuid(Uuid::from_bytes(exactly(bytes)?)),
        oid::JSON => Value::Json(Text::new(bytes.clone())?),
        // One byte says the version of the form.
        oid::JSONB if bytes.first() == Some(&1) => Value::Json(Text::new(bytes.slice(1..))?),
        oid::JSONB => return None,
        oid::DATE => Value::Date(match i32::from_be_bytes(exactly(bytes)?) {
            end @ (i32::MIN | i32::MAX) => end,
            days => days.checked_add(DAYS_TO_2000)?,
        }),
        oid::TIME => Value::Time(Some(i64::from_be_bytes(exactly(bytes)?)).filter(|time| (0..=DAY).contains(time))?),
        oid::TIMESTAMP => Value::Timestamp(since_1970(bytes)?),
        oid::TIMESTAMPTZ => Value::Timestamptz(since_1970(bytes)?),
        _ => Value::Text(Text::new(bytes.clone())?),
    })
}

fn exactly<const LENGTH: usize>(bytes: &[u8]) -> Option<[u8; LENGTH]> {
    bytes.try_into().ok()
}

fn since_1970(bytes: &[u8]) -> Option<i64> {
    match i64::from_be_bytes(exactly(bytes)?) {
        end @ (i64::MIN | i64::MAX) => Some(end),
        microseconds => microseconds.checked_add(MICROSECONDS_TO_2000),
    }
}

fn from_text(type_oid: u32, bytes: &Bytes) -> Option<Value> {
    let text = Text::new(bytes.clone())?;
    Some(match type_oid {
        oid::BOOL => Value::Bool(match text.as_str() {
            "f" => false,
            "t" => true,
            _ => return None,
        }),
        oid::BYTEA => Value::Bytea(bytea(bytes)?),
        oid::INT2 => Value::Int2(parse(&text)?),
        oid::INT4 => Value::Int4(parse(&text)?),
        oid::INT8 => Value::Int8(parse(&text)?),
        oid::FLOAT4 => Value::Float4(parse(&text)?),
        oid::FLOAT8 => Value::Float8(parse(&text)?),
        oid::NUMERIC => Value::Numeric(Numeric::from_text(text.as_str())?),
        oid::UUID => Value::Uuid(parse(&text)?),
        oid::JSON | oid::JSONB => Value::Json(text),
        oid::DATE => Value::Date(date(&text)?),
        oid::TIME => Value::Time(time(&text)?),
        oid::TIMESTAMP => Value::Timestamp(moment(&text, false)?),
        oid::TIMESTAMPTZ => Value::Timestamptz(moment(&text, true)?),
        _ => Value::Text(text),
    })
}

fn parse<T: FromStr>(text: &Text) -> Option<T> {
    text.as_str().parse().ok()
}

fn date(text: &Text) -> Option<i32> {
    match text.as_str() {
        "-infinity" => Some(i32::MIN),
        "infinity" => Some(i32::MAX),
        finite => {
            let elapsed = finite.parse::<Date>().ok()?.duration_since(Date::constant(1970, 1, 1));
            i32::try_from(elapsed.as_hours() / 24).ok()
        }
    }
}

fn time(text: &Text) -> Option<i64> {
    if text.as_str() == "24:00:00" {
        return Some(DAY);
    }
    let elapsed = parse::<Time>(text)?.duration_since(Time::midnight());
    i64::try_from(elapsed.as_micros()).ok()
}

fn moment(text: &Text, with_offset: bool) -> Option<i64> {
    let text = match text.as_str() {
        "-infinity" => return Some(i64::MIN),
        "infinity" => return Some(i64::MAX),
        finite => finite,
    };
    let pieces = Pieces::parse(text).ok()?;
    let offset = match (pieces.to_numeric_offset(), with_offset) {
        (Some(offset), true) => offset,
        (None, false) => Offset::UTC,
        _ => return None,
    };
    let elapsed = pieces.date().to_datetime(pieces.time()?).duration_since(super::EPOCH);
    let elapsed = elapsed.checked_sub(SignedDuration::from_secs(offset.seconds().into()))?;
    i64::try_from(elapsed.as_micros()).ok()
}

/// Either of the two that the setting `bytea_output` knows: `hex`, and `escape` with octal numbers.
fn bytea(bytes: &[u8]) -> Option<Bytes> {
    if let Some(digits) = bytes.strip_prefix(b"\\x") {
        let (pairs, rest) = digits.as_chunks::<2>();
        let pairs = pairs
            .iter()
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
        return pairs
            .collect::<Option<Vec<u8>>>()
            .filter(|_| rest.is_empty())
            .map(Bytes::from);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                rest = after;
            }
            (b'\\', after) => {
                let (digits, after) = after.split_first_chunk::<3>()?;
                out.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok()?);
                rest = after;
            }
            (byte, after) => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    Some(out.into())
}
