//! The schema of the outbox: embedded, versioned migrations for each database, and the grants that roles need.

pub mod postgres;
pub mod sqlite;

/// One step of the schema. Applying it records its version in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The schema's version once the step is applied. Versions are 1, 2, 3 and so on.
    pub version: i64,
    /// What the step is called.
    pub name: &'static str,
    /// The statements, to be run in one transaction. The last of them records the version.
    pub sql: &'static str,
}

/// The steps that lead on from `version`.
fn after(migrations: &'static [Migration], version: i64) -> impl Iterator<Item = &'static Migration> {
    migrations.iter().filter(move |migration| migration.version > version)
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_ascend_without_a_gap_and_each_step_records_its_own() {
        for migrations in [super::postgres::MIGRATIONS, super::sqlite::MIGRATIONS] {
            for (at, migration) in migrations.iter().enumerate() {
                assert_eq!(migration.version, at as i64 + 1, "{}", migration.name);
                let records = format!("migration (version) VALUES ({});", migration.version);
                assert!(migration.sql.trim_end().ends_with(&records), "{}", migration.name);
            }
        }
    }
}
