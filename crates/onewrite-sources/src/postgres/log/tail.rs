//! The one reader of the log of a leading relay: it keeps the stream going, and brings events and ticks to the routes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use onewrite::schema::postgres::PUBLICATION;
use onewrite_core::error::chain;
use onewrite_core::routing::{Group, Share};
use onewrite_core::{Lease, StoreError, StoreFailure};
use onewrite_pgoutput::{Message, Tuple, decode};
use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use tokio_util::task::AbortOnDropHandle;

use super::super::connection::Connector;
use super::super::feed::Log;
use super::super::lanes::Published;
use super::super::rows::Decoder;
use super::super::session::{BEGIN, Parameters, Session};
use super::limits::{RETRY_FIRST, RETRY_MAX};
use super::relation::Layout;
use super::shared::{Shared, Subscription};
use super::slot::{self, Health, Prepared};
use super::stream::{Form, Frame, Stream};
use super::ticks::tick;

/// Reads the log as long as it lives. The routes of a relay share one.
pub(crate) struct Tail {
    shared: Arc<Shared>,
    _reading: AbortOnDropHandle<()>,
}

impl Tail {
    /// Begins to read, and tries again for ever where that fails; until it succeeds nobody can subscribe.
    pub fn start(connector: &Connector, lease: &Lease) -> Self {
        let shared = Arc::new(Shared::default());
        let reader = Reader {
            connector: connector.clone(),
            lease: lease.clone(),
            shared: shared.clone(),
            told: None,
        };
        Self {
            shared,
            _reading: AbortOnDropHandle::new(tokio::spawn(reader.run())),
        }
    }
}

impl Log for Tail {
    fn subscribe(&self, share: &Share) -> Option<Subscription> {
        Subscription::new(&self.shared, share)
    }

    fn is_fenced(&self) -> bool {
        self.shared.is_fenced()
    }
}

struct Reader {
    connector: Connector,
    lease: Lease,
    shared: Arc<Shared>,
    /// What the database and the log were last told of the feed.
    told: Option<String>,
}

impl Reader {
    async fn run(mut self) {
        let mut wait = RETRY_FIRST;
        loop {
            let mut began = false;
            let error = self.follow(&mut began).await;
            self.shared.stream_ended();
            if error.failure == StoreFailure::Fenced {
                return self.shared.fence();
            }
            wait = if began { RETRY_FIRST } else { (wait * 2).min(RETRY_MAX) };
            self.tell_polling(&error, wait).await;
            sleep(wait).await;
        }
    }

    /// Follows the log until that fails.
    async fn follow(&mut self, began: &mut bool) -> StoreError {
        match self.start().await {
            Ok((session, stream, picks)) => {
                *began = true;
                self.shared.stream_began();
                // The first tick shows the routes that the log is read.
                self.shared.want();
                let server = stream.server.clone();
                tokio::select! {
                    error = tick(session, &server, self.shared.clone()) => error,
                    error = self.read(stream, picks) => error,
                }
            }
            Err(error) => error,
        }
    }

    async fn start(&mut self) -> Result<(Session, Stream, Group), StoreError> {
        let session = Session::open(&self.connector, &self.lease).await?;
        session.fence().await?;
        let client = session.client();
        let group = self.lease.group;
        let database = client.query_typed_one("SELECT current_database()::text", &[]).await;
        let database =
            database.map_err(|error| super::super::error::failed("asking for the database's name", error))?;
        let name = slot::name(database.get(0), &self.lease.relay, group);
        let obstacles = slot::obstacles(client, group).await?;
        if !obstacles.is_empty() {
            keep_no_log(client, &name).await;
            return Err(StoreError::new(StoreFailure::Refused, obstacles.join("; ")));
        }
        let published = Published::of(client, group, PUBLICATION).await?;
        drop_other(&session, &name).await?;
        note(&session, &name).await?;
        let prepared = slot::prepare(client, &name).await?;
        if prepared == Prepared::Found {
            slot::advance(client, &name).await?;
        }
        let stream = Stream::start(&self.connector, &name, &published.publication, Form::Binary).await?;
        self.tell_following(&session, &name, &prepared, &published).await?;
        Ok((session, stream, published.picks))
    }

    async fn read(&self, mut stream: Stream, picks: Group) -> StoreError {
        let mut reading = Reading {
            shared: &self.shared,
            picks,
            layouts: HashMap::new(),
            decoder: Decoder::default(),
            heard: false,
            seen: 0,
        };
        loop {
            let frames = match stream.next().await {
                Ok(frames) => frames,
                Err(error) => return error,
            };
            for frame in frames {
                if let Err(error) = reading.take(frame) {
                    return error;
                }
            }
            stream.confirm(reading.seen);
        }
    }

    /// Tells people, and the database for `status`, that the log is followed.
    async fn tell_following(
        &mut self,
        session: &Session,
        slot: &str,
        prepared: &Prepared,
        published: &Published,
    ) -> Result<(), StoreError> {
        let story = match prepared {
            Prepared::Found => format!("the slot {slot} was there"),
            Prepared::Created => format!("the slot {slot} was created"),
            Prepared::Replaced(reason) => format!("the slot {slot} was made anew, since {reason}"),
        };
        let whole = match self.lease.group.is_all() || published.publication != PUBLICATION {
            true => "",
            false => {
                "; all groups' rows come and are picked out here, since there is no publication of this group alone"
            }
        };
        let words = format!("{story}; what was written before is read from the table, so nothing is missing{whole}");
        tracing::info!(relay = %self.lease.relay, feed = "wal", "following the log: {words}");
        self.told = None;
        record(session, "wal", &words, Some(slot)).await
    }

    /// The same for a log that cannot be followed. What was told before is not told again.
    async fn tell_polling(&mut self, error: &StoreError, wait: Duration) {
        let words = chain(error);
        if self.told.as_ref() == Some(&words) {
            return;
        }
        tracing::warn!(relay = %self.lease.relay, feed = "poll", "polling, since the log cannot be followed: {words}; trying again in {wait:?}");
        let recorded = async {
            let session = Session::open(&self.connector, &self.lease).await?;
            record(&session, "poll", &format!("the log cannot be followed: {words}"), None).await
        };
        if let Err(error) = recorded.await {
            tracing::debug!(error = %chain(&error), "the database could not be told of it");
        }
        self.told = Some(words);
    }
}

/// Writes down how events are found, for `status`. Without a name of a slot the one that is written down stays.
pub(crate) async fn record(session: &Session, feed: &str, reason: &str, slot: Option<&str>) -> Result<(), StoreError> {
    const RECORD: &str = "UPDATE onewrite.relay SET feed = $3, feed_reason = $4, slot = coalesce($5, slot) \
                          WHERE name = $1 AND epoch = $2";
    let lease = session.lease();
    let reason = reason.replace('\0', "\u{fffd}");
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&lease.epoch, Type::INT8),
        (&feed, Type::TEXT),
        (&reason, Type::TEXT),
        (&slot, Type::TEXT),
    ];
    let update = session.client().execute_typed(RECORD, &parameters);
    let held = session.transaction("recording the feed", BEGIN, update).await?;
    session.held(held)
}

/// Writes down which slot is the relay's, before there is one: it is found again and dropped whatever happens meanwhile.
async fn note(session: &Session, slot: &str) -> Result<(), StoreError> {
    const NOTE: &str = "UPDATE onewrite.relay SET slot = $3 WHERE name = $1 AND epoch = $2";
    let lease = session.lease();
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&lease.epoch, Type::INT8),
        (&slot, Type::TEXT),
    ];
    let update = session.client().execute_typed(NOTE, &parameters);
    let held = session.transaction("writing down the slot", BEGIN, update).await?;
    session.held(held)
}

/// Lets the server forget the log that it keeps for a slot which cannot be read at present: what is in it is in the table.
async fn keep_no_log(client: &Client, slot: &str) {
    let moved = async {
        match slot::free(client, slot).await? {
            Some(Health::Sound) => slot::advance(client, slot).await,
            Some(Health::Lost(_)) | None => Ok(()),
        }
    };
    if let Err(error) = moved.await {
        tracing::debug!(slot, error = %chain(&error), "the slot cannot be moved while it is not read");
    }
}

/// Drops the slot that the relay had, so that it holds no log back, and writes down that it polls.
pub(crate) async fn stop_following(session: &Session, reason: &str) -> Result<(), StoreError> {
    const SLOT: &str = "SELECT slot FROM onewrite.relay WHERE name = $1 AND epoch = $2 AND slot IS NOT NULL";
    let lease = session.lease();
    let parameters: Parameters<'_> = vec![(&lease.relay, Type::TEXT), (&lease.epoch, Type::INT8)];
    for row in session.query("looking for a slot", SLOT, &parameters).await? {
        drop_and_forget(session, row.get(0), "the relay polls now").await?;
    }
    record(session, "poll", reason, None).await
}

/// Drops the slot that is written down for the lease's group under another name, as that of another layout is.
async fn drop_other(session: &Session, name: &str) -> Result<(), StoreError> {
    const OTHER: &str = "SELECT slot FROM onewrite.relay WHERE name = $1 AND epoch = $2 AND slot <> $3";
    let lease = session.lease();
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&lease.epoch, Type::INT8),
        (&name, Type::TEXT),
    ];
    for row in session.query("looking for another slot", OTHER, &parameters).await? {
        slot::discard(session.client(), row.get(0)).await?;
    }
    Ok(())
}

/// Drops the slots of groups that the present layout has not, so that they hold no log back.
pub(crate) async fn drop_left_over(session: &Session) -> Result<(), StoreError> {
    const LEFT_OVER: &str =
        "SELECT slot FROM onewrite.relay WHERE name = $1 AND lane_group >= lane_groups AND slot IS NOT NULL";
    let of_relay: Parameters<'_> = vec![(&session.lease().relay, Type::TEXT)];
    let doing = "looking for slots that are left over";
    for row in session.query(doing, LEFT_OVER, &of_relay).await? {
        drop_and_forget(session, row.get(0), "its group is no more").await?;
    }
    Ok(())
}

/// Drops a slot of the relay, also from under a process of the server that still reads it for a holder that is gone. One that cannot
/// be dropped stays written down, and an alarm tells of it.
async fn drop_and_forget(session: &Session, slot: &str, why: &str) -> Result<(), StoreError> {
    const FORGET: &str =
        "UPDATE onewrite.relay SET slot = NULL, feed = NULL, feed_reason = NULL WHERE name = $1 AND slot = $2";
    let relay = &session.lease().relay;
    if let Err(error) = slot::discard(session.client(), slot).await {
        tracing::warn!(relay = %relay, slot, error = %chain(&error), "a slot cannot be dropped, though {why}");
        return Ok(());
    }
    let parameters: Parameters<'_> = vec![(relay, Type::TEXT), (&slot, Type::TEXT)];
    session.query("noting that a slot is gone", FORGET, &parameters).await?;
    tracing::info!(relay = %relay, slot, "the slot is dropped, since {why}");
    Ok(())
}

/// What the messages of one stream are read with.
struct Reading<'a> {
    shared: &'a Shared,
    /// The group whose rows are picked out of what comes.
    picks: Group,
    /// The tables that came, by their numbers; `None` for one that is not the outbox.
    layouts: HashMap<u32, Option<Layout>>,
    decoder: Decoder,
    /// Whether anybody wants the events of the present transaction.
    heard: bool,
    /// The server may forget the log below this position.
    seen: u64,
}

impl Reading<'_> {
    fn take(&mut self, frame: Frame) -> Result<(), StoreError> {
        let data = match frame {
            Frame::Idle { log_end } => {
                self.saw(log_end);
                return Ok(());
            }
            Frame::Data(data) => data,
        };
        // Where nobody listens, rows need not even be looked at.
        if !self.heard && data.first() == Some(&b'I') {
            return Ok(());
        }
        let message = decode(data).map_err(|error| {
            StoreError::new(StoreFailure::Unavailable, "the log holds something unreadable").because(error)
        })?;
        match message {
            Message::Begin { .. } => {
                self.shared.transaction(true);
                self.heard = self.shared.is_heard();
            }
            Message::Commit { end_lsn, .. } => {
                self.shared.transaction(false);
                self.saw(end_lsn);
            }
            Message::Relation(relation) => {
                self.layouts.insert(relation.oid, Layout::of(&relation)?);
            }
            Message::Insert { relation, new } => self.insert(relation, &new)?,
            _ => {}
        }
        Ok(())
    }

    fn saw(&mut self, position: u64) {
        self.seen = self.seen.max(position);
        self.shared.saw(self.seen);
    }

    fn insert(&mut self, relation: u32, tuple: &Tuple) -> Result<(), StoreError> {
        let Some(Some(layout)) = self.layouts.get(&relation) else {
            return Ok(());
        };
        let found = layout.read(tuple)?;
        if !self.picks.is_all() && !self.picks.holds(found.hash()?) {
            return Ok(());
        }
        let (topic, event_type) = found.topic_and_type();
        let Some(receiver) = self.shared.receiver(&topic, event_type.as_deref()) else {
            return Ok(());
        };
        self.shared.push(receiver, found.into_row(&mut self.decoder)?);
        Ok(())
    }
}
