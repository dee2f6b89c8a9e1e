//! Asking for events to be delivered again.

use onewrite_core::routing::Share;
use onewrite_core::store::{Replay, ReplayRequest, Retained};
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Transaction};
use uuid::Uuid;

use super::super::error::failed;
use super::super::session::LAST_SEQUENCE;
use super::history;

/// Records the request.
///
/// # Errors
/// `Refused` with the names there are, when there is no such relay or route, and with what is there, when an event that it
/// begins or ends with is not.
pub(super) async fn request(client: &mut Client, request: &ReplayRequest) -> Result<Replay, StoreError> {
    let doing = |error: Error| failed("asking for a replay", error);
    let retained = history::retained(&*client).await.map_err(doing)?;
    let request = in_sequences(client, request, &retained).await?;
    let mut transaction = client.transaction().await.map_err(doing)?;
    let recorded = record(&transaction, &request).await.map_err(doing)?;
    let Some((id, definition)) = recorded else {
        return Err(unknown(&transaction, &request).await?);
    };
    let events = match Share::from_definition(&request.relay, &request.route, &definition) {
        Some(share) => history::count(&mut transaction, id, &share).await.map_err(doing)?,
        None => None,
    };
    let counted = [(&id as &(dyn ToSql + Sync), Type::INT8), (&events, Type::INT8)];
    let note = "UPDATE onewrite.replay SET events = $2 WHERE id = $1";
    transaction.execute_typed(note, &counted).await.map_err(doing)?;
    transaction.commit().await.map_err(doing)?;
    Ok(Replay {
        id,
        events,
        gone: request.gone(&retained),
        retained,
    })
}

/// The request with the sequences of the events that it begins and ends with in place of their ids.
async fn in_sequences(
    client: &Client,
    request: &ReplayRequest,
    retained: &Retained,
) -> Result<ReplayRequest, StoreError> {
    let mut request = request.clone();
    if let Some(id) = request.from_id.take() {
        request.from_sequence = Some(sequence(client, id, "min", retained).await?);
    }
    if let Some(id) = request.to_id.take() {
        request.to_sequence = Some(sequence(client, id, "max", retained).await?);
    }
    request.check()?;
    Ok(request)
}

/// The sequence of an event; the lowest or the highest where an application used an id several times.
async fn sequence(client: &Client, id: Uuid, which: &str, retained: &Retained) -> Result<i64, StoreError> {
    let sql = format!("SELECT {which}(sequence) FROM onewrite.outbox WHERE id = $1");
    let row = client.query_typed_one(&sql, &[(&id, Type::UUID)]).await;
    let row = row.map_err(|error| failed("looking for the event with which the replay begins or ends", error))?;
    row.get::<_, Option<i64>>(0).ok_or_else(|| refused(retained.lacks(id)))
}

/// Returns the request's number and its route's definition, or nothing when there is no such route.
async fn record(transaction: &Transaction<'_>, request: &ReplayRequest) -> Result<Option<(i64, String)>, Error> {
    // A range is where progress begins and where it ends. Inserting and looking whether there is such a route are one statement,
    // so nothing can come between them.
    let insert = format!(
        "WITH route AS (SELECT relay, name, definition FROM onewrite.route WHERE relay = $1 AND name = $2 ORDER BY lane_group LIMIT 1), \
         asked AS (INSERT INTO onewrite.replay (relay, route, since, until, topic, key, ids, progress, up_to) \
             SELECT relay, name, $3::text::timestamptz, $4::text::timestamptz, $5, $6, $7, \
                    greatest($8 - 1, 0), least($9, ({LAST_SEQUENCE})) FROM route RETURNING id) \
         SELECT id, definition FROM asked, route"
    );
    let (since, until) = (
        request.since.map(|at| at.to_string()),
        request.until.map(|at| at.to_string()),
    );
    let ids = (!request.ids.is_empty()).then_some(&request.ids);
    let from = request.from_sequence.unwrap_or(1).max(1);
    let to = request.to_sequence.unwrap_or(i64::MAX);
    let binds: [(&(dyn ToSql + Sync), Type); 9] = [
        (&request.relay, Type::TEXT),
        (&request.route, Type::TEXT),
        (&since, Type::TEXT),
        (&until, Type::TEXT),
        (&request.topic, Type::TEXT),
        (&request.key, Type::TEXT),
        (&ids, Type::UUID_ARRAY),
        (&from, Type::INT8),
        (&to, Type::INT8),
    ];
    let row = transaction.query_typed_opt(&insert, &binds).await?;
    Ok(row.map(|row| (row.get(0), row.get(1))))
}

async fn unknown(transaction: &Transaction<'_>, request: &ReplayRequest) -> Result<StoreError, StoreError> {
    const KNOWN: &str = "SELECT DISTINCT relay, name FROM onewrite.route ORDER BY relay, name";
    let ReplayRequest { relay, route, .. } = request;
    let rows = transaction.query_typed(KNOWN, &[]).await;
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
