//! The sink `amqp1`: AMQP 1.0, for ActiveMQ Artemis and Classic, Qpid, IBM MQ, Azure Service Bus and RabbitMQ 4.
//!
#![doc = include_str!("guide.md")]

mod connection;
mod link;
mod links;
mod message;
mod probe;
mod readback;
mod refusal;
mod sasl;
mod settings;
mod sink;
mod stream;
mod target;

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options, field};
use onewrite_core::sink::{CloudEventsBinding, Finding};
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};

use self::links::Memory;
#[cfg(any(test, fuzzing))]
pub(crate) use self::sasl::fuzz;
use self::settings::Settings;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::turns::Turns;

/// What can be configured of the sink `amqp1`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "urls",
            Kind::List,
            "The brokers, tried in turn, another first each time: amqp://host:port, or amqps:// with TLS for all of them; the ports 5672 and 5671 can be left out. Without user and password.",
        )
    },
    field("user", Kind::Text, "Who the relay is to the broker. Needs password."),
    field("password", Kind::Secret, "The user's password."),
    Field {
        default: Some("auto"),
        ..field(
            "sasl",
            Kind::Choice(&["auto", "plain", "scram", "external", "anonymous"]),
            "How the relay proves who it is. \"auto\": with a user, SCRAM or PLAIN as the broker offers them (over TLS, PLAIN first); without one, the client certificate (EXTERNAL), or nothing (ANONYMOUS).",
        )
    },
    Field {
        default: Some("{topic}"),
        ..field(
            "address",
            Kind::Template,
            "Where an event goes: the name of a queue or topic as the broker has it.",
        )
    },
    Field {
        default: Some("queue"),
        ..field(
            "target",
            Kind::Choice(&["queue", "topic", "none"]),
            "What an address is asked to be. A \"queue\" keeps messages until they are consumed. A \"topic\" hands them to the subscriptions there are, and drops them where there is none. \"none\" asks for nothing: what it is, is up to the broker.",
        )
    },
    Field {
        default: Some("true"),
        ..field(
            "durable",
            Kind::Flag,
            "Whether the broker stores messages so that they outlive its restart. Without it, what is delivered can be lost.",
        )
    },
    field(
        "priority",
        Kind::Integer { min: 0, max: 9 },
        "The priority of messages; the broker's own default is 4.",
    ),
    field(
        "ttl",
        Kind::Duration,
        "After this time the broker may throw a message away that nobody has consumed. Not set: never.",
    ),
    Field {
        default: Some("false"),
        ..field(
            "duplicate_detection",
            Kind::Flag,
            "Adds the property _AMQ_DUPL_ID with the event's id, by which ActiveMQ Artemis drops repetitions, as long as it remembers the id (id-cache-size). A replayed event is a repetition, too.",
        )
    },
    Field {
        default: Some("true"),
        ..field(
            "group_by_key",
            Kind::Flag,
            "Sets group-id (JMSXGroupID; the session id of Azure Service Bus) to the event's key, so that one consumer at a time gets the events of a key. Artemis remembers each key while its consumer lives: with very many keys, set its group-buckets.",
        )
    },
    field(
        "container_id",
        Kind::Text,
        "What the connection calls itself at the broker. A random suffix is added, since brokers refuse two of one name. Default: onewrite.",
    ),
    Field {
        default: Some("30s"),
        ..field(
            "idle_timeout",
            Kind::Duration,
            "After this time without a sign of life from the broker the connection counts as broken; from 2s to 10m.",
        )
    },
    Field {
        default: Some("256"),
        ..field(
            "max_links",
            Kind::Integer { min: 1, max: 10_000 },
            "Most links that are held open, one for each address; the one that was not used for longest gives way.",
        )
    },
    Field {
        default: Some("256"),
        ..field(
            "window",
            Kind::Integer { min: 1, max: 10_000 },
            "Messages of one delivery that are under way at once. Events of one key never overlap, whatever it is.",
        )
    },
    Field {
        default: Some("10s"),
        ..field(
            "timeout",
            Kind::Duration,
            "How long the broker may take to acknowledge a message; from 50ms to 15s. What was not acknowledged by then is unknown and is sent again, on a new connection.",
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
    Ok(Arc::new(Amqp1Connector {
        settings: Arc::new(Settings::read(options)?),
        memory: Arc::new(Memory::new()),
        turns: Turns::default(),
    }))
}

struct Amqp1Connector {
    settings: Arc<Settings>,
    /// Outlives connections.
    memory: Arc<Memory>,
    turns: Turns,
}

#[async_trait]
impl SinkConnector for Amqp1Connector {
    fn kind(&self) -> &'static str {
        "amqp1"
    }

    /// Opens a connection and a session at the broker whose turn it is, or the first after it that lets it.
    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let opened = connection::open(&self.settings, &self.turns).await?;
        let sink = sink::Amqp1Sink::new(Arc::clone(&self.settings), opened, Arc::clone(&self.memory));
        Ok(Box::new(sink))
    }

    /// The AMQP binding's prefix that JMS clients can read too (CloudEvents, AMQP protocol binding 1.0.2, section 3.1.3.1).
    fn cloudevents(&self) -> CloudEventsBinding {
        CloudEventsBinding::prefixed("cloudEvents_")
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Ok(Box::new(readback::Amqp1ReadBack(Arc::clone(&self.settings))))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.settings, topics).await
    }
}
