//! Whether new events can be found by following the write-ahead log.

use onewrite::schema::postgres::PUBLICATION;
use onewrite::schema::postgres::groups::create_publication;
use onewrite_core::StoreError;
use onewrite_core::routing::Group;
use onewrite_core::sink::{Finding, FindingLevel};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::super::WantedFeed;
use super::super::alarms::{Slot, slots};
use super::super::error::failed;
use super::super::lanes::is_published;
use crate::words::bytes;

/// The version of the server from which on a standby can take slots over, as `server_version_num` gives it.
const FAILOVER_SLOTS_SINCE: i32 = 170_000;

/// What the log feed needs, each with what to do where it is missing; nothing where the relay is to poll. What is missing is
/// broken under `feed = "wal"`, and otherwise the reason for polling.
pub(super) async fn look(client: &Client, feed: WantedFeed, groups: u32) -> Result<Vec<Finding>, StoreError> {
    if feed == WantedFeed::Poll {
        return Ok(vec![Finding::works("feed", "poll, as configured")]);
    }
    let own = publications_of_groups(client, groups).await?;
    let is_whole = own.as_ref().is_some_and(|own| own.level == FindingLevel::Works);
    let findings = needed(client, feed, groups, is_whole).await;
    let mut findings = findings.map_err(|error| failed("looking at what the log feed needs", error))?;
    let fits = findings.iter().all(|finding| finding.level == FindingLevel::Works);
    findings.insert(0, summary(feed, fits));
    findings.extend(own);
    let notes = notes(client).await;
    findings.extend(notes.map_err(|error| failed("looking at the server's replication", error))?);
    Ok(findings)
}

fn summary(feed: WantedFeed, fits: bool) -> Finding {
    match (feed, fits) {
        (_, true) => Finding::works("feed", "wal: the server has all that following its log needs"),
        (WantedFeed::Wal, false) => Finding::broken(
            "feed",
            "wal is configured, and the server lacks what the next lines say; mend that, or set source.feed = \"auto\"",
        ),
        (_, false) => Finding::warning(
            "feed",
            "poll, because of what the next lines say; new events are then found some milliseconds later, and nothing else is \
             worse. source.feed = \"poll\" makes it the rule",
        ),
    }
}

/// What the feed cannot do without. With a publication for each group the one of everything is not needed.
async fn needed(client: &Client, feed: WantedFeed, groups: u32, by_groups: bool) -> Result<Vec<Finding>, Error> {
    let slots = slots(client).await?;
    let mut findings = server(client, feed, &slots, groups).await?;
    findings.push(role(client, feed).await?);
    if !by_groups {
        findings.push(publication(client, feed).await?);
    }
    findings.extend(slots.iter().map(slot));
    Ok(findings)
}

/// A need that is not met.
fn lacking(feed: WantedFeed, subject: &str, words: impl Into<String>) -> Finding {
    match feed {
        WantedFeed::Wal => Finding::broken(subject, words),
        WantedFeed::Auto | WantedFeed::Poll => Finding::warning(subject, words),
    }
}

/// Whether each group of lanes has a publication of its own; `None` where there is but one group.
async fn publications_of_groups(client: &Client, groups: u32) -> Result<Option<Finding>, StoreError> {
    if groups == 1 {
        return Ok(None);
    }
    let mut missing = Vec::new();
    for group in Group::each(groups) {
        if !is_published(client, group).await? {
            missing.push(create_publication(group.index, group.count));
        }
    }
    let subject = "publications of groups";
    Ok(Some(match missing.first() {
        None => Finding::works(
            subject,
            format!("each of the {groups} groups has one, and the server sends it no more than its rows"),
        ),
        Some(first) => Finding::warning(
            subject,
            format!(
                "{} of {groups} groups have none of their own (or one that filters otherwise), so the server sends each of them every row, \
                 and the relay picks out what it wants: right, but as many times the bytes. Row filters need PostgreSQL 15; as the owner \
                 of onewrite.outbox, with CREATE on the database: `onewrite migrate`, or {first} and so on (an old one: DROP PUBLICATION \
                 first)",
                missing.len()
            ),
        ),
    }))
}

/// The level of the log, and room for the slots and senders that the relay needs and has not yet: one for each group of lanes.
async fn server(client: &Client, feed: WantedFeed, slots: &[Slot], groups: u32) -> Result<Vec<Finding>, Error> {
    const SERVER: &str = "\
        SELECT current_setting('wal_level'), \
               current_setting('max_replication_slots')::int8, (SELECT count(*) FROM pg_replication_slots), \
               current_setting('max_wal_senders')::int8, (SELECT count(*) FROM pg_stat_replication)";
    let row = client.query_typed_one(SERVER, &[]).await?;
    let level: &str = row.get(0);
    let mut findings = vec![match level {
        "logical" => Finding::works("wal_level", level),
        _ => lacking(
            feed,
            "wal_level",
            format!(
                "it is {level}, and the log holds what can be followed only from logical on: ALTER SYSTEM SET wal_level = logical; \
                 then restart the server (on Amazon RDS and Aurora: rds.logical_replication = 1 in the parameter group; on Cloud \
                 SQL: the flag cloudsql.logical_decoding)"
            ),
        ),
    }];
    let read = slots.iter().filter(|slot| slot.status.active_pid.is_some());
    let groups = i64::from(groups);
    for (subject, most, used, own) in [
        (
            "max_replication_slots",
            row.get::<_, i64>(1),
            row.get::<_, i64>(2),
            slots.len(),
        ),
        ("max_wal_senders", row.get(3), row.get(4), read.count()),
    ] {
        let missing = groups - (own as i64).min(groups);
        findings.push(if used + missing <= most {
            Finding::works(subject, format!("{used} of {most} in use"))
        } else {
            lacking(
                feed,
                subject,
                format!(
                    "{} in use, and the relay needs {}: drop what nobody uses (SELECT slot_name, active FROM \
                     pg_replication_slots;), or ALTER SYSTEM SET {subject} = {}; and restart the server",
                    if used >= most {
                        format!("all {most} are")
                    } else {
                        format!("{used} of {most} are")
                    },
                    if missing == 1 {
                        "one".to_owned()
                    } else {
                        format!("{missing} more")
                    },
                    most + missing.max(5)
                ),
            )
        });
    }
    Ok(findings)
}

/// Whether the user may open a replication connection.
async fn role(client: &Client, feed: WantedFeed) -> Result<Finding, Error> {
    // On Amazon RDS nobody has the attribute, and membership stands for it.
    const ROLE: &str = "\
        SELECT rolreplication OR rolsuper OR EXISTS (SELECT 1 FROM pg_roles AS provider \
                   WHERE provider.rolname = 'rds_replication' AND pg_has_role(current_user, provider.oid, 'MEMBER')), \
               quote_ident(current_user), EXISTS (SELECT 1 FROM pg_roles AS provider WHERE provider.rolname = 'rds_replication') \
        FROM pg_roles WHERE rolname = current_user";
    let row = client.query_typed_one(ROLE, &[]).await?;
    let role: &str = row.get(1);
    let grant = if row.get(2) {
        format!("GRANT rds_replication TO {role};")
    } else {
        format!("ALTER ROLE {role} REPLICATION;")
    };
    Ok(if row.get(0) {
        Finding::works("REPLICATION", format!("{role} may follow the log"))
    } else {
        lacking(
            feed,
            "REPLICATION",
            format!("{role} may not follow the log; as a superuser, or whoever the provider lets: {grant}"),
        )
    })
}

/// Whether the publication is there and brings each appended event, as one of `onewrite.outbox`.
async fn publication(client: &Client, feed: WantedFeed) -> Result<Finding, Error> {
    // Row filters and lists of columns exist from version 15 on.
    const PUBLISHED: &str = "\
        SELECT p.pubinsert, p.pubviaroot, t.tablename IS NOT NULL, to_jsonb(t) ->> 'rowfilter', \
               (to_jsonb(t) -> 'attnames') IS NULL OR jsonb_array_length(to_jsonb(t) -> 'attnames') = \
                   (SELECT count(*) FROM pg_attribute WHERE attrelid = 'onewrite.outbox'::regclass AND attnum > 0 AND NOT attisdropped) \
        FROM pg_publication p LEFT JOIN pg_publication_tables t \
             ON t.pubname = p.pubname AND t.schemaname = 'onewrite' AND t.tablename = 'outbox' \
        WHERE p.pubname = $1";
    let subject = format!("publication {PUBLICATION}");
    let with = "(publish = 'insert', publish_via_partition_root = true)";
    let Some(row) = client.query_typed_opt(PUBLISHED, &[(&PUBLICATION, Type::TEXT)]).await? else {
        let words = format!(
            "there is none; as the owner of onewrite.outbox, with CREATE on the database: CREATE PUBLICATION {PUBLICATION} FOR TABLE \
             onewrite.outbox WITH {with};"
        );
        return Ok(lacking(feed, &subject, words));
    };
    let is = |column: usize| row.get::<_, bool>(column);
    let wrong = if !is(0) || !is(1) {
        Some(format!(
            "it does not publish inserts by way of the partitioned table: ALTER PUBLICATION {PUBLICATION} SET {with};"
        ))
    } else if !is(2) {
        Some(format!(
            "it does not cover the outbox: ALTER PUBLICATION {PUBLICATION} ADD TABLE onewrite.outbox;"
        ))
    } else if row.get::<_, Option<&str>>(3).is_some() || !is(4) {
        Some(format!(
            "it leaves out rows or columns of the outbox: ALTER PUBLICATION {PUBLICATION} SET TABLE onewrite.outbox;"
        ))
    } else {
        None
    };
    Ok(match wrong {
        Some(words) => lacking(feed, &subject, words),
        None => Finding::works(subject, "it publishes what is inserted into onewrite.outbox"),
    })
}

/// A slot that is there. One that the server gave up is no obstacle: the relay makes another.
fn slot(slot: &Slot) -> Finding {
    let status = &slot.status;
    let reader = status
        .active_pid
        .map_or("nobody reads it at present".to_owned(), |pid| {
            format!("read by pid {pid}")
        });
    let kept = status.retained_bytes.map_or(String::new(), |kept| {
        format!(", {} of the log kept for it", bytes(kept))
    });
    let reason = status
        .invalidation_reason
        .as_ref()
        .map_or(String::new(), |reason| format!(" ({reason})"));
    Finding::works(
        format!("slot {}", status.name),
        format!("{}{reason}: {reader}{kept}", status.wal_status),
    )
}

/// What a person should know of how this server bounds its log and fails over.
async fn notes(client: &Client) -> Result<Vec<Finding>, Error> {
    const NOTES: &str = "\
        SELECT pg_size_bytes(CASE WHEN bound.setting = '-1' THEN '0' ELSE bound.setting || bound.unit END), \
               current_setting('server_version_num')::int4, \
               (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical') \
               + (SELECT count(*) FROM pg_stat_replication r WHERE NOT EXISTS \
                      (SELECT 1 FROM pg_replication_slots s WHERE s.active_pid = r.pid)), \
               coalesce(current_setting('synchronized_standby_slots', true), '') \
        FROM pg_settings AS bound WHERE bound.name = 'max_slot_wal_keep_size'";
    let row = client.query_typed_one(NOTES, &[]).await?;
    let bound: i64 = row.get(0);
    let mut notes = vec![Finding::works(
        "max_slot_wal_keep_size",
        match bound {
            0 => "not set: nothing but the disk bounds what the server keeps for slots that nobody reads, whosever they are. With a \
                  bound, such as ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; it gives such a slot up instead, by which the \
                  native outbox loses nothing"
                .to_owned(),
            bound => format!("a slot is given up when more than {} are kept for it", bytes(bound)),
        },
    )];
    notes.extend(failover(&row));
    Ok(notes)
}

fn failover(row: &Row) -> Option<Finding> {
    let (version, standbys, synchronised): (i32, i64, &str) = (row.get(1), row.get(2), row.get(3));
    if standbys == 0 {
        return None;
    }
    let healed = "after a failover the relay reads the table from where it stands, makes a slot there and goes on; no event is lost";
    let words = match (version >= FAILOVER_SLOTS_SINCE, synchronised) {
        (false, _) => healed.to_owned(),
        (true, "") => format!(
            "{healed}. To take the relay's slot over instead, set sync_replication_slots = on and a dbname in primary_conninfo on the \
             standby, and synchronized_standby_slots here"
        ),
        (true, slots) => format!("{healed}. Slots wait for the standbys of {slots}"),
    };
    Some(Finding::works("failover", words))
}
