//! What an event looks like on the wire. A format belongs to a route: [`formatted()`] puts it before the sink's connector, so that
//! neither knows of the other. The [`registry`] lists the formats.
//!
//! | format | body | headers |
//! | --- | --- | --- |
//! | `native` | the payload, untouched | the event's own and `onewrite-*` |
//! | [`json`] | the envelope: one JSON object with everything | the same |
//! | [`cloudevents`] | the payload, or a structured CloudEvent | the attributes, or none |
//! | [`debezium`] | the payload | those of Debezium's outbox event router |
//! | `avro`, `json-schema`, `protobuf` ([`schemas`]) | the payload in the form of a schema, behind the schema's number | as native |

pub mod cloudevents;
pub mod debezium;
pub mod format;
pub mod formatted;
/// What `./x fuzz` calls.
#[cfg(all(any(test, fuzzing), feature = "registry"))]
pub mod fuzzing;
pub mod json;
pub mod limits;
pub mod registry;
#[cfg(feature = "registry")]
pub mod schemas;

pub use format::Format;
pub use formatted::{Misfit, formatted};
pub use registry::{FormatType, format_type, format_types};
