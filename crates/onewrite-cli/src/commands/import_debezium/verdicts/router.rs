//! The outbox event router and what stands beside it in the chain of transforms.

use super::{Topic, Verdict, lacking, not_needed, translated};

/// The router's options; the `*` is its alias.
pub(super) const ROUTER: Topic = Topic {
    heading: "The outbox event router (`*` is its alias)",
    verdicts: VERDICTS,
};

pub(super) const CHAIN: Topic = Topic {
    heading: "The chain of transforms",
    verdicts: &[
        translated("transforms", "the outbox event router becomes `router` in `[source]`"),
        translated(
            "transforms.*.type",
            "the outbox event router becomes `router` in `[source]`; other transforms are told by name",
        ),
        not_needed("transforms.*.predicate", "the router sees rows of the outbox alone"),
        not_needed("transforms.*.negate", "the router sees rows of the outbox alone"),
        not_needed("predicates", "the router sees rows of the outbox alone"),
        not_needed("predicates.*", "the router sees rows of the outbox alone"),
        lacking(
            "transforms.*.fields.null.include",
            &["false"],
            "of a message's fields, those that are null are left out",
        ),
    ],
};

/// What holds where a router's option is not given: what equals it is left out.
pub const ROUTER_DEFAULTS: &[(&str, &str)] = &[
    ("route.by.field", "aggregatetype"),
    ("route.topic.regex", "(?<routedByValue>.*)"),
    ("route.topic.replacement", "outbox.event.${routedByValue}"),
    ("route.tombstone.on.empty.payload", "false"),
    ("table.expand.json.payload", "false"),
    ("table.field.additional.missing", "error"),
    ("table.field.event.id", "id"),
    ("table.field.event.key", "aggregateid"),
    ("table.field.event.payload", "payload"),
    ("table.field.event.type", "type"),
    ("table.json.payload.null.behavior", "ignore"),
    ("table.json.payload.empty.array.behavior", "ignore"),
    ("table.op.invalid.behavior", "warn"),
    ("tracing.operation.name", "debezium-read"),
    ("tracing.span.context.field", "tracingspancontext"),
    // What the outbox event router takes, whatever the documentation says.
    ("tracing.with.context.field.only", "true"),
];

const IN_ROUTER: &str = "the same name in `router` of `[source]`";

const VERDICTS: &[Verdict] = &[
    translated("transforms.*.route.by.field", IN_ROUTER),
    translated("transforms.*.route.topic.regex", IN_ROUTER),
    translated("transforms.*.route.topic.replacement", IN_ROUTER),
    translated("transforms.*.route.tombstone.on.empty.payload", IN_ROUTER),
    translated("transforms.*.table.expand.json.payload", IN_ROUTER),
    translated("transforms.*.table.field.additional.missing", IN_ROUTER),
    translated("transforms.*.table.field.event.id", IN_ROUTER),
    translated("transforms.*.table.field.event.key", IN_ROUTER),
    translated("transforms.*.table.field.event.payload", IN_ROUTER),
    translated("transforms.*.table.field.event.schema.version", IN_ROUTER),
    translated("transforms.*.table.field.event.timestamp", IN_ROUTER),
    translated(
        "transforms.*.table.field.event.type",
        "the same name in `router` of `[source]`; Debezium never looks at it, Onewrite takes the type from it",
    ),
    translated("transforms.*.table.fields.additional.placement", IN_ROUTER),
    translated("transforms.*.table.json.payload.null.behavior", IN_ROUTER),
    translated("transforms.*.table.json.payload.empty.array.behavior", IN_ROUTER),
    translated("transforms.*.table.op.invalid.behavior", IN_ROUTER),
    translated("transforms.*.tracing.operation.name", IN_ROUTER),
    translated("transforms.*.tracing.span.context.field", IN_ROUTER),
    translated("transforms.*.tracing.with.context.field.only", IN_ROUTER),
    lacking(
        "transforms.*.table.field.event.payload.id",
        &[""],
        "Debezium 2 has it no more; `table.field.event.key` names the key's column",
    ),
];
