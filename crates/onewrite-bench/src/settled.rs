//! What the relay has recorded as settled in PostgreSQL.

use anyhow::Result;
use onewrite_testkit::servers::Database;

use crate::relay::ROUTE;

/// Asks how far a relay is.
pub struct Settled {
    client: tokio_postgres::Client,
    statement: tokio_postgres::Statement,
    relay: String,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether everything is settled.
    pub all: bool,
    /// Up to which sequence, about.
    pub sequence: i64,
}

impl Settled {
    /// Connects.
    pub async fn connect(database: &Database, relay: &str) -> Result<Self> {
        // What is recorded as settled within 50 ms; the count of deliveries in the status comes once a second.
        const SETTLED: &str = "\
            WITH last AS (SELECT sequence, xid FROM onewrite.outbox ORDER BY sequence DESC LIMIT 1) \
            SELECT cardinality(pending) = 0 \
                   AND (pg_visible_in_snapshot(xid, floor_snapshot::pg_snapshot) OR coalesce(window_sequence >= sequence, false)), \
                   coalesce(window_sequence, floor_sequence) \
            FROM onewrite.route, last WHERE relay = $1 AND name = $2";
        let client = database.connect().await;
        let statement = client.prepare(SETTLED).await?;
        Ok(Self {
            client,
            statement,
            relay: relay.to_owned(),
        })
    }

    /// How far the relay is, once it has recorded anything.
    pub async fn progress(&self) -> Result<Option<Progress>> {
        let row = self.client.query_opt(&self.statement, &[&self.relay, &ROUTE]).await?;
        Ok(row.map(|row| Progress {
            all: row.get(0),
            sequence: row.get(1),
        }))
    }
}
