//! The sink `amqp1`: AMQP 1.0, for ActiveMQ Artemis and Classic, Qpid, IBM MQ, Azure Service Bus and RabbitMQ 4.
//!
//! # What acknowledged means
//! Every message is sent unsettled, and an event is delivered when the broker settles it with the outcome *accepted*. A broker
//! accepts a durable message of a durable queue after it has stored it, as its own settings have it (Artemis:
//! `journal-sync-non-transactional`; Classic: `enableJournalDiskSyncs`; Qpid: the store's transactions).
//!
//! | the broker says | what becomes of the event |
//! | --- | --- |
//! | accepted | delivered |
//! | released, modified | tried again |
//! | modified with `undeliverable-here` | parked |
//! | rejected, for what the message is (`amqp:decode-error`, `amqp:invalid-field`, `amqp:not-allowed`, `amqp:precondition-failed`, `amqp:link:message-size-exceeded`, …) | parked, with the broker's words |
//! | rejected for another reason, or for none (`amqp:resource-limit-exceeded`, a full address) | tried again |
//! | `amqp:unauthorized-access` | parked; where `address` is the same for every event the route halts, since nothing can be sent until somebody grants it |
//! | `amqp:not-found` | parked: no such address. Tried again where `address` is the same for every event, or where the address has taken events before: somebody deleted it and will bring it back |
//! | no credit | waited for, then tried again: a full address holds its senders back in this way |
//! | nothing within `timeout`, or the connection broke | unknown, so tried again under the same message-id |
//!
//! # Accepted, and gone
//! AMQP 1.0 has queues that keep and topics that hand out, and an address does not say which it is. A topic without a subscriber
//! accepts a message and forgets it. So the sink asks for the capability `queue` on each link (`target = "queue"`), and before the
//! first event of an address is sent it looks at what the broker made of that:
//!
//! - **ActiveMQ Artemis** repeats the capability whatever the address is, so the sink also attaches a browser without credit,
//!   which Artemis refuses on an address that is multicast. Events for such an address are not sent; the error says so. This
//!   needs the permission `browse` or `consume`; without it the sink cannot know, and says that once in the log and in `onewrite check`.
//! - **Qpid Broker-J** resolves a name to a queue or to an exchange, and an exchange without a matching binding discards. The
//!   sink asks for `REJECT_UNROUTABLE`, and does not send to an address that confirms neither that nor being a queue.
//! - **ActiveMQ Classic** repeats the capability, too; there a name says what it is: `topic://` is a topic, and is not sent to;
//!   `queue://` and, with this capability, a name without a prefix are queues.
//! - Others confirm nothing; the sink says once in the log that it has only the broker's word.
//!
//! With `target = "topic"` events reach the subscriptions that exist at that moment, and none at all is not an error.
//!
//! # Order
//! Events of one key go strictly one after another, the next when the one before it was accepted; different keys go side by side.
//! What a dropped delivery or a broken connection leaves behind is at most the lowest unsettled event of each key, so a late
//! arrival repeats and never overtakes.
//!
//! # What a message holds
//!
//! | section | holds |
//! | --- | --- |
//! | header | `durable`, `priority`, `ttl` |
//! | properties | `message-id`: the event's id as a string; `subject`: its type; `content-type`; `creation-time`: its time in milliseconds; `group-id`: its key, with `group_by_key` |
//! | application properties | `onewrite-topic`, `onewrite-occurred-at`, `onewrite-key`, and the event's own headers, all as strings |
//! | data | the payload, untouched |
//!
//! JMS clients find the id in `JMSMessageID` (Qpid JMS writes `ID:AMQP_NO_PREFIX:` before it), the type in `JMSType` and the key in
//! `JMSXGroupID`.
//!
//! # What the broker can still lose
//! - Artemis with `address-full-policy` DROP accepts what it drops; no client can see that. PAGE (the default) and BLOCK keep.
//! - Messages that expire (`ttl`, or the broker's own expiry) without an expiry address; messages beyond a queue's ring size.
//! - A non-durable message (`durable = false`), or a store that does not synchronise, in a crash.
//! - Qpid: an exchange that routes to *a* queue has routed, whichever it is.
//!
//! # Brokers that no test of this sink runs
//! From their public documentation:
//! - **IBM MQ** (IBM MQ documentation, "Developing AMQP client applications"): the AMQP channel listens on its own port, PLAIN or
//!   anonymous; an address is a topic string unless the link asks for the capability `queue`, which needs MQ 9.3 or later.
//! - **Azure Service Bus** ("AMQP 1.0 in Azure Service Bus and Event Hubs protocol guide"): `amqps` on port 5671, PLAIN with the name and key
//!   of a shared access policy; entities must exist; the largest message is told on attach (256 kB in the tier Standard);
//!   `group-id` is the session id; duplicate detection is by `message-id`; idle links are detached after 10 minutes, and attach again.
//! - **RabbitMQ 4** (RabbitMQ documentation, "AMQP 1.0"): addresses are `/queues/NAME`, `/exchanges/NAME/KEY`, percent-encoded; a message that no
//!   queue takes is *released*, so it is tried again; a queue that is missing closes the link or the session with `amqp:not-found`.

mod connection;
mod link;
mod links;
mod message;
mod probe;
mod refusal;
mod sasl;
mod settings;
mod sink;
mod stream;
mod target;

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options};
use onewrite_core::sink::Finding;
use onewrite_core::{Sink, SinkConnector};

use self::links::Known;
use self::settings::Settings;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

/// What can be configured of the sink `amqp1`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "urls",
            Kind::List,
            "The brokers, tried in turn: amqp://host:port, or amqps:// with TLS; the ports 5672 and 5671 can be left out. Without user and password.",
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
    Ok(Arc::new(Amqp1Connector {
        settings: Arc::new(Settings::read(options)?),
        known: Arc::default(),
    }))
}

struct Amqp1Connector {
    settings: Arc<Settings>,
    /// Outlives connections.
    known: Arc<Known>,
}

#[async_trait]
impl SinkConnector for Amqp1Connector {
    fn kind(&self) -> &'static str {
        "amqp1"
    }

    /// Opens a connection and a session at the first broker that lets it.
    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let opened = connection::open(&self.settings).await?;
        let sink = sink::Amqp1Sink::new(Arc::clone(&self.settings), opened, Arc::clone(&self.known));
        Ok(Box::new(sink))
    }

    /// The AMQP binding's prefix that JMS clients can read too (CloudEvents, AMQP protocol binding 1.0.2, section 3.1.3.1).
    fn cloudevents_prefix(&self) -> &'static str {
        "cloudEvents_"
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.settings, topics).await
    }
}
