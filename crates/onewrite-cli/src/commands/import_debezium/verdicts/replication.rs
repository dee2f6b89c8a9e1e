//! The replication slot, the publication, and progress in the log.

use super::{Topic, Verdict, lacking, not_needed, translated};

pub(super) const TOPIC: Topic = Topic {
    heading: "Slot, publication and progress",
    verdicts: VERDICTS,
};

const VERDICTS: &[Verdict] = &[
    not_needed(
        "plugin.name",
        "the log is read by `pgoutput`, which every PostgreSQL brings",
    ),
    not_needed(
        "slot.name",
        "Onewrite makes a slot of its own; drop this one when you have switched",
    ),
    not_needed(
        "slot.drop.on.stop",
        "Onewrite keeps its slot; with `true`, Debezium's is gone as soon as it stops, and with it the way back",
    ),
    not_needed("slot.drop_on_stop", "the name of `slot.drop.on.stop` in Debezium 1"),
    not_needed(
        "slot.failover",
        "slots survive a failover wherever the server can do that (PostgreSQL 17 and later)",
    ),
    not_needed("slot.max.retries", "Onewrite connects again for as long as it takes"),
    not_needed("slot.retry.delay.ms", "Onewrite connects again for as long as it takes"),
    lacking(
        "slot.stream.params",
        &[""],
        "the log is read by `pgoutput`, which takes no such parameters",
    ),
    translated("publication.name", "`publication` in `[source]`"),
    not_needed(
        "publication.autocreate.mode",
        "the publication is there already, since Debezium reads by it",
    ),
    lacking(
        "publish.via.partition.root",
        &["false"],
        "a partitioned outbox needs a publication with `publish_via_partition_root = true`; make sure that yours has it",
    ),
    not_needed("replica.identity.autoset.values", "inserts need no replica identity"),
    not_needed(
        "status.update.interval.ms",
        "the server is answered in time whatever the sink does",
    ),
    not_needed("xmin.fetch.interval.ms", "progress needs no xmin"),
    not_needed("flush.lsn.source", "the slot moves behind what is settled"),
    not_needed(
        "lsn.flush.mode",
        "the slot moves behind what is settled, and on an idle database too",
    ),
    not_needed(
        "lsn.flush.timeout.ms",
        "the slot moves behind what is settled, and nothing waits for it",
    ),
    not_needed(
        "lsn.flush.timeout.action",
        "the slot moves behind what is settled, and nothing waits for it",
    ),
    not_needed(
        "offset.mismatch.strategy",
        "there are no offsets beside the database that could disagree with the slot",
    ),
    not_needed(
        "heartbeat.interval.ms",
        "the slot moves on an idle database without heartbeats; no heartbeat topic is written",
    ),
    not_needed(
        "heartbeat.action.query",
        "the slot moves on an idle database without heartbeats",
    ),
    not_needed("heartbeat.topics.prefix", "no heartbeat topic is written"),
    not_needed("topic.heartbeat.prefix", "no heartbeat topic is written"),
    not_needed("topic.heartbeat.name", "no heartbeat topic is written"),
];
