//! A small model of core: several batches at once, never two with one key; what did not arrive goes again, in order; a sink
//! that asks for it is replaced. It also gives deliveries up, and forgets to close sinks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use onewrite_core::{Action, DeliveryReport, Event, Outcome, Sink, SinkConnector, SinkError};
use tokio::sync::watch;
use uuid::Uuid;

/// How long a whole drive may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Batches under way at once.
const BATCHES: usize = 4;

/// What drives.
pub struct Driver {
    connector: Arc<dyn SinkConnector>,
    random: fastrand::Rng,
    /// One delivery in so many is given up early; nought: none.
    pub give_up_every: u32,
    waiting: BTreeMap<String, VecDeque<Event>>,
    busy: BTreeSet<String>,
    /// What was parked, with the words.
    pub parked: Vec<(Uuid, String)>,
    /// Sinks connected.
    pub connected: usize,
    /// How many events were delivered so far.
    pub delivered: watch::Sender<usize>,
}

struct Done {
    batch: Vec<Event>,
    outcomes: Vec<Outcome>,
    /// None: given up.
    result: Option<Result<(), SinkError>>,
}

type Deliveries = FuturesUnordered<Pin<Box<dyn Future<Output = Done>>>>;

impl Driver {
    /// A driver over events that all have keys, in the order of their commits.
    pub fn new(connector: Arc<dyn SinkConnector>, events: &[Event], seed: u64) -> Self {
        let mut waiting: BTreeMap<String, VecDeque<Event>> = BTreeMap::new();
        for event in events {
            let key = event.key.as_deref().expect("a key").to_owned();
            waiting.entry(key).or_default().push_back(event.clone());
        }
        Self {
            connector,
            random: fastrand::Rng::with_seed(seed),
            give_up_every: 0,
            waiting,
            busy: BTreeSet::new(),
            parked: Vec::new(),
            connected: 0,
            delivered: watch::Sender::new(0),
        }
    }

    /// Delivers everything.
    pub async fn run(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.waiting.is_empty() {
            let sink: Arc<dyn Sink> = loop {
                assert!(Instant::now() < deadline, "{} keys are left", self.waiting.len());
                match self.connector.connect().await {
                    Ok(sink) => break sink.into(),
                    Err(error) => assert_ne!(error.action, Action::Halt, "{error}"),
                }
            };
            self.connected += 1;
            self.use_up(&sink, deadline).await;
            if self.random.u8(..4) > 0 {
                sink.close().await.unwrap();
            }
        }
    }

    /// Delivers through one sink until it wants to be replaced or nothing is left.
    async fn use_up(&mut self, sink: &Arc<dyn Sink>, deadline: Instant) {
        let mut deliveries = Deliveries::new();
        let mut usable = true;
        loop {
            while usable && deliveries.len() < BATCHES {
                let batch = self.next_batch();
                if batch.is_empty() {
                    break;
                }
                deliveries.push(self.deliver(Arc::clone(sink), batch));
            }
            let Some(done) = deliveries.next().await else { return };
            assert!(Instant::now() < deadline, "{} keys are left", self.waiting.len());
            usable &= !matches!(&done.result, Some(Err(error)) if error.action == Action::Reconnect);
            // Core replaces the sink after a delivery that took too long; the contract asks for less.
            usable &= done.result.is_some() || self.random.bool();
            self.settle(done);
        }
    }

    fn next_batch(&mut self) -> Vec<Event> {
        let free: Vec<String> = self
            .waiting
            .keys()
            .filter(|key| !self.busy.contains(*key))
            .cloned()
            .collect();
        let mut batch = Vec::new();
        for key in free {
            if self.random.u8(..3) > 0 {
                let most = self.random.usize(1..=8);
                batch.extend(self.waiting[&key].iter().take(most).cloned());
                self.busy.insert(key);
            }
        }
        batch
    }

    fn deliver(&mut self, sink: Arc<dyn Sink>, batch: Vec<Event>) -> Pin<Box<dyn Future<Output = Done>>> {
        let given_up = self.give_up_every > 0 && self.random.u32(..self.give_up_every) == 0;
        let patience = if given_up {
            Duration::from_micros(self.random.u64(..5_000))
        } else {
            PATIENCE
        };
        Box::pin(async move {
            let mut report = DeliveryReport::new(batch.len());
            let result = tokio::time::timeout(patience, sink.deliver(&batch, &mut report)).await;
            Done {
                batch,
                outcomes: report.into_outcomes(),
                result: result.ok(),
            }
        })
    }

    fn settle(&mut self, done: Done) {
        let mut undelivered: BTreeMap<String, VecDeque<Event>> = BTreeMap::new();
        for (event, outcome) in done.batch.into_iter().zip(done.outcomes) {
            let key = event.key.as_deref().expect("a key").to_owned();
            let queue = self.waiting.get_mut(&key).expect("a queue");
            assert_eq!(queue.pop_front().map(|front| front.id), Some(event.id));
            let left = undelivered.entry(key).or_default();
            match outcome {
                Outcome::Delivered => {
                    self.delivered.send_modify(|count| *count += 1);
                    assert!(left.is_empty(), "{} was delivered after a failure of its key", event.id);
                }
                Outcome::Failed(error) if error.action == Action::Park => {
                    self.parked.push((event.id, error.to_string()));
                }
                _ => left.push_back(event),
            }
        }
        for (key, mut left) in undelivered {
            self.busy.remove(&key);
            let queue = self.waiting.get_mut(&key).expect("a queue");
            left.append(queue);
            if left.is_empty() {
                self.waiting.remove(&key);
            } else {
                *queue = left;
            }
        }
    }
}

/// Checks that every event is on the log but for the parked ones, and that for each key the first deliveries are in the
/// order of the events. Returns how many records are repetitions.
pub fn check(events: &[Event], log: &[Uuid], parked: &[(Uuid, String)]) -> usize {
    let mut first: BTreeMap<Uuid, usize> = BTreeMap::new();
    for (at, id) in log.iter().enumerate() {
        first.entry(*id).or_insert(at);
    }
    let mut latest: BTreeMap<&str, (usize, Uuid)> = BTreeMap::new();
    for event in events {
        if parked.iter().any(|(id, _)| *id == event.id) {
            continue;
        }
        let at = *first.get(&event.id).unwrap_or_else(|| panic!("{} is lost", event.id));
        let key = event.key.as_deref().expect("a key");
        if let Some((before, earlier)) = latest.insert(key, (at, event.id)) {
            assert!(before < at, "{} overtook {earlier} of its key {key}", event.id);
        }
    }
    assert!(
        first.keys().all(|id| events.iter().any(|event| event.id == *id)),
        "a phantom"
    );
    log.len() - first.len()
}
