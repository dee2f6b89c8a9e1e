//! Relays, routes and segments at a glance.

use std::time::Duration;

use onewrite_core::alarm::AlarmThresholds;
use onewrite_core::limits::UNSETTLED_COUNT_MAX;
use onewrite_core::routing::Share;
use onewrite_core::store::{GroupStatus, RelayStatus, RouteStatus, SegmentStatus, Status};
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, IsolationLevel, Row, Transaction};

use super::super::alarms::{self, Slot, missing_slot, slots};
use super::super::error::failed;
use super::super::filter::Filter;
use super::super::foreign::{self, Foreign, is_foreign};
use super::super::lease::small;
use super::history;

/// Groups of the present layouts alone.
const GROUPS: &str = concat!(
    "SELECT name, CASE WHEN ",
    lasts!(),
    " THEN holder END, epoch, \
                      extract(epoch FROM clock_timestamp() - renewed_at)::float8, feed, feed_reason, slot, lane_group, \
                      extract(epoch FROM expires_at - clock_timestamp())::float8, lane_groups \
                      FROM onewrite.relay WHERE lane_group < lane_groups ORDER BY name, lane_group"
);

const ROUTES: &str = "SELECT r.relay, r.name, r.definition, r.state, r.halted, r.delivered, r.failed, r.last_error, \
                      (SELECT count(*) FROM onewrite.parked_event p WHERE p.relay = r.relay AND p.route = r.name AND p.state <> 'held'), \
                      (SELECT count(*) FROM onewrite.parked_event p WHERE p.relay = r.relay AND p.route = r.name AND p.state = 'held') \
                      FROM onewrite.route r ORDER BY r.relay, r.name, r.lane_group";

const SEGMENTS: &str = "SELECT c.relname::text, pg_total_relation_size(c.oid), c.relname = 'outbox_' || \
                            (SELECT floor(extract(epoch FROM clock_timestamp()) / value::bigint)::bigint % \
                                (SELECT count(*) FROM pg_inherits WHERE inhparent = 'onewrite.outbox'::regclass) \
                             FROM onewrite.setting WHERE name = 'rotation_seconds') \
                        FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
                        WHERE inhparent = 'onewrite.outbox'::regclass ORDER BY c.relname";

/// The statistics of a table that empties and fills must not talk the planner into reading all of it.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off";

/// Reads everything that is recorded in one snapshot; then the slots, the replays and the alarms, which change by themselves.
pub(super) async fn read(
    client: &mut Client,
    retention: Duration,
    thresholds: &AlarmThresholds,
    foreign: Option<&Foreign>,
) -> Result<Status, StoreError> {
    let doing = |error| failed("reading the status", error);
    let begin = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead);
    let transaction = begin.read_only(true).start().await.map_err(doing)?;
    transaction.batch_execute(BY_INDEX).await.map_err(doing)?;
    let schema_version = onewrite::postgres::current_version(&transaction).await.map_err(doing)?;
    let groups = transaction.query_typed(GROUPS, &[]).await.map_err(doing)?;
    // Routes by group.
    let mut parts = Vec::new();
    for row in transaction.query_typed(ROUTES, &[]).await.map_err(doing)? {
        parts.push(route(&transaction, &row).await?);
    }
    let segments = transaction.query_typed(SEGMENTS, &[]).await.map_err(doing)?;
    let retained = history::retained(&transaction).await.map_err(doing)?;
    transaction.commit().await.map_err(doing)?;
    let slots = slots(client).await.map_err(doing)?;
    let replays = history::replays(client).await?;
    if let Some(foreign) = foreign {
        for part in parts.iter_mut().filter(|part| is_foreign(&part.definition)) {
            foreign::count(client, foreign, &part.definition, &mut part.status).await;
        }
    }
    let relays = relays(&groups, &slots, &parts);
    Ok(Status {
        alarms: alarms::look(client, retention, thresholds).await?,
        schema_version,
        relays,
        routes: whole(parts),
        segments: segments.iter().map(segment).collect(),
        retained,
        replays,
    })
}

/// A route in one group.
struct Part {
    group: u32,
    definition: String,
    status: RouteStatus,
}

/// Each route once; its parts stand next to each other.
fn whole(parts: Vec<Part>) -> Vec<RouteStatus> {
    let mut routes: Vec<RouteStatus> = Vec::new();
    for Part { status, .. } in parts {
        match routes.last_mut() {
            Some(last) if (&last.relay, &last.route) == (&status.relay, &status.route) => last.absorb(status),
            _ => routes.push(status),
        }
    }
    routes
}

/// Each relay once; its groups stand next to each other.
fn relays(groups: &[Row], slots: &[Slot], parts: &[Part]) -> Vec<RelayStatus> {
    let same_relay = |one: &Row, other: &Row| one.get::<_, &str>(0) == other.get::<_, &str>(0);
    let relay = |groups: &[Row]| {
        let name: String = groups[0].get(0);
        let mut all: Vec<GroupStatus> = groups.iter().map(|row| group(row, slots, parts)).collect();
        if groups[0].get::<_, i16>(9) > 1 {
            return RelayStatus::of_groups(name, all);
        }
        let only = all.remove(0);
        RelayStatus {
            feed_reason: only.feed_reason.clone(),
            slot: only.slot.clone(),
            groups: Vec::new(),
            ..RelayStatus::of_groups(name, vec![only])
        }
    };
    groups.chunk_by(same_relay).map(relay).collect()
}

fn group(row: &Row, slots: &[Slot], parts: &[Part]) -> GroupStatus {
    let slot = |name: &str| {
        let found = slots.iter().find(|slot| slot.status.name == name);
        found.map_or_else(|| missing_slot(name), |slot| slot.status.clone())
    };
    let (relay, index): (&str, i16) = (row.get(0), row.get(7));
    let index = u32::try_from(index).unwrap_or_default();
    let own = || {
        parts
            .iter()
            .filter(move |part| part.status.relay == relay && part.group == index)
    };
    let holder: Option<String> = row.get(1);
    GroupStatus {
        index,
        epoch: row.get(2),
        renewed_seconds_ago: row.get(3),
        lease_seconds: row.get::<_, Option<f64>>(8).filter(|_| holder.is_some()),
        holder,
        feed: row.get(4),
        feed_reason: row.get(5),
        slot: row.get::<_, Option<&str>>(6).map(slot),
        unsettled: own().map(|part| part.status.unsettled).sum(),
        lag_seconds: own().filter_map(|part| part.status.lag_seconds).reduce(f64::max),
    }
}

async fn route(transaction: &Transaction<'_>, row: &Row) -> Result<Part, StoreError> {
    let (relay, route, definition): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    let Some(share) = Share::from_definition(&relay, &route, &definition) else {
        let words = format!(
            "the recorded definition of route {route:?} of relay {relay:?} cannot be read; start the relay, which records it anew"
        );
        return Err(StoreError::new(StoreFailure::Refused, words));
    };
    let (unsettled, lag_seconds) = match is_foreign(&definition) {
        true => (None, None),
        false => unsettled(transaction, &share)
            .await
            .map_err(|error| failed(&format!("counting the unsettled events of route {route:?}"), error))?,
    };
    Ok(Part {
        group: share.group.index,
        definition,
        status: RouteStatus {
            relay,
            route,
            state: row.get(3),
            halted: row.get(4),
            unsettled,
            lag_seconds,
            delivered: row.get(5),
            failed: row.get(6),
            last_error: row.get(7),
            parked: row.get(8),
            held: row.get(9),
        },
    })
}

/// How many events of a share are committed and not settled, and the age of the oldest in seconds.
async fn unsettled(transaction: &Transaction<'_>, share: &Share) -> Result<(Option<i64>, Option<f64>), Error> {
    let filter = Filter::new(share, 5);
    let group = small(share.group.index);
    let mut binds: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> = vec![
        (&share.relay, Type::TEXT),
        (&share.route, Type::TEXT),
        (&UNSETTLED_COUNT_MAX, Type::INT8),
        (&group, Type::INT2),
    ];
    filter.bind(&mut binds);
    let row = transaction.query_typed_one(&unsettled_sql(&filter.sql), &binds).await?;
    Ok((row.get(0), row.get(1)))
}

/// The statement behind it. Beyond the floor are the rows of transactions that began after it, found by the sequence, and of
/// those that were under way then, found by their number; less what is settled of the open window; and the pending ones.
fn unsettled_sql(filter: &str) -> String {
    // A join on an array's elements is what leads the planner to the index for each of them.
    format!(
        "WITH route AS MATERIALIZED ( \
             SELECT floor_snapshot::pg_snapshot AS floor, floor_sequence, window_snapshot::pg_snapshot AS window_upper, \
                    coalesce(window_sequence, 0) AS window_sequence, pending \
             FROM onewrite.route WHERE relay = $1 AND name = $2 AND lane_group = $4 \
         ), beyond AS ( \
             SELECT o.* FROM route, onewrite.outbox o \
             WHERE o.sequence > floor_sequence AND o.xid >= pg_snapshot_xmax(floor) \
             UNION ALL \
             SELECT o.* FROM route, pg_snapshot_xip(floor) AS under_way, onewrite.outbox o WHERE o.xid = under_way \
         ), unsettled AS ( \
             SELECT b.occurred_at, b.topic, b.type, b.key, b.id FROM route, beyond b \
             WHERE window_upper IS NULL OR b.sequence > window_sequence OR NOT pg_visible_in_snapshot(b.xid, window_upper) \
             UNION ALL \
             SELECT o.occurred_at, o.topic, o.type, o.key, o.id \
             FROM route, unnest(pending) AS left_behind, onewrite.outbox o WHERE o.sequence = left_behind \
         ), counted AS (SELECT occurred_at FROM unsettled WHERE {filter} LIMIT $3) \
         SELECT count(*), CASE WHEN count(*) > 0 THEN \
                greatest(0, extract(epoch FROM clock_timestamp() - min(occurred_at)))::float8 END FROM counted"
    )
}

fn segment(row: &Row) -> SegmentStatus {
    SegmentStatus {
        name: row.get(0),
        bytes: row.get(1),
        current: row.get(2),
    }
}
