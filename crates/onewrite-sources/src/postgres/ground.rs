//! A PostgreSQL outbox as the proving ground of `onewrite verify`.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use futures::future::try_join_all;
use onewrite_core::options::{Options, Secret};
use onewrite_core::routing::Share;
use onewrite_core::verify::{ProvingGround, Run, TransactionEnd, TrialWriter, Written};
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use super::connection::Connector;
use super::error::failed;
use super::session::{LAST_SEQUENCE, Parameters};

/// Deliveries that one transaction of the inbox consumer takes.
const RECEIVED_AT_ONCE: usize = 200;

/// [`ProvingGround`] for PostgreSQL's native outbox.
pub struct PostgresGround {
    connector: Connector,
    url: Secret,
}

impl PostgresGround {
    /// The ground that the options of a source of type `postgres` name. It connects to nothing yet.
    ///
    /// # Errors
    /// `Refused` for the tables of others, and where nothing can be made of an option.
    pub fn from_options(options: &Options) -> Result<Self, StoreError> {
        if let Some(contract @ ("columns" | "debezium")) = options.text("contract") {
            let words = format!(
                "{}.contract is {contract:?}, and `onewrite verify` writes to the native outbox alone: it cannot know what else the \
                 application's table asks for",
                options.section()
            );
            return Err(StoreError::new(StoreFailure::Refused, words));
        }
        Ok(Self {
            connector: Connector::from_options(options)?,
            url: options.secret("url").cloned().unwrap_or_else(|| Secret::new("")),
        })
    }

    async fn connect(&self) -> Result<Client, StoreError> {
        self.connector.connect().await
    }
}

#[async_trait]
impl ProvingGround for PostgresGround {
    fn tells_feed(&self) -> bool {
        true
    }

    async fn obstacles(&self) -> Result<Vec<String>, StoreError> {
        // The catalogue is read directly: the functions that take a name fail where the role may not even use the schema.
        const MISSING: &str = "\
            SELECT 'GRANT ' || r || ' ON ' || quote_ident(nspname) || '.' || quote_ident(relname) || ' TO ' || quote_ident(current_user) \
            FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace, \
                 unnest(CASE relname WHEN 'outbox' THEN '{SELECT,DELETE}' WHEN 'inbox' THEN '{SELECT,DELETE}' \
                                     ELSE '{SELECT,INSERT,UPDATE,DELETE}' END::text[]) AS r \
            WHERE nspname = 'onewrite' AND relname IN ('outbox', 'inbox', 'relay', 'route') AND NOT has_table_privilege(c.oid, r) \
            UNION ALL \
            SELECT format('GRANT EXECUTE ON FUNCTION %I.%I(%s) TO %I', nspname, proname, pg_get_function_identity_arguments(p.oid), \
                          current_user) \
            FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace \
            WHERE nspname = 'onewrite' AND proname IN ('append_all', 'lock_keys', 'receive') \
              AND NOT has_function_privilege(p.oid, 'EXECUTE') \
            ORDER BY 1";
        let wrong = |error| failed("reading privileges", error);
        let rows = self.connect().await?.query_typed(MISSING, &[]).await.map_err(wrong)?;
        Ok(rows.iter().map(|row| format!("{};", row.get::<_, &str>(0))).collect())
    }

    async fn last_sequence(&self) -> Result<i64, StoreError> {
        let row = self.connect().await?.query_typed_one(LAST_SEQUENCE, &[]).await;
        Ok(row
            .map_err(|error| failed("reading the outbox's sequence", error))?
            .get(0))
    }

    async fn begin(&self, share: &Share) -> Result<(), StoreError> {
        begin(&mut self.connect().await?, share)
            .await
            .map_err(|error| failed("recording where the run begins", error))
    }

    async fn writer(&self) -> Result<Box<dyn TrialWriter>, StoreError> {
        Ok(Box::new(Writer {
            connector: self.connector.clone(),
            client: Some(self.connect().await?),
        }))
    }

    async fn committed(&self, run: &Run, keys: &[String], ids: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
        // Each statement has a snapshot of its own, so that the second sees what ended while the first waited for its locks.
        const WAIT: &str = "SELECT onewrite.lock_keys(VARIADIC $1)";
        const LOOK: &str = "SELECT id FROM onewrite.outbox WHERE sequence > $1 AND topic = $2 AND id = ANY ($3)";
        let wrong = |error| failed("looking up events whose COMMIT was not answered", error);
        let (mut client, topic) = (self.connect().await?, run.topic());
        let transaction = client.transaction().await.map_err(wrong)?;
        let waiting = transaction.query_typed(WAIT, &[(&keys, Type::TEXT_ARRAY)]).await;
        waiting.map_err(wrong)?;
        let look: Parameters<'_> = vec![(&run.after, Type::INT8), (&topic, Type::TEXT), (&ids, Type::UUID_ARRAY)];
        let rows = transaction.query_typed(LOOK, &look).await.map_err(wrong)?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn receive(&self, consumer: &str, deliveries: &[Uuid]) -> Result<HashMap<Uuid, u64>, StoreError> {
        let wrong = |error| failed("running the inbox consumer", error);
        let (mut client, mut effects) = (self.connect().await?, HashMap::new());
        for chunk in deliveries.chunks(RECEIVED_AT_ONCE) {
            let transaction = client.transaction().await.map_err(wrong)?;
            // One round trip for all: the driver sends them one behind the other.
            let asked = chunk
                .iter()
                .map(|id| onewrite::postgres::receive(&transaction, consumer, *id));
            let first = try_join_all(asked).await.map_err(|error| {
                StoreError::new(StoreFailure::Unavailable, "running the inbox consumer").because(error)
            })?;
            transaction.commit().await.map_err(wrong)?;
            for (id, first) in chunk.iter().zip(first) {
                *effects.entry(*id).or_default() += u64::from(first);
            }
        }
        Ok(effects)
    }

    async fn outbox_bytes(&self) -> Result<u64, StoreError> {
        const BYTES: &str = "SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint FROM pg_inherits \
                             WHERE inhparent = 'onewrite.outbox'::regclass";
        let row = self.connect().await?.query_typed_one(BYTES, &[]).await;
        let bytes: i64 = row.map_err(|error| failed("measuring the outbox", error))?.get(0);
        Ok(bytes.unsigned_abs())
    }

    async fn remove(&self, run: &Run) -> Result<u64, StoreError> {
        let wrong = |error| failed("removing what verify wrote", error);
        let (client, topic) = (self.connect().await?, run.topic());
        const RECEIVED: &str = "DELETE FROM onewrite.inbox WHERE consumer = $1";
        const WRITTEN: &str = "DELETE FROM onewrite.outbox WHERE sequence > $1 AND topic = $2";
        let received = client.execute_typed(RECEIVED, &[(&topic, Type::TEXT)]).await;
        received.map_err(wrong)?;
        let written: Parameters<'_> = vec![(&run.after, Type::INT8), (&topic, Type::TEXT)];
        client.execute_typed(WRITTEN, &written).await.map_err(wrong)
    }

    fn named(&self, application: &str) -> Vec<(&'static str, Secret)> {
        let url = self.url.expose();
        let separator = match (url.contains("://"), url.contains('?')) {
            (false, _) => " ",
            (true, false) => "?",
            (true, true) => "&",
        };
        // Of two such parameters the last one holds.
        let url = format!("{url}{separator}application_name={application}");
        vec![("url", Secret::new(url))]
    }

    async fn cut(&self, application: &str) -> Result<Option<u64>, StoreError> {
        const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE application_name = $1 AND usename = current_user AND datname = current_database()";
        let cut = self
            .connect()
            .await?
            .query_typed(CUT, &[(&application, Type::TEXT)])
            .await;
        let cut = cut.map_err(|error| failed("cutting the relay's connections to the database", error))?;
        Ok(Some(cut.len() as u64).filter(|count| *count > 0))
    }
}

/// A floor that sees everything committed by now. Its lower bound was read before this session's own transaction took its number, so
/// no transaction that the snapshot does not see has a lower sequence (see [`Snapshot`](super::snapshot::Snapshot)).
async fn begin(client: &mut Client, share: &Share) -> Result<(), Error> {
    const RELAY: &str = "INSERT INTO onewrite.relay (name) VALUES ($1)";
    const ROUTE: &str = "INSERT INTO onewrite.route (relay, name, definition, floor_snapshot, floor_sequence) \
                         VALUES ($1, $2, $3, pg_current_snapshot()::text, $4)";
    let low: i64 = client.query_typed_one(LAST_SEQUENCE, &[]).await?.get(0);
    client.execute_typed(RELAY, &[(&share.relay, Type::TEXT)]).await?;
    let definition = share.definition();
    let route: Parameters<'_> = vec![
        (&share.relay, Type::TEXT),
        (&share.route, Type::TEXT),
        (&definition, Type::TEXT),
        (&low, Type::INT8),
    ];
    client.execute_typed(ROUTE, &route).await.map(|_| ())
}

/// Writes as an application does; connects anew after whatever broke.
struct Writer {
    connector: Connector,
    client: Option<Client>,
}

#[async_trait]
impl TrialWriter for Writer {
    async fn write(&mut self, events: &[onewrite::Event], end: TransactionEnd) -> Written {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => match self.connector.connect().await {
                Ok(client) => client,
                Err(error) => return Written::Failed(error),
            },
        };
        let written = write(&mut client, events, end).await;
        if matches!(written, Written::Committed | Written::RolledBack) {
            self.client = Some(client);
        }
        written
    }
}

async fn write(client: &mut Client, events: &[onewrite::Event], end: TransactionEnd) -> Written {
    let wrong = |error| Written::Failed(failed("beginning a transaction", error));
    let transaction = match client.transaction().await {
        Ok(transaction) => transaction,
        Err(error) => return wrong(error),
    };
    if let Err(error) = onewrite::postgres::append_all(&transaction, events).await {
        return Written::Failed(StoreError::new(StoreFailure::Unavailable, "appending events").because(error));
    }
    match end {
        TransactionEnd::Commit => match transaction.commit().await {
            Ok(()) => Written::Committed,
            Err(_) => Written::Unknown,
        },
        // An error leaves the transaction open on a connection that is dropped, which ends it.
        TransactionEnd::RollBack => match transaction.rollback().await {
            Ok(()) => Written::RolledBack,
            Err(error) => wrong(error),
        },
        TransactionEnd::Abandon => {
            let mut commit = std::pin::pin!(transaction.commit());
            // The first poll hands COMMIT to the connection.
            match futures::poll!(&mut commit) {
                std::task::Poll::Ready(Ok(())) => Written::Committed,
                std::task::Poll::Ready(Err(_)) | std::task::Poll::Pending => Written::Unknown,
            }
        }
    }
}
