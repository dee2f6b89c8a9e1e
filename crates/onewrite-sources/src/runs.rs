//! How far replays are: the bookkeeping that every database needs.

use std::collections::{BTreeMap, BTreeSet};

/// The replays of one share that are not finished, by their number.
#[derive(Debug, Default)]
pub(crate) struct Runs(BTreeMap<i64, Run>);

/// A replay under way.
#[derive(Debug)]
pub(crate) struct Run {
    /// The last sequence that belongs to it.
    pub up_to: i64,
    /// The last sequence read.
    pub cursor: i64,
    /// Whether there is nothing left to read.
    pub exhausted: bool,
    out: BTreeSet<i64>,
    /// Recorded as finished.
    finished: bool,
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
    pub fn of(&mut self, id: i64, up_to: i64, progress: i64) -> &mut Run {
        self.0.entry(id).or_insert_with(|| Run {
            up_to,
            cursor: progress,
            exhausted: false,
            out: BTreeSet::new(),
            finished: false,
        })
    }

    /// Notes that an event is handed out.
    pub fn handed_out(&mut self, id: i64, sequence: i64) {
        if let Some(run) = self.0.get_mut(&id) {
            run.out.insert(sequence);
            run.cursor = run.cursor.max(sequence);
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
    fn is_done(&self) -> bool {
        self.exhausted && self.out.is_empty()
    }

    fn progress(&self) -> i64 {
        match self.out.first() {
            Some(first) => first - 1,
            None if self.exhausted => self.up_to,
            None => self.cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_stops_below_what_is_out_and_ends_at_the_end() {
        let mut runs = Runs::default();
        let at = |runs: &Runs| runs.progress().next().map(|run| (run.progress, run.done));
        runs.of(1, 90, 10);
        runs.handed_out(1, 20);
        runs.handed_out(1, 30);
        assert_eq!(at(&runs), Some((19, false)));
        runs.settled(1, 20);
        assert_eq!(at(&runs), Some((29, false)));
        runs.settled(1, 30);
        assert_eq!(at(&runs), Some((30, false)));
        runs.of(1, 90, 10).exhausted = true;
        assert!(runs.any_to_finish());
        assert_eq!(at(&runs), Some((90, true)));
        runs.recorded();
        assert!(!runs.any_to_finish());
    }
}
