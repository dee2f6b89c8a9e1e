//! Alarms about the replication slots of relays, on the oldest and the newest server: their views differ.

use onewrite_core::Operations;
use onewrite_core::alarm::{Alarm, AlarmKind};
use onewrite_core::store::Status;
use onewrite_testkit::servers::Postgres;
use onewrite_testkit::wait::until;

use super::database::{Database, status};

const VERSIONS: [u32; 2] = [14, 18];

/// A relay that somebody runs, with a slot of this name written down.
const RUN: &str = "INSERT INTO onewrite.relay (name, epoch, holder, renewed_at, expires_at, feed, feed_reason, slot) \
                   VALUES ('shop', 1, 'host:1', now(), now() + interval '1 hour', 'poll', 'the server is away', 'onewrite_shop')";

const GONE: &str =
    "UPDATE onewrite.relay SET holder = NULL, renewed_at = now() - interval '2 hours', expires_at = now()";

const MAKE: &str = "SELECT pg_create_logical_replication_slot('onewrite_shop', 'pgoutput')";

/// Ends the present file of the log and begins another, several times.
const FILL: &str = "DO $$ BEGIN FOR i IN 1..6 LOOP PERFORM pg_logical_emit_message(false, 'ballast', 'x'); PERFORM pg_switch_wal(); END LOOP; END $$";

fn only(status: &Status) -> &Alarm {
    let [alarm] = &status.alarms[..] else {
        panic!("one alarm in {status:#?}")
    };
    alarm
}

#[tokio::test]
async fn a_slot_that_nobody_reads_is_told_with_what_it_keeps() {
    for version in VERSIONS {
        let server = Postgres::start(version, &[]).await;
        let mut database = Database::on(&server).await.migrate().await;
        let operations = database.operations().await;
        database.run(MAKE).await;
        database.run(RUN).await;
        let found = status(&operations).await;
        assert_eq!(found.alarms, [], "{version}: it keeps next to nothing");
        let relay = &found.relays[0];
        assert_eq!(
            (relay.feed.as_deref(), relay.feed_reason.as_deref()),
            (Some("poll"), Some("the server is away"))
        );
        let slot = relay.slot.as_ref().expect("a slot");
        assert_eq!(
            (slot.name.as_str(), slot.wal_status.as_str(), slot.active_pid),
            ("onewrite_shop", "reserved", None)
        );
        database.run(FILL).await;
        let found = status(&operations).await;
        let (alarm, slot) = (only(&found), found.relays[0].slot.as_ref().expect("a slot"));
        assert_eq!(
            (alarm.kind, alarm.subject.as_str()),
            (AlarmKind::WalRetained, "slot onewrite_shop")
        );
        assert_eq!(alarm.figure, slot.retained_bytes.map(|bytes| bytes as f64));
        assert!(slot.retained_bytes > Some(64 << 20), "{slot:?}");
        for words in [
            "the relay does not read it at present (the server is away)",
            "max_slot_wal_keep_size is not set",
        ] {
            assert!(alarm.message.contains(words), "{version}: {alarm:?}");
        }
    }
}

#[tokio::test]
async fn a_slot_whose_relay_is_gone_is_told_until_the_relay_is_given_up() {
    for version in VERSIONS {
        let server = Postgres::start(version, &[]).await;
        let mut database = Database::on(&server).await.migrate().await;
        let (role, operations) = database.configured(&[]).await;
        database.run(MAKE).await;
        database.run(RUN).await;
        assert!(operations.forget("shop").await.is_err(), "it is run");
        database.run(GONE).await;
        let found = status(&operations).await;
        let alarm = only(&found);
        assert_eq!(alarm.kind, AlarmKind::SlotUnused);
        for words in [
            "nobody has run its relay \"shop\" for 2 h",
            "onewrite forget --relay shop",
        ] {
            assert!(alarm.message.contains(words), "{version}: {alarm:?}");
        }
        let refused = operations.forget("shop").await.expect_err("no REPLICATION").to_string();
        assert!(
            refused.contains("SELECT pg_drop_replication_slot('onewrite_shop');"),
            "{refused}"
        );
        assert_eq!(status(&operations).await.relays.len(), 1, "nothing was done");
        database.run(&format!("ALTER ROLE {role} REPLICATION")).await;
        let forgotten = operations.forget("shop").await.expect("it is given up");
        assert_eq!(forgotten.slots, ["onewrite_shop"]);
        assert_eq!(status(&operations).await.alarms, []);
        assert_eq!(database.read("SELECT count(*) FROM pg_replication_slots").await, "0");
    }
}

#[tokio::test]
async fn a_slot_of_no_relay_is_told_with_the_statement_that_drops_it() {
    for version in VERSIONS {
        let server = Postgres::start(version, &[]).await;
        let mut database = Database::on(&server).await.migrate().await;
        let operations = database.operations().await;
        // Neither somebody else's slot, nor one of another database.
        for slot in [
            MAKE,
            "SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')",
            "SELECT pg_create_physical_replication_slot('onewrite_copy')",
        ] {
            database.run(slot).await;
        }
        let found = status(&operations).await;
        let alarm = only(&found);
        assert_eq!(
            (alarm.kind, alarm.subject.as_str()),
            (AlarmKind::SlotUnused, "slot onewrite_shop")
        );
        // Only newer servers tell for how long it has been like that.
        assert_eq!(
            alarm.message.contains("nobody has read it for"),
            version >= 17,
            "{alarm:?}"
        );
        let statement = alarm.message.rsplit(": ").next().expect("a statement");
        database.run(statement).await;
        assert_eq!(status(&operations).await.alarms, []);
    }
}

#[tokio::test]
async fn a_slot_that_the_server_is_about_to_give_up_and_one_that_it_gave_up_are_told_apart() {
    for version in VERSIONS {
        let settings = [("max_slot_wal_keep_size", "32MB"), ("min_wal_size", "32MB")];
        let server = Postgres::start(version, &settings).await;
        let mut database = Database::on(&server).await.migrate().await;
        let operations = database.operations().await;
        // Only then is the log more than it should be, or a checkpoint of the server's own would come in between.
        let less = "ALTER SYSTEM SET max_wal_size = '32MB'";
        for statements in [MAKE, RUN, FILL, less, "SELECT pg_reload_conf()"] {
            database.run(statements).await;
        }
        let found = until("the server reckons anew", async || {
            let found = status(&operations).await;
            let slot = found.relays[0].slot.as_ref().expect("a slot");
            (slot.wal_status == "unreserved").then_some(found)
        })
        .await;
        let alarm = only(&found);
        assert_eq!(alarm.kind, AlarmKind::WalRetained, "{version}: {alarm:?}");
        assert!(
            alarm
                .message
                .contains("at its next checkpoint the server gives the slot up"),
            "{alarm:?}"
        );
        database.run("CHECKPOINT").await;
        let found = status(&operations).await;
        let alarm = only(&found);
        assert_eq!(alarm.kind, AlarmKind::SlotLost, "{version}: {alarm:?}");
        for words in [
            "more of the log than max_slot_wal_keep_size allows",
            "Nothing is lost: the relay reads the table",
        ] {
            assert!(alarm.message.contains(words), "{version}: {alarm:?}");
        }
        // Where the events are in the log alone, it is another matter.
        database.route("all", "*").await;
        database.run("UPDATE onewrite.route SET log_commit = 1").await;
        let found = status(&operations).await;
        assert!(only(&found).message.contains("so it may be lost"), "{found:?}");
    }
}

#[tokio::test]
async fn a_slot_that_is_gone_is_told_while_its_relay_is_run() {
    let mut database = Database::migrated().await;
    let operations = database.operations().await;
    database
        .run(&RUN.replace("onewrite_shop", "onewrite_no_such_slot"))
        .await;
    let found = status(&operations).await;
    let slot = found.relays[0].slot.as_ref().expect("a slot");
    assert_eq!(slot.wal_status, "missing");
    let lost = found
        .alarms
        .iter()
        .find(|alarm| alarm.subject == "slot onewrite_no_such_slot")
        .expect("an alarm");
    assert_eq!(lost.kind, AlarmKind::SlotLost);
    assert!(lost.message.contains("it is gone"), "{lost:?}");
    database.run(GONE).await;
    let alarms = status(&operations).await.alarms;
    assert!(
        alarms.iter().all(|alarm| alarm.subject != "slot onewrite_no_such_slot"),
        "{alarms:?}"
    );
}
