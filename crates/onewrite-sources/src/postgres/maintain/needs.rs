//! Who still needs the events of a segment.

use tokio_postgres::{Client, Error, Row};

/// Something for which a segment is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgres) enum Need {
    /// No route has recorded progress: nobody can tell what is settled.
    NothingRecorded,
    /// A route has not settled all of it.
    Route { relay: String, route: String },
    /// A replay is not through with it.
    Replay { id: i64, relay: String, route: String },
}

/// Everything for which a segment is kept, nothing where it is free. What a snapshot does not see are the transactions from its
/// xmax on and those that were under way, so that a few probes of an index find a row of theirs; a transaction of [`BEGIN_READING`]
/// sees to it that the index is used.
///
/// [`BEGIN_READING`]: super::super::session::BEGIN_READING
pub(in crate::postgres) async fn needs(client: &Client, segment: &str) -> Result<Vec<Need>, Error> {
    // A lateral row for each is what leads the planner to the index, whatever it believes about the values.
    let routes = format!(
        "SELECT DISTINCT relay, name FROM onewrite.route WHERE \
         EXISTS (SELECT 1 FROM onewrite.{segment} WHERE xid >= pg_snapshot_xmax(floor_snapshot::pg_snapshot)) \
         OR EXISTS (SELECT 1 FROM pg_snapshot_xip(floor_snapshot::pg_snapshot) AS under_way, \
                    LATERAL (SELECT 1 FROM onewrite.{segment} WHERE xid = under_way LIMIT 1) AS of_it) \
         OR EXISTS (SELECT 1 FROM unnest(pending) AS left_behind, \
                    LATERAL (SELECT 1 FROM onewrite.{segment} WHERE sequence = left_behind LIMIT 1) AS of_it) \
         ORDER BY relay, name"
    );
    // A replay of a route that is gone never ends.
    let replays = format!(
        "SELECT DISTINCT replay.id, route.relay, route.name FROM onewrite.replay JOIN onewrite.route \
         ON route.relay = replay.relay AND route.name = replay.route WHERE finished_at IS NULL \
         AND progress < (SELECT max(sequence) FROM onewrite.{segment}) \
         AND up_to >= (SELECT min(sequence) FROM onewrite.{segment}) ORDER BY replay.id"
    );
    let none = "SELECT 1 FROM onewrite.route LIMIT 1";
    let (any, routes, replays) = futures::try_join!(
        client.query_typed_opt(none, &[]),
        client.query_typed(&routes, &[]),
        client.query_typed(&replays, &[])
    )?;
    let nothing = any.is_none().then_some(Need::NothingRecorded);
    let route = |row: &Row| Need::Route {
        relay: row.get(0),
        route: row.get(1),
    };
    let replay = |row: &Row| Need::Replay {
        id: row.get(0),
        relay: row.get(1),
        route: row.get(2),
    };
    Ok(nothing
        .into_iter()
        .chain(routes.iter().map(route))
        .chain(replays.iter().map(replay))
        .collect())
}
