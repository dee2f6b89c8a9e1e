//! Which rows and messages are captured, and under which names.

use super::{Topic, Verdict, lacking, not_needed, translated};

pub(super) const TOPIC: Topic = Topic {
    heading: "What is captured",
    verdicts: VERDICTS,
};

const VERDICTS: &[Verdict] = &[
    translated("connector.class", "`type`, `feed` and `contract` in `[source]`"),
    translated(
        "topic.prefix",
        "`name`, where the connector has no other; the router names the topics",
    ),
    translated("database.server.name", "the name of `topic.prefix` in Debezium 1"),
    translated("table.include.list", "`table` in `[source]`: one table, the outbox"),
    translated("table.whitelist", "the name of `table.include.list` in Debezium 1"),
    not_needed("table.exclude.list", "nothing is read but the outbox"),
    not_needed("table.blacklist", "nothing is read but the outbox"),
    not_needed("table.ignore.builtin", "nothing is read but the outbox"),
    not_needed("schema.include.list", "nothing is read but the outbox"),
    not_needed("schema.exclude.list", "nothing is read but the outbox"),
    not_needed("schema.whitelist", "nothing is read but the outbox"),
    not_needed("schema.blacklist", "nothing is read but the outbox"),
    not_needed("database.include.list", "nothing is read but the outbox"),
    not_needed("database.exclude.list", "nothing is read but the outbox"),
    not_needed(
        "column.include.list",
        "nothing is delivered but what the router takes from a row",
    ),
    not_needed(
        "column.exclude.list",
        "nothing is delivered but what the router takes from a row",
    ),
    not_needed(
        "column.whitelist",
        "nothing is delivered but what the router takes from a row",
    ),
    not_needed(
        "column.blacklist",
        "nothing is delivered but what the router takes from a row",
    ),
    lacking(
        "column.mask.hash.*",
        &[""],
        "columns are delivered as they are; mask them where they are written",
    ),
    lacking(
        "column.mask.with.*.chars",
        &[""],
        "columns are delivered as they are; mask them where they are written",
    ),
    lacking("column.truncate.to.*.chars", &[""], "columns are delivered whole"),
    translated(
        "message.prefix.include.list",
        "`messages` in `[source]`, where the outbox is in messages",
    ),
    lacking(
        "message.prefix.exclude.list",
        &[""],
        "`messages` in `[source]` names the prefixes that are taken; it cannot name those that are not",
    ),
    not_needed("message.key.columns", "the router makes the key"),
    not_needed("skipped.operations", "inserts are delivered and nothing else is"),
    not_needed(
        "tombstones.on.delete",
        "deleted rows of an outbox are no events; an empty payload is the router's matter",
    ),
    not_needed(
        "skip.messages.without.change",
        "inserts are delivered and nothing else is",
    ),
    not_needed("topic.naming.strategy", "the router names the topics"),
    not_needed("topic.delimiter", "the router names the topics"),
    not_needed("topic.cache.size", "the router names the topics"),
    lacking(
        "provide.transaction.metadata",
        &["false"],
        "no topic about transactions is written",
    ),
    not_needed("topic.transaction", "no topic about transactions is written"),
    not_needed("transaction.topic", "no topic about transactions is written"),
    not_needed("transaction.metadata.factory", "no topic about transactions is written"),
    lacking(
        "signal.data.collection",
        &[""],
        "there are no signals; `onewrite pause`, `resume` and `parked` are for operators",
    ),
    lacking("signal.enabled.channels", &["", "source"], "there are no signals"),
    not_needed("signal.poll.interval.ms", "there are no signals"),
    lacking("signal.file", &[""], "there are no signals"),
    lacking("signal.kafka.*", &[], "there are no signals"),
    lacking("signal.consumer.*", &[], "there are no signals"),
    lacking(
        "notification.enabled.channels",
        &[""],
        "there are no notifications; `onewrite status` tells where it is",
    ),
    lacking(
        "notification.sink.topic.name",
        &[""],
        "there are no notifications; `onewrite status` tells where it is",
    ),
    lacking(
        "converters",
        &[""],
        "columns are not sent through converters of your own",
    ),
    lacking(
        "post.processors",
        &[""],
        "rows are not sent through processors of your own",
    ),
];
