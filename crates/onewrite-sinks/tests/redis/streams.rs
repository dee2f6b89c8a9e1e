//! What is written where.

use onewrite_core::sink::FindingLevel;
use onewrite_testkit::servers::{Redis, Reply};

use super::{connected, connector, done, event_for, numbers};
use crate::support::{deliver, event, words};

#[tokio::test]
async fn an_entry_has_the_fields_that_the_documentation_names() {
    let redis = Redis::shared().await;
    let sink = connected(&redis.url(), &[("stream", "fields")]).await;
    let mut event = event(1, Some("42"));
    event.headers = vec![("traceparent".into(), "00-1".into())];
    assert_eq!(words(&deliver(&*sink, &[event]).await.1), ["delivered"]);
    let Reply::Array(entries) = redis.command(&["XRANGE", "fields", "-", "+"]).await else {
        panic!("no entries");
    };
    let Reply::Array(entry) = &entries[0] else {
        panic!("no entry")
    };
    let Reply::Array(fields) = &entry[1] else {
        panic!("no fields")
    };
    let fields: Vec<String> = fields.iter().map(|field| field.clone().text()).collect();
    let expected = [
        ("id", "00000000-0000-0000-0000-000000000001"),
        ("topic", "shop.orders"),
        ("type", "OrderPlaced"),
        ("occurred_at", "2023-11-14T22:13:20.000001Z"),
        ("key", "42"),
        ("content_type", "application/json"),
        ("header:traceparent", "00-1"),
        ("payload", "{\"number\": 1}"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| [name, value]).concat());
}

#[tokio::test]
async fn the_template_names_the_stream_and_what_it_lacks_parks() {
    let redis = Redis::shared().await;
    let sink = connected(&redis.url(), &[("stream", "{{eu}}.{topic}.{header.region}")]).await;
    let mut there = event_for("by-template", 1, Some("a"));
    there.headers = vec![("Region".into(), "x".into())];
    let lacking = event_for("by-template", 2, Some("b"));
    let mut behind = event_for("by-template", 3, Some("b"));
    behind.headers.clone_from(&there.headers);
    let (result, outcomes) = deliver(&*sink, &[there, lacking, behind]).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["delivered", "park", "unknown"]);
    assert_eq!(numbers(&redis, "{eu}.by-template.x").await, [1]);
}

#[tokio::test]
async fn a_refused_stream_holds_back_the_key_in_other_streams_too() {
    let redis = Redis::shared().await;
    done(&redis, &["SET", "held-text", "x"]).await;
    let sink = connected(&redis.url(), &[]).await;
    let batch = [
        event_for("held-stream", 1, Some("a")),
        event_for("held-text", 2, Some("a")),
        event_for("held-stream", 3, Some("a")),
        event_for("held-text", 4, Some("b")),
        event_for("held-stream", 5, Some("c")),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["delivered", "park", "unknown", "park", "delivered"]);
    let mut arrived = numbers(&redis, "held-stream").await;
    arrived.sort_unstable();
    assert_eq!(arrived, [1, 5]);
}

#[tokio::test]
async fn a_stream_that_is_deleted_in_mid_run_begins_anew() {
    let redis = Redis::shared().await;
    let sink = connected(&redis.url(), &[]).await;
    for number in 1..=3 {
        done(&redis, &["DEL", "deleted"]).await;
        let batch = [event_for("deleted", number, Some("a"))];
        assert_eq!(words(&deliver(&*sink, &batch).await.1), ["delivered"]);
        assert_eq!(numbers(&redis, "deleted").await, [number]);
    }
}

#[tokio::test]
async fn a_stream_keeps_as_much_as_the_options_say() {
    let redis = Redis::shared().await;
    let batch: Vec<_> = (1..=50).map(|number| event_for("trimmed", number, None)).collect();
    let sink = connected(&redis.url(), &[("max_entries", "10"), ("trim", "exact")]).await;
    deliver(&*sink, &batch).await.0.unwrap();
    assert_eq!(numbers(&redis, "trimmed").await, (41..=50).collect::<Vec<_>>());
    // An entry of 1970, and an hour that is over.
    let old = ["XADD", "aged", "1-1", "id", "x", "payload", "x"];
    done(&redis, &old).await;
    let sink = connected(
        &redis.url(),
        &[("max_age", "1h"), ("trim", "exact"), ("stream", "aged")],
    )
    .await;
    deliver(&*sink, &batch[..3]).await.0.unwrap();
    assert_eq!(numbers(&redis, "aged").await, [1, 2, 3]);
}

#[tokio::test]
async fn a_database_is_chosen() {
    let redis = Redis::start(&[]).await;
    let sink = connected(&redis.url(), &[("database", "3"), ("stream", "numbered")]).await;
    deliver(&*sink, &[event(1, None)]).await.0.unwrap();
    assert_eq!(numbers(&redis, "numbered").await, []);
    let space = redis.command(&["INFO", "keyspace"]).await.text();
    assert!(space.contains("db3:keys=1"), "{space}");
    let error = super::refused(&*connector(&redis.url(), &[("database", "99")])).await;
    assert_eq!(error.action, onewrite_core::Action::Halt);
    assert!(error.to_string().contains("DB index is out of range"), "{error}");
}

#[tokio::test]
async fn a_check_tells_what_works_and_what_loses_events() {
    let redis = Redis::start(&[("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")]).await;
    done(&redis, &["SET", "text", "x"]).await;
    done(&redis, &["XADD", "there", "*", "a", "b"]).await;
    let topics = ["text", "there", "new"].map(str::to_owned);
    let findings = connector(&redis.url(), &[]).probe(&topics).await;
    let told: Vec<_> = findings
        .iter()
        .map(|finding| (finding.level, finding.message.as_str()))
        .collect();
    let expected = [
        (FindingLevel::Works, "answers, is not a replica"),
        (FindingLevel::Warning, "\"appendonly no\": a crash loses"),
        (FindingLevel::Warning, "\"allkeys-lru\""),
        (FindingLevel::Broken, "is a string, no stream"),
        (FindingLevel::Works, "is there, and may be written to"),
        (FindingLevel::Works, "is not there; the first event makes it"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((level, message), (expected, part)) in told.iter().zip(expected) {
        assert!(*level == expected && message.contains(part), "{level:?} {message}");
    }
    let entries = redis.command(&["XLEN", "there"]).await;
    assert_eq!((entries, numbers(&redis, "new").await), (Reply::Integer(1), vec![]));
}
