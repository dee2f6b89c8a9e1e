//! What a campaign runs with.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

/// How the relay finds new events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Feed {
    /// It asks the table.
    Poll,
    /// It follows the log.
    Wal,
}

/// Which broker stands at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SinkType {
    /// Apache Kafka.
    Kafka,
    /// RabbitMQ, a quorum queue behind an exchange.
    #[value(name = "rabbitmq")]
    RabbitMq,
    /// NATS JetStream.
    Nats,
    /// Redis, a stream.
    Redis,
    /// ActiveMQ Artemis.
    Amqp1,
    /// Mosquitto.
    Mqtt,
    /// An HTTP endpoint.
    Http,
}

/// What a campaign runs with.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The program `onewrite`.
    pub program: PathBuf,
    /// A program that is the relay in its place, with its first arguments.
    pub mutant: Option<(PathBuf, String)>,
    /// How the relay finds new events.
    pub source: Feed,
    /// Which broker stands at the end.
    pub sink: SinkType,
    /// PostgreSQL's major version.
    pub version: u32,
    /// Whether small file systems can be mounted.
    pub small_disks: bool,
    /// Whether a process can be given another clock.
    pub clock: bool,
}

/// Where Debian has the library that gives a process another clock.
pub const CLOCK_LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

impl Setting {
    /// The usual, with what this machine can do.
    pub fn new(program: &Path, source: Feed, sink: SinkType) -> Self {
        Self {
            program: program.to_owned(),
            mutant: None,
            source,
            sink,
            version: 17,
            small_disks: rustix::process::getuid().is_root(),
            clock: Path::new(CLOCK_LIBRARY).exists(),
        }
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Poll => "poll",
            Self::Wal => "wal",
        })
    }
}

impl fmt::Display for SinkType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kafka => "kafka",
            Self::RabbitMq => "rabbitmq",
            Self::Nats => "nats",
            Self::Redis => "redis",
            Self::Amqp1 => "amqp1",
            Self::Mqtt => "mqtt",
            Self::Http => "http",
        })
    }
}
