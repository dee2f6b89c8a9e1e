//! The schema for PostgreSQL 14 and later.

pub mod grants;
pub mod groups;

use std::fmt::Write as _;
use std::time::Duration;

use super::Migration;
use crate::limits::{ROTATION_SECONDS_MAX, ROTATION_SECONDS_MIN, ROTATION_SLACK_SECONDS};
use grants::Grant;

/// Every step from an empty database on.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "outbox",
        sql: include_str!("postgres/0001_outbox.sql"),
    },
    Migration {
        version: 2,
        name: "log",
        sql: include_str!("postgres/0002_log.sql"),
    },
    Migration {
        version: 3,
        name: "history",
        sql: include_str!("postgres/0003_history.sql"),
    },
    Migration {
        version: 4,
        name: "skipped",
        sql: include_str!("postgres/0004_skipped.sql"),
    },
    Migration {
        version: 5,
        name: "groups",
        sql: include_str!("postgres/0005_groups.sql"),
    },
    Migration {
        version: 6,
        name: "limits",
        sql: include_str!("postgres/0006_limits.sql"),
    },
];

/// The publication that the log feed follows.
pub const PUBLICATION: &str = "onewrite";

/// The version that this crate works with.
pub const LATEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// How many segments the outbox has: the partitions `onewrite.outbox_0`, `onewrite.outbox_1` and so on.
pub const SEGMENTS: u32 = 4;

/// The advisory lock that keeps two migrations apart: `onewrite` in ASCII, as one number.
pub const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"onewrite");

/// The steps that lead from `version` to [`LATEST`].
pub fn pending(version: i64) -> impl Iterator<Item = &'static Migration> {
    super::after(MIGRATIONS, version)
}

/// Everything that leads from `version` to [`LATEST`], and the grants, as a script that a DBA can read and run with `psql` or
/// any other client. Each step is a transaction of its own, keeps others away while it runs, and refuses a database that is
/// not at the version before it.
pub fn print(version: i64, options: &MigrateOptions, grants: &[Grant]) -> String {
    let mut script = format!(
        "-- Onewrite: PostgreSQL schema, from version {version} to {LATEST}.\n\
         -- Run it as the role that is to own the schema; that need not be a superuser, and had better not be one.\n"
    );
    for migration in pending(version) {
        let (guard, sql) = (guard(migration.version), migration.sql.trim_end());
        let _ = write!(script, "\nBEGIN;\n{}\n{guard}\n{sql}\nCOMMIT;\n", prelude(options));
    }
    if let Some(rotation) = options.change_of(Rotation::default()) {
        let _ = write!(script, "\nBEGIN;\n{}\n{}COMMIT;\n", prelude(options), rotation.sql());
    }
    if options.groups > 1 {
        let _ = write!(script, "\n{}", groups::create_publications(options.groups));
    }
    for grant in grants {
        let _ = write!(script, "\n{}", grant.sql());
    }
    script
}

/// What a migration is asked for beside the newest version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrateOptions {
    /// How long a segment is in use; `None` leaves it as it is, which is an hour in a new schema, unless the retention asks for
    /// more.
    pub rotation: Option<Rotation>,
    /// How long relays keep events. Where no rotation is asked for, one that is too short for this retention is raised.
    pub retention: Duration,
    /// How long to wait for a lock. While a step waits for a lock on the outbox, every append waits behind it, so the wait is
    /// short: 5 seconds by default. A step that gave up can be tried again. Zero waits for as long as it takes.
    pub lock_timeout: Duration,
    /// Into how many groups of lanes a relay cuts the key space; of several, each gets a publication of its own where the server
    /// can filter rows.
    pub groups: u32,
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self {
            rotation: None,
            retention: Duration::ZERO,
            lock_timeout: Duration::from_secs(5),
            groups: 1,
        }
    }
}

impl MigrateOptions {
    /// Sets how long a segment is in use.
    #[must_use]
    pub fn rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = Some(rotation);
        self
    }

    /// Sets how long relays keep events.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets how long to wait for a lock.
    #[must_use]
    pub fn lock_timeout(mut self, lock_timeout: Duration) -> Self {
        self.lock_timeout = lock_timeout;
        self
    }

    /// Sets into how many groups of lanes a relay cuts the key space.
    #[must_use]
    pub fn groups(mut self, groups: u32) -> Self {
        self.groups = groups;
        self
    }

    /// The rotation that is to come instead of this one, if any.
    pub(crate) fn change_of(&self, current: Rotation) -> Option<Rotation> {
        let fitting = || (!current.fits(self.retention)).then(|| Rotation::for_retention(self.retention));
        self.rotation.or_else(fitting).filter(|wanted| *wanted != current)
    }
}

/// How long one segment of the outbox is in use before the next one's turn. Space is freed by whole segments, so after
/// settling an event takes up space for one to three rotations more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation(u32);

impl Rotation {
    /// A rotation of so many seconds.
    ///
    /// # Errors
    /// Outside of [`ROTATION_SECONDS_MIN`] to [`ROTATION_SECONDS_MAX`].
    pub fn from_seconds(seconds: u32) -> Result<Self, InvalidRotation> {
        if (ROTATION_SECONDS_MIN..=ROTATION_SECONDS_MAX).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(InvalidRotation { seconds })
        }
    }

    /// The shortest rotation with which events can be kept for so long and segments are still emptied. Beyond
    /// [`RETENTION_SECONDS_MAX`](crate::limits::RETENTION_SECONDS_MAX) there is none, and this is the longest.
    pub fn for_retention(retention: Duration) -> Self {
        let seconds = (retention.as_secs_f64() + f64::from(ROTATION_SLACK_SECONDS)) / 2.0;
        // The cast saturates.
        Self((seconds.ceil() as u32).min(ROTATION_SECONDS_MAX))
    }

    /// Whether segments are still emptied when events are kept for so long: their newest event is past the retention before
    /// their next turn comes near. Without a retention any rotation does.
    pub fn fits(self, retention: Duration) -> bool {
        let longest = 2 * u64::from(self.0);
        retention.is_zero()
            || Duration::from_secs(longest) >= retention + Duration::from_secs(ROTATION_SLACK_SECONDS.into())
    }

    /// The seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// The statements that bring it about. Inserts under way keep the segment that they have.
    pub fn sql(self) -> String {
        let seconds = self.0;
        format!(
            "ALTER TABLE onewrite.outbox ALTER COLUMN segment\n    \
             SET DEFAULT (floor(extract(epoch FROM clock_timestamp()) / {seconds})::bigint % {SEGMENTS})::smallint;\n\
             UPDATE onewrite.setting SET value = '{seconds}' WHERE name = 'rotation_seconds';\n"
        )
    }
}

impl Default for Rotation {
    /// An hour, as in a new schema.
    fn default() -> Self {
        Self(3600)
    }
}

/// A rotation outside of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rotation of {seconds} seconds is not possible; choose from {ROTATION_SECONDS_MIN} to {ROTATION_SECONDS_MAX} seconds"
)]
pub struct InvalidRotation {
    /// What was asked for.
    pub seconds: u32,
}

/// What a step's transaction begins with: a bounded wait for locks, and the lock that keeps two migrations apart.
pub(crate) fn prelude(options: &MigrateOptions) -> String {
    let timeout = options.lock_timeout.as_millis();
    format!("SET LOCAL lock_timeout = '{timeout}ms';\nSELECT pg_advisory_xact_lock({MIGRATION_LOCK});")
}

/// Refuses to lead to `version` from anything but the version before it.
fn guard(version: i64) -> String {
    let before = version - 1;
    if before == 0 {
        return "DO $$ BEGIN\n    \
                IF to_regclass('onewrite.migration') IS NOT NULL THEN\n        \
                RAISE EXCEPTION 'The schema onewrite is there already: print the steps from its version on.';\n    \
                END IF;\nEND $$;"
            .to_owned();
    }
    format!(
        "DO $$ BEGIN\n    \
         IF (SELECT max(version) FROM onewrite.migration) IS DISTINCT FROM {before} THEN\n        \
         RAISE EXCEPTION 'This step leads from version {before} to {version}, but the database is at version %.',\n            \
         (SELECT max(version) FROM onewrite.migration);\n    \
         END IF;\nEND $$;"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_has_limits() {
        assert_eq!(Rotation::from_seconds(60).map(Rotation::seconds), Ok(60));
        let told = Rotation::from_seconds(0).unwrap_err().to_string();
        assert_eq!(
            told,
            "a rotation of 0 seconds is not possible; choose from 1 to 2678400 seconds"
        );
        assert!(Rotation::from_seconds(ROTATION_SECONDS_MAX + 1).is_err());
    }

    #[test]
    fn a_rotation_is_fitted_to_the_retention() {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
        assert!(Rotation(1).fits(Duration::ZERO));
        assert!(Rotation::default().fits(hour) && !Rotation::default().fits(2 * hour));
        for (retention, seconds) in [(hour, 1860), (2 * hour, 3660), (day, 43_260), (61 * day, 2_635_260)] {
            let rotation = Rotation::for_retention(retention);
            assert_eq!(rotation.seconds(), seconds, "{retention:?}");
            assert!(rotation.fits(retention));
        }
        let longest = Duration::from_secs(crate::limits::RETENTION_SECONDS_MAX.into());
        assert!(Rotation::for_retention(longest).fits(longest));
        assert!(!Rotation::for_retention(longest + hour).fits(longest + hour));
    }

    #[test]
    fn a_rotation_that_is_too_short_is_raised_and_no_other_is_touched() {
        let keeping = |hours: u64| MigrateOptions::default().retention(Duration::from_secs(hours * 3600));
        assert_eq!(keeping(24).change_of(Rotation(3600)), Some(Rotation(43_260)));
        assert_eq!(keeping(24).change_of(Rotation(100_000)), None);
        assert_eq!(keeping(0).change_of(Rotation(60)), None);
        assert_eq!(
            keeping(24).rotation(Rotation(60)).change_of(Rotation(3600)),
            Some(Rotation(60))
        );
        assert!(print(0, &keeping(24), &[]).contains("value = '43260'"));
        assert!(!print(0, &keeping(1), &[]).contains("UPDATE onewrite.setting"));
    }

    #[test]
    fn the_script_from_the_newest_version_on_changes_nothing() {
        let script = print(LATEST, &MigrateOptions::default(), &[]);
        assert!(script.lines().all(|line| line.starts_with("--")), "{script}");
    }

    #[test]
    fn the_migration_and_the_crate_agree_on_the_first_rotation_and_the_segments() {
        let first = Rotation::default().sql();
        let default = first.split("DEFAULT ").nth(1).unwrap().lines().next().unwrap();
        assert!(MIGRATIONS[0].sql.contains(default.trim_end_matches(';')));
        assert!(MIGRATIONS[0].sql.contains("('rotation_seconds', '3600')"));
        let partitions = MIGRATIONS[0].sql.matches("PARTITION OF onewrite.outbox").count();
        assert_eq!(partitions, SEGMENTS as usize);
    }
}
