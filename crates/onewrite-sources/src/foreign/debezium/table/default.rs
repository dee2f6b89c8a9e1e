//! What Debezium makes of a column's default, which converters that write schemas tell.

use crate::foreign::value::{Column, Raw, Value, oid};

use super::super::connect::{Datum, Kind, Schema};

/// The default of a column, where Debezium finds one: a literal, or for a function of which the value is not known, a
/// placeholder of the type.
pub(super) fn parse(column: &Column, schema: &Schema, expression: &str) -> Option<Datum> {
    let placeholder = placeholder(column.type_oid)?;
    let literal = if is_computed(expression) {
        placeholder
    } else {
        literal(expression)?
    };
    if schema.name.as_deref() == Some("io.debezium.data.Enum") {
        return (!is_computed(expression)).then(|| Datum::text(literal));
    }
    // A struct cannot be a default in Connect.
    if matches!(schema.kind, Kind::Struct(_)) {
        return None;
    }
    let literal = match (column.type_oid, literal) {
        (oid::BOOL, text) if text.eq_ignore_ascii_case("true") => "t",
        (oid::BOOL, _) => "f",
        (_, text) => text,
    };
    let value = Value::read(column, &Raw::Text(literal.to_owned().into())).ok()?;
    super::convert(column, &schema.clone().into(), value).ok()
}

fn placeholder(type_oid: u32) -> Option<&'static str> {
    Some(match type_oid {
        oid::BOOL => "false",
        oid::BPCHAR | oid::VARCHAR | oid::TEXT => "",
        oid::NUMERIC => "0.0",
        oid::FLOAT4 | oid::FLOAT8 => "0.0",
        oid::INT2 | oid::INT4 | oid::INT8 => "0",
        oid::JSON | oid::JSONB => "{}",
        oid::UUID => "00000000-0000-0000-0000-000000000000",
        oid::DATE => "1970-01-01",
        oid::TIME => "00:00:00",
        oid::TIMESTAMP => "1970-01-01 00:00:00",
        oid::TIMESTAMPTZ => "1970-01-01 00:00:00+00",
        _ => return None,
    })
}

fn is_computed(expression: &str) -> bool {
    const CURRENT: [&str; 5] = [
        "current_timestamp",
        "current_time",
        "current_date",
        "localtime",
        "localtimestamp",
    ];
    let name = expression.strip_prefix('(').unwrap_or(expression);
    let end = name.find(|next: char| !(next.is_ascii_alphanumeric() || matches!(next, '_' | '.')));
    let call = end.is_some_and(|end| end > 0 && name[end..].starts_with('(') && name.contains(')'));
    call || CURRENT.iter().any(|current| expression.eq_ignore_ascii_case(current))
}

/// What stands between the first two quotes, or the whole where there are none.
fn literal(expression: &str) -> Option<&str> {
    let Some((_, quoted)) = expression.split_once('\'') else {
        return (!expression.starts_with("NULL::")).then_some(expression);
    };
    quoted.split_once('\'').map(|(literal, _)| literal)
}
