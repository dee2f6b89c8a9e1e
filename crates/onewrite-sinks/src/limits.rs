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

/// The longest time that an HTTP response can be waited for. With [`START_WINDOW`] it stays within
/// [`DELIVERY_TIMEOUT`](onewrite_core::limits::DELIVERY_TIMEOUT), after which core would give the whole batch up.
pub const HTTP_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// How long one delivery goes on starting requests, or sending messages; what is left by then is for the next delivery.
pub const START_WINDOW: Duration = Duration::from_secs(25);

/// How long connecting to all servers of a sink, one after another, may take, within core's
/// [`CONNECT_TIMEOUT`](onewrite_core::limits::CONNECT_TIMEOUT).
pub const SERVERS_CONNECT_TIME: Duration = Duration::from_secs(24);

/// Most that one of several servers gets of it, TLS and login included: a machine that is there answers within a second.
pub const SERVER_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connecting to an HTTP server may take, looking up its name included.
pub const HTTP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Events, or requests, that fail in a row for a reason that may pass, with none accepted among them, after which a delivery
/// starts no further ones: the broker is in trouble, and the rest of the batch would only add to it.
pub const FAILURES_IN_A_ROW: u32 = 8;

/// A server's certificate that is valid for a shorter time is told of by `onewrite check`.
pub const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 86_400);

/// Most NATS messages that wait for their acknowledgement at once: more gain nothing, and each holds its payload.
pub const NATS_WINDOW_MAX: i64 = 4_000;

/// The shortest time that a NATS acknowledgement can be waited for: below it every slow moment would be a failure.
pub const NATS_ACK_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// The longest time that a NATS acknowledgement can be waited for. With [`START_WINDOW`] it stays within
/// [`DELIVERY_TIMEOUT`](onewrite_core::limits::DELIVERY_TIMEOUT), after which core would give the whole batch up.
pub const NATS_ACK_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Most that one of several NATS servers gets of [`NATS_CONNECT_TIME`], with TLS and login.
pub const NATS_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long connecting to all NATS servers, one after another, may take: what core allows for connecting, less what the first question
/// then takes.
pub const NATS_CONNECT_TIME: Duration = Duration::from_secs(20);

/// How long JetStream may take to answer the question that ends connecting; with [`NATS_CONNECT_TIME`] it stays within what
/// core allows.
pub const NATS_GREETING_TIMEOUT: Duration = Duration::from_secs(8);

/// How long an answer is still waited for after a NATS server said that a message to the same subject is not allowed.
pub const NATS_DENIAL_GRACE: Duration = Duration::from_millis(500);

/// Longest subject in bytes: a NATS server ends the connection at a line of control of more than 4,096 bytes
/// (`max_control_line`), and the subject shares it with that of the reply.
pub const NATS_SUBJECT_BYTES_MAX: usize = 3_500;

/// How often a message is published behind another last message before its event is left for a later delivery: enough for
/// a writer now and then, not for one that never pauses.
pub const NATS_GUARD_TRIES: u32 = 4;

/// Ids of last messages that are remembered: one for each answer that was lost, and one for each subject that was looked at. A full
/// window of answers can be lost 25 times before the first of them is delivered again. Some 100 bytes each.
pub const NATS_GUARD_SEEN: usize = 100_000;

/// Subjects whose last sequences are remembered before those that nobody holds are forgotten, to be asked for again; some 200 bytes each.
pub const NATS_GUARDED_SUBJECTS: usize = 20_000;

/// NATS subjects that are remembered as having been taken by a stream: some hundred bytes each.
pub const NATS_SUBJECTS_KNOWN: usize = 10_000;

/// The window of duplicates below which `onewrite check` warns: an outage of a NATS cluster that takes longer than this has
/// people at work on it.
pub const NATS_DUPLICATE_WINDOW: Duration = Duration::from_secs(3600);

/// How long connecting to one Redis server may take: the connection, TLS, and all that is asked before it is used.
/// Three addresses in turn stay within core's own limit.
pub const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(9);

/// The shortest time that a Redis answer can be waited for: below it every slow moment would be a failure.
pub const REDIS_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// The longest time that a Redis answer can be waited for, within
/// [`DELIVERY_TIMEOUT`](onewrite_core::limits::DELIVERY_TIMEOUT).
pub const REDIS_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// The longest time that replicas, or disks, can be waited for.
pub const REDIS_WAIT_MAX: Duration = Duration::from_secs(20);

/// Most servers of a cluster of Redis that are known at once: its specification names a thousand as the end of what is reasonable, and
/// an answer with more of them is not to fill the memory.
pub const REDIS_SERVERS_MAX: usize = 4096;

/// Most entries of one Redis transaction: the server does nothing else while it carries one out, and so many take it about a
/// millisecond.
pub const REDIS_CHUNK_EVENTS: usize = 512;

/// Most entries that are written at once to one stream of Redis without a transaction: enough that writing costs little for each, and
/// few enough that the server has something to do while the next are put together.
pub const REDIS_PIPELINE_EVENTS: usize = 128;

/// Payload bytes after which a Redis transaction takes no further entry, for the same reason.
pub const REDIS_CHUNK_BYTES: usize = 1024 * 1024;

/// Redis takes no lower value than this for `proto-max-bulk-len`, in bytes: a shorter argument is never refused for its length.
pub const REDIS_BULK_BYTES_ALWAYS: usize = 1024 * 1024;

/// Writes of one delivery to Redis under way at once, on one connection: past a handful it only fills buffers.
pub const REDIS_CHUNKS_UNDER_WAY: usize = 64;

/// Connections to each Redis server where replicas or disks are waited for, since the wait holds up what follows it on its
/// connection: one for each delivery of a route that core has under way.
pub const REDIS_WAITING_CONNECTIONS: usize = onewrite_core::limits::CONCURRENT_BATCHES;

/// How often in a row a Redis cluster may send one transaction to another server: a slot that moves on is told once or twice.
pub const REDIS_REDIRECTS_MAX: usize = 5;

/// The shortest time that an MQTT acknowledgement can be waited for: below it every slow moment would be a failure.
pub const MQTT_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// The longest time that an MQTT acknowledgement can be waited for. With [`START_WINDOW`] it stays within
/// [`DELIVERY_TIMEOUT`](onewrite_core::limits::DELIVERY_TIMEOUT).
pub const MQTT_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// The longest `keep_alive` of MQTT, which has two bytes for its seconds.
pub const MQTT_KEEP_ALIVE_MAX: Duration = Duration::from_secs(65_535);

/// The longest text that MQTT can hold, in bytes: it has two bytes for the length.
pub const MQTT_TEXT_BYTES_MAX: usize = 65_535;

/// For how many seconds an MQTT broker is asked to keep the session in which `onewrite verify` reads back: longer than any absence of a
/// broker that is waited for, and not for ever where verify itself is killed.
pub const MQTT_VERIFY_SESSION_SECONDS: u32 = 3600;

/// The largest packet that `onewrite verify` takes from an MQTT broker, in bytes: the largest that there is (MQTT 5, 2.1.4), since payloads
/// may have any size.
pub const MQTT_VERIFY_READ_BYTES_MAX: usize = 268_435_455;

/// Most messages that `onewrite verify` takes from an MQTT broker at once.
pub const MQTT_VERIFY_READ_MESSAGES: usize = 1_000;

/// Bytes that wait to be written to an MQTT broker and past which no further event is taken up: enough for a few TCP segments, and
/// any single event is still taken whole.
pub const MQTT_WRITE_BYTES: usize = 128 * 1024;

/// The largest packet that is taken from an MQTT broker, in bytes: acknowledgements with their words are far smaller.
pub const MQTT_READ_BYTES_MAX: usize = 256 * 1024;

/// How many messages of an MQTT session are acknowledged one at a time after a connection broke with several under way: if one of
/// them was the reason, it is found; if not, it costs as many round trips once.
pub const MQTT_ALONE_MESSAGES: u32 = 64;

/// Most bytes of a frame of AMQP 0-9-1 where the broker names no limit: RabbitMQ's own default.
pub const AMQP_FRAME_BYTES_DEFAULT: u32 = 128 * 1024;

/// How deep lists and tables of AMQP 0-9-1 may stand in one another, so that reading them fits a thread's stack: what RabbitMQ says
/// of itself has three levels.
pub const AMQP_NESTING_MAX: usize = 64;

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

/// The shortest time that an AMQP 1.0 acknowledgement can be waited for: below it every slow moment would be a failure.
pub const AMQP1_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// The longest time that an AMQP 1.0 acknowledgement can be waited for. With [`START_WINDOW`] and
/// [`AMQP1_CREDIT_TIMEOUT`] it stays within [`DELIVERY_TIMEOUT`](onewrite_core::limits::DELIVERY_TIMEOUT).
pub const AMQP1_TIMEOUT_MAX: Duration = Duration::from_secs(15);

/// How long an AMQP 1.0 link may take to attach once it is its turn, the look at what its address is included.
pub const AMQP1_ATTACH_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a message waits for an AMQP 1.0 broker's credit before its key is tried again later.
pub const AMQP1_CREDIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an AMQP 1.0 connection or link may take to end in an orderly way before it is dropped.
pub const AMQP1_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The shortest and longest AMQP 1.0 idle time: a shorter one breaks connections that are merely slow, and a longer one is noticed by
/// nobody.
pub const AMQP1_IDLE_TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(600);

/// Messages that wait for one AMQP 1.0 link: enough that none of them waits for the task that sends.
pub const AMQP1_LINK_QUEUE: usize = 64;

/// How far apart the tags of an AMQP 1.0 connection's links begin: further than what one link has under way when another takes its handle, so that
/// what the broker says late of the one is never taken for a word on the other.
pub const AMQP1_TAGS_APART: u32 = 1 << 20;

/// After so many links of an AMQP 1.0 connection tags begin as those of the first: long after anything was said of that. The client reckons
/// credit without going round, so that all of them begin low in the 32 bits that there are.
pub const AMQP1_TAGS_OF_LINKS: u32 = 1 << 10;

/// AMQP 1.0 addresses that are remembered as having taken events, or as doubtful: some hundred bytes each.
pub const AMQP1_ADDRESSES_KNOWN: usize = 10_000;

/// Most events that are remembered as having been under way when an AMQP 1.0 broker ended a link over one of them: a full window of two
/// links. Some hundred bytes each.
pub const AMQP1_SUSPECTS_MAX: usize = 20_000;

/// Most bytes of what an AMQP 1.0 broker says first that are kept to read its product and version from.
pub const AMQP1_GREETING_BYTES: usize = 64 * 1024;

/// Longest name of a queue or a queue manager of IBM MQ, in bytes (MQ_Q_NAME_LENGTH, MQ_Q_MGR_NAME_LENGTH).
pub const IBMMQ_NAME_BYTES_MAX: usize = 48;

/// Longest topic string of IBM MQ, in bytes (MQ_TOPIC_STR_LENGTH).
pub const IBMMQ_TOPIC_BYTES_MAX: usize = 10_240;

/// The longest expiry that the messaging REST API of IBM MQ takes.
pub const IBMMQ_EXPIRY_MAX: Duration = Duration::from_millis(99_999_999_900);

/// How long a connection to mqweb may lie idle: less than the 30 seconds after which its web server closes one, which a request on
/// its way would not survive.
pub const IBMMQ_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Most messages of one unit of work of IBM MQ: a tenth of MAXUMSGS, past which a queue manager takes none unless told otherwise, and
/// enough that committing costs little for each.
pub const IBMMQ_UNIT_MESSAGES: usize = 1_000;

/// Queues and topics that a connection to IBM MQ keeps open: a quarter of MAXHANDS, past which a queue manager opens none unless told
/// otherwise.
pub const IBMMQ_OBJECTS_OPEN_MAX: usize = 64;

/// Most messages of one batch of SQS or SNS.
pub const AWS_BATCH_ENTRIES_MAX: usize = 10;

/// Most attributes of one message of SQS. SNS takes more, and then throws the message away where a queue subscribes with raw message
/// delivery (Amazon SNS Developer Guide, "Amazon SNS raw message delivery").
pub const AWS_ATTRIBUTES_MAX: usize = 10;

/// Longest name of an attribute of SQS or SNS, in bytes.
pub const AWS_ATTRIBUTE_NAME_BYTES_MAX: usize = 256;

/// Longest name of a message group of SQS or SNS, in bytes.
pub const AWS_GROUP_BYTES_MAX: usize = 128;

/// Largest message of SQS, and largest batch, in bytes: 1 MiB since August 2025, 256 KiB before and where a queue is set so.
pub const SQS_MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Largest message of SNS, and largest batch, in bytes (Amazon SNS API Reference, `PublishBatch`).
pub const SNS_MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// How soon `onewrite verify` looks again at the end of a file: it bounds what the look adds to a latency.
pub const FILE_LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Most bytes that `onewrite verify` reads of a file at once.
pub const FILE_READ_BYTES: u64 = 4 * 1024 * 1024;

/// Most entries of a stream that `onewrite verify` reads at once.
pub const REDIS_READ_ENTRIES: usize = 1_000;

/// How many questions for messages `onewrite verify` asks an SQS queue side by side: each brings ten messages at the most, and takes a
/// round trip, and so does deleting them.
pub const SQS_READERS: usize = 8;

/// How long SQS lets a question for messages wait for one, in seconds. Only a question that waits asks all servers of a queue (Amazon SQS
/// Developer Guide, "Amazon SQS short and long polling").
pub const SQS_READ_WAIT_SECONDS: u64 = 1;

/// How long SQS hides a message that was handed out, in seconds: longer than deleting it takes, short enough that one whose answer was lost
/// comes again before a run gives it up.
pub const SQS_READ_HIDDEN_SECONDS: u64 = 10;

/// Most bytes that are read of an answer with messages of SQS: ten of a mebibyte, as JSON, in which a byte may take several.
pub const SQS_READ_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long after it was made an SQS queue can be used (Amazon SQS API Reference, `CreateQueue`: "you must wait at least one second").
pub const SQS_QUEUE_READY: Duration = Duration::from_secs(1);

/// How long an SQS queue that was made is waited for at the most.
pub const SQS_QUEUE_PATIENCE: Duration = Duration::from_secs(15);

/// Most messages of a stream that `onewrite verify` takes at once.
pub const NATS_READ_MESSAGES: usize = 1_000;

/// Most messages that RabbitMQ hands to `onewrite verify` before it acknowledges some.
pub const RABBITMQ_READ_MESSAGES: u16 = 1_000;

/// Messages that an AMQP 1.0 broker hands to `onewrite verify` before it acknowledges some.
pub const AMQP1_READ_MESSAGES: u32 = 1_000;

/// How long nothing may come out of a queue that is being emptied until it is empty.
pub const AMQP1_READ_QUIET: Duration = Duration::from_millis(500);
