//! Segments are emptied when nobody needs them, and not before.

use std::time::Duration;

use onewrite_core::Lease;
use onewrite_core::alarm::AlarmKind;
use onewrite_core::options::Options;
use onewrite_core::store::Maintenance;
use onewrite_sources::registry::{MigrateRequest, source_type};
use onewrite_testkit::wait;

use super::fixture::{Fixture, Reader, everything, open, open_all, run};

/// How many segments from the current one the given one is, in the order in which they are written to.
fn segment(after_current: i64) -> String {
    format!("((floor(extract(epoch FROM clock_timestamp()) / 3600)::bigint + {after_current}) % 4)")
}

async fn fill(fixture: &Fixture, after_current: i64, count: i64) {
    let left = fixture
        .number("SELECT 3600 - floor(extract(epoch FROM clock_timestamp()))::bigint % 3600")
        .await;
    if left < 60 {
        // Which segment is in use must not change in the middle of a test.
        tokio::time::sleep(Duration::from_secs(left.unsigned_abs())).await; // slow on purpose
    }
    let sql = format!(
        "INSERT INTO onewrite.outbox (topic, payload, segment) SELECT 't', 'x', {} FROM generate_series(1, {count})",
        segment(after_current)
    );
    run(&fixture.application, &sql).await;
}

/// An outbox with an event in each segment, all handed out.
async fn filled() -> (Fixture, Lease, Reader, Vec<onewrite_core::Sourced>) {
    let fixture = Fixture::new().await;
    for after_current in 0..4 {
        fill(&fixture, after_current, 1).await;
    }
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    let events = feed.wait_for(4).await;
    (fixture, lease, feed, events)
}

/// The same, with each event recorded in the turn of its segment.
async fn filled_by_turns() -> (Fixture, Lease, Reader, Vec<onewrite_core::Sourced>) {
    let filled = filled().await;
    let aged = "UPDATE onewrite.outbox SET occurred_at = now() - interval '1 minute' - interval '1 hour' * \
                (((floor(extract(epoch FROM clock_timestamp()) / 3600)::bigint - segment) % 4 + 4) % 4)";
    run(&filled.0.application, aged).await;
    filled
}

async fn maintain(fixture: &Fixture, lease: &Lease) -> Maintenance {
    fixture.outbox.maintain(lease).await.expect("maintenance")
}

/// What the alarms of a kind say.
fn told(maintenance: &Maintenance, kind: AlarmKind) -> Vec<&str> {
    let alarms = maintenance.alarms.iter().filter(|alarm| alarm.kind == kind);
    alarms.map(|alarm| alarm.message.as_str()).collect()
}

async fn rows(fixture: &Fixture) -> i64 {
    fixture.number("SELECT count(*) FROM onewrite.outbox").await
}

#[tokio::test]
async fn the_current_and_the_next_segment_are_left_alone_and_settled_others_emptied() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    let skipped = "INSERT INTO onewrite.skipped_event (sequence, relay) SELECT sequence, 'shop' FROM onewrite.outbox";
    run(&fixture.application, skipped).await;
    let maintenance = maintain(&fixture, &lease).await;
    assert_eq!((maintenance.emptied.len(), maintenance.alarms), (2, vec![]));
    assert_eq!(rows(&fixture).await, 2);
    // What is known of an event goes with it.
    let known = "SELECT count(*) FROM onewrite.skipped_event JOIN onewrite.outbox USING (sequence)";
    assert_eq!(fixture.number(known).await, 2);
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite.skipped_event").await, 2);
    assert_eq!(maintain(&fixture, &lease).await, Maintenance::default());
    // Reading goes on.
    fill(&fixture, 0, 3).await;
    let events = feed.wait_for(3).await;
    feed.settle(&events).await;
}

#[tokio::test]
async fn an_unsettled_event_keeps_its_segment() {
    let (fixture, lease, mut feed, events) = filled_by_turns().await;
    let maintenance = maintain(&fixture, &lease).await;
    assert!(maintenance.emptied.is_empty());
    // Those that are due: the next one, and the one before it. The one whose turn has just ended may still take its time.
    let blocked = told(&maintenance, AlarmKind::SegmentBlocked);
    assert_eq!(blocked.len(), 2, "{maintenance:?}");
    assert!(
        blocked
            .iter()
            .all(|words| words.contains("route \"all\" of relay \"shop\" has not settled all of it"))
    );
    assert!(
        blocked
            .iter()
            .any(|words| words.contains("It is written to again next"))
    );
    // All but the third, which is pending: the segments beyond the next are those of the third and the fourth.
    feed.retry(&events[2..3]);
    feed.settle(&events[..2]).await;
    feed.settle(&events[3..]).await;
    let maintenance = maintain(&fixture, &lease).await;
    let blocked = told(&maintenance, AlarmKind::SegmentBlocked);
    assert_eq!((maintenance.emptied.len(), blocked.len()), (1, 1), "{maintenance:?}");
    assert_eq!(rows(&fixture).await, 3);
    feed.settle(&events[2..3]).await;
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 1);
}

#[tokio::test]
async fn what_was_recorded_within_the_last_turn_is_no_alarm_whatever_segment_it_is_in() {
    let (fixture, lease, _feed, _) = filled().await;
    assert_eq!(maintain(&fixture, &lease).await, Maintenance::default());
}

#[tokio::test]
async fn a_leftover_in_the_segment_that_is_written_to_again_is_told() {
    let (fixture, lease, _feed, _) = filled().await;
    run(
        &fixture.application,
        "UPDATE onewrite.outbox SET occurred_at = now() - interval '5 hours'",
    )
    .await;
    let maintenance = maintain(&fixture, &lease).await;
    let blocked = told(&maintenance, AlarmKind::SegmentBlocked);
    assert_eq!(blocked.len(), 3);
    assert!(
        blocked
            .iter()
            .any(|words| words.contains("It is being written to again and grows on")),
        "{blocked:?}"
    );
}

#[tokio::test]
async fn a_route_of_another_relay_that_is_behind_keeps_the_segments() {
    let (fixture, lease, mut feed, events) = filled_by_turns().await;
    feed.settle(&events).await;
    let other = "INSERT INTO onewrite.route (relay, name, definition, floor_snapshot, floor_sequence) \
                 VALUES ('other', 'slow', '', '1:1:', 0)";
    run(&fixture.application, other).await;
    let maintenance = maintain(&fixture, &lease).await;
    let blocked = told(&maintenance, AlarmKind::SegmentBlocked);
    assert_eq!((maintenance.emptied.len(), blocked.len()), (0, 2));
    for words in ["route \"slow\" of relay \"other\"", "`onewrite forget --relay other`"] {
        assert!(blocked[0].contains(words), "{blocked:?}");
    }
    run(
        &fixture.application,
        "INSERT INTO onewrite.relay (name) VALUES ('other')",
    )
    .await;
    let operations = open_all(&[("url", &fixture.database.url)]).operations;
    let forgotten = operations.forget("other").await.expect("it is given up");
    assert_eq!(forgotten.routes, ["slow"]);
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 2);
}

#[tokio::test]
async fn without_any_recorded_route_nothing_is_emptied() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    run(&fixture.application, "DELETE FROM onewrite.route").await;
    assert_eq!(maintain(&fixture, &lease).await.emptied, Vec::<String>::new());
    assert_eq!(rows(&fixture).await, 4);
}

/// An open transaction has written to a segment: it is told, not waited for, and its event comes in the end.
#[tokio::test]
async fn a_long_transaction_in_a_segment_keeps_it() {
    let (fixture, lease, mut feed, events) = filled_by_turns().await;
    feed.settle(&events).await;
    let long = fixture.database.connect().await;
    let pid: i32 = long
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("a pid")
        .get(0);
    let sql = format!(
        "BEGIN; INSERT INTO onewrite.outbox (topic, payload, segment) VALUES ('t', 'late', {})",
        segment(2)
    );
    run(&long, &sql).await;
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 1);
    // It is told once it has used the segment for some seconds.
    let words = wait::until("an alarm names the transaction", async || {
        let maintenance = maintain(&fixture, &lease).await;
        assert!(maintenance.emptied.is_empty());
        told(&maintenance, AlarmKind::SegmentBlocked)
            .first()
            .map(|words| (*words).to_owned())
    })
    .await;
    for part in [
        &format!("the transaction of pid {pid} "),
        "'late'",
        "SELECT pg_terminate_backend(",
    ] {
        assert!(words.contains(part), "{words}");
    }
    run(&long, "COMMIT").await;
    assert_eq!(maintain(&fixture, &lease).await.emptied, Vec::<String>::new());
    let events = feed.wait_for(1).await;
    feed.settle(&events).await;
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 1);
}

#[tokio::test]
async fn the_retention_keeps_settled_events() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    let keeping = open(&[("url", &fixture.database.url), ("retention", "1h")]).expect("an outbox");
    assert_eq!(
        keeping.maintain(&lease).await.expect("maintenance"),
        Maintenance::default()
    );
    let aged = format!(
        "UPDATE onewrite.outbox SET occurred_at = now() - interval '61 minutes' WHERE segment = {}",
        segment(2)
    );
    run(&fixture.application, &aged).await;
    // The update made new row versions; the feed has seen their transaction's events, so nothing is unsettled.
    assert_eq!(keeping.maintain(&lease).await.expect("maintenance").emptied.len(), 1);
}

#[tokio::test]
async fn a_retention_that_does_not_fit_the_rotation_is_told_until_migrate_fits_it() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    let day = [("url", fixture.database.url.as_str()), ("retention", "24h")];
    let keeping = open(&day).expect("an outbox");
    let maintenance = keeping.maintain(&lease).await.expect("maintenance");
    let [words] = &told(&maintenance, AlarmKind::RotationShort)[..] else {
        panic!("{maintenance:?}")
    };
    assert!(words.contains("`onewrite migrate` sets turns of 12 h 1 min"), "{words}");
    let source = source_type("postgres").expect("it is built in");
    let options = Options::from_texts("source", source.fields, &day).expect("texts that fit");
    let migrated = source
        .migrate(&options, MigrateRequest::default())
        .await
        .expect("migrate");
    assert_eq!(migrated.notes.len(), 1, "{migrated:?}");
    assert!(migrated.notes[0].contains("12 h 1 min"), "{migrated:?}");
    let maintenance = keeping.maintain(&lease).await.expect("maintenance");
    assert_eq!(told(&maintenance, AlarmKind::RotationShort), [""; 0]);
    let again = source
        .migrate(&options, MigrateRequest::default())
        .await
        .expect("migrate");
    assert_eq!(again.notes, [""; 0]);
}

#[tokio::test]
async fn a_rotation_that_cannot_keep_what_is_to_be_kept_is_refused() {
    let fixture = Fixture::new().await;
    let source = source_type("postgres").expect("it is built in");
    let refused = async |retention: &str, rotation: Option<u64>| {
        let texts = [("url", fixture.database.url.as_str()), ("retention", retention)];
        let options = Options::from_texts("source", source.fields, &texts).expect("texts that fit");
        let request = MigrateRequest {
            rotation: rotation.map(Duration::from_secs),
            ..MigrateRequest::default()
        };
        source.script(&options, &request).expect_err("no script").to_string()
    };
    assert_eq!(
        refused("24h", Some(3600)).await,
        "turns of 1 h cannot keep events for 24 h (source.retention): none would ever be removed; give --rotation 43260s or more, \
         leave --rotation out, or lower source.retention"
    );
    assert_eq!(
        refused("90d", None).await,
        "source.retention: 90 d is too long; events can be kept for 61 d 23 h at the most, which is two of the longest turns"
    );
    let words = open(&[("url", &fixture.database.url), ("retention", "90d")])
        .err()
        .expect("refused");
    assert!(
        words.to_string().starts_with("source.retention: 90 d is too long"),
        "{words}"
    );
}

/// What is gone is told by the segments that were emptied, whatever old row is still there.
#[tokio::test]
async fn how_far_back_the_history_reaches_is_written_down() {
    let (fixture, lease, mut feed, events) = filled().await;
    let operations = open_all(&[("url", &fixture.database.url)]).operations;
    let retained = async || operations.status().await.expect("a status").retained;
    assert_eq!((retained().await.from_sequence, retained().await.since), (1, None));
    feed.settle(&events).await;
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 2);
    // The third and the fourth are gone, the first and the second are not.
    let retained = retained().await;
    assert_eq!(
        (retained.from_sequence, retained.since),
        (5, Some(events[3].event.occurred_at))
    );
}

#[tokio::test]
async fn a_replay_of_a_route_that_is_gone_keeps_nothing() {
    let (fixture, lease, mut feed, events) = filled().await;
    feed.settle(&events).await;
    let request = "INSERT INTO onewrite.replay (relay, route, topic, up_to) SELECT 'shop', 'gone', 't', last_value FROM onewrite.outbox_sequence";
    run(&fixture.application, request).await;
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 2);
}

#[tokio::test]
async fn an_unfinished_replay_keeps_what_it_needs() {
    let (fixture, lease, mut feed, events) = filled_by_turns().await;
    feed.settle(&events).await;
    let request = "INSERT INTO onewrite.replay (relay, route, topic, up_to) SELECT 'shop', 'all', 't', last_value FROM onewrite.outbox_sequence";
    run(&fixture.application, request).await;
    let maintenance = maintain(&fixture, &lease).await;
    let blocked = told(&maintenance, AlarmKind::SegmentBlocked);
    assert_eq!((maintenance.emptied.len(), blocked.len()), (0, 2));
    assert!(
        blocked[0].contains("DELETE FROM onewrite.replay WHERE id = 1;"),
        "{blocked:?}"
    );
    let mut redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    let again = redeliveries.wait_for(4).await;
    redeliveries.settle(&again).await;
    assert!(redeliveries.batch().await.is_empty());
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 2);
}

/// Every reader of the outbox waits while a segment is looked at for the last time, so that must cost the same whatever it holds
/// and whoever has a transaction open.
#[tokio::test]
async fn whether_a_large_segment_is_needed_is_read_by_few_probes_beside_an_old_transaction() {
    let fixture = Fixture::new().await;
    let lease = fixture.begin(&everything()).await;
    let old = fixture.database.connect().await;
    run(&old, "BEGIN; SELECT pg_current_xact_id()").await;
    fill(&fixture, 2, 20_000).await;
    let settled = "UPDATE onewrite.route SET floor_snapshot = pg_current_snapshot()::text, floor_sequence = 20000";
    for statement in [settled, "VACUUM ANALYZE onewrite.outbox", "SELECT pg_stat_reset()"] {
        run(&fixture.application, statement).await;
    }
    assert_eq!(maintain(&fixture, &lease).await.emptied.len(), 1);
    // The server counts a session's reads a moment after they happened.
    let read = "SELECT coalesce(sum(idx_tup_read), 0)::bigint, coalesce(sum(idx_scan), 0) > 0 FROM pg_stat_user_indexes \
                WHERE indexrelname LIKE 'outbox\\_%xid%'";
    let rows: i64 = wait::until("the reads are counted", async || {
        let row = fixture.application.query_one(read, &[]).await.expect("statistics");
        row.get::<_, bool>(1).then(|| row.get(0))
    })
    .await;
    assert!(rows < 100, "{rows} rows were read");
    run(&old, "COMMIT").await;
}
