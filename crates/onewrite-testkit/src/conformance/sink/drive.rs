//! Driving a sink as core does, and noting what it says.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use onewrite_core::error::{Action, SinkError, chain};
use onewrite_core::limits::BATCH_EVENTS;
use onewrite_core::{DeliveryReport, Event, Outcome, Sink, SinkConnector};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{Destination, SinkHarness};
use crate::conformance::Wrong;

/// How long everything may take to arrive once nothing is in its way.
const HEALING: Duration = Duration::from_secs(120);

/// How long connecting may take, as core allows.
const CONNECTING: Duration = Duration::from_secs(30);

/// The pauses between tries, as core's backoff would make them, but shorter.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Stands in core's place before one destination.
pub(super) struct Drive {
    connector: Arc<dyn SinkConnector>,
    sink: Option<Box<dyn Sink>>,
    delivery_timeout: Duration,
    /// Batches under way at once, of different keys.
    concurrency: usize,
    /// What the sink said of events in all deliveries.
    pub said: Said,
}

/// What a sink said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Events reported delivered.
    pub delivered: HashSet<Uuid>,
    /// Events that are poison, with the broker's words.
    pub parked: Vec<(Uuid, String)>,
    /// The first reason to halt.
    pub halt: Option<String>,
}

/// The end of one delivery.
pub(super) struct Round {
    /// The error about the connection or the route; a delivery that was given up has one as well.
    pub result: Result<(), SinkError>,
    pub outcomes: Vec<Outcome>,
}

impl Drive {
    pub fn new(destination: &Destination, harness: &dyn SinkHarness) -> Self {
        Self {
            connector: Arc::clone(&destination.connector),
            sink: None,
            delivery_timeout: harness.delivery_timeout(),
            concurrency: 1,
            said: Said::default(),
        }
    }

    /// Delivers in so many batches at once from now on.
    pub fn concurrency(&mut self, batches: usize) {
        self.concurrency = batches;
    }

    /// The connected sink.
    pub async fn sink(&mut self) -> Result<&dyn Sink, Wrong> {
        let deadline = Instant::now() + HEALING;
        while self.sink.is_none() {
            match self.connect().await {
                Ok(sink) => self.sink = Some(sink),
                Err(error) if error.action == Action::Halt || Instant::now() > deadline => {
                    return Err(Wrong::new("the sink connects to a broker that answers", chain(&error)));
                }
                Err(_) => tokio::time::sleep(PAUSE_FIRST * 10).await,
            }
        }
        Ok(self.sink.as_deref().expect("it was connected just now"))
    }

    /// One try to connect.
    pub async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let connecting = timeout(CONNECTING, self.connector.connect()).await;
        connecting.unwrap_or_else(|_| Err(SinkError::reconnect("connecting took too long")))
    }

    /// One delivery, of at most one batch.
    pub async fn once(&mut self, batch: &[Event]) -> Result<Round, Wrong> {
        let limit = self.delivery_timeout;
        let sink = self.sink().await?;
        let round = deliver(sink, batch, limit).await;
        self.hear(batch, &round)?;
        self.retire(round.result.is_err() || round.outcomes.iter().any(wants_reconnect))
            .await;
        Ok(round)
    }

    /// Delivers until every event is reported delivered or poison.
    pub async fn all(&mut self, events: &[Event]) -> Result<(), Wrong> {
        let deadline = Instant::now() + HEALING;
        let mut pause = PAUSE_FIRST;
        let mut left = events.to_vec();
        self.forget_finished(&mut left);
        while !left.is_empty() {
            let before = left.len();
            let last_error = self.some(&left).await?;
            self.forget_finished(&mut left);
            if let Some(halt) = &self.said.halt {
                return Err(Wrong::new("nothing that passes halts a route", halt));
            }
            if Instant::now() > deadline {
                let last = last_error.map_or("no error".to_owned(), |error| chain(&error));
                let seen = format!(
                    "{} of {} are left after {HEALING:?}; the last error: {last}",
                    left.len(),
                    events.len()
                );
                return Err(Wrong::new("everything is delivered once nothing is in its way", seen));
            }
            if left.len() == before {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            } else {
                pause = PAUSE_FIRST;
            }
        }
        Ok(())
    }

    /// Drops the sink as a crash does.
    pub fn drop_sink(&mut self) {
        self.sink = None;
    }

    /// Closes the sink, if there is one.
    pub async fn close(&mut self) -> Result<(), Wrong> {
        let Some(sink) = self.sink.take() else { return Ok(()) };
        match timeout(CONNECTING, sink.close()).await {
            Ok(closed) => closed.map_err(|error| Wrong::new("a sink closes", chain(&error))),
            Err(_) => Err(Wrong::new("a sink closes", format!("not within {CONNECTING:?}"))),
        }
    }

    /// Notes what a delivery said, and checks what can be checked of it alone.
    pub fn hear(&mut self, batch: &[Event], round: &Round) -> Result<(), Wrong> {
        let mut failed_keys = HashSet::new();
        for (event, outcome) in batch.iter().zip(&round.outcomes) {
            match outcome {
                Outcome::Delivered if event.key.as_ref().is_some_and(|key| failed_keys.contains(key)) => {
                    let seen = format!("key {:?}: {} was delivered after one that failed", event.key, event.id);
                    return Err(Wrong::new("a failure stops its key", seen));
                }
                Outcome::Delivered => {
                    self.said.delivered.insert(event.id);
                }
                Outcome::Failed(error) => {
                    failed_keys.extend(event.key.as_ref());
                    match error.action {
                        Action::Park => self.said.parked.push((event.id, chain(error))),
                        Action::Halt => self.said.halt = self.said.halt.take().or_else(|| Some(chain(error))),
                        Action::Retry { .. } | Action::Reconnect => {}
                    }
                }
                Outcome::Unknown => {}
            }
        }
        if let Err(error) = &round.result
            && error.action == Action::Halt
        {
            self.said.halt.get_or_insert_with(|| chain(error));
        }
        Ok(())
    }

    /// A round of batches at once over what is left; returns one of the errors about the connection.
    async fn some(&mut self, left: &[Event]) -> Result<Option<SinkError>, Wrong> {
        let (limit, concurrency) = (self.delivery_timeout, self.concurrency);
        let mut batches = vec![Vec::new(); concurrency];
        for event in left {
            let batch = &mut batches[slot(event, concurrency)];
            if batch.len() < BATCH_EVENTS {
                batch.push(event.clone());
            }
        }
        batches.retain(|batch| !batch.is_empty());
        let sink = self.sink().await?;
        let rounds = join_all(batches.iter().map(|batch| deliver(sink, batch, limit))).await;
        let mut reconnect = false;
        let mut last_error = None;
        for (batch, round) in batches.iter().zip(rounds) {
            self.hear(batch, &round)?;
            reconnect |= round.outcomes.iter().any(wants_reconnect);
            if let Err(error) = round.result {
                reconnect |= error.action == Action::Reconnect;
                last_error = Some(error);
            }
        }
        self.retire(reconnect).await;
        Ok(last_error)
    }

    /// Closes a sink whose connection is of no more use.
    async fn retire(&mut self, reconnect: bool) {
        if reconnect && let Some(sink) = self.sink.take() {
            // A connection that is broken need not close well.
            let _ = timeout(CONNECTING, sink.close()).await;
        }
    }

    fn forget_finished(&self, left: &mut Vec<Event>) {
        let parked: HashSet<Uuid> = self.said.parked.iter().map(|(id, _)| *id).collect();
        left.retain(|event| !self.said.delivered.contains(&event.id) && !parked.contains(&event.id));
    }
}

/// One delivery, given up after `limit`.
pub(super) async fn deliver(sink: &dyn Sink, batch: &[Event], limit: Duration) -> Round {
    let mut report = DeliveryReport::new(batch.len());
    let delivering = timeout(limit, sink.deliver(batch, &mut report)).await;
    let given_up = |_| {
        Err(SinkError::reconnect(format!(
            "the sink did not answer within {limit:?}"
        )))
    };
    Round {
        result: delivering.unwrap_or_else(given_up),
        outcomes: report.into_outcomes(),
    }
}

fn wants_reconnect(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(error) if error.action == Action::Reconnect)
}

/// The batch that a key's events go into.
fn slot(event: &Event, slots: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    match &event.key {
        Some(key) => key.hash(&mut hasher),
        None => event.id.hash(&mut hasher),
    }
    (hasher.finish() % slots as u64) as usize
}
