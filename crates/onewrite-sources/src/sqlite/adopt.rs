//! Making the recorded progress fit the routes.

use onewrite_core::routing::Share;
use rusqlite::{Row, Transaction, params};

use super::progress::Progress;

/// A route as it is recorded.
struct Recorded {
    name: String,
    definition: String,
    progress: Progress,
}

/// See [`Outbox::adopt`](onewrite_core::Outbox::adopt).
pub(super) fn adopt(transaction: &Transaction<'_>, relay: &str, shares: &[Share]) -> rusqlite::Result<()> {
    const ADOPT: &str = "\
        INSERT INTO onewrite_route (relay, name, definition, sequence, pending) VALUES (?1, ?2, ?3, ?4, ?5) \
        ON CONFLICT (relay, name) DO UPDATE SET definition = excluded.definition, sequence = excluded.sequence, \
          pending = excluded.pending, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
    const REMOVE: &str = "DELETE FROM onewrite_route WHERE relay = ?1 AND name = ?2";
    let recorded = read(transaction, relay)?;
    let beginning = beginning(&recorded);
    for share in shares {
        let definition = share.definition();
        let unchanged = recorded
            .iter()
            .any(|route| route.name == share.route && route.definition == definition);
        if !unchanged {
            let bound = params![
                relay,
                share.route,
                definition,
                beginning.sequence,
                beginning.pending_text()
            ];
            transaction.execute(ADOPT, bound)?;
        }
    }
    for route in &recorded {
        if !shares.iter().any(|share| share.route == route.name) {
            transaction.execute(REMOVE, (relay, &route.name))?;
        }
    }
    Ok(())
}

fn read(transaction: &Transaction<'_>, relay: &str) -> rusqlite::Result<Vec<Recorded>> {
    const READ: &str = "SELECT name, definition, sequence, pending FROM onewrite_route WHERE relay = ?1";
    let route = |row: &Row<'_>| {
        Ok(Recorded {
            name: row.get(0)?,
            definition: row.get(1)?,
            progress: Progress::of_row(row, 2)?,
        })
    };
    transaction.prepare(READ)?.query_map([relay], route)?.collect()
}

/// Where a route that is new or takes other events begins: the lowest of the recorded floors, with what is pending below it;
/// what is pending above will be read anyway.
fn beginning(recorded: &[Recorded]) -> Progress {
    let floors = recorded.iter().map(|route| route.progress.sequence);
    let sequence = floors.min().unwrap_or(0);
    let pending = recorded.iter().flat_map(|route| &route.progress.pending);
    let mut pending: Vec<i64> = pending.copied().filter(|pending| *pending <= sequence).collect();
    pending.sort_unstable();
    pending.dedup();
    Progress { sequence, pending }
}
