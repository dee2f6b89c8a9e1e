//! From a row to an event, whatever the contract.

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::routing::Share;
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::catalogue::{Table, TableColumn};
use super::mapping::Mapping;
use super::routing::{Found, Routing};
use super::settings::{Foreign, Place, Shape};
use crate::foreign::debezium::Operation;
use crate::foreign::value::Raw;

/// Reads rows of one table.
#[derive(Debug)]
pub(super) struct Reader {
    pub table: Table,
    form: Form,
    time: Option<String>,
}

#[derive(Debug)]
enum Form {
    Columns(Box<Mapping>),
    Debezium(Box<Routing>),
}

impl Reader {
    /// Looks up everything that is named.
    ///
    /// # Errors
    /// `Refused`, naming the option and the nearest name there is.
    pub async fn open(client: &Client, foreign: &Foreign, relay: &str) -> Result<Self, StoreError> {
        let section = &foreign.section;
        let Place::Table(name) = &foreign.place else {
            return Err(StoreError::new(StoreFailure::Refused, "logical messages have no rows"));
        };
        let table = Table::read(client, &format!("{section}.table"), name).await?;
        let (form, time) = match &foreign.shape {
            Shape::Columns { roles, topic } => {
                let mapping = Mapping::new(section, &table, roles, topic.as_ref())?;
                (Form::Columns(Box::new(mapping)), roles.get("time").cloned())
            }
            Shape::Debezium(settings) => {
                let routing = Routing::open(client, section, settings, &table, relay).await?;
                (
                    Form::Debezium(Box::new(routing)),
                    settings.time_column().map(str::to_owned),
                )
            }
        };
        Ok(Self { table, form, time })
    }

    /// The columns that are read.
    pub fn columns(&self) -> &[TableColumn] {
        match &self.form {
            Form::Columns(mapping) => &mapping.columns,
            Form::Debezium(routing) => &routing.columns,
        }
    }

    /// Whether rows cannot be read without this column.
    pub fn needs(&self, column: &str) -> bool {
        match &self.form {
            Form::Columns(_) => true,
            Form::Debezium(routing) => routing.needs(column),
        }
    }

    /// The column that holds the time of an event, by which rows can be ordered.
    pub fn time_column(&self) -> Option<&str> {
        self.time.as_deref()
    }

    /// Topic and type in SQL over the table `t`, so that a share reads its own rows alone.
    ///
    /// # Errors
    /// `Refused` where they cannot be told in SQL and the share does not take everything anyway.
    pub fn topic_and_type_sql(&self, section: &str, share: &Share) -> Result<(String, String), StoreError> {
        if share.takes_all() {
            return Ok(("''".to_owned(), "''".to_owned()));
        }
        let refused = |words: String| Err(StoreError::new(StoreFailure::Refused, words));
        match &self.form {
            Form::Columns(mapping) => match mapping.unlike_in_sql() {
                None => Ok((mapping.topic_sql(), mapping.type_sql())),
                Some(column) => refused(format!(
                    "{section}: topics and types are made of the column {}, whose type is {}; several routes can share polled rows \
                     only where these are texts, numbers or UUIDs, so give one route everything",
                    column.column.name, column.sql_type
                )),
            },
            Form::Debezium(routing) => routing.topic_and_type_sql().map_or_else(
                || {
                    refused(format!(
                        "{section}.router: with a regular expression of its own the router's topics cannot be told in SQL, and \
                         several routes cannot share polled rows; give one route everything, or use settle = \"nothing\""
                    ))
                },
                Ok,
            ),
        }
    }

    /// The event of a row. `written` is its time where no column holds one; `place` names the row among all of the table. `None` for
    /// a change that is none.
    pub fn event(&mut self, operation: Operation, row: &[Raw], written: Timestamp, place: &str) -> Option<Found> {
        match (&mut self.form, operation) {
            (Form::Columns(mapping), Operation::Insert | Operation::Snapshot) => {
                Some(mapping.event(row, written, place))
            }
            // Rows that are marked or deleted by whoever it may be.
            (Form::Columns(_), Operation::Update | Operation::Delete) => None,
            (Form::Debezium(routing), operation) => routing.event(operation, row, written, place),
        }
    }
}

/// The values of a row from a column on, as they came.
pub(super) fn raw(row: &Row, first: usize) -> Result<Vec<Raw>, Error> {
    let value = |at| {
        let value: Option<Binary<'_>> = row.try_get(at)?;
        Ok(value.map_or(Raw::Null, |Binary(bytes)| Raw::Binary(Bytes::copy_from_slice(bytes))))
    };
    (first..row.len()).map(value).collect()
}

/// A value of any type in its binary form.
struct Binary<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Binary<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
