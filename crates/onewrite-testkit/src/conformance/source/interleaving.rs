//! Seeded interleavings of overlapping transactions, reads, settlements and crashes, against a model of what must still come.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use onewrite::Event;
use onewrite_core::ledger::Ledger;
use onewrite_core::{BatchLimit, Position, Settlement, Sourced};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::session::{DEADLINE, Reader, Session, event, works};
use super::{SourceHarness, Transaction};
use crate::conformance::Wrong;

/// Interleavings in one run of the case, and steps in each.
const SEEDS: u64 = 100;
const STEPS: usize = 40;

/// Keys are few, so that transactions meet on them; without one, no order is asked.
const KEYS: usize = 6;

pub(super) async fn no_interleaving_and_no_crash_loses_invents_or_reorders(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let first = harness.seed();
    let most_open = if harness.writers_overlap() { 4 } else { 1 };
    let session = Session::new(harness).await?;
    let mut world = World::new(most_open);
    for seed in first..first + SEEDS {
        world.random = fastrand::Rng::with_seed(seed);
        let ran = world.interleave(&session).await;
        ran.map_err(|wrong| wrong.when(&format!("with seed {seed}")))?;
    }
    Ok(())
}

/// What was done, and so what must come.
struct World {
    random: fastrand::Rng,
    most_open: usize,
    open: Vec<Open>,
    /// Every committed event: its key, and its number in the order of commits.
    committed: HashMap<Uuid, (Option<String>, u64)>,
    /// Committed and not settled.
    due: BTreeSet<Uuid>,
    incarnation: Option<Incarnation>,
}

struct Open {
    transaction: Box<dyn Transaction>,
    events: Vec<Event>,
}

/// A life of the source, and the book that core keeps of it.
struct Incarnation {
    reader: Reader,
    ledger: Ledger,
    handed_out: BTreeMap<Position, Uuid>,
    seen: HashSet<Uuid>,
    /// The number of each key's last event.
    last: HashMap<String, u64>,
    /// Handed out and neither settled nor to be retried.
    unsettled: Vec<Position>,
}

impl World {
    fn new(most_open: usize) -> Self {
        Self {
            random: fastrand::Rng::new(),
            most_open,
            open: Vec::new(),
            committed: HashMap::new(),
            due: BTreeSet::new(),
            incarnation: None,
        }
    }

    async fn interleave(&mut self, session: &Session) -> Result<(), Wrong> {
        for _ in 0..STEPS {
            let step = match self.random.u32(0..100) {
                // Where writers stand in line, the relay does as well.
                step if self.most_open == 1 && !self.open.is_empty() => step % 58,
                step => step,
            };
            match step {
                0..15 if self.open.len() < self.most_open => self.begin(session).await?,
                15..40 => self.append().await?,
                40..58 => self.end().await?,
                58..78 => self.read_or_wait(session).await?,
                78..88 => self.settle_some(),
                88..96 => self.record().await?,
                96..100 => self.incarnation = None,
                _ => {}
            }
        }
        self.drain(session).await
    }

    async fn begin(&mut self, session: &Session) -> Result<(), Wrong> {
        self.open.push(Open {
            transaction: session.begin().await?,
            events: Vec::new(),
        });
        Ok(())
    }

    /// Appends to a key that no other open transaction has locked: that one would wait for the other.
    async fn append(&mut self) -> Result<(), Wrong> {
        if self.open.is_empty() {
            return Ok(());
        }
        let at = self.random.usize(0..self.open.len());
        let key = (self.random.u32(0..8) > 0).then(|| format!("key-{}", self.random.usize(0..KEYS)));
        let locked = |open: &Open| key.is_some() && open.events.iter().any(|event| event.key == key);
        if self
            .open
            .iter()
            .enumerate()
            .any(|(other, open)| other != at && locked(open))
        {
            return Ok(());
        }
        let some: Vec<Event> = (0..self.random.usize(1..4))
            .map(|_| event("shop.orders", key.as_deref()))
            .collect();
        let open = &mut self.open[at];
        open.transaction.append(&some).await?;
        open.events.extend(some);
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Wrong> {
        if self.open.is_empty() {
            return Ok(());
        }
        let at = self.random.usize(0..self.open.len());
        let Open { transaction, events } = self.open.swap_remove(at);
        match self.random.u32(0..10) {
            0..2 => transaction.rollback().await?,
            2 => drop(transaction),
            _ => {
                transaction.commit().await?;
                for event in events {
                    let number = self.committed.len() as u64;
                    self.due.insert(event.id);
                    self.committed.insert(event.id, (event.key, number));
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, session: &Session) -> Result<usize, Wrong> {
        let limit = BatchLimit {
            events: self.random.usize(1..12),
            bytes: if self.random.bool() {
                1 << 20
            } else {
                self.random.usize(1..900)
            },
        };
        if self.incarnation.is_none() {
            self.incarnation = Some(Incarnation::new(session.feed().await?));
        }
        let Some(incarnation) = &mut self.incarnation else {
            return Ok(0);
        };
        let events = incarnation.reader.read(limit).await?;
        for sourced in &events {
            incarnation.take(sourced, &self.committed, &self.due)?;
        }
        Ok(events.len())
    }

    /// Some deliveries succeed, some fail and will be tried again.
    fn settle_some(&mut self) {
        let Some(incarnation) = &mut self.incarnation else {
            return;
        };
        for _ in 0..self.random.usize(0..10) {
            if incarnation.unsettled.is_empty() {
                return;
            }
            // Mostly the oldest, as in life, and sometimes one from anywhere.
            let length = incarnation.unsettled.len();
            let at = if self.random.bool() {
                0
            } else {
                self.random.usize(0..length)
            };
            if self.random.u32(0..4) == 0 {
                incarnation.ledger.retry(incarnation.unsettled[at]);
            } else {
                let position = incarnation.unsettled.remove(at);
                incarnation.ledger.settle(position);
            }
        }
    }

    async fn record(&mut self) -> Result<(), Wrong> {
        let Some(incarnation) = &mut self.incarnation else {
            return Ok(());
        };
        let Some(settlement) = incarnation.ledger.settlement() else {
            return Ok(());
        };
        let settled = incarnation.reader.source.settle(&settlement).await;
        settled.map_err(|error| works("settling", &error))?;
        incarnation.ledger.recorded();
        for id in incarnation.covered(&settlement) {
            self.due.remove(&id);
        }
        Ok(())
    }

    /// Reads; where nothing is there, waits for a moment, and gives up waiting as core does to settle.
    async fn read_or_wait(&mut self, session: &Session) -> Result<(), Wrong> {
        if self.read(session).await? == 0
            && let Some(incarnation) = &mut self.incarnation
        {
            let _given_up = timeout(Duration::from_millis(2), incarnation.reader.source.wait()).await;
        }
        Ok(())
    }

    /// Ends every transaction, reads until everything has come, and looks for what is missing; then settles everything.
    async fn drain(&mut self, session: &Session) -> Result<(), Wrong> {
        while !self.open.is_empty() {
            self.end().await?;
        }
        let deadline = Instant::now() + DEADLINE;
        while self.read(session).await? > 0 || (self.is_any_missing() && Instant::now() < deadline) {
            self.read_or_wait(session).await?;
        }
        let Some(incarnation) = &mut self.incarnation else {
            return Ok(());
        };
        let missing: Vec<&Uuid> = self.due.iter().filter(|id| !incarnation.seen.contains(id)).collect();
        if let Some(first) = missing.first() {
            let (key, number) = &self.committed[first];
            let seen = format!(
                "{} did not come, such as number {number}, {first} of key {key:?}",
                missing.len()
            );
            return Err(Wrong::new(
                "every committed event that is not settled comes in each incarnation",
                seen,
            ));
        }
        for position in incarnation.unsettled.drain(..) {
            incarnation.ledger.settle(position);
        }
        self.record().await?;
        if let Some(left) = self.due.first() {
            return Err(Wrong::new(
                "what is settled is covered by a settlement",
                format!("{left} is not"),
            ));
        }
        Ok(())
    }
}

impl World {
    fn is_any_missing(&self) -> bool {
        let seen = |id| {
            self.incarnation
                .as_ref()
                .is_some_and(|present| present.seen.contains(id))
        };
        !self.due.iter().all(seen)
    }
}

impl Incarnation {
    fn new(reader: Reader) -> Self {
        Self {
            reader,
            ledger: Ledger::default(),
            handed_out: BTreeMap::new(),
            seen: HashSet::new(),
            last: HashMap::new(),
            unsettled: Vec::new(),
        }
    }

    fn take(
        &mut self,
        sourced: &Sourced,
        committed: &HashMap<Uuid, (Option<String>, u64)>,
        due: &BTreeSet<Uuid>,
    ) -> Result<(), Wrong> {
        let id = sourced.event.id;
        let Some((key, number)) = committed.get(&id) else {
            return Err(Wrong::new(
                "only what is committed comes",
                format!("{id} of key {:?} came", sourced.event.key),
            ));
        };
        if !self.seen.insert(id) {
            return Err(Wrong::new(
                "an event comes once in each incarnation",
                format!("{id} came twice"),
            ));
        }
        if !due.contains(&id) {
            return Err(Wrong::new(
                "what is settled never comes again",
                format!("number {number}, {id}, came again"),
            ));
        }
        if let Some(key) = key
            && let Some(last) = self.last.insert(key.clone(), *number)
            && last > *number
        {
            let seen = format!("key {key:?}: commit number {number} came after {last}");
            return Err(Wrong::new("events of a key come in the order of their commits", seen));
        }
        self.ledger.hand_out(sourced.position);
        self.handed_out.insert(sourced.position, id);
        self.unsettled.push(sourced.position);
        Ok(())
    }

    fn covered(&self, settlement: &Settlement) -> Vec<Uuid> {
        let Some(through) = settlement.through else {
            return Vec::new();
        };
        let covered = self
            .handed_out
            .range(..=through)
            .filter(|(at, _)| !settlement.pending.contains(at));
        covered.map(|(_, id)| *id).collect()
    }
}
