//! What cases do over and over: write, take the lease, read until there is nothing left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onewrite::Event;
use onewrite_core::error::chain;
use onewrite_core::routing::{Match, Pattern, Share, shares};
use onewrite_core::{
    BatchLimit, Lease, Operations, Outbox, ParkReason, Parking, Position, Settlement, Source, Sourced, StoreError,
    StoreFailure,
};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{SourceHarness, Subject, Transaction, Writers};
use crate::conformance::Wrong;

/// The relay's name in all cases.
pub(super) const RELAY: &str = "relay";

/// The lease's time in cases that are not about it.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// How long something that must happen may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// As much as there is.
pub(super) const ALL: BatchLimit = BatchLimit {
    events: 1_000,
    bytes: usize::MAX / 2,
};

/// A fresh outbox, and the relay that leads it.
pub(super) struct Session {
    pub outbox: Arc<dyn Outbox>,
    pub operations: Arc<dyn Operations>,
    pub writers: Arc<dyn Writers>,
    pub lease: Lease,
    pub shares: Vec<Share>,
}

impl Session {
    /// One route that takes everything.
    pub async fn new(harness: &mut dyn SourceHarness) -> Result<Self, Wrong> {
        Self::with_routes(harness, &[("all", Match::default())]).await
    }

    /// Routes of these names and matches, and the one for what none takes.
    pub async fn with_routes(harness: &mut dyn SourceHarness, routes: &[(&str, Match)]) -> Result<Self, Wrong> {
        let Subject {
            outbox,
            operations,
            writers,
        } = harness.fresh().await?;
        let lease = acquire(&*outbox, "first", LONG)
            .await?
            .ok_or_else(|| held("a fresh outbox"))?;
        let mut session = Self {
            outbox,
            operations,
            writers,
            lease,
            shares: Vec::new(),
        };
        session.adopt(routes).await?;
        Ok(session)
    }

    /// Adopts these routes in place of those before.
    pub async fn adopt(&mut self, routes: &[(&str, Match)]) -> Result<(), Wrong> {
        let routes: Vec<_> = routes
            .iter()
            .map(|(name, wanted)| ((*name).to_owned(), wanted.clone()))
            .collect();
        self.shares = shares(RELAY, &routes);
        let adopted = self.outbox.adopt(&self.lease, &self.shares).await;
        adopted.map_err(|error| works("adopting routes", &error))
    }

    pub async fn begin(&self) -> Result<Box<dyn Transaction>, Wrong> {
        Ok(self.writers.begin().await?)
    }

    /// Appends events in one transaction and commits it.
    pub async fn commit(&self, events: &[Event]) -> Result<(), Wrong> {
        let mut transaction = self.begin().await?;
        transaction.append(events).await?;
        Ok(transaction.commit().await?)
    }

    /// A new incarnation of the source of the first route.
    pub async fn feed(&self) -> Result<Reader, Wrong> {
        self.feed_of(0).await
    }

    /// A new incarnation of the source of a route, by its place.
    pub async fn feed_of(&self, route: usize) -> Result<Reader, Wrong> {
        let opened = self.outbox.feed(&self.lease, &self.shares[route]).await;
        Ok(Reader::new(opened.map_err(|error| works("opening a feed", &error))?))
    }

    /// A new incarnation of the source of a route's redeliveries, by its place.
    pub async fn redeliveries_of(&self, route: usize) -> Result<Reader, Wrong> {
        let opened = self.outbox.redeliveries(&self.lease, &self.shares[route]).await;
        Ok(Reader::new(
            opened.map_err(|error| works("opening redeliveries", &error))?,
        ))
    }
}

/// An incarnation of a source, and the rules that hold for whatever it hands out.
pub(super) struct Reader {
    pub source: Box<dyn Source>,
    /// What was handed out last.
    pub last: Option<Position>,
}

impl Reader {
    pub fn new(source: Box<dyn Source>) -> Self {
        Self { source, last: None }
    }

    /// One read.
    pub async fn read(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, Wrong> {
        let events = self
            .source
            .next_batch(limit)
            .await
            .map_err(|error| works("reading", &error))?;
        self.look(&events)?;
        Ok(events)
    }

    /// Checks that positions ascend.
    pub fn look(&mut self, events: &[Sourced]) -> Result<(), Wrong> {
        for sourced in events {
            if self.last >= Some(sourced.position) {
                let seen = format!(
                    "{} after {:?}",
                    sourced.position,
                    self.last.map(|last| last.to_string())
                );
                return Err(Wrong::new("positions ascend strictly", seen));
            }
            self.last = Some(sourced.position);
        }
        Ok(())
    }

    /// Reads until there is nothing left.
    pub async fn rest(&mut self) -> Result<Vec<Sourced>, Wrong> {
        let mut events = Vec::new();
        loop {
            let more = self.read(ALL).await?;
            if more.is_empty() {
                return Ok(events);
            }
            events.extend(more);
        }
    }

    /// Waits and reads until so many events have come.
    pub async fn until(&mut self, count: usize) -> Result<Vec<Sourced>, Wrong> {
        let deadline = Instant::now() + DEADLINE;
        let mut events = Vec::new();
        loop {
            let more = self.read(ALL).await?;
            let nothing = more.is_empty();
            events.extend(more);
            if events.len() >= count {
                return Ok(events);
            }
            if !nothing {
                continue;
            }
            if timeout(deadline - Instant::now(), self.source.wait()).await.is_err() || Instant::now() >= deadline {
                let seen = format!("{} of {count} within {DEADLINE:?}", events.len());
                return Err(Wrong::new("what is due comes, and waiting ends when it does", seen));
            }
        }
    }

    /// Settles all that was handed out, but for `pending`.
    pub async fn settle(&mut self, pending: &[Position]) -> Result<(), Wrong> {
        let through = self.last;
        self.settle_through(through, pending).await
    }

    /// Settles up to a position, but for `pending`.
    pub async fn settle_through(&mut self, through: Option<Position>, pending: &[Position]) -> Result<(), Wrong> {
        let settlement = Settlement {
            through,
            pending: pending.to_vec(),
        };
        self.source
            .settle(&settlement)
            .await
            .map_err(|error| works("settling", &error))
    }

    pub async fn park(&mut self, events: &[Parking]) -> Result<(), Wrong> {
        self.source.park(events).await.map_err(|error| works("parking", &error))
    }
}

/// Tries to take the lease.
pub(super) async fn acquire(outbox: &dyn Outbox, holder: &str, ttl: Duration) -> Result<Option<Lease>, Wrong> {
    let acquired = outbox.acquire(RELAY, holder, ttl).await;
    acquired.map_err(|error| works("acquiring the lease", &error))
}

/// Takes the lease as soon as it is to be had.
pub(super) async fn take_over(outbox: &dyn Outbox, holder: &str) -> Result<Lease, Wrong> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(lease) = acquire(outbox, holder, LONG).await? {
            return Ok(lease);
        }
        if Instant::now() > deadline {
            return Err(Wrong::new(
                "a lease that ran out can be taken over",
                format!("not within {DEADLINE:?}"),
            ));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(super) fn held(what: &str) -> Wrong {
    Wrong::new("a lease that nobody holds can be had", format!("that of {what} cannot"))
}

/// An error where there is no reason for one.
pub(super) fn works(doing: &str, error: &StoreError) -> Wrong {
    Wrong::new(
        format!("{doing} works"),
        format!("{:?}: {}", error.failure, chain(error)),
    )
}

/// A call of a relay that has lost its lease.
pub(super) fn is_fenced<T>(doing: &str, result: Result<T, StoreError>) -> Result<(), Wrong> {
    let seen = match result {
        Err(error) if error.failure == StoreFailure::Fenced => return Ok(()),
        Err(error) => format!("{:?}: {}", error.failure, chain(&error)),
        Ok(_) => "it worked".to_owned(),
    };
    Err(Wrong::new(
        format!("{doing} under a lease that another holds by now is Fenced"),
        seen,
    ))
}

/// An event of a topic and key, whose payload is 100 bytes.
pub(super) fn event(topic: &str, key: Option<&str>) -> Event {
    let mut event = Event::new(topic, vec![b'x'; 100]);
    event.key = key.map(str::to_owned);
    event
}

/// Events whose keys are taken in turn from so many.
pub(super) fn events(count: usize, keys: usize) -> Vec<Event> {
    (0..count)
        .map(|at| event("shop.orders", Some(&format!("key-{}", at % keys))))
        .collect()
}

pub(super) fn topic(pattern: &str) -> Match {
    Match {
        topic: Some(Pattern::new(pattern)),
        event_type: None,
    }
}

pub(super) fn sourced_ids(events: &[Sourced]) -> Vec<Uuid> {
    events.iter().map(|sourced| sourced.event.id).collect()
}

pub(super) fn poison(sourced: &Sourced) -> Parking {
    parking(sourced, ParkReason::Poison("refused by the broker".to_owned()))
}

pub(super) fn parking(sourced: &Sourced, reason: ParkReason) -> Parking {
    Parking {
        position: sourced.position,
        event: sourced.event.clone(),
        reason,
        attempts: 1,
    }
}

/// These events and no others were handed out, each once, and those of a key in the order of `written`.
pub(super) fn exactly(written: &[Event], handed_out: &[Sourced]) -> Result<(), Wrong> {
    let mut by_key: BTreeMap<Option<&str>, (Vec<Uuid>, Vec<Uuid>)> = BTreeMap::new();
    for event in written {
        by_key.entry(event.key.as_deref()).or_default().0.push(event.id);
    }
    for sourced in handed_out {
        by_key
            .entry(sourced.event.key.as_deref())
            .or_default()
            .1
            .push(sourced.event.id);
    }
    for (key, (mut wanted, mut found)) in by_key {
        if key.is_none() {
            wanted.sort_unstable();
            found.sort_unstable();
        }
        if wanted != found {
            let seen = format!("of key {key:?} {}", difference(&wanted, &found));
            return Err(Wrong::new(
                "exactly what is due is handed out, each event once, in the order of commits",
                seen,
            ));
        }
    }
    Ok(())
}

fn difference(wanted: &[Uuid], found: &[Uuid]) -> String {
    let missing: Vec<_> = wanted.iter().filter(|id| !found.contains(id)).collect();
    let added: Vec<_> = found.iter().filter(|id| !wanted.contains(id)).collect();
    if missing.is_empty() && added.is_empty() {
        return format!("the events came as {found:?} instead of {wanted:?}");
    }
    format!(
        "{} events came, {} were due; missing {missing:?}, not due {added:?}",
        found.len(),
        wanted.len()
    )
}
