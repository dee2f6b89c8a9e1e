//! What a person sees while it runs.

use std::io::{self, IsTerminal as _, Write as _};

use tokio::time::Instant;

use super::book::Book;
use super::limits::{PROGRESS_INTERVAL, PROGRESS_INTERVAL_TERMINAL};
use super::seen::Seen;
use crate::output::human::{count, printable};

/// Lines on standard error. On a terminal the line of figures stays where it is.
pub struct Progress {
    began: Instant,
    shown: Option<Instant>,
    terminal: bool,
    is_open: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            shown: None,
            terminal: io::stderr().is_terminal(),
            is_open: false,
        }
    }

    /// Begins to count the time anew.
    pub fn begin(&mut self) {
        (self.began, self.shown) = (Instant::now(), None);
    }

    /// Says something that stays.
    pub fn say(&mut self, words: &str) {
        let line_break = if std::mem::take(&mut self.is_open) { "\n" } else { "" };
        // Whoever closed standard error does not want to know.
        let _ = writeln!(io::stderr(), "{line_break}{}", printable(words));
    }

    /// Shows the figures, if it is time.
    pub fn figures(&mut self, book: &Book, seen: &Seen) {
        let interval = if self.terminal {
            PROGRESS_INTERVAL_TERMINAL
        } else {
            PROGRESS_INTERVAL
        };
        if self.shown.is_some_and(|shown| shown.elapsed() < interval) {
            return;
        }
        self.shown = Some(Instant::now());
        let (tally, distinct) = (book.tally(), seen.distinct());
        let figure = |figure: u64| count(figure.cast_signed());
        let trouble = seen
            .trouble()
            .map_or(String::new(), |words| format!("  reading back: {}", printable(&words)));
        let line = format!(
            "  {:6.1} s  committed {:>9}  rolled back {:>8}  arrived {:>9}  behind {:>7}  repeated {:>6}{trouble}",
            self.began.elapsed().as_secs_f64(),
            figure(tally.committed),
            figure(tally.rolled_back),
            figure(distinct),
            figure(tally.committed.saturating_sub(distinct)),
            figure(seen.repeated()),
        );
        let _ = if self.terminal {
            self.is_open = true;
            write!(io::stderr(), "\r\x1b[2K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
        let _ = io::stderr().flush();
    }
}
