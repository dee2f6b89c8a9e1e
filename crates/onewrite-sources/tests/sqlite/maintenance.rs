//! Deleting what is settled.

use onewrite_core::alarm::AlarmKind;
use onewrite_core::store::ReplayRequest;
use onewrite_core::{BatchLimit, Lease};

use super::fixture::{Fixture, LIMIT, TTL, everything, payloads, routes};

const KEPT: &str =
    "SELECT coalesce(group_concat(CAST(payload AS TEXT), ',' ORDER BY sequence), '') FROM onewrite_outbox";

async fn maintain(fixture: &Fixture, lease: &Lease) -> onewrite_core::store::Maintenance {
    fixture.outbox.maintain(lease).await.expect("maintenance")
}

#[tokio::test]
async fn what_every_route_settled_is_deleted_and_nothing_else() {
    let fixture = Fixture::with(&[("retention", "0s")]);
    let shares = routes(&[("a", "a"), ("b", "b")]);
    let lease = fixture.begin(&shares).await;
    let (mut a, mut b) = (
        fixture.feed_of(&lease, &shares[0]).await,
        fixture.feed_of(&lease, &shares[1]).await,
    );
    let mut unrouted = fixture.feed_of(&lease, &shares[2]).await;
    for (topic, payload) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("a", "5"), ("b", "6")] {
        fixture.append(topic, None, payload);
    }
    assert_eq!(maintain(&fixture, &lease).await, Default::default());
    let (of_a, of_b) = (a.batch().await, b.batch().await);
    a.retry(&of_a[..1]);
    a.settle(&of_a[1..]).await;
    b.settle(&of_b[..2]).await;
    // The catch-all has not looked yet, so nothing is settled by all.
    assert_eq!(maintain(&fixture, &lease).await, Default::default());
    fixture.sql("UPDATE onewrite_route SET sequence = 6 WHERE name = 'unrouted'");
    fixture.sql("INSERT INTO onewrite_skipped_event (sequence, relay) SELECT sequence, 'shop' FROM onewrite_outbox");
    let done = maintain(&fixture, &lease).await;
    assert_eq!(done.emptied, ["3 rows of onewrite_outbox"]);
    // 1 is pending in a; 5 is settled, but b is only through with 4.
    assert_eq!(fixture.ask::<String>(KEPT, []), "1,5,6");
    // What is known of an event goes with it.
    let skipped = "SELECT group_concat(sequence, ',' ORDER BY sequence) FROM onewrite_skipped_event";
    assert_eq!(fixture.ask::<String>(skipped, []), "1,5,6");
    a.settle(&of_a[..1]).await;
    b.settle(&of_b[2..]).await;
    maintain(&fixture, &lease).await;
    assert_eq!(fixture.ask::<String>(KEPT, []), "");
    fixture.append("a", None, "7");
    assert_eq!(payloads(&a.wait_for(1).await), ["7"]);
    assert!(unrouted.drain(LIMIT).await.is_empty());
}

#[tokio::test]
async fn what_is_younger_than_the_retention_is_kept() {
    let fixture = Fixture::with(&[("retention", "1h")]);
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    // Written as programs write times; texts of different forms do not compare as the times do.
    for (payload, age, form) in [
        ("1", 7_200, "%Y-%m-%dT%H:%M:%fZ"),
        ("2", 3_500, "%Y-%m-%d %H:%M:%S"),
        ("3", 3_700, "%Y-%m-%d %H:%M:%S"),
        ("4", 0, "%Y-%m-%dT%H:%M:%fZ"),
    ] {
        fixture.sql(&format!(
            "INSERT INTO onewrite_outbox (topic, payload, occurred_at) VALUES ('t', '{payload}', strftime('{form}', 'now', '-{age} seconds'))"
        ));
    }
    let events = feed.wait_for(4).await;
    feed.settle(&events).await;
    maintain(&fixture, &lease).await;
    assert_eq!(fixture.ask::<String>(KEPT, []), "2,4");
}

#[tokio::test]
async fn large_backlogs_are_deleted_by_chunks_and_young_ones_are_not_read_over() {
    let fixture = Fixture::with(&[("retention", "1h")]);
    let lease = fixture.begin(&everything()).await;
    let fill = |count: u32, time: &str| {
        fixture.sql(&format!(
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO onewrite_outbox (topic, payload, occurred_at) SELECT 't', 'x', {time} FROM n"
        ));
    };
    fill(12_000, "strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 hours')");
    fill(12_000, "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')");
    fixture.sql("UPDATE onewrite_route SET sequence = 24000");
    let fences = "SELECT fences FROM onewrite_relay";
    let before = fixture.number(fences);
    assert_eq!(
        maintain(&fixture, &lease).await.emptied,
        ["12000 rows of onewrite_outbox"]
    );
    // 5,000 old ones, 5,000 old ones, 2,000 old and 3,000 young ones, and 5,000 young ones, which is the end.
    assert_eq!(fixture.number(fences) - before, 4);
    let before = fixture.number(fences);
    assert_eq!(maintain(&fixture, &lease).await, Default::default());
    assert_eq!(fixture.number(fences) - before, 1);
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite_outbox"), 12_000);
}

#[tokio::test]
async fn a_replay_keeps_what_it_is_still_to_read() {
    let fixture = Fixture::with(&[("retention", "0s")]);
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    fixture.append_all(&["1", "2", "3"]);
    let events = feed.wait_for(3).await;
    feed.settle(&events).await;
    let request = ReplayRequest {
        relay: "shop".to_owned(),
        route: "all".to_owned(),
        topic: Some("t".to_owned()),
        ..ReplayRequest::default()
    };
    fixture.operations.replay(&request).await.expect("a request");
    assert_eq!(maintain(&fixture, &lease).await, Default::default());
    let mut redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    let again = redeliveries
        .next(BatchLimit { events: 2, ..LIMIT })
        .await
        .expect("a batch");
    redeliveries.settle(&again).await;
    maintain(&fixture, &lease).await;
    assert_eq!(fixture.ask::<String>(KEPT, []), "3");
    let last = redeliveries.batch().await;
    redeliveries.settle(&last).await;
    assert!(redeliveries.batch().await.is_empty());
    maintain(&fixture, &lease).await;
    assert_eq!(fixture.ask::<String>(KEPT, []), "");
    // A replay of a route that is gone never ends, and keeps nothing.
    fixture.append_all(&["4"]);
    fixture.operations.replay(&request).await.expect("a request");
    let lease = fixture.begin(&routes(&[("other", "*")])).await;
    fixture.sql("UPDATE onewrite_route SET sequence = 4");
    maintain(&fixture, &lease).await;
    assert_eq!(fixture.ask::<String>(KEPT, []), "");
}

#[tokio::test]
async fn a_relay_that_nobody_runs_any_more_is_told_of() {
    let fixture = Fixture::with(&[("retention", "0s")]);
    let old = fixture
        .outbox
        .acquire("old", "test", TTL)
        .await
        .expect("an answer")
        .expect("the lease");
    fixture.outbox.adopt(&old, &everything()).await.expect("adopted routes");
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    fixture.append_all(&["1"]);
    let events = feed.wait_for(1).await;
    feed.settle(&events).await;
    fixture.sql("UPDATE onewrite_relay SET expires_at = unixepoch() + 600 WHERE name = 'old'");
    assert_eq!(maintain(&fixture, &lease).await, Default::default());
    fixture.sql("UPDATE onewrite_outbox SET occurred_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-61 minutes')");
    let told = async || {
        let done = maintain(&fixture, &lease).await;
        assert!(done.emptied.is_empty());
        let [alarm] = &done.alarms[..] else { panic!("{done:?}") };
        assert_eq!(alarm.kind, AlarmKind::SegmentBlocked);
        alarm.message.clone()
    };
    assert!(
        told()
            .await
            .contains("route \"all\" of relay \"old\" has not settled all of it")
    );
    assert!(fixture.operations.forget("old").await.is_err(), "it is run");
    fixture.outbox.release(&old).await.expect("released");
    let words = told().await;
    assert!(
        words.contains("nobody has run the relay for") && words.contains("`onewrite forget --relay old`"),
        "{words}"
    );
    fixture.operations.forget("old").await.expect("it is given up");
    assert_eq!(maintain(&fixture, &lease).await.emptied, ["1 rows of onewrite_outbox"]);
}

#[tokio::test]
async fn a_route_that_is_further_behind_than_events_are_kept_is_told() {
    let fixture = Fixture::with(&[("retention", "30m")]);
    fixture.begin(&everything()).await;
    fixture.append_all(&["1"]);
    fixture.sql("UPDATE onewrite_outbox SET occurred_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-31 minutes')");
    let alarms = fixture.operations.status().await.expect("a status").alarms;
    let alarm = alarms
        .iter()
        .find(|alarm| alarm.subject == "route all of relay shop")
        .expect("an alarm");
    assert_eq!(alarm.kind, AlarmKind::RetentionShort);
    assert!(
        alarm.message.contains("31 min behind, and events are kept for 30 min"),
        "{alarm:?}"
    );
}

#[tokio::test]
async fn how_far_back_the_history_reaches_is_written_down() {
    let fixture = Fixture::with(&[("retention", "1h")]);
    let retained = async || fixture.operations.status().await.expect("a status").retained;
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    fixture.append_all(&["1", "2", "3"]);
    fixture.sql("UPDATE onewrite_outbox SET occurred_at = '2026-01-31 12:00:00' WHERE sequence < 3");
    let events = feed.wait_for(3).await;
    feed.settle(&events).await;
    assert_eq!((retained().await.from_sequence, retained().await.since), (1, None));
    maintain(&fixture, &lease).await;
    let since = "2026-01-31T12:00:00Z".parse().expect("a time");
    assert_eq!(
        (retained().await.from_sequence, retained().await.since),
        (3, Some(since))
    );
    // It outlives the relay that wrote it down, as long as there is another.
    fixture.outbox.release(&lease).await.expect("released");
    fixture.sql("INSERT INTO onewrite_relay (name) VALUES ('other')");
    fixture.operations.forget("shop").await.expect("it is given up");
    assert_eq!(
        (retained().await.from_sequence, retained().await.since),
        (3, Some(since))
    );
}

/// A reader keeps the log from being written back into the file, and it grows.
#[tokio::test]
async fn a_log_that_cannot_be_written_back_is_told() {
    let fixture = Fixture::new();
    let reader = super::fixture::connect(&fixture.path());
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM onewrite_outbox")
        .expect("a reader");
    let alarms = async || fixture.operations.status().await.expect("a status").alarms;
    assert_eq!(alarms().await, []);
    fixture.sql("CREATE TABLE ballast (bytes BLOB); INSERT INTO ballast VALUES (zeroblob(66 * 1024 * 1024))");
    let found = alarms().await;
    assert_eq!(found[0].kind, AlarmKind::WalRetained, "{found:?}");
    reader.execute_batch("COMMIT").expect("it ends");
    assert_eq!(alarms().await, []);
}
