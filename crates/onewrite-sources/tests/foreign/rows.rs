//! Rows that are polled.

use onewrite_core::{BatchLimit, Sourced};
use onewrite_sources::registry::source_type;
use onewrite_testkit::servers::Postgres;
use onewrite_testkit::wait::{PATIENCE, until};

use super::fixture::{COLUMNS, Foreign, LIMIT, Reader, TABLE, everything, options, payloads, routes};
use crate::postgres::fixture::run;

const DELETE: &[(&str, &str)] = &[("settle", "delete")];

#[tokio::test]
async fn a_long_transaction_delays_its_own_rows_and_no_others() {
    let foreign = Foreign::plain(DELETE).await;
    let other = foreign.fixture.database.connect().await;
    // Both hold back vacuum; the one has also written the row that stands first.
    run(
        &other,
        "BEGIN; INSERT INTO outbox (topic, key, body) VALUES ('t', 'late', 'late')",
    )
    .await;
    let reader = foreign.fixture.database.connect().await;
    run(
        &reader,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM outbox",
    )
    .await;
    let mut feed = foreign.feed().await;
    for round in 0..30 {
        foreign
            .sql(
                "INSERT INTO outbox (topic, key, body) SELECT 't', n::text, n::text FROM generate_series(1, 1000) AS n",
            )
            .await;
        let events = feed.drain(LIMIT).await;
        assert_eq!(events.len(), 1_000, "in round {round}");
        feed.settle(&events).await;
    }
    assert_eq!(foreign.number("SELECT count(*) FROM outbox").await, 0);
    run(&other, "COMMIT").await;
    let late = feed.wait_for(1).await;
    assert_eq!(payloads(&late), ["late"]);
    feed.settle(&late).await;
    assert!(foreign.feed().await.batch().await.is_empty());
    run(&reader, "COMMIT").await;
}

#[tokio::test]
async fn a_backlog_is_listed_once_for_many_batches_and_what_comes_meanwhile_is_found() {
    let foreign = Foreign::plain(DELETE).await;
    let late = foreign.fixture.database.connect().await;
    run(
        &late,
        "BEGIN; INSERT INTO outbox (topic, key, body) VALUES ('t', 'late', 'first')",
    )
    .await;
    foreign
        .sql("INSERT INTO outbox (topic, key, body) SELECT 't', n::text, n::text FROM generate_series(1, 25000) AS n")
        .await;
    let mut feed = foreign.feed().await;
    let limit = BatchLimit {
        events: 700,
        bytes: 1 << 20,
    };
    let mut came = payloads(&feed.next(limit).await.expect("a batch"));
    run(&late, "COMMIT").await;
    // One that somebody else removed, and one that was changed before it was read.
    foreign.sql("DELETE FROM outbox WHERE body = '5000'").await;
    foreign
        .sql("UPDATE outbox SET body = 'changed' WHERE body = '6000'")
        .await;
    came.extend(payloads(&feed.drain(limit).await));
    assert_eq!(came.len(), 25_000);
    let place = |body: &str| came.iter().position(|came| came == body);
    assert_eq!((place("5000"), place("6000")), (None, None));
    assert!(place("changed").is_some() && place("first").is_some());
}

#[tokio::test]
async fn routes_share_a_table_and_a_row_without_a_topic_is_found_as_well() {
    let columns = ("columns", &[("id", "id"), ("payload", "body"), ("key", "key")] as &[_]);
    let texts = [
        ("contract", "columns"),
        ("table", "outbox"),
        ("topic", "shop.{topic}"),
        ("settle", "delete"),
    ];
    let foreign = Foreign::new(TABLE, &texts, &[columns]).await;
    for (topic, body) in [("a", "a1"), ("b%", "b1"), ("a", "a2"), ("b_", "other"), ("c", "c1")] {
        foreign.insert(topic, Some("k"), &[body]).await;
    }
    foreign.sql("INSERT INTO outbox (body) VALUES ('nowhere')").await;
    let shares = routes(&[("a", "shop.a"), ("b", "shop.b%")]);
    let lease = foreign.begin(&shares).await;
    let expected = [&["a1", "a2"] as &[_], &["b1"], &["other", "c1", "nowhere"]];
    for (share, expected) in shares.iter().zip(expected) {
        let mut feed = foreign.fixture.feed_of(&lease, share).await;
        let events = feed.batch().await;
        assert_eq!(payloads(&events), expected, "on route {}", share.route);
        if share.route == "unrouted" {
            let defect = events[2].defect.as_deref();
            assert_eq!(defect, Some("the column topic is NULL; the topic is made of it"));
        } else {
            feed.settle(&events).await;
        }
    }
    assert_eq!(foreign.number("SELECT count(*) FROM outbox").await, 3);
}

#[tokio::test]
async fn rows_of_one_time_come_in_the_order_in_which_they_were_written() {
    let create = "CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), topic text, key text, body text, \
                  written timestamptz NOT NULL DEFAULT now()); CREATE INDEX ON outbox (written)";
    let texts = [
        ("contract", "columns"),
        ("table", "outbox"),
        ("settle", "delete"),
        ("order_by", "written"),
    ];
    let foreign = Foreign::new(create, &texts, &[COLUMNS]).await;
    foreign
        .sql("INSERT INTO outbox (topic, key, body) SELECT 't', 'k', n::text FROM generate_series(1, 500) AS n")
        .await;
    let mut feed = foreign.feed().await;
    let limit = BatchLimit {
        events: 90,
        bytes: 1 << 20,
    };
    let events = feed.drain(limit).await;
    let expected: Vec<String> = (1..=500).map(|number| number.to_string()).collect();
    assert_eq!(payloads(&events), expected);
}

#[tokio::test]
async fn large_rows_come_one_by_one() {
    let create = "CREATE TABLE outbox (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), seq serial, body jsonb)";
    let texts = [
        ("contract", "columns"),
        ("table", "outbox"),
        ("settle", "delete"),
        ("order_by", "seq"),
        ("topic", "t"),
    ];
    let columns = ("columns", &[("id", "id"), ("payload", "body")] as &[_]);
    let foreign = Foreign::new(create, &texts, &[columns]).await;
    // Of 100 kB each, and a hundredth of that on disk.
    foreign
        .sql(
            "INSERT INTO outbox (body) SELECT jsonb_build_object('a', repeat('x', 100000)) FROM generate_series(1, 20)",
        )
        .await;
    let mut feed = foreign.feed().await;
    let limit = BatchLimit {
        events: 100,
        bytes: 250_000,
    };
    let mut count = 0;
    loop {
        let events = feed.next(limit).await.expect("a batch");
        if events.is_empty() {
            break;
        }
        assert!(events.len() <= 3, "{} events", events.len());
        assert!(events.iter().all(|sourced| sourced.event.payload.len() > 100_000));
        count += events.len();
    }
    assert_eq!(count, 20);
}

#[tokio::test]
async fn what_was_handed_out_is_on_disk() {
    let server = Postgres::start(17, &[("wal_writer_delay", "10s"), ("synchronous_commit", "off")]).await;
    let texts = [
        ("contract", "columns"),
        ("table", "outbox"),
        ("settle", "delete"),
        ("connect_timeout", "60s"),
    ];
    let foreign = Foreign::on(server.clone(), TABLE, &texts, &[COLUMNS]).await;
    let mut feed = foreign.feed().await;
    for number in 0..20 {
        foreign.insert("t", Some("k"), &[&number.to_string()]).await;
    }
    let came = payloads(&feed.wait_for(20).await);
    server.kill9().await;
    server.restart().await;
    let application = foreign.fixture.database.connect().await;
    let left = application
        .query("SELECT body FROM outbox ORDER BY seq", &[])
        .await
        .expect("rows");
    let left: Vec<String> = left.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, came);
}

#[tokio::test]
async fn a_table_that_is_partitioned_is_polled_as_one() {
    let create = "CREATE TABLE outbox (seq bigserial, id uuid DEFAULT gen_random_uuid(), topic text, key text, body text, \
                  PRIMARY KEY (seq, topic)) PARTITION BY LIST (topic); \
                  CREATE TABLE outbox_a PARTITION OF outbox FOR VALUES IN ('a'); \
                  CREATE TABLE outbox_rest PARTITION OF outbox DEFAULT";
    let texts = [
        ("contract", "columns"),
        ("table", "outbox"),
        ("settle", "delete"),
        ("order_by", "seq"),
    ];
    let foreign = Foreign::new(create, &texts, &[COLUMNS]).await;
    for (topic, body) in [("a", "1"), ("b", "2"), ("a", "3")] {
        foreign.insert(topic, Some("k"), &[body]).await;
    }
    let mut feed = foreign.feed().await;
    let events = feed.batch().await;
    assert_eq!(payloads(&events), ["1", "2", "3"]);
    feed.settle(&events).await;
    assert_eq!(foreign.number("SELECT count(*) FROM outbox").await, 0);
}

/// Settles with a lock of somebody else in the way, which must not keep the relay waiting.
async fn settle_beside(feed: &mut Reader, events: &[Sourced]) {
    let settling = tokio::time::timeout(PATIENCE, feed.settle(events));
    settling.await.expect("settling does not wait for the lock");
}

/// Waits until no row is left that is not settled; none may be handed out again meanwhile.
async fn all_settled(foreign: &Foreign, feed: &mut Reader, unsettled: &str) {
    until("every row is settled", async || {
        assert!(feed.batch().await.is_empty(), "a row was handed out again");
        (foreign.number(unsettled).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_row_that_somebody_else_locks_is_settled_later_and_delays_nothing() {
    const MARKED: &str = "CREATE TABLE outbox (seq bigserial PRIMARY KEY, id uuid NOT NULL DEFAULT gen_random_uuid(), \
                          topic text, key text, body text, done boolean NOT NULL DEFAULT false)";
    let contract = [("contract", "columns"), ("table", "outbox")];
    let mark = [("settle", "mark"), ("mark_column", "done")];
    for (create, settle, unsettled) in [
        (TABLE, DELETE, "SELECT count(*) FROM outbox"),
        (MARKED, &mark, "SELECT count(*) FROM outbox WHERE NOT done"),
    ] {
        let foreign = Foreign::new(create, &[&contract, settle].concat(), &[COLUMNS]).await;
        let mut feed = foreign.feed().await;
        foreign.insert("t", Some("k"), &["1", "2", "3", "4"]).await;
        let events = feed.wait_for(4).await;
        let other = foreign.fixture.database.connect().await;
        run(
            &other,
            "BEGIN; SELECT FROM outbox WHERE body = '2' FOR UPDATE; UPDATE outbox SET body = 'changed' WHERE body = '3'",
        )
        .await;
        settle_beside(&mut feed, &events).await;
        assert_eq!(foreign.number(unsettled).await, 2);
        // Nobody else waits for it either.
        let free = "SELECT count(*) FROM (SELECT FROM onewrite.route FOR UPDATE SKIP LOCKED) AS free";
        assert_eq!(foreign.number(free).await, 1);
        foreign.insert("t", Some("k"), &["5"]).await;
        let fifth = feed.wait_for(1).await;
        assert_eq!(payloads(&fifth), ["5"]);
        settle_beside(&mut feed, &fifth).await;
        assert_eq!(foreign.number(unsettled).await, 2);
        run(&other, "COMMIT").await;
        all_settled(&foreign, &mut feed, unsettled).await;
        assert!(foreign.feed().await.batch().await.is_empty());
    }
}

#[tokio::test]
async fn a_lock_on_the_table_delays_settling_and_not_whoever_adopts_the_route() {
    let foreign = Foreign::plain(DELETE).await;
    let mut feed = foreign.feed().await;
    foreign.insert("t", Some("k"), &["1", "2"]).await;
    let events = feed.wait_for(2).await;
    let other = foreign.fixture.database.connect().await;
    run(&other, "BEGIN; LOCK TABLE outbox IN SHARE MODE").await;
    settle_beside(&mut feed, &events).await;
    assert_eq!(foreign.number("SELECT count(*) FROM outbox").await, 2);
    run(&other, "COMMIT").await;
    all_settled(&foreign, &mut feed, "SELECT count(*) FROM outbox").await;
}

/// Who only deletes needs no privilege to lock rows.
#[tokio::test]
async fn without_the_privilege_to_lock_rows_a_locked_one_delays_those_settled_with_it() {
    let foreign = Foreign::plain(DELETE).await;
    let role = format!("{}_deletes", foreign.fixture.database.name);
    foreign
        .sql(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA onewrite TO {role}; GRANT SELECT, DELETE ON outbox TO {role}; \
             GRANT ALL ON ALL TABLES IN SCHEMA onewrite TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA onewrite TO {role}"
        ))
        .await;
    let lease = foreign.begin(&everything()).await;
    let url = foreign.fixture.database.url_as(&role);
    let texts = [
        ("url", url.as_str()),
        ("contract", "columns"),
        ("table", "outbox"),
        ("settle", "delete"),
    ];
    let source = source_type("postgres").expect("it is built in");
    let opened = source.open(&options(&texts, &[COLUMNS]).expect("texts that fit"));
    let outbox = opened.expect("options that fit").outbox;
    let mut feed = Reader::new(outbox.feed(&lease, &everything()[0]).await.expect("a feed"));
    foreign.insert("t", Some("k"), &["1", "2", "3"]).await;
    let events = feed.wait_for(3).await;
    let other = foreign.fixture.database.connect().await;
    run(&other, "BEGIN; SELECT FROM outbox WHERE body = '2' FOR UPDATE").await;
    settle_beside(&mut feed, &events[..2]).await;
    settle_beside(&mut feed, &events[2..]).await;
    assert_eq!(foreign.number("SELECT count(*) FROM outbox").await, 2);
    run(&other, "COMMIT").await;
    all_settled(&foreign, &mut feed, "SELECT count(*) FROM outbox").await;
}
