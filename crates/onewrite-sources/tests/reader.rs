//! A source with the engine's own bookkeeping, on any database.

use std::time::{Duration, Instant};

use onewrite_core::ledger::Ledger;
use onewrite_core::routing::{Match, Pattern, Share, shares};
use onewrite_core::source::ParkReason;
use onewrite_core::{BatchLimit, Parking, Position, Source, Sourced, StoreError};

/// The relay's name.
pub const RELAY: &str = "shop";
/// Room for all that a test writes.
pub const LIMIT: BatchLimit = BatchLimit {
    events: 1_000,
    bytes: 1 << 20,
};
/// A lease that does not run out during a test.
pub const TTL: Duration = Duration::from_secs(600);

/// One route, `all`, that takes everything.
pub fn everything() -> Vec<Share> {
    shares(RELAY, &[("all".to_owned(), Match::default())])
}

/// Routes by name and topic pattern.
pub fn routes(routes: &[(&str, &str)]) -> Vec<Share> {
    let topic = |text: &str| Match {
        topic: Some(Pattern::new(text)),
        event_type: None,
    };
    let routes: Vec<_> = routes
        .iter()
        .map(|(name, pattern)| ((*name).to_owned(), topic(pattern)))
        .collect();
    shares(RELAY, &routes)
}

/// A source with its ledger.
pub struct Reader {
    /// The source.
    pub source: Box<dyn Source>,
    /// What core keeps of it.
    pub ledger: Ledger,
}

impl Reader {
    /// A source with an empty ledger.
    pub fn new(source: Box<dyn Source>) -> Self {
        Self {
            source,
            ledger: Ledger::default(),
        }
    }

    /// One batch, noted as handed out.
    pub async fn next(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let events = self.source.next_batch(limit).await?;
        events.iter().for_each(|event| self.ledger.hand_out(event.position));
        Ok(events)
    }

    /// What is there now, in one batch.
    pub async fn batch(&mut self) -> Vec<Sourced> {
        self.next(LIMIT).await.expect("a batch")
    }

    /// Everything that is there now, in batches of these limits.
    pub async fn drain(&mut self, limit: BatchLimit) -> Vec<Sourced> {
        let mut all = Vec::new();
        loop {
            let events = self.next(limit).await.expect("a batch");
            if events.is_empty() {
                return all;
            }
            all.extend(events);
        }
    }

    /// Looks again and again until so many events came.
    pub async fn wait_for(&mut self, count: usize) -> Vec<Sourced> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut all = self.drain(LIMIT).await;
        while all.len() < count {
            assert!(
                Instant::now() < deadline,
                "{} of {count} events came: {:?}",
                all.len(),
                payloads(&all)
            );
            self.source.wait().await;
            all.extend(self.drain(LIMIT).await);
        }
        all
    }

    /// Settles these events and records it.
    pub async fn settle(&mut self, events: &[Sourced]) {
        events.iter().for_each(|event| self.ledger.settle(event.position));
        self.record().await.expect("recorded progress");
    }

    /// Leaves these events to be tried again.
    pub fn retry(&mut self, events: &[Sourced]) {
        events.iter().for_each(|event| self.ledger.retry(event.position));
    }

    /// Records what the ledger says, if there is anything new.
    pub async fn record(&mut self) -> Result<(), StoreError> {
        if let Some(settlement) = self.ledger.settlement() {
            self.source.settle(&settlement).await?;
            self.ledger.recorded();
        }
        Ok(())
    }

    /// Sets an event aside.
    pub async fn park(&mut self, event: &Sourced, reason: ParkReason) {
        self.park_all(&[(event, reason)]).await;
    }

    /// Sets events aside together.
    pub async fn park_all(&mut self, events: &[(&Sourced, ParkReason)]) {
        let events: Vec<Parking> = events
            .iter()
            .map(|(event, reason)| parking(event, reason.clone()))
            .collect();
        self.source.park(&events).await.expect("parked events");
    }
}

/// An event to set aside.
pub fn parking(event: &Sourced, reason: ParkReason) -> Parking {
    Parking {
        position: event.position,
        event: event.event.clone(),
        reason,
        attempts: 3,
    }
}

/// Poison, in these words.
pub fn poison(words: &str) -> ParkReason {
    ParkReason::Poison(words.to_owned())
}

/// The payloads as texts.
pub fn payloads(events: &[Sourced]) -> Vec<String> {
    events
        .iter()
        .map(|event| String::from_utf8_lossy(&event.event.payload).into_owned())
        .collect()
}

/// The positions.
pub fn positions(events: &[Sourced]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}
