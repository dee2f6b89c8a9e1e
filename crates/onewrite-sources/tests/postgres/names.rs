//! Names that would mean something to SQL mean nothing.

use onewrite_core::routing::{Match, Pattern, shares};

use super::fixture::{Fixture, LIMIT, TTL, payloads, poison, run};

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

#[tokio::test]
async fn topics_types_keys_and_patterns_are_what_they_are() {
    let fixture = Fixture::new().await;
    let routes: Vec<_> = HOSTILE
        .iter()
        .flat_map(|name| {
            let literal = Match {
                topic: Some(Pattern::new(*name)),
                event_type: None,
            };
            let run = Match {
                topic: Some(Pattern::new(format!("{name}*"))),
                event_type: Some(Pattern::new(format!("*{name}"))),
            };
            [(format!("{name} literal"), literal), (format!("{name} run"), run)]
        })
        .collect();
    let shares = shares("r'\"\\%_", &routes);
    let lease = fixture
        .outbox
        .acquire("r'\"\\%_", "h'", TTL)
        .await
        .expect("an answer")
        .expect("the lease");
    fixture.outbox.adopt(&lease, &shares).await.expect("adopted routes");
    let append = "INSERT INTO onewrite.outbox (topic, key, type, payload) VALUES ($1, $2, $3, convert_to($4, 'UTF8'))";
    let mut rows = Vec::new();
    for name in HOSTILE {
        for (topic, event_type) in [
            ((*name).to_owned(), None),
            (format!("{name}!"), Some(format!("!{name}"))),
            (format!("{name}!"), None),
        ] {
            let payload = format!("{topic} {event_type:?}");
            fixture
                .application
                .execute(append, &[&topic, name, &event_type, &payload])
                .await
                .expect("an appended event");
            rows.push((topic, event_type, payload));
        }
    }
    for share in &shares {
        let mut feed = fixture.feed_of(&lease, share).await;
        let events = feed.drain(LIMIT).await;
        let expected: Vec<&str> = rows
            .iter()
            .filter(|(topic, event_type, _)| share.takes(topic, event_type.as_deref()))
            .map(|(_, _, payload)| payload.as_str())
            .collect();
        assert_eq!(payloads(&events), expected, "of route {:?}", share.route);
        for event in &events {
            feed.park(event, poison("it's \"\\ %")).await;
        }
        feed.settle(&events).await;
        let keys = fixture.outbox.blocked_keys(&lease, &share.route).await.expect("keys");
        let mut expected: Vec<_> = events.iter().filter_map(|event| event.event.key.clone()).collect();
        let (mut keys, mut sorted) = (keys, {
            expected.sort_unstable();
            expected.dedup();
            expected
        });
        keys.sort_unstable();
        sorted.sort_unstable();
        assert_eq!(keys, sorted, "of route {:?}", share.route);
    }
    run(&fixture.application, "UPDATE onewrite.parked_event SET state = 'retry'").await;
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
