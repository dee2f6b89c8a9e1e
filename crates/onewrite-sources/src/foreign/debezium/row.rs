//! What the router reads fields from: a row of a table, or the content of a message.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use super::connect::{Datum, Kind, Schema};
use super::table::{self, Table};
use crate::foreign::value::Raw;

/// A row or a message.
#[derive(Debug)]
pub(super) struct Row<'a> {
    fields: Fields<'a>,
    warning: RefCell<Option<String>>,
}

/// What it holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fields<'a> {
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
    pub fn new(fields: Fields<'a>) -> Self {
        Self {
            fields,
            warning: RefCell::default(),
        }
    }

    /// The last thing in its fields that Debezium would have warned of.
    pub fn warning(&self) -> Option<String> {
        self.warning.borrow().clone()
    }

    /// A field; nothing where the row has none of this name.
    ///
    /// # Errors
    /// What is wrong with its value.
    pub fn get(&self, name: &str) -> Result<Option<Found<'a>>, String> {
        match self.fields {
            Fields::Table(table, values) => {
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
                let (datum, warning) = table::datum(column, schema, raw)?;
                if warning.is_some() {
                    self.warning.replace(warning);
                }
                let datum = Cow::Owned(datum);
                Ok(Some(Found { schema, datum }))
            }
            Fields::Message(schema, data) => {
                let fields = schema.fields().iter().zip(data);
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
        let what = match self.fields {
            Fields::Table(..) => "the table has no column",
            Fields::Message(..) => "the message has no member",
        };
        self.get(name)?
            .ok_or_else(|| format!("{what} {name}, which {option} names"))
    }

    /// Whether it is a row.
    pub fn is_of_table(&self) -> bool {
        matches!(self.fields, Fields::Table(..))
    }

    /// What converters call the row's schema.
    pub fn schema_name(&self) -> Option<&'a str> {
        match self.fields {
            Fields::Table(table, _) => Some(&table.name),
            Fields::Message(schema, _) => schema.name.as_deref(),
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
