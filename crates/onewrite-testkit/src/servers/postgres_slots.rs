//! What befalls the replication slots and databases of a PostgreSQL server.

use std::time::Instant;

use tokio_postgres::Row;

use super::database::Database;
use super::postgres::Postgres;
use crate::wait;

/// A replication slot, as `pg_replication_slots` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The process that reads from it, while one does.
    pub reader: Option<i32>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
    /// Bytes of the log from where the server must keep it to its present end; none when the slot is lost.
    pub retained: Option<i64>,
    /// Bytes of the log from what its reader has confirmed to its present end; none for a physical slot.
    pub unconfirmed: Option<i64>,
}

/// What a test lets a slot retain before it is lost: more than a standby that keeps up ever needs.
const KEPT: &str = "64MB";

impl Postgres {
    /// The slot of this name, if there is one.
    pub async fn slot(&self, name: &str) -> Option<Slot> {
        const SLOT: &str = "SELECT active_pid, wal_status, \
                            pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, \
                            pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint \
                            FROM pg_replication_slots WHERE slot_name = $1";
        let client = self.maintenance().connect().await;
        let row = client.query_opt(SLOT, &[&name]).await.expect("the slots");
        row.map(|row| Slot {
            reader: row.get(0),
            wal_status: row.get(1),
            retained: row.get(2),
            unconfirmed: row.get(3),
        })
    }

    /// Drops a slot, from under its reader if it has one.
    pub async fn drop_slot(&self, name: &str) {
        // Ending and dropping are one round trip, so that a reader that comes back at once is too late, or it is tried again.
        let drop = format!(
            "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE slot_name = '{name}'; \
             SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}'"
        );
        let client = self.maintenance().connect().await;
        let deadline = Instant::now() + wait::PATIENCE;
        while let Err(error) = client.batch_execute(&drop).await {
            assert!(
                Instant::now() < deadline,
                "the slot {name} cannot be dropped: {error:?}"
            );
        }
    }

    /// Drops a test's database with its slots and sessions. A server has room for few slots, and of a thousand databases, eight
    /// megabytes each while they are empty, a disk is full.
    pub async fn drop_database(&self, database: &Database) {
        const SLOTS: &str = "SELECT slot_name::text FROM pg_replication_slots WHERE database = $1";
        let client = self.maintenance().connect().await;
        let drop = format!("DROP DATABASE {} WITH (FORCE)", database.name);
        let deadline = Instant::now() + wait::PATIENCE;
        loop {
            let slots = client.query(SLOTS, &[&database.name]).await.expect("the slots");
            for slot in slots {
                self.drop_slot(slot.get(0)).await;
            }
            // A reader that was just being opened may have made another slot meanwhile.
            let Err(error) = client.batch_execute(&drop).await else {
                return;
            };
            assert!(Instant::now() < deadline, "{drop}: {error:?}");
        }
    }

    /// Ends the process that reads from a slot, as an administrator or a broken network does; false where none reads.
    pub async fn end_walsender(&self, slot: &str) -> bool {
        let end = format!(
            "SELECT 1 FROM pg_replication_slots WHERE slot_name = '{slot}' AND pg_terminate_backend(active_pid, 10000)"
        );
        self.asked(&end).await.is_some()
    }

    /// Writes so much log that a slot whose reader stands still is lost by `max_slot_wal_keep_size`.
    pub async fn outgrow_slot(&self, name: &str) {
        self.set("max_slot_wal_keep_size", KEPT).await;
        self.until_lost(
            name,
            "SELECT pg_logical_emit_message(false, 'junk', 'x'); SELECT pg_switch_wal(); CHECKPOINT",
        )
        .await;
        self.set("max_slot_wal_keep_size", "-1").await;
    }

    /// Waits until a slot that has no reader is lost by `idle_replication_slot_timeout`, which PostgreSQL 18 has.
    pub async fn tire_of_slot(&self, name: &str) {
        self.set("idle_replication_slot_timeout", "1s").await;
        self.until_lost(name, "CHECKPOINT").await;
        self.set("idle_replication_slot_timeout", "0").await;
    }

    async fn until_lost(&self, name: &str, act: &str) {
        let client = self.maintenance().connect().await;
        let status = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1";
        wait::until(&format!("the slot {name} is lost"), async || {
            // Commands that may not share a transaction.
            for command in act.split("; ") {
                client.batch_execute(command).await.expect(command);
            }
            let row: Row = client.query_one(status, &[&name]).await.expect("the slot");
            (row.get::<_, Option<&str>>(0) == Some("lost")).then_some(())
        })
        .await;
    }

    /// Changes a setting that a running server can change, and waits until new sessions have it; `value` as `SHOW` tells it.
    pub async fn set(&self, name: &str, value: &str) {
        self.tell(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
        self.tell("SELECT pg_reload_conf()").await;
        let applied = format!("SELECT 1 WHERE current_setting('{name}') = '{value}'");
        wait::until(&format!("{name} is {value:?}"), async || self.asked(&applied).await).await;
    }

    /// Runs commands in the database `postgres`.
    pub(super) async fn tell(&self, commands: &str) {
        let client = self.maintenance().connect().await;
        client
            .batch_execute(commands)
            .await
            .unwrap_or_else(|error| panic!("{commands}: {error:?}"));
    }

    /// A row, if the query has one.
    pub(super) async fn asked(&self, query: &str) -> Option<Row> {
        let client = self.maintenance().connect().await;
        client
            .query_opt(query, &[])
            .await
            .unwrap_or_else(|error| panic!("{query}: {error:?}"))
    }
}
