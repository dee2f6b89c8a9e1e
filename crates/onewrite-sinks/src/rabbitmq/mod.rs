//! The sink `rabbitmq`: RabbitMQ and what speaks its protocol, AMQP 0-9-1.
//!
#![doc = include_str!("guide.md")]

mod address;
mod amqp;
mod connector;
mod destinations;
mod judge;
mod message;
mod patience;
mod probe;
mod readback;
mod settings;
mod sink;

use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::{Field, Kind, Options, field};

#[cfg(any(test, fuzzing))]
pub(crate) use self::amqp::fuzzing;
use self::settings::Settings;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

/// What can be configured of the sink `rabbitmq`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "urls",
            Kind::List,
            "Where the brokers of one cluster are, tried in turn: amqp://host:port/virtual-host, or amqps:// for TLS. Without a port 5672 or 5671, without a virtual host \"/\". User and password are options of their own.",
        )
    },
    field(
        "user",
        Kind::Text,
        "The user's name. Without user and password, a client certificate logs in (SASL EXTERNAL); without that, the user guest does.",
    ),
    field("password", Kind::Secret, "The user's password."),
    Field {
        default: Some(""),
        ..field(
            "exchange",
            Kind::Template,
            "The exchange to publish to. Empty for the default exchange, which puts a message into the queue that the routing key names.",
        )
    },
    Field {
        default: Some("{topic}"),
        ..field("routing_key", Kind::Template, "The routing key of each message.")
    },
    Field {
        default: Some("park"),
        ..field(
            "on_unroutable",
            Kind::Choice(&["park", "retry"]),
            "What becomes of an event that goes into no queue, or whose own exchange is missing: it is poison, or it is tried again until somebody makes the queue.",
        )
    },
    Field {
        default: Some("none"),
        ..field(
            "declare",
            Kind::Choice(&["none", "exchange", "queue"]),
            "What is made where it is missing: nothing; the exchange, durable, of exchange_type; or the queue that the routing key names, durable, of queue_type, and its exchange and binding where it is not the default one. What exists is used as it is.",
        )
    },
    Field {
        default: Some("topic"),
        ..field(
            "exchange_type",
            Kind::Choice(&["direct", "topic", "fanout", "headers"]),
            "The type of an exchange that is made.",
        )
    },
    Field {
        default: Some("quorum"),
        ..field(
            "queue_type",
            Kind::Choice(&["quorum", "classic", "stream"]),
            "The type of a queue that is made. A quorum queue is kept by a majority of its nodes.",
        )
    },
    field(
        "priority",
        Kind::Template,
        "The priority of each message, a whole number from 0 to 255, such as 5 or {header.priority|0}. It counts in queues that have priorities, and lets events of one key pass each other there.",
    ),
    field(
        "expiration",
        Kind::Duration,
        "How long a queue keeps each message before it drops it or dead-letters it. Left out: as long as the queue's own rules say.",
    ),
    Field {
        default: Some("1000"),
        ..field(
            "window",
            Kind::Integer { min: 1, max: 10_000 },
            "Messages that may be unconfirmed at once. Of each key there is one, whatever it is.",
        )
    },
    Field {
        default: Some("20s"),
        ..field(
            "heartbeat",
            Kind::Duration,
            "How often both sides give a sign of life, from 1s to 1h; the broker may ask for it more often. A connection that is silent for twice as long counts as broken.",
        )
    },
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
];

/// Makes a connector to the brokers that the options name. It connects to nothing yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as a URL with a password or a user without one.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    Ok(Arc::new(connector::RabbitConnector::new(Settings::read(options)?)))
}
