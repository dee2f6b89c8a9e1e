//! Transactions that stay open: who, for how long, and what they hold back.

use onewrite_core::alarm::{Alarm, AlarmKind, AlarmThresholds};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use crate::words::age;

/// A statement in one line and short, of the row `a` of `pg_stat_activity`.
pub(super) const STATEMENT: &str = "left(regexp_replace(coalesce(a.query, ''), '\\s+', ' ', 'g'), 100)";

/// The segments that each session uses, by whatever lock: emptying one waits for all of them.
const USED: &str = "\
    SELECT l.pid, l.virtualtransaction, string_agg(DISTINCT c.relname, ', ' ORDER BY c.relname) AS segments \
    FROM pg_locks l JOIN pg_inherits i ON i.inhrelid = l.relation JOIN pg_class c ON c.oid = l.relation \
    WHERE i.inhparent = 'onewrite.outbox'::regclass AND l.granted \
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
    GROUP BY l.pid, l.virtualtransaction";

/// The lock that each prepared transaction `p` has on its own number. All its locks have no pid and bear the mark of the session
/// that prepared it, which this one tells.
pub(super) const PREPARED_LOCK: &str = "LEFT JOIN pg_locks own ON own.locktype = 'transactionid' AND own.pid IS NULL AND own.transactionid = p.transaction";

/// An open transaction that holds something back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// `transaction of pid 4711`, or the name of a prepared one.
    pub subject: String,
    /// Since when, whose and doing what.
    pub description: String,
    pub seconds: f64,
    /// The segments of the outbox that it uses.
    pub segments: Option<String>,
    /// Whether it wrote anything.
    pub wrote: bool,
    /// Whether the log is kept for a slot from its beginning on.
    pub keeps_log: bool,
    /// How to end it.
    pub remedy: String,
    /// How many more there are of the kind.
    pub others: i64,
}

/// The oldest transaction that holds back events, segments or the log, the oldest prepared one, and the oldest that holds back
/// nothing but dead rows; each only past its threshold.
pub(super) async fn held(client: &Client, has_slot: bool, thresholds: &AlarmThresholds) -> Result<Vec<Held>, Error> {
    let (floor, snapshot) = (
        thresholds.floor_held.as_secs_f64(),
        thresholds.snapshot_held.as_secs_f64(),
    );
    let open = format!(
        "WITH used AS MATERIALIZED ({USED}), held AS ( \
             SELECT a.pid, coalesce(a.datname::text, '') AS database, coalesce(a.usename::text, '') AS role, \
                    coalesce(a.state, '') AS state, {STATEMENT} AS statement, \
                    extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age, u.segments, \
                    a.backend_xid IS NOT NULL AS wrote, $3 AND a.backend_xid IS NOT NULL AS keeps_log, \
                    u.segments IS NOT NULL OR $3 AND a.backend_xid IS NOT NULL AS holds \
             FROM pg_stat_activity a LEFT JOIN used u ON u.pid = a.pid \
             WHERE a.pid <> pg_backend_pid() AND (u.segments IS NOT NULL OR $3 AND a.backend_xid IS NOT NULL \
                 OR a.datname = current_database() AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)) \
             AND a.backend_type NOT IN ('autovacuum worker', 'parallel worker', 'walsender') \
         ), counted AS ( \
             SELECT *, row_number() OVER (PARTITION BY holds ORDER BY age DESC) AS place, \
                    count(*) OVER (PARTITION BY holds) - 1 AS others \
             FROM held WHERE CASE WHEN holds THEN age >= $1 ELSE age >= $2 END \
         ) SELECT * FROM counted WHERE place = 1 ORDER BY holds DESC"
    );
    let prepared = format!(
        "WITH used AS MATERIALIZED ({USED}) \
         SELECT quote_literal(p.gid), p.database::text, p.owner::text, \
                extract(epoch FROM clock_timestamp() - p.prepared)::float8 AS age, u.segments, $2, count(*) OVER () - 1 \
         FROM pg_prepared_xacts p {PREPARED_LOCK} \
         LEFT JOIN used u ON u.pid IS NULL AND u.virtualtransaction = own.virtualtransaction \
         WHERE (p.database = current_database() OR $2) AND p.prepared < clock_timestamp() - make_interval(secs => $1) \
         ORDER BY p.prepared LIMIT 1"
    );
    let binds = [
        (&floor as _, Type::FLOAT8),
        (&snapshot as _, Type::FLOAT8),
        (&has_slot as _, Type::BOOL),
    ];
    let open = client.query_typed(&open, &binds).await?;
    let prepared = client
        .query_typed(&prepared, &[(&floor, Type::FLOAT8), (&has_slot, Type::BOOL)])
        .await?;
    let mut held: Vec<Held> = open.iter().map(open_transaction).collect();
    held.extend(prepared.iter().map(prepared_transaction));
    // First whoever holds back most.
    held.sort_by_key(|held| !(held.keeps_log || held.segments.is_some()));
    Ok(held)
}

fn open_transaction(row: &Row) -> Held {
    let (pid, seconds): (i32, f64) = (row.get("pid"), row.get("age"));
    let word = |column: &str| row.get::<_, &str>(column);
    let (database, user, state, statement) = (word("database"), word("role"), word("state"), word("statement"));
    Held {
        subject: format!("transaction of pid {pid}"),
        description: format!(
            "open for {} in database {database} by user {user}, {state}: {statement}",
            age(seconds)
        ),
        seconds,
        segments: row.get("segments"),
        wrote: row.get("wrote"),
        keeps_log: row.get("keeps_log"),
        remedy: format!("Let it end, or end it: SELECT pg_terminate_backend({pid});"),
        others: row.get("others"),
    }
}

fn prepared_transaction(row: &Row) -> Held {
    let (name, database, owner, seconds): (&str, &str, &str, f64) = (row.get(0), row.get(1), row.get(2), row.get(3));
    Held {
        subject: format!("prepared transaction {name}"),
        description: format!(
            "prepared {} ago in database {database} by {owner} and neither committed nor rolled back",
            age(seconds)
        ),
        seconds,
        segments: row.get(4),
        wrote: true,
        keeps_log: row.get(5),
        remedy: format!(
            "Its transaction manager should end it; if it was forgotten, in that database: ROLLBACK PREPARED {name}; (or COMMIT \
             PREPARED, where the other parties committed)"
        ),
        others: row.get(6),
    }
}

impl Held {
    /// As an alarm.
    pub fn alarm(self) -> Alarm {
        let mut holds = Vec::new();
        if let Some(segments) = &self.segments {
            let waits = if self.wrote {
                "what it appended waits for its end, and "
            } else {
                ""
            };
            holds.push(format!("{waits}{segments} cannot be emptied before it ends"));
        }
        if self.keeps_log {
            holds.push("the write-ahead log since it began is kept for the relay's slot".to_owned());
        }
        if holds.is_empty() {
            holds.push(
                "dead rows of the relay's progress cannot be removed, and every look at it grows slower".to_owned(),
            );
        }
        let others = match self.others {
            0 => String::new(),
            others => format!(" There are {others} more like it."),
        };
        Alarm {
            kind: AlarmKind::FloorHeld,
            subject: self.subject,
            message: format!(
                "{}. Because of it {}. {}{others}",
                self.description,
                holds.join("; "),
                self.remedy
            ),
            figure: Some(self.seconds),
        }
    }
}
