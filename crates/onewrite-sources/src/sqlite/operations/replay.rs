//! Asking for events to be delivered again.

use onewrite_core::store::{Replay, ReplayRequest, Retained};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::super::redeliveries::count;
use super::history;

/// Records the request; in words, why there can be none.
pub(super) fn request(
    connection: &mut Connection,
    request: &ReplayRequest,
) -> rusqlite::Result<Result<Replay, String>> {
    let retained = history::retained(connection)?;
    let request = match in_sequences(connection, request, &retained)? {
        Ok(request) => request,
        Err(problem) => return Ok(Err(problem)),
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Some(id) = record(&transaction, &request)? else {
        return Ok(Err(unknown(&transaction, &request.relay, &request.route)?));
    };
    // Counted beside it rather than in it: nobody else could write meanwhile. The relay may be through with some already.
    transaction.commit()?;
    let events = count(connection, id)?;
    connection.execute("UPDATE onewrite_replay SET events = ?2 WHERE id = ?1", (id, events))?;
    Ok(Ok(Replay {
        id,
        events,
        gone: request.gone(&retained),
        retained,
    }))
}

/// The request with the sequences of the events that it begins and ends with in place of their ids.
fn in_sequences(
    connection: &Connection,
    request: &ReplayRequest,
    retained: &Retained,
) -> rusqlite::Result<Result<ReplayRequest, String>> {
    let mut request = request.clone();
    for (id, which) in [(request.from_id.take(), "min"), (request.to_id.take(), "max")] {
        let Some(id) = id else { continue };
        // An application may have written it in capitals.
        let sql = format!("SELECT {which}(sequence) FROM onewrite_outbox WHERE lower(id) = ?1");
        let Some(sequence) = connection.query_row(&sql, [id.to_string()], |row| row.get::<_, Option<i64>>(0))? else {
            return Ok(Err(retained.lacks(id)));
        };
        let end = if which == "min" {
            &mut request.from_sequence
        } else {
            &mut request.to_sequence
        };
        *end = Some(sequence);
    }
    Ok(match request.check() {
        Ok(()) => Ok(request),
        Err(refused) => Err(refused.to_string()),
    })
}

/// Returns the request's number, or nothing when there is no such route. A range is where progress begins and where it ends.
fn record(transaction: &Transaction<'_>, request: &ReplayRequest) -> rusqlite::Result<Option<i64>> {
    const ASK: &str = "\
        INSERT INTO onewrite_replay (relay, route, since, until, topic, key, ids, progress, up_to) \
        SELECT relay, name, ?3, ?4, ?5, ?6, ?7, ?8 - 1, min(?9, (SELECT coalesce(max(sequence), 0) FROM onewrite_outbox)) \
        FROM onewrite_route WHERE relay = ?1 AND name = ?2 RETURNING id";
    let ids = (!request.ids.is_empty()).then(|| serde_json::json!(request.ids).to_string());
    let (since, until) = (
        request.since.map(|at| at.to_string()),
        request.until.map(|at| at.to_string()),
    );
    let from = request.from_sequence.unwrap_or(1).max(1);
    let to = request.to_sequence.unwrap_or(i64::MAX);
    let ReplayRequest {
        relay,
        route,
        topic,
        key,
        ..
    } = request;
    let bound = params![relay, route, since, until, topic, key, ids, from, to];
    transaction.query_row(ASK, bound, |row| row.get(0)).optional()
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
