//! Every limit of the sinks, with its unit and its reason.

use std::time::Duration;

/// How far back a file is read at a time, in bytes, in search of its last line break.
pub const READ_BACK_BYTES: usize = 64 * 1024;

/// Most bytes that are read of an HTTP response to one event: enough for any words that a person would read.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// Most bytes that are read of an HTTP response to a batch: a list of failures with 256 bytes for each of the most events.
pub const BATCH_RESPONSE_BYTES_MAX: usize = 256 * 1024;

/// Most characters of an HTTP response that are kept as the words of an error.
pub const RESPONSE_WORDS_MAX: usize = 1_000;

/// Payload bytes after which an HTTP batch takes no further event: common servers accept a body of 1 MiB by default.
pub const HTTP_BATCH_BYTES: usize = 768 * 1024;

/// The longest pause that a server can ask for with `Retry-After`: past it, looking again costs nobody anything.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The shortest time that an HTTP response can be waited for: below it every slow moment would be a failure.
pub const HTTP_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// The longest time that an HTTP response can be waited for. With [`HTTP_START_WINDOW`] it stays within
/// [`DELIVERY_TIMEOUT`](onewrite_core::limits::DELIVERY_TIMEOUT), after which core would give the whole batch up.
pub const HTTP_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// How long one delivery goes on starting HTTP requests; what is left by then is for the next delivery.
pub const HTTP_START_WINDOW: Duration = Duration::from_secs(25);

/// How long connecting to an HTTP server may take, looking up its name included.
pub const HTTP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Failed HTTP requests in a row, with none accepted among them, after which a delivery starts no further ones: the
/// server is in trouble, and the rest of the batch would only add to it.
pub const HTTP_FAILURES_IN_A_ROW: u32 = 8;

/// A server's certificate that is valid for a shorter time is told of by `onewrite check`.
pub const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 86_400);

/// The shortest time that an AMQP 1.0 acknowledgement can be waited for: below it every slow moment would be a failure.
pub const AMQP1_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// The longest time that an AMQP 1.0 acknowledgement can be waited for. With [`AMQP1_START_WINDOW`], [`AMQP1_ATTACH_TIMEOUT`] and
/// [`AMQP1_CREDIT_TIMEOUT`] it stays within [`DELIVERY_TIMEOUT`](onewrite_core::limits::DELIVERY_TIMEOUT).
pub const AMQP1_TIMEOUT_MAX: Duration = Duration::from_secs(15);

/// How long one delivery goes on starting AMQP 1.0 messages; what is left by then is for the next delivery.
pub const AMQP1_START_WINDOW: Duration = Duration::from_secs(20);

/// How long an AMQP 1.0 link may take to attach, the look at what its address is included.
pub const AMQP1_ATTACH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a message waits for an AMQP 1.0 broker's credit before its key is tried again later.
pub const AMQP1_CREDIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one AMQP 1.0 broker may take to open a connection: with three of them that is core's own limit.
pub const AMQP1_OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an AMQP 1.0 connection or link may take to end in an orderly way before it is dropped.
pub const AMQP1_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The shortest and longest AMQP 1.0 idle time: a shorter one breaks connections that are merely slow, and a longer one is noticed by
/// nobody.
pub const AMQP1_IDLE_TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(600);

/// Messages that wait for one AMQP 1.0 link: enough that none of them waits for the task that sends.
pub const AMQP1_LINK_QUEUE: usize = 64;

/// AMQP 1.0 addresses that are remembered as having taken events: some hundred bytes each.
pub const AMQP1_ADDRESSES_KNOWN: usize = 10_000;

/// Most bytes of what an AMQP 1.0 broker says first that are kept to read its product and version from.
pub const AMQP1_GREETING_BYTES: usize = 64 * 1024;
