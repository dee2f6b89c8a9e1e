//! Every limit of the formats, with its unit and its reason.

use std::time::Duration;

/// Longest name of a CloudEvents attribute, in characters: the specification says that it should be no longer.
pub const ATTRIBUTE_NAME_MAX: usize = 20;

/// Longest answer that is read from a schema registry, in bytes. Registries take schemas of a megabyte or so; an answer of
/// another size is not one.
pub const REGISTRY_ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Shortest `timeout` of a registry: below it a healthy one would seem to be away.
pub const REGISTRY_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// Longest `timeout` of a registry. An event may wait this long for another look-up and then for its own, so a delivery, which has
/// a minute by default, keeps a third of it for the sink.
pub const REGISTRY_TIMEOUT_MAX: Duration = Duration::from_secs(20);

/// How long connecting to a registry may take.
pub const REGISTRY_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a known schema may wait for a look whether there is a newer one: events wait meanwhile, and have one that will do.
pub const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long no newer schema is looked for after that failed: every event has one that will do. A subject that has none is asked
/// for all the same.
pub const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// How long a registry that did not give the schema of a new subject is left in peace, at the least: the other new subjects of a
/// batch need not each wait for it again. It is as long as the failure took where that is longer, so that waiting is at most half
/// of what events do.
pub const REGISTRY_PAUSE: Duration = Duration::from_secs(1);

/// How long one subject is left in peace that the registry did not give the schema of, at the most. It begins at twice the pause of
/// all and doubles, so that a subject which is always in trouble leaves the others their turn, and a registry that is back is
/// noticed within half a minute.
pub const SUBJECT_PAUSE_MAX: Duration = Duration::from_secs(30);

/// How long a registry's refusal of a subject holds for the events after the one that met it: a batch of thousands need not ask
/// thousands of times, and a schema that somebody registers is soon found.
pub const REFUSAL_HOLDS: Duration = Duration::from_secs(2);

/// Most subjects that are remembered, at some hundred bytes each. A subject made of an event's key would otherwise fill the memory.
pub const SUBJECTS_MAX: usize = 10_000;

/// Most schemas that are kept ready for use. A usual one takes some ten kilobytes, so this is some ten megabytes; whoever has
/// more in use at once looks some of them up again.
pub const SCHEMAS_MAX: usize = 1_000;

/// Most schemas that one schema may refer to, directly or not: circles are not followed, and no honest schema has more.
pub const REFERENCES_MAX: usize = 1_000;

/// Deepest nesting of JSON that is encoded in Avro, with what defaults of the schema add, and of a schema of Protobuf: as much as other readers of JSON take, and no
/// danger to the stack.
pub const NESTING_MAX: usize = 128;

/// Most bytes of JSON in vain for which branches of Avro unions may be tried, beside [`UNION_BYTES_FACTOR`] times the payload: some
/// thousand tries of a usual event, which take well below a second. Unions of records inside unions of records have more ways
/// than can be tried.
pub const UNION_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How many times its own length of an event may be tried in vain: a union of that many records, of which the last fits.
pub const UNION_BYTES_FACTOR: usize = 16;

/// Most values that defaults of an Avro schema add to one event. Defaults of records inside defaults of records can double with
/// each level, and need not write a byte.
pub const AVRO_DEFAULTS_MAX: usize = 1_000_000;

/// Most bytes of one body in Avro: as many as a payload can have. What defaults add counts.
pub const AVRO_BODY_BYTES_MAX: usize = onewrite_core::limits::PAYLOAD_BYTES_MAX;

/// Most digits of an Avro decimal: what 128 bits hold, and what databases have.
pub const DECIMAL_DIGITS_MAX: usize = 38;

/// Most violations of a JSON Schema that are told of one event: a person mends the first few.
pub const VIOLATIONS_TOLD: usize = 5;
