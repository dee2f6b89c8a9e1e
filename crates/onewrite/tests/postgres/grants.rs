//! Each role can do its work and nothing else.

use onewrite::Event;
use onewrite::postgres::{Privileges, append, append_all, append_under_row_lock, prune_inbox, receive};
use tokio_postgres::Client;

use super::database::{Database, count, refusal};

/// Every overload and way of naming arguments that people use.
const CALLS: &[&str] = &[
    "SELECT onewrite.append('t', 'k', '{}')",
    "SELECT onewrite.append('t', NULL, '{}')",
    "SELECT onewrite.append('t', 'k', 'text'::text, 'Type', '{\"a\": \"b\"}', 'text/plain', gen_random_uuid())",
    "SELECT onewrite.append('t', 'k', '{\"a\": 1}'::jsonb, type => 'Type')",
    "SELECT onewrite.append('t', 'k', '\\x00'::bytea, content_type => 'application/octet-stream')",
    "SELECT onewrite.append(topic => 't', key => 'k', payload => '{}'::jsonb, headers => '{\"a\": \"b\"}', id => gen_random_uuid())",
    "SELECT onewrite.lock_keys('a', 'b', NULL)",
    "SELECT onewrite.receive('c', gen_random_uuid())",
    "SELECT onewrite.prune_inbox('30 days')",
];

const PLAIN_INSERTS: &[&str] = &[
    "INSERT INTO onewrite.outbox (topic, payload) VALUES ('t', '')",
    "INSERT INTO onewrite.outbox (id, topic, key, type, payload, content_type, headers, occurred_at) \
     VALUES (gen_random_uuid(), 't', 'k', 'Type', '{}', 'application/json', '{}', now())",
];

/// What no application may do, by whatever grant.
const FORBIDDEN: &[&str] = &[
    "SELECT payload FROM onewrite.outbox",
    "SELECT * FROM onewrite.outbox_0",
    "UPDATE onewrite.outbox SET payload = ''",
    "DELETE FROM onewrite.outbox",
    "TRUNCATE onewrite.outbox",
    "INSERT INTO onewrite.outbox_0 (segment, topic, payload) VALUES (0, 't', '')",
    "INSERT INTO onewrite.outbox (topic, payload, sequence) VALUES ('t', '', 1)",
    "INSERT INTO onewrite.outbox (topic, payload, xid) VALUES ('t', '', '1')",
    "INSERT INTO onewrite.outbox (topic, payload, segment) VALUES ('t', '', 1)",
    "INSERT INTO onewrite.outbox (topic, payload) VALUES ('t', '') RETURNING id",
    "SELECT setval('onewrite.outbox_sequence', 1)",
    "SELECT * FROM onewrite.inbox",
    "INSERT INTO onewrite.inbox VALUES ('c', gen_random_uuid())",
    "DELETE FROM onewrite.inbox",
    "SELECT * FROM onewrite.route",
    "SELECT * FROM onewrite.relay",
    "SELECT * FROM onewrite.member",
    "SELECT * FROM onewrite.parked_event",
    "SELECT * FROM onewrite.skipped_event",
    "SELECT * FROM onewrite.parked",
    "SELECT * FROM onewrite.status",
    "UPDATE onewrite.setting SET value = '1'",
    "INSERT INTO onewrite.replay (relay, route, up_to) VALUES ('r', 'r', 1)",
    "CREATE TABLE onewrite.mine ()",
];

async fn refused(client: &Client, statements: &[&str]) {
    for statement in statements {
        let told = refusal(client, statement).await;
        assert!(told.starts_with("42501: "), "{statement}: {told}");
    }
}

async fn allowed(client: &Client, statements: &[&str]) {
    for statement in statements {
        client
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
}

#[tokio::test]
async fn a_role_with_execute_alone_can_call_everything_and_touch_no_table() {
    let database = Database::migrated().await;
    let mut client = database.role(Privileges::Append).await;
    allowed(&client, CALLS).await;
    refused(&client, FORBIDDEN).await;
    refused(&client, PLAIN_INSERTS).await;
    refused(&client, &["SELECT nextval('onewrite.outbox_sequence')"]).await;
    let transaction = client.transaction().await.expect("begin");
    let id = append(&transaction, &Event::new("t", "").key("k"))
        .await
        .expect("append");
    append_all(&transaction, &[Event::new("t", "").key("k")])
        .await
        .expect("append_all");
    assert!(receive(&transaction, "c", id).await.expect("receive"));
    prune_inbox(&transaction, std::time::Duration::from_secs(1))
        .await
        .expect("prune");
    let error = append_under_row_lock(&transaction, &[Event::new("t", "")])
        .await
        .expect_err("no INSERT");
    let told = error.to_string();
    assert!(
        told.contains("permission denied for table outbox (`onewrite migrate --print` shows the grants)"),
        "{told}"
    );
    drop(transaction);
    assert_eq!(
        count(&database.owner().await).await,
        6,
        "six calls of append, and nothing of the aborted transaction"
    );
}

#[tokio::test]
async fn a_role_with_insert_can_insert_what_is_an_events_own_and_nothing_else() {
    let database = Database::migrated().await;
    let mut client = database.role(Privileges::AppendAndInsert).await;
    allowed(&client, CALLS).await;
    allowed(&client, PLAIN_INSERTS).await;
    refused(&client, FORBIDDEN).await;
    let transaction = client.transaction().await.expect("begin");
    append_under_row_lock(&transaction, &[Event::new("t", "")])
        .await
        .expect("append_under_row_lock");
    transaction.commit().await.expect("commit");
    assert_eq!(count(&database.owner().await).await, 9);
}

#[tokio::test]
async fn a_role_with_nothing_can_do_nothing() {
    let database = Database::migrated().await;
    let (owner, role) = (
        database.owner().await,
        format!("stranger_{}", onewrite::Uuid::new_v4().simple()),
    );
    owner
        .batch_execute(&format!("CREATE ROLE {role}; SET ROLE {role}"))
        .await
        .expect("a role");
    for statements in [CALLS, PLAIN_INSERTS, FORBIDDEN] {
        refused(&owner, statements).await;
    }
    // Even if the schema is opened to it, no function is.
    let open = format!("RESET ROLE; GRANT USAGE ON SCHEMA onewrite TO {role}; SET ROLE {role}");
    owner.batch_execute(&open).await.expect("open the schema");
    for statements in [CALLS, PLAIN_INSERTS, FORBIDDEN] {
        refused(&owner, statements).await;
    }
}

#[tokio::test]
async fn a_relay_can_do_its_work_and_not_an_applications() {
    let database = Database::migrated().await;
    let client = database.role(Privileges::Relay).await;
    allowed(&client, RELAYS_WORK).await;
    refused(&client, CALLS).await;
    refused(&client, PLAIN_INSERTS).await;
    refused(
        &client,
        &[
            "UPDATE onewrite.outbox SET payload = ''",
            "DELETE FROM onewrite.outbox",
            "SELECT nextval('onewrite.outbox_sequence')",
            "SELECT * FROM onewrite.inbox",
            "UPDATE onewrite.setting SET value = '1'",
            "INSERT INTO onewrite.migration (version) VALUES (9)",
            "DROP TABLE onewrite.outbox_0",
        ],
    )
    .await;
}

const RELAYS_WORK: &[&str] = &[
    "SELECT xid, sequence, occurred_at, id, segment, topic, key, type, content_type, headers, payload FROM onewrite.outbox",
    "SELECT count(*) FROM ONLY onewrite.outbox_0",
    "BEGIN; SET LOCAL lock_timeout = '1s'; LOCK TABLE onewrite.outbox_1 IN ACCESS EXCLUSIVE MODE; TRUNCATE onewrite.outbox_1; COMMIT",
    "TRUNCATE onewrite.outbox_0, onewrite.outbox_2, onewrite.outbox_3",
    "SELECT pg_sequence_last_value('onewrite.outbox_sequence')",
    "SELECT max(version) FROM onewrite.migration",
    "SELECT value FROM onewrite.setting",
    "INSERT INTO onewrite.relay (name, epoch, holder, renewed_at, expires_at) VALUES ('r', 1, 'h', now(), now()) \
     ON CONFLICT (name, lane_group) DO UPDATE SET epoch = relay.epoch + 1",
    "INSERT INTO onewrite.member (relay, id, holder, lane_groups, expires_at) VALUES ('r', 'm', 'h', 2, now())",
    "UPDATE onewrite.member SET expires_at = now(); DELETE FROM onewrite.member WHERE relay = 'r'",
    "INSERT INTO onewrite.route (relay, name, definition, floor_snapshot, floor_sequence) \
     VALUES ('r', 'a', '{}', pg_current_snapshot()::text, 0)",
    "UPDATE onewrite.route SET pending = '{1,2}' FROM onewrite.relay WHERE relay.name = route.relay AND relay.epoch = 1",
    "INSERT INTO onewrite.parked_event (relay, route, sequence, state, event_id, topic, content_type, headers, payload, \
     occurred_at, attempts, error) VALUES ('r', 'a', 1, 'parked', gen_random_uuid(), 't', 'x', '{}', '', now(), 1, 'e') \
     ON CONFLICT (relay, route, sequence) DO NOTHING",
    "UPDATE onewrite.parked_event SET state = 'retry'",
    "SELECT * FROM onewrite.parked, onewrite.status",
    "DELETE FROM onewrite.parked_event",
    "INSERT INTO onewrite.skipped_event (sequence, relay) VALUES (1, 'r') ON CONFLICT DO NOTHING",
    "DELETE FROM onewrite.skipped_event WHERE sequence = 1",
    "INSERT INTO onewrite.replay (relay, route, up_to) VALUES ('r', 'a', 1) RETURNING id",
    "UPDATE onewrite.replay SET progress = 1, finished_at = now()",
    "DELETE FROM onewrite.replay",
    "DELETE FROM onewrite.route",
    "DELETE FROM onewrite.relay",
];

#[tokio::test]
async fn a_callers_temporary_type_cannot_run_code_as_the_owner() {
    let database = Database::migrated().await;
    let client = database.role(Privileges::Append).await;
    let trap = "CREATE FUNCTION pg_temp.who() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'ran as %', current_user; END $$;
                CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (pg_temp.who());
                CREATE DOMAIN pg_temp.bigint AS pg_catalog.int8 CHECK (pg_temp.who());
                CREATE TEMPORARY TABLE outbox (trap text)";
    client.batch_execute(trap).await.expect("set the trap");
    allowed(&client, CALLS).await;
}
