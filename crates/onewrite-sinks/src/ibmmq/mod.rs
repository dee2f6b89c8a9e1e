//! The sink `ibmmq`: IBM MQ by its messaging REST API, which the mqweb server offers since IBM MQ 9.0.4 (`v3` since 9.2.5), or, built with
//! the Cargo feature `ibmmq-mqi`, by IBM's own client library (module `ibmmq_mqi`). What follows is about the REST API.
//!
//! # What was run, and what was not
//! IBM MQ can be had from none of the places that this project builds from. The sink was written from IBM's published reference
//! and is tested against a server that was written from the same reference and refuses what it does not allow. **It has never met
//! a real queue manager.** Not read in IBM's own pages in full, but from general knowledge of them, are the values that the optional
//! headers take, the form of `ibm-mq-usr` (the option `properties` chooses between its two readings), how the path of a topic is encoded,
//! what 404, 405 and 502 to 504 mean, and `GET …/login` and `GET …/messagelist?limit=1`, which connecting and `onewrite check` use. The
//! numbers of the reason codes were compared with IBM's own Java constants.
//!
//! # What acknowledged means
//! Only 201 does: the queue manager took the message, and a persistent one (which is the default here, not at IBM MQ) is in its log.
//! Any other 2xx settles nothing. A message that was put counts as delivered even where the queue manager moves it later, as to a
//! remote queue or the dead-letter queue. A topic keeps nothing for those who have no subscription at that moment.
//!
//! # What a message looks like
//! | part | holds |
//! | --- | --- |
//! | body | the payload as text; one that is not UTF-8 travels as base64, with the property `onewrite_payload_encoding` saying so |
//! | correlation identifier | the event's id and eight zero bytes, as 48 hexadecimal digits: the same on every delivery |
//! | persistence, expiry, priority | as the options say |
//! | user properties (`v3`) | `onewrite_id`, `onewrite_topic`, `onewrite_type`, `onewrite_occurred_at`, `onewrite_key`, `content_type`, and the event's own headers |
//!
//! The name of a property is a Java identifier, so in a header's name `-` becomes `_`, and every other character that is no ASCII
//! letter or digit, `_` and `$` among them, becomes `$` and two hexadecimal digits. A first character that makes a name which IBM MQ
//! keeps for itself (`JMS…`, `mq…`, the words of selectors) or that is a digit is written in the same way. In values, everything that is
//! not visible ASCII, and `%`, `;`, `,`, `"` and `\`, is percent-encoded: decoding always gives the text back.
//!
//! `v1` and `v2` carry no properties: only the body and the correlation identifier arrive, and a payload that is not UTF-8 is
//! parked. A route that needs the rest there puts it into the body, by its format.
//!
//! # Answers
//! A reason code of the queue manager (a number, or named in the words of the error) says more than the status and goes before it.
//!
//! | answer | what becomes of the event |
//! | --- | --- |
//! | 201 | delivered |
//! | 2085, 2082, 2086, 2087, 2196 (no such queue); 404 of the messaging API | parked |
//! | 2035 (no authority for this queue), 403 of the messaging API | parked |
//! | 2030, 2031, 2218, 2478 (too large), 413, 400, 406, 415, and names or types that cannot be | parked |
//! | 2053 (full), 2051 and 405 (put inhibited), 2056, 2192 (no space), 2052, 500 | tried again |
//! | 2009, 2058, 2059, 2161, 2162, 2202, 2203, 2223 (queue manager away or ending), 502, 503, 504 | tried again by the next of `urls` |
//! | 401; 403 that is not about a queue (the role MQWebUser is missing); a 400 about an option | the route halts |
//! | any other 404 (path, version), 3xx, 408, 429, another 2xx | tried again, with the rest of the delivery |
//! | none, or the connection broke | unknown, so put again under the same correlation identifier |
//!
//! # Order
//! Events of one key go strictly one after another, the next only after the 201 to the one before. A request that was given up may
//! still be carried out later, but what it puts is a repetition by then. IBM MQ keeps the order of what one application puts on one
//! queue only among messages of one priority, and not across a cluster.

pub(crate) mod answer;
mod connector;
pub(crate) mod properties;
pub(crate) mod request;
pub(crate) mod settings;
mod sink;

use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::{Field, Kind, Options, field};

use self::connector::MqConnector;
use self::settings::Settings;
pub(crate) use self::settings::wants_mqi;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

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
