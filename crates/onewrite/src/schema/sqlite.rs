//! The schema for SQLite.

use super::Migration;

/// Every step from an empty database on.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "outbox",
        sql: include_str!("sqlite/0001_outbox.sql"),
    },
    Migration {
        version: 2,
        name: "history",
        sql: include_str!("sqlite/0002_history.sql"),
    },
    Migration {
        version: 3,
        name: "skipped",
        sql: include_str!("sqlite/0003_skipped.sql"),
    },
];

/// The version that this crate works with.
pub const LATEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The steps that lead from `version` to [`LATEST`].
pub fn pending(version: i64) -> impl Iterator<Item = &'static Migration> {
    super::after(MIGRATIONS, version)
}

/// Everything that leads from `version` to [`LATEST`], as a script for the `sqlite3` shell: each step in a transaction.
pub fn print(version: i64) -> String {
    let mut script = format!("-- Onewrite: SQLite schema, from version {version} to {LATEST}.\n.bail on\n");
    for migration in pending(version) {
        let sql = migration.sql.trim_end();
        script.push_str(&format!("\nBEGIN IMMEDIATE;\n{sql}\nCOMMIT;\n"));
    }
    script
}
