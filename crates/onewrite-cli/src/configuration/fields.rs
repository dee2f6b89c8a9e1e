//! What can be configured beside sources and sinks, declared like theirs.

use onewrite_core::limits::GROUPS_MAX;
use onewrite_core::options::{Field, Kind};

/// At the top of the file.
pub const TOP: &[Field] = &[
    Field {
        name: "name",
        kind: Kind::Text,
        default: None,
        required: true,
        doc: "The relay's name: 1 to 64 letters, digits, `-`, `_` and `.`. Several processes of one name on one database are an active one \
              and its standbys, or share the work by `groups`. Progress is recorded under it, so a new name starts from the beginning of \
              the outbox.",
    },
    Field {
        name: "groups",
        kind: Kind::Integer {
            min: 1,
            max: GROUPS_MAX as i64,
        },
        default: Some("1"),
        required: false,
        doc: "Into how many groups of lanes the key space is cut; processes of the relay's name share the groups evenly, each key's \
              events in one of them. Leave it at 1 unless one process is not enough: then it runs alone, and the others stand by. The same \
              in all processes: those of another number wait until the others have ended. PostgreSQL's native outbox alone. See \
              docs/high-availability.md.",
    },
];

/// Each `[[routes]]`.
pub const ROUTE: &[Field] = &[
    Field {
        name: "name",
        kind: Kind::Text,
        default: None,
        required: true,
        doc: "The route's name, unique in the file: 1 to 64 letters, digits, `-`, `_` and `.`. Progress is recorded under it. \
              `unrouted` is taken: it stands for the events that no route takes.",
    },
    Field {
        name: "sink",
        kind: Kind::Text,
        default: None,
        required: true,
        doc: "The sink that the events go to: the NAME of a section [sinks.NAME].",
    },
    Field {
        name: "topic",
        kind: Kind::Template,
        default: Some("{topic}"),
        required: false,
        doc: "The topic at the sink. {topic}, {key}, {type}, {id} and {header.NAME} stand for what the event has, {key|none} for \
              none where it has no key.",
    },
    Field {
        name: "format",
        kind: Kind::Text,
        default: Some("native"),
        required: false,
        doc: "What an event looks like on the wire: the NAME of a section [formats.NAME], or one of native, json, cloudevents and \
              debezium with their defaults.",
    },
    Field {
        name: "on_poison",
        kind: Kind::Choice(&["park", "block_key", "halt"]),
        default: Some("park"),
        required: false,
        doc: "What happens when the sink will never accept an event. `park` sets it aside and goes on, `block_key` also holds the \
              later events of its key behind it, `halt` stops the route until an operator resumes it.",
    },
    Field {
        name: "max_in_flight_events",
        kind: Kind::Integer { min: 1, max: 1_000_000 },
        default: Some("10000"),
        required: false,
        doc: "Most events between being read and being recorded as settled. It bounds the duplicates after a crash.",
    },
    Field {
        name: "max_in_flight_bytes",
        kind: Kind::Bytes,
        default: Some("16MiB"),
        required: false,
        doc: "Most bytes of events in memory. A single larger event is still let through, alone.",
    },
    Field {
        name: "batch_events",
        kind: Kind::Integer { min: 1, max: 100_000 },
        default: Some("2000"),
        required: false,
        doc: "Most events of one delivery.",
    },
    Field {
        name: "batch_bytes",
        kind: Kind::Bytes,
        default: Some("4MiB"),
        required: false,
        doc: "Most bytes of one delivery.",
    },
    Field {
        name: "concurrent_batches",
        kind: Kind::Integer { min: 1, max: 256 },
        default: Some("4"),
        required: false,
        doc: "Deliveries under way at once. No two of them share a key.",
    },
    Field {
        name: "delivery_timeout",
        kind: Kind::Duration,
        default: Some("60s"),
        required: false,
        doc: "How long one delivery may take, at least 100ms. Events without an answer by then are tried again.",
    },
    Field {
        name: "backoff_max",
        kind: Kind::Duration,
        default: Some("30s"),
        required: false,
        doc: "Longest wait between two tries, at least 100ms. Waits begin at 100ms and double, with a random part.",
    },
];

/// The keys of a route's `match`.
pub const MATCH: &[Field] = &[
    Field {
        name: "topic",
        kind: Kind::Text,
        default: None,
        required: false,
        doc: "The topics to take; `*` stands for any run of characters. Left out: every topic.",
    },
    Field {
        name: "type",
        kind: Kind::Text,
        default: None,
        required: false,
        doc: "The types to take; `*` stands for any run of characters. Left out: every type, and events without one.",
    },
];

/// `[log]`.
pub const LOG: &[Field] = &[
    Field {
        name: "format",
        kind: Kind::Choice(&["auto", "human", "json"]),
        default: Some("auto"),
        required: false,
        doc: "How log lines look. `auto` is for people on a terminal and JSON otherwise. They go to standard error.",
    },
    Field {
        name: "level",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        default: Some("info"),
        required: false,
        doc: "How much is logged. The variable RUST_LOG and the option --log stand over it and can name modules as well.",
    },
];

/// `[lease]`.
pub const LEASE: &[Field] = &[Field {
    name: "ttl",
    kind: Kind::Duration,
    default: Some("10s"),
    required: false,
    doc: "How long the right to relay lasts without being renewed, from 2s to 10m: after a crash, another process takes over \
          within this time and a second.",
}];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use onewrite_core::limits::LEASE_TTL;
    use onewrite_core::machine::RouteBehaviour;
    use onewrite_core::options::Options;

    use super::*;
    use crate::configuration::route::behaviour;

    #[test]
    fn defaults_are_those_of_the_engine() {
        let options = Options::from_texts("routes.0", ROUTE, &[("name", "r"), ("sink", "s")]).unwrap();
        assert_eq!(behaviour(&options), RouteBehaviour::default());
        let lease = Options::from_texts("lease", LEASE, &[]).unwrap();
        assert_eq!(lease.duration("ttl"), Some(LEASE_TTL));
        assert!(RouteBehaviour::default().backoff.first >= Duration::from_millis(100));
    }
}
