//! The broker is away while a great many events are written: nothing grows but the table, and the other route goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use onewrite_testkit::servers::{Database, Slot};

use crate::end_to_end::scale::scaled;
use crate::end_to_end::world::{Setup, World};
use onewrite_chaos::limits::IN_FLIGHT;

/// Events written while the broker is away, usually and in full.
const EVENTS: (u64, u64) = (200_000, 2_000_000);

/// Events before that: enough that the relay has all its buffers.
const WARMING: u64 = 20_000;

/// Most bytes of the log that the relay may be behind, and most that the server may keep for its slot beyond those.
const RETAINED: i64 = 64 << 20;

/// Most bytes that are ever resident in the relay, and most that it grows by in the second half of the broker's absence: whatever
/// holds events has been filled by then.
const RESIDENT: u64 = 150_000_000;
const GROWTH: u64 = 16_000_000;

/// A route beside the one to Kafka.
const BESIDE: &str = "[sinks.file]\ntype = \"file\"\npath = \"audit.jsonl\"\n\
                      [[routes]]\nname = \"audit\"\nmatch = { topic = \"audit.*\" }\nsink = \"file\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn polling_does_not_grow_while_the_broker_is_away() {
    nothing_grows_while_the_broker_is_away("poll").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_not_kept_and_memory_does_not_grow_while_the_broker_is_away() {
    nothing_grows_while_the_broker_is_away("wal").await;
}

async fn nothing_grows_while_the_broker_is_away(feed: &'static str) {
    let events = scaled(EVENTS.0, EVENTS.1);
    let setup = Setup {
        more: BESIDE,
        ..Setup::new(16, feed, "shop.events")
    };
    let world = World::start(setup).await;
    let relay = world.start_relay();
    let slot = match feed {
        "wal" => Some(world.follows_log().await),
        _ => None,
    };
    let progress = Arc::<AtomicU64>::default();
    write(world.database.clone(), WARMING, progress.clone()).await;
    world
        .wait("the relay delivers", || world.delivered() == WARMING / 2)
        .await;
    let resident = || relay.resident().expect("the relay runs");
    let before = resident();
    world.broker.shut_down().await;
    let writing = tokio::spawn(write(world.database.clone(), events, progress.clone()));
    let (mut kept, mut halfway) = (Kept::default(), None);
    let mut look = tokio::time::interval(Duration::from_millis(50));
    while !writing.is_finished() {
        look.tick().await;
        if halfway.is_none() && progress.load(Ordering::SeqCst) >= WARMING + events / 2 {
            halfway = Some(resident().peak);
        }
        if let Some(slot) = &slot {
            kept.note(&world.postgres.slot(slot).await.expect("the slot"));
        }
    }
    writing.await.expect("everything is written");
    let written = WARMING + events;
    world
        .wait("the other route has delivered everything", || {
            world.delivered_by("audit") == written / 2
        })
        .await;
    let away = resident();
    // The system counts pages for each processor, so a later peak can be told some pages lower than an earlier one.
    let growth = away.peak.saturating_sub(halfway.expect("half of it was written"));
    println!(
        "{events} events written while Kafka was away, feed {feed}: relay {} MB before, {} MB after, its peak grew by {} MB in the \
         second half; log kept for the slot at most {} MB, unconfirmed at most {} MB",
        before.now / 1_000_000,
        away.now / 1_000_000,
        growth / 1_000_000,
        kept.retained >> 20,
        kept.unconfirmed >> 20
    );
    assert!(
        growth < GROWTH && away.peak < RESIDENT,
        "the relay grew by {growth} bytes, from {before:?} to {away:?}"
    );
    assert!(kept.unconfirmed < RETAINED && kept.beyond < RETAINED, "{kept:?}");
    world.broker.restart().await;
    world.drained().await;
    world.stop(relay).await;
    let arrived = world.broker.count("shop.events").await.cast_unsigned();
    assert!(
        (written / 2..=written / 2 + IN_FLIGHT).contains(&arrived),
        "{arrived} records for half of {written} events"
    );
}

/// The most that a slot had the server keep of its log, in bytes.
#[derive(Debug, Default)]
struct Kept {
    /// Of all.
    retained: i64,
    /// Of what the relay had not seen.
    unconfirmed: i64,
    /// Of what it had.
    beyond: i64,
}

impl Kept {
    fn note(&mut self, slot: &Slot) {
        let retained = slot.retained.expect("the slot is not lost");
        let unconfirmed = slot.unconfirmed.unwrap_or_default();
        self.retained = self.retained.max(retained);
        self.unconfirmed = self.unconfirmed.max(unconfirmed);
        self.beyond = self.beyond.max(retained - unconfirmed);
    }
}

/// Writes so many events of 300 bytes on 1,000 keys, a thousand in each transaction, half of them for each route.
async fn write(database: Database, events: u64, progress: Arc<AtomicU64>) {
    const INSERT: &str = "INSERT INTO onewrite.outbox (topic, key, payload) \
                          SELECT CASE n % 2 WHEN 0 THEN 'shop.events' ELSE 'audit.events' END, 'key-' || n % 1000, convert_to(lpad(n::text, 300, 'x'), 'UTF8') \
                          FROM generate_series(1, $1) AS n";
    let client = database.connect().await;
    let each = 1_000;
    for _ in 0..events / each {
        client
            .execute(INSERT, &[&i32::try_from(each).expect("fits")])
            .await
            .expect("an insert");
        progress.fetch_add(each, Ordering::SeqCst);
    }
}
