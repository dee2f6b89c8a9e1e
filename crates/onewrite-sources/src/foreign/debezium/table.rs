//! An outbox table as Debezium's PostgreSQL connector presents it to Kafka Connect, with the connector's default settings.

mod default;

use std::sync::Arc;

use super::connect::{DECIMAL, Datum, Field, Kind, Schema};
use super::java;
use crate::foreign::value::{Column, Numeric, Raw, Value, civil, oid};

/// A column with what the catalogue knows of it beyond the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name and type.
    pub column: Column,
    /// Whether NULL is a value of it (`NOT pg_attribute.attnotnull`). Converters that write schemas tell it.
    pub optional: bool,
    /// Its default as `pg_get_expr` shows it.
    pub default: Option<Arc<str>>,
    /// Of an enum: its labels in their order, joined by commas.
    pub labels: Option<Arc<str>>,
}

impl TableColumn {
    /// A column of which nothing is known beyond the log: NULL may be a value of it, and it has no default.
    pub fn new(column: Column) -> Self {
        Self {
            column,
            optional: true,
            default: None,
            labels: None,
        }
    }
}

/// Finds the columns of the table `$1` (an oid), in their order: name, type oid (beneath domains; of text for an enum), type
/// modifier, whether NULL is a value, default, labels; what [`TableColumn`] holds. Generated columns are among them, which the
/// log leaves out.
pub const COLUMNS: &str = "\
WITH RECURSIVE beneath AS (
    SELECT a.attnum, a.attname, a.atttypmod, NOT a.attnotnull AS optional, t.oid, t.typtype, t.typbasetype, t.typtypmod,
           pg_get_expr(d.adbin, d.adrelid) AS expression
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = ''
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attnum, b.attname, b.typtypmod, b.optional, t.oid, t.typtype, t.typbasetype, t.typtypmod, b.expression
    FROM beneath b JOIN pg_type t ON t.oid = b.typbasetype
    WHERE b.typtype = 'd'
)
SELECT attname::text, CASE typtype WHEN 'e' THEN 25::oid ELSE oid END, atttypmod, optional, expression,
       (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = beneath.oid)
FROM beneath WHERE typtype <> 'd' ORDER BY attnum";

/// A table, made ready for routing its rows. One is made for each relation of the log and kept as long as that is valid.
#[derive(Clone, Debug)]
pub struct Table {
    /// What Debezium calls the schema of its rows.
    pub(super) name: Arc<str>,
    columns: Vec<(Column, Option<Arc<Schema>>)>,
}

impl Table {
    /// A table. `topic_prefix` is the connector's `topic.prefix`, which appears in the names of schemas.
    pub fn new(topic_prefix: &str, schema: &str, table: &str, columns: Vec<TableColumn>) -> Self {
        let columns = columns.into_iter().map(|column| {
            let schema = schema_of(&column).map(Arc::new);
            (column.column, schema)
        });
        Self {
            name: format!("{topic_prefix}.{schema}.{table}.Value").into(),
            columns: columns.collect(),
        }
    }

    /// A column's place and schema. Debezium leaves out columns of types that it does not know; of those that it knows and
    /// [`Value`] does not, the schema is missing.
    pub(super) fn column(&self, name: &str) -> Option<(usize, &Column, Option<&Arc<Schema>>)> {
        let mut columns = self.columns.iter().enumerate();
        columns
            .find(|(_, (column, _))| *column.name == *name)
            .map(|(at, (column, schema))| (at, column, schema.as_ref()))
    }
}

/// Reads one value of a row; beside it words, where Debezium would warn that it takes the value for null.
///
/// # Errors
/// What is wrong with it, naming the column.
pub(super) fn datum(column: &Column, schema: &Arc<Schema>, raw: &Raw) -> Result<(Datum, Option<String>), String> {
    let name = &column.name;
    match Value::read(column, raw)? {
        Value::Numeric(number) if !matches!(number, Numeric::Finite { .. }) => {
            let words = format!("column {name} is {number}, for which its type has no place, and is taken for null");
            Ok((Datum::Null, Some(words)))
        }
        value => {
            let datum = convert(column, schema, value).map_err(|words| format!("column {name}: {words}"))?;
            Ok((datum, None))
        }
    }
}

/// `timestamp(3)` and coarser are in milliseconds, as with `time`.
const MILLISECONDS_PRECISION: i32 = 3;

const UUID: &str = "io.debezium.data.Uuid";
const JSON: &str = "io.debezium.data.Json";
const ENUM: &str = "io.debezium.data.Enum";
const VARIABLE_SCALE_DECIMAL: &str = "io.debezium.data.VariableScaleDecimal";
const DATE: &str = "io.debezium.time.Date";
const TIME: &str = "io.debezium.time.Time";
const MICRO_TIME: &str = "io.debezium.time.MicroTime";
pub(super) const TIMESTAMP: &str = "io.debezium.time.Timestamp";
pub(super) const MICRO_TIMESTAMP: &str = "io.debezium.time.MicroTimestamp";
const ZONED_TIMESTAMP: &str = "io.debezium.time.ZonedTimestamp";

fn schema_of(column: &TableColumn) -> Option<Schema> {
    let precision = column.column.type_modifier;
    let coarse = (0..=MILLISECONDS_PRECISION).contains(&precision);
    let schema = match column.column.type_oid {
        oid::BOOL => Schema::plain(Kind::Boolean),
        oid::INT2 => Schema::plain(Kind::Int16),
        oid::INT4 => Schema::plain(Kind::Int32),
        oid::INT8 => Schema::plain(Kind::Int64),
        oid::FLOAT4 => Schema::plain(Kind::Float32),
        oid::FLOAT8 => Schema::plain(Kind::Float64),
        oid::NUMERIC => numeric(precision)?,
        oid::UUID => Schema::named(Kind::Text, UUID),
        oid::JSON | oid::JSONB => Schema::named(Kind::Text, JSON),
        oid::BYTEA => Schema::plain(Kind::Bytes),
        oid::DATE => Schema::named(Kind::Int32, DATE),
        oid::TIME if coarse => Schema::named(Kind::Int32, TIME),
        oid::TIME => Schema::named(Kind::Int64, MICRO_TIME),
        oid::TIMESTAMP if coarse => Schema::named(Kind::Int64, TIMESTAMP),
        oid::TIMESTAMP => Schema::named(Kind::Int64, MICRO_TIMESTAMP),
        oid::TIMESTAMPTZ => Schema::named(Kind::Text, ZONED_TIMESTAMP),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN => match &column.labels {
            Some(labels) => Schema {
                parameters: vec![("allowed", labels.clone())],
                ..Schema::named(Kind::Text, ENUM)
            },
            None => Schema::plain(Kind::Text),
        },
        _ => return None,
    };
    let default = column.default.as_deref();
    let default = default.and_then(|expression| default::parse(&column.column, &schema, expression));
    Some(Schema {
        optional: column.optional,
        default,
        ..schema
    })
}

/// A numeric that was declared without digits carries its scale in each value.
fn numeric(type_modifier: i32) -> Option<Schema> {
    let Some((precision, scale)) = precision_and_scale(type_modifier) else {
        let field = |name: &str, kind| Field {
            name: name.into(),
            schema: Arc::new(Schema::plain(kind)),
        };
        let fields = vec![field("scale", Kind::Int32), field("value", Kind::Bytes)];
        return Some(Schema {
            doc: Some("Variable scaled decimal"),
            ..Schema::named(Kind::Struct(fields), VARIABLE_SCALE_DECIMAL)
        });
    };
    let scale = u16::try_from(scale).ok()?;
    Some(Schema {
        parameters: vec![
            ("scale", scale.to_string().into()),
            ("connect.decimal.precision", precision.to_string().into()),
        ],
        ..Schema::named(Kind::Bytes, DECIMAL)
    })
}

/// As PostgreSQL packs them (`numeric_typmod_precision` and `numeric_typmod_scale`).
fn precision_and_scale(type_modifier: i32) -> Option<(i32, i32)> {
    let packed = type_modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    Some(((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024))
}

fn convert(column: &Column, schema: &Arc<Schema>, value: Value) -> Result<Datum, String> {
    let milliseconds = matches!(schema.name.as_deref(), Some(TIME | TIMESTAMP));
    Ok(match value {
        Value::Null if schema.optional => Datum::Null,
        Value::Null => return Err("it was NOT NULL when the relay looked, and NULL was found".to_owned()),
        Value::Bool(flag) => Datum::Boolean(flag),
        Value::Int2(number) => Datum::Int16(number),
        Value::Int4(number) => Datum::Int32(number),
        Value::Int8(number) => Datum::Int64(number),
        Value::Float4(number) => Datum::Float32(number),
        Value::Float8(number) => Datum::Float64(number),
        Value::Numeric(number) => decimal(schema, number),
        Value::Text(text) | Value::Json(text) => Datum::Text(text),
        Value::Uuid(uuid) => Datum::text(&uuid.to_string()),
        Value::Bytea(bytes) => Datum::Bytes(bytes),
        Value::Date(days) => Datum::Int32(match days {
            i32::MAX => DATE_INFINITY,
            i32::MIN => DATE_NEGATIVE_INFINITY,
            finite => finite,
        }),
        // Less than a day, so that it fits.
        Value::Time(microseconds) if milliseconds => Datum::Int32((microseconds / 1000) as i32),
        Value::Time(microseconds) => Datum::Int64(microseconds),
        Value::Timestamp(microseconds) => Datum::Int64(match finite(microseconds) {
            microseconds if milliseconds => microseconds.div_euclid(1000),
            microseconds => microseconds,
        }),
        Value::Timestamptz(microseconds) => Datum::text(&zoned(microseconds, column.type_modifier)?),
    })
}

/// What Debezium takes an infinite date in the log for; in a snapshot it is days of other years.
const DATE_INFINITY: i32 = -2_147_472_692;
const DATE_NEGATIVE_INFINITY: i32 = -2_147_472_691;

/// What the PostgreSQL driver of Java takes `infinity` for.
fn finite(microseconds: i64) -> i64 {
    const INFINITY: i64 = 9_223_372_036_825_200_000;
    const NEGATIVE_INFINITY: i64 = -9_223_372_036_832_400_000;
    match microseconds {
        i64::MAX => INFINITY,
        i64::MIN => NEGATIVE_INFINITY,
        finite => finite,
    }
}

/// With as many digits of a second as the type has, which are six unless it says otherwise.
fn zoned(microseconds: i64, precision: i32) -> Result<String, String> {
    match microseconds {
        i64::MAX => return Ok("infinity".to_owned()),
        i64::MIN => return Ok("-infinity".to_owned()),
        _ => {}
    }
    let time =
        civil(microseconds).ok_or_else(|| format!("the year of {microseconds} microseconds is none from 1 to 9999"))?;
    let digits = usize::try_from(precision).unwrap_or(6);
    Ok(format!("{time:.digits$}Z"))
}

fn decimal(schema: &Arc<Schema>, number: Numeric) -> Datum {
    if schema.name.as_deref() == Some(DECIMAL) {
        let scale = schema.parameters.first().and_then(|(_, scale)| scale.parse().ok());
        return Datum::Decimal(java::padded(number, scale.unwrap_or_default()));
    }
    let stripped = java::stripped(&number);
    let (Numeric::Finite { scale, .. }, Some(bytes)) = (&stripped, java::unscaled(&stripped)) else {
        return Datum::Null;
    };
    let values = vec![Datum::Int32(i32::from(*scale)), Datum::Bytes(bytes.into())];
    // The struct's own schema is that of its column, default and all.
    Datum::Struct(schema.clone(), values)
}
