//! Asking for events to be delivered again.

use onewrite_core::store::ReplayRequest;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

/// Records the request and returns its number; in words, why there can be none.
pub(super) fn request(connection: &mut Connection, request: &ReplayRequest) -> rusqlite::Result<Result<i64, String>> {
    const ASK: &str = "\
        INSERT INTO onewrite_replay (relay, route, since, until, topic, key, ids, up_to) \
        SELECT relay, name, ?3, ?4, ?5, ?6, ?7, (SELECT coalesce(max(sequence), 0) FROM onewrite_outbox) \
        FROM onewrite_route WHERE relay = ?1 AND name = ?2 RETURNING id";
    let ReplayRequest {
        relay,
        route,
        since,
        until,
        topic,
        key,
        ids,
    } = request;
    let ids = (!ids.is_empty()).then(|| serde_json::json!(ids).to_string());
    let (since, until) = (since.map(|at| at.to_string()), until.map(|at| at.to_string()));
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let id = transaction
        .query_row(ASK, params![relay, route, since, until, topic, key, ids], |row| {
            row.get(0)
        })
        .optional()?;
    let answer = match id {
        Some(id) => Ok(id),
        None => Err(unknown(&transaction, relay, route)?),
    };
    transaction.commit()?;
    Ok(answer)
}

/// What to say of a route that is not there.
fn unknown(connection: &Connection, relay: &str, route: &str) -> rusqlite::Result<String> {
    const RELAYS: &str = "SELECT DISTINCT relay FROM onewrite_route ORDER BY relay";
    const ROUTES: &str = "SELECT name FROM onewrite_route WHERE relay = ?1 ORDER BY name";
    let relays = names(connection, RELAYS, &[])?;
    let routes = names(connection, ROUTES, &[&relay])?;
    Ok(if relays.is_empty() {
        "no relay has recorded a route here yet; start one with `onewrite run` first".to_owned()
    } else if routes.is_empty() {
        format!("there is no relay {relay:?}; the relays are {}", relays.join(", "))
    } else {
        format!(
            "the relay {relay:?} has no route {route:?}; its routes are {}",
            routes.join(", ")
        )
    })
}

fn names(connection: &Connection, sql: &str, bound: &[&dyn rusqlite::ToSql]) -> rusqlite::Result<Vec<String>> {
    let name = |row: &rusqlite::Row<'_>| row.get::<_, String>(0).map(|name| format!("{name:?}"));
    connection.prepare(sql)?.query_map(bound, name)?.collect()
}
