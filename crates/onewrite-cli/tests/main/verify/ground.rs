//! The proving ground of PostgreSQL.

use std::sync::Arc;

use onewrite::Event;
use onewrite_core::options::Options;
use onewrite_core::verify::{ProvingGround, Run, TransactionEnd, Written};
use onewrite_sources::registry::source_type;
use onewrite_testkit::wait::until;
use tokio_postgres::NoTls;

use super::over_postgres;

const SINK: &str = "type = \"file\"\npath = \"events.jsonl\"";

fn ground(url: &str) -> Arc<dyn ProvingGround> {
    let postgres = source_type("postgres").expect("it is built in");
    let options = Options::from_texts("source", postgres.fields, &[("url", url)]).expect("options");
    postgres.ground(&options).expect("a ground")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relays_connections_are_known_by_their_name_and_cut() {
    let (database, _program) = over_postgres("poll", SINK).await;
    let ground = ground(&database.url);
    let named = ground.named("shop-verify-x");
    assert_eq!((named.len(), named[0].0), (1, "url"));
    let connected = tokio_postgres::connect(named[0].1.expose(), NoTls).await;
    let (client, connection) = connected.expect("a connection");
    let connection = tokio::spawn(connection);
    client.simple_query("SELECT 1").await.expect("it lives");
    assert_eq!(ground.cut("shop-verify-x").await.expect("an answer"), Some(1));
    assert!(connection.await.expect("it ends").is_err());
    until("nothing is left to cut", async || {
        let cut = ground.cut("shop-verify-x").await.expect("an answer");
        cut.is_none().then_some(())
    })
    .await;
}

#[test]
fn a_name_is_added_to_whatever_url_there_is() {
    for (url, named) in [
        ("postgres://h/d", "postgres://h/d?application_name=x"),
        (
            "postgres://h/d?connect_timeout=5",
            "postgres://h/d?connect_timeout=5&application_name=x",
        ),
        ("host=h dbname=d", "host=h dbname=d application_name=x"),
    ] {
        assert_eq!(ground(url).named("x")[0].1.expose(), named);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_commit_is_told_when_its_transaction_has_ended() {
    let (database, _program) = over_postgres("poll", SINK).await;
    let ground = ground(&database.url);
    let after = ground.last_sequence().await.expect("a sequence");
    let run = Run::new(jiff::Timestamp::now(), 1, after);
    let event = || Event::new(run.topic(), "{}").key("k");
    let (open, left) = (event(), event());
    let mut writer = ground.writer().await.expect("a writer");
    let written = writer.write(std::slice::from_ref(&left), TransactionEnd::Abandon).await;
    assert!(matches!(written, Written::Unknown), "{written:?}");
    let written = writer.write(&[event()], TransactionEnd::RollBack).await;
    assert!(
        matches!(written, Written::RolledBack),
        "the writer goes on: {written:?}"
    );
    // A transaction that holds the key: whoever asks waits for it.
    let mut client = database.connect().await;
    let transaction = client.transaction().await.expect("a transaction");
    onewrite::postgres::append(&transaction, &open).await.expect("an event");
    let (keys, ids) = (["k".to_owned()], [open.id, left.id]);
    let mut asking = std::pin::pin!(ground.committed(&run, &keys, &ids));
    let other = database.connect().await;
    let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    tokio::select! {
        committed = &mut asking => panic!("{committed:?}"),
        () = until("it waits", async || other.query_opt(waits, &[]).await.expect("an answer").map(|_| ())) => {}
    }
    transaction.commit().await.expect("it commits");
    assert_eq!(asking.await.expect("an answer"), ids.into_iter().collect());
    assert_eq!(ground.remove(&run).await.expect("an answer"), 2);
}
