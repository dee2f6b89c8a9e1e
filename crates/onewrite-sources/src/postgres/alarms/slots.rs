//! The replication slots of relays, and what they keep on the server's disk.

use onewrite_core::alarm::{Alarm, AlarmKind, AlarmThresholds};
use onewrite_core::store::SlotStatus;
use tokio_postgres::{Client, Error, Row};

use super::transactions::Held;
use crate::words::{age, bytes};

/// A slot of a relay, or one that was a relay's, to go by its name.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::postgres) struct Slot {
    pub status: SlotStatus,
    /// For how long nobody has read it, where the server says that (from version 17 on).
    pub inactive_seconds: Option<f64>,
}

/// A relay that has a slot of this name written down.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owner {
    pub relay: String,
    pub slot: String,
    /// Whether a process holds its lease.
    pub is_run: bool,
    /// Since when nobody does.
    pub seen_seconds_ago: f64,
    pub feed_reason: Option<String>,
    /// Whether its events are in the log alone, so that a lost slot loses some.
    pub log_is_truth: bool,
}

/// The slots of relays in this database.
pub(in crate::postgres) async fn slots(client: &Client) -> Result<Vec<Slot>, Error> {
    // Columns that only newer servers have are read by way of the row as JSON: they are null on the others.
    const SLOTS: &str = "\
        SELECT s.slot_name::text, coalesce(s.wal_status, 'reserved'), s.active_pid, \
               pg_wal_lsn_diff(log.written, s.restart_lsn)::bigint, \
               pg_wal_lsn_diff(log.written, s.confirmed_flush_lsn)::bigint, s.safe_wal_size, \
               coalesce(to_jsonb(s) ->> 'invalidation_reason', \
                        CASE WHEN (to_jsonb(s) ->> 'conflicting')::boolean THEN 'conflict with recovery' END), \
               extract(epoch FROM clock_timestamp() - (to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8 \
        FROM pg_replication_slots s, \
             (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) AS log (written) \
        WHERE s.database = current_database() AND NOT s.temporary \
        AND (s.slot_name LIKE 'onewrite\\_%' OR s.slot_name IN (SELECT slot FROM onewrite.relay)) ORDER BY s.slot_name";
    let rows = client.query_typed(SLOTS, &[]).await?;
    let slot = |row: &Row| Slot {
        status: SlotStatus {
            name: row.get(0),
            wal_status: row.get(1),
            active_pid: row.get(2),
            retained_bytes: row.get(3),
            unseen_bytes: row.get(4),
            safe_bytes: row.get(5),
            invalidation_reason: row.get(6),
        },
        inactive_seconds: row.get(7),
    };
    Ok(rows.iter().map(slot).collect())
}

/// The relays that have a slot.
pub(super) async fn owners(client: &Client) -> Result<Vec<Owner>, Error> {
    const OWNERS: &str = concat!(
        "SELECT name, slot, coalesce(",
        lasts!(),
        ", false), \
               coalesce(extract(epoch FROM clock_timestamp() - renewed_at)::float8, 0), feed_reason, \
               EXISTS (SELECT 1 FROM onewrite.route WHERE route.relay = relay.name AND log_commit IS NOT NULL) \
        FROM onewrite.relay WHERE slot IS NOT NULL ORDER BY name"
    );
    let rows = client.query_typed(OWNERS, &[]).await?;
    let owner = |row: &Row| Owner {
        relay: row.get(0),
        slot: row.get(1),
        is_run: row.get(2),
        seen_seconds_ago: row.get(3),
        feed_reason: row.get(4),
        log_is_truth: row.get(5),
    };
    Ok(rows.iter().map(owner).collect())
}

/// What is wrong with the slots. `held` are the old transactions, any of which may be the cause.
pub(super) fn alarms(slots: &[Slot], owners: &[Owner], held: &[Held], thresholds: &AlarmThresholds) -> Vec<Alarm> {
    let of = |slot: &Slot| owners.iter().find(|owner| owner.slot == slot.status.name);
    let present = slots.iter().filter_map(|slot| match of(slot) {
        None => slot.status.active_pid.is_none().then(|| unclaimed(slot)),
        Some(owner) if is_lost(slot) => Some(lost(owner, &slot.status)),
        Some(owner) if is_unused(slot, owner, thresholds) => Some(unused(slot, owner)),
        Some(owner) => retained(slot, owner, held, thresholds),
    });
    let is_missing = |owner: &&Owner| {
        let gone = slots.iter().all(|slot| slot.status.name != owner.slot);
        // A relay that is not run, and needs its slot for nothing but speed, makes a new one when it starts.
        gone && (owner.is_run || owner.log_is_truth)
    };
    let missing = owners.iter().filter(is_missing);
    present
        .chain(missing.map(|owner| lost(owner, &missing_slot(&owner.slot))))
        .collect()
}

/// A slot that is written down and not there.
pub(in crate::postgres) fn missing_slot(name: &str) -> SlotStatus {
    SlotStatus {
        name: name.to_owned(),
        wal_status: "missing".to_owned(),
        active_pid: None,
        retained_bytes: None,
        unseen_bytes: None,
        safe_bytes: None,
        invalidation_reason: None,
    }
}

fn is_lost(slot: &Slot) -> bool {
    slot.status.wal_status == "lost" || slot.status.invalidation_reason.is_some()
}

fn is_unused(slot: &Slot, owner: &Owner, thresholds: &AlarmThresholds) -> bool {
    slot.status.active_pid.is_none() && !owner.is_run && owner.seen_seconds_ago >= thresholds.slot_unused.as_secs_f64()
}

fn unclaimed(slot: &Slot) -> Alarm {
    let name = &slot.status.name;
    let since = slot.inactive_seconds.map_or(String::new(), |seconds| {
        format!(", and nobody has read it for {}", age(seconds))
    });
    alarm(
        AlarmKind::SlotUnused,
        name,
        slot.status.retained_bytes,
        format!(
            "it belongs to no relay of this database{since}; {} of the write-ahead log are kept for it on the server's disk, and \
             more and more. If it is nobody else's: SELECT pg_drop_replication_slot('{name}');",
            kept(&slot.status)
        ),
    )
}

fn unused(slot: &Slot, owner: &Owner) -> Alarm {
    let (name, relay) = (&slot.status.name, &owner.relay);
    let loss = if owner.log_is_truth {
        "Start the relay soon; without the slot, events that it has not delivered are lost. If it is gone for good"
    } else {
        "Start the relay, or drop the slot, by which nothing is lost (the relay makes a new one): SELECT \
         pg_drop_replication_slot('NAME'); If the relay is gone for good"
    };
    alarm(
        AlarmKind::SlotUnused,
        name,
        slot.status.retained_bytes,
        format!(
            "nobody has run its relay {relay:?} for {}; {} of the write-ahead log are kept for it on the server's disk, and more \
             and more. {}: onewrite forget --relay {relay}",
            age(owner.seen_seconds_ago),
            kept(&slot.status),
            loss.replace("NAME", name)
        ),
    )
}

fn lost(owner: &Owner, status: &SlotStatus) -> Alarm {
    let relay = &owner.relay;
    let what = match (&status.invalidation_reason, status.wal_status.as_str()) {
        (_, "missing") => "it is gone: somebody dropped it, or the server is another one than before".to_owned(),
        (Some(reason), _) => format!("the server gave it up ({reason}: {})", meaning(reason)),
        (None, _) => format!("the server gave it up: {}", meaning("wal_removed")),
    };
    let loss = if owner.log_is_truth {
        "What was committed since and not delivered is not in any table, so it may be lost: compare the applications' data with the \
         broker, then resume the relay's routes"
    } else {
        "Nothing is lost: the relay reads the table from where it stands and makes a new slot by itself"
    };
    alarm(
        AlarmKind::SlotLost,
        &status.name,
        None,
        format!("the slot of relay {relay:?} serves no more: {what}. {loss}"),
    )
}

/// What the server's word for the end of a slot means.
fn meaning(reason: &str) -> &'static str {
    match reason {
        "wal_removed" => {
            "it kept more of the log than max_slot_wal_keep_size allows; if that happens again, raise that"
        }
        "idle_timeout" => "nobody read it for longer than idle_replication_slot_timeout",
        "wal_level_insufficient" => "wal_level is no longer logical",
        "rows_removed" => "rows of the catalogue that it needs were removed",
        _ => "the server's log tells more",
    }
}

fn retained(slot: &Slot, owner: &Owner, held: &[Held], thresholds: &AlarmThresholds) -> Option<Alarm> {
    let status = &slot.status;
    let at_risk = status.wal_status == "unreserved";
    let retained = status.retained_bytes.unwrap_or_default();
    let cause = cause(status, owner, held, thresholds);
    let threshold = if cause.is_some() {
        thresholds.wal_retained
    } else {
        thresholds.wal_retained_unexplained
    };
    if retained < threshold && !at_risk {
        return None;
    }
    let cause = cause.unwrap_or_else(|| {
        "the relay has seen nearly all of it, and the server has not moved the slot on yet, which it does every 15 s or so; if this \
         stays, restart the relay"
            .to_owned()
    });
    let limit = match (at_risk, status.safe_bytes) {
        (true, _) => {
            " It is beyond max_slot_wal_keep_size (wal_status unreserved): at its next checkpoint the server gives the slot up."
                .to_owned()
        }
        (false, Some(safe)) => format!(" After {} more the server gives the slot up.", bytes(safe.max(0))),
        (false, None) => " Nothing bounds it but the disk, since max_slot_wal_keep_size is not set.".to_owned(),
    };
    Some(alarm(
        AlarmKind::WalRetained,
        &status.name,
        status.retained_bytes,
        format!(
            "{} of the write-ahead log are kept for relay {:?} (wal_status {}): {cause}.{limit}",
            kept(status),
            owner.relay,
            status.wal_status
        ),
    ))
}

/// Why so much is kept, where that can be told.
fn cause(status: &SlotStatus, owner: &Owner, held: &[Held], thresholds: &AlarmThresholds) -> Option<String> {
    if status.active_pid.is_none() {
        let why = match (owner.is_run, &owner.feed_reason) {
            (false, _) => "its relay is not running at present".to_owned(),
            (true, Some(reason)) => format!("the relay does not read it at present ({reason})"),
            (true, None) => "the relay does not read it at present".to_owned(),
        };
        return Some(why);
    }
    if status
        .unseen_bytes
        .is_some_and(|unseen| unseen >= thresholds.wal_retained)
    {
        let unseen = bytes(status.unseen_bytes.unwrap_or_default());
        return Some(format!(
            "the relay has yet to read {unseen} of it; it catches up by itself, if its process and the server have the processor \
             time for it"
        ));
    }
    let held = held.iter().find(|held| held.keeps_log)?;
    Some(format!(
        "{} keeps it from its own beginning on: {}. {}",
        held.subject, held.description, held.remedy
    ))
}

fn kept(status: &SlotStatus) -> String {
    status.retained_bytes.map_or("0 B".to_owned(), bytes)
}

fn alarm(kind: AlarmKind, slot: &str, retained: Option<i64>, message: String) -> Alarm {
    Alarm {
        kind,
        subject: format!("slot {slot}"),
        message,
        figure: retained.map(|bytes| bytes as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: i64 = 1 << 20;

    /// What is said of a slot that is read, of a relay that is run.
    fn said(retained_bytes: i64, unseen_bytes: i64, held: &[Held]) -> Option<String> {
        let status = SlotStatus {
            active_pid: Some(7),
            wal_status: "extended".to_owned(),
            retained_bytes: Some(retained_bytes),
            unseen_bytes: Some(unseen_bytes),
            ..missing_slot("onewrite_shop")
        };
        let slot = Slot {
            status,
            inactive_seconds: None,
        };
        let owner = Owner {
            relay: "shop".to_owned(),
            slot: "onewrite_shop".to_owned(),
            is_run: true,
            seen_seconds_ago: 0.5,
            feed_reason: None,
            log_is_truth: false,
        };
        let alarms = alarms(&[slot], &[owner], held, &AlarmThresholds::default());
        alarms.into_iter().next().map(|alarm| alarm.message)
    }

    #[test]
    fn a_slot_that_is_read_is_an_alarm_when_it_keeps_much_for_a_reason() {
        assert_eq!(said(63 * MIB, 63 * MIB, &[]), None);
        assert!(
            said(64 * MIB, 64 * MIB, &[])
                .unwrap()
                .contains("has yet to read 64.0 MiB of it")
        );
        // What the server has not moved on yet comes with every burst of writing, and goes by itself.
        assert_eq!(said(1023 * MIB, 10 * MIB, &[]), None);
        assert!(
            said(1024 * MIB, 10 * MIB, &[])
                .unwrap()
                .contains("seen nearly all of it")
        );
    }

    #[test]
    fn a_transaction_that_holds_the_log_back_is_named_as_the_cause() {
        let held = |keeps_log| Held {
            subject: "transaction of pid 9".to_owned(),
            description: "open for 5 min".to_owned(),
            seconds: 300.0,
            segments: None,
            wrote: true,
            keeps_log,
            remedy: "End it.".to_owned(),
            others: 0,
        };
        assert_eq!(said(65 * MIB, MIB, &[held(false)]), None);
        let words = said(65 * MIB, MIB, &[held(false), held(true)]).unwrap();
        assert!(
            words.contains("transaction of pid 9 keeps it from its own beginning on: open for 5 min. End it."),
            "{words}"
        );
    }
}
