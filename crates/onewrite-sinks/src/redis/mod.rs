//! The sink `redis`: entries of streams, in Redis 5 or later and in Valkey, on a single server or in a cluster.
//!
#![doc = include_str!("guide.md")]

mod answer;
mod chunks;
mod connection;
mod entry;
mod heard;
mod nodes;
mod probe;
mod readback;
mod settings;
mod sink;
mod slots;

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options, field};
use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};

#[cfg(any(test, fuzzing))]
pub(crate) use self::answer::fuzz;
use self::settings::Settings;
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

/// What can be configured of the sink `redis`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "urls",
            Kind::List,
            "Where servers are: redis:// or rediss:// (TLS), host and port, tried in turn until one is found that is not a replica. In a cluster any of its servers will do.",
        )
    },
    Field {
        default: Some("{topic}"),
        ..field(
            "stream",
            Kind::Template,
            "The stream that an event goes to. In a cluster, a hash tag is written in doubled braces: \"{{shop}}.{topic}\".",
        )
    },
    Field {
        default: Some("auto"),
        ..field(
            "mode",
            Kind::Choice(&["auto", "single", "cluster"]),
            "Whether there is one server, perhaps with replicas, or a cluster; \"auto\" asks the server.",
        )
    },
    field(
        "user",
        Kind::Text,
        "The user of the server's access control list; without it, \"default\".",
    ),
    field("password", Kind::Secret, "The user's password."),
    Field {
        default: Some("0"),
        ..field(
            "database",
            Kind::Integer { min: 0, max: 65_535 },
            "The number of the database. A cluster has only 0.",
        )
    },
    field(
        "max_entries",
        Kind::Integer { min: 1, max: i64::MAX },
        "How many entries a stream keeps; older ones are removed, read or not. Without it and max_age nothing is removed.",
    ),
    field(
        "max_age",
        Kind::Duration,
        "How long a stream keeps an entry, by the relay's clock; older ones are removed, read or not.",
    ),
    Field {
        default: Some("approximate"),
        ..field(
            "trim",
            Kind::Choice(&["approximate", "exact"]),
            "Whether max_entries and max_age are kept to roughly, which is much cheaper for the server, or to the entry.",
        )
    },
    Field {
        default: Some("0"),
        ..field(
            "wait_replicas",
            Kind::Integer { min: 0, max: 100 },
            "How many replicas must have an event before it counts as delivered.",
        )
    },
    Field {
        default: Some("false"),
        ..field(
            "wait_for_disk",
            Kind::Flag,
            "Whether an event counts as delivered only when it is on the server's disk, and on that of wait_replicas replicas. Needs Redis 7.2 or later and \"appendonly yes\".",
        )
    },
    Field {
        default: Some("1s"),
        ..field(
            "wait_timeout",
            Kind::Duration,
            "How long replicas and disks are waited for; from 1ms to 20s. What they do not have by then is unknown and is sent again.",
        )
    },
    Field {
        default: Some("15s"),
        ..field(
            "timeout",
            Kind::Duration,
            "How long an answer may take; from 50ms to 30s. What was not answered by then is unknown and is sent again.",
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
    Ok(Arc::new(RedisConnector(Arc::new(Settings::read(options)?))))
}

struct RedisConnector(Arc<Settings>);

#[async_trait]
impl SinkConnector for RedisConnector {
    fn kind(&self) -> &'static str {
        "redis"
    }

    /// Connects to the first server that answers and is not a replica, and makes sure that transactions and waits work.
    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let nodes = nodes::Nodes::connect(Arc::clone(&self.0)).await?;
        Ok(Box::new(sink::RedisSink::new(Arc::clone(&self.0), nodes)))
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Ok(Box::new(readback::RedisReadBack(Arc::clone(&self.0))))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.0, topics).await
    }
}
