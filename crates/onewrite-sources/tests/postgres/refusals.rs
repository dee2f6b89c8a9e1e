//! What a person must change is told apart from what passes by itself, with what to do.

use std::time::Duration;

use onewrite_core::error::chain;
use onewrite_core::{StoreError, StoreFailure};
use onewrite_testkit::servers::Postgres;

use super::fixture::{Fixture, TTL, everything, open, run};

async fn acquire(texts: &[(&str, &str)]) -> StoreError {
    let outbox = match open(texts) {
        Ok(outbox) => outbox,
        Err(error) => return error,
    };
    outbox.acquire("r", "h", TTL).await.expect_err("an error")
}

fn assert_refused(error: &StoreError, words: &str) {
    assert_eq!(error.failure, StoreFailure::Refused, "{}", chain(error));
    assert!(chain(error).contains(words), "{}", chain(error));
}

#[tokio::test]
async fn what_is_wrong_with_the_database_is_told() {
    let server = Postgres::shared(17).await;
    let empty = server.database().await;
    assert_refused(&acquire(&[("url", &empty.url)]).await, "run `onewrite migrate`");
    let missing = empty.url.replace(&empty.name, "no_such_database");
    assert_refused(&acquire(&[("url", &missing)]).await, "the database does not exist");
    assert_refused(
        &acquire(&[("url", &empty.url_as("no_such_role"))]).await,
        "correct user, password or pg_hba.conf",
    );
    let tls = format!("{}?sslmode=require", empty.url);
    assert_refused(&acquire(&[("url", &tls)]).await, "the server offers no TLS");
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_one_are_told() {
    let fixture = Fixture::new().await;
    let role = format!("secretive_{}", fixture.database.name);
    run(
        &fixture.application,
        &format!(
            "DO $$ BEGIN IF to_regrole('password_users') IS NULL THEN CREATE ROLE password_users; END IF; END $$; \
             CREATE ROLE {role} LOGIN PASSWORD 'right' IN ROLE password_users"
        ),
    )
    .await;
    let url = fixture.database.url_as(&role);
    let wrong = acquire(&[("url", &url), ("password", "wr0ng")]).await;
    assert_refused(&wrong, "correct user, password");
    assert!(!chain(&wrong).contains("wr0ng"));
    assert_refused(&acquire(&[("url", &url)]).await, "such as a password");
    // With the right one it is the privileges that are missing.
    assert_refused(
        &acquire(&[("url", &url), ("password", "right")]).await,
        "the user lacks a privilege",
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let server = Postgres::start(17, &[]).await;
    let fixture = Fixture::of(server.database().await).await;
    let mut feed = fixture.feed().await;
    let lease = fixture.begin(&everything()).await;
    server.stop().await;
    let unavailable = Some(StoreFailure::Unavailable);
    assert_eq!(
        acquire(&[("url", &fixture.database.url)]).await.failure,
        StoreFailure::Unavailable
    );
    assert_eq!(
        fixture
            .outbox
            .renew(&lease, TTL, &[])
            .await
            .err()
            .map(|error| error.failure),
        unavailable
    );
    for _ in 0..2 {
        assert_eq!(
            feed.next(super::fixture::LIMIT).await.err().map(|error| error.failure),
            unavailable
        );
    }
    server.restart().await;
    // The small calls connect anew, a source does not.
    assert!(fixture.outbox.renew(&lease, TTL, &[]).await.is_ok());
    assert_eq!(
        feed.next(super::fixture::LIMIT).await.err().map(|error| error.failure),
        unavailable
    );
    fixture.feed_of(&lease, &everything()[0]).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable_in_time() {
    let server = Postgres::start(17, &[]).await;
    let database = server.database().await;
    server.pause();
    let error = acquire(&[("url", &database.url), ("connect_timeout", "300ms")]).await;
    server.resume();
    assert_eq!(error.failure, StoreFailure::Unavailable);
    assert!(
        error.to_string().contains(&format!("{:?}", Duration::from_millis(300))),
        "{error}"
    );
}

/// The relay's role, with the privileges that the migration grants it and no others, can do all that a relay does.
#[tokio::test]
async fn the_granted_privileges_are_enough() {
    let fixture = Fixture::new().await;
    let role = format!("relay_{}", fixture.database.name);
    run(&fixture.application, &format!("CREATE ROLE {role} LOGIN")).await;
    let grant = onewrite::postgres::Grant::new(&role, onewrite::postgres::Privileges::Relay).expect("a role");
    run(&fixture.application, &grant.sql()).await;
    let outbox = open(&[("url", &fixture.database.url_as(&role))]).expect("an outbox");
    let fixture = Fixture { outbox, ..fixture };
    let lease = fixture.begin(&everything()).await;
    let mut feed = fixture.feed_of(&lease, &everything()[0]).await;
    let old =
        "INSERT INTO onewrite.outbox (topic, payload, segment) SELECT 't', 'x', i FROM generate_series(0, 3) AS i";
    run(&fixture.application, old).await;
    let events = feed.wait_for(4).await;
    feed.park(&events[0], super::fixture::poison("no")).await;
    feed.settle(&events).await;
    run(&fixture.application, "UPDATE onewrite.parked_event SET state = 'retry'").await;
    let mut redeliveries = fixture.redeliveries(&lease, &everything()[0]).await;
    let again = redeliveries.wait_for(1).await;
    redeliveries.settle(&again).await;
    assert_eq!(
        fixture
            .outbox
            .maintain(&lease)
            .await
            .expect("maintenance")
            .emptied
            .len(),
        2
    );
    fixture.outbox.halt(&lease, "all", "no").await.expect("halted");
    fixture.outbox.renew(&lease, TTL, &[]).await.expect("controls");
    fixture.outbox.release(&lease).await.expect("released");
}
