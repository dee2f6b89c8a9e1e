//! The engine under a seed. One thread, one pretended clock: the real relay of [`onewrite_core`] with its leases, routes,
//! retries and settlement runs over a database, brokers and processes that are simulated, while applications write and
//! everything goes wrong that the seed says. Then everything heals, and the promise is checked.
//!
//! What is simulated, and what is not:
//!
//! | part | in a run |
//! | --- | --- |
//! | applications | transactions that overlap, stay open for long, roll back; keys written by several in turn; events without a key; rows that are no valid event |
//! | relays | one to three processes of one name: killed, stopped, frozen (SIGSTOP) past their lease and woken again |
//! | feed | commits counted, as the reference implementation does; PostgreSQL's snapshots; its log, with ticks, a slot that is lost, a stream that breaks |
//! | table | its segments are emptied when nobody needs them |
//! | database | calls that fail before or after they took effect, leases that run out, grants of a lease to somebody else |
//! | brokers | replies lost, late, partial; requests that arrive after they were given up; refusals for now and for good; hangs, panics, outages, slowness |
//! | formats | refusals before anything of a delivery is sent |
//! | operators | pause, resume, retry, skip, edit, replay |
//! | clocks | pretended: time passes when nobody has anything to do. The database's is right; each process has one that runs at half to twice the speed, and by which it times its lease, deliveries and retries |
//!
//! The times that a relay cannot be given (how often it renews a lease of four seconds or more, tidies up or looks for groups; how long
//! connecting and coming to rest may take) pass at the true speed. Nothing is simulated of clocks that jump by hours: the engine and the
//! feed read no clock that can (`clippy.toml` of the core forbids it), and leases that the database ends before their time are above.

mod application;
mod clock;
mod format;
mod mutant;
mod network;
mod operator;
mod plan;
mod postgres;
mod process;
mod run;
mod trace;

pub use mutant::Mutant;
pub use run::{Outcome, Violation, run};
pub use trace::Trace;
