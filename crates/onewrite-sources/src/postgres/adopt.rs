//! Making the recorded progress fit the routes.

use std::collections::BTreeSet;

use onewrite_core::routing::{Group, Share};
use onewrite_core::{Lease, StoreError, failpoint};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::error::failed;
use super::foreign::is_foreign;
use super::lease::{LOCK_LAYOUT, small};
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
    if is_of_this_layout(&client, lease).await.map_err(wrong)? {
        fit(&client, lease, shares).await?;
    } else {
        lay_out(&client, lease, shares).await?;
    }
    failpoint::reach("adopt.before");
    client.batch_execute("COMMIT").await.map_err(wrong)?;
    failpoint::reach("adopt.after");
    Ok(())
}

/// Makes the progress of the lease's group fit its routes.
async fn fit(client: &Client, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
    let wrong = |error: Error| failed(ADOPTING, error);
    let recorded = read(client, lease, Some(lease.group.index)).await.map_err(wrong)?;
    let beginning = Beginning::of(client, &recorded).await?;
    for share in shares {
        let definition = share.definition();
        let unchanged = recorded
            .iter()
            .any(|row| row.get::<_, &str>(0) == share.route && row.get::<_, &str>(1) == definition);
        let adopted = match unchanged {
            true => keep(client, lease, share).await,
            false => rebase(client, lease, share, &definition, &beginning).await,
        };
        adopted.map_err(wrong)?;
    }
    remove_others(client, lease, shares).await.map_err(wrong)
}

/// Makes the progress of all groups anew, from that of another layout or of none.
async fn lay_out(client: &Client, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
    const CLEAR: &str = "DELETE FROM onewrite.route WHERE relay = $1";
    const REPLAYS: &str =
        "UPDATE onewrite.replay SET group_progress = NULL WHERE relay = $1 AND group_progress IS NOT NULL";
    const LAY_OUT: &str = "\
        INSERT INTO onewrite.route (relay, name, lane_group, lane_groups, epoch, definition, floor_snapshot, floor_sequence, \
                                    pending, paused, halted, state, delivered, failed) \
        SELECT $1, anew.name, anew.lane_group, $2, anew.epoch, anew.definition, $3, $4, $5, anew.paused, anew.halted, anew.state, \
               anew.delivered, anew.failed \
        FROM unnest($6::text[], $7::smallint[], $8::bigint[], $9::text[], $10::boolean[], $11::text[], $12::text[], $13::bigint[], \
                    $14::bigint[]) \
             AS anew (name, lane_group, epoch, definition, paused, halted, state, delivered, failed)";
    let wrong = |error: Error| failed(ADOPTING, error);
    let recorded = read(client, lease, None).await.map_err(wrong)?;
    let beginning = Beginning::of(client, &recorded).await?;
    let of_relay: Parameters<'_> = vec![(&lease.relay, Type::TEXT)];
    client.execute_typed(CLEAR, &of_relay).await.map_err(wrong)?;
    client.execute_typed(REPLAYS, &of_relay).await.map_err(wrong)?;
    let columns = Columns::new(lease, shares, &recorded);
    let count = small(lease.group.count);
    let mut parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&count, Type::INT2),
        (&beginning.floor, Type::TEXT),
        (&beginning.low, Type::INT8),
        (&beginning.pending, Type::INT8_ARRAY),
    ];
    parameters.extend(columns.bind());
    client.execute_typed(LAY_OUT, &parameters).await.map_err(wrong)?;
    if !recorded.is_empty() {
        tracing::info!(relay = %lease.relay, groups = lease.group.count, "the number of groups has changed: every group begins at the lowest \
                       recorded place, so some events may come twice");
    }
    Ok(())
}

/// The rows of a new layout, as arrays: each route in each group. What people asked of a route, and what it has done, is kept.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    groups: Vec<i16>,
    epochs: Vec<i64>,
    definitions: Vec<String>,
    paused: Vec<bool>,
    halted: Vec<Option<String>>,
    states: Vec<&'static str>,
    delivered: Vec<i64>,
    failed: Vec<i64>,
}

impl Columns {
    fn new(lease: &Lease, shares: &[Share], recorded: &[Row]) -> Self {
        let mut columns = Self::default();
        for share in shares {
            let before: Vec<&Row> = recorded
                .iter()
                .filter(|row| row.get::<_, &str>(0) == share.route)
                .collect();
            let paused = before.iter().any(|row| row.get(5));
            let halted: Option<String> = before.iter().find_map(|row| row.get(6));
            for group in Group::each(lease.group.count) {
                // Sums are the first group's.
                let sum = |column: usize| match group.index {
                    0 => before.iter().map(|row| row.get::<_, i64>(column)).sum(),
                    _ => 0,
                };
                columns.names.push(share.route.clone());
                columns.groups.push(small(group.index));
                // The other groups are nobody's until their holders adopt them.
                columns.epochs.push(if group == lease.group { lease.epoch } else { 0 });
                columns.definitions.push(share.in_group(group).definition());
                columns.paused.push(paused);
                columns.states.push(match (&halted, paused) {
                    (Some(_), _) => "halted",
                    (None, true) => "paused",
                    (None, false) => "running",
                });
                columns.halted.push(halted.clone());
                columns.delivered.push(sum(7));
                columns.failed.push(sum(8));
            }
        }
        columns
    }

    fn bind(&self) -> Parameters<'_> {
        vec![
            (&self.names, Type::TEXT_ARRAY),
            (&self.groups, Type::INT2_ARRAY),
            (&self.epochs, Type::INT8_ARRAY),
            (&self.definitions, Type::TEXT_ARRAY),
            (&self.paused, Type::BOOL_ARRAY),
            (&self.halted, Type::TEXT_ARRAY),
            (&self.states, Type::TEXT_ARRAY),
            (&self.delivered, Type::INT8_ARRAY),
            (&self.failed, Type::INT8_ARRAY),
        ]
    }
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

/// Keeps the lease from changing hands, and the relay its layout, until the transaction ends; `false` when it has.
pub(super) async fn holds(client: &Client, lease: &Lease) -> Result<bool, Error> {
    client.execute_typed(LOCK_LAYOUT, &[(&lease.relay, Type::TEXT)]).await?;
    const HOLDS: &str = "SELECT 1 FROM onewrite.relay WHERE name = $1 AND epoch = $2 FOR SHARE";
    let parameters: Parameters<'_> = vec![(&lease.relay, Type::TEXT), (&lease.epoch, Type::INT8)];
    Ok(client.execute_typed(HOLDS, &parameters).await? > 0)
}

/// Whether what is recorded is of the lease's layout.
async fn is_of_this_layout(client: &Client, lease: &Lease) -> Result<bool, Error> {
    const LAYOUT: &str = "SELECT coalesce(bool_and(lane_groups = $2), false) FROM onewrite.route WHERE relay = $1";
    let count = small(lease.group.count);
    let parameters: Parameters<'_> = vec![(&lease.relay, Type::TEXT), (&count, Type::INT2)];
    Ok(client.query_typed_one(LAYOUT, &parameters).await?.get(0))
}

/// What is recorded, of one group or of all.
async fn read(client: &Client, lease: &Lease, group: Option<u32>) -> Result<Vec<Row>, Error> {
    const READ: &str = "SELECT name, definition, floor_snapshot, floor_sequence, pending, paused, halted, delivered, failed \
                        FROM onewrite.route WHERE relay = $1 AND lane_group = coalesce($2, lane_group) \
                        ORDER BY name, lane_group FOR UPDATE";
    let group = group.map(small);
    let parameters: Parameters<'_> = vec![(&lease.relay, Type::TEXT), (&group, Type::INT2)];
    client.query_typed(READ, &parameters).await
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
    const KEEP: &str = "UPDATE onewrite.route SET epoch = $3 WHERE relay = $1 AND name = $2 AND lane_group = $4";
    let group = small(lease.group.index);
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&share.route, Type::TEXT),
        (&lease.epoch, Type::INT8),
        (&group, Type::INT2),
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
        INSERT INTO onewrite.route (relay, name, epoch, definition, floor_snapshot, floor_sequence, pending, lane_group, lane_groups) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
        ON CONFLICT (relay, name, lane_group) DO UPDATE SET epoch = excluded.epoch, definition = excluded.definition, \
          floor_snapshot = excluded.floor_snapshot, floor_sequence = excluded.floor_sequence, window_snapshot = NULL, \
          window_sequence = NULL, pending = excluded.pending, updated_at = clock_timestamp()";
    let (index, count) = (small(lease.group.index), small(lease.group.count));
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&share.route, Type::TEXT),
        (&lease.epoch, Type::INT8),
        (&definition, Type::TEXT),
        (&beginning.floor, Type::TEXT),
        (&beginning.low, Type::INT8),
        (&beginning.pending, Type::INT8_ARRAY),
        (&index, Type::INT2),
        (&count, Type::INT2),
    ];
    client.execute_typed(REBASE, &parameters).await.map(|_| ())
}

/// Removes the progress of routes that are gone, in the lease's group, and whatever is of another layout.
pub(super) async fn remove_others(client: &Client, lease: &Lease, shares: &[Share]) -> Result<(), Error> {
    const REMOVE: &str = "DELETE FROM onewrite.route WHERE relay = $1 \
                          AND ((lane_group = $3 AND name <> ALL($2)) OR lane_groups <> $4)";
    let names: Vec<&str> = shares.iter().map(|share| share.route.as_str()).collect();
    let (index, count) = (small(lease.group.index), small(lease.group.count));
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&names, Type::TEXT_ARRAY),
        (&index, Type::INT2),
        (&count, Type::INT2),
    ];
    client.execute_typed(REMOVE, &parameters).await.map(|_| ())
}
