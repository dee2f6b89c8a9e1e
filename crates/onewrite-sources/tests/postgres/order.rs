//! Nothing is skipped, and the events of a key come in the order of their commits.

use onewrite_sources::postgres::LAST_SEQUENCE;
use onewrite_testkit::servers::Postgres;

use super::fixture::{Fixture, LIMIT, append, payloads, run};

#[tokio::test]
async fn a_late_commit_with_a_lower_sequence_is_not_lost() {
    let fixture = Fixture::new().await;
    let late = fixture.database.connect().await;
    let mut feed = fixture.feed().await;
    run(&late, "BEGIN").await;
    append(&late, "t", None, "late").await;
    fixture.append_all(&["early"]).await;
    assert_eq!(payloads(&feed.drain(LIMIT).await), ["early"]);
    run(&late, "COMMIT").await;
    assert_eq!(payloads(&feed.wait_for(1).await), ["late"]);
    assert!(feed.batch().await.is_empty());
}

/// The snapshot's xmax is one past the last transaction that *ended*: one that is under way may be above it, and its row may
/// have a sequence below everything that is drawn from then on.
#[tokio::test]
async fn a_transaction_at_or_above_the_snapshots_xmax_that_wrote_before_it_is_not_lost() {
    let server = Postgres::start(16, &[("autovacuum", "off")]).await;
    let fixture = Fixture::of(server.database().await).await;
    let (early, late) = (fixture.database.connect().await, fixture.database.connect().await);
    let mut feed = fixture.feed().await;
    for round in 0..5 {
        run(&early, "BEGIN; SELECT pg_current_xact_id()").await;
        run(&late, "BEGIN").await;
        append(&late, "t", None, "late").await;
        append(&early, "t", None, "early").await;
        run(&early, "COMMIT").await;
        // Of all that have ended the early one is the last, so this snapshot ends right before the late one. It is handed out
        // from and built upon.
        let xmax = fixture
            .number("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            .await;
        let under_way = fixture
            .number("SELECT max(backend_xid::text::bigint) FROM pg_stat_activity")
            .await;
        assert_eq!(xmax, under_way, "in round {round}");
        let events = feed.wait_for(1).await;
        assert_eq!(payloads(&events), ["early"], "in round {round}");
        feed.settle(&events).await;
        if round % 2 == 0 {
            feed = fixture.feed().await;
        }
        assert!(feed.batch().await.is_empty());
        run(&late, "COMMIT").await;
        let events = feed.wait_for(1).await;
        assert_eq!(payloads(&events), ["late"], "in round {round}");
        feed.settle(&events).await;
        assert!(feed.drain(LIMIT).await.is_empty(), "in round {round}");
    }
}

/// The same from the recorded progress: the bound that is recorded with a floor must hold for transactions under way then.
#[tokio::test]
async fn the_recorded_floor_does_not_pass_a_transaction_under_way() {
    let server = Postgres::start(14, &[("autovacuum", "off")]).await;
    let fixture = Fixture::of(server.database().await).await;
    let late = fixture.database.connect().await;
    run(&late, "BEGIN").await;
    append(&late, "t", None, "late").await;
    fixture.append_all(&["a", "b"]).await;
    let mut feed = fixture.feed().await;
    let events = feed.wait_for(2).await;
    feed.settle(&events).await;
    // Through several incarnations, the last of them after the commit.
    for _ in 0..3 {
        feed = fixture.feed().await;
        assert!(feed.drain(LIMIT).await.is_empty());
    }
    run(&late, "COMMIT").await;
    feed = fixture.feed().await;
    assert_eq!(payloads(&feed.wait_for(1).await), ["late"]);
}

/// Trap 2: the transaction that has its id early takes the key's lock late. By transaction ids it would come first.
#[tokio::test]
async fn an_early_transaction_id_with_a_late_lock_comes_late() {
    let fixture = Fixture::new().await;
    let (early, unrelated) = (fixture.database.connect().await, fixture.database.connect().await);
    let mut feed = fixture.feed().await;
    run(&early, "BEGIN; SELECT pg_current_xact_id()").await;
    run(&unrelated, "BEGIN; SELECT pg_current_xact_id()").await;
    run(&fixture.application, "SELECT onewrite.append('t', 'k', 'first'::text)").await;
    run(&early, "SELECT onewrite.append('t', 'k', 'second'::text); COMMIT").await;
    // With the unrelated one still open, both are there, and in order.
    assert_eq!(payloads(&feed.wait_for(2).await), ["first", "second"]);
    run(&unrelated, "COMMIT").await;
    assert!(feed.drain(LIMIT).await.is_empty());
}

#[tokio::test]
async fn an_open_write_transaction_in_another_database_holds_up_nothing() {
    let server = Postgres::shared(17).await;
    let (fixture, elsewhere) = (Fixture::new().await, server.database().await.connect().await);
    run(&elsewhere, "BEGIN; CREATE TABLE t (i int)").await;
    let mut feed = fixture.feed().await;
    for round in 0..5 {
        fixture.append_all(&["a"]).await;
        let events = feed.wait_for(1).await;
        assert_eq!(events.len(), 1, "in round {round}");
        feed.settle(&events).await;
    }
    assert!(fixture.feed().await.drain(LIMIT).await.is_empty());
    run(&elsewhere, "ROLLBACK").await;
}

#[tokio::test]
async fn gaps_of_rolled_back_transactions_hold_up_nothing_and_hide_nothing() {
    let fixture = Fixture::new().await;
    let mut feed = fixture.feed().await;
    for round in 0..10 {
        run(&fixture.application, "BEGIN").await;
        append(&fixture.application, "t", None, &round.to_string()).await;
        let ending = if round % 3 == 0 { "ROLLBACK" } else { "COMMIT" };
        run(&fixture.application, ending).await;
        run(&fixture.application, "BEGIN; SAVEPOINT s").await;
        append(&fixture.application, "t", None, "undone").await;
        run(&fixture.application, "ROLLBACK TO s; COMMIT").await;
    }
    let events = feed.wait_for(6).await;
    assert_eq!(payloads(&events), ["1", "2", "4", "5", "7", "8"]);
    assert!(feed.drain(LIMIT).await.is_empty());
}

/// Many writers with transactions that overlap; the relay reads all the while and starts anew now and then.
#[tokio::test(flavor = "multi_thread")]
async fn under_concurrent_writers_every_commit_comes_once_and_keys_are_in_order() {
    for version in [14, 18] {
        let fixture = Fixture::of(Postgres::shared(version).await.database().await).await;
        fixture
            .sql("CREATE TABLE counter (key text PRIMARY KEY, count bigint NOT NULL)")
            .await;
        let writers: Vec<_> = (0..8)
            .map(|writer| tokio::spawn(write(fixture.database.clone(), writer)))
            .collect();
        let mut settled: Vec<(String, String)> = Vec::new();
        let mut feed = fixture.feed().await;
        let mut round = 0;
        loop {
            let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
            let events = feed.batch().await;
            let end = done && events.is_empty();
            feed.settle(&events).await;
            let of = |event: &onewrite_core::Sourced| event.event.key.as_deref().map(str::to_owned).expect("a key");
            settled.extend(events.iter().map(of).zip(payloads(&events)));
            if end {
                break;
            }
            round += 1;
            if round % 40 == 0 {
                feed = fixture.feed().await;
            }
            feed.source.wait().await;
        }
        let mut committed = 0;
        for writer in writers {
            committed += writer.await.expect("a writer");
        }
        assert_eq!(settled.len(), committed, "on PostgreSQL {version}");
        for key in 0..20 {
            let key = key.to_string();
            let counts = settled
                .iter()
                .filter(|(of, _)| *of == key)
                .map(|(_, count)| count.parse::<i64>().expect("a number"));
            let counts: Vec<i64> = counts.collect();
            assert!(
                counts.is_sorted() && counts.windows(2).all(|pair| pair[0] < pair[1]),
                "key {key}: {counts:?}"
            );
        }
    }
}

/// Counts up under a row lock and tells so under the key; every fourth transaction is rolled back. Returns how many were not.
async fn write(database: onewrite_testkit::servers::Database, writer: u64) -> usize {
    let client = database.connect().await;
    let mut committed = 0;
    for round in 0..60_u64 {
        let key = ((round * 7 + writer * 13) % 20).to_string();
        run(&client, "BEGIN; SELECT pg_current_xact_id()").await;
        let count = "INSERT INTO counter VALUES ($1, 1) ON CONFLICT (key) DO UPDATE SET count = counter.count + 1 RETURNING count";
        let count: i64 = client.query_one(count, &[&key]).await.expect("a count").get(0);
        append(&client, "t", Some(&key), &count.to_string()).await;
        let commit = !(round + writer).is_multiple_of(4);
        run(&client, if commit { "COMMIT" } else { "ROLLBACK" }).await;
        committed += usize::from(commit);
    }
    committed
}

/// A transaction may draw one at any moment; one that is taken for drawn already is not looked for.
#[tokio::test]
async fn a_sequence_that_is_drawn_after_the_last_one_was_read_is_higher() {
    let server = Postgres::shared(17).await;
    let fixture = Fixture::of(server.database().await).await;
    let looks = format!(
        "DO $$ DECLARE last bigint; drawn bigint; BEGIN \
           FOR i IN 1..100000 LOOP \
             last := ({LAST_SEQUENCE}); \
             drawn := nextval('onewrite.outbox_sequence'); \
             IF drawn <= last THEN RAISE 'the last was % and % was drawn after it', last, drawn; END IF; \
           END LOOP; END $$"
    );
    let draws = async || {
        let client = fixture.database.connect().await;
        loop {
            run(
                &client,
                "SELECT count(nextval('onewrite.outbox_sequence')) FROM generate_series(1, 10000)",
            )
            .await;
        }
    };
    let looked = async { fixture.application.batch_execute(&looks).await };
    tokio::select! {
        looked = looked => looked.expect("no value is drawn that counts as drawn"),
        ((), ()) = async { tokio::join!(draws(), draws()) } => {}
    }
}
