//! Every limit of what an application may append, with its unit and its reason.
//!
//! The databases enforce the same figures by CHECK constraints, so that an `INSERT` from any language meets them too.

/// Longest topic, in bytes. Kafka allows 249 characters and AMQP short strings 255 bytes; the smaller fits everywhere.
pub const TOPIC_BYTES_MAX: usize = 249;

/// Longest key, in bytes. A key names one aggregate; 1 KiB leaves room for compound keys and keeps lanes and headers small.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest event type, in bytes: the length of an AMQP short string, where brokers keep it.
pub const TYPE_BYTES_MAX: usize = 255;

/// Longest content type, in bytes: the length of an AMQP short string, where brokers keep it.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// Most headers of one event: HTTP servers commonly refuse requests with more than 100 fields; some stay free for Onewrite's own.
pub const HEADERS_MAX: usize = 64;

/// Longest all header names and values of one event together, in bytes: half of the 16 KiB that common HTTP servers accept.
pub const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// Largest payload, in bytes. PostgreSQL decodes far larger ones badly (a text-mode slot fails past about 512 MB), and no
/// broker in common use takes them by default.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest name of a consumer in the inbox, in bytes: a name for people, and a part of every key of the inbox.
pub const CONSUMER_BYTES_MAX: usize = 255;

/// Most bytes of payload that `append_all` sends in one statement. It bounds what client and server hold at once; a single
/// larger event still goes, alone.
pub const APPEND_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most events that `append_all` sends in one statement, so that small ones are bounded too.
pub const APPEND_EVENTS_MAX: usize = 10_000;

/// Most rows that one call of `prune_inbox` removes, so that none holds its transaction open for long.
pub const PRUNE_ROWS_MAX: i64 = 10_000;

/// Shortest time that one segment of a PostgreSQL outbox is in use before the next one's turn, in seconds.
pub const ROTATION_SECONDS_MIN: u32 = 1;

/// Longest time that one segment of a PostgreSQL outbox is in use, in seconds: 31 days. Space is only freed by whole segments.
pub const ROTATION_SECONDS_MAX: u32 = 31 * 24 * 3600;

/// How much longer than the retention two rotations must be, in seconds. A segment can be emptied from the end of its turn until
/// two rotations later; within what the retention leaves of that the relay looks every 30 s, and a look may meet a lock.
pub const ROTATION_SLACK_SECONDS: u32 = 120;

/// Longest time that events in a PostgreSQL outbox can be kept after they were settled, in seconds: what fits into two of the
/// longest rotations.
pub const RETENTION_SECONDS_MAX: u32 = 2 * ROTATION_SECONDS_MAX - ROTATION_SLACK_SECONDS;

/// Longest name of a role, in bytes: PostgreSQL silently cuts longer ones, and they would mean another role.
pub const ROLE_BYTES_MAX: usize = 63;
