//! Every limit, with its unit and its reason.

use std::ops::Range;
use std::time::Duration;

/// How long a window may last, in seconds, both included: past a lease, short enough for many.
pub const WINDOW_SECONDS: Range<u64> = 5..20;

/// How many windows a short run has at the most: chance could make so few calm, or strike the same place in all, so they are dealt
/// evenly. `./x test` makes runs of so many.
pub const SHORT_RUN: u32 = 4;

/// How many faults a window with faults may have, one of these.
pub const FAULTS_IN_WINDOW: &[usize] = &[1, 1, 2, 3];

/// The relay's lease: the shortest that the program takes, so that a takeover fits into a window.
pub const LEASE: &str = "2s";

/// The relay's limit of events between being read and being recorded as settled; duplicates after a kill stay below it.
pub const IN_FLIGHT: u64 = 5_000;

/// How often arrivals and memory are looked at: the buckets of the rate.
pub const BUCKET: Duration = Duration::from_millis(250);

/// How many seconds a rate is taken over, to judge whether it is back: single transactions make single buckets uneven.
pub const SPAN: f64 = 1.0;

/// The part of the calm rate below which what writers commit is no measure: they are not yet back themselves.
pub const LEAST_OF_RATE: f64 = 0.2;

/// What counts as back at the rate before the fault.
pub const RECOVERED: f64 = 0.95;

/// How long the rate may take to come back, and after that the backlog to be gone, before the window counts as broken (I5). The
/// machine may be busy with other things; a relay that does not come back by itself does not come back in ten minutes either.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How late an event may be in a calm window, in the 99th of 100 cases (I5): on a machine with fifteen times as much to do as it has
/// processors five seconds were seen, without anything else to do a tenth of one. What is stuck stays for longer than this.
pub const CALM_P99: Duration = Duration::from_secs(10);

/// Most bytes that are ever resident in a relay (I6): what its declared buffers, libraries and allocator come to.
pub const RESIDENT: u64 = 200_000_000;

/// Most bytes of the log that the relay's slot may make the server keep (I6): the window of a held transaction, and the 64 MB at which
/// a test takes the slot away.
pub const RETAINED: i64 = 256 << 20;

/// Most bytes of the outbox (I6): four segments of [`ROTATION`], and what a window of large transactions leaves.
pub const OUTBOX: i64 = 1 << 30;

/// How long a segment of the outbox is in use: so short that segments are emptied all the time.
pub const ROTATION: &str = "75s";

/// Events of a large transaction.
pub const LARGE_TRANSACTION: i32 = 50_000;

/// Bytes of a large payload: in PostgreSQL out of line, at the broker in several frames.
pub const LARGE_PAYLOAD: usize = 200_000;

/// Bytes of an event that a broker is told not to take: more than a megabyte, which is the limit of most, also when compressed.
pub const POISON_PAYLOAD: usize = 2_000_000;

/// Bytes that the small file systems can hold before they are made full. Their pages are taken only when they are written.
pub const SMALL_DISK: &str = "3g";

/// How long events are kept for replays; with [`ROTATION`] segments are still emptied.
pub const RETENTION: &str = "30s";

/// How long whoever supervises the relays waits before it starts one again that has ended by itself.
pub const SUPERVISOR_PAUSE: Duration = Duration::from_secs(1);

/// How long a takeover is watched for: what takes longer is no takeover any more.
pub const TAKEOVER_MAX: Duration = Duration::from_secs(60);

/// How long a writer rests after a transaction, on average: with six writers of ten events or so a few hundred events a second.
pub const RESTING: Duration = Duration::from_millis(120);
