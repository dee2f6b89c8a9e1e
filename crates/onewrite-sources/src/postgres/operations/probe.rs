//! What works and what does not, for `onewrite check`.

use std::time::Duration;

use onewrite::schema::postgres::Rotation;
use onewrite_core::StoreError;
use onewrite_core::error::chain;
use onewrite_core::sink::{Finding, FindingLevel};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::super::error::failed;
use super::super::foreign;
use super::{PostgresOperations, log, privileges, schema_problem, schema_version};
use crate::words::age;

/// The oldest version of the server that is supported, as `server_version_num` gives it.
const SERVER_VERSION_MIN: i32 = 140_000;

/// Looks at everything. What cannot be looked at is a finding of its own.
pub(super) async fn probe(operations: &PostgresOperations) -> Vec<Finding> {
    let client = match operations.connector.connect().await {
        Ok(client) => client,
        Err(error) => return vec![Finding::broken("connection", chain(&error))],
    };
    let mut findings = vec![Finding::works("connection", operations.connector.place())];
    add(&mut findings, "server", server(&client).await);
    let schema = schema(&client).await;
    let usable = schema.as_ref().is_ok_and(|(usable, _)| *usable);
    add(&mut findings, "schema", schema.map(|(_, finding)| vec![finding]));
    // What the user may not look at is not looked at; the missing privileges are the finding.
    let mut may_look = false;
    if usable {
        let privileges = privileges::look(&client).await;
        may_look = privileges
            .as_ref()
            .is_ok_and(|found| found.iter().all(|finding| finding.level == FindingLevel::Works));
        add(&mut findings, "privileges", privileges);
    }
    match &operations.foreign {
        Some(foreign) => findings.extend(foreign::probe(&client, foreign).await),
        None if may_look => {
            let log = log::look(&client, operations.feed, operations.groups).await;
            add(&mut findings, "feed", log);
        }
        None => {}
    }
    let transactions = transactions(&client, operations.long_transaction).await;
    add(&mut findings, "transactions", transactions);
    if may_look && operations.foreign.is_none() {
        let segments = segments(&client, operations.retention).await;
        add(&mut findings, "segments", segments);
    }
    findings
}

fn add(findings: &mut Vec<Finding>, subject: &str, found: Result<Vec<Finding>, StoreError>) {
    match found {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::broken(subject, chain(&error))),
    }
}

/// The server's version and the settings that decide whether a commit is written and survives.
async fn server(client: &Client) -> Result<Vec<Finding>, StoreError> {
    const SETTINGS: &str = "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), \
                            pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool, \
                            current_setting('fsync')::bool, current_setting('full_page_writes')::bool, \
                            current_setting('synchronous_commit')";
    let row = client.query_typed_one(SETTINGS, &[]).await;
    let row = row.map_err(|error| failed("reading the server's settings", error))?;
    let (number, version): (i32, &str) = (row.get(0), row.get(1));
    let mut findings = vec![if number < SERVER_VERSION_MIN {
        Finding::broken(
            "server version",
            format!("PostgreSQL {version}; version 14 or later is needed"),
        )
    } else {
        Finding::works("server version", format!("PostgreSQL {version}"))
    }];
    if row.get(2) {
        let words = "the server is a replica, and a relay writes down its progress; connect to the primary";
        findings.push(Finding::broken("writing", words));
    } else if row.get(3) {
        let words = "default_transaction_read_only is on for this user or database; turn it off for the relay's user";
        findings.push(Finding::broken("writing", words));
    }
    for (column, name) in [(4, "fsync"), (5, "full_page_writes")] {
        if !row.get::<_, bool>(column) {
            let words = format!(
                "{name} is off: after a crash of the machine the database may be damaged or lack commits that it confirmed, \
                 among them events that were delivered; turn it on"
            );
            findings.push(Finding::warning(name, words));
        }
    }
    findings.push(match row.get(6) {
        "off" => Finding::warning(
            "synchronous_commit",
            "it is off: a crash of the server may take commits with it that the application was told of, events included. \
             No event is delivered before its commit is on disk; what is lost is lost in both places",
        ),
        word => Finding::works("synchronous_commit", word),
    });
    Ok(findings)
}

async fn schema(client: &Client) -> Result<(bool, Finding), StoreError> {
    let version = schema_version(client).await?;
    Ok(match schema_problem(version) {
        None => (true, Finding::works("schema", format!("version {version}"))),
        Some(problem) => (false, Finding::broken("schema", problem)),
    })
}

/// Transactions that stay open hold back the events written in them, and the reuse of segments.
async fn transactions(client: &Client, long: Duration) -> Result<Vec<Finding>, StoreError> {
    const OPEN: &str = "SELECT pid, coalesce(usename::text, ''), coalesce(state, ''), \
                        extract(epoch FROM clock_timestamp() - xact_start)::float8, \
                        left(regexp_replace(coalesce(query, ''), '\\s+', ' ', 'g'), 100) \
                        FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                        AND backend_type = 'client backend' AND xact_start < clock_timestamp() - make_interval(secs => $1) \
                        ORDER BY xact_start LIMIT 20";
    const PREPARED: &str = "SELECT quote_literal(gid), owner::text, extract(epoch FROM clock_timestamp() - prepared)::float8 \
                            FROM pg_prepared_xacts WHERE database = current_database() \
                            AND prepared < clock_timestamp() - make_interval(secs => $1) ORDER BY prepared LIMIT 20";
    let seconds = long.as_secs_f64();
    let open = client.query_typed(OPEN, &[(&seconds, Type::FLOAT8)]).await;
    let open = open.map_err(|error| failed("reading the open transactions", error))?;
    let prepared = client.query_typed(PREPARED, &[(&seconds, Type::FLOAT8)]).await;
    let prepared = prepared.map_err(|error| failed("reading the prepared transactions", error))?;
    let mut findings: Vec<Finding> = open.iter().map(open_transaction).collect();
    findings.extend(prepared.iter().map(prepared_transaction));
    if findings.is_empty() {
        let words = format!(
            "none has been open for longer than {}{}",
            age(seconds),
            blind_spot(client).await?
        );
        findings.push(Finding::works("transactions", words));
    }
    Ok(findings)
}

/// Without a certain role, a user sees only its own transactions.
async fn blind_spot(client: &Client) -> Result<String, StoreError> {
    const SEES_ALL: &str = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), quote_ident(current_user)";
    let row = client.query_typed_one(SEES_ALL, &[]).await;
    let row = row.map_err(|error| failed("reading the roles of the user", error))?;
    let role: &str = row.get(1);
    Ok(if row.get(0) {
        String::new()
    } else {
        format!(", as far as this user sees; to see the transactions of others: GRANT pg_read_all_stats TO {role};")
    })
}

fn open_transaction(row: &Row) -> Finding {
    let (pid, user, state): (i32, &str, &str) = (row.get(0), row.get(1), row.get(2));
    let query = match row.get(4) {
        "" | "<insufficient privilege>" => "its statement is hidden from this user",
        query => query,
    };
    Finding::warning(
        format!("transaction of pid {pid}"),
        format!(
            "open for {} by user {user}, {state}: {query}. Events written in it wait for its end, and space is not freed \
             before it; if it was forgotten: SELECT pg_terminate_backend({pid});",
            age(row.get(3))
        ),
    )
}

fn prepared_transaction(row: &Row) -> Finding {
    let (name, owner): (&str, &str) = (row.get(0), row.get(1));
    Finding::warning(
        format!("prepared transaction {name}"),
        format!(
            "prepared {} ago by {owner} and never ended. Events written in it wait for its end, and space is not freed before \
             it; if it was forgotten: ROLLBACK PREPARED {name};",
            age(row.get(2))
        ),
    )
}

/// Their sizes, and whether events can be kept as long as they are to be and still be removed after that.
async fn segments(client: &Client, retention: Duration) -> Result<Vec<Finding>, StoreError> {
    const SIZES: &str = "SELECT string_agg(c.relname || ' ' || pg_size_pretty(pg_total_relation_size(c.oid)), ', ' \
                             ORDER BY c.relname) \
                         FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
                         WHERE inhparent = (SELECT oid FROM pg_class WHERE relname = 'outbox' AND relnamespace = \
                             (SELECT oid FROM pg_namespace WHERE nspname = 'onewrite'))";
    let row = client.query_typed_one(SIZES, &[]).await;
    let row = row.map_err(|error| failed("reading the sizes of segments", error))?;
    let sizes = Finding::works("segments", row.get::<_, Option<String>>(0).unwrap_or_default());
    let rotation = onewrite::postgres::current_rotation(client).await;
    let rotation = rotation.map_err(|error| failed("reading the rotation of segments", error))?;
    let turns = format!(
        "segments are written to by turns of {}, and events are kept for {}",
        age(rotation.seconds().into()),
        age(retention.as_secs_f64())
    );
    let rotation = if rotation.fits(retention) {
        Finding::works("rotation", turns)
    } else {
        Finding::warning(
            "rotation",
            format!(
                "{turns}: two turns after its own it is too late to empty a segment, so none ever is and the table grows for ever; \
                 `onewrite migrate` sets turns of {}, or lower source.retention",
                age(Rotation::for_retention(retention).seconds().into())
            ),
        )
    };
    Ok(vec![sizes, rotation])
}
