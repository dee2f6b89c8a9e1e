//! What Kafka Connect itself takes of a connector, and its converters.

use super::{Topic, Verdict, lacking, not_needed, translated};

pub(super) const FRAMEWORK: Topic = Topic {
    heading: "Kafka Connect",
    verdicts: VERDICTS,
};

pub(super) const CONVERTERS: Topic = Topic {
    heading: "Converters (also as `debezium.format.…`)",
    verdicts: &[
        translated(
            "key.converter",
            "`converters` in `[source]`: texts, JSON and bytes; Avro and Protobuf are not among them",
        ),
        translated(
            "value.converter",
            "`converters` in `[source]`: texts, JSON and bytes; Avro and Protobuf are not among them",
        ),
        translated(
            "header.converter",
            "`converters` in `[source]`: texts, JSON and bytes; Avro and Protobuf are not among them",
        ),
        translated("format.key", "`converters` in `[source]`"),
        translated("format.value", "`converters` in `[source]`"),
        translated("format.header", "`converters` in `[source]`"),
        translated("*.converter.schemas.enable", "`converters` in `[source]`"),
        translated("*.converter.delegate.converter.type", "`converters` in `[source]`"),
        translated(
            "*.converter.delegate.converter.type.schemas.enable",
            "`converters` in `[source]`",
        ),
        not_needed("*.converter.schemas.cache.size", "schemas are made once"),
        not_needed("*.converter.converter.type", "which converter it is says its key"),
        not_needed("*.converter.plugin.version", "the converters are built in"),
        translated("*.converter.converter.encoding", "`converters` in `[source]`: UTF-8"),
        translated("*.converter.decimal.format", "`converters` in `[source]`"),
        translated("*.converter.replace.null.with.default", "`converters` in `[source]`"),
        lacking(
            "*.converter.schema.content",
            &[""],
            "a schema is written into every record, or into none",
        ),
        lacking("*.converter.*", &[""], "an option of a converter that is not built in"),
    ],
};

const TRANSACTIONS: &str = "delivery is at least once, with the same `id` in the headers each time";

const VERDICTS: &[Verdict] = &[
    translated("name", "`name`"),
    not_needed("tasks.max", "the connector has one task whatever it says"),
    not_needed("tasks.max.enforce", "the connector has one task whatever it says"),
    not_needed("connector.plugin.version", "there are no plug-ins"),
    not_needed(
        "config.action.reload",
        "`onewrite run` reads its configuration when it starts",
    ),
    not_needed("config.providers", "the environment stands in for config providers"),
    not_needed("config.providers.*", "the environment stands in for config providers"),
    not_needed("offsets.storage.topic", "progress is in the database"),
    lacking("exactly.once.support", &["requested"], TRANSACTIONS),
    lacking("transaction.boundary", &["poll"], TRANSACTIONS),
    not_needed("transaction.boundary.interval.ms", TRANSACTIONS),
    lacking(
        "errors.tolerance",
        &["none", "all"],
        "an event that cannot be delivered is parked; see `on_poison` in `[[routes]]`",
    ),
    not_needed("errors.log.enable", "errors are logged, and kept with the parked event"),
    not_needed(
        "errors.log.include.messages",
        "errors are logged, and kept with the parked event",
    ),
    not_needed("errors.retry.timeout", "Onewrite tries again for as long as it takes"),
    not_needed("errors.retry.delay.initial.ms", "waits begin at 100 ms"),
    not_needed(
        "errors.retry.delay.max.ms",
        "`backoff_max` in `[[routes]]` has a default",
    ),
    not_needed(
        "errors.deadletterqueue.*",
        "a source has none; an event that cannot be delivered is parked",
    ),
    lacking(
        "topic.creation.groups",
        &[""],
        "topics are not created with settings of your own; create them before you switch",
    ),
    lacking(
        "topic.creation.*",
        &[],
        "topics are not created with settings of your own; create them before you switch",
    ),
    not_needed("consumer.override.*", "nothing is read from Kafka"),
    not_needed("admin.override.*", "topics are not created with settings of your own"),
];
