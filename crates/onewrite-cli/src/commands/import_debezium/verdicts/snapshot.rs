//! What stood in the table before.

use super::{Topic, Verdict, lacking, not_needed};

pub(super) const TOPIC: Topic = Topic {
    heading: "Snapshots",
    verdicts: VERDICTS,
};

const NO_SNAPSHOT: &str = "there is no snapshot: Onewrite begins where its slot is made";

const VERDICTS: &[Verdict] = &[
    lacking(
        "snapshot.mode",
        &["initial", "never", "no_data", "schema_only", "exported"],
        "there is no snapshot: Onewrite begins where its slot is made, and never reads the table again as a whole",
    ),
    lacking("snapshot.mode.custom.name", &[""], NO_SNAPSHOT),
    lacking("snapshot.custom.class", &[""], NO_SNAPSHOT),
    not_needed("snapshot.mode.configuration.based.*", NO_SNAPSHOT),
    not_needed("snapshot.select.statement.overrides", NO_SNAPSHOT),
    not_needed("snapshot.select.statement.overrides.*", NO_SNAPSHOT),
    not_needed("snapshot.include.collection.list", NO_SNAPSHOT),
    not_needed("snapshot.isolation.mode", NO_SNAPSHOT),
    not_needed("snapshot.locking.mode", NO_SNAPSHOT),
    not_needed("snapshot.locking.mode.custom.name", NO_SNAPSHOT),
    not_needed("snapshot.lock.timeout.ms", NO_SNAPSHOT),
    not_needed("snapshot.query.mode", NO_SNAPSHOT),
    not_needed("snapshot.query.mode.custom.name", NO_SNAPSHOT),
    not_needed("snapshot.delay.ms", NO_SNAPSHOT),
    not_needed("snapshot.fetch.size", NO_SNAPSHOT),
    not_needed("snapshot.max.threads", NO_SNAPSHOT),
    not_needed("snapshot.max.threads.multiplier", NO_SNAPSHOT),
    not_needed("legacy.snapshot.max.threads", NO_SNAPSHOT),
    not_needed("snapshot.tables.order.by.row.count", NO_SNAPSHOT),
    not_needed("streaming.delay.ms", NO_SNAPSHOT),
    not_needed("incremental.snapshot.chunk.size", NO_SNAPSHOT),
    not_needed("incremental.snapshot.watermarking.strategy", NO_SNAPSHOT),
    not_needed("incremental.snapshot.allow.schema.changes", NO_SNAPSHOT),
];
