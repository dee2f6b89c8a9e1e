//! Outboxes that are not Onewrite's own: `contract = "columns"` and `contract = "debezium"`.
//!
//! Rows of such a table may vanish, so it can be the truth only for as long as they stay. Either the rows say what is settled
//! ([`rows`]: they are polled, and deleted or marked), or the log does ([`log`]: its slot moves behind what every route has
//! recorded as settled). Leases, progress and events set aside are in Onewrite's own schema as ever.
//!
//! Read in this order: [`settings`] (what can be asked for), [`catalogue`] (every name is looked up before it is used), [`mapping`]
//! and [`reader`] (from a row to an event), then [`rows`].

mod adopt;
mod catalogue;
pub(super) mod fields;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod limits;
mod log;
mod mapping;
mod name;
mod outbox;
mod parking;
mod probe;
mod progress;
mod reader;
mod routing;
mod rows;
mod settings;
mod settling;
mod status;
mod template;

pub(super) use adopt::is_foreign;
pub(super) use outbox::ForeignOutbox;
pub(super) use probe::probe;
pub(super) use settings::Foreign;
pub(super) use status::count;
