//! From a row to an event, whatever the contract.

use bytes::Bytes;
use jiff::Timestamp;
use onewrite_core::routing::Share;
use onewrite_core::{Event, StoreError, StoreFailure};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::catalogue::{Table, TableColumn};
use super::mapping::Mapping;
use super::settings::{Foreign, Place, Shape};
use crate::foreign::value::Raw;

/// Reads rows of one table.
pub(super) struct Reader {
    table: Option<Table>,
    shape: Form,
    time: Option<String>,
}

enum Form {
    Columns(Mapping),
}

impl Reader {
    /// Looks up everything that is named.
    ///
    /// # Errors
    /// `Refused`, naming the option and the nearest name there is.
    pub async fn open(client: &Client, foreign: &Foreign) -> Result<Self, StoreError> {
        let section = &foreign.section;
        let table = match &foreign.place {
            Place::Table(name) => Some(Table::read(client, &format!("{section}.table"), name).await?),
            Place::Messages(_) => None,
        };
        match (&foreign.shape, &table) {
            (Shape::Columns { roles, topic }, Some(found)) => {
                let mapping = Mapping::new(section, found, roles, topic.as_ref())?;
                Ok(Self {
                    shape: Form::Columns(mapping),
                    time: roles.get("time").cloned(),
                    table,
                })
            }
            _ => todo!(),
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
