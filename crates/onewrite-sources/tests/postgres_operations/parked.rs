//! Parked events: list, retry, skip, edit.

use onewrite_core::store::{ParkedEdit, ParkedFilter};
use onewrite_core::{Operations, StoreFailure};

use super::database::{Database, numbered};

#[tokio::test]
async fn a_list_is_in_order_and_without_payloads_unless_they_are_asked_for() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let first = database.park("orders", "parked", "a").await;
    let second = database.park("orders", "held", "a").await;
    let third = database.park("bills", "parked", "b").await;
    let listed = operations
        .parked(&ParkedFilter::default())
        .await
        .expect("parked events");
    assert!(
        listed
            .iter()
            .all(|event| event.payload.is_empty() && event.payload_bytes == 4)
    );
    let ids: Vec<i64> = listed.iter().map(|event| event.id).collect();
    assert_eq!(ids, [first, second, third]);
    let shown = operations.parked(&numbered(&[first])).await.expect("a parked event");
    assert_eq!(shown[0].payload, b"body");
}

#[tokio::test]
async fn a_filter_picks_what_it_names() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let first = database.park("orders", "parked", "a").await;
    let second = database.park("orders", "held", "a").await;
    let third = database.park("bills", "parked", "b").await;
    let ids = async |filter: ParkedFilter| {
        let events = operations.parked(&filter).await.expect("parked events");
        events.iter().map(|event| event.id).collect::<Vec<_>>()
    };
    assert_eq!(
        ids(ParkedFilter {
            limit: Some(2),
            ..ParkedFilter::default()
        })
        .await,
        [first, second]
    );
    assert_eq!(
        ids(ParkedFilter {
            route: Some("orders".into()),
            ..ParkedFilter::default()
        })
        .await,
        [first, second]
    );
    assert_eq!(
        ids(ParkedFilter {
            key: Some("b".into()),
            ..ParkedFilter::default()
        })
        .await,
        [third]
    );
    assert_eq!(
        ids(ParkedFilter {
            relay: Some("other".into()),
            ..ParkedFilter::default()
        })
        .await,
        [0_i64; 0]
    );
    assert_eq!(
        ids(ParkedFilter {
            topic: Some("' OR true".into()),
            ..ParkedFilter::default()
        })
        .await,
        [0_i64; 0]
    );
    assert_eq!(
        ids(ParkedFilter {
            key: Some("a".into()),
            ..numbered(&[second, third])
        })
        .await,
        [second]
    );
}

#[tokio::test]
async fn an_event_that_is_shown_is_whole() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let id = database.park("orders", "parked", "a").await;
    let shown = operations
        .parked(&numbered(&[id]))
        .await
        .expect("a parked event")
        .remove(0);
    assert_eq!(
        (&*shown.relay, &*shown.route, &*shown.state),
        ("shop", "orders", "parked")
    );
    assert_eq!(
        (shown.key.as_deref(), shown.event_type.as_deref()),
        (Some("a"), Some("T"))
    );
    assert_eq!(
        (&*shown.content_type, shown.headers.to_string()),
        ("text/plain", r#"{"a":"b"}"#.to_owned())
    );
    assert_eq!(
        (shown.payload, shown.attempts, &*shown.error),
        (b"body".to_vec(), 7, "too large")
    );
    assert_eq!(shown.occurred_at.to_string(), "2026-01-02T03:04:05.678901Z");
}

#[tokio::test]
async fn a_retry_marks_poison_and_leaves_what_is_held_to_follow() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.park("orders", "parked", "a").await;
    database.park("orders", "held", "a").await;
    database.park("orders", "parked", "b").await;
    let states = "SELECT string_agg(state, ' ' ORDER BY id) FROM onewrite.parked_event";
    let one = ParkedFilter {
        limit: Some(1),
        ..ParkedFilter::default()
    };
    assert_eq!(operations.retry(&one).await.expect("retry"), 1);
    assert_eq!(database.read(states).await, "retry held parked");
    assert_eq!(operations.retry(&ParkedFilter::default()).await.expect("retry"), 1);
    assert_eq!(operations.retry(&ParkedFilter::default()).await.expect("retry"), 0);
    assert_eq!(database.read(states).await, "retry held retry");
}

#[tokio::test]
async fn skipping_returns_what_is_given_up_and_spares_what_is_only_held() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let poison = database.park("orders", "parked", "a").await;
    let held = database.park("orders", "held", "a").await;
    let retried = database.park("orders", "retry", "b").await;
    let given_up = operations.skip(&ParkedFilter::default()).await.expect("skip");
    let ids: Vec<i64> = given_up.iter().map(|event| event.id).collect();
    assert_eq!(ids, [poison, retried]);
    assert_eq!(given_up[0].payload, b"body");
    assert_eq!(operations.skip(&numbered(&[held])).await.expect("skip").len(), 1);
    assert_eq!(database.read("SELECT count(*) FROM onewrite.parked_event").await, "0");
}

#[tokio::test]
async fn an_edit_changes_what_it_names() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let id = database.park("orders", "parked", "a").await;
    let edit = ParkedEdit {
        payload: Some(Vec::new()),
        topic: Some("shop.'other".into()),
        ..ParkedEdit::default()
    };
    assert!(operations.edit(id, &edit).await.expect("edit"));
    assert!(!operations.edit(id + 1, &edit).await.expect("edit"));
    let headers = Some(serde_json::json!({"x": "y"}));
    let rest = ParkedEdit {
        headers,
        content_type: Some("text/html".into()),
        ..ParkedEdit::default()
    };
    assert!(operations.edit(id, &rest).await.expect("edit"));
    let event = operations
        .parked(&numbered(&[id]))
        .await
        .expect("a parked event")
        .remove(0);
    assert_eq!(
        (&*event.topic, event.payload_bytes, &*event.content_type),
        ("shop.'other", 0, "text/html")
    );
    assert_eq!(
        (event.headers.to_string(), event.event_type.as_deref()),
        (r#"{"x":"y"}"#.to_owned(), Some("T"))
    );
}

#[tokio::test]
async fn an_event_that_may_be_on_its_way_is_not_edited() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let parked = database.park("orders", "parked", "a").await;
    let held = database.park("orders", "held", "a").await;
    let retried = database.park("orders", "retry", "b").await;
    let edit = ParkedEdit {
        payload: Some(b"better".to_vec()),
        ..ParkedEdit::default()
    };
    for (id, state) in [(held, "\"held\""), (retried, "\"retry\"")] {
        let error = operations.edit(id, &edit).await.expect_err("refused");
        assert_eq!(error.failure, StoreFailure::Refused);
        let words = error.to_string();
        let begin = format!("parked event {id} is left as it is: ");
        assert!(words.starts_with(&begin) && words.contains(state), "{words}");
    }
    assert!(operations.edit(parked, &edit).await.expect("edit"));
    let payloads = "SELECT string_agg(convert_from(payload, 'UTF8'), ' ' ORDER BY id) FROM onewrite.parked_event";
    assert_eq!(database.read(payloads).await, "better body body");
}

#[tokio::test]
async fn an_edit_past_the_limits_is_refused() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let id = database.park("orders", "parked", "a").await;
    for (edit, words) in [
        (
            ParkedEdit {
                topic: Some(String::new()),
                ..ParkedEdit::default()
            },
            "topic is empty",
        ),
        (
            ParkedEdit {
                content_type: Some("a\r\nb".into()),
                ..ParkedEdit::default()
            },
            "control character",
        ),
        (
            ParkedEdit {
                headers: Some(serde_json::json!([1])),
                ..ParkedEdit::default()
            },
            "an array at the top",
        ),
        (
            ParkedEdit {
                headers: Some(serde_json::json!({"a b": "x"})),
                ..ParkedEdit::default()
            },
            "header name",
        ),
        (
            ParkedEdit {
                payload: Some(vec![0; (64 << 20) + 1]),
                ..ParkedEdit::default()
            },
            "payload has 67108865 bytes",
        ),
    ] {
        let told = operations.edit(id, &edit).await.unwrap_err().to_string();
        assert!(
            told.starts_with(&format!("parked event {id} is left as it is: ")) && told.contains(words),
            "{told}"
        );
    }
}
