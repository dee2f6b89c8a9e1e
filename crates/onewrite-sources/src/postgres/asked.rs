//! What a replay holds, as SQL: reading and counting share the condition, so that what is told is what comes.

use onewrite::schema::postgres::groups::hash;
use onewrite_core::routing::Group;

/// The request `$1` and how far its route is in a group. Materialized, so that the snapshots are parsed once and not for each row.
pub(super) fn asked(group: Group) -> String {
    format!(
        "WITH asked AS MATERIALIZED (\
         SELECT replay.*, floor_snapshot::pg_snapshot AS floor, window_snapshot::pg_snapshot AS upper, window_sequence, pending \
         FROM onewrite.replay JOIN onewrite.route ON route.relay = replay.relay AND route.name = replay.route \
         AND route.lane_group = {} WHERE replay.id = $1)",
        group.index
    )
}

/// How far the request is in the group of a row of the outbox.
pub(super) fn progress(count: u32) -> String {
    if count == 1 {
        return "asked.progress".to_owned();
    }
    let number = format!("(({}) % {count} + 1)::int", hash("key", "id"));
    format!("coalesce(asked.group_progress[{number}], asked.progress)")
}

/// Whether a row of the outbox belongs to it: asked for, not given up, and not set aside until a person decides.
pub(super) const WANTED: &str = "\
    sequence <= asked.up_to \
    AND (asked.since IS NULL OR occurred_at >= asked.since) AND (asked.until IS NULL OR occurred_at < asked.until) \
    AND (asked.topic IS NULL OR topic COLLATE \"C\" = asked.topic) AND (asked.key IS NULL OR key COLLATE \"C\" = asked.key) \
    AND (coalesce(cardinality(asked.ids), 0) = 0 OR id = ANY (asked.ids)) \
    AND NOT EXISTS (\
      SELECT FROM onewrite.skipped_event AS skipped \
      WHERE skipped.relay = asked.relay AND skipped.sequence = outbox.sequence) \
    AND NOT EXISTS (\
      SELECT FROM onewrite.parked_event AS aside \
      WHERE aside.relay = asked.relay AND aside.route = asked.route AND aside.sequence = outbox.sequence \
      AND (aside.state = 'parked' OR (aside.state = 'held' AND EXISTS (\
        SELECT FROM onewrite.parked_event AS poison WHERE poison.relay = asked.relay AND poison.route = asked.route \
        AND poison.key = aside.key AND poison.state = 'parked'))))";

/// Whether such a row is settled, as far as is recorded: covered by the route's progress, and not under retry.
pub(super) const SETTLED: &str = "\
    (coalesce(pg_visible_in_snapshot(xid, asked.floor) \
              OR (sequence <= asked.window_sequence AND pg_visible_in_snapshot(xid, asked.upper)), false) \
     AND sequence <> ALL (asked.pending) \
     AND NOT EXISTS (SELECT FROM onewrite.parked_event AS aside \
                     WHERE aside.relay = asked.relay AND aside.route = asked.route AND aside.sequence = outbox.sequence))";
