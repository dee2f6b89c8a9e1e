//! What a replay holds, how far back it can reach, and how far it is.

use onewrite::Uuid;
use onewrite_core::Operations;
use onewrite_core::store::ReplayRequest;
use onewrite_sources::postgres::PostgresOperations;
use onewrite_testkit::servers::Postgres;

use super::database::{Database, status};

/// Of the route `orders` of the relay `shop`.
fn everything() -> ReplayRequest {
    ReplayRequest {
        relay: "shop".into(),
        route: "orders".into(),
        ..ReplayRequest::default()
    }
}

fn all_of_a_topic() -> ReplayRequest {
    ReplayRequest {
        topic: Some("t".into()),
        ..everything()
    }
}

/// Ten events, every second of which the route takes, and the operations on them.
async fn ten(version: u32) -> (Database, PostgresOperations) {
    const APPEND: &str = "SELECT onewrite.append(CASE i % 2 WHEN 0 THEN 'shop.a' ELSE 'other' END, NULL, '') \
                          FROM generate_series(1, 10) AS i";
    let mut database = Database::on(&Postgres::shared(version).await).await.migrate().await;
    let operations = database.operations().await;
    database.route("orders", "shop.*").await;
    database.run(APPEND).await;
    (database, operations)
}

async fn id(database: &Database, sequence: i64) -> Option<Uuid> {
    let id = format!("SELECT id FROM onewrite.outbox WHERE sequence = {sequence}");
    Some(database.read(&id).await.parse().expect("an id"))
}

#[tokio::test]
async fn a_range_is_by_sequences_or_by_the_events_at_its_ends() {
    for version in [14, 18] {
        let (database, operations) = ten(version).await;
        // The range that is recorded, and how many events the route takes of it.
        let asked = async |from: (Option<i64>, Option<i64>), to: (Option<i64>, Option<i64>), recorded: &str| {
            let mut request = everything();
            (request.from_sequence, request.to_sequence) = (from.0, to.0);
            if let Some(sequence) = from.1 {
                request.from_id = id(&database, sequence).await;
            }
            if let Some(sequence) = to.1 {
                request.to_id = id(&database, sequence).await;
            }
            let replay = operations.replay(&request).await.expect("a replay");
            let row = format!(
                "SELECT concat_ws('|', progress, up_to, events) FROM onewrite.replay WHERE id = {}",
                replay.id
            );
            assert_eq!(database.read(&row).await, recorded, "{version}: {request:?}");
            assert_eq!(replay.gone, None);
            assert!(
                recorded.ends_with(&format!("|{}", replay.events.expect("a count"))),
                "{replay:?}"
            );
        };
        asked((Some(3), None), (Some(8), None), "2|8|3").await;
        asked((Some(0), None), (None, None), "0|10|5").await;
        asked((None, None), (Some(99), None), "0|10|5").await;
        asked((None, Some(4)), (Some(7), None), "3|7|2").await;
        asked((None, Some(9)), (None, Some(9)), "8|9|0").await;
    }
}

#[tokio::test]
async fn a_range_that_cannot_be_is_refused() {
    let (database, operations) = ten(14).await;
    let told = async |request: ReplayRequest| operations.replay(&request).await.unwrap_err().to_string();
    let both = ReplayRequest {
        from_sequence: Some(1),
        from_id: id(&database, 1).await,
        ..everything()
    };
    assert!(told(both).await.contains("leave one of them out"));
    let backwards = ReplayRequest {
        from_id: id(&database, 5).await,
        to_id: id(&database, 4).await,
        ..everything()
    };
    assert!(told(backwards).await.contains("from sequence 5 to 4 holds nothing"));
    let stranger = Uuid::new_v4();
    let missing = ReplayRequest {
        to_id: Some(stranger),
        ..everything()
    };
    assert_eq!(
        told(missing).await,
        format!(
            "event {stranger} is not in the outbox; nothing was ever removed from it, so no event of this id was appended"
        )
    );
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
        let mut request = all_of_a_topic();
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
        ..all_of_a_topic()
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
        operations.replay(&all_of_a_topic()).await.expect("a replay");
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
    let replay = operations.replay(&all_of_a_topic()).await.expect("a replay");
    assert_eq!(replay.events, None);
    assert_eq!(database.read("SELECT up_to FROM onewrite.replay").await, "1");
    holder.batch_execute("COMMIT").await.expect("it ends");
}
