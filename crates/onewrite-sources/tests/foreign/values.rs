//! What columns of every type become, by polling and over the log alike.

use onewrite_core::Sourced;

use super::fixture::Foreign;

const CREATE: &str = "CREATE TYPE mood AS ENUM ('so so', 'fine'); CREATE DOMAIN name80 AS varchar(80); \
    CREATE TABLE outbox (seq bigserial PRIMARY KEY, id text, topic char(10), key numeric(10,2), kind mood, body json, headers text, \
                         at bigint, mime name80, place inet)";

const COLUMNS: (&str, &[(&str, &str)]) = (
    "columns",
    &[
        ("id", "id"),
        ("key", "key"),
        ("type", "kind"),
        ("payload", "body"),
        ("headers", "headers"),
        ("time", "at"),
        ("content_type", "mime"),
    ],
);

async fn read(settle: &str) -> Vec<Sourced> {
    let texts = [
        ("contract", "columns"),
        ("table", "outbox"),
        ("topic", "{topic}.{place}"),
        ("settle", settle),
    ];
    let foreign = Foreign::new(CREATE, &texts, &[COLUMNS]).await;
    let mut feed = foreign.feed().await;
    foreign
        .sql(
            "INSERT INTO outbox (id, topic, key, kind, body, headers, at, mime, place) VALUES \
             ('order-1', 'orders', 12.50, 'so so', '{\"a\":  1}', '{\"h\": \"ü\", \"n\": 1}', 1700000000123, 'text/x', '10.0.0.1'), \
             ('6F9619FF-8B86-D011-B42D-00C04FC964FF', 'o', NULL, NULL, '[]', NULL, NULL, NULL, '::1/64'), \
             (NULL, 'o', 1, 'fine', NULL, '[1]', 99999999999999999, '', '10.0.0.0/8')",
        )
        .await;
    let events = feed.wait_for(3).await;
    drop(feed);
    foreign.end().await;
    events
}

#[tokio::test]
async fn both_ways_read_the_same() {
    let (polled, logged) = (read("delete").await, read("nothing").await);
    for events in [&polled, &logged] {
        let event = &events[0].event;
        assert_eq!(
            (&*event.topic, event.key.as_deref()),
            ("orders.10.0.0.1", Some("12.50"))
        );
        assert_eq!(
            (event.event_type.as_deref(), &event.payload[..]),
            (Some("so so"), b"{\"a\":  1}".as_slice())
        );
        assert_eq!(
            (&*event.content_type, event.occurred_at.as_millisecond()),
            ("text/x", 1_700_000_000_123)
        );
        let headers: Vec<_> = event.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(headers, [("h", "ü"), ("n", "1")]);
        let event = &events[1].event;
        assert_eq!(event.id.to_string(), "6f9619ff-8b86-d011-b42d-00c04fc964ff");
        assert_eq!(
            (&*event.topic, event.key.as_deref(), event.event_type.as_deref()),
            ("o.::1/64", None, None)
        );
        assert_eq!((&*event.content_type, event.headers.len()), ("application/json", 0));
        let defects: Vec<_> = events.iter().map(|sourced| sourced.defect.as_deref()).collect();
        assert_eq!(
            defects,
            [None, None, Some("the column id is NULL; every event needs an id")]
        );
    }
    assert_eq!(polled[0].event.id, logged[0].event.id);
}
