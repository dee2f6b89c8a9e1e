//! How far a route is in the log: all up to a position is settled, but for a few.

use std::collections::BTreeSet;

use onewrite_core::{Position, Settlement, StoreError, StoreFailure};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::super::session::{BEGIN, Parameters, Session};

/// Recorded progress. A position's generation is where its transaction's commit lies in the log, its sequence the place in the
/// transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Everything up to here is settled; `None` while nothing is.
    pub through: Option<Position>,
    /// What at or below `through` is not.
    pub pending: BTreeSet<Position>,
}

/// The same as columns of `onewrite.route`.
pub(super) struct Columns {
    pub commit: Option<i64>,
    pub index: Option<i64>,
    /// Commits and indexes by turns.
    pub pending: Vec<i64>,
}

impl Progress {
    /// Reads the columns `log_commit`, `log_index` and `log_pending`, which begin at `first`.
    pub fn from_row(row: &Row, first: usize) -> Self {
        let (commit, index): (Option<i64>, Option<i64>) = (row.get(first), row.get(first + 1));
        let pending: Vec<i64> = row.get(first + 2);
        let (pairs, _) = pending.as_chunks::<2>();
        Self {
            through: commit.map(|commit| position(commit, index.unwrap_or_default())),
            pending: pairs.iter().map(|[commit, index]| position(*commit, *index)).collect(),
        }
    }

    /// Where a route begins that is new or takes other events: at the lowest place of all, with all that is pending below it.
    pub fn lowest(all: impl Iterator<Item = Self>) -> Self {
        let all: Vec<Self> = all.collect();
        let through = all.iter().map(|progress| progress.through).min().flatten();
        let pending = all.into_iter().flat_map(|progress| progress.pending);
        Self {
            through,
            pending: pending.filter(|position| Some(*position) <= through).collect(),
        }
    }

    /// Whether an event is settled.
    pub fn is_settled(&self, position: Position) -> bool {
        Some(position) <= self.through && !self.pending.contains(&position)
    }

    /// Takes in a settlement of an incarnation that began at `carried`: what that had pending and the incarnation has not come to
    /// yet stays pending.
    pub fn settled(&self, carried: &BTreeSet<Position>, settlement: &Settlement) -> Self {
        let later = carried.iter().filter(|position| Some(**position) > settlement.through);
        Self {
            through: self.through.max(settlement.through),
            pending: later.chain(&settlement.pending).copied().collect(),
        }
    }

    /// The columns that say the same.
    pub fn columns(&self) -> Columns {
        let through = self.through;
        let pending = self.pending.iter();
        Columns {
            commit: through.map(|position| position.generation.cast_signed()),
            index: through.map(|position| position.sequence.cast_signed()),
            pending: pending
                .flat_map(|position| [position.generation.cast_signed(), position.sequence.cast_signed()])
                .collect(),
        }
    }

    /// Reads a route's progress, under the fence.
    pub async fn load(session: &Session, route: &str) -> Result<Self, StoreError> {
        const LOAD: &str =
            "SELECT epoch, log_commit, log_index, log_pending FROM onewrite.route WHERE relay = $1 AND name = $2";
        let lease = session.lease();
        let parameters: Parameters<'_> = vec![(&lease.relay, Type::TEXT), (&route, Type::TEXT)];
        let read = session.client().query_typed_opt(LOAD, &parameters);
        let (row, _) = session.fenced("reading the recorded progress", BEGIN, read).await?;
        let Some(row) = row else {
            let words = format!(
                "route {route:?} of relay {:?} has no recorded progress; start the relay anew",
                lease.relay
            );
            return Err(StoreError::new(StoreFailure::Refused, words));
        };
        session.held(u64::from(row.get::<_, i64>(0) == lease.epoch))?;
        Ok(Self::from_row(&row, 1))
    }

    /// Records it durably, unless the lease is another's by now.
    pub async fn record(&self, session: &Session, route: &str) -> Result<(), StoreError> {
        /// The row's own epoch is compared as well: an update that waited for the next holder's sees that holder's row.
        const RECORD: &str = "UPDATE onewrite.route SET log_commit = $4, log_index = $5, log_pending = $6, \
                              updated_at = clock_timestamp() FROM onewrite.relay WHERE relay.name = $1 AND relay.epoch = $3 \
                              AND route.relay = $1 AND route.name = $2 AND route.epoch = $3";
        let (lease, columns) = (session.lease(), self.columns());
        let parameters: Parameters<'_> = vec![
            (&lease.relay, Type::TEXT),
            (&route, Type::TEXT),
            (&lease.epoch, Type::INT8),
            (&columns.commit, Type::INT8),
            (&columns.index, Type::INT8),
            (&columns.pending, Type::INT8_ARRAY),
        ];
        let update = session.client().execute_typed(RECORD, &parameters);
        let recorded = session.transaction("recording progress", BEGIN, update).await?;
        session.held(recorded)
    }
}

fn position(commit: i64, index: i64) -> Position {
    Position::new(commit.cast_unsigned(), index.cast_unsigned())
}
