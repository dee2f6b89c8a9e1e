//! How far back the outbox reaches, and the replays from it.

use std::time::Duration;

use onewrite_core::StoreError;
use onewrite_core::limits::{REPLAY_COUNT_TIMEOUT, REPLAY_SHOWN, UNSETTLED_COUNT_MAX};
use onewrite_core::routing::Share;
use onewrite_core::store::{ReplayStatus, Retained};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, GenericClient, Row};

use super::super::asked::{WANTED, asked, progress};
use super::super::error::failed;
use super::super::filter::Filter;
use super::super::rows::Microseconds;

/// How many replays a status lists at the most, the latest first: people ask for a handful.
const REPLAYS: i64 = 20;

/// How far back the outbox's history reaches without a gap.
pub(super) async fn retained(client: &impl GenericClient) -> Result<Retained, Error> {
    const RETAINED: &str = "SELECT max(emptied_until), coalesce(max(emptied_through), 0) + 1 FROM onewrite.relay";
    let row = client.query_typed_one(RETAINED, &[]).await?;
    Ok(Retained {
        since: row.get::<_, Option<Microseconds>>(0).map(Microseconds::timestamp),
        from_sequence: row.get(1),
    })
}

/// Replays that are not through, or were lately.
pub(super) async fn replays(client: &mut Client) -> Result<Vec<ReplayStatus>, StoreError> {
    const LISTED: &str = "\
        SELECT replay.id, replay.relay, replay.route, replay.events, requested_at, finished_at, coalesce(route.definition, '') \
        FROM onewrite.replay LEFT JOIN onewrite.route ON route.relay = replay.relay AND route.name = replay.route AND lane_group = 0 \
        WHERE finished_at IS NULL OR finished_at > clock_timestamp() - make_interval(secs => $1) \
        ORDER BY finished_at IS NULL DESC, replay.id DESC LIMIT $2";
    let wrong = |error| failed("reading the replays", error);
    let shown = REPLAY_SHOWN.as_secs_f64();
    let binds = [(&shown as _, Type::FLOAT8), (&REPLAYS as _, Type::INT8)];
    let rows = client.query_typed(LISTED, &binds).await.map_err(wrong)?;
    let mut replays: Vec<ReplayStatus> = rows.iter().map(replay).collect();
    for (replay, row) in replays.iter_mut().zip(&rows) {
        if replay.finished_at.is_none()
            && let Some(share) = Share::from_definition(&replay.relay, &replay.route, row.get(6))
        {
            replay.left = count(client, replay.id, &share).await.map_err(wrong)?;
        }
    }
    replays.sort_by_key(|replay| replay.id);
    Ok(replays)
}

fn replay(row: &Row) -> ReplayStatus {
    let finished_at: Option<Microseconds> = row.get(5);
    ReplayStatus {
        id: row.get(0),
        relay: row.get(1),
        route: row.get(2),
        events: row.get(3),
        left: finished_at.is_some().then_some(0),
        requested_at: row.get::<_, Microseconds>(4).timestamp(),
        finished_at: finished_at.map(Microseconds::timestamp),
    }
}

/// How many events of a replay are beyond its progress in all groups, of one of which the share is, but for what is set aside or was given up; `None` when counting them takes too long.
pub(super) async fn count(client: &mut impl GenericClient, id: i64, share: &Share) -> Result<Option<i64>, Error> {
    let filter = Filter::of_any_group(share, 3);
    let (asked, progress) = (asked(share.group), progress(share.group.count));
    let sql = format!(
        "{asked} SELECT count(*) FROM asked CROSS JOIN LATERAL (SELECT 1 FROM onewrite.outbox \
         WHERE sequence > {progress} AND {WANTED} AND {} LIMIT $2) AS counted",
        filter.sql
    );
    let mut binds: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&id, Type::INT8), (&UNSETTLED_COUNT_MAX, Type::INT8)];
    filter.bind(&mut binds);
    // Within a transaction this is a savepoint, so that giving up leaves what was done before it.
    let attempt = client.transaction().await?;
    attempt.batch_execute(&within(REPLAY_COUNT_TIMEOUT)).await?;
    match attempt.query_typed_one(&sql, &binds).await {
        Ok(row) => {
            let counted = row.get(0);
            attempt.batch_execute("SET LOCAL statement_timeout = 0").await?;
            attempt.commit().await?;
            Ok(Some(counted))
        }
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
            attempt.rollback().await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn within(time: Duration) -> String {
    format!(
        "SET LOCAL statement_timeout = {}; SET LOCAL enable_seqscan = off; SET LOCAL jit = off",
        time.as_millis()
    )
}
