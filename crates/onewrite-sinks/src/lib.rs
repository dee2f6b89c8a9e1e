//! Where events go: a folder for each type of sink, and the [`registry`] that lists them.
//!
//! Each sink's module holds its `FIELDS` (what can be configured) and a `build` that turns checked options into a
//! connector. Only this list of modules and the registry know which sinks are built in.

#[cfg(any(feature = "sqs", feature = "sns"))]
mod aws;
#[cfg(any(
    feature = "rabbitmq",
    feature = "nats",
    feature = "amqp1",
    feature = "redis",
    feature = "mqtt"
))]
mod endpoint;
/// What `./x fuzz` calls. With all sinks but Kafka's, whose answers a library reads.
#[cfg(all(
    any(test, fuzzing),
    feature = "rabbitmq",
    feature = "nats",
    feature = "amqp1",
    feature = "ibmmq",
    feature = "redis",
    feature = "mqtt",
    feature = "sqs",
    feature = "sns",
    feature = "http",
    feature = "file"
))]
pub mod fuzzing;
#[cfg(any(feature = "http", feature = "sqs", feature = "sns"))]
mod hex;
#[cfg(any(feature = "nats", feature = "amqp1"))]
mod ids;
#[cfg(any(
    feature = "rabbitmq",
    feature = "nats",
    feature = "amqp1",
    feature = "ibmmq",
    feature = "mqtt"
))]
mod keyed;
pub mod limits;
#[cfg(any(
    feature = "http",
    feature = "rabbitmq",
    feature = "nats",
    feature = "amqp1",
    feature = "ibmmq",
    feature = "mqtt",
    feature = "redis",
    feature = "sqs",
    feature = "sns"
))]
mod lines;
pub mod registry;
#[cfg(any(
    feature = "http",
    feature = "rabbitmq",
    feature = "ibmmq",
    feature = "sqs",
    feature = "sns"
))]
mod room;
#[cfg(any(
    feature = "rabbitmq",
    feature = "nats",
    feature = "amqp1",
    feature = "ibmmq",
    feature = "redis",
    feature = "mqtt"
))]
mod rotation;
/// TLS of every sink, under the path by which sinks know it.
#[cfg(feature = "tls")]
mod tls {
    pub use onewrite_tls::*;
}
#[cfg(any(feature = "nats", feature = "amqp1", feature = "mqtt"))]
mod turns;
#[cfg(any(feature = "http", feature = "ibmmq", feature = "sqs", feature = "sns"))]
mod web;

#[cfg(feature = "amqp1")]
pub mod amqp1;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "ibmmq")]
pub mod ibmmq;
#[cfg(feature = "ibmmq-mqi")]
pub mod ibmmq_mqi;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sns")]
pub mod sns;
#[cfg(feature = "sqs")]
pub mod sqs;

pub use registry::{BuildError, SinkType};
