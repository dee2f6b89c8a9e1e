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

/// Most bytes of a frame of AMQP 0-9-1 where the broker names no limit: RabbitMQ's own default.
pub const AMQP_FRAME_BYTES_DEFAULT: u32 = 128 * 1024;

/// Most bytes of a frame of AMQP 0-9-1 that the sink agrees to: larger ones only let a long message hold up the others.
pub const AMQP_FRAME_BYTES_MAX: u32 = 1024 * 1024;

/// Channels of one connection to RabbitMQ that the sink may open: one for the stream of events, one for those that go alone.
pub const AMQP_CHANNELS: u16 = 4;

/// Heartbeats of RabbitMQ that may fail to come before the connection counts as broken: two, as its own clients have it.
pub const AMQP_SILENCE_HEARTBEATS: u32 = 2;

/// How long RabbitMQ has to answer the good-bye of a connection.
pub const AMQP_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long connecting to RabbitMQ may take over all addresses, within core's
/// [`CONNECT_TIMEOUT`](onewrite_core::limits::CONNECT_TIMEOUT).
pub const RABBITMQ_CONNECT_TIMEOUT: Duration = Duration::from_secs(24);

/// Most that one of several addresses of RabbitMQ gets of it: a machine that is there answers within a second.
pub const RABBITMQ_CONNECT_TIMEOUT_EACH: Duration = Duration::from_secs(10);

/// How long one delivery goes on publishing to RabbitMQ; what is left by then is for the next delivery.
pub const RABBITMQ_START_WINDOW: Duration = Duration::from_secs(25);

/// How long a delivery waits for a broker that blocks publishers. It is asked again after core's backoff.
pub const RABBITMQ_BLOCKED_WAIT: Duration = Duration::from_secs(10);

/// How long a delivery waits for RabbitMQ's confirms, so that core hears what is wrong before its own
/// [`DELIVERY_TIMEOUT`](onewrite_core::limits::DELIVERY_TIMEOUT) ends it.
pub const RABBITMQ_CONFIRM_TIMEOUT: Duration = Duration::from_secs(50);

/// How long RabbitMQ may confirm no message at all while some are on their way.
pub const RABBITMQ_SILENCE: Duration = Duration::from_secs(10);

/// How long an exchange that was not there, or not to be written to, is taken to be so without asking again.
pub const RABBITMQ_LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Most exchanges and queues of a connection whose state is remembered; past it they are looked at again.
pub const RABBITMQ_DESTINATIONS_MAX: usize = 10_000;

/// Most events that are remembered as having been on their way when RabbitMQ closed a channel: more than a window holds.
pub const RABBITMQ_SUSPECTS_MAX: usize = 20_000;

/// Longest text in AMQP 0-9-1 that has one byte for its length: names, routing keys, most properties, and names of headers.
pub const AMQP_SHORT_TEXT_BYTES_MAX: usize = 255;
