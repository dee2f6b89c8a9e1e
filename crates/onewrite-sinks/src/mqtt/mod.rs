//! The sink `mqtt`: messages of MQTT 5, with QoS 1 or 2.
//!
//! # A message
//! The payload is the body, to the byte. Properties:
//!
//! | property | holds |
//! | --- | --- |
//! | content type | the event's content type |
//! | user properties | `onewrite-id`, `onewrite-topic`, `onewrite-type`, `onewrite-occurred-at`, `onewrite-key` as on every wire, and the event's own headers under their names |
//! | payload format indicator | 1 where the content type is JSON or text and the payload is UTF-8 |
//! | message expiry interval | `message_expiry`, where it is set |
//!
//! A broker may close the connection for a text with control characters or Unicode's non-characters in it. In user properties whose names
//! begin with `onewrite-` these and the percent sign are percent-encoded, so decoding always gives the text back; in others they
//! are where a text holds any. The correlation data is left alone: it belongs to requests and responses.
//!
//! # Acknowledged
//! An event is delivered when the broker answered with `PUBACK` (QoS 1) or `PUBCOMP` (QoS 2) and a reason that means success.
//!
//! *No matching subscribers* (0x10) is such a reason to MQTT, but the broker then keeps nothing, so the event is tried again until somebody
//! subscribes. It is not parked: nothing is wrong with it, and everything arrives once the subscriber is back. With
//! `require_subscribers = false` it counts as delivered, which suits topics whose news nobody need have. Brokers need not tell, and some
//! tell only with QoS 1: Eclipse Mosquitto 2 takes a QoS 2 message before it looks for subscribers.
//!
//! A broker keeps a message for each subscriber whose *session* it keeps, and what that is worth no publisher learns:
//! - A subscriber without a persistent session (session expiry 0), or that subscribed with QoS 0, gets what it is connected for, and no
//!   more.
//! - Queues are limited, and what does not fit is dropped after it was acknowledged. Mosquitto's `max_queued_messages` is 1000 unless it is
//!   set; set it to a large number, and not to 0 for none: version 2.0.11 then ends the connection whenever it refuses a message.
//! - A session that expires takes its queue along.
//! - What is kept need not be on disk. Mosquitto without `persistence true` keeps nothing over a restart. With it, it writes everything to
//!   `mosquitto.db` when it is stopped in order, on SIGUSR1, and every `autosave_interval` (1800 s): a crash loses everything that was
//!   acknowledged since. With `autosave_on_changes true` and `autosave_interval 1` it writes the whole file after each turn of its loop,
//!   so a crash loses what was acknowledged in that turn, whose acknowledgements leave before the file is written. Seen with 2.0.11
//!   and SIGKILL after 300 messages, one at a time: 300 are lost in the first case and the last one in the second.
//!
//! # QoS 2
//! It spares subscribers what a broker would send again within a session. It does not make the relay's own repetitions go away: after
//! a broken connection the outbox sends again, as a new message with the same `onewrite-id`. Only a session that outlives the
//! connection *and* the relay's process could prevent that, and it would be a second outbox, with the broker's limits.
//!
//! # Order
//! A broker that refuses one message (0x97, quota exceeded) takes the next, so events of one key go one after another, each after
//! the acknowledgement of the one before; up to `window` different keys are under way at once, or fewer if the broker's receive maximum
//! says so. Every session begins without a past (clean start, expiry 0) and ends with its connection, and nothing is sent again by the
//! client, so what was given up can arrive only while its connection lasts, and only as a repetition.
//!
//! # Refusals
//!
//! | reason | what becomes of the event |
//! | --- | --- |
//! | 0x87 not authorized, 0x90 topic name invalid, 0x95 packet too large, 0x99 payload format invalid; a topic with `+`, `#` or control characters; a packet over the broker's maximum | parked |
//! | 0x10 no matching subscribers, 0x80, 0x83, 0x97 quota exceeded, others | tried again |
//! | the connection broke, or the broker ended it | tried again, after connecting anew; if several messages were under way, one at a time for a while |
//! | the broker ended it by 0x81, 0x90, 0x95 or 0x99, and one message was under way | parked |
//! | no connection for 0x84, 0x85, 0x86, 0x87, 0x8a, 0x8c or 0x9d; QoS or retaining not supported | the route halts |

mod answer;
mod message;
mod packet;
mod probe;
mod session;
mod settings;
mod sink;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options};
use onewrite_core::sink::Finding;
use onewrite_core::{Sink, SinkConnector};

use self::session::Session;
use self::settings::Settings;
use crate::endpoint::first_of;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

/// What can be configured of the sink `mqtt`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "urls",
            Kind::List,
            "Where brokers are: mqtt:// or mqtts:// (TLS), host and port, tried in turn.",
        )
    },
    Field {
        default: Some("{topic}"),
        ..field("topic", Kind::Template, "The MQTT topic that an event goes to.")
    },
    field(
        "topic_separator",
        Kind::Text,
        "What each full stop of the topic becomes, such as \"/\" where topics are written with full stops. Without it they stay.",
    ),
    field(
        "client_id",
        Kind::Text,
        "Who the relay is to the broker. Two connections of one id end each other. Without it, a new one with each connection. \"onewrite check\" appends \"-check\".",
    ),
    field("user", Kind::Text, "The user's name."),
    field("password", Kind::Secret, "The user's password."),
    Field {
        default: Some("1"),
        ..field(
            "qos",
            Kind::Integer { min: 1, max: 2 },
            "The quality of service. With 0 brokers acknowledge nothing.",
        )
    },
    Field {
        default: Some("true"),
        ..field(
            "require_subscribers",
            Kind::Flag,
            "Whether an event is tried again while nobody subscribes to its topic. If false, it counts as delivered, and nobody gets it.",
        )
    },
    Field {
        default: Some("false"),
        ..field(
            "retain",
            Kind::Flag,
            "Whether the broker keeps the last message of each topic for those who subscribe later.",
        )
    },
    field(
        "message_expiry",
        Kind::Duration,
        "After how long the broker drops a message that a subscriber has not fetched. Without it, never.",
    ),
    Field {
        default: Some("1000"),
        ..field(
            "window",
            Kind::Integer { min: 1, max: 65_535 },
            "Most messages under way at once; the broker may allow fewer. Events of one key never overlap, whatever it is.",
        )
    },
    Field {
        default: Some("30s"),
        ..field(
            "keep_alive",
            Kind::Duration,
            "How long the connection may be silent before the broker takes it for dead; from 2s to 18h. The relay asks for a sign of life twice as often.",
        )
    },
    Field {
        default: Some("15s"),
        ..field(
            "timeout",
            Kind::Duration,
            "How long an acknowledgement may take; from 50ms to 30s. What was not acknowledged by then is unknown and is sent again.",
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
/// The first option that does not hold together with the others, such as a URL with a password or a key file that cannot be read.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    Ok(Arc::new(MqttConnector {
        settings: Arc::new(Settings::read(options)?),
        alone: Arc::default(),
    }))
}

struct MqttConnector {
    settings: Arc<Settings>,
    /// Whether the next session begins with one message at a time, because a connection broke with several under way.
    alone: Arc<AtomicBool>,
}

#[async_trait]
impl SinkConnector for MqttConnector {
    fn kind(&self) -> &'static str {
        "mqtt"
    }

    /// Begins a session with the first broker that answers.
    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let settings = &self.settings;
        let id = match &settings.client_id {
            Some(id) => id.clone(),
            None => new_client_id(),
        };
        let tries = settings.urls.iter();
        let tries = tries.map(|url| Session::open(settings, url, &id, &self.alone));
        let session = first_of(tries.collect()).await?;
        Ok(Box::new(sink::MqttSink::new(Arc::clone(settings), session)))
    }

    /// The CloudEvents binding of MQTT 5 has attributes as user properties under their own names.
    fn cloudevents_prefix(&self) -> &'static str {
        ""
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.settings, topics).await
    }
}

/// 23 letters and digits, which every broker must take (MQTT 5, 3.1.3.1).
fn new_client_id() -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("onewrite{}", &random[..15])
}
