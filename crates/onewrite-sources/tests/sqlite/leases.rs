//! Who leads, when the machine's clock does not go on as it should.

use onewrite_core::alarm::AlarmKind;
use onewrite_core::{Lease, StoreFailure};

use super::fixture::{Fixture, TTL, everything, routes};

/// As after a step of the clock by two hours: what was written lies in the future.
const CLOCK_WENT_BACK: &str =
    "UPDATE onewrite_relay SET renewed_at = renewed_at + 7200, expires_at = expires_at + 7200";

async fn acquire(fixture: &Fixture, relay: &str, holder: &str) -> Option<Lease> {
    fixture.outbox.acquire(relay, holder, TTL).await.expect("an answer")
}

#[tokio::test]
async fn who_is_gone_holds_nobody_up_although_the_clock_went_back() {
    let fixture = Fixture::new();
    let gone = fixture.begin(&everything()).await;
    assert_eq!(acquire(&fixture, "shop", "another").await, None);
    // As much as clocks that are kept in time go back at once.
    fixture.sql("UPDATE onewrite_relay SET renewed_at = unixepoch('subsec') + 0.5");
    assert_eq!(acquire(&fixture, "shop", "another").await, None);
    fixture.sql(CLOCK_WENT_BACK);
    let next = acquire(&fixture, "shop", "another").await.expect("the lease");
    assert_eq!(next.epoch, gone.epoch + 1);
    let error = fixture.outbox.renew(&gone, TTL, &[]).await.expect_err("fenced");
    assert_eq!(error.failure, StoreFailure::Fenced);
    assert_eq!(acquire(&fixture, "shop", "third").await, None);
}

#[tokio::test]
async fn who_lives_keeps_the_lease_by_the_clock_that_went_back() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&everything()).await;
    fixture.sql(CLOCK_WENT_BACK);
    fixture.outbox.renew(&lease, TTL, &[]).await.expect("the lease");
    assert_eq!(acquire(&fixture, "shop", "another").await, None);
    let status = fixture.operations.status().await.expect("a status");
    assert_eq!(status.relays[0].holder.as_deref(), Some("test"));
}

#[tokio::test]
async fn nobody_is_said_to_run_what_a_lease_from_the_future_stands_for() {
    let fixture = Fixture::with(&[("retention", "0s")]);
    let lease = fixture.begin(&routes(&[("all", "*")])).await;
    fixture.append_all(&["1"]);
    fixture.sql("UPDATE onewrite_outbox SET occurred_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-61 minutes')");
    let error = fixture.operations.forget("shop").await.expect_err("it is run");
    assert_eq!(error.failure, StoreFailure::Refused);
    fixture.sql(CLOCK_WENT_BACK);
    let status = fixture.operations.status().await.expect("a status");
    assert_eq!(status.relays[0].holder, None);
    assert_eq!(status.relays[0].epoch, lease.epoch);
    let alarm = status
        .alarms
        .iter()
        .find(|alarm| alarm.kind == AlarmKind::SegmentBlocked);
    let words = &alarm.expect("an alarm").message;
    assert!(words.contains("nobody has run the relay for"), "{words}");
    fixture.operations.forget("shop").await.expect("it is given up");
}
