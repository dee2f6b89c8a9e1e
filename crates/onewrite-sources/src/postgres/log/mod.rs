//! The write-ahead log as the fast feed of the native outbox, and as the truth of tables that are not Onewrite's.
//!
//! For the native outbox the table stays the truth. One reader for each leading relay follows a replication slot and brings new
//! events to the routes within milliseconds; the slot advances once rows are *seen*, so a broker that is away holds no log back,
//! and a slot that is lost loses nothing. A route that falls behind reads from the table until it has caught up.
//!
//! Read in this order: [`ticks`] and [`follower`] (why nothing is missed), [`shared`] (the queues), [`tail`] (the reader), then
//! [`slot`], [`stream`] and [`link`] (the protocol).

mod follower;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod limits;
mod link;
mod relation;
mod shared;
pub(super) mod slot;
pub(super) mod stream;
mod tail;
mod ticks;

pub(super) use follower::{Follower, Window};
pub(super) use limits::COPIED_BYTES;
pub use shared::{LogRow, Shared, Subscription};
pub(super) use tail::{Tail, drop_left_over, record, stop_following};
pub use ticks::Tick;
