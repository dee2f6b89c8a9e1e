//! The sink `nats`: streams of NATS JetStream.
//!
#![doc = include_str!("guide.md")]

mod answer;
mod api;
mod guard;
mod known;
mod link;
mod login;
mod message;
mod probe;
mod readback;
mod settings;
mod sink;

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options, field};
use onewrite_core::sink::{CloudEventsBinding, Finding};
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};

#[cfg(any(test, fuzzing))]
pub(crate) use self::answer::fuzz;
use self::guard::Guard;
use self::link::Link;
use self::settings::Settings;
use crate::limits::NATS_WINDOW_MAX;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::turns::Turns;

/// What can be configured of the sink `nats`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "urls",
            Kind::List,
            "The servers, tried in turn, another first each time: nats://HOST:PORT, or tls://HOST:PORT, which is never unencrypted; without user and password.",
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

/// Makes a connector to the servers that the options name. It connects to nothing yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as a URL with a password or a key file that cannot be read.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    let settings = Settings::read(options)?;
    Ok(Arc::new(NatsConnector {
        guard: settings.expect_last_sequence.then(Arc::default),
        known: Arc::default(),
        turns: Turns::default(),
        settings: Arc::new(settings),
    }))
}

struct NatsConnector {
    settings: Arc<Settings>,
    /// With `expect_last_sequence`; what it knows outlives a connection.
    guard: Option<Arc<Guard>>,
    known: Arc<known::Known>,
    turns: Turns,
}

#[async_trait]
impl SinkConnector for NatsConnector {
    fn kind(&self) -> &'static str {
        "nats"
    }

    /// As the binding for NATS has it since NATS has headers (CloudEvents, NATS protocol binding 1.0.3, sections 3.1.2 and 3.1.3).
    fn cloudevents(&self) -> CloudEventsBinding {
        CloudEventsBinding {
            percent_encoded: true,
            data_content_type: true,
            ..CloudEventsBinding::prefixed("ce-")
        }
    }

    /// Logs in to the server whose turn it is, or to the first after it that takes a connection, and makes sure that JetStream answers.
    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let link = Link::open(&self.settings, &self.turns).await?;
        sink::greet(&self.settings, &link).await?;
        let guard = self.guard.clone();
        Ok(Box::new(sink::NatsSink::new(
            Arc::clone(&self.settings),
            guard,
            Arc::clone(&self.known),
            link,
        )))
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Ok(Box::new(readback::NatsReadBack(Arc::clone(&self.settings))))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.settings, topics).await
    }
}
