//! A route that takes nothing for longer than the server waits for an answer.

use onewrite_testkit::servers::Postgres;
use onewrite_testkit::wait::until;

use super::fixture::{COLUMNS, Foreign, TABLE};

/// More than waits in the relay and in both ends' sockets.
const ROWS: usize = 64;

#[tokio::test]
async fn a_server_is_answered_while_nothing_is_taken() {
    let server = Postgres::start(15, &[("wal_sender_timeout", "2s")]).await;
    let texts = [("contract", "columns"), ("table", "outbox")];
    let foreign = Foreign::on(server, TABLE, &texts, &[COLUMNS]).await;
    let mut feed = foreign.feed().await;
    let insert = format!(
        "INSERT INTO outbox (topic, key, body) SELECT 't', 'k', repeat('x', 1000000) FROM generate_series(1, {ROWS})"
    );
    foreign.sql(&insert).await;
    // The server sends no more, since nobody takes it.
    let sent = async || {
        foreign
            .number("SELECT (sent_lsn - '0/0')::bigint FROM pg_stat_replication")
            .await
    };
    let behind = "SELECT count(*) FROM pg_stat_replication WHERE sent_lsn < pg_current_wal_lsn()";
    until("the server is held up", async || {
        (foreign.number(behind).await > 0).then_some(())
    })
    .await;
    let (reader, stood) = (
        foreign.number("SELECT pid::bigint FROM pg_stat_replication").await,
        sent().await,
    );
    let answered = format!(
        "SELECT count(*) FROM pg_stat_replication WHERE pid = {reader} AND reply_time > backend_start + interval '7 seconds'"
    );
    until("answers go on", async || {
        (foreign.number(&answered).await > 0).then_some(())
    })
    .await;
    assert!(sent().await >= stood);
    // And over the same connection everything comes.
    assert_eq!(feed.wait_for(ROWS).await.len(), ROWS);
    assert_eq!(
        foreign.number("SELECT pid::bigint FROM pg_stat_replication").await,
        reader
    );
    drop(feed);
    foreign.end().await;
}
