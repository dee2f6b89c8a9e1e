//! Limits and fixed times of `onewrite verify`, with their reasons.

use std::time::Duration;

/// Writers at the most, each with a connection of its own: enough that transactions overlap, few enough for any database.
pub const WRITERS: u32 = 4;

/// How many failures in a row a writer bears, and the pause after each: together longer than a database takes to come back from a
/// short absence.
pub const WRITER_FAILURES: u32 = 50;

/// See [`WRITER_FAILURES`].
pub const WRITER_PAUSE: Duration = Duration::from_millis(200);

/// Of so many transactions one is left by its writer at its COMMIT, where connections are cut.
pub const ABANDONED_ONE_IN: u32 = 50;

/// How often relay, faults and backlog are looked at.
pub const TICK: Duration = Duration::from_millis(50);

/// How often the database is asked for the relay's status. It may have to count the backlogs of all relays.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(2);

/// The same when everything has arrived, and only the relay's own record of it is waited for.
pub const STATUS_INTERVAL_AT_THE_END: Duration = Duration::from_millis(250);

/// How often a line of progress is written where there is no terminal; a terminal shows one line, five times a second.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// See [`PROGRESS_INTERVAL`].
pub const PROGRESS_INTERVAL_TERMINAL: Duration = Duration::from_millis(200);

/// How long one look for what arrived waits.
pub const READ_WAIT: Duration = Duration::from_millis(200);

/// How long nothing may arrive, once the relay has come to rest, until everything has: a broker hands out what it has at once.
pub const QUIET: Duration = Duration::from_secs(1);

/// How many failures in a row reading back bears after the relay has come to rest.
pub const READ_FAILURES: u32 = 20;

/// A fault for so much of a run's time, of each kind.
pub const FAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Faults of each kind at the most: the table of them should be read.
pub const FAULTS_MAX: u32 = 12;

/// The most memory that a relay may need, in bytes: its own 60 MB, the client's buffers, and room for programs that were built for
/// debugging. Payloads come on top, since a relay holds some.
pub const MEMORY_MAX: u64 = 256 * 1024 * 1024;

/// How many of the largest payloads a relay may hold at once, at three times their size (as read, as sent, and by the client).
pub const PAYLOADS_HELD: u64 = 3 * 4;

/// How long a run must be over before another removes what it left behind: it may still be under way.
pub const LEFT_BEHIND_AFTER: Duration = Duration::from_secs(3600);

/// How long giving up a relay that was killed is tried: its lease has to run out first.
pub const FORGET_PATIENCE: Duration = Duration::from_secs(15);

/// See [`FORGET_PATIENCE`].
pub const FORGET_PAUSE: Duration = Duration::from_millis(250);
