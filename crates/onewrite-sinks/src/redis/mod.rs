//! The sink `redis`: entries of streams, in Redis 5 or later and in Valkey, on a single server or in a cluster.
//!
//! # An entry
//! One event is one entry, by `XADD` with an id of the server's. Its fields:
//!
//! | field | holds |
//! | --- | --- |
//! | `id`, `topic`, `type`, `occurred_at`, `content_type` | as the headers of every wire; `type` is left out where the event has none |
//! | `key` | the event's key; left out where it has none |
//! | `header:NAME` | an event's own header, one field for each |
//! | `payload` | the body, to the byte |
//!
//! With a format that lays down all headers, such as `cloudevents`, they are under `header:NAME`, and beside them stand `key`,
//! `content_type` and `payload` alone.
//!
//! # Acknowledged
//! An event is delivered when the server answered with the entry's id. What that is worth is the server's matter: with
//! `appendonly yes` and `appendfsync always` the entry is on disk; with `everysec`, the default of `appendonly yes`, a crash loses up to
//! about a second; with `appendonly no` everything since the last snapshot. A replica that takes over lacks what had not reached it.
//! `wait_replicas` and `wait_for_disk` ask for more, by `WAIT` and `WAITAOF`; an event is then delivered only when as many replicas
//! and disks as asked for have it. Where fewer have it in time, the entry is there all the same, the event is unknown, and it will
//! be there twice; so the sink then writes nothing more until as many replicas answer again. A maxmemory-policy other than
//! `noeviction` removes whole streams when memory is short, and `max_entries` and `max_age` remove what nobody may have read yet.
//!
//! # Order
//! Redis carries out the commands of a connection in their order, but one that fails does not stop those behind it: a full memory
//! that is relieved between two `XADD`s would let the later event pass the earlier. So what is written at once to one stream goes as
//! one transaction, `MULTI` … `EXEC`, and no key is in two of them. A command that cannot be queued (`OOM`, `READONLY`, `NOPERM`,
//! `MOVED`, `MISCONF`) makes the server discard the whole transaction, and so does a connection that breaks before `EXEC`. What a
//! transaction does *not* undo is an error found only while it is carried out (`WRONGTYPE`); since all its commands are `XADD`s to one
//! stream, and nothing comes between them, such an error meets every command from the first one that it meets. Events of one key that
//! go to different streams wait for each other. So a transaction that was given up and arrives late can only repeat, in order.
//!
//! One transaction of a few hundred entries costs little more than the entries themselves, where sending an event of each key at
//! a time would cost a round trip for each event of the busiest key.
//!
//! # Refusals
//!
//! | answer | what becomes of the event |
//! | --- | --- |
//! | `WRONGTYPE`, `NOPERM` about the stream, an argument longer than the server takes | parked |
//! | `OOM`, `MISCONF`, `NOREPLICAS`, `LOADING`, `BUSY`, `CLUSTERDOWN`, `MASTERDOWN`, `TRYAGAIN` and what is not known | tried again |
//! | `READONLY`, or a broken connection | tried again, after connecting anew: to the first of `urls` that is not a replica |
//! | `MOVED`, `ASK` | sent to the server that the cluster names |
//! | `NOAUTH`, `WRONGPASS`, `NOPERM` about a command, no `WAITAOF` (before Redis 7.2) | the route halts |
//!
//! # A cluster
//! A stream is in one slot, so on one server, and `stream` alone decides which. Streams that a consumer reads by one command must share a
//! hash tag, which is written in braces of the name and therefore in doubled ones in a template: `stream = "{{shop}}.{topic}"`. A
//! cluster's only database is 0.
//!
//! # What the user needs
//! `+xadd +multi +exec +ping`, `+cluster|slots` and `+asking` in a cluster, `+role` to tell replicas among `urls`, `+wait` or `+waitaof`
//! where asked for, and the streams' names (`~shop.*`). `onewrite check` also asks `TYPE` and `INFO`.

mod answer;
mod chunks;
mod connection;
mod entry;
mod nodes;
mod probe;
mod settings;
mod sink;
mod slots;

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::options::{Field, Kind, Options};
use onewrite_core::sink::Finding;
use onewrite_core::{Sink, SinkConnector};

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

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.0, topics).await
    }
}
