//! A batch divided into what is written at once: events of one stream, and no key in two of them at the same time.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};

use onewrite_core::error::SinkError;
use onewrite_core::template::Template;
use onewrite_core::{DeliveryReport, Event};

use super::entry;
use crate::limits::{REDIS_BULK_BYTES_ALWAYS, REDIS_CHUNK_BYTES, REDIS_CHUNK_EVENTS};

/// What is left of a batch.
pub(super) struct Work<'a> {
    batch: &'a [Event],
    streams: Vec<Cow<'a, str>>,
    /// For each event its stream, or why there is none.
    address: Vec<Result<usize, SinkError>>,
    /// For each key, its events that have not been taken, in their order; an event without a key has a line to itself.
    lines: Vec<VecDeque<usize>>,
    line_of: Vec<usize>,
    /// For each stream, the lines whose next event goes there, with none under way.
    ready: Vec<VecDeque<usize>>,
    /// Streams with lines that are ready.
    turn: VecDeque<usize>,
}

/// Events to be written at once.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Where to.
    pub stream: usize,
    /// In the order of the batch.
    pub events: Vec<usize>,
    /// Whether it is a single event that is longer than every server is known to take.
    pub long: bool,
}

/// What became of a chunk.
#[derive(Debug)]
pub(super) struct Parts {
    /// The first refused event of each key.
    pub refused: Vec<usize>,
    /// The lines of which all in it was written.
    pub lines: Vec<usize>,
}

impl<'a> Work<'a> {
    /// A whole batch. Events of which no stream's name can be made are told in `report` at once, when they are the first
    /// of their keys.
    pub(super) fn new(batch: &'a [Event], template: &'a Template, report: &mut DeliveryReport) -> Self {
        let mut work = Self {
            batch,
            streams: Vec::new(),
            address: Vec::with_capacity(batch.len()),
            lines: Vec::new(),
            line_of: Vec::with_capacity(batch.len()),
            ready: Vec::new(),
            turn: VecDeque::new(),
        };
        let mut by_name: HashMap<Cow<'a, str>, usize> = HashMap::new();
        let mut by_key: HashMap<&str, usize> = HashMap::new();
        for (index, event) in batch.iter().enumerate() {
            let address = address(template, event).map(|name| {
                *by_name.entry(name).or_insert_with_key(|name| {
                    work.streams.push(name.clone());
                    work.ready.push(VecDeque::new());
                    work.streams.len() - 1
                })
            });
            work.address.push(address);
            let new = work.lines.len();
            let line = event
                .key
                .as_deref()
                .map_or(new, |key| *by_key.entry(key).or_insert(new));
            if line == new {
                work.lines.push(VecDeque::new());
            }
            work.lines[line].push_back(index);
            work.line_of.push(line);
        }
        for line in 0..work.lines.len() {
            work.make_ready(line, report);
        }
        work
    }

    /// The name of a stream.
    pub(super) fn stream(&self, stream: usize) -> &str {
        &self.streams[stream]
    }

    /// Takes what can be written at once, if anything can be now.
    pub(super) fn take(&mut self) -> Option<Chunk> {
        let stream = self.turn.pop_front()?;
        let mut chunk = Chunk {
            stream,
            events: Vec::new(),
            long: false,
        };
        let mut bytes = 0;
        while let Some(&line) = self.ready[stream].front() {
            let before = chunk.events.len();
            let whole = self.take_from(line, &mut chunk, &mut bytes);
            if chunk.events.len() > before {
                self.ready[stream].pop_front();
            }
            if !whole {
                break;
            }
        }
        if !self.ready[stream].is_empty() {
            self.turn.push_back(stream);
        }
        chunk.events.sort_unstable();
        Some(chunk)
    }

    /// Takes the events of a line, as far as they go to the chunk's stream. `false`: the chunk takes no more.
    fn take_from(&mut self, line: usize, chunk: &mut Chunk, bytes: &mut usize) -> bool {
        while let Some(&event) = self.lines[line].front() {
            if !matches!(self.address[event], Ok(stream) if stream == chunk.stream) {
                return true;
            }
            let long = entry::is_longer_than(&self.batch[event], REDIS_BULK_BYTES_ALWAYS);
            *bytes += self.batch[event].payload.len();
            let full = chunk.events.len() >= REDIS_CHUNK_EVENTS || *bytes > REDIS_CHUNK_BYTES || long;
            if full && !chunk.events.is_empty() {
                return false;
            }
            self.lines[line].pop_front();
            chunk.events.push(event);
            if long {
                chunk.long = true;
                return false;
            }
        }
        true
    }

    /// Divides a chunk of which the first `kept` events have been written and the others were refused.
    pub(super) fn written(&self, chunk: &Chunk, kept: usize) -> Parts {
        let mut seen = HashSet::new();
        let (kept, rest) = chunk.events.split_at(kept);
        let mut refused = rest.to_vec();
        refused.retain(|event| seen.insert(self.line_of[*event]));
        let lines = kept.iter().map(|event| self.line_of[*event]);
        Parts {
            refused,
            lines: lines.filter(|line| seen.insert(*line)).collect(),
        }
    }

    /// Lets what follows on these lines be taken: all before it is delivered.
    pub(super) fn go_on(&mut self, lines: &[usize], report: &mut DeliveryReport) {
        for &line in lines {
            self.make_ready(line, report);
        }
    }

    fn make_ready(&mut self, line: usize, report: &mut DeliveryReport) {
        let Some(&event) = self.lines[line].front() else { return };
        match &mut self.address[event] {
            Ok(stream) => {
                let stream = *stream;
                if self.ready[stream].is_empty() {
                    self.turn.push_back(stream);
                }
                self.ready[stream].push_back(line);
            }
            Err(error) => {
                let error = std::mem::replace(error, SinkError::park(""));
                report.failed(event, error);
            }
        }
    }
}

fn address<'a>(template: &'a Template, event: &'a Event) -> Result<Cow<'a, str>, SinkError> {
    let name = template.address(event)?;
    if name.is_empty() {
        return Err(SinkError::park("the name of the stream is empty"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;
    use onewrite_core::Outcome;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn event(number: usize, key: Option<u8>, topic: u8, bytes: usize) -> Event {
        Event {
            id: Uuid::from_u128(number as u128),
            topic: if topic == 0 {
                ""
            } else {
                ["a", "b"][usize::from(topic) % 2]
            }
            .into(),
            key: key.map(|key| key.to_string().into()),
            event_type: None,
            payload: Bytes::from(vec![0; bytes]),
            content_type: "text/plain".into(),
            headers: Vec::new(),
            occurred_at: Timestamp::UNIX_EPOCH,
            replay: None,
            headers_complete: false,
            verbatim: None,
        }
    }

    proptest! {
        #[test]
        fn no_key_is_in_two_chunks_and_nothing_passes_a_refusal(
            events in prop::collection::vec((prop::option::of(0_u8..4), 0_u8..9, 0_usize..5), 0..60),
            choices in prop::collection::vec((0_usize..8, any::<bool>(), 0_usize..6), 200),
        ) {
            const SIZES: [usize; 5] = [0, 10, 400_000, 700_000, 1_500_000];
            let batch: Vec<_> = events
                .iter()
                .enumerate()
                .map(|(number, (key, topic, size))| event(number, *key, *topic, SIZES[*size]))
                .collect();
            let template = Template::parse("{topic}").unwrap();
            let mut report = DeliveryReport::new(batch.len());
            let mut work = Work::new(&batch, &template, &mut report);
            let mut kept: Vec<usize> = Vec::new();
            let mut under_way: Vec<Chunk> = Vec::new();
            for (which, take, refuse) in choices {
                if take || under_way.is_empty() {
                    let Some(chunk) = work.take() else {
                        if under_way.is_empty() { break }
                        continue;
                    };
                    prop_assert!(!chunk.events.is_empty());
                    prop_assert!(chunk.events.is_sorted());
                    prop_assert!(!chunk.long || chunk.events.len() == 1);
                    for event in &chunk.events {
                        prop_assert_eq!(&*batch[*event].topic, work.stream(chunk.stream));
                        for other in under_way.iter().flat_map(|chunk| &chunk.events) {
                            prop_assert!(batch[*event].key.is_none() || batch[*event].key != batch[*other].key);
                        }
                    }
                    under_way.push(chunk);
                } else {
                    let chunk = under_way.remove(which % under_way.len());
                    let most = if refuse == 0 { chunk.events.len() / 2 } else { chunk.events.len() };
                    kept.extend(&chunk.events[..most]);
                    let parts = work.written(&chunk, most);
                    work.go_on(&parts.lines, &mut report);
                    for event in parts.refused {
                        report.failed(event, SinkError::park("no"));
                    }
                }
            }
            let outcomes = report.into_outcomes();
            for key in 0..4 {
                let of_key: Vec<usize> = (0..batch.len()).filter(|at| events[*at].0 == Some(key)).collect();
                let kept: Vec<usize> = kept.iter().copied().filter(|at| of_key.contains(at)).collect();
                prop_assert_eq!(&kept[..], &of_key[..kept.len()], "a run without gaps");
                let failed = of_key.iter().filter(|at| matches!(outcomes[**at], Outcome::Failed(_)));
                prop_assert!(failed.count() <= 1);
            }
        }
    }
}
