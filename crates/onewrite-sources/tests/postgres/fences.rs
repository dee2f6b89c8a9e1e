//! A relay that lost its lease does no harm.

use std::time::Duration;

use onewrite_core::source::ParkReason;
use onewrite_core::store::{RouteReport, RouteState};
use onewrite_core::{Settlement, StoreError, StoreFailure};

use super::fixture::{Fixture, LIMIT, Reader, TTL, everything, parking, payloads, poison, run};

fn failure<T>(result: Result<T, StoreError>) -> Option<StoreFailure> {
    result.err().map(|error| error.failure)
}

const FENCED: Option<StoreFailure> = Some(StoreFailure::Fenced);

#[tokio::test]
async fn everything_is_refused_to_a_holder_of_an_older_epoch() {
    let fixture = Fixture::new().await;
    let old = fixture.begin(&everything()).await;
    let share = &everything()[0];
    let open = async || {
        (
            fixture.feed_of(&old, share).await,
            fixture.redeliveries(&old, share).await,
        )
    };
    let mut olds: Vec<(Reader, Reader)> = Vec::new();
    for _ in 0..3 {
        olds.push(open().await);
    }
    fixture.append_all(&["1", "2"]).await;
    let mut handed_out = Vec::new();
    for (feed, _) in &mut olds {
        handed_out = feed.wait_for(2).await;
    }
    fixture.append_all(&["3"]).await;
    let new = fixture.begin(&everything()).await;
    assert!(new.epoch > old.epoch);

    assert_eq!(failure(olds[0].0.next(LIMIT).await), FENCED);
    assert_eq!(failure(olds[0].0.next(LIMIT).await), Some(StoreFailure::Unavailable));
    let settlement = Settlement {
        through: Some(handed_out[1].position),
        pending: vec![],
    };
    assert_eq!(failure(olds[1].0.source.settle(&settlement).await), FENCED);
    assert_eq!(failure(olds[1].1.source.settle(&settlement).await), FENCED);
    for reason in [poison("no"), ParkReason::Held] {
        let parked = olds[2].0.source.park(&[parking(&handed_out[0], reason)]).await;
        assert!(matches!(failure(parked), FENCED | Some(StoreFailure::Unavailable)));
    }
    assert_eq!(failure(fixture.outbox.feed(&old, share).await), FENCED);
    assert_eq!(failure(fixture.outbox.redeliveries(&old, share).await), FENCED);
    assert_eq!(failure(fixture.outbox.renew(&old, TTL, &[]).await), FENCED);
    assert_eq!(failure(fixture.outbox.halt(&old, "all", "no").await), FENCED);
    assert_eq!(failure(fixture.outbox.adopt(&old, &everything()).await), FENCED);
    assert_eq!(failure(fixture.outbox.maintain(&old).await), FENCED);
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite.parked_event").await, 0);
    assert_eq!(
        payloads(&fixture.feed_of(&new, share).await.wait_for(3).await),
        ["1", "2", "3"]
    );
}

/// The next holder has the lease but has not come to adopting the routes yet.
#[tokio::test]
async fn everything_is_refused_from_the_moment_the_lease_is_taken() {
    let fixture = Fixture::new().await;
    let share = &everything()[0];
    fixture.append_all(&["1"]).await;
    for calls in [0, 1, 2] {
        let old = fixture.begin(&everything()).await;
        let mut feed = fixture.feed_of(&old, share).await;
        let events = feed.wait_for(1).await;
        fixture.sql("UPDATE onewrite.relay SET epoch = epoch + 1").await;
        let settlement = Settlement {
            through: Some(events[0].position),
            pending: vec![],
        };
        let refused = match calls {
            0 => failure(feed.source.park(&[parking(&events[0], poison("no"))]).await),
            1 => failure(feed.source.settle(&settlement).await),
            _ => failure(fixture.outbox.halt(&old, "all", "no").await),
        };
        assert_eq!(refused, FENCED);
    }
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite.parked_event").await, 0);
    assert_eq!(
        fixture
            .number("SELECT count(*) FROM onewrite.route WHERE halted IS NULL AND window_sequence IS NULL")
            .await,
        1
    );
}

/// The old holder's update waits for the row that the new one is adopting, and is refused by what it finds then.
#[tokio::test]
async fn a_record_that_waited_for_the_next_holder_is_refused() {
    let fixture = Fixture::new().await;
    let mut old = fixture.feed().await;
    fixture.append_all(&["1", "2"]).await;
    let events = old.wait_for(2).await;
    let adopting = fixture.database.connect().await;
    run(&adopting, "BEGIN; UPDATE onewrite.route SET epoch = epoch + 1").await;
    let settlement = Settlement {
        through: Some(events[1].position),
        pending: vec![],
    };
    let settling = tokio::spawn(async move { old.source.settle(&settlement).await });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while fixture.number(waiting).await == 0 {
        assert!(std::time::Instant::now() < deadline, "the update does not wait");
    }
    run(&adopting, "COMMIT").await;
    assert_eq!(failure(settling.await.expect("a result")), FENCED);
    assert_eq!(
        fixture
            .number("SELECT count(*) FROM onewrite.route WHERE floor_snapshot = '1:1:'")
            .await,
        1
    );
}

#[tokio::test]
async fn a_lease_has_one_holder_and_changes_hands_when_it_is_released_or_runs_out() {
    let fixture = Fixture::new().await;
    let outbox = &fixture.outbox;
    let first = outbox
        .acquire("r", "one", TTL)
        .await
        .expect("an answer")
        .expect("the lease");
    assert_eq!(outbox.acquire("r", "two", TTL).await.expect("an answer"), None);
    assert!(
        outbox
            .acquire("another", "two", TTL)
            .await
            .expect("an answer")
            .is_some()
    );
    outbox.release(&first).await.expect("released");
    assert_eq!(failure(outbox.renew(&first, TTL, &[]).await), FENCED);
    let second = outbox
        .acquire("r", "two", Duration::ZERO)
        .await
        .expect("an answer")
        .expect("the lease");
    let third = outbox
        .acquire("r", "three", TTL)
        .await
        .expect("an answer")
        .expect("the lease");
    assert!(first.epoch < second.epoch && second.epoch < third.epoch);
    outbox.release(&second).await.expect("nothing to release");
    assert!(outbox.renew(&third, TTL, &[]).await.is_ok());
}

#[tokio::test]
async fn what_a_holder_told_of_its_feed_is_not_said_of_the_next_one() {
    let fixture = Fixture::new().await;
    let held = fixture.outbox.acquire("r", "one", TTL).await.expect("an answer");
    let told = "UPDATE onewrite.relay SET feed = 'wal', feed_reason = 'the slot was there', slot = 'onewrite_r' WHERE name = 'r'";
    run(&fixture.application, told).await;
    let of_feed = async || {
        let row = fixture
            .application
            .query_one(
                "SELECT feed, feed_reason, slot FROM onewrite.relay WHERE name = 'r'",
                &[],
            )
            .await;
        let row = row.expect("the relay's row");
        [row.get::<_, Option<String>>(0), row.get(1), row.get(2)]
    };
    assert_eq!(fixture.outbox.acquire("r", "two", TTL).await.expect("an answer"), None);
    assert_eq!(of_feed().await[0].as_deref(), Some("wal"));
    fixture
        .outbox
        .release(&held.expect("the lease"))
        .await
        .expect("released");
    assert!(
        fixture
            .outbox
            .acquire("r", "two", TTL)
            .await
            .expect("an answer")
            .is_some()
    );
    assert_eq!(of_feed().await, [None, None, Some("onewrite_r".to_owned())]);
}

#[tokio::test]
async fn a_lease_is_renewed_while_blocked_keys_are_asked_for() {
    let fixture = Fixture::new().await;
    let lease = fixture.begin(&everything()).await;
    fixture
        .sql("BEGIN; LOCK TABLE onewrite.parked_event IN ACCESS EXCLUSIVE MODE")
        .await;
    tokio::select! {
        biased;
        _ = fixture.outbox.blocked_keys(&lease, "all") => panic!("the table is locked"),
        renewed = tokio::time::timeout(Duration::from_secs(60), fixture.outbox.renew(&lease, TTL, &[])) => {
            renewed.expect("in time").expect("renewed");
        }
    }
    fixture.sql("COMMIT").await;
    assert!(
        fixture
            .outbox
            .blocked_keys(&lease, "all")
            .await
            .expect("an answer")
            .is_empty()
    );
}

#[tokio::test]
async fn renewing_reports_and_brings_what_operators_ask() {
    let fixture = Fixture::new().await;
    let lease = fixture.begin(&everything()).await;
    let report = |delivered, error: Option<&str>| RouteReport {
        route: "all".into(),
        state: RouteState::Retrying,
        delivered,
        failed: 1,
        last_error: error.map(str::to_owned),
    };
    for _ in 0..2 {
        let controls = fixture
            .outbox
            .renew(&lease, TTL, &[report(5, Some("a\0b"))])
            .await
            .expect("controls");
        assert_eq!(
            (controls.len(), controls[0].paused, &controls[0].halted),
            (1, false, &None)
        );
    }
    let counted = "SELECT count(*) FROM onewrite.route WHERE delivered = 10 AND failed = 2 AND state = 'retrying' AND last_error LIKE 'a_b'";
    assert_eq!(fixture.number(counted).await, 1);
    fixture.sql("UPDATE onewrite.route SET paused = true").await;
    fixture.outbox.halt(&lease, "all", "no more").await.expect("halted");
    let controls = fixture.outbox.renew(&lease, TTL, &[]).await.expect("controls");
    assert_eq!(
        (controls[0].paused, controls[0].halted.as_deref()),
        (true, Some("no more"))
    );
}

/// A batch leaves no dead row: neither in the outbox nor in the relay's row.
#[tokio::test]
async fn the_fence_writes_no_row() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    let version = "SELECT min(xmin::text::bigint) FROM onewrite.relay";
    let before = fixture.number(version).await;
    for _ in 0..3 {
        fixture.append_all(&["1"]).await;
        assert_eq!(feed.wait_for(1).await.len(), 1);
    }
    assert_eq!(fixture.number(version).await, before);
}
