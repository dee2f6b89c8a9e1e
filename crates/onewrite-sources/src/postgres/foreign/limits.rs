//! Limits of tables and logs that are not Onewrite's own, each with its unit and its reason.

use std::time::Duration;

/// Most rows that one look at a table lists: a look goes over everything that stands before them, such as rows under way and what is
/// deleted and not yet cleaned up, so it must be worth its cost.
pub(super) const LISTED_ROWS: usize = 10_000;

/// Most settled rows that a route keeps in memory because somebody else holds a lock on them; then it hands out nothing more until
/// some are free. Each look leaves them out by their keys.
pub(super) const LOCKED_ROWS: usize = 10_000;

/// How long to rest before such rows are tried again.
pub(super) const LOCKED_REST: Duration = Duration::from_secs(1);

/// How long to rest after a look, by its own time: looking takes a fifth of the time at the most, also where it goes over the
/// backlog of a route that stands still.
pub(super) const REST: u32 = 4;

/// Longest rest after a look.
pub(super) const REST_MAX: Duration = Duration::from_secs(10);

/// Bytes of events that wait for one route. A route that takes none holds the log's reader, and with it the relay's other routes: there
/// is no table from which it could catch up later. A single larger event is still let through, alone.
pub(super) const WAITING_BYTES: usize = 8 * 1024 * 1024;

/// How long the reader of the log waits, before it begins, for all routes to be there: each that comes later makes it begin anew.
pub(super) const GATHERING: Duration = Duration::from_millis(50);

/// How long opening a route waits until the log is read up to the present. What is behind by more comes as it is read.
pub(super) const OPENING: Duration = Duration::from_secs(5);

/// How long a look at the log waits for what was committed before it, while nothing else is there. It takes a millisecond or two
/// unless the server is busy.
pub(super) const CATCHING_UP: Duration = Duration::from_millis(500);

/// Longest wait for something to come over the log before it is looked at again.
pub(super) const IDLE: Duration = Duration::from_secs(10);
