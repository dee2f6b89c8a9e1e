//! Every limit of the formats, with its unit and its reason.

use std::time::Duration;

/// Longest name of a CloudEvents attribute, in characters: the specification says that it should be no longer.
pub const ATTRIBUTE_NAME_MAX: usize = 20;

/// Longest answer that is read from a schema registry, in bytes. Registries take schemas of a megabyte or so; an answer of
/// another size is not one.
pub const REGISTRY_ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Shortest `timeout` of a request to a registry: below it a healthy one would seem to be away.
pub const REGISTRY_TIMEOUT_MIN: Duration = Duration::from_millis(50);

/// Longest `timeout` of a request to a registry: a delivery, which has a minute by default, waits for it.
pub const REGISTRY_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// How long connecting to a registry may take.
pub const REGISTRY_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a known schema may wait for a look whether there is a newer one: events wait meanwhile, and have one that will do.
pub const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a registry that did not answer is left in peace: the other subjects of a batch need not each wait for it again.
pub const REGISTRY_PAUSE: Duration = Duration::from_secs(1);

/// The same, where every event has a schema that will do.
pub const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// How long a registry's refusal of a subject holds for the events after the one that met it: a batch of thousands need not ask
/// thousands of times, and a schema that somebody registers is soon found.
pub const REFUSAL_HOLDS: Duration = Duration::from_secs(2);

/// Most subjects that are remembered. A subject made of an event's key would otherwise fill the memory.
pub const SUBJECTS_MAX: usize = 10_000;

/// Most schemas that one schema may refer to, directly or not: circles are not followed, and no honest schema has more.
pub const REFERENCES_MAX: usize = 1_000;

/// Deepest nesting of JSON that is encoded in Avro: as much as other readers of JSON take, and no danger to the stack.
pub const NESTING_MAX: usize = 128;

/// Most branches of Avro unions that one event may be tried against in vain: unions of records inside unions of records have
/// more ways than can be tried.
pub const UNION_TRIES_MAX: u32 = 10_000;

/// Most digits of an Avro decimal: what 128 bits hold, and what databases have.
pub const DECIMAL_DIGITS_MAX: usize = 38;

/// Most violations of a JSON Schema that are told of one event: a person mends the first few.
pub const VIOLATIONS_TOLD: usize = 5;
