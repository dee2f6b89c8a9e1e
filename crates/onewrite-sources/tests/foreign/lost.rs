//! A slot that is lost is a loss, and is told.

use onewrite_testkit::servers::Postgres;

use super::fixture::{COLUMNS, Foreign, TABLE, everything, payloads, refusal};

async fn lost(foreign: &Foreign, slot: &str, reason: &str) {
    foreign.sql("UPDATE onewrite.relay SET expires_at = now()").await;
    assert_eq!(
        refusal(foreign).await,
        format!(
            "the replication slot {slot:?} of relay \"shop\" is lost: {reason}. It kept the place in the log, so what was written to \
             table public.outbox since the last settled event may be missing at the sinks and nobody else knows it; where rows are kept, \
             compare them with what arrived. To begin anew from now on, run UPDATE onewrite.relay SET slot = NULL WHERE name = E'shop'; \
             and start the relay again"
        )
    );
}

#[tokio::test]
async fn a_slot_that_was_dropped_is_not_made_anew_unasked() {
    let foreign = Foreign::plain(&[]).await;
    let mut feed = foreign.feed().await;
    foreign.insert("t", Some("k"), &["1"]).await;
    let events = feed.wait_for(1).await;
    feed.settle(&events).await;
    drop(feed);
    let slot = foreign.slot().await;
    foreign.server.drop_slot(&slot).await;
    foreign.insert("t", Some("k"), &["gone"]).await;
    lost(&foreign, &slot, "it is not there").await;
    lost(&foreign, &slot, "it is not there").await;

    foreign
        .sql("UPDATE onewrite.relay SET slot = NULL WHERE name = E'shop'")
        .await;
    let mut feed = foreign.feed().await;
    foreign.insert("t", Some("k"), &["2"]).await;
    assert_eq!(payloads(&feed.wait_for(1).await), ["2"]);
    drop(feed);
    foreign.end().await;
}

#[tokio::test]
async fn a_slot_that_fell_behind_is_lost() {
    let server = Postgres::start(17, &[]).await;
    let foreign = Foreign::on(
        server,
        TABLE,
        &[("contract", "columns"), ("table", "outbox")],
        &[COLUMNS],
    )
    .await;
    let mut feed = foreign.feed().await;
    foreign.insert("t", Some("k"), &["1"]).await;
    feed.wait_for(1).await;
    drop(feed);
    let slot = foreign.slot().await;
    foreign.server.outgrow_slot(&slot).await;
    lost(
        &foreign,
        &slot,
        "the server removed the log it stood at (max_slot_wal_keep_size)",
    )
    .await;
}

#[tokio::test]
async fn a_first_start_that_broke_off_is_taken_up() {
    let foreign = Foreign::plain(&[]).await;
    foreign.begin(&everything()).await;
    foreign.insert("t", Some("k"), &["1"]).await;
    // As it was before the slot's name was written down.
    foreign.sql("UPDATE onewrite.relay SET slot = NULL").await;
    assert_eq!(payloads(&foreign.feed().await.wait_for(1).await), ["1"]);
    foreign
        .sql("DELETE FROM onewrite.route; UPDATE onewrite.relay SET slot = NULL")
        .await;
    assert_eq!(payloads(&foreign.feed().await.wait_for(1).await), ["1"]);
    foreign.end().await;
}

#[tokio::test]
async fn other_routes_begin_where_the_slowest_stands() {
    let foreign = Foreign::plain(&[]).await;
    let shares = crate::reader::routes(&[("a", "a"), ("b", "b")]);
    let lease = foreign.begin(&shares).await;
    let mut a = foreign.fixture.feed_of(&lease, &shares[0]).await;
    let mut b = foreign.fixture.feed_of(&lease, &shares[1]).await;
    for (topic, body) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("b", "b2"), ("c", "c1")] {
        foreign.insert(topic, Some("k"), &[body]).await;
    }
    let of_a = a.wait_for(2).await;
    a.settle(&of_a).await;
    let of_b = b.wait_for(2).await;
    b.retry(&of_b[..1]);
    b.settle(&of_b[1..]).await;
    drop((a, b));
    let lease = foreign.begin(&crate::reader::routes(&[("new", "*")])[..1]).await;
    let share = &crate::reader::routes(&[("new", "*")])[0];
    let mut feed = foreign.fixture.feed_of(&lease, share).await;
    let events = feed.wait_for(2).await;
    let came = payloads(&events);
    for due in ["b1", "c1"] {
        assert!(came.iter().any(|body| body == due), "{due}: {came:?}");
    }
    feed.settle(&events).await;
    drop(feed);
    assert!(foreign.fixture.feed_of(&lease, share).await.batch().await.is_empty());
    foreign.end().await;
}
