//! What works and what does not, for `onewrite check`.

use onewrite::sqlite::current_version;
use onewrite_core::error::chain;
use onewrite_core::sink::Finding;
use rusqlite::Connection;

use super::super::place::{Place, schema_problem};

/// Looks at everything. What cannot be looked at is a finding of its own.
pub(super) fn probe(place: &Place) -> Vec<Finding> {
    let connection = match place.open_any() {
        Ok(connection) => connection,
        Err(error) => return vec![Finding::broken("file", chain(&error))],
    };
    let looks: [Look; 3] = [schema, writing, journal];
    let mut findings = vec![Finding::works(
        "file",
        format!("{}, SQLite {}", place.path().display(), rusqlite::version()),
    )];
    for look in looks {
        findings.push(look(place, &connection));
    }
    findings
}

type Look = fn(&Place, &Connection) -> Finding;

fn schema(place: &Place, connection: &Connection) -> Finding {
    match current_version(connection).map(|version| (version, schema_problem(version))) {
        Ok((version, None)) => Finding::works("schema", format!("version {version}")),
        Ok((_, Some(problem))) => Finding::broken("schema", problem),
        Err(error) => Finding::broken("schema", chain(&place.failed("reading the schema's version", error))),
    }
}

fn writing(place: &Place, connection: &Connection) -> Finding {
    match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Ok(()) => Finding::works("writing", "the relay can write down its progress"),
        Err(error) => Finding::broken("writing", chain(&place.failed("beginning to write", error))),
    }
}

fn journal(place: &Place, connection: &Connection) -> Finding {
    const SUBJECT: &str = "journal mode";
    match connection.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)) {
        Ok(mode) if mode.eq_ignore_ascii_case("wal") => Finding::works(SUBJECT, "WAL"),
        Ok(mode) => Finding::warning(
            SUBJECT,
            format!(
                "it is {mode}, in which the relay and the writers wait for one another; set WAL, which stays with the file: \
                 PRAGMA journal_mode = WAL"
            ),
        ),
        Err(error) => Finding::broken(SUBJECT, chain(&place.failed("reading the journal mode", error))),
    }
}
