//! The sink `rabbitmq`: RabbitMQ and what speaks its protocol, AMQP 0-9-1.
//!
//! # The message
//!
//! | part | holds |
//! | --- | --- |
//! | exchange, routing key | what the options of these names make of the event; by default the default exchange and the topic, so that the event goes into the queue of its topic's name |
//! | body | the payload, untouched |
//! | `message-id` | the event's id: the same on every delivery, so a consumer can drop what it has seen |
//! | `content-type`, `type` | the event's content type and type |
//! | `timestamp` | when it was recorded, in seconds; the header `onewrite-occurred-at` has the microseconds |
//! | `app-id`, `delivery-mode` | `onewrite`, and 2: kept on disk |
//! | `priority`, `expiration` | as the options say, else left out |
//! | headers | the event's own, `onewrite-topic`, `onewrite-occurred-at`, and `onewrite-key` where it has a key; all of them texts |
//!
//! Where a format lays down all headers, such as `cloudevents`, they are the headers, and of the properties only `content-type`,
//! `delivery-mode`, `priority` and `expiration` are set. An event cannot set the headers of the names in `NEVER_FROM_EVENTS`, by
//! which RabbitMQ routes (`CC`, `BCC`) or keeps its own books (`x-death` and its like): they are left out.
//!
//! # What acknowledged means
//! Messages are published in confirm mode, persistent and `mandatory`. An event is delivered when the broker has confirmed its message
//! (`basic.ack`) and has not returned it before. RabbitMQ confirms when the message is in every queue that it was routed to: in a
//! quorum queue when a majority of its members has written it to disk, in a durable classic queue when its node has.
//!
//! What the broker can still lose after that: everything in a queue that is not durable, when its node restarts; everything in a
//! classic queue, when its node's disk is lost; and what the queue's own rules drop, such as a length limit that drops the oldest
//! (`x-overflow` other than `reject-publish`), an expiration, or a delivery limit. Use quorum queues, and a dead letter exchange.
//!
//! # Answers
//!
//! | answer | what becomes of the event |
//! | --- | --- |
//! | `basic.ack` | delivered |
//! | `basic.return`, then `basic.ack` | unroutable: parked with the broker's words, or tried again, as `on_unroutable` says. With `declare = "queue"` the queue is made anew |
//! | `basic.nack` | tried again: a queue is full, or could not keep it |
//! | none: of no message for 10 s, of one for 50 s, or the connection broke | unknown, so tried again under the same `message-id`, after connecting anew |
//! | `connection.blocked` | the delivery waits, and after 10 s goes back to be tried again: the broker is short of memory or disk. Nothing is parked |
//! | 403 for an exchange or a topic | parked if the event names it; if the configuration does, the route halts, since no event could be written |
//! | 404, no such exchange | like an unroutable event if the event names it; if the configuration does, all events wait until somebody makes it |
//! | 406 and other refusals of a message, such as one that is too large | parked |
//! | the login or the virtual host is refused | the route halts |
//! | anything else | tried again, after connecting anew |
//!
//! RabbitMQ refuses a message by closing the channel, and does not say which message it was. All that were on their way are unknown
//! then. They go alone the next time, on a channel of their own and one after another, and only the one that is refused alone is
//! parked. The first event for an exchange goes alone as well, after a look whether the exchange is there.
//!
//! On the default exchange a deleted queue makes every event for it unroutable. Parking is right where an event may name a queue that
//! nobody ever makes; where queues are made by consumers that may come later than events, `on_unroutable = "retry"` holds the events
//! back until then.
//!
//! # Order
//! Events of one key go strictly one after another, the next only after the confirm of the one before; different keys go at the same
//! time, up to `window` messages. A failure ends its key for this delivery. So whatever breaks, at most one message of each key has an
//! unknown fate, the lowest that is not settled, and if it arrives late it is a repetition. One queue keeps the order in which messages
//! came; several consumers of a queue, and messages that a consumer gives back, do not. Where a key's events go into different queues,
//! by a routing key that changes from event to event, there is no order between the queues.

mod address;
mod amqp;
mod connector;
mod destinations;
mod judge;
mod message;
mod probe;
mod settings;
mod sink;

use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::{Field, Kind, Options};

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

const fn field(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field {
        name,
        kind,
        default: None,
        required: false,
        doc,
    }
}

/// Makes a connector to the brokers that the options name. It connects to nothing yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as a URL with a password or a user without one.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    Ok(Arc::new(connector::RabbitConnector::new(Settings::read(options)?)))
}
