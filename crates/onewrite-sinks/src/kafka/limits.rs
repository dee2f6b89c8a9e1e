//! Every limit and fixed time of the Kafka sink, with its unit and its reason.

use std::time::Duration;

/// Most bytes that wait for an acknowledgement: several full requests for a partition, and little beside the goal of
/// 60 MB for the whole relay. A single larger event is still sent, alone.
pub const IN_FLIGHT_BYTES: usize = 8 * 1024 * 1024;

/// What a record weighs against [`IN_FLIGHT_BYTES`] besides key and payload: the client's own structures and the headers,
/// which the outbox caps at 8 KiB but which commonly take a few hundred bytes. It also bounds the records in flight to 8192.
pub const RECORD_OVERHEAD_BYTES: usize = 1024;

/// Payloads from this size on, in bytes, are not copied into the client, which reads them where they are. Keeping hold of one takes a lock
/// and often an allocation, which a smaller copy does not.
pub const HELD_BYTES: usize = 1000;

/// Largest request for one partition, in bytes: the client's own default, and below the 1 MiB that a topic takes by default.
pub const REQUEST_BYTES: usize = 1_000_000;

/// Smallest request that is tried before an event counts as too large by itself.
pub const REQUEST_BYTES_MIN: usize = 1024;

/// The client's hard limits for the size of a message, in bytes.
pub const MESSAGE_BYTES: std::ops::RangeInclusive<i64> = 1_000..=1_000_000_000;

/// How long the client gathers records for a request, in milliseconds: about as long as the sink takes to hand a batch over. Whatever
/// waits for the last request's answer gathers anyway.
pub const LINGER_MILLISECONDS: &str = "0.1";

/// How long connecting may take, below core's own 30 s so that the words are the client's.
pub const CONNECT: Duration = Duration::from_secs(10);

/// One try to hear from a broker; between two tries the errors are looked at, so that a wrong password is told at once.
pub const METADATA_TRY: Duration = Duration::from_millis(500);

/// How long a topic may be missing before its events are parked: creation on demand, and brokers that have just started,
/// take a moment.
pub const TOPIC_GRACE: Duration = Duration::from_secs(5);

/// Pause between two looks for a missing topic.
pub const TOPIC_LOOK_PAUSE: Duration = Duration::from_millis(250);

/// How long a topic's refusal (missing, not authorised) holds for its other events before it is asked again.
pub const REFUSAL_HOLDS: Duration = Duration::from_secs(5);

/// How old the known size limit of a topic may be to refuse an event by it.
pub const TOPIC_LIMIT_AGE: Duration = Duration::from_secs(10);

/// How often the number of a topic's partitions is looked at: as often as Java's client does.
pub const TOPIC_AGE: Duration = Duration::from_secs(300);

/// How long a broker may take to tell the configuration of a topic; without an answer it is done without.
pub const DESCRIBE: Duration = Duration::from_secs(2);

/// How long a partition stays known to the broker without a record, in seconds: a broker forgets a producer after a day.
pub const WARM_SECONDS: u32 = 3600;

/// How long a request may go unanswered before the client gives its connection up, in milliseconds. Below core's
/// delivery timeout, so that one dead connection costs no whole delivery.
pub const REQUEST_MILLISECONDS: &str = "30000";

/// How long nothing may be acknowledged, while the client reports errors, before a delivery ends with their words.
pub const STALLED: Duration = Duration::from_secs(15);

/// How long an error of the client may explain why a question to a broker failed.
pub const TROUBLES_LAST: Duration = Duration::from_secs(30);

/// How long closing waits for acknowledgements. Core closes when deliveries have ended, so what is still under way then
/// belongs to one that was given up: a little patience saves repetitions, more would only delay the next connection.
pub const CLOSE: Duration = Duration::from_secs(2);

/// How many records go one by one after a refusal that may have been another record's fault: as many as can have been in
/// flight beside it.
pub const SINGLE_RECORDS: usize = IN_FLIGHT_BYTES / RECORD_OVERHEAD_BYTES;

/// How long the thread that serves reports does so before it looks whether it should end. Reports are served when they
/// come; freeing a producer, which nobody waits for, takes this long.
pub const SERVE: Duration = Duration::from_secs(1);

/// Partitions of the topic in which `onewrite verify` reads back: more than one, so that the order of keys is not that of the topic.
pub const READ_PARTITIONS: i32 = 3;

/// Most records that are read back at once.
pub const READ_RECORDS: usize = 5_000;
