//! The sink `ibmmq`: IBM MQ by its messaging REST API, which the mqweb server offers since IBM MQ 9.0.4 (`v3` since 9.2.5), or, built with
//! the Cargo feature `ibmmq-mqi`, by IBM's own client library (module `ibmmq_mqi`).
//!
#![doc = include_str!("guide.md")]

pub(crate) mod answer;
mod connector;
pub(crate) mod properties;
pub(crate) mod request;
pub(crate) mod settings;
mod sink;

use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::{Field, Kind, Options, field};

#[cfg(any(test, fuzzing))]
pub(crate) use self::answer::fuzz;
use self::connector::MqConnector;
use self::settings::Settings;
pub(crate) use self::settings::wants_mqi;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

/// Why `onewrite verify` cannot read back.
pub(crate) const NOT_READ_BACK: &str =
    "a queue of its own is made by an administrator of the queue manager, by an interface that the sink does not use";

/// What can be configured of the sink `ibmmq`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "urls",
            Kind::List,
            "Addresses of mqweb servers, such as https://mq.example.com:9443, tried in turn; with http:// everybody on the way can read along. With transport \"mqi\": addresses of listeners, such as mq://mq.example.com:1414.",
        )
    },
    preset(
        "transport",
        Kind::Choice(&["rest", "mqi"]),
        "rest",
        "How messages get there: by the messaging REST API, or by IBM's MQ client library, for programs built with the Cargo feature ibmmq-mqi.",
    ),
    Field {
        required: true,
        ..field(
            "queue_manager",
            Kind::Text,
            "The queue manager, or the name of a connection to a remote one.",
        )
    },
    preset(
        "destination",
        Kind::Choice(&["queue", "topic"]),
        "queue",
        "Whether events are put to a queue or published to a topic string. A topic keeps nothing for those without a subscription.",
    ),
    preset(
        "queue",
        Kind::Template,
        "{topic}",
        "The queue of an event: 1 to 48 of the characters A-Z a-z 0-9 . / _ %; an event that makes another name is parked.",
    ),
    preset(
        "topic_string",
        Kind::Template,
        "{topic}",
        "The topic string of an event, with destination \"topic\".",
    ),
    field(
        "user",
        Kind::Text,
        "The user of mqweb, or with transport \"mqi\" of the queue manager. Needs password.",
    ),
    field("password", Kind::Secret, "The user's password."),
    preset(
        "api_version",
        Kind::Choice(&["v1", "v2", "v3"]),
        "v3",
        "For transport \"rest\". The version of the REST API: v3 since IBM MQ 9.2.5, v2 since 9.1.5. Only v3 carries properties and a priority.",
    ),
    preset(
        "properties",
        Kind::Choice(&["quoted", "plain", "none"]),
        "quoted",
        "For transport \"rest\". How header values are written as user properties (v3): name;\"value\";string, or the same without quotation marks, or not at all.",
    ),
    preset(
        "persistent",
        Kind::Flag,
        "true",
        "Whether messages outlive a restart of the queue manager.",
    ),
    field(
        "expiry",
        Kind::Duration,
        "How long a message waits to be read before the queue manager discards it; from 1ms to 99999999900ms. Left out: for ever.",
    ),
    field(
        "priority",
        Kind::Integer { min: 0, max: 9 },
        "The priority of messages (v3 or transport \"mqi\"). Left out: the destination's own.",
    ),
    preset(
        "max_message_bytes",
        Kind::Bytes,
        "4MiB",
        "A larger message, properties included, is parked before it is sent. Not above MAXMSGL of the queues, which is 4 MiB unless changed.",
    ),
    preset(
        "timeout",
        Kind::Duration,
        "15s",
        "How long a request, or with transport \"mqi\" a call, may take; from 50ms to 30s. What was not answered by then is unknown and is put again.",
    ),
    preset(
        "concurrency",
        Kind::Integer { min: 1, max: 1_024 },
        "16",
        "For transport \"rest\". Requests under way at once; mqweb keeps 20 connections to a queue manager for a user unless told otherwise.",
    ),
    field(
        "channel",
        Kind::Text,
        "For transport \"mqi\", which needs it. The server-connection channel: 1 to 20 of the characters A-Z a-z 0-9 . / _ %.",
    ),
    field(
        "cipher_spec",
        Kind::Text,
        "For transport \"mqi\". The CipherSpec of the channel, such as ANY_TLS12_OR_HIGHER. Needs key_repository. Left out: not encrypted.",
    ),
    field(
        "key_repository",
        Kind::Text,
        "For transport \"mqi\". The key repository with the certificates, as IBM's client wants it: for a file key.kdb, its path without .kdb.",
    ),
    field(
        "library",
        Kind::Text,
        "For transport \"mqi\". The file of IBM's client library. Left out: libmqic_r.so as the machine finds it, else that in /opt/mqm/lib64.",
    ),
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
];

const fn preset(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Field {
    Field {
        default: Some(default),
        ..field(name, kind, doc)
    }
}

/// Makes a connector to the queue manager that the options name, by the REST API. It connects to nothing yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as a URL with a password or a name that no queue manager has.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    if wants_mqi(options) {
        let words = "is \"mqi\", which is not built into this program; use one that was built with the Cargo feature \"ibmmq-mqi\"";
        return Err(BuildError::new(options, "transport", words));
    }
    Ok(Arc::new(MqConnector::new(Settings::read(options)?)))
}
