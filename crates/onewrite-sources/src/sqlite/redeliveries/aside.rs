//! Reading events that are set aside and may be delivered again.

use std::collections::{BTreeSet, HashSet};

use onewrite_core::routing::{Share, UNROUTED};
use onewrite_core::{BatchLimit, Position, Sourced};
use rusqlite::{Connection, params};

use super::super::reading::Room;
use super::super::rows::{EVENT_WIDTH, PARKED_COLUMNS, event_of, is_taken};
use super::Item;

/// The keys are found by one probe of the index each, and then whether anything is parked of them, since this is asked twice a
/// second and a parked event may hold back a hundred thousand.
const HELD: &str = "\
    WITH RECURSIVE keys (key) AS (\
      SELECT * FROM (SELECT key FROM onewrite_parked_event WHERE relay = ?1 AND route = ?2 AND key IS NOT NULL \
                     ORDER BY key LIMIT 1) \
      UNION ALL \
      SELECT (SELECT next.key FROM onewrite_parked_event AS next WHERE next.relay = ?1 AND next.route = ?2 \
              AND next.key > keys.key ORDER BY next.key LIMIT 1) FROM keys WHERE keys.key IS NOT NULL) \
    SELECT held.sequence, held.id FROM keys CROSS JOIN onewrite_parked_event AS held ON held.id IN (\
        SELECT id FROM onewrite_parked_event AS of_key WHERE of_key.relay = ?1 AND of_key.route = ?2 \
        AND of_key.key = keys.key AND of_key.state = 'held' ORDER BY of_key.sequence LIMIT ?3) \
    WHERE keys.key IS NOT NULL AND NOT EXISTS (SELECT 1 FROM onewrite_parked_event AS poison \
        WHERE poison.relay = ?1 AND poison.route = ?2 AND poison.key = keys.key AND poison.state = 'parked')";

/// What may be delivered again, lowest sequence first: the route's own events under retry (those of the catch-all only while
/// no route takes them), its held events of keys that nothing is parked of, and the catch-all's events under retry that the
/// route takes. `out` are under way already.
pub(super) fn read(
    connection: &mut Connection,
    share: &Share,
    out: &HashSet<i64>,
    limit: BatchLimit,
) -> rusqlite::Result<Vec<(Item, Sourced)>> {
    // One snapshot for all: between two statements an operator may mark an event.
    let transaction = connection.transaction()?;
    let mut candidates = Candidates {
        connection: &transaction,
        share,
        out,
        most: limit.events.max(1),
        found: BTreeSet::new(),
    };
    candidates.retried(&share.route)?;
    if share.route != UNROUTED {
        candidates.retried(UNROUTED)?;
    }
    candidates.held()?;
    let found = candidates.found;
    let events = load(&transaction, &found, limit)?;
    transaction.commit()?;
    Ok(events)
}

/// The lowest of what may be delivered again, as sequence and number.
struct Candidates<'a> {
    connection: &'a Connection,
    share: &'a Share,
    out: &'a HashSet<i64>,
    most: usize,
    found: BTreeSet<(i64, i64)>,
}

impl Candidates<'_> {
    /// Events under retry of this route or of the catch-all.
    fn retried(&mut self, route: &str) -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT {PARKED_COLUMNS}, sequence, id FROM onewrite_parked_event \
             WHERE relay = ?1 AND route = ?2 AND state = 'retry' ORDER BY sequence"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((&self.share.relay, route))?;
        let mut taken = 0;
        while taken < self.most
            && let Some(row) = rows.next()?
        {
            if route != UNROUTED || is_taken(row, self.share)? {
                taken += usize::from(self.add(row.get(EVENT_WIDTH)?, row.get(EVENT_WIDTH + 1)?));
            }
        }
        Ok(())
    }

    /// Held events of keys that nothing is parked of.
    fn held(&mut self) -> rusqlite::Result<()> {
        // What is under way counts for each key's limit, since it is passed over here and not by the database.
        let most = self.most + self.out.len();
        let mut statement = self.connection.prepare_cached(HELD)?;
        let mut rows = statement.query(params![self.share.relay, self.share.route, most as i64])?;
        while let Some(row) = rows.next()? {
            self.add(row.get(0)?, row.get(1)?);
        }
        Ok(())
    }

    /// Adds one and drops the highest where there are too many.
    fn add(&mut self, sequence: i64, id: i64) -> bool {
        if self.out.contains(&id) {
            return false;
        }
        self.found.insert((sequence, id));
        if self.found.len() > self.most {
            self.found.pop_last();
        }
        true
    }
}

fn load(
    connection: &Connection,
    found: &BTreeSet<(i64, i64)>,
    limit: BatchLimit,
) -> rusqlite::Result<Vec<(Item, Sourced)>> {
    let sql = format!("SELECT {PARKED_COLUMNS} FROM onewrite_parked_event WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let (mut events, mut room) = (Vec::new(), Room::new(limit));
    for (_, id) in found {
        if room.is_full() {
            break;
        }
        let sourced = statement.query_row([id], |row| event_of(row, Position::new(0, 0)))?;
        room.take(&sourced);
        events.push((Item::Aside(*id), sourced));
    }
    Ok(events)
}
