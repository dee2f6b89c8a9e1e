//! What `status` says.

use std::time::{Duration, Instant};

use onewrite_core::Operations;
use onewrite_sources::postgres::PostgresOperations;

use super::database::{Database, status};

const APPEND: &str = "SELECT onewrite.append('shop.orders', 'k', '{}')";

async fn unsettled(operations: &PostgresOperations, route: &str) -> i64 {
    let status = status(operations).await;
    status
        .routes
        .iter()
        .find(|of| of.route == route)
        .expect("the route")
        .unsettled
        .expect("a count")
}

#[tokio::test]
async fn an_outbox_without_relays_has_segments_one_of_which_is_current() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    let status = status(&operations).await;
    assert_eq!(status.schema_version, onewrite::schema::postgres::LATEST);
    assert!(status.relays.is_empty() && status.routes.is_empty());
    let names: Vec<&str> = status.segments.iter().map(|segment| &*segment.name).collect();
    assert_eq!(names, ["outbox_0", "outbox_1", "outbox_2", "outbox_3"]);
    assert_eq!(status.segments.iter().filter(|segment| segment.current).count(), 1);
    assert!(status.segments.iter().all(|segment| segment.bytes > 0));
}

#[tokio::test]
async fn a_holder_counts_while_its_lease_lasts() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database
        .run(
            "INSERT INTO onewrite.relay VALUES \
             ('gone', 3, 'host-a', now() - interval '1 hour', now() - interval '1 minute'), \
             ('here', 7, 'host-b', now(), now() + interval '1 hour'), ('never', 0, NULL, NULL, NULL)",
        )
        .await;
    let relays = status(&operations).await.relays;
    let holders: Vec<_> = relays
        .iter()
        .map(|relay| (&*relay.name, relay.holder.as_deref(), relay.epoch))
        .collect();
    assert_eq!(
        holders,
        [("gone", None, 3), ("here", Some("host-b"), 7), ("never", None, 0)]
    );
    let ago = |at: usize| relays[at].renewed_seconds_ago;
    assert!(ago(0).is_some_and(|ago| ago >= 3600.0) && ago(1).is_some_and(|ago| ago < 600.0) && ago(2).is_none());
}

#[tokio::test]
async fn a_new_route_has_all_committed_events_that_it_takes_before_it() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("orders", "shop.*").await;
    database.route("all", "*").await;
    assert_eq!(status(&operations).await.routes[0].lag_seconds, None);
    database
        .run(
            "INSERT INTO onewrite.outbox (topic, payload, occurred_at) VALUES ('shop.a', '', now() - interval '90 s'), \
             ('shop.b', '', now()), ('shopXc', '', now() - interval '900 s')",
        )
        .await;
    let open = database.connect().await;
    open.batch_execute(&format!("BEGIN; {APPEND}")).await.expect("append");
    let routes = status(&operations).await.routes;
    let counts: Vec<_> = routes.iter().map(|route| (&*route.route, route.unsettled)).collect();
    assert_eq!(counts, [("all", Some(3)), ("orders", Some(2))]);
    let lag = routes[1].lag_seconds.expect("a lag");
    assert!((90.0..600.0).contains(&lag), "{lag}");
    open.batch_execute("COMMIT").await.expect("commit");
    assert_eq!(unsettled(&operations, "orders").await, 3);
}

#[tokio::test]
async fn beyond_the_floor_are_later_transactions_and_those_that_were_under_way() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("orders", "*").await;
    database.run(&format!("{APPEND}; {APPEND}")).await;
    let under_way = database.connect().await;
    under_way
        .batch_execute(&format!("BEGIN; {}", APPEND.replace("'k'", "'other'")))
        .await
        .expect("append");
    database.run(&format!("{APPEND}; {APPEND}")).await;
    let floor = "UPDATE onewrite.route SET floor_snapshot = pg_current_snapshot()::text, \
                 floor_sequence = (SELECT last_value FROM onewrite.outbox_sequence)";
    database.run(floor).await;
    assert_eq!(unsettled(&operations, "orders").await, 0);
    under_way.batch_execute("COMMIT").await.expect("commit");
    assert_eq!(unsettled(&operations, "orders").await, 1);
    database.run(&format!("{APPEND}; {APPEND}")).await;
    assert_eq!(unsettled(&operations, "orders").await, 3);
    // An event left behind the floor counts too, and only once.
    database.run("UPDATE onewrite.route SET pending = '{2}'").await;
    assert_eq!(unsettled(&operations, "orders").await, 4);
}

#[tokio::test]
async fn of_the_open_window_what_is_above_its_sequence_is_left() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("orders", "*").await;
    for _ in 0..6 {
        database.run(APPEND).await;
    }
    let window = "UPDATE onewrite.route SET window_snapshot = pg_current_snapshot()::text, window_sequence = 4";
    database.run(window).await;
    assert_eq!(unsettled(&operations, "orders").await, 2);
    database.run("UPDATE onewrite.route SET pending = '{1,3}'").await;
    assert_eq!(unsettled(&operations, "orders").await, 4);
    // The window's snapshot does not see this one, whatever its sequence is.
    database.run(APPEND).await;
    database.run("UPDATE onewrite.route SET window_sequence = 100").await;
    assert_eq!(unsettled(&operations, "orders").await, 3);
}

#[tokio::test]
async fn parked_and_held_events_are_counted_by_route() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("orders", "*").await;
    database.route("quiet", "*").await;
    for state in ["parked", "retry", "held", "held", "held"] {
        database.park("orders", state, "k").await;
    }
    database
        .run("UPDATE onewrite.route SET delivered = 5, failed = 6, last_error = 'no' WHERE name = 'orders'")
        .await;
    let routes = status(&operations).await.routes;
    let counts: Vec<_> = routes
        .iter()
        .map(|route| (route.parked, route.held, route.delivered, route.failed))
        .collect();
    assert_eq!(counts, [(2, 3, 5, 6), (0, 0, 0, 0)]);
    assert_eq!(routes[0].last_error.as_deref(), Some("no"));
}

#[tokio::test]
async fn a_backlog_is_counted_by_the_index_and_not_by_the_whole_table() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database.route("orders", "*").await;
    database
        .run("INSERT INTO onewrite.outbox (topic, payload) SELECT 't', '' FROM generate_series(1, 20000)")
        .await;
    database
        .run("UPDATE onewrite.route SET floor_snapshot = pg_current_snapshot()::text, floor_sequence = 20000")
        .await;
    database.run("VACUUM ANALYZE onewrite.outbox").await;
    database.run(APPEND).await;
    database.run("SELECT pg_stat_reset()").await;
    assert_eq!(unsettled(&operations, "orders").await, 1);
    // The server counts a session's reads a moment after they happened.
    let read_by_index =
        "SELECT coalesce(sum(idx_scan), 0) > 0 FROM pg_stat_user_tables WHERE relname LIKE 'outbox\\_%'";
    let deadline = Instant::now() + Duration::from_secs(30);
    while database.read(read_by_index).await == "false" {
        assert!(Instant::now() < deadline, "no index was read");
        tokio::task::yield_now().await;
    }
    let read_throughout = "SELECT sum(seq_tup_read) < 1000 FROM pg_stat_user_tables WHERE relname LIKE 'outbox\\_%'";
    assert_eq!(database.read(read_throughout).await, "true");
}

#[tokio::test]
async fn a_schema_that_is_missing_or_newer_is_told() {
    let database = Database::empty().await;
    let (role, operations) = database.stranger().await;
    let told = operations.status().await.unwrap_err().to_string();
    assert!(
        told.ends_with("the database has no schema onewrite; run `onewrite migrate`"),
        "{told}"
    );
    let mut owner = database.connect().await;
    onewrite::postgres::migrate(&mut owner, &onewrite::postgres::MigrateOptions::default())
        .await
        .expect("migrate");
    let told = operations.status().await.unwrap_err().to_string();
    assert!(told.contains("the user lacks a privilege"), "{told}");
    database
        .run(&format!(
            "INSERT INTO onewrite.migration (version) VALUES (99); ALTER ROLE {role} SUPERUSER"
        ))
        .await;
    let told = operations.status().await.unwrap_err().to_string();
    assert!(
        told.contains("the schema is at version 99") && told.ends_with("use a newer program"),
        "{told}"
    );
}
