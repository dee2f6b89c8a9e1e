//! Migrations: once, together, refused, printed.

use std::time::Duration;

use onewrite::Event;
use onewrite::postgres::{
    Grant, MigrateError, MigrateOptions, Privileges, Rotation, append, append_all, append_under_row_lock,
    current_rotation, current_version, migrate, receive,
};
use onewrite::schema::postgres::{LATEST, MIGRATIONS, print};

use super::database::{Database, count, refusal};

fn every_version() -> Vec<i64> {
    (1..=LATEST).collect()
}

#[tokio::test]
async fn twice_is_once() {
    let mut client = Database::empty().await.owner().await;
    assert_eq!(current_version(&client).await.expect("version"), 0);
    let options = MigrateOptions::default();
    assert_eq!(migrate(&mut client, &options).await.expect("migrate"), every_version());
    assert_eq!(migrate(&mut client, &options).await.expect("again"), [0_i64; 0]);
    assert_eq!(current_version(&client).await.expect("version"), LATEST);
}

#[tokio::test]
async fn every_version_of_the_server_takes_the_schema_and_events() {
    for version in 14..=18 {
        let mut client = Database::empty_on(version).await.owner().await;
        assert_eq!(
            migrate(&mut client, &MigrateOptions::default()).await.expect("migrate"),
            every_version(),
            "{version}"
        );
        let transaction = client.transaction().await.expect("begin");
        let event = Event::new("t", "").key("k").header("a", "b");
        append(&transaction, &event).await.expect("append");
        append_all(&transaction, std::slice::from_ref(&event))
            .await
            .expect("append_all");
        append_under_row_lock(&transaction, std::slice::from_ref(&event))
            .await
            .expect("append_under_row_lock");
        assert!(receive(&transaction, "c", event.id).await.expect("receive"));
        transaction.commit().await.expect("commit");
        assert_eq!(count(&client).await, 3, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_migrate_at_once_take_turns() {
    let database = Database::empty().await;
    let mut programs = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = database.owner().await;
        programs.spawn(async move { migrate(&mut client, &MigrateOptions::default()).await.expect("migrate") });
    }
    // One program may make the first steps and another the rest: each is made once.
    let mut applied: Vec<i64> = programs.join_all().await.concat();
    applied.sort_unstable();
    assert_eq!(applied, every_version());
}

#[tokio::test]
async fn the_database_of_a_newer_program_is_refused() {
    let mut client = Database::migrated().await.owner().await;
    let newer = format!("INSERT INTO onewrite.migration (version) VALUES ({})", LATEST + 6);
    client.batch_execute(&newer).await.expect("pretend");
    let rotation = Rotation::from_seconds(60).expect("a rotation");
    let options = MigrateOptions::default().rotation(rotation);
    let error = migrate(&mut client, &options).await.expect_err("newer");
    assert!(matches!(error, MigrateError::Newer { found, known } if found == LATEST + 6 && known == LATEST));
    assert_eq!(
        error.to_string(),
        format!(
            "the schema onewrite of this database is at version {}, and this program knows versions up to {LATEST}: \
             use a newer program; nothing was changed",
            LATEST + 6
        )
    );
    assert_eq!(rotation_setting(&client).await, "3600");
}

#[tokio::test]
async fn a_role_that_may_not_is_told() {
    let database = Database::empty().await;
    let owner = database.owner().await;
    let role = format!("nobody_{}", onewrite::Uuid::new_v4().simple());
    owner
        .batch_execute(&format!("CREATE ROLE {role}"))
        .await
        .expect("create a role");
    let mut client = database.owner().await;
    client
        .batch_execute(&format!("SET ROLE {role}"))
        .await
        .expect("set role");
    let error = migrate(&mut client, &MigrateOptions::default())
        .await
        .expect_err("not allowed");
    let told = error.to_string();
    assert!(
        told.starts_with("migrating to version 1 failed: permission denied for database"),
        "{told}"
    );
    // A DBA can make the schema beforehand; then the right to create in the database is not needed.
    let prepare = format!("CREATE SCHEMA onewrite AUTHORIZATION {role}");
    owner.batch_execute(&prepare).await.expect("prepare");
    assert_eq!(
        migrate(&mut client, &MigrateOptions::default()).await.expect("migrate"),
        every_version()
    );
}

#[tokio::test]
async fn a_step_waits_for_a_lock_no_longer_than_it_may() {
    let database = Database::migrated().await;
    let (mut holder, mut client) = (database.owner().await, database.owner().await);
    let open = holder.transaction().await.expect("begin");
    open.batch_execute("INSERT INTO onewrite.outbox (topic, payload) VALUES ('t', '')")
        .await
        .expect("insert");
    let rotation = Rotation::from_seconds(60).expect("a rotation");
    let options = MigrateOptions::default()
        .rotation(rotation)
        .lock_timeout(Duration::from_millis(50));
    let told = migrate(&mut client, &options).await.expect_err("locked").to_string();
    assert!(
        told.contains("changing the rotation of segments failed: canceling statement due to lock timeout"),
        "{told}"
    );
    assert!(told.ends_with("it was rolled back and can be tried again"), "{told}");
    open.rollback().await.expect("roll back");
    assert_eq!(rotation_setting(&client).await, "3600");
    migrate(&mut client, &options).await.expect("migrate");
    assert_eq!(rotation_setting(&client).await, "60");
    // The segment follows from the clock by the new rotation. A second look is fair: the minute may end in between.
    let agrees = "INSERT INTO onewrite.outbox (topic, payload) VALUES ('t', '') RETURNING \
                  segment = floor(extract(epoch FROM clock_timestamp()) / 60)::bigint % 4";
    let agree = async || client.query_one(agrees, &[]).await.expect("insert").get::<_, bool>(0);
    assert!(agree().await || agree().await);
}

#[tokio::test]
async fn a_rotation_that_is_too_short_for_the_retention_is_raised_once() {
    let mut client = Database::migrated().await.owner().await;
    let day = MigrateOptions::default().retention(Duration::from_secs(24 * 3600));
    migrate(&mut client, &day).await.expect("migrate");
    assert_eq!(current_rotation(&client).await.expect("rotation").seconds(), 43_260);
    // One that is longer than needed is somebody's wish.
    let hour = MigrateOptions::default().retention(Duration::from_secs(3600));
    migrate(&mut client, &hour).await.expect("migrate");
    assert_eq!(rotation_setting(&client).await, "43260");
}

/// What a database of version 2 emptied before, nobody wrote down; the first row that is left tells.
#[tokio::test]
async fn the_history_of_an_older_schema_begins_at_its_first_row() {
    for (first, last, complete_from) in [(Some(41), 50, Some(41)), (None, 50, Some(51)), (Some(1), 50, None)] {
        let client = Database::empty().await.owner().await;
        for migration in &MIGRATIONS[..2] {
            client.batch_execute(migration.sql).await.expect("an older schema");
        }
        let mut script = format!(
            "INSERT INTO onewrite.relay (name) VALUES ('shop'); SELECT setval('onewrite.outbox_sequence', {last});"
        );
        if let Some(first) = first {
            script += &format!("INSERT INTO onewrite.outbox (sequence, topic, payload) VALUES ({first}, 't', '')");
        }
        client.batch_execute(&script).await.expect("a history");
        client.batch_execute(MIGRATIONS[2].sql).await.expect("the step");
        let row = client
            .query_one(
                "SELECT emptied_through + 1, emptied_until IS NULL FROM onewrite.relay",
                &[],
            )
            .await;
        let row = row.expect("the relay");
        assert_eq!(
            (row.get::<_, Option<i64>>(0), row.get::<_, bool>(1)),
            (complete_from, complete_from.is_none())
        );
    }
}

/// The step to version 6 reads no row, so it takes as long for many; what it puts in place of the old constraints holds for new rows.
#[tokio::test]
async fn an_outbox_with_events_gets_the_limits_as_one_constraint() {
    let mut client = Database::empty().await.owner().await;
    for migration in &MIGRATIONS[..5] {
        client.batch_execute(migration.sql).await.expect("an older schema");
    }
    let insert = "INSERT INTO onewrite.outbox (topic, payload) VALUES";
    let kept = format!("{insert} ('t', '')");
    client.batch_execute(&kept).await.expect("an event");
    assert_eq!(
        migrate(&mut client, &MigrateOptions::default()).await.expect("migrate"),
        [6]
    );
    client.batch_execute(&kept).await.expect("another event");
    assert_eq!(count(&client).await, 2);
    let told = refusal(&client, &format!("{insert} (repeat('x', 250), 'secret')")).await;
    assert_eq!(
        told,
        "23514: the event breaks the limit \"topic_has_1_to_249_bytes\" of the outbox"
    );
    let error = client.batch_execute(&format!("{insert} ('', 'secret')")).await;
    let error = error.expect_err("an empty topic");
    let told = error.as_db_error().expect("the server's words");
    assert_eq!(
        (told.schema(), told.table(), told.constraint()),
        (Some("onewrite"), Some("outbox"), Some("topic_has_1_to_249_bytes"))
    );
    let detail = told.detail().expect("a detail");
    assert!(
        detail.starts_with("Bytes of topic: 0, key: 0,") && !detail.contains("secret"),
        "{detail}"
    );
}

#[tokio::test]
async fn the_printed_script_does_what_migrate_does() {
    let (printed, migrated) = (Database::empty().await, Database::migrated().await);
    let mut client = printed.owner().await;
    let role = format!("printed \"{}", onewrite::Uuid::new_v4().simple());
    let quoted = role.replace('"', "\"\"");
    client
        .batch_execute(&format!("CREATE ROLE \"{quoted}\""))
        .await
        .expect("create a role");
    let grants = [Privileges::AppendAndInsert, Privileges::Relay].map(|of| Grant::new(&role, of).expect("a role"));
    let rotation = Rotation::from_seconds(60).expect("a rotation");
    let script = print(0, &MigrateOptions::default().rotation(rotation), &grants);
    client.batch_execute(&script).await.expect("run the script");
    let objects = "SELECT string_agg(c.relname || c.relkind::text, ' ' ORDER BY c.relname) || \
                          (SELECT string_agg(p.oid::regprocedure::text, ' ' ORDER BY p.oid::regprocedure::text) FROM pg_proc p \
                           WHERE p.pronamespace = 'onewrite'::regnamespace) \
                   FROM pg_class c WHERE c.relnamespace = 'onewrite'::regnamespace";
    let objects_of = async |client: &tokio_postgres::Client| -> String {
        client.query_one(objects, &[]).await.expect("objects").get(0)
    };
    assert_eq!(objects_of(&client).await, objects_of(&migrated.owner().await).await);
    assert_eq!(rotation_setting(&client).await, "60");
    assert_eq!(
        migrate(&mut client, &MigrateOptions::default()).await.expect("migrate"),
        [0_i64; 0]
    );
    let granted = "SELECT has_table_privilege($1, 'onewrite.outbox_3', 'TRUNCATE')";
    assert!(
        client
            .query_one(granted, &[&role])
            .await
            .expect("look")
            .get::<_, bool>(0)
    );
    // Run again by mistake, the script stops at its first step.
    let told = refusal(&client, &print(0, &MigrateOptions::default(), &[])).await;
    assert!(told.contains("The schema onewrite is there already"), "{told}");
}

async fn rotation_setting(client: &tokio_postgres::Client) -> String {
    let query = "SELECT value FROM onewrite.setting WHERE name = 'rotation_seconds'";
    client.query_one(query, &[]).await.expect("the setting").get(0)
}
