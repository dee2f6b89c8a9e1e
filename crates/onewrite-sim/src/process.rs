//! Processes of a relay: started, killed, frozen and woken; and everything they do to the world outside, noted.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::relay::Relay;
use onewrite_core::routing::Share;
use onewrite_core::sink::Finding;
use onewrite_core::spread::Standing;
use onewrite_core::store::{Maintenance, RouteControl, RouteReport};
use onewrite_core::{
    BatchLimit, DeliveryReport, Event, Lease, Member, Outbox, Parking, Settlement, Sink, SinkConnector, SinkError,
    Source, Sourced, StoreError,
};
use onewrite_testkit::memory::{Changes, MemoryDatabase};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::clock::Clock;
use crate::trace::Trace;

/// One process, dead or alive.
pub struct Process {
    number: usize,
    lives: u32,
    window: Window,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), StoreError>>,
}

/// What a process sees of the world: nothing while it is frozen, and times as its own clock shows them.
#[derive(Clone)]
pub struct Window {
    name: Arc<str>,
    thawed: Arc<AtomicBool>,
    thawing: Changes,
    clock: Clock,
    trace: Trace,
    writes: Writes,
}

/// What is known of all that processes wrote into the database. Clones are the same.
#[derive(Clone)]
pub struct Writes {
    database: MemoryDatabase,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// Everything that was ever set aside, and under which route.
    aside: BTreeSet<(String, Uuid)>,
    /// The first write of a process whose lease was another's by then.
    unfenced: Option<String>,
}

impl Writes {
    /// Nothing was written yet.
    pub fn new(database: &MemoryDatabase) -> Self {
        Self {
            database: database.clone(),
            known: Arc::default(),
        }
    }

    /// What was ever set aside under routes for which this holds.
    pub fn aside_under(&self, wanted: impl Fn(&str) -> bool) -> HashSet<Uuid> {
        let known = self.known();
        let under = known.aside.iter().filter(|(route, _)| wanted(route));
        under.map(|(_, id)| *id).collect()
    }

    /// The first write that a fence should have kept out, in words.
    pub fn unfenced(&self) -> Option<String> {
        self.known().unfenced.clone()
    }

    fn set_aside(&self, route: &str, events: &[Parking]) {
        let ids = events.iter().map(|parking| (route.to_owned(), parking.event.id));
        self.known().aside.extend(ids);
    }

    /// Notes a write that the database took, just after it did.
    fn took(&self, what: &str, lease: &Lease) {
        if !self.database.holds(lease) {
            let words = || {
                format!(
                    "{} {what} with epoch {} of group {}",
                    lease.holder, lease.epoch, lease.group
                )
            };
            self.known().unfenced.get_or_insert_with(words);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic while it is held")
    }
}

impl Process {
    /// A process that does not run yet.
    pub fn new(number: usize, trace: &Trace, writes: &Writes) -> Self {
        Self {
            number,
            lives: 0,
            window: Window {
                name: "".into(),
                thawed: Arc::new(AtomicBool::new(true)),
                thawing: Changes::default(),
                clock: Clock::TRUE,
                trace: trace.clone(),
                writes: writes.clone(),
            },
            running: None,
        }
    }

    /// Whether it runs, frozen or not.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it on a machine with this clock; `relay` makes the relay of a holder of this name, which looks at the world through this
    /// window.
    pub fn start(&mut self, clock: Clock, relay: impl FnOnce(&str, &Window) -> Relay) {
        self.lives += 1;
        self.window = Window {
            name: format!("{}.{}", self.number, self.lives).into(),
            thawed: Arc::new(AtomicBool::new(true)),
            thawing: Changes::default(),
            clock,
            ..self.window.clone()
        };
        self.window.note(format_args!("starts with {clock:?}"));
        let (relay, stop) = (relay(&self.window.name, &self.window), CancellationToken::new());
        let token = stop.clone();
        let task = tokio::spawn(async move { relay.run(token).await });
        self.running = Some(Running { stop, task });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(Running { task, .. }) = self.running.take() {
            self.window.note(format_args!("is killed"));
            task.abort();
        }
    }

    /// SIGSTOP, or its end.
    pub fn freeze(&self, freeze: bool) {
        if self.thawed() == freeze {
            self.window
                .note(format_args!("{}", if freeze { "is frozen" } else { "wakes" }));
            self.window.thawed.store(!freeze, Ordering::SeqCst);
            self.window.thawing.tell();
        }
    }

    /// Whether it is not frozen.
    pub fn thawed(&self) -> bool {
        self.window.thawed.load(Ordering::SeqCst)
    }

    /// SIGTERM, and waits for its end.
    pub async fn stop(&mut self) -> Result<(), StoreError> {
        let Some(Running { stop, task }) = self.running.take() else {
            return Ok(());
        };
        self.freeze(false);
        stop.cancel();
        let ended = task.await;
        self.window.note(format_args!("has stopped"));
        ended.unwrap_or_else(|error| panic!("a relay panicked: {error}"))
    }
}

impl Window {
    /// The database through this window.
    pub fn outbox(&self, inner: Arc<dyn Outbox>) -> Arc<dyn Outbox> {
        Arc::new(Seen {
            inner,
            window: self.clone(),
        })
    }

    /// A broker through this window.
    pub fn connector(&self, inner: Arc<dyn SinkConnector>) -> Arc<dyn SinkConnector> {
        Arc::new(Seen {
            inner,
            window: self.clone(),
        })
    }

    /// The clock of the process.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    fn note(&self, words: std::fmt::Arguments<'_>) {
        self.trace.note(format_args!("process {} {words}", self.name));
    }

    /// Returns when the process is not frozen.
    pub async fn thaw(&self) {
        let mut thawing = self.thawing.watch();
        while !self.thawed.load(Ordering::SeqCst) {
            thawing.changed().await;
        }
    }
}

/// Anything, seen through a window.
struct Seen<T: ?Sized> {
    window: Window,
    inner: Arc<T>,
}

fn word<T, E: std::fmt::Display>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

impl Seen<dyn Outbox> {
    async fn call<T>(&self, what: &str, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.window.thaw().await;
        let result = call.await;
        self.window.note(format_args!("{what}: {}", word(&result)));
        // Frozen here, it does not learn in time what became of its call.
        self.window.thaw().await;
        result
    }
}

#[async_trait]
impl Outbox for Seen<dyn Outbox> {
    async fn claim(&self, member: &Member, group: u32, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let what = format!("claims {group} of {}", member.groups);
        let ttl = self.window.clock.shows(ttl);
        self.call(&what, self.inner.claim(member, group, ttl)).await
    }

    async fn attend(&self, member: &Member, ttl: Duration) -> Result<Standing, StoreError> {
        let clock = self.window.clock;
        let mut standing = self
            .call("attends", self.inner.attend(member, clock.shows(ttl)))
            .await?;
        standing.next_expiry = standing.next_expiry.map(|expiry| clock.lasts(expiry));
        Ok(standing)
    }

    async fn leave(&self, member: &Member) -> Result<(), StoreError> {
        self.call("leaves", self.inner.leave(member)).await
    }

    async fn renew(
        &self,
        lease: &Lease,
        ttl: Duration,
        reports: &[RouteReport],
    ) -> Result<Vec<RouteControl>, StoreError> {
        let ttl = self.window.clock.shows(ttl);
        self.call("renews", self.inner.renew(lease, ttl, reports)).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.call("releases", self.inner.release(lease)).await
    }

    async fn adopt(&self, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
        self.call("adopts", self.inner.adopt(lease, shares)).await
    }

    async fn feed(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        let inner = self.call("opens a feed", self.inner.feed(lease, share)).await?;
        Ok(Box::new(SeenSource {
            window: self.window.clone(),
            route: share.route.clone(),
            lease: lease.clone(),
            kind: "feed",
            inner,
        }))
    }

    async fn redeliveries(&self, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        let inner = self.call("opens redeliveries", self.inner.redeliveries(lease, share));
        Ok(Box::new(SeenSource {
            inner: inner.await?,
            window: self.window.clone(),
            route: share.route.clone(),
            lease: lease.clone(),
            kind: "redeliveries",
        }))
    }

    async fn blocked_keys(&self, lease: &Lease, route: &str) -> Result<Vec<Arc<str>>, StoreError> {
        self.call("asks for blocked keys", self.inner.blocked_keys(lease, route))
            .await
    }

    async fn halt(&self, lease: &Lease, route: &str, reason: &str) -> Result<(), StoreError> {
        self.call("halts a route", self.inner.halt(lease, route, reason)).await
    }

    async fn maintain(&self, lease: &Lease) -> Result<Maintenance, StoreError> {
        self.call("maintains", self.inner.maintain(lease)).await
    }
}

struct SeenSource {
    window: Window,
    route: String,
    lease: Lease,
    kind: &'static str,
    inner: Box<dyn Source>,
}

impl SeenSource {
    fn note(&self, words: std::fmt::Arguments<'_>) {
        self.window.note(format_args!("{} {} {words}", self.route, self.kind));
    }
}

#[async_trait]
impl Source for SeenSource {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        self.window.thaw().await;
        let result = self.inner.next_batch(limit).await;
        let found = result.as_ref().map(|events| {
            let ids: Vec<u128> = events.iter().map(|sourced| sourced.event.id.as_u128()).collect();
            format!("{ids:?}")
        });
        let found = found.unwrap_or_else(ToString::to_string);
        self.note(format_args!("reads {found}"));
        result
    }

    async fn wait(&mut self) {
        self.inner.wait().await;
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        self.window.thaw().await;
        let result = self.inner.settle(settlement).await;
        if result.is_ok() {
            self.window.writes.took("settled", &self.lease);
        }
        self.note(format_args!("settles {settlement:?}: {}", word(&result)));
        self.window.thaw().await;
        result
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        self.window.thaw().await;
        // Before it is known whether it came to pass: a lost reply is one of the things that happen.
        self.window.writes.set_aside(&self.route, events);
        let result = self.inner.park(events).await;
        if result.is_ok() {
            self.window.writes.took("parked", &self.lease);
        }
        let ids: Vec<u128> = events.iter().map(|parking| parking.event.id.as_u128()).collect();
        self.note(format_args!("sets aside {ids:?}: {}", word(&result)));
        self.window.thaw().await;
        result
    }
}

#[async_trait]
impl SinkConnector for Seen<dyn SinkConnector> {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        self.window.thaw().await;
        let connected = self.inner.connect().await;
        self.window.note(format_args!("connects: {}", word(&connected)));
        Ok(Box::new(Seen {
            inner: Arc::<dyn Sink>::from(connected?),
            window: self.window.clone(),
        }))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        self.inner.probe(topics).await
    }
}

#[async_trait]
impl Sink for Seen<dyn Sink> {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        self.window.thaw().await;
        let ids: Vec<u128> = batch.iter().map(|event| event.id.as_u128()).collect();
        self.window.note(format_args!("delivers {ids:?}"));
        let result = self.inner.deliver(batch, report).await;
        self.window
            .note(format_args!("has delivered {ids:?}: {}", word(&result)));
        self.window.thaw().await;
        result
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.window.thaw().await;
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slow holder believes in its lease for twice as long.
    #[tokio::test(start_paused = true)]
    async fn a_lease_lasts_as_long_as_the_databases_clock_says() {
        const TTL: Duration = Duration::from_secs(10);
        let database = MemoryDatabase::new();
        let mut processes = [(); 2].map(|()| Process::new(0, &Trace::new(false), &Writes::new(&database)));
        processes[0].window.clock = Clock::HALF;
        let [slow, right] = processes.map(|process| process.window.outbox(Arc::new(database.clone())));
        let member = |name: &str| Member {
            relay: "r".to_owned(),
            id: name.to_owned(),
            holder: name.to_owned(),
            groups: 1,
        };
        let believed = Clock::HALF.lasts(TTL);
        assert_eq!(believed, TTL * 2);
        let lease = slow.claim(&member("slow"), 0, believed).await;
        assert!(lease.expect("an answer").is_some());
        tokio::time::advance(TTL - Duration::from_secs(1)).await;
        assert_eq!(right.claim(&member("right"), 0, TTL).await.expect("an answer"), None);
        let standing = slow.attend(&member("other"), believed).await.expect("an answer");
        assert_eq!(standing.next_expiry, Some(Duration::from_secs(2)));
        tokio::time::advance(Duration::from_secs(1)).await;
        let lease = right.claim(&member("right"), 0, TTL).await;
        assert!(lease.expect("an answer").is_some());
    }
}
