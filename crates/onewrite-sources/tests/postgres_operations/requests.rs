//! What operators ask of a relay: replays and pauses.

use onewrite::Uuid;
use onewrite_core::Operations;
use onewrite_core::store::{Forgotten, ReplayRequest};
use onewrite_testkit::servers::Postgres;

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
async fn a_range_is_by_sequences_or_by_the_events_at_its_ends() {
    for version in [14, 18] {
        let mut database = Database::on(&Postgres::shared(version).await).await.migrate().await;
        let operations = database.operations().await;
        database.route("orders", "shop.*").await;
        database
            .run("SELECT onewrite.append(CASE i % 2 WHEN 0 THEN 'shop.a' ELSE 'other' END, NULL, '') FROM generate_series(1, 10) AS i")
            .await;
        let id = async |sequence: i64| -> Option<Uuid> {
            let id = database
                .read(&format!("SELECT id FROM onewrite.outbox WHERE sequence = {sequence}"))
                .await;
            Some(id.parse().expect("an id"))
        };
        let plain = ReplayRequest {
            topic: None,
            ..replay("orders")
        };
        // Bounds, the range that is recorded, and how many events the route takes of it.
        let asked = [
            (
                ReplayRequest {
                    from_sequence: Some(3),
                    to_sequence: Some(8),
                    ..plain.clone()
                },
                (2, 8),
                3,
            ),
            (
                ReplayRequest {
                    from_sequence: Some(0),
                    ..plain.clone()
                },
                (0, 10),
                5,
            ),
            (
                ReplayRequest {
                    to_sequence: Some(99),
                    ..plain.clone()
                },
                (0, 10),
                5,
            ),
            (
                ReplayRequest {
                    from_id: id(4).await,
                    to_sequence: Some(7),
                    ..plain.clone()
                },
                (3, 7),
                2,
            ),
            (
                ReplayRequest {
                    from_id: id(9).await,
                    to_id: id(9).await,
                    ..plain.clone()
                },
                (8, 9),
                0,
            ),
        ];
        for (request, (progress, up_to), events) in asked {
            let replay = operations.replay(&request).await.expect("a replay");
            assert_eq!((replay.events, replay.gone), (Some(events), None), "{request:?}");
            let row = format!(
                "SELECT concat_ws('|', progress, up_to, events) FROM onewrite.replay WHERE id = {}",
                replay.id
            );
            assert_eq!(
                database.read(&row).await,
                format!("{progress}|{up_to}|{events}"),
                "{request:?}"
            );
        }
        let told = async |request: ReplayRequest| operations.replay(&request).await.unwrap_err().to_string();
        let both = ReplayRequest {
            from_sequence: Some(1),
            from_id: id(1).await,
            ..plain.clone()
        };
        assert!(told(both).await.contains("leave one of them out"));
        let backwards = ReplayRequest {
            from_id: id(5).await,
            to_id: id(4).await,
            ..plain.clone()
        };
        assert!(told(backwards).await.contains("from sequence 5 to 4 holds nothing"));
        let stranger = Uuid::new_v4();
        let missing = ReplayRequest {
            to_id: Some(stranger),
            ..plain.clone()
        };
        assert_eq!(
            told(missing).await,
            format!(
                "event {stranger} is not in the outbox; nothing was ever removed from it, so no event of this id was appended"
            )
        );
    }
}

#[tokio::test]
async fn a_replay_of_what_is_no_longer_there_says_so() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("orders", "*").await;
    database
        .run(
            "INSERT INTO onewrite.relay (name, emptied_through, emptied_until) VALUES ('a', 40, '2026-01-02 03:04:05Z'), \
             ('b', 20, '2026-01-01 00:00:00Z'), ('c', NULL, NULL)",
        )
        .await;
    let gone = async |change: fn(&mut ReplayRequest)| {
        let mut request = replay("orders");
        change(&mut request);
        operations.replay(&request).await.expect("a replay").gone
    };
    assert_eq!(
        gone(|request| request.since = "2026-01-02T03:04:05Z".parse().ok()).await,
        None
    );
    assert_eq!(gone(|request| request.from_sequence = Some(41)).await, None);
    let words = gone(|request| request.from_sequence = Some(40))
        .await
        .expect("something is gone");
    assert!(
        words.contains("before 2026-01-02T03:04:05Z (below sequence 41)"),
        "{words}"
    );
    assert!(
        gone(|request| request.since = "2026-01-02T03:04:04Z".parse().ok())
            .await
            .is_some()
    );
    assert!(gone(|_| ()).await.is_some(), "all of a topic is more than there is");
    let retained = status(&operations).await.retained;
    assert_eq!(
        (retained.from_sequence, retained.since),
        (41, "2026-01-02T03:04:05Z".parse().ok())
    );
    let stranger = ReplayRequest {
        from_id: Some(Uuid::new_v4()),
        ..replay("orders")
    };
    let told = operations.replay(&stranger).await.unwrap_err().to_string();
    assert!(
        told.ends_with("it holds everything recorded after 2026-01-02T03:04:05Z, from sequence 41 on"),
        "{told}"
    );
}

#[tokio::test]
async fn replays_are_shown_until_they_have_been_through_for_an_hour() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("orders", "*").await;
    database
        .run("SELECT onewrite.append('t', NULL, '') FROM generate_series(1, 5)")
        .await;
    for _ in 0..4 {
        operations.replay(&replay("orders")).await.expect("a replay");
    }
    database
        .run(
            "UPDATE onewrite.replay SET progress = 3 WHERE id = 2; \
             UPDATE onewrite.replay SET finished_at = now() - interval '59 minutes' WHERE id = 3; \
             UPDATE onewrite.replay SET finished_at = now() - interval '61 minutes' WHERE id = 4; \
             INSERT INTO onewrite.replay (relay, route, topic, up_to) VALUES ('shop', 'gone', 't', 5)",
        )
        .await;
    let replays = status(&operations).await.replays;
    let shown: Vec<_> = replays
        .iter()
        .map(|replay| (replay.id, replay.events, replay.left))
        .collect();
    assert_eq!(
        shown,
        [
            (1, Some(5), Some(5)),
            (2, Some(5), Some(2)),
            (3, Some(5), Some(0)),
            (5, None, None)
        ]
    );
    assert!(replays[2].finished_at.is_some());
}

#[tokio::test]
async fn what_is_counted_too_long_is_asked_for_all_the_same() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("orders", "*").await;
    database.run("SELECT onewrite.append('t', NULL, '')").await;
    // While somebody else has the table to themselves, nothing can be counted.
    let holder = database.connect().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE onewrite.outbox IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("the table");
    let replay = operations.replay(&replay("orders")).await.expect("a replay");
    assert_eq!(replay.events, None);
    assert_eq!(database.read("SELECT up_to FROM onewrite.replay").await, "1");
    holder.batch_execute("COMMIT").await.expect("it ends");
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
        slot: None,
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
