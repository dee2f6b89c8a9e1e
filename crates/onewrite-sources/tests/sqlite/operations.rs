//! What operators see and do.

use onewrite_core::sink::FindingLevel;
use onewrite_core::store::{ParkedFilter, ReplayRequest};

use super::fixture::{Fixture, TTL, poison, routes};

#[tokio::test]
async fn the_status_counts_what_each_route_has_to_do() {
    let fixture = Fixture::new();
    let shares = routes(&[("a", "a"), ("rest", "*")]);
    let lease = fixture.begin(&shares).await;
    let mut feed = fixture.feed_of(&lease, &shares[0]).await;
    for (topic, age) in [("a", 50), ("b", 900), ("a", 100), ("a", 10), ("b", 0)] {
        fixture.sql(&format!(
            "INSERT INTO onewrite_outbox (topic, key, payload, occurred_at) \
             VALUES ('{topic}', 'k', 'x', strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{age} seconds'))"
        ));
    }
    let events = feed.wait_for(3).await;
    feed.retry(&events[1..2]);
    feed.park(&events[0], poison("no")).await;
    feed.settle(&events[..1]).await;
    feed.settle(&events[2..]).await;
    let status = fixture.operations.status().await.expect("a status");
    let [a, rest] = &status.routes[..] else {
        panic!("{status:?}");
    };
    assert_eq!((a.route.as_str(), a.unsettled, a.parked, a.held), ("a", Some(1), 1, 0));
    assert!(a.lag_seconds.is_some_and(|age| (100.0..400.0).contains(&age)), "{a:?}");
    assert_eq!((rest.route.as_str(), rest.unsettled), ("rest", Some(2)));
    assert!(rest.lag_seconds.is_some_and(|age| age >= 900.0), "{rest:?}");
    assert_eq!(status.relays[0].holder.as_deref(), Some("test"));
    assert!(status.relays[0].renewed_seconds_ago.is_some_and(|age| age >= 0.0));
    assert!(status.segments[0].bytes > 0);
    fixture.outbox.release(&lease).await.expect("released");
    assert_eq!(
        fixture.operations.status().await.expect("a status").relays[0].holder,
        None
    );
    // The views are for people with nothing but the sqlite3 shell.
    assert_eq!(
        fixture.number("SELECT parked FROM onewrite_status WHERE route = 'a'"),
        1
    );
    assert_eq!(fixture.number("SELECT payload_bytes FROM onewrite_parked"), 1);
}

#[tokio::test]
async fn pausing_and_resuming_reach_the_relay_and_resuming_lifts_a_halt() {
    let fixture = Fixture::new();
    let lease = fixture.begin(&routes(&[("a", "a"), ("b", "*")])).await;
    let asked = async || -> Vec<(bool, Option<String>)> {
        let controls = fixture.outbox.renew(&lease, TTL, &[]).await.expect("controls");
        controls
            .into_iter()
            .map(|control| (control.paused, control.halted))
            .collect()
    };
    assert_eq!(
        fixture
            .operations
            .set_paused("shop", Some("a"), true)
            .await
            .expect("an answer"),
        1
    );
    assert_eq!(asked().await, [(true, None), (false, None)]);
    fixture.outbox.halt(&lease, "b", "why").await.expect("a recorded halt");
    assert_eq!(
        fixture
            .operations
            .set_paused("shop", None, true)
            .await
            .expect("an answer"),
        2
    );
    assert_eq!(asked().await, [(true, None), (true, Some("why".to_owned()))]);
    let states = fixture.ask::<String>("SELECT group_concat(state, ',' ORDER BY name) FROM onewrite_route", []);
    assert_eq!(states, "paused,halted");
    assert_eq!(
        fixture
            .operations
            .set_paused("shop", None, false)
            .await
            .expect("an answer"),
        2
    );
    assert_eq!(asked().await, [(false, None), (false, None)]);
    assert_eq!(
        fixture
            .operations
            .set_paused("nobody", None, true)
            .await
            .expect("an answer"),
        0
    );
}

/// Parks four events: of two topics, each with two keys.
async fn four_parked() -> Fixture {
    let fixture = Fixture::new();
    let shares = routes(&[("all", "*")]);
    let lease = fixture.begin(&shares).await;
    let mut feed = fixture.feed_of(&lease, &shares[0]).await;
    for (topic, key) in [("t", "k"), ("t", "l"), ("u", "k"), ("u", "l")] {
        fixture.append(topic, Some(key), "payload");
    }
    let events = feed.wait_for(4).await;
    for event in &events {
        feed.park(event, poison("no")).await;
    }
    fixture
}

#[tokio::test]
async fn filters_and_limits_pick_parked_events() {
    let fixture = four_parked().await;
    let parked = async |filter: ParkedFilter| -> Vec<i64> {
        let events = fixture.operations.parked(&filter).await.expect("a list");
        assert!(
            events
                .iter()
                .all(|event| event.payload_bytes == 7 && event.payload.is_empty() != filter.with_payload)
        );
        events.iter().map(|event| event.id).collect()
    };
    let all = parked(ParkedFilter {
        with_payload: true,
        ..ParkedFilter::default()
    })
    .await;
    assert_eq!(all.len(), 4);
    assert_eq!(
        parked(ParkedFilter {
            key: Some("l".to_owned()),
            ..ParkedFilter::default()
        })
        .await,
        [all[1], all[3]]
    );
    assert_eq!(
        parked(ParkedFilter {
            topic: Some("t".to_owned()),
            limit: Some(1),
            ..ParkedFilter::default()
        })
        .await,
        [all[0]]
    );
    assert_eq!(
        parked(ParkedFilter {
            ids: vec![all[2], 999],
            ..ParkedFilter::default()
        })
        .await,
        [all[2]]
    );
    assert!(
        parked(ParkedFilter {
            relay: Some("Shop".to_owned()),
            ..ParkedFilter::default()
        })
        .await
        .is_empty()
    );
}

#[tokio::test]
async fn a_retry_takes_no_more_than_its_limit() {
    let fixture = four_parked().await;
    let one = ParkedFilter {
        limit: Some(1),
        ..ParkedFilter::default()
    };
    assert_eq!(fixture.operations.retry(&one).await.expect("an answer"), 1);
    assert_eq!(fixture.operations.retry(&one).await.expect("an answer"), 1);
    assert_eq!(
        fixture.number("SELECT count(*) FROM onewrite_parked_event WHERE state = 'retry'"),
        2
    );
}

#[tokio::test]
async fn a_replay_of_what_there_is_not_is_refused_with_the_names_there_are() {
    let fixture = Fixture::new();
    let request = |relay: &str, route: &str| ReplayRequest {
        relay: relay.to_owned(),
        route: route.to_owned(),
        key: Some("k".to_owned()),
        ..ReplayRequest::default()
    };
    let told = async |relay: &str, route: &str| {
        let refused = fixture.operations.replay(&request(relay, route)).await;
        refused.expect_err("refused").to_string()
    };
    assert!(told("shop", "a").await.contains("no relay has recorded a route"));
    fixture.begin(&routes(&[("a", "a"), ("b", "*")])).await;
    assert_eq!(
        told("shop", "c").await,
        r#"the relay "shop" has no route "c"; its routes are "a", "b""#
    );
    assert_eq!(
        told("shed", "a").await,
        r#"there is no relay "shed"; the relays are "shop""#
    );
    assert_eq!(fixture.number("SELECT count(*) FROM onewrite_replay"), 0);
}

#[tokio::test]
async fn the_check_tells_of_a_file_without_wal() {
    let fixture = Fixture::new();
    assert!(
        fixture
            .operations
            .probe()
            .await
            .iter()
            .all(|finding| finding.level == FindingLevel::Works)
    );
    fixture.sql("PRAGMA journal_mode = DELETE");
    let findings = fixture.operations.probe().await;
    let journal = findings
        .iter()
        .find(|finding| finding.subject == "journal mode")
        .expect("a finding");
    assert_eq!(journal.level, FindingLevel::Warning);
    assert!(journal.message.contains("PRAGMA journal_mode = WAL"), "{journal:?}");
}
