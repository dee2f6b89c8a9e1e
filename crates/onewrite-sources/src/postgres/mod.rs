//! PostgreSQL 14 and later: by plain SQL, which works behind a transaction pooler, and by the write-ahead log.

/// The condition under which a statement may write for the route `$2` of the relay `$1` at epoch `$3`. The route's own epoch
/// is that of whoever adopted it last, and is compared under a lock where a statement had to wait; the relay's is newer
/// between the next holder's taking the lease and its adopting the routes. A relay gives an epoch out once, so that it says which
/// group's rows are meant as well.
macro_rules! still_held {
    () => {
        "EXISTS (SELECT 1 FROM onewrite.route WHERE relay = $1 AND name = $2 AND epoch = $3 \
         AND EXISTS (SELECT 1 FROM onewrite.relay WHERE name = $1 AND epoch = $3))"
    };
}

/// Whether a row of `onewrite.relay` stands for a lease that lasts. One that was renewed in the future does not: the database's clock has
/// gone back since, and whoever is gone must not hold the lease for hours. Who lives renews it by the present clock within a second.
macro_rules! lasts {
    () => {
        "relay.holder IS NOT NULL AND relay.expires_at > clock_timestamp() \
         AND (relay.renewed_at > clock_timestamp() + interval '1 second') IS NOT TRUE"
    };
}

/// The same of a member, whose time is never longer than a lease can be (ten minutes).
macro_rules! lives {
    () => {
        "member.expires_at > clock_timestamp() AND member.expires_at < clock_timestamp() + interval '15 minutes'"
    };
}

mod adopt;
mod alarms;
mod asked;
mod blocked;
pub(crate) mod connection;
pub(crate) mod error;
pub mod feed;
mod filter;
mod foreign;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod ground;
mod lanes;
mod lease;
mod log;
mod maintain;
mod native;
mod operations;
mod outbox;
mod parking;
mod progress;
mod reading;
mod record;
mod redeliveries;
mod rows;
mod session;
mod snapshot;

use onewrite_core::StoreError;
use onewrite_core::options::{Field, Kind, Options};

pub use ground::PostgresGround;
pub use operations::{LONG_TRANSACTION, PostgresOperations};
pub(crate) use outbox::NOT_SPREAD;
pub use outbox::PostgresOutbox;
pub use session::LAST_SEQUENCE;

use self::connection::{CA_FILE, CONNECT_TIMEOUT, PASSWORD, URL};
use self::foreign::fields::{
    COLUMNS, CONVERTERS, MARK_COLUMN, MARK_VALUE, MESSAGES, ORDER_BY, PUBLICATION, ROUTER, SETTLE, TABLE, TOPIC,
    UNMARKED_VALUE,
};

/// How new events are to be found: the option `feed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WantedFeed {
    /// By the log where that can be followed, else by polling.
    Auto,
    /// By the log; where that cannot be followed at all, a person must change something first.
    Wal,
    /// By polling alone.
    Poll,
}

impl WantedFeed {
    fn of(options: &Options) -> Self {
        match options.text("feed") {
            Some("wal") => Self::Wal,
            Some("poll") => Self::Poll,
            _ => Self::Auto,
        }
    }
}

/// What can be configured of a PostgreSQL source.
pub const FIELDS: &[Field] = &[
    URL,
    PASSWORD,
    CA_FILE,
    CONNECT_TIMEOUT,
    Field {
        name: "feed",
        kind: Kind::Choice(&["auto", "wal", "poll"]),
        default: Some("auto"),
        required: false,
        doc: "How new events are found. `wal` follows the write-ahead log and brings events within milliseconds; it needs \
              the wal_level `logical` and a role with REPLICATION. `poll` asks the database again and again, every 2 ms while there are \
              events and every 250 ms while there are none; it needs no privilege beyond reading. `auto` follows the log where that \
              is possible and polls where and while it is not; `onewrite status` tells which and why.",
    },
    Field {
        name: "contract",
        kind: Kind::Choice(&["native", "columns", "debezium"]),
        default: Some("native"),
        required: false,
        doc: "Whose outbox it is. `native` is Onewrite's own table. `columns` is any table, by the options `table` and `columns`. `debezium` \
              is the table (or the logical messages) of Debezium's outbox event router, by `table` (or `messages`) and `router`; to Kafka \
              go the records that Debezium would have written. See the guide docs/contracts.md.",
    },
    Field {
        name: "retention",
        kind: Kind::Duration,
        default: Some("0s"),
        required: false,
        doc: "How long events are kept at least after they were recorded, for replays; at most `61d`. Space is freed by whole segments, \
              which are in use by turns of an hour or, where the retention asks for it, of a little more than half of it: run \
              `onewrite migrate` after raising it, which fits the turns to it.",
    },
    TABLE,
    COLUMNS,
    TOPIC,
    SETTLE,
    MARK_COLUMN,
    MARK_VALUE,
    UNMARKED_VALUE,
    ORDER_BY,
    MESSAGES,
    ROUTER,
    CONVERTERS,
    PUBLICATION,
];

/// Operations on the database that the options name.
///
/// # Errors
/// `Refused`, naming the key and what is wrong with it.
pub fn operations(options: &Options) -> Result<PostgresOperations, StoreError> {
    PostgresOperations::from_options(options)
}
