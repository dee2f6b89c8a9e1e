//! The engine of the relay: the contracts of sources, sinks and stores, and everything between them that needs no I/O:
//! lanes, batching, retry, settlement, lifecycle. It names no broker and no database.

pub mod alarm;
pub mod backoff;
pub mod catalogue;
pub mod envelope;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod lanes;
pub mod ledger;
pub mod limits;
pub mod machine;
pub mod options;
pub mod position;
pub mod promise;
pub mod relay;
mod route;
pub mod routing;
pub mod sink;
pub mod source;
pub mod spread;
pub mod store;
pub mod template;
pub mod verify;
pub mod windows;
pub mod wire;

pub use error::{Action, SinkError, StoreError, StoreFailure};
pub use event::{Event, Verbatim};
pub use position::{Position, Settlement};
pub use sink::{DeliveryReport, Outcome, Sink, SinkConnector};
pub use source::{BatchLimit, ParkReason, Parking, Source, Sourced};
pub use store::{Lease, Member, Operations, Outbox};
pub use template::Template;
