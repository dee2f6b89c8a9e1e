//! Locks that others hold on rows of the schema: nobody waits for them without an end.

use std::time::Duration;

use onewrite_core::error::chain;
use onewrite_core::store::{RouteReport, RouteState};
use onewrite_core::{Lease, StoreError, StoreFailure};
use onewrite_testkit::wait::PATIENCE;
use tokio::time::timeout;

use super::fixture::{Foreign, RELAY, TTL, everything};
use crate::postgres::fixture::run;

fn report(delivered: u64, failed: u64) -> RouteReport {
    RouteReport {
        route: "all".into(),
        state: RouteState::Running,
        delivered,
        failed,
        last_error: None,
    }
}

async fn renewed(foreign: &Foreign, lease: &Lease, report: RouteReport) {
    let renewing = foreign.fixture.outbox.renew(lease, TTL, std::slice::from_ref(&report));
    let renewed = timeout(PATIENCE, renewing)
        .await
        .expect("renewing does not wait for a route's row");
    let controls = renewed.expect("a renewed lease");
    assert_eq!((controls.len(), controls[0].route.as_str()), (1, "all"));
}

#[tokio::test]
async fn a_locked_route_delays_its_report_and_not_the_lease() {
    const COUNTED: &str = "SELECT delivered * 1000 + failed FROM onewrite.route";
    const EXPIRES: &str = "SELECT (extract(epoch FROM expires_at) * 1000000)::bigint FROM onewrite.relay";
    let foreign = Foreign::plain(&[("settle", "delete")]).await;
    let lease = foreign.begin(&everything()).await;
    let other = foreign.fixture.database.connect().await;
    // As somebody does who settles, and waits for something else.
    run(&other, "BEGIN; SELECT FROM onewrite.route FOR UPDATE").await;
    let before = foreign.number(EXPIRES).await;
    renewed(&foreign, &lease, report(5, 1)).await;
    renewed(&foreign, &lease, report(2, 0)).await;
    assert!(foreign.number(EXPIRES).await > before);
    assert_eq!(foreign.number(COUNTED).await, 0);
    run(&other, "COMMIT").await;
    // Nothing new to tell, but for what was left out.
    renewed(&foreign, &lease, report(0, 0)).await;
    assert_eq!(foreign.number(COUNTED).await, 7_001);
    renewed(&foreign, &lease, report(1, 1)).await;
    assert_eq!(foreign.number(COUNTED).await, 8_002);
}

/// What is told instead of waiting.
async fn told<T>(waiting: impl Future<Output = Result<T, StoreError>>) -> String {
    let result = timeout(PATIENCE, waiting).await.expect("it does not wait on");
    let error = result.err().expect("an error");
    assert_eq!(error.failure, StoreFailure::Unavailable);
    chain(&error)
}

#[tokio::test]
async fn a_lock_on_the_lease_is_waited_for_no_longer_than_the_lease_lasts() {
    const SHORT: Duration = Duration::from_secs(2);
    let foreign = Foreign::plain(&[("settle", "delete")]).await;
    let outbox = &foreign.fixture.outbox;
    let lease = foreign.begin(&everything()).await;
    let other = foreign.fixture.database.connect().await;
    run(&other, "BEGIN; SELECT FROM onewrite.relay FOR UPDATE").await;
    let row =
        "another transaction has locked the lease's row in onewrite.relay and does not end; pg_locks shows which: ";
    let words = told(outbox.renew(&lease, SHORT, &[report(3, 0)])).await;
    assert!(words.starts_with(&format!("renewing the lease: {row}")), "{words}");
    let words = told(outbox.acquire(RELAY, "another", SHORT)).await;
    assert!(words.starts_with(&format!("taking the lease: {row}")), "{words}");
    run(
        &other,
        "ROLLBACK; BEGIN; SELECT pg_advisory_xact_lock(1869506931, hashtext('shop'))",
    )
    .await;
    let words = told(outbox.acquire(RELAY, "another", SHORT)).await;
    let layout = "taking the lease: another transaction has locked the layout of the relay (an advisory lock of the class 1869506931)";
    assert!(words.starts_with(layout), "{words}");
    run(&other, "COMMIT").await;
    // What was reported when nothing could be written is not lost.
    renewed(&foreign, &lease, report(1, 0)).await;
    assert_eq!(foreign.number("SELECT delivered FROM onewrite.route").await, 4);
    assert_eq!(outbox.acquire(RELAY, "another", SHORT).await.expect("an answer"), None);
}

/// A standby that took over may lack a claim, and `forget` begins to count anew.
#[tokio::test]
async fn a_lease_of_the_same_epoch_is_another_s_by_its_holder() {
    let foreign = Foreign::plain(&[("settle", "delete")]).await;
    let outbox = &foreign.fixture.outbox;
    let lease = foreign.begin(&everything()).await;
    foreign.sql("DELETE FROM onewrite.relay").await;
    let other = outbox.acquire(RELAY, "another", TTL).await.expect("an answer");
    let other = other.expect("the lease");
    foreign
        .sql(&format!("UPDATE onewrite.relay SET epoch = {}", lease.epoch))
        .await;
    let same = Lease {
        epoch: lease.epoch,
        ..other
    };
    assert!(outbox.renew(&same, TTL, &[]).await.is_ok());
    let renewed = outbox.renew(&lease, TTL, &[]).await;
    assert_eq!(renewed.err().map(|error| error.failure), Some(StoreFailure::Fenced));
}
