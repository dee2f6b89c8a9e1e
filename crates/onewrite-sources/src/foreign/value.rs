//! The values of a row's columns as PostgreSQL sends them, in its text form or in its binary form.
//!
//! The forms are those of the types' output and send functions (PostgreSQL's documentation, chapters 8 and 53.9).

mod numeric;
mod read;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub use numeric::Numeric;
pub use text::Text;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Arc<str>,
    /// The `pg_type.oid` of its type. For a domain it must be that of the type beneath it, and for an enum or another type that
    /// is a text to those who read it, that of `text` (25): the values themselves do not tell.
    pub type_oid: u32,
    /// What the type was declared with, such as the precision of a numeric (`pg_attribute.atttypmod`); -1 where nothing was.
    pub type_modifier: i32,
}

/// A column's value on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// SQL's NULL.
    Null,
    /// A large value that an update did not change: the log does not repeat it.
    Unchanged,
    /// In the type's text form.
    Text(Bytes),
    /// In the type's binary form.
    Binary(Bytes),
}

/// A column's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL's NULL.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `smallint`.
    Int2(i16),
    /// `integer`.
    Int4(i32),
    /// `bigint`.
    Int8(i64),
    /// `real`.
    Float4(f32),
    /// `double precision`.
    Float8(f64),
    /// `numeric`.
    Numeric(Numeric),
    /// `text`, `varchar`, `char(n)`, `name` and what else is a text.
    Text(Text),
    /// `uuid`.
    Uuid(Uuid),
    /// `json` or `jsonb`, as its text.
    Json(Text),
    /// `bytea`.
    Bytea(Bytes),
    /// `date`: days since 1970-01-01; the ends of the range of `i32` are PostgreSQL's `-infinity` and `infinity`.
    Date(i32),
    /// `time`: microseconds since midnight, up to and with 24:00.
    Time(i64),
    /// `timestamp`: microseconds since 1970-01-01 00:00, in whatever zone the application means; the ends of the range of
    /// `i64` are PostgreSQL's `-infinity` and `infinity`.
    Timestamp(i64),
    /// `timestamptz`: microseconds since 1970-01-01 00:00 UTC; the ends as with `Timestamp`.
    Timestamptz(i64),
}

/// The `pg_type.oid` of the types that can be read (PostgreSQL's `pg_type.dat`).
pub mod oid {
    #![allow(missing_docs)]
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const JSON: u32 = 114;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const UNKNOWN: u32 = 705;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const NUMERIC: u32 = 1700;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
}

impl Value {
    /// Reads a column's value.
    ///
    /// # Errors
    /// Words that name the column and its type: the type is not one of those of [`Value`], the value is not of its form, it is
    /// [`Raw::Unchanged`], or a text is not UTF-8.
    pub fn read(column: &Column, raw: &Raw) -> Result<Self, String> {
        read::read(column, raw)
    }

    /// Whether it is SQL's NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value as people read it and as psql shows it, times in the ISO form; nothing for NULL.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => return None,
            Self::Text(text) | Self::Json(text) => Cow::Borrowed(text.as_str()),
            Self::Bool(true) => Cow::Borrowed("t"),
            Self::Bool(false) => Cow::Borrowed("f"),
            Self::Int2(number) => number.to_string().into(),
            Self::Int4(number) => number.to_string().into(),
            Self::Int8(number) => number.to_string().into(),
            Self::Float4(number) => number.to_string().into(),
            Self::Float8(number) => number.to_string().into(),
            Self::Numeric(number) => number.to_string().into(),
            Self::Uuid(uuid) => uuid.to_string().into(),
            Self::Bytea(bytes) => hexadecimal(bytes).into(),
            Self::Date(days) => date(*days).into(),
            Self::Time(microseconds) => time_of_day(*microseconds).into(),
            Self::Timestamp(microseconds) => moment(*microseconds).into(),
            Self::Timestamptz(end @ (i64::MIN | i64::MAX)) => moment(*end).into(),
            Self::Timestamptz(microseconds) => (moment(*microseconds) + "Z").into(),
        })
    }

    /// The value as a UUID, where it is one or the text of one.
    pub fn uuid(&self) -> Option<Uuid> {
        match self {
            Self::Uuid(uuid) => Some(*uuid),
            Self::Text(text) => Uuid::parse_str(text.as_str()).ok(),
            _ => None,
        }
    }

    /// The value as a moment, where it is a `timestamptz`, or a `timestamp`, whose zone is then taken to be UTC. What lies
    /// beyond the range of [`Timestamp`], such as `infinity`, becomes its nearest end.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Timestamp(microseconds) | Self::Timestamptz(microseconds) => Some(nearest(*microseconds)),
            _ => None,
        }
    }

    /// The value as a message's body: the bytes of a `bytea`, of any other value its [`text`](Self::text); nothing for NULL.
    pub fn payload(&self) -> Option<Bytes> {
        match self {
            Self::Bytea(bytes) => Some(bytes.clone()),
            Self::Text(text) | Self::Json(text) => Some(text.bytes().clone()),
            other => other.text().map(|text| Bytes::from(text.into_owned())),
        }
    }
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

fn nearest(microseconds: i64) -> Timestamp {
    let end = if microseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_microsecond(microseconds).unwrap_or(end)
}

/// In UTC, where its year is one of the calendar's four digits.
pub(super) fn civil(microseconds: i64) -> Option<DateTime> {
    EPOCH
        .checked_add(SignedDuration::from_micros(microseconds))
        .ok()
        .filter(|civil| civil.year() > 0)
}

fn moment(microseconds: i64) -> String {
    match microseconds {
        i64::MIN => "-infinity".to_owned(),
        i64::MAX => "infinity".to_owned(),
        finite => civil(finite).map_or_else(
            || format!("{finite} microseconds since 1970"),
            |civil| civil.to_string(),
        ),
    }
}

fn date(days: i32) -> String {
    match days {
        i32::MIN => "-infinity".to_owned(),
        i32::MAX => "infinity".to_owned(),
        finite => {
            let days = jiff::Span::new().try_days(finite);
            let date = days.and_then(|days| Date::constant(1970, 1, 1).checked_add(days));
            date.map_or_else(|_| format!("{finite} days since 1970"), |date| date.to_string())
        }
    }
}

fn time_of_day(microseconds: i64) -> String {
    // PostgreSQL knows the end of a day as a time of its own.
    if microseconds >= read::DAY {
        return "24:00:00".to_owned();
    }
    let elapsed = SignedDuration::from_micros(microseconds);
    (Time::midnight().checked_add(elapsed)).map_or_else(|error| error.to_string(), |time| time.to_string())
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}
