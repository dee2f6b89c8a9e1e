//! What goes wrong, and what came of it.

use std::collections::VecDeque;
use std::time::Duration;

use onewrite_core::verify::ProvingGround;
use serde::Serialize;
use tokio::time::Instant;

use super::arguments::Faults;
use super::book::Book;
use super::cut;
use super::limits::{FAULT_INTERVAL, FAULTS_MAX};
use super::relay::Relay;
use super::seen::Seen;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The relay was killed and started again.
    Kill,
    /// The relay's connections were cut.
    Cut,
}

/// A fault that happened.
#[derive(Debug, Serialize)]
pub struct Fault {
    /// What it was.
    pub kind: Kind,
    /// What exactly was done, or why it could not be.
    pub what: String,
    /// Seconds since the beginning.
    pub at_seconds: f64,
    /// Seconds until something arrived that was committed afterwards; `None` where nothing did before the next fault.
    pub back_after_seconds: Option<f64>,
    /// Deliveries after it, and before the next one, of events that had arrived before.
    pub repeated: u64,
    #[serde(skip)]
    at: Instant,
    #[serde(skip)]
    committed: u64,
    #[serde(skip)]
    repeated_before: u64,
}

impl Fault {
    /// Whether what was committed and seen at these times was touched by it.
    pub fn touches(&self, committed: Instant, seen: Instant) -> bool {
        let back = self
            .back_after_seconds
            .map(|seconds| self.at + Duration::from_secs_f64(seconds));
        seen >= self.at && back.is_none_or(|back| committed <= back)
    }
}

/// The faults of a run: those to come, and those that were.
pub struct Schedule {
    /// Each with the share of the load after which it is due.
    coming: VecDeque<(f64, Kind)>,
    /// Those that happened.
    pub past: Vec<Fault>,
    began: Instant,
}

impl Schedule {
    /// Faults over a load of this length, at moments that the seed decides.
    pub fn new(faults: Faults, length: Duration, seed: u64) -> Self {
        let each = u32::try_from(length.as_secs() / FAULT_INTERVAL.as_secs()).unwrap_or(u32::MAX);
        let each = each.clamp(1, FAULTS_MAX) as usize;
        let kinds = [(Kind::Kill, faults.kills()), (Kind::Cut, faults.cuts())];
        let kinds = kinds.into_iter().filter_map(|(kind, wanted)| wanted.then_some(kind));
        let mut coming: Vec<Kind> = kinds.flat_map(|kind| std::iter::repeat_n(kind, each)).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        random.shuffle(&mut coming);
        // Between the first and the last tenth, so that there is load before and after each.
        #[expect(clippy::cast_precision_loss, reason = "a few dozens")]
        let (count, place) = (coming.len() as f64, |at: usize| at as f64);
        let due = |at: usize, jitter: f64| 0.1 + 0.8 * (place(at) + 0.2 + 0.6 * jitter) / count;
        let coming = coming.into_iter().enumerate();
        Self {
            coming: coming.map(|(at, kind)| (due(at, random.f64()), kind)).collect(),
            past: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Notes when the load began.
    pub fn begin(&mut self, began: Instant) {
        self.began = began;
    }

    /// Whether all that was planned has happened, and something arrived afterwards.
    pub fn is_over(&self) -> bool {
        self.coming.is_empty()
    }

    /// When the last fault was.
    pub fn last_at(&self) -> Option<Instant> {
        self.past.last().map(|fault| fault.at)
    }

    /// Notes what arrived since the last fault. Something is there that was committed after it when more arrived than could have been
    /// committed by then; or when the writers have ended, and all is there.
    pub fn observe(&mut self, book: &Book, seen: &Seen, ended: bool) {
        let (distinct, repeated) = (seen.distinct(), seen.repeated());
        let all = ended && distinct >= book.tally().committed;
        if let Some(fault) = self.past.last_mut() {
            fault.repeated = repeated - fault.repeated_before;
            if fault.back_after_seconds.is_none() && (distinct > fault.committed || all) {
                fault.back_after_seconds = Some(fault.at.elapsed().as_secs_f64());
            }
        }
    }

    /// Whether a fault is to come when so much of the load is done, and the one before is over or took longer than `patience`.
    pub fn is_due(&self, done: f64, patience: Duration) -> bool {
        let busy = |fault: &Fault| fault.back_after_seconds.is_none() && fault.at.elapsed() < patience;
        let due = self.coming.front().is_some_and(|(due, _)| done >= *due);
        due && !self.past.last().is_some_and(busy)
    }

    /// Lets the next fault happen. Returns what happened; `None` where none is to come.
    ///
    /// # Errors
    /// When the relay cannot be started again.
    pub async fn strike(
        &mut self,
        actors: (&mut Relay, &dyn ProvingGround, &str),
        ends: (&Book, &Seen),
    ) -> anyhow::Result<Option<String>> {
        let Some((_, kind)) = self.coming.pop_front() else {
            return Ok(None);
        };
        let (relay, ground, application) = actors;
        let (tally, repeated_before) = (ends.0.tally(), ends.1.repeated());
        let what = match kind {
            Kind::Kill => {
                relay.kill().await?;
                "the relay is killed, and started again".to_owned()
            }
            Kind::Cut => cut(relay, ground, application).await,
        };
        self.past.push(Fault {
            kind,
            what: what.clone(),
            at_seconds: self.began.elapsed().as_secs_f64(),
            back_after_seconds: None,
            repeated: 0,
            at: Instant::now(),
            committed: tally.committed + tally.unanswered,
            repeated_before,
        });
        Ok(Some(what))
    }
}

/// Cuts what can be cut, and says what that was.
async fn cut(relay: &Relay, ground: &dyn ProvingGround, application: &str) -> String {
    let counted = |count: u64| crate::output::human::plural(count, "connection");
    let why = match relay.pid().map(cut::connections) {
        Some(Ok(count)) if count > 0 => return format!("{} of the relay cut", counted(count)),
        Some(Err(error)) => format!("the system does not let a parent cut its child's connections: {error}"),
        _ => "the relay has no connections".to_owned(),
    };
    match ground.cut(application).await {
        Ok(Some(count)) => format!("{} of the relay to the database cut ({why})", counted(count)),
        Ok(None) => format!("nothing to cut: {why}"),
        Err(error) => format!("nothing cut: {why}, and {}", onewrite_core::error::chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_the_moments_and_all_lie_inside_the_load() {
        let plan = |faults, seconds| Schedule::new(faults, Duration::from_secs(seconds), 7).coming;
        assert!(plan(Faults::None, 100).is_empty());
        let all = plan(Faults::All, 40);
        assert_eq!(all, plan(Faults::All, 40));
        let count = |kind| all.iter().filter(|(_, one)| *one == kind).count();
        assert_eq!((count(Kind::Kill), count(Kind::Cut)), (4, 4));
        assert!(all.iter().zip(all.iter().skip(1)).all(|(one, next)| one.0 < next.0));
        assert!(all.iter().all(|(due, _)| (0.1..0.9).contains(due)));
        assert_eq!(plan(Faults::Kills, 1).len(), 1, "a short run has one of each");
    }
}
