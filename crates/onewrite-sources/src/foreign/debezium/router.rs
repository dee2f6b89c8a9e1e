//! From a row to a record: the outbox event router with the converters behind it.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::Verbatim;

use super::connect::{Datum, Field, Kind, Schema};
use super::converters::{Converters, as_text};
use super::expand::Inference;
use super::json::Json;
use super::options::{Place, Placement, RouterOptions, Updates};
use super::row::Row;
use super::table::{MICRO_TIMESTAMP, TIMESTAMP, Table};
use super::texts::Texts;
use super::trace;
use super::{Change, Operation, Problem, Routed};

/// The outbox event router, with the converters that write what it makes.
#[derive(Clone, Debug)]
pub struct Router {
    options: RouterOptions,
    converters: Converters,
}

/// A record before its converters.
struct Record {
    topic: Arc<str>,
    key: (Arc<Schema>, Datum),
    value: (Option<Arc<Schema>>, Datum),
    headers: Vec<(Arc<str>, Arc<Schema>, Datum)>,
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
        })
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
        self.routed(Row::Table(table, change.values), change.committed)
            .map(Some)
    }

    pub(super) fn routed(&self, row: Row<'_>, committed: Timestamp) -> Result<Routed, Problem> {
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

    fn record(&self, row: Row<'_>) -> Result<Record, String> {
        let options = &self.options;
        let mut headers: Vec<(Arc<str>, Arc<Schema>, Datum)> = Vec::new();
        let context = row.get(&options.span_context)?;
        if let Some(Datum::Text(context)) = context.map(|found| found.datum.into_owned()) {
            let text = Arc::new(Schema::plain(Kind::Text));
            let context = trace::headers(context.as_str()).into_iter();
            headers.extend(context.map(|(name, value)| (name.into(), text.clone(), Datum::text(&value))));
        }
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
            warning,
        })
    }

    fn additional<'a>(&self, row: Row<'a>, placement: &Placement) -> Result<Option<super::row::Found<'a>>, String> {
        if self.options.ignore_missing {
            return row.get(&placement.column);
        }
        row.required(&placement.column, "table.fields.additional.placement")
            .map(Some)
    }

    fn route_text(&self, row: Row<'_>) -> Result<String, String> {
        const OPTION: &str = "route.by.field";
        let name = &self.options.route_by;
        match &*row.required(name, OPTION)?.of_kind(&Kind::Text, name, OPTION)?.datum {
            Datum::Text(text) => Ok(text.as_str().to_owned()),
            _ => Err(format!("{name}, which {OPTION} names, is null: there is no topic")),
        }
    }

    /// In milliseconds.
    fn timestamp(&self, row: Row<'_>) -> Result<Option<i64>, String> {
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
    fn expand(&self, inference: Inference, value: &mut (Option<Arc<Schema>>, Datum)) -> Result<(), String> {
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
    fn envelope(
        &self,
        row: Row<'_>,
        value: (Option<Arc<Schema>>, Datum),
    ) -> Result<(Option<Arc<Schema>>, Datum), String> {
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
        let written: Result<Vec<(Arc<str>, Option<Bytes>)>, String> = record
            .headers
            .iter()
            .map(|(name, schema, datum)| {
                let bytes = header.convert(Some(schema), datum);
                Ok((name.clone(), bytes.map_err(words(&format!("the header {name}")))?))
            })
            .collect();
        let verbatim = Verbatim {
            key: key
                .convert(Some(&record.key.0), &record.key.1)
                .map_err(words("the key"))?,
            tombstone: payload.is_none(),
            headers: written?,
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
