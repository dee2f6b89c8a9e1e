//! The commands for operators, against a PostgreSQL outbox.

use onewrite_testkit::servers::{Database, Postgres};
use serde_json::json;

use crate::program::Program;

/// A database of the test's own with a role for the relay, and the program for it with further keys of `[source]`.
async fn shop(source: &str) -> (Database, String, Program) {
    let database = Postgres::shared(17).await.database().await;
    let role = format!("relay_{}", database.name);
    let owner = database.connect().await;
    owner
        .batch_execute(&format!("CREATE ROLE {role} LOGIN"))
        .await
        .expect("a role");
    let program = Program::with(&format!(
        "name = \"shop\"\n[source]\ntype = \"postgres\"\nurl = \"{}\"\n{source}\n[sinks.events]\ntype = \"stdout\"\n\
         [[routes]]\nname = \"all\"\nsink = \"events\"\n",
        database.url
    ));
    (database, role, program)
}

#[tokio::test]
async fn migrate_fits_the_turns_to_the_retention_and_says_what_is_left_for_a_superuser() {
    let (_database, role, program) = shop("retention = \"24h\"").await;
    let answer = program.json(&["migrate", "--grant-relay", &role, "--json"]);
    let notes: Vec<&str> = answer["notes"]
        .as_array()
        .expect("notes")
        .iter()
        .filter_map(|note| note.as_str())
        .collect();
    assert_eq!(notes[0], "segments are in use by turns of 12 h 1 min now");
    assert!(
        notes[1].contains(&format!("a superuser runs: ALTER ROLE {role} REPLICATION;")),
        "{notes:?}"
    );
    assert_eq!(program.json(&["migrate", "--json"])["notes"], json!([]));
    let said = program.run(&["migrate", "--rotation", "1h"]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(
        said.err
            .starts_with("error: turns of 1 h cannot keep events for 24 h (source.retention)"),
        "{}",
        said.err
    );
    let printed = program.run(&["migrate", "--print", "--grant-relay", &role]).out;
    for part in [&format!("-- ALTER ROLE \"{role}\" REPLICATION;"), "SET value = '43260'"] {
        assert!(printed.contains(part), "{printed}");
    }
}

#[tokio::test]
async fn check_and_status_show_the_feed_and_what_is_wrong_with_it() {
    let (database, _, program) = shop("retention = \"24h\"").await;
    program.json(&["migrate", "--rotation", "13h", "--json"]);
    let owner = database.connect().await;
    let damage = "DROP PUBLICATION onewrite; UPDATE onewrite.setting SET value = '3600'; \
                  INSERT INTO onewrite.relay (name, holder, renewed_at, expires_at, feed, feed_reason, slot) VALUES \
                  ('shop', 'host:1', now(), now() + interval '1 hour', 'poll', 'there is no publication', 'onewrite_gone')";
    owner.batch_execute(damage).await.expect("damage");
    let text = program.run(&["check"]);
    assert_eq!(text.code, 0, "warnings are no failure: {}", text.out);
    for part in [
        "! source  feed ",
        "! source  publication onewrite ",
        "! source  rotation ",
    ] {
        let squeezed = text.out.split_whitespace().collect::<Vec<_>>().join(" ");
        let part = part.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(&part), "{part:?} in {}", text.out);
    }
    let status = program.json(&["status", "--json"]);
    let kinds: Vec<_> = status["alarms"]
        .as_array()
        .expect("alarms")
        .iter()
        .map(|alarm| &alarm["kind"])
        .collect();
    assert_eq!(kinds, [&json!("slot_lost"), &json!("rotation_short")]);
    assert_eq!(status["relays"][0]["slot"]["wal_status"], "missing");
    let text = program.run(&["status"]).out;
    assert!(text.starts_with("! slot_lost: slot onewrite_gone: "), "{text}");
    assert!(
        text.contains("\nfeed poll: there is no publication\nslot onewrite_gone: missing, read by nobody"),
        "{text}"
    );
}
