//! How values look in a record, and the connector's own workings.

use super::{Topic, Verdict, lacking, not_needed};

pub(super) const TOPIC: Topic = Topic {
    heading: "Values, queues and failures",
    verdicts: VERDICTS,
};

const NO_SCHEMAS: &str = "what it adds to schemas of change events is not part of the router's records";

const VERDICTS: &[Verdict] = &[
    lacking(
        "binary.handling.mode",
        &["bytes"],
        "a `bytea` payload is delivered as its bytes, and not as a text",
    ),
    lacking(
        "decimal.handling.mode",
        &["precise"],
        "a decimal column that the router places is written as by `precise`",
    ),
    lacking(
        "time.precision.mode",
        &["adaptive"],
        "a time that the router places is written as by `adaptive`",
    ),
    lacking(
        "interval.handling.mode",
        &["numeric"],
        "an interval that the router places is written as by `numeric`",
    ),
    lacking(
        "hstore.handling.mode",
        &["json"],
        "an hstore column that the router places is written as by `json`",
    ),
    lacking(
        "money.fraction.digits",
        &["2"],
        "a money column that the router places has two digits after the point",
    ),
    lacking(
        "include.unknown.datatypes",
        &["false"],
        "columns of types that Debezium does not know are left out",
    ),
    lacking(
        "schema.name.adjustment.mode",
        &["none"],
        "names in schemas are written as they are",
    ),
    lacking(
        "field.name.adjustment.mode",
        &["none"],
        "names in schemas are written as they are",
    ),
    lacking(
        "sanitize.field.names",
        &["false"],
        "names in schemas are written as they are",
    ),
    lacking(
        "extended.headers.enabled",
        &["false"],
        "the headers `__debezium.context.*`, which Debezium 3 adds to every record, are written only where `router` has \
         `extended.headers.enabled` and `topic.prefix`",
    ),
    not_needed("unavailable.value.placeholder", "an inserted row is always whole"),
    not_needed("toasted.value.placeholder", "an inserted row is always whole"),
    not_needed("column.propagate.source.type", NO_SCHEMAS),
    not_needed("datatype.propagate.source.type", NO_SCHEMAS),
    not_needed("include.schema.comments", NO_SCHEMAS),
    not_needed("include.schema.changes", NO_SCHEMAS),
    not_needed(
        "sourceinfo.struct.maker",
        "what a change event tells of its source is not part of the router's records",
    ),
    not_needed(
        "source.struct.version",
        "what a change event tells of its source is not part of the router's records",
    ),
    not_needed("schema.refresh.mode", "the log says what a row's columns are"),
    not_needed("schema.history.internal", "there is no history of schemas to keep"),
    not_needed("schema.history.internal.*", "there is no history of schemas to keep"),
    not_needed("database.history.*", "there is no history of schemas to keep"),
    not_needed("max.batch.size", "`batch_events` in `[[routes]]` has a default"),
    not_needed("max.queue.size", "`max_in_flight_events` in `[[routes]]` has a default"),
    not_needed(
        "max.queue.size.in.bytes",
        "`max_in_flight_bytes` in `[[routes]]` has a default",
    ),
    not_needed(
        "queue.provider.type",
        "memory is bounded by `max_in_flight_bytes` in `[[routes]]`",
    ),
    not_needed(
        "memory.management.*",
        "memory is bounded by `max_in_flight_bytes` in `[[routes]]`",
    ),
    not_needed(
        "query.fetch.size",
        "memory is bounded by `max_in_flight_bytes` in `[[routes]]`",
    ),
    not_needed("poll.interval.ms", "events are taken when they come"),
    not_needed(
        "executor.shutdown.timeout.ms",
        "stopping waits for what is under way, within a bound",
    ),
    not_needed("errors.max.retries", "Onewrite tries again for as long as it takes"),
    not_needed(
        "retriable.restart.connector.wait.ms",
        "Onewrite tries again for as long as it takes",
    ),
    lacking(
        "event.processing.failure.handling.mode",
        &["fail", "warn"],
        "an event that cannot be delivered is parked with its error, and not skipped",
    ),
    lacking(
        "event.converting.failure.handling.mode",
        &["fail", "warn"],
        "an event that cannot be delivered is parked with its error, and not skipped",
    ),
    not_needed("guardrail.collections.max", "one table is read"),
    not_needed("guardrail.collections.limit.action", "one table is read"),
    not_needed("custom.metric.tags", "there are no metrics of Java's kind"),
    not_needed("statistics.metrics.enabled", "there are no metrics of Java's kind"),
    not_needed("custom.sanitize.pattern", "secrets are never shown"),
    lacking(
        "openlineage.integration.enabled",
        &["false"],
        "nothing is told to OpenLineage",
    ),
    not_needed("openlineage.integration.*", "nothing is told to OpenLineage"),
    not_needed("internal.*", "Debezium's own workings"),
];
