//! The servers of a sink: one, or those of a cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onewrite_core::error::SinkError;
use redis::{Pipeline, Value, cmd};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::answer::{Redirect, judge, refused};
use super::connection::{Connection, unusable};
use super::settings::{Mode, Settings};
use super::slots::{Slots, slot_of};
use crate::endpoint::Endpoint;
use crate::limits::{REDIS_CONNECT_TIMEOUT, REDIS_WAITING_CONNECTIONS};
use crate::rotation::first_of;

/// Where streams are, and the connections to there.
pub(super) struct Nodes {
    settings: Arc<Settings>,
    place: Mutex<Place>,
    nodes: Mutex<HashMap<Endpoint, Arc<Node>>>,
}

/// Where streams are.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// All on one server.
    Single(Endpoint),
    /// Each where its slot is.
    Cluster(Slots),
}

/// One server. Its connections are made when they are first needed.
struct Node {
    connections: Vec<OnceCell<Arc<Connection>>>,
}

impl Nodes {
    /// Connects to the first of the addresses that answers and is not a replica, learns where streams are, and makes sure that
    /// transactions work there and that enough replicas are there to be waited for.
    pub(super) async fn connect(settings: Arc<Settings>) -> Result<Self, SinkError> {
        let (connection, place) = first_of(
            settings
                .urls
                .iter()
                .map(|url| in_time(url, look(&settings, url)))
                .collect(),
        )
        .await?;
        let nodes = Self {
            place: Mutex::new(place),
            nodes: Mutex::default(),
            settings,
        };
        if let Place::Single(endpoint) = &*nodes.place() {
            // It is the first one.
            let _ = nodes.node(endpoint).connections[0].set(Arc::new(connection));
        }
        Ok(nodes)
    }

    /// Whether there are slots, which may move.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(&*self.place(), Place::Cluster(_))
    }

    /// The server that has a stream, or the slot that no server has.
    pub(super) fn home(&self, stream: &str) -> Result<Endpoint, u16> {
        match &*self.place() {
            Place::Single(endpoint) => Ok(endpoint.clone()),
            Place::Cluster(slots) => {
                let slot = slot_of(stream);
                slots.owner(slot).cloned().ok_or(slot)
            }
        }
    }

    /// Notes where a slot is now.
    pub(super) fn moved(&self, redirect: &Redirect) {
        if let Place::Cluster(slots) = &mut *self.place()
            && !redirect.asking
        {
            slots.moved(redirect.slot, redirect.to.clone());
        }
    }

    /// Where streams are, as far as it is known.
    pub(super) fn whole_place(&self) -> Place {
        self.place().clone()
    }

    /// A connection to a server; deliveries of different `turn`s need not share one where replicas or disks are waited for.
    pub(super) async fn connection(&self, endpoint: &Endpoint, turn: usize) -> Result<Arc<Connection>, SinkError> {
        let node = self.node(endpoint);
        let cell = &node.connections[turn % node.connections.len()];
        let made = cell.get_or_try_init(async || {
            in_time(endpoint, async {
                let connection = Connection::open(&self.settings, endpoint).await?;
                ready(&self.settings, &connection).await.map(|()| Arc::new(connection))
            })
            .await
        });
        made.await.map(Arc::clone)
    }

    fn node(&self, endpoint: &Endpoint) -> Arc<Node> {
        let count = if self.settings.wait.is_some() {
            REDIS_WAITING_CONNECTIONS
        } else {
            1
        };
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let node = nodes.entry(endpoint.clone()).or_insert_with(|| {
            Arc::new(Node {
                connections: std::iter::repeat_with(OnceCell::new).take(count).collect(),
            })
        });
        Arc::clone(node)
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives up a server that does not answer everything that connecting asks, however slowly it answers some of it.
async fn in_time<T>(server: &Endpoint, connecting: impl Future<Output = Result<T, SinkError>>) -> Result<T, SinkError> {
    let connected = timeout(REDIS_CONNECT_TIMEOUT, connecting).await;
    connected.unwrap_or_else(|_| {
        let words = format!("{server} did not answer within {REDIS_CONNECT_TIMEOUT:?}");
        Err(SinkError::reconnect(words))
    })
}

/// Connects to one address and finds out what it is.
async fn look(settings: &Arc<Settings>, url: &Endpoint) -> Result<(Connection, Place), SinkError> {
    let connection = Connection::open(settings, url).await?;
    let place = place(settings, &connection).await?;
    if matches!(place, Place::Single(_)) {
        not_a_replica(&connection).await?;
        ready(settings, &connection).await?;
    } else {
        // Which of the cluster's servers this is does not matter; what the user may do is the same at all of them.
        transactions(&connection).await?;
    }
    Ok((connection, place))
}

/// Makes sure that a connection can be written to as the options want it. Where too few replicas answer to wait for, nothing is
/// written that would have to be written again.
async fn ready(settings: &Settings, connection: &Connection) -> Result<(), SinkError> {
    transactions(connection).await?;
    match settings.wait {
        Some(wait) => connection.wait(wait).await,
        None => Ok(()),
    }
}

async fn place(settings: &Settings, connection: &Connection) -> Result<Place, SinkError> {
    let single = Place::Single(connection.endpoint().clone());
    if settings.mode == Mode::Single {
        return Ok(single);
    }
    let mut command = cmd("CLUSTER");
    command.arg("SLOTS");
    let value = connection.ask(&command).await?;
    if let Some(slots) = Slots::read(&value, connection.endpoint()) {
        return Ok(Place::Cluster(slots));
    }
    let what = format!("CLUSTER SLOTS at {}", connection.endpoint());
    match refused(&value) {
        // It has no cluster, or the user may not ask; if there is one after all, the first MOVED will tell.
        Some(error) if settings.mode == Mode::Auto && matches!(error.code(), "ERR" | "NOPERM") => Ok(single),
        Some(error)
            if error
                .details()
                .is_some_and(|details| details.contains("cluster support disabled")) =>
        {
            let words = format!(
                "{} is no part of a cluster; set mode = \"single\"",
                connection.endpoint()
            );
            Err(SinkError::halt(words))
        }
        Some(error) => Err(unusable(judge(&what, error))),
        None => Err(SinkError::reconnect(format!("{what} cannot be understood: {value:?}"))),
    }
}

async fn not_a_replica(connection: &Connection) -> Result<(), SinkError> {
    // A server that does not tell what it is will refuse what a replica refuses.
    if let Value::Array(role) = connection.ask(&cmd("ROLE")).await?
        && let Some(Value::BulkString(role)) = role.first()
        && role == b"slave"
    {
        let words = format!("{} is a replica; urls must name its master", connection.endpoint());
        return Err(SinkError::reconnect(words));
    }
    Ok(())
}

/// A `MULTI` that is refused would leave the commands behind it to themselves; so it is known to work before any is sent.
async fn transactions(connection: &Connection) -> Result<(), SinkError> {
    let mut empty = Pipeline::with_capacity(2);
    empty.cmd("MULTI").cmd("EXEC");
    let replies = connection.all(&empty, 2).await?;
    match replies.iter().find_map(refused) {
        Some(error) => {
            let what = format!("a transaction at {}", connection.endpoint());
            Err(unusable(judge(&what, error)))
        }
        None => Ok(()),
    }
}
