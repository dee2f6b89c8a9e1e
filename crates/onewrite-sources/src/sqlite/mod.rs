//! SQLite: an outbox in a file, for one machine; the relay runs in the application's process or beside it.
//!
//! The file should be in WAL mode, as `onewrite migrate` leaves it. Applications may write with `synchronous = NORMAL`: the
//! relay's own commits make durable what it read before it hands anything out. With `synchronous = OFF` SQLite promises
//! nothing after a power cut, and so does the relay.

mod adopt;
mod alarms;
mod error;
mod feed;
mod ground;
mod maintain;
mod operations;
mod outbox;
mod parking;
mod place;
mod progress;
mod reading;
mod redeliveries;
mod rows;
mod worker;

use onewrite_core::options::{Field, Kind};

pub use ground::SqliteGround;
pub use operations::SqliteOperations;
pub(crate) use outbox::NOT_SPREAD;
pub use outbox::SqliteOutbox;
pub use place::Place;

/// What can be configured of an SQLite source.
pub const FIELDS: &[Field] = &[
    Field {
        name: "url",
        kind: Kind::Text,
        default: None,
        required: true,
        doc: "The database's file: a path such as `shop.db`, `sqlite:shop.db` or `sqlite:///var/lib/shop.db`. `onewrite migrate` makes \
              it where it is not there; nothing else does.",
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
        default: Some("5s"),
        required: false,
        doc: "How long the relay waits for another writer to finish before it counts the database as unavailable and tries again; at \
              most `60s`. A transaction that writes for longer than a lease lasts (10 s) makes the relay give its lease up.",
    },
];
