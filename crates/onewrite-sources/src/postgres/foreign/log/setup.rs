//! What reading the log needs of the server: a publication, and a slot that stands where the relay left it.

use onewrite_core::routing::Group;
use onewrite_core::{Lease, StoreError, StoreFailure};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::super::super::error::failed;
use super::super::super::log::slot::{self, Health};
use super::super::catalogue::Table;
use super::super::name::{TableName, literal, quoted};
use super::super::settings::{Foreign, Place};

/// Where the slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Whether it was made just now: what was recorded before says nothing then.
    pub is_new: bool,
    /// Every commit from this place in the log on will come.
    pub place: u64,
    is_ahead: bool,
}

/// The names of what a relay reads the log by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub slot: String,
    pub publication: String,
}

impl Log {
    /// The names for a relay.
    pub async fn of(client: &Client, foreign: &Foreign, relay: &str) -> Result<Self, StoreError> {
        let database = client.query_typed_one("SELECT current_database()::text", &[]).await;
        let database = database.map_err(|error| failed("asking for the database's name", error))?;
        let slot = slot::name(database.get(0), relay, Group::ALL);
        Ok(Self {
            publication: foreign.publication.clone().unwrap_or_else(|| slot.clone()),
            slot,
        })
    }

    /// Makes sure that the log can be read, and that there is a publication and a slot.
    ///
    /// # Errors
    /// `Refused` where a person must change something, and where the slot is lost: with it are the events between what was settled
    /// and now.
    pub async fn prepare(
        &self,
        client: &Client,
        lease: &Lease,
        foreign: &Foreign,
        has_progress: bool,
    ) -> Result<Start, StoreError> {
        let obstacles = slot::obstacles_of_server(client).await?;
        if !obstacles.is_empty() {
            let words = format!("the log cannot be read: {}", obstacles.join("; "));
            return Err(StoreError::new(StoreFailure::Refused, words));
        }
        // A slot reads what was published when it was written; so the publication comes first.
        self.publish(client, foreign).await?;
        let recorded = recorded(client, lease).await?;
        let is_ours = recorded.as_ref() == Some(&self.slot);
        let is_new = match slot::free(client, &self.slot).await? {
            Some(Health::Sound) if has_progress || !is_ours => false,
            None if has_progress && is_ours => return Err(lost(foreign, lease, &self.slot, "it is not there")),
            Some(Health::Lost(reason)) if has_progress && is_ours => {
                return Err(lost(foreign, lease, &self.slot, &reason));
            }
            found => {
                if found.is_some() {
                    slot::drop_slot(client, &self.slot).await?;
                }
                slot::create(client, &self.slot).await?;
                true
            }
        };
        let start = self.start(client, lease, is_new).await?;
        if start.is_ahead {
            let reason = "what is recorded lies ahead of the server's log, so this is another server than it was, or an older state of it";
            return Err(lost(foreign, lease, &self.slot, reason));
        }
        Ok(start)
    }

    async fn start(&self, client: &Client, lease: &Lease, is_new: bool) -> Result<Start, StoreError> {
        const START: &str = "\
            SELECT (confirmed_flush_lsn - '0/0')::bigint, \
                   coalesce((SELECT max(log_commit) FROM onewrite.route WHERE relay = $2) > pg_current_wal_insert_lsn() - '0/0', false) \
            FROM pg_replication_slots WHERE slot_name = $1";
        let parameters = [(&self.slot as _, Type::TEXT), (&lease.relay as _, Type::TEXT)];
        let row = client.query_typed_one(START, &parameters).await;
        let row = row.map_err(|error| failed("looking at the slot", error))?;
        Ok(Start {
            is_new,
            place: row.get::<_, i64>(0).cast_unsigned(),
            is_ahead: row.get::<_, bool>(1) && !is_new,
        })
    }

    /// Looks whether the publication publishes what is needed, and creates it where it is missing.
    async fn publish(&self, client: &Client, foreign: &Foreign) -> Result<(), StoreError> {
        match self.lacks(client, foreign).await? {
            None => Ok(()),
            Some(Lack::Wrong(words)) => Err(StoreError::new(StoreFailure::Refused, words)),
            Some(Lack::Missing(create)) => match client.batch_execute(&create).await {
                Ok(()) => {
                    tracing::info!(publication = %self.publication, "the publication is created");
                    Ok(())
                }
                Err(error) => Err(self.cannot_create(&create, error)),
            },
        }
    }

    fn cannot_create(&self, create: &str, error: Error) -> StoreError {
        if error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
            return failed(&format!("creating the publication with {create}"), error);
        }
        let words = format!(
            "the publication {} is missing, and this role may not create it; as a role with CREATE on the database that owns the table \
             run: {create}",
            quoted(&self.publication)
        );
        StoreError::new(StoreFailure::Refused, words).because(error)
    }

    /// What the publication lacks; `None` when nothing.
    pub async fn lacks(&self, client: &Client, foreign: &Foreign) -> Result<Option<Lack>, StoreError> {
        const PUBLICATION: &str = "SELECT pubinsert, pubviaroot FROM pg_publication WHERE pubname = $1";
        let name = quoted(&self.publication);
        let table = match &foreign.place {
            Place::Table(table) => Some(Table::read(client, &format!("{}.table", foreign.section), table).await?),
            Place::Messages(_) => None,
        };
        let found = client
            .query_typed_opt(PUBLICATION, &[(&self.publication, Type::TEXT)])
            .await;
        let Some(found) = found.map_err(|error| failed(LOOKING, error))? else {
            return Ok(Some(Lack::Missing(create(&name, foreign, table.as_ref()))));
        };
        let Some(table) = table else { return Ok(None) };
        if !found.get::<_, bool>(0) {
            let words = format!(
                "the publication {name} does not publish inserts; as its owner run ALTER PUBLICATION {name} SET (publish = 'insert');"
            );
            return Ok(Some(Lack::Wrong(words)));
        }
        if table.is_partitioned && !found.get::<_, bool>(1) {
            let words = format!(
                "the publication {name} names partitions in place of the table {}; as its owner run \
                 ALTER PUBLICATION {name} SET (publish_via_partition_root = true);",
                table.name
            );
            return Ok(Some(Lack::Wrong(words)));
        }
        if !publishes(client, &self.publication, &table.name).await? {
            let words = format!(
                "the publication {name} does not publish the table {}; as its owner run ALTER PUBLICATION {name} ADD TABLE {};",
                table.name,
                table.name.quoted()
            );
            return Ok(Some(Lack::Wrong(words)));
        }
        Ok(None)
    }
}

const LOOKING: &str = "looking at the publication";

/// What a publication lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It is not there; this creates it.
    Missing(String),
    /// It is not as it should be, for this reason.
    Wrong(String),
}

fn create(name: &str, foreign: &Foreign, table: Option<&Table>) -> String {
    let Some(table) = table else {
        return format!("CREATE PUBLICATION {name};");
    };
    // Updates are published where the router has something to say about them, and where that does not make them fail.
    let publish = match foreign.contract == "debezium" && table.has_identity {
        true => "insert, update",
        false => "insert",
    };
    format!(
        "CREATE PUBLICATION {name} FOR TABLE {} WITH (publish = '{publish}', publish_via_partition_root = true);",
        table.name.quoted()
    )
}

async fn publishes(client: &Client, publication: &str, table: &TableName) -> Result<bool, StoreError> {
    const PUBLISHED: &str =
        "SELECT EXISTS (SELECT 1 FROM pg_publication_tables WHERE pubname = $1 AND schemaname = $2 AND tablename = $3)";
    let parameters = [
        (&publication as _, Type::TEXT),
        (&table.schema as _, Type::TEXT),
        (&table.table as _, Type::TEXT),
    ];
    let row = client.query_typed_one(PUBLISHED, &parameters).await;
    Ok(row.map_err(|error| failed(LOOKING, error))?.get(0))
}

/// The slot that the relay had when it last ran.
async fn recorded(client: &Client, lease: &Lease) -> Result<Option<String>, StoreError> {
    const SLOT: &str = "SELECT slot FROM onewrite.relay WHERE name = $1";
    let row = client.query_typed_opt(SLOT, &[(&lease.relay, Type::TEXT)]).await;
    let row = row.map_err(|error| failed("looking for the slot", error))?;
    Ok(row.and_then(|row| row.get(0)))
}

/// The error of a relay whose slot is lost. Nothing but the log knew what it had not delivered.
pub(super) fn lost(foreign: &Foreign, lease: &Lease, slot: &str, reason: &str) -> StoreError {
    let words = format!(
        "the replication slot {slot:?} of relay {:?} is lost: {reason}. It kept the place in the log, so what was written to {} since the \
         last settled event may be missing at the sinks and nobody else knows it; where rows are kept, compare them with what arrived. \
         To begin anew from now on, run UPDATE onewrite.relay SET slot = NULL WHERE name = {}; and start the relay again",
        lease.relay,
        foreign.place_name(),
        literal(&lease.relay)
    );
    StoreError::new(StoreFailure::Refused, words)
}
