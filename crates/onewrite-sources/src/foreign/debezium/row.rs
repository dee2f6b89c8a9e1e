//! What the router reads fields from: a row of a table, or the content of a message.

use std::borrow::Cow;
use std::sync::Arc;

use super::connect::{Datum, Kind, Schema};
use super::table::{self, Table};
use crate::foreign::value::Raw;

/// A row's or a message's fields.
#[derive(Clone, Copy, Debug)]
pub(super) enum Row<'a> {
    /// Of a table: its columns' values in their order.
    Table(&'a Table, &'a [Raw]),
    /// Of a message: a struct.
    Message(&'a Arc<Schema>, &'a [Datum]),
}

/// A field.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    pub schema: &'a Arc<Schema>,
    /// As it stands there.
    pub datum: Cow<'a, Datum>,
}

impl<'a> Row<'a> {
    /// A field; nothing where the row has none of this name.
    ///
    /// # Errors
    /// What is wrong with its value.
    pub fn get(&self, name: &str) -> Result<Option<Found<'a>>, String> {
        match self {
            Self::Table(table, values) => {
                let Some((at, column, schema)) = table.column(name) else {
                    return Ok(None);
                };
                let schema = schema.ok_or_else(|| {
                    format!(
                        "column {name} has a type (oid {}) that Onewrite does not know",
                        column.type_oid
                    )
                })?;
                let raw = values
                    .get(at)
                    .ok_or_else(|| format!("the row has {} values, none for column {name}", values.len()))?;
                let datum = Cow::Owned(table::datum(column, schema, raw)?);
                Ok(Some(Found { schema, datum }))
            }
            Self::Message(schema, data) => {
                let fields = schema.fields().iter().zip(*data);
                let mut found = fields.filter(|(field, _)| *field.name == *name);
                Ok(found.next().map(|(field, datum)| Found {
                    schema: &field.schema,
                    datum: Cow::Borrowed(datum),
                }))
            }
        }
    }

    /// A field that must be there.
    ///
    /// # Errors
    /// It is not, or what is wrong with its value.
    pub fn required(&self, name: &str, option: &str) -> Result<Found<'a>, String> {
        let what = match self {
            Self::Table(..) => "the table has no column",
            Self::Message(..) => "the message has no member",
        };
        self.get(name)?
            .ok_or_else(|| format!("{what} {name}, which {option} names"))
    }

    /// What converters call the row's schema.
    pub fn schema_name(&self) -> Option<&'a str> {
        match self {
            Self::Table(table, _) => Some(&table.name),
            Self::Message(schema, _) => schema.name.as_deref(),
        }
    }
}

impl Found<'_> {
    /// Its value, or where that is null, its default.
    pub fn value(self) -> Datum {
        match &self.schema.default {
            Some(default) if self.datum.is_null() => default.clone(),
            _ => self.datum.into_owned(),
        }
    }

    /// Checks its kind.
    ///
    /// # Errors
    /// Names the field and the option.
    pub fn of_kind(self, kind: &Kind, name: &str, option: &str) -> Result<Self, String> {
        if self.schema.kind == *kind {
            return Ok(self);
        }
        let found = self.schema.kind_name();
        let expected = Schema::plain(kind.clone());
        Err(format!(
            "{name}, which {option} names, is a {found}; a {} is needed",
            expected.kind_name()
        ))
    }
}
