//! Groups of lanes over PostgreSQL: over the log, through upgrades, and what is left of a layout that is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use onewrite::postgres::MigrateOptions;
use onewrite::schema::postgres::MIGRATIONS;
use onewrite_core::options::Options;
use onewrite_core::{Lease, Member, Outbox};
use onewrite_sources::registry::{MigrateRequest, source_type};
use onewrite_testkit::servers::{Database, Postgres};

use super::fixture::{RELAY, Reader, TTL, append, everything, open, open_all, payloads, run};

const PATIENCE: Duration = Duration::from_secs(120);

/// A process that leads every group of a relay.
pub struct Process {
    database: Database,
    pub outbox: Arc<dyn Outbox>,
    readers: Vec<Reader>,
    pub leases: Vec<Lease>,
}

impl Process {
    pub async fn lead(database: &Database, feed: &str, groups: u32) -> Self {
        let outbox = open(&[("url", &database.url), ("feed", feed)]).expect("an outbox");
        let mut process = Self {
            database: database.clone(),
            outbox,
            readers: Vec::new(),
            leases: Vec::new(),
        };
        let member = Member {
            relay: RELAY.to_owned(),
            id: "one".to_owned(),
            holder: "one".to_owned(),
            groups,
        };
        for index in 0..groups {
            let claimed = process.outbox.claim(&member, index, TTL).await.expect("an answer");
            process.leases.push(claimed.expect("a free group"));
        }
        for lease in &process.leases {
            let share = everything()[0].in_group(lease.group);
            process
                .outbox
                .adopt(lease, std::slice::from_ref(&share))
                .await
                .expect("adopted");
            let feed = process.outbox.feed(lease, &share).await.expect("a feed");
            process.readers.push(Reader::new(feed));
        }
        process
    }

    /// Reads in every group until so many events have come, and tells their payloads.
    pub async fn read(&mut self, count: usize) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut came = Vec::new();
        while came.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} came", came.len());
            came.extend(self.look().await);
        }
        came
    }

    /// One look in every group; what comes is settled.
    async fn look(&mut self) -> Vec<String> {
        let mut came = Vec::new();
        for reader in &mut self.readers {
            let events = reader.batch().await;
            came.extend(payloads(&events));
            reader.settle(&events).await;
        }
        came
    }

    /// Reads until every group follows the log; tells why each does.
    async fn follow(&mut self) -> Vec<String> {
        const FOLLOWED: &str = "SELECT feed_reason FROM onewrite.relay JOIN pg_replication_slots ON slot_name = slot AND active \
                                WHERE feed = 'wal' AND lane_group < lane_groups ORDER BY lane_group";
        let client = self.database.connect().await;
        let deadline = Instant::now() + PATIENCE;
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            assert_eq!(self.look().await, Vec::<String>::new());
            let rows = client.query(FOLLOWED, &[]).await.expect("the relay's rows");
            if rows.len() == self.leases.len() {
                return rows.iter().map(|row| row.get(0)).collect();
            }
            assert!(Instant::now() < deadline, "{} groups follow the log", rows.len());
            look.tick().await;
        }
    }

    pub async fn end(self) {
        drop(self.resign().await);
    }

    /// Gives its leases up and reads on, as a process does that is slow to end.
    async fn resign(self) -> Vec<Reader> {
        for lease in &self.leases {
            self.outbox.release(lease).await.expect("released");
        }
        self.readers
    }
}

pub async fn migrated(server: &Postgres, groups: u32) -> Database {
    let database = server.database().await;
    let source = source_type("postgres").expect("it is built in");
    let options = Options::from_texts("source", source.fields, &[("url", &database.url)]).expect("texts that fit");
    let request = MigrateRequest {
        groups: Some(groups),
        ..MigrateRequest::default()
    };
    source.migrate(&options, request).await.expect("the schema");
    database
}

/// Keys that a hash and an encoding can stumble over, each with payloads of its own.
pub async fn append_odd(database: &Database, round: usize) -> Vec<String> {
    let client = database.connect().await;
    let mut keys: Vec<Option<String>> = vec![None; 10];
    keys.extend((0..30).map(|length| Some("k".repeat(length))));
    keys.extend(["größe", "鍵", "'\"\\%_", "\u{1f980}"].map(|key| Some(key.to_owned())));
    keys.push(Some("長".repeat(341)));
    let mut appended = Vec::new();
    for (at, key) in keys.iter().enumerate() {
        let payload = format!("{round}-{at}");
        append(&client, "t", key.as_deref(), &payload).await;
        appended.push(payload);
    }
    appended
}

fn sorted(mut payloads: Vec<String>) -> Vec<String> {
    payloads.sort();
    payloads
}

/// Every event once, whatever the server filters and whatever the reader does.
async fn groups_share_the_log(version: u32, publications: bool) {
    let server = Postgres::shared(version).await;
    let database = migrated(&server, 3).await;
    if !publications && version >= 15 {
        let client = database.connect().await;
        run(
            &client,
            "DROP PUBLICATION onewrite_0_of_3; DROP PUBLICATION onewrite_1_of_3; DROP PUBLICATION onewrite_2_of_3",
        )
        .await;
    }
    let before = append_odd(&database, 0).await;
    let mut process = Process::lead(&database, "wal", 3).await;
    assert_eq!(sorted(process.read(before.len()).await), sorted(before));
    for reason in process.follow().await {
        assert_eq!(
            reason.contains("picked out here"),
            !publications || version < 15,
            "{reason}"
        );
    }
    for round in 1..6 {
        let appended = append_odd(&database, round).await;
        assert_eq!(
            sorted(process.read(appended.len()).await),
            sorted(appended),
            "round {round}"
        );
    }
    assert_eq!(process.look().await, Vec::<String>::new());
    process.end().await;
    server.drop_database(&database).await;
}

#[tokio::test]
async fn groups_share_the_log_by_publications_of_their_own() {
    groups_share_the_log(15, true).await;
    groups_share_the_log(18, true).await;
}

#[tokio::test]
async fn groups_share_the_log_without_publications_of_their_own() {
    groups_share_the_log(14, true).await;
    groups_share_the_log(17, false).await;
}

#[tokio::test]
async fn slots_of_a_layout_that_is_gone_are_dropped() {
    let server = Postgres::shared(17).await;
    let database = migrated(&server, 3).await;
    const SLOTS: &str = "SELECT coalesce(string_agg(substring(slot_name from '[0-9]+of[0-9]+'), ' ' ORDER BY slot_name), '') \
                         FROM pg_replication_slots WHERE database = current_database()";
    let client = database.connect().await;
    let slots = async || client.query_one(SLOTS, &[]).await.expect("slots").get::<_, String>(0);
    let mut process = Process::lead(&database, "wal", 3).await;
    process.follow().await;
    assert_eq!(slots().await, "0of3 1of3 2of3");
    // Whoever had the slots before may still read them, and what was written down of it is not what the next one does.
    let of_three = process.resign().await;
    let mut process = Process::lead(&database, "wal", 2).await;
    process.follow().await;
    assert_eq!(slots().await, "0of2 1of2");
    let of_two = process.resign().await;
    let process = Process::lead(&database, "poll", 1).await;
    assert_eq!(slots().await, "");
    process.end().await;
    drop((of_three, of_two));
    let told = open_all(&[("url", &database.url)])
        .operations
        .status()
        .await
        .expect("the status");
    assert_eq!(
        (told.relays.len(), told.relays[0].groups.len(), told.routes.len()),
        (1, 0, 1)
    );
    let forgotten = open_all(&[("url", &database.url)])
        .operations
        .forget(RELAY)
        .await
        .expect("forgotten");
    assert_eq!(
        (forgotten.routes, forgotten.slots),
        (vec!["all".to_owned()], Vec::new())
    );
}

#[tokio::test]
async fn a_database_with_progress_is_upgraded_and_goes_on_where_it_stood() {
    let database = Postgres::shared(16).await.database().await;
    let mut client = database.connect().await;
    let before = MIGRATIONS
        .iter()
        .position(|step| step.name == "groups")
        .expect("the step");
    for step in &MIGRATIONS[..before] {
        run(&client, step.sql).await;
    }
    for payload in ["settled", "pending", "also settled"] {
        append(&client, "t", None, payload).await;
    }
    let role = database
        .url
        .split(['/', '@', ':'])
        .next_back()
        .expect("a name")
        .replace('-', "_");
    let old = format!(
        "CREATE ROLE \"relay of {role}\"; GRANT SELECT, INSERT, UPDATE, DELETE ON onewrite.relay TO \"relay of {role}\"; \
         INSERT INTO onewrite.relay (name, epoch, holder, renewed_at, expires_at) VALUES ('{RELAY}', 7, 'old', now(), now()); \
         INSERT INTO onewrite.route (relay, name, epoch, definition, floor_snapshot, floor_sequence, pending, delivered) \
         VALUES ('{RELAY}', 'all', 7, '{}', pg_current_snapshot()::text, 3, '{{2}}', 41)",
        everything()[0].definition()
    );
    run(&client, &old).await;
    append(&client, "t", None, "new").await;
    onewrite::postgres::migrate(&mut client, &MigrateOptions::default())
        .await
        .expect("an upgrade");
    let granted = format!("SELECT has_table_privilege('relay of {role}', 'onewrite.member', 'INSERT')");
    assert!(
        client
            .query_one(&granted, &[])
            .await
            .expect("an answer")
            .get::<_, bool>(0)
    );
    let mut process = Process::lead(&database, "poll", 1).await;
    assert_eq!(process.leases[0].epoch, 8);
    assert_eq!(process.read(2).await, ["pending", "new"]);
    process.end().await;
    append(&client, "t", None, "newer").await;
    // Nothing is pending any more and all but this is settled, in whatever group it was.
    let mut process = Process::lead(&database, "poll", 4).await;
    assert!(process.read(1).await.contains(&"newer".to_owned()));
    process.end().await;
    let told = open_all(&[("url", &database.url)])
        .operations
        .status()
        .await
        .expect("the status");
    assert_eq!(
        (told.routes.len(), told.routes[0].delivered, told.routes[0].unsettled),
        (1, 41, Some(0))
    );
    run(
        &client,
        &format!("DROP OWNED BY \"relay of {role}\"; DROP ROLE \"relay of {role}\""),
    )
    .await;
}

#[tokio::test]
async fn members_are_told_how_the_groups_are_spread() {
    let database = migrated(&Postgres::shared(17).await, 1).await;
    let outbox = open(&[("url", &database.url), ("feed", "poll")]).expect("an outbox");
    let member = |id: &str, groups| Member {
        relay: RELAY.to_owned(),
        id: id.to_owned(),
        holder: "host:1".to_owned(),
        groups,
    };
    let (a, b) = (member("a", 3), member("b", 3));
    let alone = outbox.attend(&a, TTL).await.expect("a standing");
    assert_eq!((alone.free, alone.others, alone.rank), (vec![0, 1, 2], vec![], 0));
    outbox
        .claim(&a, 1, TTL)
        .await
        .expect("an answer")
        .expect("a free group");
    let seen = outbox.attend(&b, TTL).await.expect("a standing");
    assert_eq!((seen.free, seen.others, seen.rank), (vec![0, 2], vec![1], 1));
    assert!(seen.next_expiry.is_some_and(|expiry| expiry <= TTL && expiry > TTL / 2));
    // A process of another layout counts for nothing, but learns why it has to wait.
    let other = outbox.attend(&member("c", 2), TTL).await.expect("a standing");
    assert!(other.other_layout && other.others.is_empty());
    // One whose time has run out is no member, and one that leaves is none at once.
    outbox
        .attend(&member("d", 3), Duration::ZERO)
        .await
        .expect("a standing");
    outbox.leave(&b).await.expect("left");
    let alone = outbox.attend(&a, TTL).await.expect("a standing");
    assert_eq!(
        (alone.free, alone.others, alone.rank, alone.next_expiry),
        (vec![0, 2], vec![], 0, None)
    );
}

/// As after a step of the server's clock, or a failover to a server whose clock is behind: what was written lies in the future.
#[tokio::test]
async fn who_is_gone_holds_nothing_back_although_the_databases_clock_went_back() {
    let database = migrated(&Postgres::shared(17).await, 1).await;
    let outbox = open(&[("url", &database.url), ("feed", "poll")]).expect("an outbox");
    let member = |id: &str, groups| Member {
        relay: RELAY.to_owned(),
        id: id.to_owned(),
        holder: id.to_owned(),
        groups,
    };
    let (gone, here) = (member("gone", 2), member("here", 2));
    outbox.attend(&gone, TTL).await.expect("a standing");
    let lease = outbox.claim(&gone, 0, TTL).await.expect("an answer");
    let lease = lease.expect("a free group");
    let client = database.connect().await;
    let back = "UPDATE onewrite.relay SET renewed_at = renewed_at + interval '3 hours', expires_at = expires_at + interval '3 hours'; \
                UPDATE onewrite.member SET expires_at = expires_at + interval '3 hours'";
    run(&client, back).await;
    let operations = open_all(&[("url", &database.url)]).operations;
    let told = operations.status().await.expect("the status");
    assert_eq!(told.relays[0].holder, None);
    let seen = outbox.attend(&here, TTL).await.expect("a standing");
    assert_eq!((seen.free, seen.others, seen.next_expiry), (vec![0, 1], vec![], None));
    // Neither in this layout nor in another; and who lives after all renews, and keeps what it holds.
    outbox.renew(&lease, TTL, &[]).await.expect("renewed");
    assert_eq!(outbox.claim(&here, 0, TTL).await.expect("an answer"), None);
    assert_eq!(
        outbox.claim(&member("other", 1), 0, TTL).await.expect("an answer"),
        None
    );
    run(&client, back).await;
    let taken = outbox.claim(&here, 0, TTL).await.expect("an answer");
    assert!(taken.is_some_and(|taken| taken.epoch > lease.epoch));
    run(&client, back).await;
    let taken = outbox.claim(&member("other", 1), 0, TTL).await.expect("an answer");
    assert!(taken.is_some());
    assert!(operations.forget(RELAY).await.is_err(), "it is run");
    run(&client, back).await;
    operations.forget(RELAY).await.expect("nobody runs it");
}
