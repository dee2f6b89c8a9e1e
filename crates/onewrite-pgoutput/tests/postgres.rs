//! What real servers send: every kind of message, in text and in binary, from PostgreSQL 14 to 18.

use std::collections::HashMap;
use std::path::Path;

use onewrite_pgoutput::{Column, Message, OldKind, Relation, Tuple, decode};
use onewrite_testkit::servers::{Database, Postgres};

/// Set to write what PostgreSQL 18 sends into the fuzzer's corpus, one file for each message:
/// `ONEWRITE_UPDATE_CORPUS=1 cargo test -p onewrite-pgoutput --test postgres`.
const UPDATE: &str = "ONEWRITE_UPDATE_CORPUS";

const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('calm', 'wild');
    CREATE TABLE keyed (id text PRIMARY KEY, mood mood, payload bytea);
    ALTER TABLE keyed ALTER payload SET STORAGE EXTERNAL;
    CREATE TABLE \"größe\" (a varchar(32), b text);
    ALTER TABLE \"größe\" REPLICA IDENTITY FULL;
    CREATE PUBLICATION everything FOR TABLE keyed, \"größe\";
    SELECT pg_replication_origin_create(current_database());
";

const CHANGES: [&str; 4] = [
    "BEGIN;
     INSERT INTO keyed VALUES ('a', 'wild', '\\x00ff'), ('b', NULL, decode(repeat('ab', 5000), 'hex'));
     INSERT INTO \"größe\" VALUES ('', NULL);
     SELECT pg_logical_emit_message(true, 'inside', '\\x0001'::bytea);
     COMMIT",
    "BEGIN;
     UPDATE keyed SET mood = 'calm' WHERE id = 'b';
     UPDATE keyed SET id = 'c' WHERE id = 'a';
     UPDATE \"größe\" SET b = 'ü';
     DELETE FROM keyed WHERE id = 'c';
     DELETE FROM \"größe\";
     TRUNCATE keyed, \"größe\" RESTART IDENTITY CASCADE;
     COMMIT",
    "SELECT pg_logical_emit_message(false, 'outside', '')",
    "SELECT pg_replication_origin_session_setup(current_database());
     BEGIN;
     SELECT pg_replication_origin_xact_setup('16/B374D848', now());
     INSERT INTO keyed VALUES ('d', NULL, NULL);
     COMMIT;
     SELECT pg_replication_origin_session_reset()",
];

/// What the changes are as messages. In text a `bytea` is hexadecimal.
fn expected(binary: bool, origin: &str) -> Vec<String> {
    let [short, long] = match binary {
        true => ["b\"\\0\\xff\"".to_owned(), format!("b\"{}\"", "\\xab".repeat(5000))],
        false => ["t\"\\\\x00ff\"".to_owned(), format!("t\"\\\\x{}\"", "ab".repeat(5000))],
    };
    let tag = if binary { 'b' } else { 't' };
    let lines = [
        "begin",
        "type public.mood",
        "relation public.keyed Default id* 25 -1, mood MOOD -1, payload 17 -1",
        &format!("insert keyed {tag}\"a\" {tag}\"wild\" {short}"),
        &format!("insert keyed {tag}\"b\" null {long}"),
        "relation public.größe Full a* 1043 36, b* 25 -1",
        &format!("insert größe {tag}\"\" null"),
        "message inside transactional b\"\\0\\x01\"",
        "commit",
        "begin",
        &format!("update keyed {tag}\"b\" {tag}\"calm\" unchanged"),
        &format!("update keyed key {tag}\"a\" null null to {tag}\"c\" {tag}\"wild\" {short}"),
        &format!("update größe row {tag}\"\" null to {tag}\"\" {tag}\"\\xc3\\xbc\""),
        &format!("delete keyed key {tag}\"c\" null null"),
        &format!("delete größe row {tag}\"\" {tag}\"\\xc3\\xbc\""),
        "truncate keyed größe cascade restart",
        "commit",
        "message outside b\"\"",
        "begin",
        &format!("origin {origin} 0x16b374d848"),
        &format!("insert keyed {tag}\"d\" null null"),
        "commit",
    ];
    lines.map(str::to_owned).to_vec()
}

/// Tells messages in words that are the same on every run.
#[derive(Default)]
struct Teller {
    tables: HashMap<u32, String>,
    mood: u32,
    final_lsn: u64,
}

impl Teller {
    fn tell(&mut self, message: Message) -> String {
        match message {
            Message::Begin { final_lsn, .. } => {
                self.final_lsn = final_lsn;
                "begin".to_owned()
            }
            Message::Commit {
                flags,
                commit_lsn,
                end_lsn,
                ..
            } => {
                assert_eq!((flags, commit_lsn), (0, self.final_lsn));
                assert!(end_lsn > commit_lsn);
                "commit".to_owned()
            }
            Message::Origin { commit_lsn, name } => format!("origin {name} {commit_lsn:#x}"),
            Message::Relation(relation) => self.tell_relation(relation),
            Message::Type { oid, namespace, name } => {
                self.mood = oid;
                format!("type {namespace}.{name}")
            }
            Message::Insert { relation, new } => format!("insert {}{}", self.tables[&relation], columns(&new)),
            Message::Update { relation, old, new } => {
                let old = old.map_or(String::new(), |(kind, old)| {
                    format!(" {}{} to", tell_kind(kind), columns(&old))
                });
                format!("update {}{old}{}", self.tables[&relation], columns(&new))
            }
            Message::Delete { relation, kind, old } => {
                format!("delete {} {}{}", self.tables[&relation], tell_kind(kind), columns(&old))
            }
            Message::Truncate { relations, options } => {
                let tables: Vec<&str> = relations.iter().map(|oid| self.tables[oid].as_str()).collect();
                let cascade = if options.cascade() { " cascade" } else { "" };
                let restart = if options.restart_identity() { " restart" } else { "" };
                format!("truncate {}{cascade}{restart}", tables.join(" "))
            }
            Message::LogicalMessage(message) => {
                let transactional = if message.transactional { " transactional" } else { "" };
                format!("message {}{transactional} {:?}", message.prefix, message.content)
            }
        }
    }

    fn tell_relation(&mut self, relation: Relation) -> String {
        self.tables.insert(relation.oid, relation.name.to_string());
        let columns = relation.columns.iter().map(|column| {
            let key = if column.is_key() { "*" } else { "" };
            let kind = match column.type_oid {
                oid if oid == self.mood => "MOOD".to_owned(),
                oid => oid.to_string(),
            };
            format!("{}{key} {kind} {}", column.name, column.type_modifier)
        });
        let columns: Vec<String> = columns.collect();
        let Relation {
            namespace,
            name,
            replica_identity,
            ..
        } = &relation;
        format!(
            "relation {namespace}.{name} {replica_identity:?} {}",
            columns.join(", ")
        )
    }
}

fn tell_kind(kind: OldKind) -> &'static str {
    match kind {
        OldKind::Key => "key",
        OldKind::Full => "row",
    }
}

fn columns(tuple: &Tuple) -> String {
    let column = |column| match column {
        Column::Null => " null".to_owned(),
        Column::Unchanged => " unchanged".to_owned(),
        Column::Text(value) => format!(" {:?}", value).replacen('b', "t", 1),
        Column::Binary(value) => format!(" {value:?}"),
    };
    tuple.columns().map(column).collect()
}

async fn sends_what_was_changed(version: u32) {
    let database = Postgres::shared(version).await.database().await;
    let client = database.connect().await;
    let slot = format!(
        "SELECT pg_create_logical_replication_slot('{}', 'pgoutput')",
        database.name
    );
    for statements in [TABLES, &slot].into_iter().chain(CHANGES) {
        client.batch_execute(statements).await.expect("make the changes");
    }
    for binary in [false, true] {
        let messages = messages(&database, binary).await;
        if version == 18 && std::env::var_os(UPDATE).is_some() {
            record(&messages, binary);
        }
        let mut teller = Teller::default();
        let mut told = Vec::new();
        for data in messages {
            let line = teller.tell(decode(data.into()).unwrap_or_else(|error| panic!("{error}")));
            // When the server describes a table again is its own affair.
            let is_description = ["type", "relation"].iter().any(|kind| line.starts_with(kind));
            if !(is_description && told.contains(&line)) {
                told.push(line);
            }
        }
        assert_eq!(told, expected(binary, &database.name), "binary: {binary}");
    }
}

async fn messages(database: &Database, binary: bool) -> Vec<Vec<u8>> {
    let statement = format!(
        "SELECT data FROM pg_logical_slot_peek_binary_changes('{}', NULL, NULL,
           'proto_version', '1', 'publication_names', 'everything', 'messages', 'true', 'binary', '{binary}')",
        database.name
    );
    let rows = database.connect().await.query(&statement, &[]).await;
    let rows = rows.expect("decode the log");
    rows.iter().map(|row| row.get(0)).collect()
}

fn record(messages: &[Vec<u8>], binary: bool) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/pgoutput");
    let form = if binary { "binary" } else { "text" };
    // Seeds are small: the large value is in the tests.
    for (number, message) in messages.iter().enumerate().filter(|(_, message)| message.len() < 500) {
        let kind = char::from(message[0]);
        let path = corpus.join(format!("postgres-{form}-{number:02}-{kind}"));
        std::fs::write(&path, message).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[tokio::test]
async fn postgresql_14() {
    sends_what_was_changed(14).await;
}

#[tokio::test]
async fn postgresql_15() {
    sends_what_was_changed(15).await;
}

#[tokio::test]
async fn postgresql_16() {
    sends_what_was_changed(16).await;
}

#[tokio::test]
async fn postgresql_17() {
    sends_what_was_changed(17).await;
}

#[tokio::test]
async fn postgresql_18() {
    sends_what_was_changed(18).await;
}
