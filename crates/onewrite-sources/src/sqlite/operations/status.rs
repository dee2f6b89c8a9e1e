//! What `onewrite status` shows of an SQLite outbox.

use std::time::Duration;

use onewrite::sqlite::current_version;
use onewrite_core::limits::UNSETTLED_COUNT_MAX;
use onewrite_core::routing::Share;
use onewrite_core::store::{RelayStatus, RouteStatus, SegmentStatus, Status};
use rusqlite::{Connection, Row, Rows};

use super::super::alarms;
use super::super::error::unreadable;
use super::super::outbox::LASTS;
use super::super::progress::Progress;
use super::history;

/// Reads everything in one transaction, so that the figures belong together, and the alarms before it.
pub(super) fn read(connection: &mut Connection, retention: Duration) -> rusqlite::Result<Status> {
    let alarms = alarms::look(connection, retention)?;
    let transaction = connection.transaction()?;
    let status = Status {
        alarms,
        schema_version: current_version(&transaction)?,
        relays: relays(&transaction)?,
        routes: routes(&transaction)?,
        segments: vec![segment(&transaction)?],
        retained: history::retained(&transaction)?,
        replays: history::replays(&transaction)?,
    };
    transaction.commit()?;
    Ok(status)
}

fn relays(connection: &Connection) -> rusqlite::Result<Vec<RelayStatus>> {
    let sql = format!(
        "SELECT name, CASE WHEN {LASTS} THEN holder END, epoch, unixepoch('subsec') - renewed_at FROM onewrite_relay ORDER BY name"
    );
    let relay = |row: &Row<'_>| {
        Ok(RelayStatus {
            name: row.get(0)?,
            holder: row.get(1)?,
            epoch: row.get(2)?,
            renewed_seconds_ago: row.get(3)?,
            feed: None,
            feed_reason: None,
            slot: None,
            groups: Vec::new(),
        })
    };
    connection.prepare(&sql)?.query_map([], relay)?.collect()
}

fn routes(connection: &Connection) -> rusqlite::Result<Vec<RouteStatus>> {
    const ROUTES: &str = "SELECT relay, name, state, halted, delivered, failed, last_error, definition, sequence, pending, \
        (SELECT count(*) FROM onewrite_parked_event p WHERE p.relay = r.relay AND p.route = r.name AND p.state <> 'held'), \
        (SELECT count(*) FROM onewrite_parked_event p WHERE p.relay = r.relay AND p.route = r.name AND p.state = 'held') \
        FROM onewrite_route AS r ORDER BY relay, name";
    let mut statement = connection.prepare(ROUTES)?;
    let mut rows = statement.query([])?;
    let mut routes = Vec::new();
    while let Some(row) = rows.next()? {
        let (relay, route, definition): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(7)?);
        let share = Share::from_definition(&relay, &route, &definition).ok_or_else(|| unreadable(7, NoDefinition))?;
        let (unsettled, lag_seconds) = unsettled(connection, &share, &Progress::of_row(row, 8)?)?;
        routes.push(RouteStatus {
            relay,
            route,
            state: row.get(2)?,
            halted: row.get(3)?,
            unsettled: Some(unsettled),
            lag_seconds,
            delivered: row.get(4)?,
            failed: row.get(5)?,
            parked: row.get(10)?,
            held: row.get(11)?,
            last_error: row.get(6)?,
        });
    }
    Ok(routes)
}

/// How many events of a share are not settled, and the age in seconds of the oldest.
fn unsettled(connection: &Connection, share: &Share, progress: &Progress) -> rusqlite::Result<(i64, Option<f64>)> {
    const AGE: &str = "topic, type, unixepoch('subsec') - unixepoch(occurred_at, 'subsec')";
    let pending = format!("SELECT {AGE} FROM onewrite_outbox WHERE sequence IN (SELECT value FROM json_each(?1))");
    let beyond = format!("SELECT {AGE} FROM onewrite_outbox WHERE sequence > ?1 ORDER BY sequence");
    let mut unsettled = Unsettled {
        share,
        count: 0,
        lag: None,
    };
    unsettled.count(connection.prepare(&pending)?.query([progress.pending_text()])?)?;
    unsettled.count(connection.prepare(&beyond)?.query([progress.sequence])?)?;
    Ok((unsettled.count, unsettled.lag.map(|seconds| seconds.max(0.0))))
}

struct Unsettled<'a> {
    share: &'a Share,
    count: i64,
    lag: Option<f64>,
}

impl Unsettled<'_> {
    fn count(&mut self, mut rows: Rows<'_>) -> rusqlite::Result<()> {
        while self.count < UNSETTLED_COUNT_MAX
            && let Some(row) = rows.next()?
        {
            let topic = String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?);
            let event_type = row.get_ref(1)?.as_bytes_or_null()?.map(String::from_utf8_lossy);
            if self.share.takes(&topic, event_type.as_deref()) {
                self.count += 1;
                let age: f64 = row.get::<_, Option<f64>>(2)?.unwrap_or_default();
                self.lag = Some(self.lag.map_or(age, |lag| lag.max(age)));
            }
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the definition of a route cannot be read; start the relay, which records it anew")]
struct NoDefinition;

fn segment(connection: &Connection) -> rusqlite::Result<SegmentStatus> {
    const BYTES: &str = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    let bytes = connection.query_row(BYTES, [], |row| row.get(0))?;
    Ok(SegmentStatus {
        // Its tables share the file with the application's, and their sizes alone are dear to find out.
        name: "the whole file".to_owned(),
        bytes,
        current: true,
    })
}
