//! Events from the columns of a table: `contract = "columns"`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::{Event, StoreError};
use uuid::Uuid;

use super::super::rows::{Shared, read_headers};
use super::catalogue::{Table, TableColumn};
use super::template::{Part, Template};
use crate::foreign::value::{Raw, Value, oid};

/// What a column can be in an event, as people write it: `columns = { id = "…", … }`.
pub(crate) const ROLES: &[&str] = &[
    "id",
    "topic",
    "key",
    "type",
    "payload",
    "headers",
    "time",
    "content_type",
];

/// How rows of one table become events.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// The columns that are read, in the order in which they are read.
    pub columns: Vec<TableColumn>,
    id: usize,
    payload: usize,
    topic: Vec<Piece>,
    key: Option<usize>,
    event_type: Option<usize>,
    headers: Option<usize>,
    time: Option<usize>,
    content_type: Option<usize>,
    /// The table, which stands for the scope of its ids.
    scope: String,
    topics: Shared,
    types: Shared,
    content_types: Shared,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Column(usize),
}

impl Mapping {
    /// Looks up every column that is named. `section` is the source's, `roles` are names by what they are.
    ///
    /// # Errors
    /// `Refused`, naming the option and the nearest column there is.
    pub fn new(
        section: &str,
        table: &Table,
        roles: &BTreeMap<String, String>,
        topic: Option<&Template>,
    ) -> Result<Self, StoreError> {
        let mut picked = Picked {
            table,
            columns: Vec::new(),
        };
        let mut role = |role: &str| {
            let named = roles.get(role);
            named
                .map(|name| picked.pick(&format!("{section}.columns.{role}"), name))
                .transpose()
        };
        let (id, payload) = (role("id")?, role("payload")?);
        let (topic_column, key, event_type) = (role("topic")?, role("key")?, role("type")?);
        let (headers, time, content_type) = (role("headers")?, role("time")?, role("content_type")?);
        let mut pieces: Vec<Piece> = topic_column.into_iter().map(Piece::Column).collect();
        for part in topic.map(Template::parts).unwrap_or_default() {
            pieces.push(match part {
                Part::Text(text) => Piece::Text(text.clone()),
                Part::Column(name) => Piece::Column(picked.pick(&format!("{section}.topic"), name)?),
            });
        }
        Ok(Self {
            columns: picked.columns,
            // Both are required; the settings see to it.
            id: id.unwrap_or_default(),
            payload: payload.unwrap_or_default(),
            topic: pieces,
            key,
            event_type,
            headers,
            time,
            content_type,
            scope: table.name.to_string(),
            topics: Shared::default(),
            types: Shared::default(),
            content_types: Shared::default(),
        })
    }

    /// The topic in SQL, the empty text where a column of it is NULL; columns are those of the table `t`.
    pub fn topic_sql(&self) -> String {
        let pieces: Vec<String> = (self.topic.iter())
            .map(|piece| match piece {
                Piece::Text(text) => super::name::literal(text),
                Piece::Column(at) => format!("({})::text", self.columns[*at].value_sql()),
            })
            .collect();
        format!("coalesce({}, '')", pieces.join(" || "))
    }

    /// The type in SQL.
    pub fn type_sql(&self) -> String {
        let column = self.event_type.map(|at| self.columns[at].value_sql());
        format!("({})::text", column.unwrap_or_else(|| "NULL".to_owned()))
    }

    /// A column of which topic or type are made that the database might write otherwise than we do.
    pub fn unlike_in_sql(&self) -> Option<&TableColumn> {
        let topic = self.topic.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Column(at) => Some(*at),
        });
        let mut columns = topic.chain(self.event_type).map(|at| &self.columns[at]);
        columns.find(|column| !column.is_text_in_sql())
    }

    /// The event of a row, and what is wrong with it. `written` is its time where no column holds one; `place` names the row among
    /// all of the table, for one without an id.
    pub fn event(&mut self, row: &[Raw], written: Timestamp, place: &str) -> (Event, Option<String>) {
        let mut reading = Reading {
            columns: &self.columns,
            row,
            defect: None,
        };
        let id = reading.value(self.id);
        let id = match (id.uuid(), id.text()) {
            (Some(uuid), _) => uuid,
            (None, Some(text)) => identity(&self.scope, &text),
            (None, None) => {
                reading.wrong(self.id, "is NULL; every event needs an id");
                identity(&self.scope, place)
            }
        };
        let mut topic = String::new();
        for piece in &self.topic {
            match piece {
                Piece::Text(text) => topic.push_str(text),
                Piece::Column(at) => match reading.text(*at) {
                    Some(text) => topic.push_str(&text),
                    None => reading.wrong(*at, "is NULL; the topic is made of it"),
                },
            }
        }
        let payload = reading.value(self.payload).payload().unwrap_or_else(|| {
            reading.wrong(self.payload, "is NULL; it is the payload");
            Bytes::new()
        });
        let key = self.key.and_then(|at| reading.text(at));
        let event_type = self.event_type.and_then(|at| reading.text(at));
        let content_type = self.content_type.and_then(|at| reading.text(at));
        let content_type = content_type.unwrap_or_else(|| self.usual_content_type().into());
        let headers = self.headers.and_then(|at| reading.text(at));
        let headers = read_headers(headers.as_deref().unwrap_or("{}"), &mut reading.defect);
        let occurred_at = self.time.and_then(|at| reading.time(at)).unwrap_or(written);
        let defect = reading.defect;
        let event = Event {
            id,
            topic: self.topics.share(&topic),
            key: key.map(|key| Arc::from(&*key)),
            event_type: event_type.map(|event_type| self.types.share(&event_type)),
            payload,
            content_type: self.content_types.share(&content_type),
            headers,
            occurred_at,
            replay: None,
            headers_complete: false,
            verbatim: None,
        };
        let defect = defect.or_else(|| event.check().err().map(|invalid| invalid.to_string()));
        (event, defect)
    }

    /// What a payload is taken for where no column says so.
    fn usual_content_type(&self) -> &'static str {
        match self.columns[self.payload].base_oid {
            oid::BYTEA => "application/octet-stream",
            _ => "application/json",
        }
    }
}

/// An id for what has none that is a UUID: the same whenever the same text comes from the same place.
pub(crate) fn identity(scope: &str, text: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{scope}\0{text}").as_bytes())
}

/// Drawn at random.
const NAMESPACE: Uuid = Uuid::from_u128(0x9c1d_73c0_52e8_4f0b_8a7e_33d1_64ab_0f95);

/// Columns that are read, each once.
struct Picked<'a> {
    table: &'a Table,
    columns: Vec<TableColumn>,
}

impl Picked<'_> {
    fn pick(&mut self, key: &str, name: &str) -> Result<usize, StoreError> {
        let found = &self.table.columns[self.table.find(key, name)?];
        let known = self
            .columns
            .iter()
            .position(|column| column.column.name == found.column.name);
        Ok(known.unwrap_or_else(|| {
            self.columns.push(found.clone());
            self.columns.len() - 1
        }))
    }
}

/// A row being read; the first thing that is wrong with it is kept.
struct Reading<'a> {
    columns: &'a [TableColumn],
    row: &'a [Raw],
    defect: Option<String>,
}

impl Reading<'_> {
    fn value(&mut self, at: usize) -> Value {
        Value::read(&self.columns[at].column, &self.row[at]).unwrap_or_else(|words| {
            self.defect.get_or_insert(words);
            Value::Null
        })
    }

    /// The text of a column, without the blanks that fill up a `char(n)`.
    fn text(&mut self, at: usize) -> Option<String> {
        let mut text = self.value(at).text()?.into_owned();
        if self.columns[at].base_oid == oid::BPCHAR {
            text.truncate(text.trim_end_matches(' ').len());
        }
        Some(text)
    }

    /// A time: of a type that is one, or milliseconds since 1970 in whole numbers.
    fn time(&mut self, at: usize) -> Option<Timestamp> {
        let value = self.value(at);
        let milliseconds = match value {
            Value::Null => return None,
            Value::Int8(milliseconds) => milliseconds,
            Value::Int4(milliseconds) => milliseconds.into(),
            Value::Int2(milliseconds) => milliseconds.into(),
            ref other => {
                let time = other.time();
                if time.is_none() {
                    self.wrong(
                        at,
                        "is neither a timestamp nor a whole number of milliseconds since 1970",
                    );
                }
                return time;
            }
        };
        let time = Timestamp::from_millisecond(milliseconds).ok();
        if time.is_none() {
            self.wrong(at, "holds no time in milliseconds since 1970");
        }
        time
    }

    fn wrong(&mut self, at: usize, words: &str) {
        let name = &self.columns[at].column.name;
        self.defect.get_or_insert_with(|| format!("the column {name} {words}"));
    }
}
