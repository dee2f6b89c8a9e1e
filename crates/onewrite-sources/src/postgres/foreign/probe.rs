//! What works and what does not with a table or a log that is not Onewrite's own, for `onewrite check`.

use onewrite_core::StoreError;
use onewrite_core::error::chain;
use onewrite_core::routing::{Group, Match, Share};
use onewrite_core::sink::Finding;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::super::error::failed;
use super::super::log::slot;
use super::catalogue::Table;
use super::log::{Lack, Log};
use super::name::quoted;
use super::reader::Reader;
use super::rows::Prepared;
use super::settings::{Foreign, Place, Truth};

/// Looks at everything that is configured. What cannot be looked at is a finding of its own.
pub(crate) async fn probe(client: &Client, foreign: &Foreign) -> Vec<Finding> {
    let found = match &foreign.truth {
        Truth::Rows { .. } => rows(client, foreign).await,
        Truth::Log => log(client, foreign).await,
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
    let mut findings = vec![Finding::works(
        foreign.place_name(),
        "its columns are as they are configured",
    )];
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

async fn log(client: &Client, foreign: &Foreign) -> Result<Vec<Finding>, StoreError> {
    let mut findings = Vec::new();
    if let Place::Table(_) = &foreign.place {
        let reader = Reader::open(client, foreign, "").await?;
        reader.table.require_logged(&foreign.section)?;
        findings.push(Finding::works(
            foreign.place_name(),
            "its columns are as they are configured",
        ));
    }
    let obstacles = slot::obstacles_of_server(client).await?;
    match obstacles.is_empty() {
        true => findings.push(Finding::works("log", "it can be read")),
        false => findings.extend(obstacles.into_iter().map(|words| Finding::broken("log", words))),
    }
    findings.push(publication(client, foreign).await?);
    Ok(findings)
}

/// The publication's usual name has the relay's in it, which is not known here; whether it can be created is.
async fn publication(client: &Client, foreign: &Foreign) -> Result<Finding, StoreError> {
    const MAY: &str = "SELECT has_database_privilege(current_database(), 'CREATE') \
                       AND coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = $1), true)";
    let subject = foreign
        .publication
        .as_ref()
        .map_or("publication".to_owned(), |name| format!("publication {name}"));
    let log = Log {
        slot: String::new(),
        publication: foreign.publication.clone().unwrap_or_default(),
    };
    let create = match log.lacks(client, foreign).await? {
        None => return Ok(Finding::works(subject, "it publishes what is needed")),
        Some(Lack::Wrong(words)) => return Ok(Finding::broken(subject, words)),
        Some(Lack::Missing(create)) => create,
    };
    let table = match &foreign.place {
        Place::Table(name) => Some(
            Table::read(client, &format!("{}.table", foreign.section), name)
                .await?
                .oid,
        ),
        Place::Messages(_) => None,
    };
    let row = client.query_typed_one(MAY, &[(&table, Type::OID)]).await;
    Ok(match row.map_err(|error| failed("reading privileges", error))?.get(0) {
        true => Finding::works(subject, "the relay creates it where it is missing"),
        false if foreign.publication.is_some() => Finding::broken(
            subject,
            format!(
                "it is missing, and this role may not create it; as a role with CREATE on the database that owns the table: {create}"
            ),
        ),
        false => Finding::warning(
            subject,
            "this role may not create one; where the relay finds none when it starts, it says what a DBA has to run",
        ),
    })
}

/// A finding for each right on the table that is missing.
async fn rights(client: &Client, table: &Table, needed: &[&str]) -> Result<Vec<Finding>, StoreError> {
    const RIGHTS: &str = "SELECT r, quote_ident(current_user) FROM unnest($2::text[]) AS r \
                          WHERE NOT coalesce(CASE r WHEN 'DELETE' THEN has_table_privilege($1, r) \
                                                    ELSE has_any_column_privilege($1, r) END, false)";
    let rows = client
        .query_typed(RIGHTS, &[(&table.oid, Type::OID), (&needed, Type::TEXT_ARRAY)])
        .await;
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
        group: Group::ALL,
        wanted: Match::default(),
        taken: Vec::new(),
    }
}
