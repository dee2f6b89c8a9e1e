//! Names that would mean something to SQL mean nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use onewrite_core::routing::{Match, Pattern, Share, shares};

use super::fixture::{Fixture, LIMIT, TTL, payloads, poison};

const HOSTILE: &[&str] = &[
    "a'b",
    "a\"b",
    "a\\b",
    "a%b",
    "a_b",
    "aXb",
    "'; DROP TABLE onewrite.outbox; --",
    "$1",
    "ü☃𝄞",
    "a\\%b",
    "E'\\n'",
    "{\"a\"}",
    "a,b",
    "NULL",
];

const RELAY: &str = "r'\"\\%_";

#[tokio::test]
async fn topics_types_keys_and_patterns_are_what_they_are() {
    let fixture = Fixture::new().await;
    let shares = hostile_shares();
    let lease = fixture
        .outbox
        .acquire(RELAY, "h'", TTL)
        .await
        .expect("an answer")
        .expect("the lease");
    fixture.outbox.adopt(&lease, &shares).await.expect("adopted routes");
    let rows = append_hostile(&fixture).await;
    for share in &shares {
        let mut feed = fixture.feed_of(&lease, share).await;
        let events = feed.drain(LIMIT).await;
        let takes = |row: &&Row| share.takes(&row.topic, row.event_type.as_deref());
        let expected: Vec<&str> = rows.iter().filter(takes).map(|row| row.payload.as_str()).collect();
        assert_eq!(payloads(&events), expected, "of route {:?}", share.route);
        for event in &events {
            feed.park(event, poison("it's \"\\ %")).await;
        }
        feed.settle(&events).await;
        let keys: BTreeSet<Arc<str>> = events.iter().filter_map(|event| event.event.key.clone()).collect();
        let blocked = fixture.outbox.blocked_keys(&lease, &share.route).await.expect("keys");
        assert_eq!(
            blocked.into_iter().collect::<BTreeSet<_>>(),
            keys,
            "of route {:?}",
            share.route
        );
    }
    fixture.sql("UPDATE onewrite.parked_event SET state = 'retry'").await;
    let mut again = 0;
    for share in &shares {
        let mut redeliveries = fixture.redeliveries(&lease, share).await;
        let events = redeliveries.drain(LIMIT).await;
        again += events.len();
        redeliveries.settle(&events).await;
    }
    assert_eq!(again, rows.len());
    fixture
        .outbox
        .halt(&lease, &shares[0].route, "it's over")
        .await
        .expect("halted");
    let controls = fixture.outbox.renew(&lease, TTL, &[]).await.expect("controls");
    assert_eq!(controls.len(), shares.len());
}

/// For each name a route that takes exactly it as a topic, and one that takes what begins with it and has a type that ends so.
fn hostile_shares() -> Vec<Share> {
    let of = |name: &&str| {
        let literal = Match {
            topic: Some(Pattern::new(*name)),
            event_type: None,
        };
        let topic = Some(Pattern::new(format!("{name}*")));
        let run = Match {
            topic,
            event_type: Some(Pattern::new(format!("*{name}"))),
        };
        [(format!("{name} literal"), literal), (format!("{name} run"), run)]
    };
    shares(RELAY, &HOSTILE.iter().flat_map(of).collect::<Vec<_>>())
}

struct Row {
    topic: String,
    event_type: Option<String>,
    payload: String,
}

async fn append_hostile(fixture: &Fixture) -> Vec<Row> {
    let append = "INSERT INTO onewrite.outbox (topic, key, type, payload) VALUES ($1, $2, $3, convert_to($4, 'UTF8'))";
    let mut rows = Vec::new();
    for name in HOSTILE {
        for (topic, event_type) in [
            ((*name).to_owned(), None),
            (format!("{name}!"), Some(format!("!{name}"))),
            (format!("{name}!"), None),
        ] {
            let payload = format!("{topic} {event_type:?}");
            let appended = fixture
                .application
                .execute(append, &[&topic, name, &event_type, &payload])
                .await;
            appended.expect("an appended event");
            rows.push(Row {
                topic,
                event_type,
                payload,
            });
        }
    }
    rows
}
