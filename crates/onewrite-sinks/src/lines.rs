//! The events of a batch, those of one key in their order.

use std::collections::{HashMap, VecDeque};

use onewrite_core::Event;

/// The events of a batch in lines: one for each key, and an event without a key has a line to itself.
pub struct ByKey {
    /// For each line the first of its events that has not been taken.
    first: Vec<Option<usize>>,
    /// For each event the next one of its line.
    next: Vec<Option<usize>>,
}

impl ByKey {
    /// All events of a batch, none taken.
    pub fn new(batch: &[Event]) -> Self {
        let mut first = Vec::with_capacity(batch.len());
        let mut last: Vec<usize> = Vec::with_capacity(batch.len());
        let mut next = vec![None; batch.len()];
        let mut by_key: HashMap<&str, usize> = HashMap::with_capacity(batch.len());
        for (index, event) in batch.iter().enumerate() {
            let new = first.len();
            let line = event
                .key
                .as_deref()
                .map_or(new, |key| *by_key.entry(key).or_insert(new));
            if line == new {
                first.push(Some(index));
                last.push(index);
            } else {
                next[std::mem::replace(&mut last[line], index)] = Some(index);
            }
        }
        Self { first, next }
    }

    /// How many lines there are; they are numbered from 0.
    pub fn lines(&self) -> usize {
        self.first.len()
    }

    /// The event that [`take_first`](Self::take_first) would take.
    pub fn first(&self, line: usize) -> Option<usize> {
        self.first[line]
    }

    /// Takes the first event of a line.
    pub fn take_first(&mut self, line: usize) -> Option<usize> {
        let event = self.first[line]?;
        self.first[line] = self.next(event);
        Some(event)
    }

    /// The event behind this one in its line.
    pub fn next(&self, event: usize) -> Option<usize> {
        self.next[event]
    }
}

/// The events of a batch, to be taken one after another for each key.
pub struct Lines {
    by_key: ByKey,
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
        let by_key = ByKey::new(batch);
        Self {
            ready: (0..by_key.lines()).collect(),
            by_key,
        }
    }

    /// The event that [`take`](Self::take) would take.
    pub fn peek(&mut self) -> Option<usize> {
        while let Some(&line) = self.ready.front() {
            if let Some(event) = self.by_key.first(line) {
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
        let event = self.by_key.take_first(line)?;
        Some(Item { line, event })
    }

    /// Lets the next event of this line be taken: the one before it was acknowledged.
    pub fn acknowledged(&mut self, item: Item) {
        self.ready.push_back(item.line);
    }
}
