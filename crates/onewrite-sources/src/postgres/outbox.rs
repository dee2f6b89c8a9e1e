//! The engine's view of a PostgreSQL outbox: leases, controls, and the way to sources.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as StandardMutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::options::Options;
use onewrite_core::routing::Share;
use onewrite_core::spread::Standing;
use onewrite_core::store::{Maintenance, RouteControl, RouteReport};
use onewrite_core::{Lease, Member, Outbox, Source, StoreError, StoreFailure};
use tokio::sync::Mutex;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::WantedFeed;
use super::blocked::KEYS;
use super::connection::Connector;
use super::error::failed;
use super::feed::{Feed, Log};
use super::foreign::ForeignOutbox;
use super::log::{self, Tail, slot};
use super::native::NativeTable;
use super::redeliveries::Redeliveries;
use super::session::{BEGIN, Parameters, Session, fenced, transaction};
use super::{adopt, lease, maintain};

/// [`Outbox`] for PostgreSQL.
pub struct PostgresOutbox {
    connector: Connector,
    retention: Duration,
    /// The connection of the small calls.
    small_calls: Kept,
    /// That on which blocked keys are asked for: where there are very many it takes its time, and the lease is renewed meanwhile.
    blocked_keys: Kept,
    /// What routes have reported and is not written yet.
    unwritten: lease::Unwritten,
    feed: WantedFeed,
    /// The readers of the log, by the epochs of leases, each for as long as a feed uses it.
    tails: StandardMutex<HashMap<i64, Weak<Tail>>>,
    /// What takes the native outbox's place, where the contract is another.
    foreign: Option<ForeignOutbox>,
}

impl PostgresOutbox {
    /// Reads [`FIELDS`](super::FIELDS). It connects to nothing yet.
    ///
    /// # Errors
    /// `Refused`, naming the key and what is wrong with it.
    pub fn from_options(options: &Options) -> Result<Self, StoreError> {
        Ok(Self {
            connector: Connector::from_options(options)?,
            retention: options.duration("retention").unwrap_or_default(),
            small_calls: Kept::default(),
            blocked_keys: Kept::default(),
            unwritten: lease::Unwritten::default(),
            feed: WantedFeed::of(options),
            tails: StandardMutex::default(),
            foreign: ForeignOutbox::from_options(options)?,
        })
    }

    /// Which database this is, for people, and where in it the events are.
    pub fn place(&self) -> String {
        match &self.foreign {
            Some(foreign) => format!("{}, {}", self.connector.place(), foreign.place()),
            None => self.connector.place().to_owned(),
        }
    }

    /// The reader of the log that the feeds of this lease share; `None` where the log is not to be read.
    fn tail(&self, lease: &Lease) -> Option<Arc<Tail>> {
        if self.feed == WantedFeed::Poll {
            return None;
        }
        let mut tails = self.tails.lock().expect("nobody panics while holding it");
        tails.retain(|_, tail| tail.strong_count() > 0);
        if let Some(tail) = tails.get(&lease.epoch).and_then(Weak::upgrade) {
            return Some(tail);
        }
        let tail = Arc::new(Tail::start(&self.connector, lease));
        tails.insert(lease.epoch, Arc::downgrade(&tail));
        Some(tail)
    }

    /// Makes sure that what the option `feed` asks for can be, and that a slot that is not used any more holds no log back.
    async fn settle_feed(&self, lease: &Lease) -> Result<(), StoreError> {
        let session = Session::open(&self.connector, lease).await?;
        log::drop_left_over(&session).await?;
        match self.feed {
            WantedFeed::Auto => {}
            WantedFeed::Wal => {
                let obstacles = slot::obstacles(session.client(), lease.group).await?;
                if !obstacles.is_empty() {
                    let words = format!(
                        "feed = \"wal\" cannot follow the log: {}. Or set feed = \"auto\" or \"poll\", which poll meanwhile",
                        obstacles.join("; ")
                    );
                    return Err(StoreError::new(StoreFailure::Refused, words));
                }
            }
            WantedFeed::Poll => log::stop_following(&session, "feed = \"poll\" asks for it").await?,
        }
        Ok(())
    }

    /// Runs one statement in a transaction whose commit is durable.
    async fn run(&self, doing: &str, sql: &str, parameters: &Parameters<'_>) -> Result<Vec<Row>, StoreError> {
        self.with_client(async |client: &Client| run(client, doing, sql, parameters).await)
            .await
    }

    /// Does something on the connection of the small calls.
    async fn with_client<T>(&self, work: impl AsyncFnOnce(&Client) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.small_calls.with(&self.connector, work).await
    }

    /// What is not in Onewrite's own table is not spread: there one place in the log, or the rows themselves, say what is settled.
    fn refuse_groups(&self, member: &Member) -> Result<(), StoreError> {
        if member.groups == 1 || self.foreign.is_none() {
            return Ok(());
        }
        Err(StoreError::new(StoreFailure::Refused, NOT_SPREAD))
    }
}

/// Why events of another contract are in one group.
pub(crate) const NOT_SPREAD: &str = "only Onewrite's own outbox (contract = \"native\") can be spread over processes; leave groups at 1, \
                                     by which several processes of one name are an active one and its standbys";

#[async_trait]
impl Outbox for PostgresOutbox {
    async fn claim(&self, member: &Member, group: u32, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        self.refuse_groups(member)?;
        let claim = async |client: &Client| lease::claim(client, member, group, ttl).await;
        self.with_client(claim).await
    }

    async fn attend(&self, member: &Member, ttl: Duration) -> Result<Standing, StoreError> {
        self.refuse_groups(member)?;
        let attend = async |client: &Client| lease::attend(client, member, ttl).await;
        self.with_client(attend).await
    }

    async fn leave(&self, member: &Member) -> Result<(), StoreError> {
        let leave = async |client: &Client| lease::leave(client, member).await;
        self.with_client(leave).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        reports: &[RouteReport],
    ) -> Result<Vec<RouteControl>, StoreError> {
        let reports = (reports, &self.unwritten);
        self.with_client(async |client: &Client| lease::renew(client, lease, ttl, reports).await)
            .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        const RELEASE: &str = "UPDATE onewrite.relay SET holder = NULL, expires_at = clock_timestamp() \
                               WHERE name = $1 AND epoch = $2";
        let parameters: Parameters<'_> = vec![(&lease.relay, Type::TEXT), (&lease.epoch, Type::INT8)];
        self.run("releasing the lease", RELEASE, &parameters).await.map(|_| ())
    }

    async fn adopt(&self, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
        if let Some(foreign) = &self.foreign {
            return foreign.adopt(&self.connector, lease, shares).await;
        }
        adopt::adopt(self.connector.connect().await?, lease, shares).await?;
        self.settle_feed(lease).await
    }

    async fn feed(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        if let Some(foreign) = &self.foreign {
            return foreign.feed(&self.connector, lease, share).await;
        }
        let table = NativeTable::open(&self.connector, lease, share).await?;
        let log = self.tail(lease).map(|tail| tail as Arc<dyn Log>);
        Ok(Box::new(Feed::open(table, share, log).await?))
    }

    async fn redeliveries(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        Ok(Box::new(Redeliveries::open(&self.connector, lease, share).await?))
    }

    async fn blocked_keys(&self, lease: &Lease, route: &str) -> Result<Vec<Arc<str>>, StoreError> {
        // KEYS numbers its parameters from the third.
        let sql = format!("{KEYS} SELECT key FROM keys WHERE key IS NOT NULL AND $1 = $1 AND $2 = $2");
        let parameters: Parameters<'_> = vec![
            (&0_i64, Type::INT8),
            (&0_i64, Type::INT8),
            (&lease.relay, Type::TEXT),
            (&route, Type::TEXT),
        ];
        let read = async |client: &Client| run(client, "reading blocked keys", &sql, &parameters).await;
        let rows = self.blocked_keys.with(&self.connector, read).await?;
        Ok(rows.iter().map(|row| Arc::from(row.get::<_, &str>(0))).collect())
    }

    async fn halt(&self, lease: &Lease, route: &str, reason: &str) -> Result<(), StoreError> {
        const HALT: &str = "UPDATE onewrite.route SET halted = $4, state = 'halted', updated_at = clock_timestamp() \
                            FROM onewrite.relay WHERE relay.name = $1 AND relay.epoch = $3 \
                            AND route.relay = $1 AND route.name = $2 AND route.epoch = $3 RETURNING 1";
        let reason = reason.replace('\0', "\u{fffd}");
        let parameters: Parameters<'_> = vec![
            (&lease.relay, Type::TEXT),
            (&route, Type::TEXT),
            (&lease.epoch, Type::INT8),
            (&reason, Type::TEXT),
        ];
        let rows = self.run("recording that the route halted", HALT, &parameters).await?;
        if rows.is_empty() { Err(fenced(lease)) } else { Ok(()) }
    }

    async fn maintain(&self, lease: &Lease) -> Result<Maintenance, StoreError> {
        if self.foreign.is_some() {
            // The segments are those of a relay over the native outbox.
            return Ok(Maintenance::default());
        }
        // A connection of its own: looking through a large segment must not keep the lease from being renewed.
        maintain::maintain(self.connector.connect().await?, lease, self.retention).await
    }
}

async fn run(client: &Client, doing: &str, sql: &str, parameters: &Parameters<'_>) -> Result<Vec<Row>, StoreError> {
    let rows = transaction(client, BEGIN, client.query_typed(sql, parameters)).await;
    rows.map_err(|error| failed(doing, error))
}

/// A connection that is opened when it is first wanted. It is absent while somebody uses it, so that one that failed or was abandoned is
/// not used again.
#[derive(Default)]
struct Kept(Mutex<Option<Client>>);

impl Kept {
    async fn with<T>(
        &self,
        connector: &Connector,
        work: impl AsyncFnOnce(&Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut kept = self.0.lock().await;
        let client = match kept.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => connector.connect().await?,
        };
        let done = work(&client).await?;
        *kept = Some(client);
        Ok(done)
    }
}
