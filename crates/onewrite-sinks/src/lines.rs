//! The events of a batch, those of one key in their order.

use std::collections::{HashMap, VecDeque};

use onewrite_core::Event;

/// The events of a batch by their keys.
pub struct Lines {
    /// For each key, its events that have not been taken, in their order; an event without a key has a line to itself.
    lines: Vec<VecDeque<usize>>,
    /// Lines with no event under way.
    ready: VecDeque<usize>,
}

/// An event that was taken: the line it stands in, and which event of the batch it is.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Its line.
    pub line: usize,
    /// Its place in the batch.
    pub event: usize,
}

impl Lines {
    /// All events of a batch, none taken.
    pub fn new(batch: &[Event]) -> Self {
        let mut lines: Vec<VecDeque<usize>> = Vec::new();
        let mut by_key: HashMap<&str, usize> = HashMap::new();
        for (index, event) in batch.iter().enumerate() {
            let new = lines.len();
            let line = event
                .key
                .as_deref()
                .map_or(new, |key| *by_key.entry(key).or_insert(new));
            if line == new {
                lines.push(VecDeque::new());
            }
            lines[line].push_back(index);
        }
        Self {
            ready: (0..lines.len()).collect(),
            lines,
        }
    }

    /// The event that [`take`](Self::take) would take.
    pub fn peek(&mut self) -> Option<usize> {
        while let Some(&line) = self.ready.front() {
            if let Some(&event) = self.lines[line].front() {
                return Some(event);
            }
            self.ready.pop_front();
        }
        None
    }

    /// Takes the lowest event of a key with none under way.
    pub fn take(&mut self) -> Option<Item> {
        self.peek()?;
        let line = self.ready.pop_front()?;
        let event = self.lines[line].pop_front()?;
        Some(Item { line, event })
    }

    /// Lets the next event of this line be taken: the one before it was acknowledged.
    pub fn acknowledged(&mut self, item: Item) {
        self.ready.push_back(item.line);
    }
}
