//! What is appended is what is in the table, and a rollback leaves nothing.

use onewrite::event::InvalidEvent;
use onewrite::limits::{APPEND_BYTES_MAX, PAYLOAD_BYTES_MAX};
use onewrite::postgres::{AppendError, append, append_all, append_under_row_lock};
use onewrite::{Event, TransactionState};
use serde_json::Value;
use tokio_postgres::Client;

use super::database::{Database, count};

const HOSTILE: &str = "'; DROP TABLE onewrite.outbox; -- \" \\ \\' $$ $1 %s {} é 漢字 🦀 \u{202e} \u{feff}";

fn hostile() -> Event {
    Event::new(HOSTILE, format!("{HOSTILE}\0\u{1}").into_bytes())
        .key(format!("{HOSTILE}\n\t\u{7f}"))
        .event_type(HOSTILE)
        .content_type(HOSTILE)
        .header("traceparent", HOSTILE)
        .header("tab", "a\tb")
        .header("empty", "")
}

/// Reads every event back in the order of the table.
async fn read(client: &Client) -> Vec<Event> {
    let rows = client
        .query(
            "SELECT id, topic, key, type, content_type, headers, payload FROM onewrite.outbox ORDER BY sequence",
            &[],
        )
        .await
        .expect("read the outbox");
    rows.iter()
        .map(|row| {
            let headers: Value = row.get(5);
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let headers = headers.as_object().expect("an object").iter();
            Event {
                id: row.get(0),
                topic: row.get(1),
                key: row.get(2),
                event_type: row.get(3),
                content_type: row.get(4),
                headers: headers.map(|(name, value)| (name.clone(), text(value))).collect(),
                payload: row.get::<_, Vec<u8>>(6).into(),
            }
        })
        .collect()
}

fn sorted(mut event: Event) -> Event {
    event.headers.sort();
    event
}

#[tokio::test]
async fn hostile_texts_arrive_as_they_are_by_every_way() {
    let mut client = Database::migrated().await.owner().await;
    let events: Vec<Event> = vec![
        hostile(),
        Event::new("t", ""),
        Event::new("t", vec![0_u8, 255]).key(""),
        hostile(),
        hostile(),
        Event::json("t", &serde_json::json!({"a": "\u{0}"})).expect("JSON"),
    ];
    let transaction = client.transaction().await.expect("begin");
    let id = append(&transaction, &events[0]).await.expect("append");
    assert_eq!(id, events[0].id);
    append_all(&transaction, &events[1..4]).await.expect("append_all");
    append_under_row_lock(&transaction, &events[4..])
        .await
        .expect("append_under_row_lock");
    transaction.commit().await.expect("commit");
    let expected: Vec<Event> = events.into_iter().map(sorted).collect();
    assert_eq!(read(&client).await, expected);
}

#[tokio::test]
async fn a_rollback_leaves_nothing_and_a_commit_everything() {
    let mut client = Database::migrated().await.owner().await;
    let transaction = client.transaction().await.expect("begin");
    append(&transaction, &hostile()).await.expect("append");
    append_all(&transaction, &[hostile(), hostile()])
        .await
        .expect("append_all");
    append_under_row_lock(&transaction, &[hostile()])
        .await
        .expect("append_under_row_lock");
    transaction.rollback().await.expect("roll back");
    assert_eq!(count(&client).await, 0);
    let transaction = client.transaction().await.expect("begin");
    append_all(&transaction, &[]).await.expect("append nothing");
    append(&transaction, &hostile()).await.expect("append");
    transaction.commit().await.expect("commit");
    assert_eq!(count(&client).await, 1);
}

#[tokio::test]
async fn more_than_one_statement_can_carry_arrives_in_order() {
    let mut client = Database::migrated().await.owner().await;
    let body = vec![7_u8; APPEND_BYTES_MAX / 3];
    let events: Vec<Event> = (0..8)
        .map(|at| Event::new("t", body.clone()).key(format!("{at}")))
        .collect();
    let transaction = client.transaction().await.expect("begin");
    append_all(&transaction, &events).await.expect("append_all");
    transaction.commit().await.expect("commit");
    let ids = |events: &[Event]| events.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(&read(&client).await), ids(&events));
}

#[tokio::test]
async fn an_event_that_breaks_a_limit_leaves_the_transaction_untouched() {
    let mut client = Database::migrated().await.owner().await;
    let transaction = client.transaction().await.expect("begin");
    append(&transaction, &hostile()).await.expect("append");
    let large = Event::new("t", vec![0; PAYLOAD_BYTES_MAX + 1]);
    let error = append(&transaction, &large).await.expect_err("too large");
    assert_eq!(
        error.to_string(),
        format!(
            "the event {} cannot be appended: payload has 67108865 bytes; at most 67108864 are allowed; \
             the transaction is untouched",
            large.id
        )
    );
    assert_eq!(error.transaction(), TransactionState::Untouched);
    let nameless = Event::new("", "x");
    for error in [
        append_all(&transaction, &[hostile(), nameless.clone()]).await,
        append_under_row_lock(&transaction, &[hostile(), nameless.clone()]).await,
    ] {
        let AppendError::Invalid { event, source } = error.expect_err("no topic") else {
            panic!("another error");
        };
        assert_eq!((event, source), (nameless.id, InvalidEvent::Empty { field: "topic" }));
    }
    transaction.commit().await.expect("commit");
    assert_eq!(count(&client).await, 1);
}

#[tokio::test]
async fn the_largest_payload_passes() {
    let mut client = Database::migrated().await.owner().await;
    let transaction = client.transaction().await.expect("begin");
    let large = Event::new("t", vec![0; PAYLOAD_BYTES_MAX]);
    append(&transaction, &large).await.expect("append");
    append_all(&transaction, &[large]).await.expect("append_all");
    transaction.commit().await.expect("commit");
    let lengths = "SELECT bool_and(octet_length(payload) = 67108864) FROM onewrite.outbox";
    assert!(client.query_one(lengths, &[]).await.expect("lengths").get::<_, bool>(0));
}

#[tokio::test]
async fn errors_say_what_has_become_of_the_transaction_and_what_to_do() {
    let mut client = Database::empty().await.owner().await;
    let transaction = client.transaction().await.expect("begin");
    let error = append(&transaction, &hostile()).await.expect_err("no schema");
    assert_eq!(error.transaction(), TransactionState::Aborted);
    let told = error.to_string();
    assert!(
        told.contains("`onewrite migrate` creates or upgrades the schema"),
        "{told}"
    );
    assert!(told.ends_with("the transaction is aborted: roll it back"), "{told}");
    // A savepoint taken before confines the damage.
    drop(transaction);
    let mut transaction = client.transaction().await.expect("begin");
    let savepoint = transaction.transaction().await.expect("savepoint");
    append(&savepoint, &hostile()).await.expect_err("no schema");
    savepoint.rollback().await.expect("roll back to the savepoint");
    transaction.batch_execute("SELECT 1").await.expect("go on");
}

#[tokio::test]
async fn a_lost_connection_means_that_nothing_was_committed() {
    let database = Database::migrated().await;
    let mut client = database.owner().await;
    let owner = database.owner().await;
    let pid: i32 = client
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .expect("pid")
        .get(0);
    let transaction = client.transaction().await.expect("begin");
    append(&transaction, &hostile()).await.expect("append");
    owner
        .execute("SELECT pg_terminate_backend($1)", &[&pid])
        .await
        .expect("terminate");
    // Until the server has come to it, further appends still pass.
    let error = loop {
        if let Err(error) = append(&transaction, &hostile()).await {
            break error;
        }
    };
    assert_eq!(error.transaction(), TransactionState::RolledBack, "{error:?}");
    assert_eq!(count(&owner).await, 0);
}

#[tokio::test]
async fn nothing_is_left_prepared_in_the_session() {
    let mut client = Database::migrated().await.owner().await;
    let transaction = client.transaction().await.expect("begin");
    let id = append(&transaction, &hostile()).await.expect("append");
    append_all(&transaction, &[hostile()]).await.expect("append_all");
    append_under_row_lock(&transaction, &[hostile()])
        .await
        .expect("append_under_row_lock");
    assert!(
        onewrite::postgres::receive(&transaction, "c", id)
            .await
            .expect("receive")
    );
    transaction.commit().await.expect("commit");
    let week = std::time::Duration::from_secs(7 * 24 * 3600);
    onewrite::postgres::prune_inbox(&client, week).await.expect("prune");
    onewrite::postgres::current_version(&client).await.expect("version");
    let prepared = client
        .simple_query("SELECT name FROM pg_prepared_statements")
        .await
        .expect("look");
    let rows = prepared
        .iter()
        .filter(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(_)));
    assert_eq!(rows.count(), 0);
}
