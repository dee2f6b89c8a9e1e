//! What the database says about a table: every name that is configured is looked up here before it is used.

use onewrite_core::options::nearest;
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::super::error::failed;
use super::name::{TableName, quoted};
use crate::foreign::value::{Column, oid};

const READING: &str = "looking at the table";

/// A table and its columns.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub name: TableName,
    pub oid: u32,
    pub is_partitioned: bool,
    /// Whether its rows are in the log.
    pub is_logged: bool,
    /// In their order.
    pub columns: Vec<TableColumn>,
    /// Whether updates of its rows can be published: without an identity, publishing them makes them fail.
    pub has_identity: bool,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(crate) struct TableColumn {
    /// Its name, and the type as whose it is read: a type that cannot be read is read as its text.
    pub column: Column,
    /// Its type as SQL names it in a cast.
    pub sql_type: String,
    /// The type beneath it: that of a domain's base.
    pub base_oid: u32,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// Whether its values vary in length.
    pub varies: bool,
    /// Its place in the primary key.
    pub key_place: Option<i32>,
    /// Its number in the table (`pg_attribute.attnum`).
    pub number: i16,
}

impl TableColumn {
    /// The column of the table `t` in SQL.
    pub fn sql(&self) -> String {
        format!("t.{}", quoted(&self.column.name))
    }

    /// Its value as the decoder reads it.
    pub fn value_sql(&self) -> String {
        if self.is_read_as_it_is() {
            return self.sql();
        }
        // The text that the type itself writes, which a cast does not always give.
        format!(
            "CASE WHEN {0} IS NOT NULL THEN pg_catalog.format('%s', {0}) END",
            self.sql()
        )
    }

    /// Whether its type is one that is read in its own form.
    pub fn is_read_as_it_is(&self) -> bool {
        self.base_oid == self.column.type_oid
    }

    /// Whether it holds whole numbers.
    pub fn is_integer(&self) -> bool {
        matches!(self.base_oid, oid::INT2 | oid::INT4 | oid::INT8)
    }

    /// Whether its text is the same for the database and for us, so that it can be compared there.
    pub fn is_text_in_sql(&self) -> bool {
        matches!(
            self.base_oid,
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UUID | oid::INT2 | oid::INT4 | oid::INT8
        ) || !self.is_read_as_it_is()
    }
}

impl Table {
    /// Looks a table up. `key` is the option that names it.
    ///
    /// # Errors
    /// `Refused` with the nearest name there is, when there is no such table.
    pub async fn read(client: &Client, key: &str, name: &TableName) -> Result<Self, StoreError> {
        const TABLE: &str = "SELECT c.oid, c.relkind::text, c.relreplident::text, c.relpersistence = 'p' FROM pg_class c \
                             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
        let parameters = [(&name.schema as _, Type::TEXT), (&name.table as _, Type::TEXT)];
        let found = client.query_typed_opt(TABLE, &parameters).await;
        let Some(found) = found.map_err(|error| failed(READING, error))? else {
            return Err(missing(client, key, name).await?);
        };
        let (oid, kind, identity): (u32, &str, &str) = (found.get(0), found.get(1), found.get(2));
        if !matches!(kind, "r" | "p") {
            let words = format!("{key}: {name} is not a table; name the table that the rows are written to");
            return Err(StoreError::new(StoreFailure::Refused, words));
        }
        let columns = columns(client, oid).await?;
        let has_key = columns.iter().any(|column| column.key_place.is_some());
        Ok(Self {
            name: name.clone(),
            oid,
            is_partitioned: kind == "p",
            is_logged: found.get(3),
            has_identity: matches!(identity, "f" | "i") || (identity == "d" && has_key),
            columns,
        })
    }

    /// Makes sure that its rows are in the log.
    ///
    /// # Errors
    /// `Refused` where they are not.
    pub fn require_logged(&self, section: &str) -> Result<(), StoreError> {
        if self.is_logged {
            return Ok(());
        }
        let words = format!(
            "{section}.table: {} is UNLOGGED, and nothing of it is in the log; make it a logged table, or settle its rows",
            self.name
        );
        Err(StoreError::new(StoreFailure::Refused, words))
    }

    /// The place of a column. `key` is the option that names it.
    ///
    /// # Errors
    /// `Refused` with the nearest name there is, when there is no such column.
    pub fn find(&self, key: &str, column: &str) -> Result<usize, StoreError> {
        let names = || self.columns.iter().map(|known| &*known.column.name);
        names().position(|name| name == column).ok_or_else(|| {
            let names: Vec<&str> = names().collect();
            let meant = match nearest(column, names.iter().copied()) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("its columns are {}", names.join(", ")),
            };
            let words = format!("{key}: the table {} has no column {column:?}; {meant}", self.name);
            StoreError::new(StoreFailure::Refused, words)
        })
    }

    /// The places of the primary key's columns, in its order.
    pub fn primary_key(&self) -> Vec<usize> {
        let mut key: Vec<(i32, usize)> = (self.columns.iter().enumerate())
            .filter_map(|(at, column)| column.key_place.map(|place| (place, at)))
            .collect();
        key.sort_unstable();
        key.into_iter().map(|(_, at)| at).collect()
    }
}

async fn columns(client: &Client, table: u32) -> Result<Vec<TableColumn>, StoreError> {
    // A domain is followed to the type beneath it.
    const COLUMNS: &str = "\
        SELECT a.attname::text, base.oid, base.typmod, format_type(a.atttypid, -1), NOT a.attnotnull, a.attlen = -1, \
               array_position(i.indkey::int2[], a.attnum), a.attnum \
        FROM pg_attribute a CROSS JOIN LATERAL ( \
            WITH RECURSIVE chain (oid, kind, next, typmod, depth) AS ( \
                SELECT t.oid, t.typtype, t.typbasetype, a.atttypmod, 0 FROM pg_type t WHERE t.oid = a.atttypid \
                UNION ALL \
                SELECT t.oid, t.typtype, t.typbasetype, domain.typtypmod, depth + 1 FROM chain \
                JOIN pg_type domain ON domain.oid = chain.oid JOIN pg_type t ON t.oid = chain.next WHERE chain.kind = 'd') \
            SELECT oid, typmod FROM chain ORDER BY depth DESC LIMIT 1) AS base \
        LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary \
        WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = client.query_typed(COLUMNS, &[(&table, Type::OID)]).await;
    let rows = rows.map_err(|error| failed(READING, error))?;
    Ok(rows.iter().map(column).collect())
}

fn column(row: &Row) -> TableColumn {
    let (name, base_oid, type_modifier): (&str, u32, i32) = (row.get(0), row.get(1), row.get(2));
    TableColumn {
        column: Column {
            name: name.into(),
            type_oid: if is_readable(base_oid) { base_oid } else { oid::TEXT },
            type_modifier,
        },
        sql_type: row.get(3),
        base_oid,
        nullable: row.get(4),
        varies: row.get(5),
        key_place: row.get(6),
        number: row.get(7),
    }
}

/// Whether values of a type are read in its own form.
fn is_readable(type_oid: u32) -> bool {
    matches!(
        type_oid,
        oid::BOOL
            | oid::BYTEA
            | oid::NAME
            | oid::INT8
            | oid::INT2
            | oid::INT4
            | oid::TEXT
            | oid::JSON
            | oid::FLOAT4
            | oid::FLOAT8
            | oid::BPCHAR
            | oid::VARCHAR
            | oid::DATE
            | oid::TIME
            | oid::TIMESTAMP
            | oid::TIMESTAMPTZ
            | oid::NUMERIC
            | oid::UUID
            | oid::JSONB
    )
}

async fn missing(client: &Client, key: &str, name: &TableName) -> Result<StoreError, StoreError> {
    const KNOWN: &str = "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                         WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'onewrite') \
                         AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2 LIMIT 10000";
    let rows = client.query_typed(KNOWN, &[]).await;
    let rows = rows.map_err(|error| failed(READING, error))?;
    let known: Vec<String> = rows
        .iter()
        .map(|row| {
            let (schema, table) = (row.get(0), row.get(1));
            TableName { schema, table }.to_string()
        })
        .collect();
    let meant = match nearest(&name.to_string(), known.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {near:?}?"),
        None => String::new(),
    };
    let words = format!("{key}: there is no table {name}{meant}");
    Ok(StoreError::new(StoreFailure::Refused, words))
}
