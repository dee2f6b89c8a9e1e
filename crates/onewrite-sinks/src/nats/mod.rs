//! The sink `nats`: streams of NATS JetStream.
//!
//! # Acknowledged
//! An event is delivered when a stream has answered its publish with the stream's name and the event's sequence. A plain publish is
//! answered by nobody and is never used; an answer from anything but a stream does not count.
//!
//! # On the wire
//! The subject is the option `subject`, the body the payload, untouched. Headers:
//!
//! | header | holds |
//! | --- | --- |
//! | `Nats-Msg-Id` | the event's id: within its window of duplicates, a stream acknowledges a repeated event without keeping it again |
//! | `Nats-Expected-Stream` | the option `stream`, where it is set |
//! | `content-type`, `onewrite-id`, `onewrite-topic`, `onewrite-type`, `onewrite-occurred-at` | as on every wire |
//! | `onewrite-key` | the event's key; left out where it has none |
//! | the event's own | under their own names, `traceparent` as it came |
//!
//! NATS carries UTF-8 in headers, but no line breaks. In the headers that begin with `onewrite-`, every byte that is not visible
//! ASCII, and `%` itself, is percent-encoded: decoding always gives the text back. Other values travel as they are, unless they hold
//! control characters or have blanks at an end; then they are encoded in the same way. An event with a header whose *name* NATS cannot
//! carry is parked. An event's own headers that begin with `Nats-` are left out: a server obeys them, and `Nats-Rollup` would delete
//! what the stream holds.
//!
//! # What becomes of an event
//!
//! | what happens | what becomes of the event |
//! | --- | --- |
//! | no stream takes the subject | parked: `no stream listens to subject …` |
//! | a stream takes it but has no leader at present | tried again. The two look the same to a publisher, so the sink asks which it is |
//! | the subject cannot be published to: blanks, empty parts, `*`, `>`, a beginning `$` or `_INBOX.` | parked |
//! | larger than the server's `max_payload` or the stream's `max_msg_size`, headers included | parked, alone: the server would end the connection, so the sink looks first |
//! | the stream is full and discards what is new | tried again |
//! | the stream is another than the option `stream` says | parked |
//! | the user may not publish to the subject | parked, with the server's words: it tells of this beside the answer that never comes |
//! | no answer within `ack_timeout` | unknown, so tried again under the same id after connecting anew |
//! | the login is refused when connecting, or replies are forbidden | the route halts |
//! | the login is revoked while connected | the server ends the connection; connecting anew, the route halts |
//!
//! # Order
//! A stream refuses one message and takes the next, so events of one key go strictly one after another, the next only after the
//! acknowledgement of the one before; different keys go at the same time, up to `window`. A failure ends its key for this delivery. The
//! client's own reconnecting is not used: it would send what is left in its queue when later events are long through. A connection that
//! breaks ends the sink, and what was left in its queue with it; what a dropped sink still gets rid of is at most one event of each key, the
//! lowest that is not settled, so that it can only repeat.
//!
//! # What NATS can still lose or repeat
//! - **A single server acknowledges before it synchronises its file to disk**: by default it does so every two minutes (`sync_interval`
//!   in its block `jetstream`), so a loss of power, not a crash of the process, can lose what was acknowledged since. Replicas on other
//!   machines are the answer (`num_replicas = 3`), or `sync_interval: always`, which costs much of the speed.
//! - A stream in memory loses everything with its servers. Limits (`max_age`, `max_msgs`, `max_bytes` with `discard = old`) and the retention
//!   `interest` delete messages that nobody has read. `onewrite check` tells of these settings.
//! - The window of duplicates (`duplicate_window`, two minutes by default) forgets: an event whose acknowledgement was lost in an outage
//!   longer than that is kept twice. Consumers that use the inbox apply it once. A replay inside the window is acknowledged and not kept again.
//!
//! # `expect_last_sequence`
//! With it, a message names the sequence of the last message of its subject, and the stream refuses it when that is not true. Where the
//! sequence is not known, after the relay's start or after an answer was lost, the sink asks for the subject's last message and notes its
//! id: an event whose answer was lost can only be that one, and it is not published again. So an event is not kept twice after an outage of
//! any length, also when the relay was restarted in it. The price: one message of a subject under way at a time, whatever their keys, and a
//! question for each subject at first. It holds as long as nobody else publishes to the subject meanwhile (another relay, or a lane of this
//! one in another process, is somebody else: then it slows down and falls back to the window of duplicates), the last message is not deleted
//! (a work queue deletes what is done), and the stream does not change subjects. The user needs `$JS.API.STREAM.MSG.GET.<stream>`.
//!
//! # Permissions
//! Publish: the subjects of the events, and for better words `$JS.API.INFO`, `$JS.API.STREAM.NAMES`, `$JS.API.STREAM.INFO.*` (for `onewrite
//! check`). Without `STREAM.NAMES`, an event for which there is no stream is tried again instead of parked. Subscribe: `_INBOX.>`, or what
//! `inbox_prefix` says.

mod answer;
mod api;
mod guard;
mod link;
mod login;
mod message;
mod probe;
mod settings;
mod sink;

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options};
use onewrite_core::sink::Finding;
use onewrite_core::{Sink, SinkConnector};

use self::guard::Guard;
use self::link::Link;
use self::settings::Settings;
use crate::limits::NATS_WINDOW_MAX;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

/// What can be configured of the sink `nats`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "urls",
            Kind::List,
            "The servers, tried in turn: nats://HOST:PORT, or tls://HOST:PORT, which is never unencrypted; without user and password.",
        )
    },
    Field {
        default: Some("{topic}"),
        ..field(
            "subject",
            Kind::Template,
            "The subject that an event is published to. A stream must take it.",
        )
    },
    field(
        "stream",
        Kind::Text,
        "The one stream that may take the events. An event whose subject belongs to another is parked.",
    ),
    field("user", Kind::Text, "The user to log in as. Needs password."),
    field("password", Kind::Secret, "The user's password."),
    field("token", Kind::Secret, "A token to log in with."),
    field(
        "credentials_file",
        Kind::Text,
        "A .creds file with a user's JWT and seed. It is read again for each connection.",
    ),
    field(
        "nkey_seed",
        Kind::Secret,
        "The seed of a user's key, which begins with \"SU\".",
    ),
    Field {
        default: Some("1000"),
        ..field(
            "window",
            Kind::Integer {
                min: 1,
                max: NATS_WINDOW_MAX,
            },
            "Events that wait for their acknowledgement at once. Events of one key go one after another, whatever it is.",
        )
    },
    Field {
        default: Some("10s"),
        ..field(
            "ack_timeout",
            Kind::Duration,
            "How long an acknowledgement may take; from 50ms to 30s. What was not acknowledged by then is unknown and is sent again.",
        )
    },
    Field {
        default: Some("false"),
        ..field(
            "expect_last_sequence",
            Kind::Flag,
            "Publish an event only behind the last message of its subject that is known. Keeps an event from being kept twice after outages longer than the stream's duplicate_window, and slows down: one event of a subject at a time. Needs stream.",
        )
    },
    field(
        "domain",
        Kind::Text,
        "The JetStream domain of the streams, where they are behind a leaf node.",
    ),
    field(
        "api_prefix",
        Kind::Text,
        "What the subjects of the JetStream API begin with, where another account imports it; in place of domain. $JS.API where neither is set.",
    ),
    Field {
        default: Some("_INBOX"),
        ..field(
            "inbox_prefix",
            Kind::Text,
            "What the subjects of replies begin with; the user must be allowed to subscribe to what is below it.",
        )
    },
    Field {
        default: Some("false"),
        ..field(
            "tls_first",
            Kind::Flag,
            "Begin with TLS before the server's first word, for servers with handshake_first. Needs tls:// urls.",
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

/// Makes a connector to the servers that the options name. It connects to nothing yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as a URL with a password or a key file that cannot be read.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    let settings = Settings::read(options)?;
    Ok(Arc::new(NatsConnector {
        guard: settings.expect_last_sequence.then(Arc::default),
        settings: Arc::new(settings),
    }))
}

struct NatsConnector {
    settings: Arc<Settings>,
    /// With `expect_last_sequence`; what it knows outlives a connection.
    guard: Option<Arc<Guard>>,
}

#[async_trait]
impl SinkConnector for NatsConnector {
    fn kind(&self) -> &'static str {
        "nats"
    }

    /// Logs in to the first server that takes a connection, and makes sure that JetStream answers.
    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let link = Link::open(&self.settings).await?;
        sink::greet(&self.settings, &link).await?;
        let guard = self.guard.clone();
        Ok(Box::new(sink::NatsSink::new(Arc::clone(&self.settings), guard, link)))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.settings, topics).await
    }
}
