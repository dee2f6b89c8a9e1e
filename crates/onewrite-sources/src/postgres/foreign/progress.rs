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

    /// Everything before this place in the log is settled.
    pub fn before(place: u64) -> Self {
        Self {
            through: Some(Position::new(place.saturating_sub(1), i64::MAX.cast_unsigned())),
            pending: BTreeSet::new(),
        }
    }

    /// Where a route begins that is new or takes other events: at the lowest place of all, with all that is pending below it. `None`
    /// where there are none.
    pub fn lowest(all: impl Iterator<Item = Self>) -> Option<Self> {
        let all: Vec<Self> = all.collect();
        let through = all.iter().map(|progress| progress.through).min()?;
        let pending = all.into_iter().flat_map(|progress| progress.pending);
        Some(Self {
            through,
            pending: pending.filter(|position| Some(*position) <= through).collect(),
        })
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

#[cfg(test)]
mod tests {
    use onewrite_core::ledger::Ledger;
    use proptest::prelude::*;

    use super::*;

    fn at(number: u64) -> Position {
        // Three events to a transaction.
        Position::new(100 + number / 3, number % 3)
    }

    #[test]
    fn a_new_route_begins_where_the_slowest_stands() {
        let progress = |through: Option<u64>, pending: &[u64]| Progress {
            through: through.map(at),
            pending: pending.iter().copied().map(at).collect(),
        };
        let of = |all: &[Progress]| Progress::lowest(all.iter().cloned());
        assert_eq!(of(&[]), None);
        let all = [
            progress(Some(9), &[2, 7]),
            progress(Some(4), &[1]),
            progress(Some(20), &[]),
        ];
        assert_eq!(of(&all), Some(progress(Some(4), &[1, 2])));
        assert_eq!(
            of(&[progress(Some(9), &[2]), progress(None, &[])]),
            Some(progress(None, &[]))
        );
        let before = Progress::before(101);
        assert!(before.is_settled(at(2)) && !before.is_settled(at(3)));
    }

    proptest! {
        /// Whatever is settled and retried in whatever incarnation, what is recorded is exactly what was settled and recorded.
        #[test]
        fn recorded_progress_is_exact(
            incarnations in prop::collection::vec((1_u64..12, prop::collection::vec((0_u64..40, 0_u8..3), 0..30)), 1..6)
        ) {
            let mut recorded = Progress::default();
            let mut settled: BTreeSet<u64> = BTreeSet::new();
            for (reads, steps) in incarnations {
                let (mut ledger, carried) = (Ledger::default(), recorded.pending.clone());
                let lacking: Vec<u64> = (0..40).filter(|number| !recorded.is_settled(at(*number))).collect();
                let handed_out = &lacking[..lacking.len().min(reads as usize)];
                handed_out.iter().for_each(|number| ledger.hand_out(at(*number)));
                let mut done = BTreeSet::new();
                for (pick, step) in steps {
                    let Some(number) = handed_out.get(pick as usize % handed_out.len().max(1)) else { break };
                    match step {
                        0 => ledger.retry(at(*number)),
                        1 => { ledger.settle(at(*number)); done.insert(*number); }
                        _ => if let Some(settlement) = ledger.settlement() {
                            recorded = recorded.settled(&carried, &settlement);
                            ledger.recorded();
                            let covers = |number: &&u64| {
                                Some(at(**number)) <= settlement.through && !settlement.pending.contains(&at(**number))
                            };
                            settled.extend(done.iter().filter(covers));
                        }
                    }
                }
                for number in 0..40 {
                    prop_assert_eq!(recorded.is_settled(at(number)), settled.contains(&number), "number {}", number);
                }
                let columns = recorded.columns();
                prop_assert_eq!(columns.pending.len(), 2 * recorded.pending.len());
            }
        }
    }
}
