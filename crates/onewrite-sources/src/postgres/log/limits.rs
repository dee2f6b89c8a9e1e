//! Limits of the log feed, each with its unit and its reason.

use std::time::Duration;

/// How often the server is told how far we are. It ends a connection after `wal_sender_timeout` (a minute unless changed).
pub(super) const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of the log after which the server is told sooner.
pub(super) const STATUS_BYTES: u64 = 4 * 1024 * 1024;

/// How often it is looked whether the server's own mark of where a slot can begin is far behind, and how many bytes that is. The
/// server sets one every 15 seconds by itself; at full speed that is gigabytes that it keeps.
pub(super) const MARK_INTERVAL: Duration = Duration::from_millis(250);
pub(super) const MARK_BYTES: u64 = 8 * 1024 * 1024;

/// How long such a word may take: a server that takes none is gone.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of one batch of messages, and how many batches wait between the connection and its reader.
pub(super) const BATCH_BYTES: usize = 64 * 1024;
pub(super) const BATCHES: usize = 4;

/// Longest message, in bytes: the largest payload that can be appended, thrice over for a row's other columns and for tables
/// of others; a field of PostgreSQL ends at 1 GB.
pub(super) const FRAME_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of events that wait for all routes together. A route that falls behind by more reads from the table instead.
pub(super) const WAITING_BYTES: usize = 4 * 1024 * 1024;

/// Payloads below this many bytes are copied out of the connection's buffer: an event that waits must not keep 64 KiB alive.
pub(crate) const COPIED_BYTES: usize = 4 * 1024;

/// Shortest time between two ticks: each may cost the database a commit, and an event waits for half of it.
pub(super) const TICK_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// Sequences drawn since the last tick in the log after which the next one has to be there: up to so many rows may be read over again
/// where a route goes back to the table.
pub(super) const BOUND_ROWS: i64 = 10_000;

/// Longest time between two ticks: with nothing to do a route's floor moves on all the same.
pub(super) const TICK_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// How long a tick may be on its way through the log before the routes look into the table: the server may be busy with a
/// transaction of millions of rows.
pub(super) const TICK_LATE: Duration = Duration::from_secs(1);

/// How long creating a slot may wait for transactions that were open before. The next try comes later; the routes poll meanwhile.
pub(super) const SLOT_CREATION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a slot may stay in use by another process after that was told to end.
pub(super) const SLOT_RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// First and longest wait before the log is tried again.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);
