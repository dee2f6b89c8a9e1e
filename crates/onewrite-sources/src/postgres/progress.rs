//! The progress row of a route: one small update for each settlement.

use onewrite_core::windows::Progress;
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::lease::small;
use super::session::{BEGIN, BEGIN_UNFLUSHED, Parameters, Session};
use super::snapshot::Snapshot;

const LOAD: &str = "SELECT floor_snapshot, floor_sequence, window_snapshot, window_sequence, pending, epoch \
                    FROM onewrite.route WHERE relay = $1 AND name = $2 AND lane_group = $3";

/// The row's own epoch is compared as well: an update that waited for the next holder's sees that holder's row.
const RECORD: &str = "UPDATE onewrite.route SET floor_snapshot = $4, floor_sequence = $5, window_snapshot = $6, \
                      window_sequence = $7, pending = $8, updated_at = clock_timestamp() FROM onewrite.relay \
                      WHERE relay.name = $1 AND relay.epoch = $3 \
                      AND route.relay = $1 AND route.name = $2 AND route.epoch = $3";

/// Reads a route's progress, under the fence. Also returns the last sequence value drawn before the fence.
pub(super) async fn load(session: &Session, route: &str) -> Result<(Progress<Snapshot>, i64), StoreError> {
    let lease = session.lease();
    let group = small(lease.group.index);
    let parameters: Parameters<'_> = vec![(&lease.relay, Type::TEXT), (&route, Type::TEXT), (&group, Type::INT2)];
    let read = session.client().query_typed_opt(LOAD, &parameters);
    let (row, low) = session.fenced("reading the recorded progress", BEGIN, read).await?;
    let Some(row) = row else {
        let words = format!(
            "route {route:?} of relay {:?} has no recorded progress; start the relay anew",
            lease.relay
        );
        return Err(StoreError::new(StoreFailure::Refused, words));
    };
    session.held(u64::from(row.get::<_, i64>(5) == lease.epoch))?;
    Ok((from_row(&row)?, low))
}

/// Records progress, unless the lease is another's by now. A crash of the server may take the last records back, and what they
/// covered is then handed out again. Nothing else depends on them that could stay: what empties a segment, and what parks an event,
/// commits later in the same log, so it is on disk only where they are.
pub(super) async fn record(session: &Session, route: &str, progress: &Progress<Snapshot>) -> Result<(), StoreError> {
    let lease = session.lease();
    let (floor, low) = (progress.floor.text(), progress.floor.low);
    let window = progress.window.as_ref().map(Snapshot::text);
    let sequence = window.map(|_| progress.sequence.cast_signed());
    let pending: Vec<i64> = progress.pending.iter().map(|sequence| sequence.cast_signed()).collect();
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&route, Type::TEXT),
        (&lease.epoch, Type::INT8),
        (&floor, Type::TEXT),
        (&low, Type::INT8),
        (&window, Type::TEXT),
        (&sequence, Type::INT8),
        (&pending, Type::INT8_ARRAY),
    ];
    let update = session.client().execute_typed(RECORD, &parameters);
    let recorded = session
        .transaction("recording progress", BEGIN_UNFLUSHED, update)
        .await?;
    session.held(recorded)
}

fn from_row(row: &Row) -> Result<Progress<Snapshot>, StoreError> {
    let low: i64 = row.get(1);
    let window: Option<&str> = row.get(2);
    let pending: Vec<i64> = row.get(4);
    Ok(Progress {
        floor: Snapshot::parse(row.get(0), low)?,
        // Of a later snapshot the floor's bound holds as well.
        window: window.map(|text| Snapshot::parse(text, low)).transpose()?,
        sequence: row.get::<_, Option<i64>>(3).unwrap_or(0).cast_unsigned(),
        pending: pending.into_iter().map(i64::cast_unsigned).collect(),
    })
}
