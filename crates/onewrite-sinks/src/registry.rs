//! Every type of sink there is: its name, what can be configured, and how it is built.

use std::fmt;
use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::catalogue::{Catalogue, Named, UnknownType};
pub use onewrite_core::options::BuildError;
use onewrite_core::options::{Field, Options};

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

impl Named for SinkType {
    fn name(&self) -> &'static str {
        self.name
    }

    fn fields(&self) -> &'static [Field] {
        self.fields
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
    SINKS.built_in
}

/// The type of this name.
///
/// # Errors
/// As of [`Catalogue::find`].
pub fn sink_type(name: &str) -> Result<&'static SinkType, UnknownType> {
    SINKS.find(name)
}

const SINKS: Catalogue<SinkType> = Catalogue {
    what: "sink",
    built_in: TYPES,
    known: &[
        ("kafka", Some("kafka")),
        ("rabbitmq", Some("rabbitmq")),
        ("nats", Some("nats")),
        ("amqp1", Some("amqp1")),
        ("ibmmq", Some("ibmmq")),
        ("redis", Some("redis")),
        ("mqtt", Some("mqtt")),
        ("sqs", Some("sqs")),
        ("sns", Some("sns")),
        ("http", Some("http")),
        ("file", Some("file")),
        ("stdout", Some("file")),
    ],
};

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

/// IBM MQ, by the transport that the options name.
#[cfg(feature = "ibmmq")]
fn build_ibmmq(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    #[cfg(feature = "ibmmq-mqi")]
    if crate::ibmmq::wants_mqi(options) {
        return crate::ibmmq_mqi::build(options);
    }
    crate::ibmmq::build(options)
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
    }

    #[test]
    fn the_catalogue_has_no_flaws() {
        assert_eq!(SINKS.flaws(), Vec::<String>::new());
    }
}
