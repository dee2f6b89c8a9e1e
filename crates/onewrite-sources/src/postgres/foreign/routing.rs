//! Events from Debezium's outbox table or messages: `contract = "debezium"`. What the records are is laid down in
//! [`crate::foreign::debezium`]; here they become events, and what Debezium would fail at becomes a defect.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use onewrite::event::{check_headers, check_line};
use onewrite::limits::TYPE_BYTES_MAX;
use onewrite_core::{Event, StoreError};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::super::error::failed;
use super::catalogue::{Table, TableColumn};
use super::mapping::identity;
use super::name::literal;
use crate::foreign::debezium::{self, COLUMNS, Change, FIELDS, Messages, Operation, Problem, Routed, Router, event_id};
use crate::foreign::value::{Column, Raw, Value};

/// An event, and what is wrong with it.
pub(super) type Found = (Event, Option<String>);

/// The options of the router and of what stands beside it, checked.
#[derive(Clone, Debug)]
pub(crate) struct RouterSettings {
    texts: BTreeMap<String, String>,
    router: Router,
    messages: Messages,
    topic_prefix: Option<String>,
}

/// Options of the connector and of the transform for messages that stand among the router's.
const TOPIC_PREFIX: &str = "topic.prefix";
const NULLS: &str = "fields.null.include";
const EXTENDED_HEADERS: &str = "extended.headers.enabled";

/// The options of columns that the router cannot do without.
const NEEDED: [&str; 4] = [
    "table.field.event.id",
    "table.field.event.key",
    "table.field.event.payload",
    "route.by.field",
];

/// What the router makes topics with unless it is told otherwise.
const REGEX: &str = "route.topic.regex";
const REPLACEMENT: &str = "route.topic.replacement";
const GROUP: &str = "${routedByValue}";

impl RouterSettings {
    /// Reads the options `router` and `converters`.
    ///
    /// # Errors
    /// The key of the two, and what is wrong in it.
    pub fn new(
        mut router: BTreeMap<String, String>,
        converters: &BTreeMap<String, String>,
    ) -> Result<Self, (&'static str, String)> {
        let topic_prefix = router.remove(TOPIC_PREFIX);
        let nulls = router.remove_entry(NULLS).into_iter().collect();
        let of_router = |words| ("router", words);
        let names_itself = match router.remove(EXTENDED_HEADERS).as_deref().map(str::trim) {
            None | Some("false") => false,
            Some("true") if topic_prefix.is_some() => true,
            Some("true") => {
                return Err(of_router(format!(
                    "{EXTENDED_HEADERS} needs {TOPIC_PREFIX}, which the headers name"
                )));
            }
            Some(other) => {
                return Err(of_router(format!(
                    "{EXTENDED_HEADERS}: expected true or false, found {other:?}"
                )));
            }
        };
        let messages = Messages::new(&nulls).map_err(of_router)?;
        Router::new(&router, &BTreeMap::new()).map_err(of_router)?;
        let mut routing = Router::new(&router, converters).map_err(|words| ("converters", words))?;
        if let Some(prefix) = topic_prefix.as_deref().filter(|_| names_itself) {
            routing = routing.with_context_headers(prefix);
        }
        Ok(Self {
            router: routing,
            messages,
            topic_prefix,
            texts: router,
        })
    }

    /// A column's name by the router's option.
    fn named(&self, option: &str) -> Option<&str> {
        let given = self.texts.get(option).map(|name| name.trim());
        let usual = FIELDS
            .iter()
            .find(|field| field.name == option)
            .and_then(|field| field.default);
        given.filter(|name| !name.is_empty()).or(usual)
    }

    /// The column of an event's time.
    pub fn time_column(&self) -> Option<&str> {
        self.named("table.field.event.timestamp")
    }

    /// The content of a message as an event. `place` names it among all there are.
    pub fn message(&self, content: &Bytes, committed: Timestamp, place: &str) -> Option<Found> {
        let failed = |words| {
            let event = empty(identity("messages", place), content.clone(), committed);
            (event, Some(words))
        };
        found(self.messages.route(&self.router, content, committed).map(Some), failed)
    }
}

/// The router over one table.
#[derive(Debug)]
pub(super) struct Routing {
    settings: RouterSettings,
    /// The columns that are read.
    pub columns: Vec<TableColumn>,
    table: debezium::Table,
    scope: String,
}

impl Routing {
    /// Looks at the table as Debezium does. `relay` stands for the connector's prefix where none is configured.
    ///
    /// # Errors
    /// `Refused`, naming the option and the nearest column there is.
    pub async fn open(
        client: &Client,
        section: &str,
        settings: &RouterSettings,
        table: &Table,
        relay: &str,
    ) -> Result<Self, StoreError> {
        for option in NEEDED {
            let name = settings.named(option).unwrap_or_default();
            table.find(&format!("{section}.router: {option}"), name)?;
        }
        let rows = client.query_typed(COLUMNS, &[(&table.oid, Type::OID)]).await;
        let rows = rows.map_err(|error| failed("looking at the table", error))?;
        let prefix = settings.topic_prefix.as_deref().unwrap_or(relay);
        let columns = rows.iter().map(column).collect();
        Ok(Self {
            settings: settings.clone(),
            columns: table.columns.clone(),
            table: debezium::Table::new(prefix, &table.name.schema, &table.name.table, columns),
            scope: table.name.to_string(),
        })
    }

    /// Whether the router makes nothing of a row without this column.
    pub fn needs(&self, column: &str) -> bool {
        NEEDED.iter().any(|option| self.settings.named(option) == Some(column))
    }

    /// Topic and type in SQL over the table `t`; `None` where the router's regular expression says more than SQL can.
    pub fn topic_and_type_sql(&self) -> Option<(String, String)> {
        let settings = &self.settings;
        let column = |option| {
            self.columns
                .iter()
                .find(|column| Some(&*column.column.name) == settings.named(option))
        };
        let route_by = column("route.by.field").filter(|column| column.is_text_in_sql())?;
        let usual = |option| {
            FIELDS
                .iter()
                .find(|field| field.name == option)
                .and_then(|field| field.default)
        };
        if settings.named(REGEX) != usual(REGEX) {
            return None;
        }
        let replacement = settings
            .texts
            .get(REPLACEMENT)
            .map(String::as_str)
            .or_else(|| usual(REPLACEMENT))?;
        let texts: Vec<&str> = replacement.split(GROUP).collect();
        if texts.iter().any(|text| text.contains(['$', '\\'])) {
            return None;
        }
        let texts: Vec<String> = texts.into_iter().map(literal).collect();
        let topic = texts.join(&format!(" || ({})::text || ", route_by.value_sql()));
        let event_type = match column("table.field.event.type") {
            None => "NULL".to_owned(),
            Some(column) if column.is_text_in_sql() => column.value_sql(),
            Some(_) => return None,
        };
        Some((format!("coalesce({topic}, '')"), format!("({event_type})::text")))
    }

    /// The event of a changed row; `None` for what the router makes nothing of. `place` names the row among all of the table.
    pub fn event(&self, operation: Operation, values: &[Raw], committed: Timestamp, place: &str) -> Option<Found> {
        let change = Change {
            operation,
            values,
            committed,
        };
        let failed = |words| {
            let text = |option| self.text(self.settings.named(option)?, values);
            let id = text("table.field.event.id");
            let id = id.map_or_else(|| identity(&self.scope, place), |id| event_id(&id));
            let mut event = empty(id, self.row(values), committed);
            event.key = text("table.field.event.key").map(Into::into);
            (event, Some(words))
        };
        found(self.settings.router.route(&self.table, &change), failed)
    }

    fn text(&self, name: &str, values: &[Raw]) -> Option<String> {
        let at = self.columns.iter().position(|column| *column.column.name == *name)?;
        let value = Value::read(&self.columns[at].column, values.get(at)?).ok()?;
        value.text().map(|text| text.into_owned())
    }

    /// A row as JSON, for the person who looks why it was set aside.
    fn row(&self, values: &[Raw]) -> Bytes {
        let texts = self.columns.iter().map(|column| {
            let name = column.column.name.to_string();
            let text = self.text(&name, values);
            (name, text.map_or(serde_json::Value::Null, Into::into))
        });
        serde_json::Value::Object(texts.collect()).to_string().into()
    }
}

/// What Debezium would fail at is a defect; what it would skip is told to the log.
fn found(routed: Result<Option<Routed>, Problem>, failed: impl FnOnce(String) -> Found) -> Option<Found> {
    match routed {
        Ok(Some(routed)) => {
            if let Some(warning) = &routed.warning {
                tracing::warn!(id = %routed.event_id, topic = %routed.topic, "{warning}");
            }
            Some(checked(routed.into()))
        }
        Ok(None) => None,
        Err(Problem::Failed(words)) => Some(failed(words)),
        Err(Problem::Skipped { words, severe: true }) => {
            tracing::error!("{words}");
            None
        }
        Err(Problem::Skipped { words, severe: false }) => {
            tracing::warn!("{words}");
            None
        }
    }
}

/// What the record holds is Debezium's affair; what other sinks are given beside it must be fit for them.
fn checked(mut event: Event) -> Found {
    event
        .headers
        .retain(|(name, value)| check_headers([(&**name, &**value)].into_iter()).is_ok());
    if check_headers(event.headers.iter().map(|(name, value)| (&**name, &**value))).is_err() {
        event.headers.clear();
    }
    event.event_type =
        (event.event_type.take()).filter(|event_type| check_line("type", event_type, TYPE_BYTES_MAX).is_ok());
    let defect = event.check().err().map(|invalid| invalid.to_string());
    (event, defect)
}

/// An event that cannot be delivered, with what is known of it.
fn empty(id: Uuid, payload: Bytes, committed: Timestamp) -> Event {
    Event {
        id,
        topic: "".into(),
        key: None,
        event_type: None,
        payload,
        content_type: "application/json".into(),
        headers: Vec::new(),
        occurred_at: committed,
        replay: None,
        headers_complete: false,
        verbatim: None,
    }
}

fn column(row: &Row) -> debezium::TableColumn {
    let text = |at: usize| row.get::<_, Option<&str>>(at).map(Into::into);
    debezium::TableColumn {
        column: Column {
            name: row.get::<_, &str>(0).into(),
            type_oid: row.get(1),
            type_modifier: row.get(2),
        },
        optional: row.get(3),
        default: text(4),
        labels: text(5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_by_which_debezium_names_itself_need_a_prefix() {
        let settings = |texts: &[(&str, &str)]| {
            let texts = texts.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
            RouterSettings::new(texts.collect(), &BTreeMap::new()).map(drop)
        };
        assert!(settings(&[(EXTENDED_HEADERS, "true"), (TOPIC_PREFIX, "shop")]).is_ok());
        assert!(settings(&[(EXTENDED_HEADERS, "false")]).is_ok());
        let wrong = |texts: &[(&str, &str)]| settings(texts).unwrap_err().1;
        assert_eq!(
            wrong(&[(EXTENDED_HEADERS, "true")]),
            "extended.headers.enabled needs topic.prefix, which the headers name"
        );
        assert_eq!(
            wrong(&[(EXTENDED_HEADERS, "maybe")]),
            "extended.headers.enabled: expected true or false, found \"maybe\""
        );
    }
}
