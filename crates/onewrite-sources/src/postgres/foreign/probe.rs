//! What works and what does not with a table or a log that is not Onewrite's own, for `onewrite check`.

use onewrite_core::StoreError;
use onewrite_core::error::chain;
use onewrite_core::routing::{Match, Share};
use onewrite_core::sink::Finding;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::super::connection::Connector;
use super::super::error::failed;
use super::catalogue::Table;
use super::name::quoted;
use super::rows::Prepared;
use super::settings::{Foreign, Truth};

/// Looks at everything that is configured. What cannot be looked at is a finding of its own.
pub(crate) async fn probe(connector: &Connector, foreign: &Foreign) -> Vec<Finding> {
    // That nobody answers was found before.
    let Ok(client) = connector.connect().await else { return Vec::new() };
    let found = match &foreign.truth {
        Truth::Rows { .. } => rows(&client, foreign).await,
        Truth::Log => todo!(),
    };
    found.unwrap_or_else(|error| vec![Finding::broken(foreign.place_name(), chain(&error))])
}

async fn rows(client: &Client, foreign: &Foreign) -> Result<Vec<Finding>, StoreError> {
    let Prepared {
        reader,
        order,
        settling,
        ..
    } = Prepared::new(client, foreign, &everything()).await?;
    let table = &reader.table;
    let mut findings = vec![Finding::works(foreign.place_name(), "its columns are as they are configured")];
    let column = quoted(&order.column.column.name);
    findings.push(if order.is_indexed {
        Finding::works("order", format!("by {column}, by an index"))
    } else {
        let unsettled = match &settling.mark {
            None => String::new(),
            Some(_) => format!(" WHERE {}", settling.unsettled.replace("t.\"", "\"")),
        };
        Finding::warning(
            "order",
            format!(
                "no index gives the unsettled rows by {column}, so every look goes over the table; as its owner: \
                 CREATE INDEX CONCURRENTLY ON {} ({column}){unsettled};",
                table.name.quoted()
            ),
        )
    });
    let right = if settling.mark.is_some() { "UPDATE" } else { "DELETE" };
    findings.extend(rights(client, table, &["SELECT", right]).await?);
    Ok(findings)
}

/// A finding for each right on the table that is missing.
async fn rights(client: &Client, table: &Table, needed: &[&str]) -> Result<Vec<Finding>, StoreError> {
    const RIGHTS: &str = "SELECT r, quote_ident(current_user) FROM unnest($2::text[]) AS r \
                          WHERE NOT coalesce(has_table_privilege($1, r), false)";
    let rows = client.query_typed(RIGHTS, &[(&table.oid, Type::OID), (&needed, Type::TEXT_ARRAY)]).await;
    let rows = rows.map_err(|error| failed("reading privileges", error))?;
    let missing = rows.iter().map(|row| {
        let (right, role): (&str, &str) = (row.get(0), row.get(1));
        let name = table.name.quoted();
        Finding::broken(
            format!("privilege {right} on {}", table.name),
            format!("the user lacks it; as the owner of the table: GRANT {right} ON {name} TO {role};"),
        )
    });
    Ok(missing.collect())
}

fn everything() -> Share {
    Share {
        relay: String::new(),
        route: String::new(),
        wanted: Match::default(),
        taken: Vec::new(),
    }
}
