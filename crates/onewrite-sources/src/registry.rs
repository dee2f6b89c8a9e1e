//! Every type of source there is: its name, what can be configured, how it is opened and how its schema comes about.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use onewrite_core::catalogue::{Catalogue, Named, UnknownType};
use onewrite_core::options::{Field, Options};
use onewrite_core::verify::ProvingGround;
use onewrite_core::{Operations, Outbox, StoreError, StoreFailure};

/// A type of source that is built in.
#[derive(Clone, Copy)]
pub struct SourceType {
    /// What the configuration's `type` says.
    pub name: &'static str,
    /// One line for lists: what it is for.
    pub description: &'static str,
    /// What can be configured.
    pub fields: &'static [Field],
    open: Open,
    spreads: Spreads,
    migrate: Migrate,
    script: Script,
    ground: Option<Ground>,
}

type Open = fn(&Options, u32) -> Result<Opened, StoreError>;
type Spreads = fn(&Options) -> Result<(), &'static str>;
type Migrate = fn(Options, MigrateRequest) -> BoxFuture<'static, Result<Migrated, StoreError>>;
type Script = fn(&Options, &MigrateRequest) -> Result<String, StoreError>;
type Ground = fn(&Options) -> Result<Arc<dyn ProvingGround>, StoreError>;

impl SourceType {
    /// Makes the database's two faces from options that were read against [`fields`](Self::fields). It connects to nothing yet.
    ///
    /// # Errors
    /// `Refused`, naming the option that nothing could be made of.
    pub fn open(&self, options: &Options) -> Result<Opened, StoreError> {
        self.open_in_groups(options, 1)
    }

    /// The same for a relay that cuts the key space into so many groups of lanes.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_in_groups(&self, options: &Options, groups: u32) -> Result<Opened, StoreError> {
        (self.open)(options, groups)
    }

    /// Whether a relay over it can have several groups of lanes, so that several processes share its work.
    ///
    /// # Errors
    /// Why not, and what to do, in words.
    pub fn spreads(&self, options: &Options) -> Result<(), &'static str> {
        (self.spreads)(options)
    }

    /// Brings the schema to the newest version and does what else is asked.
    ///
    /// # Errors
    /// What the database says, and for what it has no counterpart of (such as roles in SQLite) what to do instead.
    pub async fn migrate(&self, options: &Options, request: MigrateRequest) -> Result<Migrated, StoreError> {
        (self.migrate)(options.clone(), request).await
    }

    /// The same as a script for whoever runs it in our stead, from an empty database on. It connects to nothing.
    ///
    /// # Errors
    /// As of [`migrate`](Self::migrate).
    pub fn script(&self, options: &Options, request: &MigrateRequest) -> Result<String, StoreError> {
        (self.script)(options, request)
    }

    /// The database as `onewrite verify` uses it. It connects to nothing yet.
    ///
    /// # Errors
    /// `Refused`, where verify cannot write to such a database, or nothing can be made of an option.
    pub fn ground(&self, options: &Options) -> Result<Arc<dyn ProvingGround>, StoreError> {
        let none = || {
            let words = format!("`onewrite verify` cannot write to a source of type {:?} yet", self.name);
            StoreError::new(StoreFailure::Refused, words)
        };
        (self.ground.ok_or_else(none)?)(options)
    }
}

impl Named for SourceType {
    fn name(&self) -> &'static str {
        self.name
    }

    fn fields(&self) -> &'static [Field] {
        self.fields
    }
}

impl fmt::Debug for SourceType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SourceType")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A database as the engine and as operators see it.
#[derive(Clone)]
pub struct Opened {
    /// For the engine.
    pub outbox: Arc<dyn Outbox>,
    /// For operators.
    pub operations: Arc<dyn Operations>,
    /// What it is and how new events are found, for people: `shop at localhost:5432 as onewrite, feed poll`. No secret is in it.
    pub place: String,
}

/// What a migration is asked for beside the newest version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrateRequest {
    /// How long a segment of the outbox is in use; `None` leaves it as it is, unless the configured retention asks for more.
    pub rotation: Option<Duration>,
    /// Into how many groups of lanes the relay cuts the key space; of several, each gets a publication of its own where the
    /// database has such things. `None` is as 1.
    pub groups: Option<u32>,
    /// Roles that get what an application needs.
    pub grant_application: Vec<String>,
    /// Roles that get what a relay needs.
    pub grant_relay: Vec<String>,
}

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Migrated {
    /// The versions that were applied, ascending; none where there was nothing to do.
    pub applied: Vec<i64>,
    /// The version that the schema is at now.
    pub version: i64,
    /// What else was done, and what is left for somebody else to do, in words.
    pub notes: Vec<String>,
}

/// The types of sources that are built in, in the order in which lists show them.
pub fn source_types() -> &'static [SourceType] {
    SOURCES.built_in
}

/// The type of this name.
///
/// # Errors
/// As of [`Catalogue::find`].
pub fn source_type(name: &str) -> Result<&'static SourceType, UnknownType> {
    SOURCES.find(name)
}

const SOURCES: Catalogue<SourceType> = Catalogue {
    what: "source",
    built_in: &[
        #[cfg(feature = "postgres")]
        postgres::TYPE,
        #[cfg(feature = "sqlite")]
        sqlite::TYPE,
    ],
    known: &[("postgres", Some("postgres")), ("sqlite", Some("sqlite"))],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_type_is_told_with_the_nearest_and_all() {
        let error = source_type("postgresql").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no source of type \"postgresql\"; did you mean \"postgres\"? the types are \"postgres\", \"sqlite\""
        );
    }

    #[test]
    fn the_catalogue_has_no_flaws() {
        assert_eq!(SOURCES.flaws(), Vec::<String>::new());
    }
}
