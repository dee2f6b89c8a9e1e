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

/// Longest name of a queue or a queue manager of IBM MQ, in bytes (MQ_Q_NAME_LENGTH, MQ_Q_MGR_NAME_LENGTH).
pub const IBMMQ_NAME_BYTES_MAX: usize = 48;

/// Longest topic string of IBM MQ, in bytes (MQ_TOPIC_STR_LENGTH).
pub const IBMMQ_TOPIC_BYTES_MAX: usize = 10_240;

/// The longest expiry that the messaging REST API of IBM MQ takes.
pub const IBMMQ_EXPIRY_MAX: Duration = Duration::from_millis(99_999_999_900);

/// How long a connection to mqweb may lie idle: less than the 30 seconds after which its web server closes one, which a request on
/// its way would not survive.
pub const IBMMQ_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Most messages of one batch of SQS.
pub const SQS_BATCH_ENTRIES_MAX: usize = 10;

/// Most attributes of one message of SQS.
pub const SQS_ATTRIBUTES_MAX: usize = 10;

/// Longest name of an attribute of SQS, in bytes.
pub const SQS_ATTRIBUTE_NAME_BYTES_MAX: usize = 256;

/// Longest name of a message group of SQS, in bytes.
pub const SQS_GROUP_BYTES_MAX: usize = 128;

/// Largest message of SQS, and largest batch, in bytes: 1 MiB since August 2025, 256 KiB before and where a queue is set so.
pub const SQS_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
