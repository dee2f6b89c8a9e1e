//! Every limit and default of the engine, with its unit and its reason. What applications may append is limited in
//! [`onewrite::limits`].

use std::time::Duration;

pub use onewrite::limits::*;

/// Most events of one route between being read and being recorded as settled. It bounds the duplicates after a crash
/// and, with 300-byte payloads, holds memory near 5 MB. With twice as many nothing drained faster.
pub const IN_FLIGHT_EVENTS: usize = 10_000;

/// Most bytes of one route between being read and being settled. A single larger event is still let through, alone.
pub const IN_FLIGHT_BYTES: usize = 16 * 1024 * 1024;

/// Most events of one delivery: enough to fill a broker's request, few enough that several batches are under way.
pub const BATCH_EVENTS: usize = 2_000;

/// Most bytes of one delivery.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Deliveries of one route under way at once. Past a handful a single broker connection gains nothing.
pub const CONCURRENT_BATCHES: usize = 4;

/// Events that are waiting for a retry and may stay unsettled below the recorded position. Each costs 8 bytes in the
/// progress row, so a row stays below 8 kB.
pub const PENDING_EVENTS_MAX: usize = 1_000;

/// How long one delivery may take before its unreported events count as unknown.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long connecting to a broker may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// First wait before a retry.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Longest wait between two retries: a broker that returns is noticed within half a minute.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Deliveries in a row that brought nothing through before the circuit breaker opens.
pub const BREAKER_THRESHOLD: u32 = 3;

/// Shortest pause between two progress records of a route, unless half of the in-flight limit waits to be recorded.
pub const SETTLE_INTERVAL: Duration = Duration::from_millis(50);

/// Shortest wait of a polling source after it found nothing.
pub const POLL_WAIT_MIN: Duration = Duration::from_millis(2);

/// Longest wait of a polling source that keeps finding nothing: four cheap queries a second when idle.
pub const POLL_WAIT_MAX: Duration = Duration::from_millis(250);

/// Most redeliveries of one route in flight: they leave room for new events.
pub const REDELIVERY_EVENTS: usize = 1_000;

/// Shortest wait between two looks for operator-requested redeliveries; people do not notice half a second.
pub const REDELIVERY_WAIT: Duration = Duration::from_millis(500);

/// Events of one route at which a status stops counting what is not settled: past a million a person needs no exact
/// figure, and counting costs the database a read of each.
pub const UNSETTLED_COUNT_MAX: i64 = 1_000_000;

/// Longest wait between two looks whether blocked keys are free again, however long the last look took: until then what is new of
/// a key that is free is set aside all the same, and delivered from there.
pub const BLOCKED_KEYS_WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a lease lasts without being renewed.
pub const LEASE_TTL: Duration = Duration::from_secs(10);

/// How often the lease is renewed and operator commands are looked for.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(1);

/// Most groups of lanes of a relay: each has a lease that is renewed every second and connections of its own, and past the few
/// processes that people run more of them spread the work no better.
pub const GROUPS_MAX: u32 = 64;

/// How soon a process looks again whether it may take a group of lanes, while there are free ones.
pub const GROUPS_LOOK: Duration = Duration::from_millis(100);

/// How long a stopping relay waits for deliveries under way.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// How often emptied outbox segments are looked for.
pub const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(30);

/// How much of the write-ahead log a relay's replication slot may keep before that is an alarm, in bytes: four files of the
/// usual size. A slot holds what its reader has not seen, and that is milliseconds' worth.
pub const WAL_RETAINED_THRESHOLD: i64 = 64 * 1024 * 1024;

/// The same where the slot's reader has seen nearly all of it and no transaction holds it back, in bytes. A server moves a slot
/// on every 15 s or so; one that writes 60 MB a second keeps this much in between.
pub const WAL_RETAINED_UNEXPLAINED_THRESHOLD: i64 = 1024 * 1024 * 1024;

/// How long a relay may have been gone before its replication slot counts as unused: a restart and a change of machine are over
/// by then.
pub const SLOT_UNUSED_THRESHOLD: Duration = Duration::from_secs(60);

/// How old a transaction that wrote something, or uses a segment, may be before that is an alarm. An application's take
/// milliseconds; from a minute on somebody is waiting for its events.
pub const FLOOR_HELD_THRESHOLD: Duration = Duration::from_secs(60);

/// The same of a transaction that only reads. It holds back no event and no segment, but the removal of the dead rows that
/// every record of progress leaves behind: about 12,000 of each busy route in this time.
pub const SNAPSHOT_HELD_THRESHOLD: Duration = Duration::from_secs(600);

/// How old a transaction must be that counts as what keeps a segment from being emptied: younger ones are gone at the next try.
pub const SEGMENT_USED_THRESHOLD: Duration = Duration::from_secs(5);

/// How long after their time settled events may still be there, where a database removes them one by one, before that is an
/// alarm: as long as a usual segment.
pub const REMOVAL_LATE_THRESHOLD: Duration = Duration::from_secs(3600);

/// How many times as large as when it was told last an alarm's figure is when it is told again.
pub const ALARM_WORSE: f64 = 2.0;

/// After how many looks in a row without it an alarm counts as over: a figure around its threshold comes and goes.
pub const ALARM_LOOKS: u32 = 2;

/// How long counting the events of a replay may take; the answer then leaves the count out.
pub const REPLAY_COUNT_TIMEOUT: Duration = Duration::from_secs(5);

/// Events that a replay passes over, because they are not recorded as delivered yet, before it waits for them: room for all that
/// can wait for a retry and as many redeliveries under way. They are looked up again at each look, by index.
pub const REPLAY_WAITING_MAX: usize = PENDING_EVENTS_MAX + REDELIVERY_EVENTS;

/// How long a replay that is through is still shown.
pub const REPLAY_SHOWN: Duration = Duration::from_secs(3600);

/// Bytes of the longest time in a header, such as `-009999-01-02T01:59:59.000000Z`.
pub(crate) const TIME_BYTES_MAX: usize = 30;
