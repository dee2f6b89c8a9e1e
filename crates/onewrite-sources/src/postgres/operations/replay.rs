//! Asking for events to be delivered again.

use onewrite_core::store::ReplayRequest;
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::super::error::failed;
use super::super::session::LAST_SEQUENCE;

/// Records the request and returns its number.
///
/// # Errors
/// `Refused` with the names there are, when there is no such relay or route.
pub(super) async fn request(client: &Client, request: &ReplayRequest) -> Result<i64, StoreError> {
    // Inserting and looking whether there is such a route are one statement, so nothing can come between them.
    let insert = format!(
        "INSERT INTO onewrite.replay (relay, route, since, until, topic, key, ids, up_to) \
         SELECT relay, name, $3::text::timestamptz, $4::text::timestamptz, $5, $6, $7, ({LAST_SEQUENCE}) \
         FROM onewrite.route WHERE relay = $1 AND name = $2 RETURNING id"
    );
    let (since, until) = (
        request.since.map(|at| at.to_string()),
        request.until.map(|at| at.to_string()),
    );
    let ids = (!request.ids.is_empty()).then_some(&request.ids);
    let binds: [(&(dyn ToSql + Sync), Type); 7] = [
        (&request.relay, Type::TEXT),
        (&request.route, Type::TEXT),
        (&since, Type::TEXT),
        (&until, Type::TEXT),
        (&request.topic, Type::TEXT),
        (&request.key, Type::TEXT),
        (&ids, Type::UUID_ARRAY),
    ];
    let inserted = client.query_typed_opt(&insert, &binds).await;
    match inserted.map_err(|error| failed("asking for a replay", error))? {
        Some(row) => Ok(row.get(0)),
        None => Err(unknown(client, request).await?),
    }
}

async fn unknown(client: &Client, request: &ReplayRequest) -> Result<StoreError, StoreError> {
    const KNOWN: &str = "SELECT relay, name FROM onewrite.route ORDER BY relay, name";
    let ReplayRequest { relay, route, .. } = request;
    let rows = client.query_typed(KNOWN, &[]).await;
    let rows = rows.map_err(|error| failed("reading the names of routes", error))?;
    let known: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let routes: Vec<&str> = known
        .iter()
        .filter(|(of, _)| of == relay)
        .map(|(_, name)| &**name)
        .collect();
    let mut relays: Vec<&str> = known.iter().map(|(of, _)| &**of).collect();
    relays.dedup();
    Ok(refused(match (relays.is_empty(), routes.is_empty()) {
        (true, _) => "no relay has recorded a route here yet; start one with `onewrite run` first".to_owned(),
        (false, true) => format!("there is no relay {relay:?}; the relays are {}", listed(&relays)),
        (false, false) => format!(
            "the relay {relay:?} has no route {route:?}; its routes are {}",
            listed(&routes)
        ),
    }))
}

fn listed(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn refused(words: String) -> StoreError {
    StoreError::new(StoreFailure::Refused, words)
}
