//! How far replays are: the bookkeeping that every database needs.
//!
//! A replay owes what had been delivered when it was asked for. Of an event that the route's progress does not cover yet nobody
//! can tell whether it had, so the replay waits until it is covered, and hands it out then; before, it would overtake the first
//! deliveries of its key. Such events are passed over and remembered, so that one that waits for a retry does not hold up the others.

use std::collections::{BTreeMap, BTreeSet};

use onewrite_core::limits::REPLAY_WAITING_MAX;

/// The replays of one share that are not finished, by their number.
#[derive(Debug, Default)]
pub(crate) struct Runs(BTreeMap<i64, Run>);

/// A replay under way.
#[derive(Debug)]
pub(crate) struct Run {
    /// The last sequence that belongs to it.
    pub up_to: i64,
    /// The last sequence looked at.
    pub cursor: i64,
    /// What was passed over since it waits.
    pub waiting: BTreeSet<i64>,
    out: BTreeSet<i64>,
    /// Recorded as finished.
    finished: bool,
}

/// What a look at a replay found, besides the events to hand out. It is noted with [`Runs::looked`] only once these are handed
/// out: a caller may drop the future before.
#[derive(Debug)]
pub(crate) struct Look {
    /// The replay's number.
    pub id: i64,
    /// The last sequence looked at.
    pub through: i64,
    waiting: BTreeSet<i64>,
}

/// How far a replay is: all up to `progress` is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunProgress {
    pub id: i64,
    pub progress: i64,
    pub done: bool,
}

impl Runs {
    /// Forgets replays that nobody asks for any more.
    pub fn keep_only(&mut self, asked: impl Fn(i64) -> bool) {
        self.0.retain(|id, _| asked(*id));
    }

    /// The run of a request, begun at its recorded progress where it is new.
    pub fn of(&mut self, id: i64, up_to: i64, progress: i64) -> &Run {
        self.0.entry(id).or_insert_with(|| Run {
            up_to,
            cursor: progress,
            waiting: BTreeSet::new(),
            out: BTreeSet::new(),
            finished: false,
        })
    }

    /// Notes what a look found.
    pub fn looked(&mut self, look: Look) {
        if let Some(run) = self.0.get_mut(&look.id) {
            run.cursor = look.through;
            run.waiting = look.waiting;
        }
    }

    /// Notes that an event is handed out.
    pub fn handed_out(&mut self, id: i64, sequence: i64) {
        if let Some(run) = self.0.get_mut(&id) {
            run.out.insert(sequence);
        }
    }

    /// Notes that an event is settled.
    pub fn settled(&mut self, id: i64, sequence: i64) {
        if let Some(run) = self.0.get_mut(&id) {
            run.out.remove(&sequence);
        }
    }

    /// Whether a replay came to its end without its last events being settled just now.
    pub fn any_to_finish(&self) -> bool {
        self.0.values().any(|run| run.is_done() && !run.finished)
    }

    /// How far each is.
    pub fn progress(&self) -> impl Iterator<Item = RunProgress> + '_ {
        self.0.iter().map(|(id, run)| RunProgress {
            id: *id,
            progress: run.progress(),
            done: run.is_done(),
        })
    }

    /// Notes that the progress is recorded.
    pub fn recorded(&mut self) {
        for run in self.0.values_mut() {
            run.finished = run.is_done();
        }
    }
}

impl Run {
    /// Whether there is nothing left to look at.
    pub fn is_exhausted(&self) -> bool {
        self.cursor >= self.up_to && self.waiting.is_empty()
    }

    /// A look at the replay of this number, which has found nothing yet.
    pub fn look(&self, id: i64) -> Look {
        Look {
            id,
            through: self.cursor,
            waiting: BTreeSet::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.is_exhausted() && self.out.is_empty()
    }

    fn progress(&self) -> i64 {
        let first = self.out.first().into_iter().chain(self.waiting.first()).min();
        first.map_or(self.cursor, |first| first - 1)
    }
}

impl Look {
    /// Passes over an event that waits; `false` when there are too many, and the look ends before it. What was passed over
    /// by earlier looks and still waits is named again, before what lies beyond.
    pub fn pass_over(&mut self, sequence: i64) -> bool {
        let has_room = self.waiting.len() < REPLAY_WAITING_MAX;
        if has_room {
            self.waiting.insert(sequence);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(runs: &mut Runs, through: i64, waiting: &[i64], found: &[i64]) {
        let mut look = runs.of(1, 90, 10).look(1);
        look.through = through;
        waiting.iter().for_each(|sequence| assert!(look.pass_over(*sequence)));
        runs.looked(look);
        found.iter().for_each(|sequence| runs.handed_out(1, *sequence));
    }

    fn at(runs: &Runs) -> Option<(i64, bool)> {
        runs.progress().next().map(|run| (run.progress, run.done))
    }

    #[test]
    fn progress_stops_below_what_is_out_and_ends_at_the_end() {
        let mut runs = Runs::default();
        looked(&mut runs, 30, &[], &[20, 30]);
        assert_eq!(at(&runs), Some((19, false)));
        runs.settled(1, 20);
        assert_eq!(at(&runs), Some((29, false)));
        runs.settled(1, 30);
        assert_eq!(at(&runs), Some((30, false)));
        looked(&mut runs, 90, &[], &[]);
        assert!(runs.any_to_finish());
        assert_eq!(at(&runs), Some((90, true)));
        runs.recorded();
        assert!(!runs.any_to_finish());
    }

    #[test]
    fn progress_stops_below_what_waits_and_nothing_ends_before_it() {
        let mut runs = Runs::default();
        looked(&mut runs, 90, &[20, 40], &[30]);
        assert_eq!(at(&runs), Some((19, false)));
        runs.settled(1, 30);
        looked(&mut runs, 90, &[40], &[20]);
        assert_eq!(at(&runs), Some((19, false)));
        runs.settled(1, 20);
        assert_eq!(at(&runs), Some((39, false)));
        looked(&mut runs, 90, &[], &[]);
        assert_eq!(at(&runs), Some((90, true)));
    }

    #[test]
    fn what_is_passed_over_is_bounded() {
        let mut look = Runs::default().of(1, i64::MAX, 0).look(1);
        let room = REPLAY_WAITING_MAX as i64;
        assert!((1..=room).all(|sequence| look.pass_over(sequence)));
        assert!(!look.pass_over(room + 1));
    }
}
