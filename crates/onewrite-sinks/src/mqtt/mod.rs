//! The sink `mqtt`: messages of MQTT 5, with QoS 1 or 2.
//!
#![doc = include_str!("guide.md")]

mod answer;
mod message;
mod packet;
mod probe;
mod readback;
mod session;
mod settings;
mod sink;
mod subscriber;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options, field};
use onewrite_core::sink::{CloudEventsBinding, Finding};
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};

#[cfg(any(test, fuzzing))]
pub(crate) use self::packet::fuzz;
use self::session::Session;
use self::settings::Settings;
use crate::limits::{SERVER_CONNECT_TIMEOUT, SERVERS_CONNECT_TIME};
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::turns::{ConnectLimit, Turns};

/// How long beginning a session may take.
const LIMIT: ConnectLimit = ConnectLimit {
    whole: SERVERS_CONNECT_TIME,
    each: SERVER_CONNECT_TIMEOUT,
};

/// What can be configured of the sink `mqtt`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "urls",
            Kind::List,
            "Where brokers are: mqtt:// or mqtts:// (TLS), host and port, tried in turn, another first each time.",
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
        "Who the relay is to the broker. Two connections of one id end each other. Without it, a new one with each connection. \"onewrite check\" and \"onewrite verify\" append something to it.",
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

/// Makes a connector to the brokers that the options name. It connects to nothing yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as a URL with a password or a key file that cannot be read.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    Ok(Arc::new(MqttConnector {
        settings: Arc::new(Settings::read(options)?),
        alone: Arc::default(),
        turns: Turns::default(),
    }))
}

struct MqttConnector {
    settings: Arc<Settings>,
    /// Whether the next session begins with one message at a time, because a connection broke with several under way.
    alone: Arc<AtomicBool>,
    turns: Turns,
}

#[async_trait]
impl SinkConnector for MqttConnector {
    fn kind(&self) -> &'static str {
        "mqtt"
    }

    /// Begins a session with the broker whose turn it is, or the first after it that answers.
    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let settings = &self.settings;
        let id = match &settings.client_id {
            Some(id) => id.clone(),
            None => new_client_id(),
        };
        let open = |url| Session::open(settings, url, &id, &self.alone);
        let session = self.turns.connect(&settings.urls, LIMIT, open).await?;
        Ok(Box::new(sink::MqttSink::new(Arc::clone(settings), session)))
    }

    /// The CloudEvents binding of MQTT 5 has attributes as user properties under their own names.
    fn cloudevents(&self) -> CloudEventsBinding {
        CloudEventsBinding::prefixed("")
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Ok(Box::new(readback::MqttReadBack(Arc::clone(&self.settings))))
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
