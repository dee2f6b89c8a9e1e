//! Rows as PostgreSQL sends them, in both forms.

use onewrite_sources::foreign::debezium::COLUMNS;
use serde_json::{Value, json};
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::records::bytes_to_json;

/// The columns of the table `outbox`, as the source looks them up.
pub async fn columns(client: &Client) -> Vec<Value> {
    let oid = client
        .query_one("SELECT 'outbox'::regclass::oid", &[])
        .await
        .expect("the table");
    let rows = client
        .query(COLUMNS, &[&oid.get::<_, u32>(0)])
        .await
        .expect("the columns");
    let columns = rows.iter().map(|row| {
        json!({
            "name": row.get::<_, &str>(0),
            "type_oid": row.get::<_, u32>(1),
            "type_modifier": row.get::<_, i32>(2),
            "optional": row.get::<_, bool>(3),
            "default": row.get::<_, Option<&str>>(4),
            "labels": row.get::<_, Option<&str>>(5),
        })
    });
    columns.collect()
}

/// Inserts a row; returns its id as text, and each value as null or in both forms.
pub async fn insert(client: &Client, insert: &str) -> (String, Vec<Value>) {
    let sql = format!("INSERT INTO outbox {insert} RETURNING ctid::text, outbox.*");
    let row = client
        .query_one(&sql, &[])
        .await
        .unwrap_or_else(|error| panic!("{insert}: {error:?}"));
    let again = format!("SELECT * FROM outbox WHERE ctid = '{}'", row.get::<_, &str>(0));
    let answer = client.simple_query(&again).await.expect("the row again");
    let texts = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let texts = texts.expect("the row");
    let values = (0..texts.len()).map(|at| {
        let Binary(binary) = row.get::<_, Option<Binary>>(at + 1).unwrap_or_default();
        texts.get(at).map_or(
            Value::Null,
            |text| json!({"text": text, "binary": bytes_to_json(Some(&binary))}),
        )
    });
    let values = values.collect();
    // By the custom of the scenarios it is the first column.
    let id = texts.get(0).expect("an id");
    (id.to_owned(), values)
}

#[derive(Default)]
struct Binary(Vec<u8>);

impl<'a> FromSql<'a> for Binary {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
