//! What `onewrite status` shows of an SQLite outbox.

use onewrite_core::routing::Share;
use onewrite_core::store::{RelayStatus, RouteStatus, SegmentStatus, Status, UNSETTLED_COUNT_MAX};
use rusqlite::{Connection, Row};

use super::place::schema_version;

/// Reads everything in one transaction, so that the figures belong together.
pub(super) fn read(connection: &mut Connection) -> rusqlite::Result<Status> {
    let transaction = connection.transaction()?;
    let status = Status {
        schema_version: schema_version(&transaction)?,
        relays: relays(&transaction)?,
        routes: routes(&transaction)?,
        segments: vec![segment(&transaction)?],
    };
    transaction.commit()?;
    Ok(status)
}

fn relays(connection: &Connection) -> rusqlite::Result<Vec<RelayStatus>> {
    const RELAYS: &str = "SELECT name, CASE WHEN expires_at > unixepoch('subsec') THEN holder END, epoch, \
                          unixepoch('subsec') - renewed_at FROM onewrite_relay ORDER BY name";
    let relay = |row: &Row<'_>| {
        Ok(RelayStatus {
            name: row.get(0)?,
            holder: row.get(1)?,
            epoch: row.get(2)?,
            renewed_seconds_ago: row.get(3)?,
        })
    };
    connection.prepare(RELAYS)?.query_map([], relay)?.collect()
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
        let (relay, route): (String, String) = (row.get(0)?, row.get(1)?);
        let share = Share::from_definition(&relay, &route, row.get_ref(7)?.as_str()?);
        let (unsettled, lag_seconds) = unsettled(connection, share.as_ref(), row.get(8)?, row.get_ref(9)?.as_str()?)?;
        routes.push(RouteStatus {
            relay,
            route,
            state: row.get(2)?,
            halted: row.get(3)?,
            unsettled,
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

/// How many events of a share are not settled, and the age of the oldest.
fn unsettled(
    connection: &Connection,
    share: Option<&Share>,
    settled: i64,
    pending: &str,
) -> rusqlite::Result<(i64, Option<f64>)> {
    const UNSETTLED: &str = "SELECT topic, type, (julianday('now') - julianday(occurred_at)) * 86400.0 FROM onewrite_outbox \
                             WHERE sequence > ?1 OR sequence IN (SELECT value FROM json_each(?2)) ORDER BY sequence";
    let (mut count, mut lag) = (0, None);
    let mut statement = connection.prepare(UNSETTLED)?;
    let mut rows = statement.query((settled, pending))?;
    while count < UNSETTLED_COUNT_MAX
        && let Some(row) = rows.next()?
    {
        let (topic, event_type) = (row.get_ref(0)?, row.get_ref(1)?);
        if share.is_none_or(|share| share.takes(topic.as_str().unwrap_or_default(), event_type.as_str().ok())) {
            count += 1;
            lag = lag.or(row.get(2)?);
        }
    }
    Ok((count, lag.map(|seconds: f64| seconds.max(0.0))))
}

fn segment(connection: &Connection) -> rusqlite::Result<SegmentStatus> {
    const BYTES: &str = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    let bytes = connection.query_row(BYTES, [], |row| row.get(0))?;
    Ok(SegmentStatus {
        name: "the whole file".to_owned(),
        bytes,
        current: true,
    })
}
