//! Making the recorded progress fit the routes.

use std::collections::BTreeSet;

use onewrite_core::routing::Share;
use onewrite_core::{Lease, StoreError, failpoint};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::error::failed;
use super::foreign::is_foreign;
use super::session::{BEGIN, Parameters, fenced};
use super::snapshot::Snapshot;

const ADOPTING: &str = "adopting the routes";

/// See [`Outbox::adopt`](onewrite_core::Outbox::adopt).
pub(super) async fn adopt(client: Client, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
    // The transaction ends with the connection if it is not committed.
    let wrong = |error: Error| failed(ADOPTING, error);
    client.batch_execute(BEGIN).await.map_err(wrong)?;
    if !holds(&client, lease).await.map_err(wrong)? {
        return Err(fenced(lease));
    }
    let recorded = read(&client, lease).await.map_err(wrong)?;
    let beginning = Beginning::of(&client, &recorded).await?;
    for share in shares {
        let definition = share.definition();
        let unchanged = recorded
            .iter()
            .any(|row| row.get::<_, &str>(0) == share.route && row.get::<_, &str>(1) == definition);
        let adopted = match unchanged {
            true => keep(&client, lease, share).await,
            false => rebase(&client, lease, share, &definition, &beginning).await,
        };
        adopted.map_err(wrong)?;
    }
    remove_others(&client, lease, shares).await.map_err(wrong)?;
    failpoint::reach("adopt.before");
    client.batch_execute("COMMIT").await.map_err(wrong)?;
    failpoint::reach("adopt.after");
    Ok(())
}

/// Where a route that is new or takes other events begins.
struct Beginning {
    floor: String,
    low: i64,
    pending: Vec<i64>,
}

impl Beginning {
    /// The lowest of the recorded floors, with what is pending below it: what is pending above will be read anyway.
    async fn of(client: &Client, recorded: &[Row]) -> Result<Self, StoreError> {
        let mut floors = Vec::with_capacity(recorded.len());
        // What was recorded over a table of others says nothing about the outbox.
        for row in recorded.iter().filter(|row| !is_foreign(row.get(1))) {
            floors.push(Snapshot::parse(row.get(2), row.get(3))?);
        }
        let Some(floor) = floors.into_iter().min_by_key(Snapshot::extent) else {
            return Ok(Self {
                floor: Snapshot::NOTHING.to_owned(),
                low: 0,
                pending: Vec::new(),
            });
        };
        let pending: BTreeSet<i64> = recorded.iter().flat_map(|row| row.get::<_, Vec<i64>>(4)).collect();
        let pending = below(client, &floor, pending.into_iter().collect())
            .await
            .map_err(|error| failed(ADOPTING, error))?;
        Ok(Self {
            floor: floor.text().to_owned(),
            low: floor.low,
            pending,
        })
    }
}

/// Keeps the lease from changing hands until the transaction ends; `false` when it has.
pub(super) async fn holds(client: &Client, lease: &Lease) -> Result<bool, Error> {
    const HOLDS: &str = "SELECT 1 FROM onewrite.relay WHERE name = $1 AND epoch = $2 FOR SHARE";
    let parameters: Parameters<'_> = vec![(&lease.relay, Type::TEXT), (&lease.epoch, Type::INT8)];
    Ok(client.execute_typed(HOLDS, &parameters).await? > 0)
}

async fn read(client: &Client, lease: &Lease) -> Result<Vec<Row>, Error> {
    const READ: &str = "SELECT name, definition, floor_snapshot, floor_sequence, pending FROM onewrite.route \
                        WHERE relay = $1 ORDER BY name FOR UPDATE";
    client.query_typed(READ, &[(&lease.relay, Type::TEXT)]).await
}

async fn below(client: &Client, floor: &Snapshot, sequences: Vec<i64>) -> Result<Vec<i64>, Error> {
    const BELOW: &str = "SELECT sequence FROM onewrite.outbox WHERE sequence = ANY($1) \
                         AND pg_visible_in_snapshot(xid, $2::text::pg_snapshot) ORDER BY sequence";
    if sequences.is_empty() {
        return Ok(sequences);
    }
    let text = floor.text();
    let rows = client
        .query_typed(BELOW, &[(&sequences, Type::INT8_ARRAY), (&text, Type::TEXT)])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Takes a route over as it is.
pub(super) async fn keep(client: &Client, lease: &Lease, share: &Share) -> Result<(), Error> {
    const KEEP: &str = "UPDATE onewrite.route SET epoch = $3 WHERE relay = $1 AND name = $2";
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&share.route, Type::TEXT),
        (&lease.epoch, Type::INT8),
    ];
    client.execute_typed(KEEP, &parameters).await.map(|_| ())
}

async fn rebase(
    client: &Client,
    lease: &Lease,
    share: &Share,
    definition: &str,
    beginning: &Beginning,
) -> Result<(), Error> {
    const REBASE: &str = "\
        INSERT INTO onewrite.route (relay, name, epoch, definition, floor_snapshot, floor_sequence, pending) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) \
        ON CONFLICT (relay, name) DO UPDATE SET epoch = excluded.epoch, definition = excluded.definition, \
          floor_snapshot = excluded.floor_snapshot, floor_sequence = excluded.floor_sequence, window_snapshot = NULL, \
          window_sequence = NULL, pending = excluded.pending, updated_at = clock_timestamp()";
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&share.route, Type::TEXT),
        (&lease.epoch, Type::INT8),
        (&definition, Type::TEXT),
        (&beginning.floor, Type::TEXT),
        (&beginning.low, Type::INT8),
        (&beginning.pending, Type::INT8_ARRAY),
    ];
    client.execute_typed(REBASE, &parameters).await.map(|_| ())
}

/// Removes the progress of routes that are gone.
pub(super) async fn remove_others(client: &Client, lease: &Lease, shares: &[Share]) -> Result<(), Error> {
    const REMOVE: &str = "DELETE FROM onewrite.route WHERE relay = $1 AND name <> ALL($2)";
    let names: Vec<&str> = shares.iter().map(|share| share.route.as_str()).collect();
    client
        .execute_typed(REMOVE, &[(&lease.relay, Type::TEXT), (&names, Type::TEXT_ARRAY)])
        .await
        .map(|_| ())
}
