//! Every type of sink there is: its name, what can be configured, and how it is built.

use std::fmt;
use std::sync::Arc;

use onewrite_core::SinkConnector;
pub use onewrite_core::options::BuildError;
use onewrite_core::options::{Field, Options, nearest};

/// A type of sink that is built in.
#[derive(Clone, Copy)]
pub struct SinkType {
    /// What the configuration's `type` says.
    pub name: &'static str,
    /// One line for lists: what it is for.
    pub description: &'static str,
    /// What can be configured.
    pub fields: &'static [Field],
    /// What its page says besides, in Markdown: parts that follow one another; none where the fields say it all.
    pub guide: &'static [&'static str],
    build: Build,
}

type Build = fn(&Options) -> Result<Arc<dyn SinkConnector>, BuildError>;

impl SinkType {
    /// Makes a connector from options that were read against [`fields`](Self::fields). It connects to nothing yet.
    ///
    /// # Errors
    /// The first option that no sink could be made of, such as a URL with another scheme or a file that cannot be read.
    pub fn build(&self, options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
        (self.build)(options)
    }
}

impl fmt::Debug for SinkType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SinkType")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The types of sinks that are built in, in the order in which lists show them.
pub fn sink_types() -> &'static [SinkType] {
    TYPES
}

/// The type of this name.
///
/// # Errors
/// [`UnknownSink::NotBuiltIn`] where Onewrite knows the name but this program was built without it, and otherwise
/// [`UnknownSink::Unknown`] with the name that was probably meant.
pub fn sink_type(name: &str) -> Result<&'static SinkType, UnknownSink> {
    if let Some(found) = TYPES.iter().find(|sink_type| sink_type.name == name) {
        return Ok(found);
    }
    if let Some((known, feature)) = KNOWN.iter().find(|(known, _)| *known == name) {
        return Err(UnknownSink::NotBuiltIn { name: known, feature });
    }
    Err(UnknownSink::Unknown {
        name: name.to_owned(),
        nearest: nearest(&name.to_ascii_lowercase(), KNOWN.iter().map(|(known, _)| *known)),
    })
}

/// Why there is no sink of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownSink {
    /// Nothing of this name exists.
    #[error("there is no sink of type {name:?};{} the types are {}", meant(*nearest), known())]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The name that was probably meant.
        nearest: Option<&'static str>,
    },
    /// It exists, but this program was built without it.
    #[error(
        "the sink type {name:?} is not built into this program; use one that was built with the Cargo feature {feature:?}"
    )]
    NotBuiltIn {
        /// The type.
        name: &'static str,
        /// The Cargo feature that brings it.
        feature: &'static str,
    },
}

const TYPES: &[SinkType] = &[
    #[cfg(feature = "kafka")]
    SinkType {
        name: "kafka",
        description: "Apache Kafka and what speaks its protocol: idempotent, acknowledged by all in-sync replicas",
        fields: crate::kafka::FIELDS,
        guide: &[],
        build: crate::kafka::build,
    },
    #[cfg(feature = "rabbitmq")]
    SinkType {
        name: "rabbitmq",
        description: "RabbitMQ: persistent messages, confirmed by the broker and never returned",
        fields: crate::rabbitmq::FIELDS,
        guide: &[include_str!("rabbitmq/guide.md")],
        build: crate::rabbitmq::build,
    },
    #[cfg(feature = "nats")]
    SinkType {
        name: "nats",
        description: "NATS JetStream: acknowledged by the stream, with the event's id against duplicates",
        fields: crate::nats::FIELDS,
        guide: &[include_str!("nats/guide.md")],
        build: crate::nats::build,
    },
    #[cfg(feature = "amqp1")]
    SinkType {
        name: "amqp1",
        description: "AMQP 1.0: ActiveMQ, Qpid, IBM MQ, Azure Service Bus, RabbitMQ 4; each message acknowledged by itself",
        fields: crate::amqp1::FIELDS,
        guide: &[include_str!("amqp1/guide.md")],
        build: crate::amqp1::build,
    },
    #[cfg(feature = "ibmmq")]
    SinkType {
        name: "ibmmq",
        description: "IBM MQ by its messaging REST API or its own client library, acknowledged by the queue manager",
        fields: crate::ibmmq::FIELDS,
        guide: &[include_str!("ibmmq/guide.md")],
        build: build_ibmmq,
    },
    #[cfg(feature = "redis")]
    SinkType {
        name: "redis",
        description: "streams of Redis or Valkey, a single server or a cluster: all or nothing of what is written at once",
        fields: crate::redis::FIELDS,
        guide: &[include_str!("redis/guide.md")],
        build: crate::redis::build,
    },
    #[cfg(feature = "mqtt")]
    SinkType {
        name: "mqtt",
        description: "a broker of MQTT 5, with QoS 1 or 2: told when nobody subscribes to a topic",
        fields: crate::mqtt::FIELDS,
        guide: &[include_str!("mqtt/guide.md")],
        build: crate::mqtt::build,
    },
    #[cfg(feature = "sqs")]
    SinkType {
        name: "sqs",
        description: "Amazon SQS: standard and FIFO queues, in batches, each message acknowledged by itself",
        fields: crate::sqs::FIELDS,
        guide: &[include_str!("sqs/guide.md")],
        build: crate::sqs::build,
    },
    #[cfg(feature = "sns")]
    SinkType {
        name: "sns",
        description: "Amazon SNS: standard and FIFO topics, in batches, each message acknowledged by itself",
        fields: crate::sns::FIELDS,
        guide: &[include_str!("sns/guide.md")],
        build: crate::sns::build,
    },
    #[cfg(feature = "http")]
    SinkType {
        name: "http",
        description: "an HTTP endpoint: POST for each event or for batches, with idempotency key and signature",
        fields: crate::http::FIELDS,
        guide: &[],
        build: crate::http::build,
    },
    #[cfg(feature = "file")]
    SinkType {
        name: "file",
        description: "a file of JSON lines, synchronised to disk before an event counts as delivered",
        fields: crate::file::FIELDS,
        guide: &[],
        build: crate::file::build,
    },
    #[cfg(feature = "file")]
    SinkType {
        name: "stdout",
        description: "JSON lines on standard output, for the first look and for pipes",
        fields: crate::file::STDOUT_FIELDS,
        guide: &[],
        build: crate::file::build_stdout,
    },
];

/// Every name there is with the Cargo feature that brings it, built in or not.
const KNOWN: &[(&str, &str)] = &[
    ("kafka", "kafka"),
    ("rabbitmq", "rabbitmq"),
    ("nats", "nats"),
    ("amqp1", "amqp1"),
    ("ibmmq", "ibmmq"),
    ("redis", "redis"),
    ("mqtt", "mqtt"),
    ("sqs", "sqs"),
    ("sns", "sns"),
    ("http", "http"),
    ("file", "file"),
    ("stdout", "file"),
];

/// IBM MQ, by the transport that the options name.
#[cfg(feature = "ibmmq")]
fn build_ibmmq(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    #[cfg(feature = "ibmmq-mqi")]
    if crate::ibmmq::wants_mqi(options) {
        return crate::ibmmq_mqi::build(options);
    }
    crate::ibmmq::build(options)
}

fn known() -> String {
    let names: Vec<_> = KNOWN.iter().map(|(name, _)| format!("{name:?}")).collect();
    names.join(", ")
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |name| format!(" did you mean {name:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_type_is_told_with_the_nearest_and_all() {
        let error = sink_type("kafak").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no sink of type \"kafak\"; did you mean \"kafka\"? the types are \"kafka\", \"rabbitmq\", \"nats\", \"amqp1\", \"ibmmq\", \"redis\", \"mqtt\", \"sqs\", \"sns\", \"http\", \"file\", \"stdout\""
        );
        let error = sink_type("pigeon").unwrap_err().to_string();
        assert!(
            error.starts_with("there is no sink of type \"pigeon\"; the types are \"kafka\", \"rabbitmq\", \"nats\", \"amqp1\", \"ibmmq\", \"redis\", \"mqtt\", \"sqs\", \"sns\", \"http\", \"file\", \"stdout\""),
            "{error}"
        );
    }

    #[test]
    fn a_known_type_is_either_built_in_or_said_not_to_be() {
        for (name, feature) in KNOWN {
            match sink_type(name) {
                Ok(found) => assert_eq!(found.name, *name),
                Err(error) => assert_eq!(error, UnknownSink::NotBuiltIn { name, feature }),
            }
        }
        for sink_type in sink_types() {
            assert!(KNOWN.iter().any(|(known, _)| *known == sink_type.name));
        }
    }

    #[test]
    fn defaults_fit_their_kinds_and_names_are_unique() {
        for sink_type in sink_types() {
            for (at, field) in sink_type.fields.iter().enumerate() {
                if let Some(default) = field.default {
                    field.kind.parse(default).unwrap_or_else(|expected| {
                        panic!("{}.{}: {default:?} is not {expected}", sink_type.name, field.name)
                    });
                }
                assert!(!field.doc.is_empty(), "{}.{} has no doc", sink_type.name, field.name);
                assert!(
                    sink_type.fields[..at].iter().all(|other| other.name != field.name),
                    "{}.{} is there twice",
                    sink_type.name,
                    field.name
                );
            }
        }
    }
}
