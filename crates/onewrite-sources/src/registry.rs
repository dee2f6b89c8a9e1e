//! Every type of source there is: its name, what can be configured, how it is opened and how its schema comes about.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use onewrite_core::options::{Field, Options, nearest};
use onewrite_core::{Operations, Outbox, StoreError};

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
}

type Open = fn(&Options, u32) -> Result<Opened, StoreError>;
type Spreads = fn(&Options) -> Result<(), &'static str>;
type Migrate = fn(Options, MigrateRequest) -> BoxFuture<'static, Result<Migrated, StoreError>>;
type Script = fn(&Options, &MigrateRequest) -> Result<String, StoreError>;

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
    TYPES
}

/// The type of this name.
///
/// # Errors
/// [`UnknownSource::NotBuiltIn`] where Onewrite knows the name but this program was built without it, and otherwise
/// [`UnknownSource::Unknown`] with the name that was probably meant.
pub fn source_type(name: &str) -> Result<&'static SourceType, UnknownSource> {
    if let Some(found) = TYPES.iter().find(|source_type| source_type.name == name) {
        return Ok(found);
    }
    if let Some(known) = KNOWN.iter().find(|known| **known == name) {
        return Err(UnknownSource::NotBuiltIn { name: known });
    }
    Err(UnknownSource::Unknown {
        name: name.to_owned(),
        nearest: nearest(&name.to_ascii_lowercase(), KNOWN.iter().copied()),
    })
}

/// Why there is no source of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownSource {
    /// Nothing of this name exists.
    #[error("there is no source of type {name:?};{} the types are {}", meant(*nearest), known())]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The name that was probably meant.
        nearest: Option<&'static str>,
    },
    /// It exists, but this program was built without it.
    #[error(
        "the source type {name:?} is not built into this program; use one that was built with the Cargo feature {name:?}"
    )]
    NotBuiltIn {
        /// The type, which is also the name of the Cargo feature that brings it.
        name: &'static str,
    },
}

const TYPES: &[SourceType] = &[
    #[cfg(feature = "postgres")]
    postgres::TYPE,
    #[cfg(feature = "sqlite")]
    sqlite::TYPE,
];

/// Every name there is, built in or not.
const KNOWN: &[&str] = &["postgres", "sqlite"];

fn known() -> String {
    KNOWN
        .iter()
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |name| format!(" did you mean {name:?}?"))
}

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
    fn a_known_type_is_either_built_in_or_said_not_to_be() {
        for name in KNOWN {
            match source_type(name) {
                Ok(found) => assert_eq!(found.name, *name),
                Err(error) => assert_eq!(error, UnknownSource::NotBuiltIn { name }),
            }
        }
    }

    #[test]
    fn defaults_fit_their_kinds_and_names_are_unique() {
        for source_type in source_types() {
            for (at, field) in source_type.fields.iter().enumerate() {
                if let Some(default) = field.default {
                    let fits = field.kind.parse(default);
                    assert!(
                        fits.is_ok(),
                        "{}.{}: {default:?} is not {fits:?}",
                        source_type.name,
                        field.name
                    );
                }
                assert!(!field.doc.is_empty(), "{}.{} has no doc", source_type.name, field.name);
                let twice = source_type.fields[..at].iter().any(|other| other.name == field.name);
                assert!(!twice, "{}.{} is there twice", source_type.name, field.name);
            }
        }
    }
}
