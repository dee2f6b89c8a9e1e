//! Numbers, decimals and times from JSON.

use apache_avro::Schema;
use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, Unit};

use crate::limits::DECIMAL_DIGITS_MAX;
use crate::schemas::json::Json;

/// A whole number of a range. `1.0` and `1e3` are whole as well.
pub(super) fn whole<T: TryFrom<i64>>(json: &Json<'_>) -> Option<i64> {
    let Json::Number(text) = json else { return None };
    let number = match text.parse::<i64>() {
        Ok(number) => number,
        Err(_) => i64::try_from(unscaled(text, 0).ok()?).ok()?,
    };
    T::try_from(number).is_ok().then_some(number)
}

/// A number with a fraction, or what JSON has no number for.
pub(super) fn fraction(json: &Json<'_>) -> Option<f64> {
    match json {
        Json::Number(text) => text.parse().ok(),
        Json::Text(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// The digits of a decimal number without its point, at a scale. Nothing is rounded.
pub(super) fn decimal(json: &Json<'_>, precision: usize, scale: usize) -> Result<i128, String> {
    let text = match json {
        Json::Number(text) => text,
        Json::Text(text) => &**text,
        _ => return Err(format!("found {}; expected a decimal number", json.describe())),
    };
    let told = |words: &str| format!("found {}; {words}", json.describe());
    let unscaled = unscaled(text, scale).map_err(|words| told(&words))?;
    let digits = unscaled
        .unsigned_abs()
        .checked_ilog10()
        .map_or(0, |digits| digits as usize + 1);
    if digits > precision {
        return Err(told(&format!(
            "expected at most {precision} digits, {scale} of them behind the point"
        )));
    }
    Ok(unscaled)
}

fn unscaled(text: &str, scale: usize) -> Result<i128, String> {
    let expected = || "expected a decimal number".to_owned();
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| expected())?),
        None => (rest, 0),
    };
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if before.is_empty() || !all_digits(before) || !all_digits(behind) {
        return Err(expected());
    }
    let digits = format!("{before}{behind}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    // How many noughts are to be added, or to be there already, for the digits to stand at the scale.
    let shift = i64::try_from(scale).unwrap_or(i64::MAX) - i64::try_from(behind.len()).unwrap_or(i64::MAX);
    let shift = shift.saturating_add(exponent);
    let moved = match usize::try_from(shift) {
        Ok(noughts) if noughts <= DECIMAL_DIGITS_MAX => format!("{digits}{}", "0".repeat(noughts)),
        Ok(_) => return Err(format!("expected at most {DECIMAL_DIGITS_MAX} digits")),
        Err(_) => {
            let surplus = usize::try_from(shift.unsigned_abs()).unwrap_or(usize::MAX);
            let at = digits
                .len()
                .checked_sub(surplus)
                .filter(|at| all_noughts(&digits[*at..]));
            let at =
                at.ok_or_else(|| format!("it has more than {scale} digits behind the point, and nothing is rounded"))?;
            digits[..at].to_owned()
        }
    };
    if moved.len() > DECIMAL_DIGITS_MAX {
        return Err(format!("expected at most {DECIMAL_DIGITS_MAX} digits"));
    }
    let number: i128 = if moved.is_empty() {
        0
    } else {
        moved.parse().map_err(|_| expected())?
    };
    Ok(if negative { -number } else { number })
}

fn all_noughts(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'0')
}

/// Two's complement in network order, in as few bytes as hold it.
pub(super) fn shortest(number: i128) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    let mut from = 0;
    while from < bytes.len() - 1 && bytes[from] == sign && (bytes[from + 1] ^ sign) & 0x80 == 0 {
        from += 1;
    }
    bytes[from..].to_vec()
}

/// The same in exactly so many bytes.
pub(super) fn sized(number: i128, size: usize) -> Result<Vec<u8>, String> {
    let short = shortest(number);
    let missing = size
        .checked_sub(short.len())
        .ok_or_else(|| format!("the number needs {} bytes; the schema has {size}", short.len()))?;
    let mut bytes = vec![if number < 0 { 0xff } else { 0 }; missing];
    bytes.extend(short);
    Ok(bytes)
}

/// A date, a time or a timestamp in the units of its schema: as a number of them, or as a text.
pub(super) fn time(schema: &Schema, json: &Json<'_>) -> Option<i64> {
    if let Json::Number(_) = json {
        return match schema {
            Schema::Date | Schema::TimeMillis => whole::<i32>(json),
            _ if is_whole_kind(schema) => whole::<i64>(json),
            _ => None,
        };
    }
    let Json::Text(text) = json else { return None };
    match schema {
        Schema::Date => days(text.parse().ok()?),
        Schema::TimeMillis => of_day(text.parse().ok()?, 1_000_000),
        Schema::TimeMicros => of_day(text.parse().ok()?, 1_000),
        Schema::TimestampMillis => exact(text.parse::<Timestamp>().ok()?.as_nanosecond(), 1_000_000),
        Schema::TimestampMicros => exact(text.parse::<Timestamp>().ok()?.as_nanosecond(), 1_000),
        Schema::TimestampNanos => exact(text.parse::<Timestamp>().ok()?.as_nanosecond(), 1),
        Schema::LocalTimestampMillis => exact(local(text)?, 1_000_000),
        Schema::LocalTimestampMicros => exact(local(text)?, 1_000),
        Schema::LocalTimestampNanos => exact(local(text)?, 1),
        _ => None,
    }
}

/// Whether a schema's bytes are those of a whole number.
pub(super) fn is_whole_kind(schema: &Schema) -> bool {
    matches!(
        schema,
        Schema::Int
            | Schema::Long
            | Schema::Date
            | Schema::TimeMillis
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos
    )
}

/// What a schema without a name of its own is called.
pub(super) fn kind(schema: &Schema) -> &'static str {
    match schema {
        Schema::Null => "null",
        Schema::Boolean => "boolean",
        Schema::Int => "int",
        Schema::Long => "long",
        Schema::Float => "float",
        Schema::Double => "double",
        Schema::Bytes => "bytes",
        Schema::String => "string",
        Schema::Array(_) => "array",
        Schema::Map(_) => "map",
        Schema::Union(_) => "union",
        Schema::Record(_) => "record",
        Schema::Enum(_) => "enum",
        Schema::Fixed(_) => "fixed",
        Schema::Decimal(_) => "decimal",
        Schema::BigDecimal => "big-decimal",
        Schema::Uuid(_) => "uuid",
        Schema::Date => "date",
        Schema::TimeMillis => "time-millis",
        Schema::TimeMicros => "time-micros",
        Schema::TimestampMillis => "timestamp-millis",
        Schema::TimestampMicros => "timestamp-micros",
        Schema::TimestampNanos => "timestamp-nanos",
        Schema::LocalTimestampMillis => "local-timestamp-millis",
        Schema::LocalTimestampMicros => "local-timestamp-micros",
        Schema::LocalTimestampNanos => "local-timestamp-nanos",
        Schema::Duration(_) => "duration",
        Schema::Ref { .. } => "a named type",
    }
}

fn days(date: Date) -> Option<i64> {
    let epoch = Date::constant(1970, 1, 1);
    let span = date.since((Unit::Day, epoch)).ok()?;
    Some(i64::from(span.get_days()))
}

fn of_day(time: Time, unit_nanoseconds: i128) -> Option<i64> {
    let nanoseconds = time.duration_since(Time::midnight()).as_nanos();
    exact(nanoseconds, unit_nanoseconds)
}

/// Nanoseconds since 1970 by a clock on the wall.
fn local(text: &str) -> Option<i128> {
    let time: DateTime = text.parse().ok()?;
    Some(
        time.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0))
            .as_nanos(),
    )
}

/// In larger units, unless something would be lost.
fn exact(nanoseconds: i128, unit: i128) -> Option<i64> {
    (nanoseconds % unit == 0)
        .then(|| i64::try_from(nanoseconds / unit).ok())
        .flatten()
}
