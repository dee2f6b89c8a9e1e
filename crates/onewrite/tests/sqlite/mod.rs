//! Against SQLite, in a file as applications and relays share it.

use std::thread;
use std::time::Duration;

use onewrite::limits::{KEY_BYTES_MAX, PAYLOAD_BYTES_MAX, TOPIC_BYTES_MAX, TYPE_BYTES_MAX};
use onewrite::schema::sqlite::{LATEST, MIGRATIONS, print};
use onewrite::sqlite::{AppendError, MigrateError, append, append_all, current_version, migrate, prune_inbox, receive};
use onewrite::{Event, TransactionState, Uuid};
use rusqlite::{Connection, TransactionBehavior};
use tempfile::TempDir;

const HOSTILE: &str = "'; DROP TABLE onewrite_outbox; -- \" \\ \\' ?1 :a %s {} é 漢字 🦀 \u{202e} \u{feff}";

fn hostile() -> Event {
    Event::new(HOSTILE, format!("{HOSTILE}\0\u{1}").into_bytes())
        .key(format!("{HOSTILE}\n\t\u{7f}"))
        .event_type(HOSTILE)
        .content_type(HOSTILE)
        .header("traceparent", HOSTILE)
        .header("empty", "")
}

struct Database {
    directory: TempDir,
}

impl Database {
    fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory }
    }

    fn migrated() -> (Self, Connection) {
        let database = Self::empty();
        let mut connection = database.open();
        migrate(&mut connection).expect("migrate");
        (database, connection)
    }

    fn open(&self) -> Connection {
        Connection::open(self.directory.path().join("app.db")).expect("open")
    }
}

fn count(connection: &Connection) -> i64 {
    let count = connection.query_row("SELECT count(*) FROM onewrite_outbox", [], |row| row.get(0));
    count.expect("count")
}

fn read(connection: &Connection) -> Vec<Event> {
    let query = "SELECT id, topic, key, type, content_type, headers, payload FROM onewrite_outbox ORDER BY sequence";
    let mut statement = connection.prepare(query).expect("prepare");
    let rows = statement.query_map([], |row| {
        let (id, headers): (String, String) = (row.get(0)?, row.get(5)?);
        let headers: std::collections::BTreeMap<String, String> = serde_json::from_str(&headers).expect("an object");
        assert_eq!(id.len(), 36, "hyphenated");
        Ok(Event {
            id: id.parse().expect("an id"),
            topic: row.get(1)?,
            key: row.get(2)?,
            event_type: row.get(3)?,
            content_type: row.get(4)?,
            headers: headers.into_iter().collect(),
            payload: row.get::<_, Vec<u8>>(6)?.into(),
        })
    });
    rows.expect("rows").collect::<Result<_, _>>().expect("an event")
}

fn sorted(mut event: Event) -> Event {
    event.headers.sort();
    event
}

#[test]
fn hostile_texts_arrive_as_they_are_and_a_rollback_leaves_nothing() {
    let (_database, mut connection) = Database::migrated();
    let events = vec![
        hostile(),
        Event::new("t", ""),
        Event::new("t", vec![0, 255]).key(""),
        hostile(),
    ];
    for commit in [false, true] {
        let mut transaction = connection.transaction().expect("begin");
        assert_eq!(append(&transaction, &events[0]).expect("append"), events[0].id);
        let savepoint = transaction.savepoint().expect("savepoint");
        append_all(&savepoint, &events[1..]).expect("append_all");
        savepoint.commit().expect("release");
        if commit {
            transaction.commit().expect("commit");
        } else {
            transaction.rollback().expect("roll back");
            assert_eq!(count(&connection), 0);
        }
    }
    assert_eq!(read(&connection), events.into_iter().map(sorted).collect::<Vec<_>>());
}

#[test]
fn an_event_that_breaks_a_limit_leaves_the_transaction_untouched() {
    let (_database, mut connection) = Database::migrated();
    let transaction = connection.transaction().expect("begin");
    append(&transaction, &hostile()).expect("append");
    let large = Event::new("t", vec![0; PAYLOAD_BYTES_MAX + 1]);
    let error = append(&transaction, &large).expect_err("too large");
    let told = error.to_string();
    assert!(told.ends_with("payload has 67108865 bytes; at most 67108864 are allowed; the transaction is untouched"));
    let error = append_all(&transaction, &[hostile(), Event::new("", "")]).expect_err("no topic");
    assert!(matches!(error, AppendError::Invalid { .. }));
    assert_eq!(error.transaction(), TransactionState::Untouched);
    transaction.commit().expect("commit");
    assert_eq!(count(&connection), 1);
}

#[test]
fn when_one_of_many_is_refused_none_is_there_and_the_transaction_goes_on() {
    let (_database, mut connection) = Database::migrated();
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON onewrite_outbox WHEN new.topic = 'refused' \
                   BEGIN SELECT RAISE(ABORT, 'not this one'); END";
    connection.execute_batch(trigger).expect("a trigger");
    let events = [Event::new("t", ""), Event::new("refused", "")];
    let transaction = connection.transaction().expect("begin");
    append(&transaction, &hostile()).expect("append");
    let error = append_all(&transaction, &events).expect_err("refused");
    assert_eq!(error.transaction(), TransactionState::Untouched);
    assert_eq!(
        error.to_string(),
        "appending to the outbox failed: not this one; the transaction is untouched"
    );
    transaction.commit().expect("commit");
    assert_eq!(count(&connection), 1);
    append_all(&connection, &events).expect_err("refused outside of a transaction too");
    assert!(connection.is_autocommit());
    assert_eq!(count(&connection), 1);
    let roll_back = trigger.replace("ABORT", "ROLLBACK").replace("refuse ", "roll_back ");
    connection
        .execute_batch(&format!("DROP TRIGGER refuse; {roll_back}"))
        .expect("a trigger");
    connection.execute_batch("BEGIN").expect("begin");
    let error = append_all(&connection, &events).expect_err("refused");
    assert_eq!(error.transaction(), TransactionState::RolledBack);
    assert!(connection.is_autocommit());
}

#[test]
fn errors_say_what_to_do() {
    let database = Database::empty();
    let connection = database.open();
    let told = append(&connection, &hostile()).expect_err("no schema").to_string();
    assert!(
        told.contains("`onewrite migrate` creates or upgrades the schema"),
        "{told}"
    );
    let (database, mut connection) = Database::migrated();
    let other = database.open();
    other.busy_timeout(Duration::ZERO).expect("set");
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .expect("begin");
    let error = append(&other, &hostile()).expect_err("busy");
    assert!(error.to_string().contains("begin with BEGIN IMMEDIATE"), "{error}");
    drop(transaction);
    other
        .execute_batch("BEGIN; SELECT count(*) FROM onewrite_outbox")
        .expect("read first");
    append(&connection, &hostile()).expect("another writes");
    let error = append(&other, &hostile()).expect_err("too late");
    assert!(
        error
            .to_string()
            .contains("roll it back, and begin such transactions with BEGIN IMMEDIATE"),
        "{error}"
    );
}

#[test]
fn the_limits_hold_for_a_plain_insert_too() {
    let (_database, connection) = Database::migrated();
    let refused = |columns: &str, values: &str, constraint: &str| {
        let statement = format!("INSERT INTO onewrite_outbox ({columns}) VALUES ({values})");
        let told = connection.execute(&statement, []).expect_err(&statement).to_string();
        assert!(told.contains(constraint), "{statement}: {told}");
    };
    let text = |bytes: usize| format!("'{}'", "x".repeat(bytes + 1));
    refused("topic, payload", "'', ''", "topic_has_1_to_249_bytes");
    refused(
        "payload, topic",
        &format!("'', {}", text(TOPIC_BYTES_MAX)),
        "topic_has_1_to_249_bytes",
    );
    for (column, bytes, constraint) in [
        ("key", KEY_BYTES_MAX, "key_has_at_most_1024_bytes"),
        ("key", 9_999, "key_has_at_most_1024_bytes"),
        ("type", TYPE_BYTES_MAX, "type_has_at_most_255_bytes"),
    ] {
        refused(
            &format!("topic, payload, {column}"),
            &format!("'t', '', {}", text(bytes)),
            constraint,
        );
    }
    let payload = format!("'t', zeroblob({})", PAYLOAD_BYTES_MAX + 1);
    refused("topic, payload", &payload, "payload_has_at_most_64_mib");
    refused("topic, payload, headers", "'t', '', '[]'", "headers_are_a_json_object");
    refused("topic", "'t'", "NOT NULL constraint failed: onewrite_outbox.payload");
    connection
        .execute("INSERT INTO onewrite_outbox (topic, payload) VALUES ('t', '')", [])
        .expect("the least that an event needs");
}

#[test]
fn the_inbox_is_true_once_and_again_after_a_rollback() {
    let (_database, mut connection) = Database::migrated();
    let event = Uuid::new_v4();
    for (commit, expected) in [(false, true), (true, true), (true, false)] {
        let transaction = connection.transaction().expect("begin");
        assert_eq!(receive(&transaction, "warehouse", event).expect("receive"), expected);
        assert!(!receive(&transaction, "warehouse", event).expect("receive again"));
        if commit {
            transaction.commit().expect("commit");
        } else {
            transaction.rollback().expect("roll back");
        }
    }
    assert!(receive(&connection, "billing", event).expect("another consumer"));
    let told = receive(&connection, "", event).expect_err("no name").to_string();
    assert!(
        told.starts_with("the consumer's name cannot be used: consumer is empty"),
        "{told}"
    );
}

#[test]
fn pruning_forgets_what_is_older_and_keeps_the_rest() {
    let (_database, connection) = Database::migrated();
    let fill = "INSERT INTO onewrite_inbox WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 10008) \
                SELECT 'c', n, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', iif(n <= 10003, '-31 days', '-29 days')) FROM n";
    connection.execute(fill, []).expect("fill");
    let month = Duration::from_secs(30 * 24 * 3600);
    let pruned = [(); 3].map(|()| prune_inbox(&connection, month).expect("prune"));
    assert_eq!(pruned, [10_000, 3, 0]);
    let left: i64 = connection
        .query_row("SELECT count(*) FROM onewrite_inbox", [], |row| row.get(0))
        .expect("count");
    assert_eq!(left, 5);
}

#[test]
fn migrating_twice_is_once_and_programs_that_migrate_at_once_take_turns() {
    let database = Database::empty();
    let mut applied: Vec<i64> = thread::scope(|scope| {
        let program = || migrate(&mut database.open()).expect("migrate");
        let programs = [(); 4].map(|()| scope.spawn(program));
        programs
            .into_iter()
            .flat_map(|program| program.join().expect("a program"))
            .collect()
    });
    applied.sort_unstable();
    assert_eq!(applied, (1..=LATEST).collect::<Vec<_>>());
    let connection = database.open();
    assert_eq!(current_version(&connection).expect("version"), LATEST);
    let mode: String = connection
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .expect("mode");
    assert_eq!(mode, "wal");
}

#[test]
fn the_database_of_a_newer_program_is_refused() {
    let (_database, mut connection) = Database::migrated();
    connection
        .execute("INSERT INTO onewrite_migration (version) VALUES (7)", [])
        .expect("pretend");
    let error = migrate(&mut connection).expect_err("newer");
    assert!(matches!(
        error,
        MigrateError::Newer {
            found: 7,
            known: LATEST
        }
    ));
    assert!(error.to_string().ends_with("use a newer program; nothing was changed"));
}

/// What an older version deleted, nobody wrote down; the first row that is left tells.
#[test]
fn the_history_of_an_older_schema_begins_at_its_first_row() {
    for (first, last, complete_from) in [(Some(41), 50, Some(41)), (None, 50, Some(51)), (Some(1), 50, None)] {
        let connection = Connection::open_in_memory().expect("open");
        connection.execute_batch(MIGRATIONS[0].sql).expect("an older schema");
        let mut script = "INSERT INTO onewrite_relay (name) VALUES ('shop');".to_owned();
        for sequence in first.into_iter().chain([last]) {
            script += &format!("INSERT INTO onewrite_outbox (sequence, topic, payload) VALUES ({sequence}, 't', '');");
        }
        script += &format!("DELETE FROM onewrite_outbox WHERE sequence = {last}");
        connection.execute_batch(&script).expect("a history");
        connection.execute_batch(MIGRATIONS[1].sql).expect("the step");
        let row = "SELECT removed_through + 1, removed_until IS NULL FROM onewrite_relay";
        let found = connection.query_row(row, [], |row| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, bool>(1)?))
        });
        assert_eq!(found.expect("the relay"), (complete_from, complete_from.is_none()));
    }
}

#[test]
fn the_printed_script_does_what_migrate_does() {
    let (_migrated, migrated) = Database::migrated();
    let printed = Connection::open_in_memory().expect("open");
    let script = print(0);
    printed
        .execute_batch(&script.replace(".bail on\n", ""))
        .expect("run the script");
    let objects = |connection: &Connection| {
        let query = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY name)";
        connection
            .query_row(query, [], |row| row.get::<_, String>(0))
            .expect("objects")
    };
    assert_eq!(objects(&printed), objects(&migrated));
}

#[test]
fn writers_of_several_threads_commit_all_they_appended_in_one_order() {
    const WRITERS: usize = 4;
    const EVENTS: usize = 50;
    let (database, connection) = Database::migrated();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let mut connection = database.open();
            scope.spawn(move || {
                connection.busy_timeout(Duration::from_secs(60)).expect("set");
                for number in 0..EVENTS {
                    let begin = connection.transaction_with_behavior(TransactionBehavior::Immediate);
                    let transaction = begin.expect("begin");
                    let event = Event::new("t", number.to_string()).key(writer.to_string());
                    append(&transaction, &event).expect("append");
                    transaction.commit().expect("commit");
                }
            });
        }
    });
    let events = read(&connection);
    for writer in 0..WRITERS {
        let key = Some(writer.to_string());
        let own = events.iter().filter(|event| event.key == key);
        let numbers: Vec<String> = own
            .map(|event| String::from_utf8_lossy(&event.payload).into_owned())
            .collect();
        assert_eq!(
            numbers,
            (0..EVENTS).map(|number| number.to_string()).collect::<Vec<_>>()
        );
    }
}
