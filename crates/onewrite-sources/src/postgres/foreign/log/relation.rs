//! Tables as the log describes them.

use std::collections::HashMap;

use onewrite_core::{StoreError, StoreFailure};
use onewrite_pgoutput::{Column, Relation, Tuple};
use tokio_postgres::Client;

use super::super::reader::Reader;
use super::super::settings::{Foreign, Place};
use crate::foreign::value::Raw;

/// The tables that came, by their numbers; those that hold no events are not kept.
#[derive(Default)]
pub(super) struct Relations(HashMap<u32, (Reader, Layout)>);

/// Where in a row of the log each column stands that is read; `None` for one that the log does not have.
pub(super) struct Layout(Vec<Option<usize>>);

impl Relations {
    /// Takes in a table's description: its reader is made anew, since the table may have changed.
    ///
    /// # Errors
    /// `Refused` where the log has no column that is needed.
    pub async fn take(
        &mut self,
        client: &Client,
        foreign: &Foreign,
        relay: &str,
        relation: &Relation,
    ) -> Result<(), StoreError> {
        let Place::Table(name) = &foreign.place else {
            return Ok(());
        };
        if relation.namespace.as_str() != name.schema || relation.name.as_str() != name.table {
            return Ok(());
        }
        let reader = Reader::open(client, foreign, relay).await?;
        let place = |column: &str| relation.columns.iter().position(|known| known.name.as_str() == column);
        let places: Vec<Option<usize>> = (reader.columns().iter())
            .map(|column| place(&column.column.name))
            .collect();
        let mut lacking = reader
            .columns()
            .iter()
            .zip(&places)
            .filter(|(_, place)| place.is_none());
        if let Some((column, _)) = lacking.find(|(column, _)| reader.needs(&column.column.name)) {
            let words = format!(
                "{}: the log holds rows of {name} without the column {:?}: from before the table was changed, or the publication leaves \
                 the column out; configure the columns as they were until those rows are delivered, or publish the column",
                foreign.section, column.column.name
            );
            return Err(StoreError::new(StoreFailure::Refused, words));
        }
        self.0.insert(relation.oid, (reader, Layout(places)));
        Ok(())
    }

    /// The reader of a table; `None` where it holds no events.
    pub fn get(&mut self, relation: u32) -> Option<(&mut Reader, &Layout)> {
        self.0.get_mut(&relation).map(|(reader, layout)| (reader, &*layout))
    }
}

/// The columns that are read, of a row of the log.
pub(super) fn changed(layout: &Layout, tuple: &Tuple) -> Vec<Raw> {
    let mut values: Vec<Option<Raw>> = tuple.columns().map(raw).map(Some).collect();
    let value = |place: &Option<usize>| place.and_then(|at| values.get_mut(at)?.take()).unwrap_or(Raw::Null);
    layout.0.iter().map(value).collect()
}

fn raw(column: Column) -> Raw {
    match column {
        Column::Null => Raw::Null,
        Column::Unchanged => Raw::Unchanged,
        Column::Text(text) => Raw::Text(text),
        Column::Binary(bytes) => Raw::Binary(bytes),
    }
}
