//! What operators ask of a relay: replays and pauses.

use onewrite_core::Operations;
use onewrite_core::store::{Forgotten, ReplayRequest};

use super::database::{Database, status};

fn replay(route: &str) -> ReplayRequest {
    ReplayRequest {
        relay: "shop".into(),
        route: route.into(),
        topic: Some("t".into()),
        ..ReplayRequest::default()
    }
}

#[tokio::test]
async fn a_replay_is_recorded_with_all_its_bounds_up_to_now() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("orders", "*").await;
    assert_eq!(operations.replay(&replay("orders")).await.expect("a replay").id, 1);
    assert_eq!(database.read("SELECT up_to FROM onewrite.replay").await, "0");
    database
        .run("SELECT onewrite.append('t', NULL, '') FROM generate_series(1, 3)")
        .await;
    let id = onewrite::Uuid::new_v4();
    let request = ReplayRequest {
        since: Some("2026-01-02T03:04:05.678901Z".parse().expect("a time")),
        until: Some("2026-02-03T04:05:06Z".parse().expect("a time")),
        key: Some("'; --".into()),
        ids: vec![id],
        ..replay("orders")
    };
    let number = operations.replay(&request).await.expect("a replay").id;
    let row = format!(
        "SELECT concat_ws('|', since AT TIME ZONE 'UTC', until AT TIME ZONE 'UTC', topic, key, ids, up_to, \
                       progress) FROM onewrite.replay WHERE id = {number}"
    );
    assert_eq!(
        database.read(&row).await,
        format!("2026-01-02 03:04:05.678901|2026-02-03 04:05:06|t|'; --|{{{id}}}|3|0")
    );
}

#[tokio::test]
async fn a_relay_can_be_given_up_and_its_history_stays() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let told = operations.forget("shop").await.unwrap_err().to_string();
    assert_eq!(told, "there is no relay \"shop\"; recorded are: none");
    database
        .run(
            "INSERT INTO onewrite.relay (name, holder, expires_at, emptied_through, emptied_until) VALUES \
             ('shop', 'host:7', now() + interval '1 hour', 40, '2026-01-02'), ('other', NULL, NULL, NULL, NULL)",
        )
        .await;
    database.route("orders", "*").await;
    database.route("bills", "*").await;
    database.park("orders", "parked", "k").await;
    operations.replay(&replay("orders")).await.expect("a replay");
    let told = operations.forget("shop").await.unwrap_err().to_string();
    assert!(told.contains("is run by host:7; stop it first"), "{told}");
    database.run("UPDATE onewrite.relay SET expires_at = now()").await;
    let forgotten = operations.forget("shop").await.expect("it is given up");
    let expected = Forgotten {
        routes: vec!["bills".to_owned(), "orders".to_owned()],
        parked: 1,
        slots: Vec::new(),
    };
    assert_eq!(forgotten, expected);
    let left = "SELECT concat_ws('|', (SELECT count(*) FROM onewrite.route), (SELECT count(*) FROM onewrite.replay), \
                (SELECT count(*) FROM onewrite.parked_event), (SELECT string_agg(name, ',') FROM onewrite.relay))";
    assert_eq!(database.read(left).await, "0|0|0|other");
    assert_eq!(status(&operations).await.retained.from_sequence, 41);
}

#[tokio::test]
async fn a_replay_that_cannot_be_is_refused_with_the_names_there_are() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let told = async |request: &ReplayRequest| operations.replay(request).await.unwrap_err().to_string();
    assert_eq!(
        told(&replay("orders")).await,
        "no relay has recorded a route here yet; start one with `onewrite run` first"
    );
    database.route("orders", "*").await;
    database.route("bills", "*").await;
    assert_eq!(
        told(&replay("order")).await,
        "the relay \"shop\" has no route \"order\"; its routes are \"bills\", \"orders\""
    );
    let elsewhere = ReplayRequest {
        relay: "stop".into(),
        ..replay("orders")
    };
    assert_eq!(
        told(&elsewhere).await,
        "there is no relay \"stop\"; the relays are \"shop\""
    );
    let everything = ReplayRequest {
        topic: None,
        ..replay("orders")
    };
    assert!(
        told(&everything)
            .await
            .starts_with("a replay of everything is not taken")
    );
    let time = |text: &str| Some(text.parse().expect("a time"));
    let (since, until) = (time("2026-02-01T00:00:00Z"), time("2026-01-01T00:00:00Z"));
    let backwards = ReplayRequest {
        since,
        until,
        ..replay("orders")
    };
    assert!(told(&backwards).await.ends_with("exchange the two"));
    assert_eq!(database.read("SELECT count(*) FROM onewrite.replay").await, "0");
}

#[tokio::test]
async fn a_pause_is_seen_at_once_and_resuming_clears_a_halt() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("bills", "*").await;
    database.route("orders", "*").await;
    let states = async || {
        let routes = status(&operations).await.routes;
        routes
            .into_iter()
            .map(|route| (route.state, route.halted))
            .collect::<Vec<_>>()
    };
    let state = |word: &str, halted: Option<&str>| (word.to_owned(), halted.map(str::to_owned));
    assert_eq!(
        operations
            .set_paused("shop", Some("orders"), true)
            .await
            .expect("pause"),
        1
    );
    assert_eq!(states().await, [state("running", None), state("paused", None)]);
    database
        .run("UPDATE onewrite.route SET state = 'halted', halted = 'poison' WHERE name = 'bills'")
        .await;
    assert_eq!(operations.set_paused("shop", None, true).await.expect("pause"), 2);
    assert_eq!(states().await, [state("halted", Some("poison")), state("paused", None)]);
    assert_eq!(
        database.read("SELECT bool_and(paused) FROM onewrite.route").await,
        "true"
    );
    assert_eq!(operations.set_paused("shop", None, false).await.expect("resume"), 2);
    assert_eq!(states().await, [state("running", None), state("running", None)]);
    assert_eq!(
        database.read("SELECT bool_or(paused) FROM onewrite.route").await,
        "false"
    );
    assert_eq!(
        operations
            .set_paused("shop", Some("nothing"), true)
            .await
            .expect("pause"),
        0
    );
    assert_eq!(operations.set_paused("nobody", None, true).await.expect("pause"), 0);
}
