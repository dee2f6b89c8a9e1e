//! The order of commits is the order of a key's events, and appends alone never deadlock.

use onewrite::Event;
use onewrite::postgres::{append, append_all};

use super::database::{Database, count};

#[tokio::test]
async fn of_two_transactions_on_one_key_the_first_to_commit_has_the_lower_sequence() {
    let database = Database::migrated().await;
    let (mut first, mut second) = (database.owner().await, database.owner().await);
    // The later transaction begins first and has its number first; only the key's lock decides.
    let later = second.transaction().await.expect("begin");
    later
        .batch_execute("SELECT pg_current_xact_id()")
        .await
        .expect("a transaction number");
    let earlier = first.transaction().await.expect("begin");
    let (event_1, event_2) = (Event::new("t", "1").key("k"), Event::new("t", "2").key("k"));
    append(&earlier, &event_1).await.expect("append");
    let write_later = async {
        append(&later, &event_2).await.expect("append");
        later.commit().await.expect("commit");
    };
    let observer = database.owner().await;
    let commit_earlier = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
                       (SELECT oid FROM pg_database WHERE datname = current_database())";
        while observer.query_one(waiting, &[]).await.expect("look").get::<_, i64>(0) == 0 {
            tokio::task::yield_now().await;
        }
        earlier.commit().await.expect("commit");
    };
    tokio::join!(write_later, commit_earlier);
    let rows = observer
        .query(
            "SELECT id, xid::text::bigint FROM onewrite.outbox ORDER BY sequence",
            &[],
        )
        .await
        .expect("read");
    assert_eq!(rows[0].get::<_, onewrite::Uuid>(0), event_1.id);
    assert_eq!(rows[1].get::<_, onewrite::Uuid>(0), event_2.id);
    assert!(
        rows[0].get::<_, i64>(1) > rows[1].get::<_, i64>(1),
        "the case that a naive reader gets wrong"
    );
}

#[tokio::test]
async fn other_keys_and_events_without_a_key_wait_for_nobody() {
    let database = Database::migrated().await;
    let (mut first, mut second) = (database.owner().await, database.owner().await);
    let open = first.transaction().await.expect("begin");
    append(&open, &Event::new("t", "1").key("a")).await.expect("append");
    append(&open, &Event::new("t", "1")).await.expect("append");
    let transaction = second.transaction().await.expect("begin");
    transaction
        .batch_execute("SET LOCAL lock_timeout = '10s'")
        .await
        .expect("set");
    append(&transaction, &Event::new("t", "2").key("b"))
        .await
        .expect("another key");
    append(&transaction, &Event::new("t", "2")).await.expect("no key");
    append_all(&transaction, &[Event::new("t", "3"), Event::new("t", "3").key("c")])
        .await
        .expect("both");
    transaction.commit().await.expect("commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overlapping_sets_of_keys_never_deadlock() {
    const WRITERS: usize = 8;
    const TRANSACTIONS: usize = 40;
    const EVENTS: usize = 12;
    let database = Database::migrated().await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let mut client = database.owner().await;
        writers.spawn(async move {
            for turn in 0..TRANSACTIONS {
                // Each writer goes through the same few keys in an order and a direction of its own.
                let key = |at: usize| (writer + if (writer + turn) % 2 == 0 { at } else { EVENTS - at }) % 10;
                let event = |at| Event::new("t", "").key(format!("key-{}", key(at)));
                let events: Vec<Event> = (0..EVENTS).map(event).collect();
                let transaction = client.transaction().await.expect("begin");
                append_all(&transaction, &events).await.expect("append_all");
                transaction.commit().await.expect("commit");
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.expect("a writer");
    }
    let total = count(&database.owner().await).await;
    assert_eq!(total, (WRITERS * TRANSACTIONS * EVENTS) as i64);
}
