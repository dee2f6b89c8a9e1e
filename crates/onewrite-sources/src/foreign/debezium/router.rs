//! From a row to a record: the outbox event router with the converters behind it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::Verbatim;
use uuid::Uuid;

use super::connect::{Datum, Field, Kind, Schema};
use super::converters::{Converters, as_text};
use super::expand::Inference;
use super::json::Json;
use super::options::{Place, Placement, RouterOptions, Updates};
use super::row::{Fields, Found, Row};
use super::table::{MICRO_TIMESTAMP, TIMESTAMP, Table};
use super::texts::Texts;
use super::trace;
use super::{Change, Operation, Problem, Remains, Routed};
use crate::foreign::value::Raw;

/// The outbox event router, with the converters that write what it makes.
#[derive(Clone, Debug)]
pub struct Router {
    options: RouterOptions,
    converters: Converters,
    context: Vec<(Arc<str>, Arc<str>)>,
}

/// A value with its schema; a tombstone has none.
type Typed = (Option<Arc<Schema>>, Datum);

/// A header's name, schema and value.
type Header = (Arc<str>, Arc<Schema>, Datum);

/// A record before its converters.
struct Record {
    topic: Arc<str>,
    key: (Arc<Schema>, Datum),
    value: Typed,
    headers: Vec<Header>,
    partition: Option<i32>,
    timestamp: Option<i64>,
    id: Datum,
    warning: Option<String>,
}

impl Router {
    /// A router with options by Debezium's own names ([`FIELDS`](super::FIELDS)), and converters by Kafka Connect's: the keys
    /// `key.converter`, `value.converter` and `header.converter` with their classes, and the options of those below them.
    /// Without a class, keys and values are JSON with schemas, as Debezium Server has them, and headers Connect's simple texts.
    ///
    /// # Errors
    /// Names the option, what was found, and what is expected.
    pub fn new(router: &Texts, converters: &Texts) -> Result<Self, String> {
        Ok(Self {
            options: RouterOptions::read(router)?,
            converters: Converters::read(converters)?,
            context: Vec::new(),
        })
    }

    /// The same with the headers before all others by which Debezium names itself since 3.2 (`extended.headers.enabled`, on by
    /// default there): its `topic.prefix`, task and connector, and an id of this run. Messages have none.
    pub fn with_context_headers(mut self, topic_prefix: &str) -> Self {
        let run = Uuid::new_v4().to_string();
        self.context = [
            ("connectorLogicalName", topic_prefix),
            ("taskId", "0"),
            ("connectorName", "postgresql"),
            ("runId", &run),
        ]
        .map(|(name, text)| (format!("__debezium.context.{name}").into(), text.into()))
        .to_vec();
        self
    }

    /// The record of a changed row; nothing for a deleted one.
    ///
    /// # Errors
    /// [`Problem::Skipped`] for an updated row, as the options have it; [`Problem::Failed`] for what Debezium would stop at.
    pub fn route(&self, table: &Table, change: &Change<'_>) -> Result<Option<Routed>, Problem> {
        match change.operation {
            Operation::Insert | Operation::Snapshot => {}
            Operation::Delete => return Ok(None),
            Operation::Update => return Err(self.updated()),
        }
        self.routed(Fields::Table(table, change.values), change.committed)
            .map(Some)
    }

    /// What a row holds that became nothing, as far as it can be read, for people and for parking.
    pub fn remains(&self, table: &Table, values: &[Raw]) -> Remains {
        let row = Row::new(Fields::Table(table, values));
        let text = |name: &str| as_text(&row.get(name).ok().flatten()?.datum);
        let options = &self.options;
        let payload = row
            .get(&options.payload)
            .ok()
            .flatten()
            .map(|found| found.datum.into_owned());
        Remains {
            topic: text(&options.route_by).map(|route| options.topic.topic(&route).into()),
            event_id: text(&options.id),
            key: text(&options.key),
            event_type: text(&options.event_type),
            payload: match payload {
                Some(Datum::Bytes(bytes)) => bytes,
                other => other
                    .as_ref()
                    .and_then(as_text)
                    .map_or_else(Bytes::new, |text| Bytes::copy_from_slice(text.as_bytes())),
            },
        }
    }

    pub(super) fn routed(&self, fields: Fields<'_>, committed: Timestamp) -> Result<Routed, Problem> {
        let row = &Row::new(fields);
        let record = self.record(row).map_err(Problem::Failed)?;
        let event_type = row.get(&self.options.event_type).ok().flatten();
        let event_type = event_type.and_then(|found| as_text(&found.datum));
        self.write(record, event_type, committed).map_err(Problem::Failed)
    }

    fn updated(&self) -> Problem {
        let words = "a row of the outbox was updated; its rows are only inserted and deleted".to_owned();
        match self.options.updates {
            Updates::Warn => Problem::Skipped { words, severe: false },
            Updates::Error => Problem::Skipped { words, severe: true },
            Updates::Fatal => Problem::Failed(words),
        }
    }

    fn record(&self, row: &Row<'_>) -> Result<Record, String> {
        let options = &self.options;
        let mut headers = self.first_headers(row);
        let payload = row.required(&options.payload, "table.field.event.payload")?;
        let timestamp = self.timestamp(row)?;
        let id = row.required(&options.id, "table.field.event.id")?;
        headers.push(("id".into(), id.schema.clone(), id.clone().value()));
        let mut value = (Some(payload.schema.clone()), payload.value());
        let warning = options
            .expand
            .and_then(|inference| self.expand(inference, &mut value).err());
        let is_empty = match &value.1 {
            Datum::Null => true,
            Datum::Text(text) => text.as_str().chars().all(|character| character <= ' '),
            _ => false,
        };
        if options.has_envelope() {
            value = self.envelope(row, value)?;
        }
        let mut partition = None;
        for placement in &options.placements {
            match placement.place {
                Place::Envelope => {}
                Place::Header => {
                    if let Some(found) = self.additional(row, placement)? {
                        headers.push((placement.alias.clone(), found.schema.clone(), found.value()));
                    }
                }
                Place::Partition => {
                    if let Some(found) = self.additional(row, placement)? {
                        let found =
                            found.of_kind(&Kind::Int32, &placement.column, "table.fields.additional.placement")?;
                        partition = as_partition(&found.datum, placement)?;
                    }
                }
            }
        }
        if is_empty && options.tombstones {
            value = (None, Datum::Null);
        }
        let route = self.route_text(row)?;
        let key = row.required(&options.key, "table.field.event.key")?;
        Ok(Record {
            topic: options.topic.topic(&route).into(),
            key: (key.schema.clone(), key.value()),
            value,
            headers,
            partition,
            timestamp,
            id: id.value(),
            warning: warning.or_else(|| row.warning()),
        })
    }

    /// Those that are not the row's own: Debezium's, and the trace's.
    fn first_headers(&self, row: &Row<'_>) -> Vec<Header> {
        let schema = Arc::new(Schema::plain(Kind::Text));
        let header = |name: Arc<str>, text: &str| (name, schema.clone(), Datum::text(text));
        let context = self.context.iter().filter(|_| row.is_of_table());
        let mut headers: Vec<_> = context.map(|(name, text)| header(name.clone(), text)).collect();
        // One that cannot be read does not matter to the record.
        let trace = row.get(&self.options.span_context).ok().flatten();
        if let Some(Datum::Text(trace)) = trace.map(|found| found.datum.into_owned()) {
            let trace = trace::headers(trace.as_str()).into_iter();
            headers.extend(trace.map(|(name, text)| header(name.into(), &text)));
        }
        headers
    }

    fn additional<'a>(&self, row: &Row<'a>, placement: &Placement) -> Result<Option<Found<'a>>, String> {
        if self.options.ignore_missing {
            return row.get(&placement.column);
        }
        row.required(&placement.column, "table.fields.additional.placement")
            .map(Some)
    }

    fn route_text(&self, row: &Row<'_>) -> Result<String, String> {
        const OPTION: &str = "route.by.field";
        let name = &self.options.route_by;
        match &*row.required(name, OPTION)?.of_kind(&Kind::Text, name, OPTION)?.datum {
            Datum::Text(text) => Ok(text.as_str().to_owned()),
            _ => Err(format!("{name}, which {OPTION} names, is null: there is no topic")),
        }
    }

    /// In milliseconds.
    fn timestamp(&self, row: &Row<'_>) -> Result<Option<i64>, String> {
        const OPTION: &str = "table.field.event.timestamp";
        let Some(name) = &self.options.timestamp else {
            return Ok(None);
        };
        let found = row.required(name, OPTION)?.of_kind(&Kind::Int64, name, OPTION)?;
        let Datum::Int64(time) = *found.datum else {
            return Ok(None);
        };
        let milliseconds = match found.schema.name.as_deref() {
            Some(TIMESTAMP) => time,
            Some(MICRO_TIMESTAMP) => time / 1000,
            _ => {
                return Err(format!(
                    "{name}, which {OPTION} names, is no timestamp without time zone"
                ));
            }
        };
        // Kafka takes none before 1970.
        match milliseconds {
            0.. => Ok(Some(milliseconds)),
            _ => Err(format!(
                "{name}, which {OPTION} names, lies before 1970, and Kafka takes no such time"
            )),
        }
    }

    /// Makes a struct of a payload that is JSON text. Where that fails late, the payload stays a text and its schema has
    /// become another, as in Debezium: what comes of that the converter decides.
    fn expand(&self, inference: Inference, value: &mut Typed) -> Result<(), String> {
        let words = |words: String| format!("the payload was not expanded: {words}");
        let text = match &value.1 {
            Datum::Null => return Ok(()),
            Datum::Text(text) => text.clone(),
            other => return Err(words(format!("it is a {}, and texts are expanded", other.kind_name()))),
        };
        let json = Json::read(text.as_str()).map_err(words)?;
        value.0 = inference.schema(Some(&self.options.payload), &json).map_err(words)?;
        value.1 = Inference::datum(&json, value.0.as_ref()).map_err(words)?;
        Ok(())
    }

    /// The payload with further columns, as a struct.
    fn envelope(&self, row: &Row<'_>, value: Typed) -> Result<Typed, String> {
        const OPTION: &str = "table.field.event.schema.version";
        let (schema, datum) = value;
        let schema = schema.ok_or("the payload tells no type, and the envelope needs one")?;
        schema
            .check(&datum)
            .map_err(|words| format!("the payload does not fit into the envelope: {words}"))?;
        let mut fields = vec![Field {
            name: "payload".into(),
            schema,
        }];
        let mut data = vec![datum];
        for placement in self
            .options
            .placements
            .iter()
            .filter(|placement| placement.place == Place::Envelope)
        {
            if let Some(found) = self.additional(row, placement)? {
                fields.push(Field {
                    name: placement.alias.clone(),
                    schema: found.schema.clone(),
                });
                data.push(found.value());
            }
        }
        let version = match &self.options.schema_version {
            None => None,
            Some(name) => match *row.required(name, OPTION)?.of_kind(&Kind::Int32, name, OPTION)?.datum {
                Datum::Int32(version) => Some(version),
                _ => None,
            },
        };
        let schema = Arc::new(Schema {
            name: Some(envelope_name(row.schema_name(), &self.route_text(row)?).into()),
            version,
            ..Schema::plain(Kind::Struct(fields))
        });
        Ok((Some(schema.clone()), Datum::Struct(schema, data)))
    }

    fn write(&self, record: Record, event_type: Option<Arc<str>>, committed: Timestamp) -> Result<Routed, String> {
        let Converters { key, value, header } = &self.converters;
        let words = |what: &str| {
            let what = format!("{what} cannot be written by its converter: ");
            move |words: String| what + &words
        };
        let event_id = as_text(&record.id).ok_or_else(|| {
            format!(
                "{} is null, and every delivery of an event needs the same id",
                self.options.id
            )
        })?;
        let payload = value
            .convert(record.value.0.as_ref(), &record.value.1)
            .map_err(words("the value"))?;
        let written = record.headers.iter().map(|(name, schema, datum)| {
            let bytes = header.convert(Some(schema), datum);
            Ok((name.clone(), bytes.map_err(words(&format!("the header {name}")))?))
        });
        let verbatim = Verbatim {
            key: key
                .convert(Some(&record.key.0), &record.key.1)
                .map_err(words("the key"))?,
            tombstone: payload.is_none(),
            headers: written.collect::<Result<_, String>>()?,
            partition: record.partition,
            timestamp: record.timestamp,
        };
        let headers = record.headers.into_iter();
        Ok(Routed {
            topic: record.topic,
            event_id,
            key: as_text(&record.key.1),
            event_type,
            payload: payload.unwrap_or_default(),
            content_type: value.content_type(record.value.0.as_ref()),
            headers: headers
                .filter_map(|(name, _, datum)| Some((name, as_text(&datum)?)))
                .collect(),
            occurred_at: record
                .timestamp
                .and_then(|time| Timestamp::from_millisecond(time).ok())
                .unwrap_or(committed),
            verbatim,
            warning: record.warning,
        })
    }
}

fn as_partition(datum: &Datum, placement: &Placement) -> Result<Option<i32>, String> {
    match datum {
        Datum::Int32(partition) if *partition < 0 => Err(format!(
            "{} is the partition {partition}, and there are none below 0",
            placement.column
        )),
        Datum::Int32(partition) => Ok(Some(*partition)),
        _ => Ok(None),
    }
}

/// The row's own name with the routing text before its last part.
fn envelope_name(own: Option<&str>, route: &str) -> String {
    match own.map(|own| (own, own.rsplit_once('.'))) {
        None => route.to_owned(),
        Some((_, Some((before, last)))) => format!("{before}.{route}.{last}"),
        Some((own, None)) => format!("{route}.{own}"),
    }
}
