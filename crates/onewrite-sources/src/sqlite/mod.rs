//! SQLite: an outbox in a file, for one machine; the relay runs in the application's process or beside it.

mod feed;
mod operations;
mod outbox;
mod place;
mod redeliveries;
mod replays;
mod rows;
mod status;
mod worker;

use onewrite_core::options::{Field, Kind};

pub use operations::SqliteOperations;
pub use outbox::SqliteOutbox;
pub use place::Place;

/// What can be configured of an SQLite source.
pub const FIELDS: &[Field] = &[
    Field {
        name: "url",
        kind: Kind::Text,
        default: None,
        required: true,
        doc: "The database's file: a path such as `shop.db`, or `sqlite:///var/lib/shop.db`. `onewrite migrate` makes it.",
    },
    Field {
        name: "retention",
        kind: Kind::Duration,
        default: Some("1h"),
        required: false,
        doc: "How long settled events are kept after they were recorded, for replays. `0s` deletes them at once.",
    },
    Field {
        name: "busy_timeout",
        kind: Kind::Duration,
        default: Some("10s"),
        required: false,
        doc: "How long the relay waits for a writer to finish before it counts the database as unavailable and tries again.",
    },
];
