//! The log as the truth.

use onewrite_core::BatchLimit;
use onewrite_testkit::servers::Postgres;
use onewrite_testkit::wait::until;

use super::fixture::{COLUMNS, Foreign, LIMIT, TABLE, everything, payloads, routes};
use crate::postgres::fixture::run;

#[tokio::test]
async fn rows_that_vanish_in_their_own_transaction_come() {
    let foreign = Foreign::plain(&[]).await;
    let mut feed = foreign.feed().await;
    foreign
        .sql(
            "BEGIN; INSERT INTO outbox (topic, key, body) VALUES ('t', 'k', '1'), ('t', 'k', '2'); DELETE FROM outbox; COMMIT; \
             BEGIN; INSERT INTO outbox (topic, key, body) VALUES ('t', 'k', 'no'); ROLLBACK; \
             BEGIN; SAVEPOINT a; INSERT INTO outbox (topic, key, body) VALUES ('t', 'k', 'no'); ROLLBACK TO a; \
             INSERT INTO outbox (topic, key, body) VALUES ('t', 'k', '3'); UPDATE outbox SET body = 'changed'; DELETE FROM outbox; COMMIT",
        )
        .await;
    let events = feed.wait_for(3).await;
    assert_eq!(payloads(&events), ["1", "2", "3"]);
    feed.settle(&events[..1]).await;
    // In the middle of a transaction, in the next incarnation.
    assert_eq!(payloads(&foreign.feed().await.batch().await), ["2", "3"]);
    drop(feed);
    foreign.end().await;
}

#[tokio::test]
async fn the_slot_stays_behind_what_is_not_settled() {
    let foreign = Foreign::plain(&[]).await;
    let mut feed = foreign.feed().await;
    let name = foreign.slot().await;
    let unconfirmed = async || {
        foreign
            .server
            .slot(&name)
            .await
            .expect("the slot")
            .unconfirmed
            .expect("a position")
    };
    foreign.insert("t", Some("k"), &["1", "2"]).await;
    let events = feed.wait_for(2).await;
    feed.retry(&events[..1]);
    feed.settle(&events[1..]).await;
    // A hundred times more than what it holds back for.
    foreign
        .sql("CREATE TABLE noise AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
        .await;
    foreign.insert("t", Some("k"), &["3"]).await;
    let third = feed.wait_for(1).await;
    feed.settle(&third).await;
    assert!(unconfirmed().await > 1_000_000);
    feed.settle(&events[..1]).await;
    until("the slot moves on", async || {
        (unconfirmed().await < 100_000).then_some(())
    })
    .await;
    // And goes on doing so while nothing of this table is written.
    foreign
        .sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
        .await;
    until("the slot moves on", async || {
        (unconfirmed().await < 100_000).then_some(())
    })
    .await;
    drop(feed);
    foreign.end().await;
}

#[tokio::test]
async fn a_route_that_comes_back_is_given_what_it_lacks_and_the_others_nothing_twice() {
    let foreign = Foreign::plain(&[]).await;
    let shares = routes(&[("a", "a"), ("b", "b")]);
    let lease = foreign.begin(&shares).await;
    let mut a = foreign.fixture.feed_of(&lease, &shares[0]).await;
    let mut b = foreign.fixture.feed_of(&lease, &shares[1]).await;
    for number in 0..20 {
        let body = number.to_string();
        foreign.insert("a", Some("k"), &[&body]).await;
        foreign.insert("b", Some("k"), &[&body]).await;
    }
    let of_a = a.wait_for(20).await;
    let of_b = b.wait_for(20).await;
    b.settle(&of_b[..5]).await;
    a.retry(&of_a[3..4]);
    a.settle(&[&of_a[..3], &of_a[4..9]].concat()).await;
    for round in 0..3 {
        // The one before is gone before the next comes, or after it.
        let mut next = foreign.fixture.feed_of(&lease, &shares[0]).await;
        let again = next.wait_for(12).await;
        let expected: Vec<String> = [3].into_iter().chain(9..20).map(|number| number.to_string()).collect();
        assert_eq!(payloads(&again), expected, "in round {round}");
        assert!(b.batch().await.is_empty());
        if round != 1 {
            a = next;
        }
    }
    b.settle(&of_b[5..]).await;
    foreign.insert("b", Some("k"), &["last"]).await;
    assert_eq!(payloads(&b.wait_for(1).await), ["last"]);
    drop((a, b));
    foreign.end().await;
}

#[tokio::test]
async fn a_route_that_takes_nothing_holds_a_bounded_amount_and_then_the_reader() {
    let foreign = Foreign::plain(&[]).await;
    let shares = routes(&[("a", "a"), ("b", "b")]);
    let lease = foreign.begin(&shares).await;
    let mut a = foreign.fixture.feed_of(&lease, &shares[0]).await;
    let mut b = foreign.fixture.feed_of(&lease, &shares[1]).await;
    // 20 MB, in one transaction.
    foreign
        .sql("INSERT INTO outbox (topic, key, body) SELECT 'a', 'k', repeat('x', 100000) FROM generate_series(1, 200)")
        .await;
    foreign.insert("b", Some("k"), &["after"]).await;
    // Whatever there is room for has come when nothing more comes for the other.
    assert!(b.batch().await.is_empty());
    let limit = BatchLimit {
        events: 10,
        bytes: 1 << 30,
    };
    let mut of_a = Vec::new();
    while of_a.len() < 200 {
        let events = a.next(limit).await.expect("a batch");
        if events.is_empty() {
            a.source.wait().await;
        }
        of_a.extend(events);
    }
    assert_eq!(payloads(&b.wait_for(1).await), ["after"]);
    a.settle(&of_a).await;
    assert!(a.batch().await.is_empty());
    drop((a, b));
    foreign.end().await;
}

#[tokio::test]
async fn a_route_that_takes_nothing_for_long_does_not_end_the_stream() {
    let server = Postgres::start(16, &[("wal_sender_timeout", "2s")]).await;
    let texts = [("contract", "columns"), ("table", "outbox")];
    let foreign = Foreign::on(server, TABLE, &texts, &[COLUMNS]).await;
    let mut feed = foreign.feed().await;
    foreign
        .sql("INSERT INTO outbox (topic, key, body) SELECT 'a', 'k', repeat('x', 100000) FROM generate_series(1, 200)")
        .await;
    let slot = foreign.slot().await;
    let first = foreign.server.slot(&slot).await.and_then(|slot| slot.reader);
    assert!(first.is_some());
    // Several times the server's patience.
    let age = "SELECT extract(epoch FROM now() - backend_start)::bigint FROM pg_stat_replication";
    until("the walsender is seven seconds old", async || {
        (foreign.number(age).await >= 7).then_some(())
    })
    .await;
    assert_eq!(foreign.server.slot(&slot).await.and_then(|slot| slot.reader), first);
    assert_eq!(feed.wait_for(200).await.len(), 200);
}

#[tokio::test]
async fn a_large_transaction_is_settled_piece_by_piece() {
    let foreign = Foreign::plain(&[]).await;
    foreign.begin(&everything()).await;
    foreign
        .sql("INSERT INTO outbox (topic, key, body) SELECT 't', (n % 7)::text, n::text FROM generate_series(1, 30000) AS n")
        .await;
    let mut settled = 0;
    for read in [10_000, 1, 19_999] {
        let mut feed = foreign.feed().await;
        let mut events = Vec::new();
        while events.len() < read {
            let most = BatchLimit {
                events: read - events.len(),
                ..LIMIT
            };
            let some = feed.next(most).await.expect("a batch");
            if some.is_empty() {
                feed.source.wait().await;
            }
            events.extend(some);
        }
        let bodies: Vec<String> = (settled + 1..=settled + read)
            .map(|number| number.to_string())
            .collect();
        assert_eq!(payloads(&events), bodies);
        feed.settle(&events).await;
        settled += read;
    }
    assert!(foreign.feed().await.batch().await.is_empty());
    foreign.end().await;
}

#[tokio::test]
async fn the_server_may_restart_and_lose_its_walsender() {
    let server = Postgres::start(16, &[]).await;
    let texts = [("contract", "columns"), ("table", "outbox"), ("connect_timeout", "60s")];
    let foreign = Foreign::on(server.clone(), TABLE, &texts, &[COLUMNS]).await;
    let mut feed = foreign.feed().await;
    foreign.insert("t", Some("k"), &["1", "2"]).await;
    let events = feed.wait_for(2).await;
    feed.settle(&events[..1]).await;
    assert!(server.end_walsender(&foreign.slot().await).await);
    until("the source ends with its stream", async || feed.next(LIMIT).await.err()).await;
    assert_eq!(payloads(&foreign.feed().await.wait_for(1).await), ["2"]);
    server.kill9().await;
    server.restart().await;
    let application = foreign.fixture.database.connect().await;
    run(&application, "UPDATE onewrite.relay SET expires_at = now()").await;
    run(
        &application,
        "INSERT INTO outbox (topic, key, body) VALUES ('t', 'k', '3')",
    )
    .await;
    let lease = foreign
        .fixture
        .outbox
        .acquire("shop", "test", std::time::Duration::from_secs(600))
        .await;
    let lease = lease.expect("an answer").expect("the lease");
    foreign
        .fixture
        .outbox
        .adopt(&lease, &everything())
        .await
        .expect("adopted routes");
    let mut feed = foreign.fixture.feed_of(&lease, &everything()[0]).await;
    assert_eq!(payloads(&feed.wait_for(2).await), ["2", "3"]);
}

#[tokio::test]
async fn what_is_under_way_of_another_relay_does_not_matter() {
    let foreign = Foreign::plain(&[]).await;
    foreign.begin(&everything()).await;
    let other = foreign.fixture.database.connect().await;
    run(
        &other,
        "BEGIN; INSERT INTO outbox (topic, key, body) VALUES ('t', 'late', 'late')",
    )
    .await;
    let mut feed = foreign.feed().await;
    foreign.insert("t", Some("k"), &["1"]).await;
    assert_eq!(payloads(&feed.wait_for(1).await), ["1"]);
    run(&other, "COMMIT").await;
    assert_eq!(payloads(&feed.wait_for(1).await), ["late"]);
    drop(feed);
    foreign.end().await;
}
