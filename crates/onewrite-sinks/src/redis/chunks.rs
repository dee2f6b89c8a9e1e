//! A batch divided into what is written at once: events of one stream, and no key in two of them at the same time.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use onewrite_core::error::SinkError;
use onewrite_core::template::Template;
use onewrite_core::{DeliveryReport, Event};

use super::entry;
use crate::limits::{REDIS_BULK_BYTES_ALWAYS, REDIS_CHUNK_BYTES, REDIS_CHUNK_EVENTS, REDIS_PIPELINE_EVENTS};
use crate::lines::ByKey;

/// What is left of a batch.
pub(super) struct Work<'a> {
    batch: &'a [Event],
    by_key: ByKey,
    /// For each event that was taken its line.
    line_of: Vec<usize>,
    streams: Vec<Stream<'a>>,
    /// For each event its stream, or why there is none.
    address: Vec<Result<usize, SinkError>>,
    /// Streams with lines that are ready.
    turn: VecDeque<usize>,
}

/// A stream, and the lines whose next event goes there, with none under way.
struct Stream<'a> {
    name: Cow<'a, str>,
    /// Those with a single event left.
    single: VecDeque<usize>,
    /// Those with more.
    longer: VecDeque<usize>,
}

/// Events to be written at once.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Where to.
    pub stream: usize,
    /// In the order of the batch.
    pub events: Vec<usize>,
    /// Whether a key is in it twice, so that all of it must be written or nothing.
    pub whole: bool,
    /// Whether it is a single event that is longer than every server is known to take.
    pub long: bool,
}

/// What became of a chunk.
#[derive(Debug)]
pub(super) struct Parts {
    /// What was written.
    pub kept: Vec<usize>,
    /// The lines of which all in it was written.
    pub lines: Vec<usize>,
    /// The first refused event of each key.
    pub refused: Vec<usize>,
}

impl<'a> Work<'a> {
    /// A whole batch. Events of which no stream's name can be made are told in `report` at once, when they are the first
    /// of their keys.
    pub(super) fn new(batch: &'a [Event], template: &'a Template, report: &mut DeliveryReport) -> Self {
        let mut streams: Vec<Stream<'a>> = Vec::new();
        let mut by_name: HashMap<Cow<'a, str>, usize> = HashMap::new();
        let address = batch.iter().map(|event| {
            address(template, event).map(|name| {
                *by_name.entry(name).or_insert_with_key(|name| {
                    streams.push(Stream {
                        name: name.clone(),
                        single: VecDeque::new(),
                        longer: VecDeque::new(),
                    });
                    streams.len() - 1
                })
            })
        });
        let mut work = Self {
            batch,
            by_key: ByKey::new(batch),
            line_of: vec![0; batch.len()],
            address: address.collect(),
            streams,
            turn: VecDeque::new(),
        };
        for line in 0..work.by_key.lines() {
            work.make_ready(line, report);
        }
        work
    }

    /// The name of a stream.
    pub(super) fn stream(&self, stream: usize) -> &str {
        &self.streams[stream].name
    }

    /// Takes what can be written at once, if anything can be now: of single events first, since they cost less.
    pub(super) fn take(&mut self) -> Option<Chunk> {
        let stream = self.turn.pop_front()?;
        let mut chunk = Chunk {
            stream,
            events: Vec::new(),
            whole: false,
            long: false,
        };
        let mut bytes = 0;
        let single = !self.streams[stream].single.is_empty();
        let most = if single {
            REDIS_PIPELINE_EVENTS
        } else {
            REDIS_CHUNK_EVENTS
        };
        while let Some(line) = self.streams[stream].next(single) {
            let before = chunk.events.len();
            let goes_on = self.take_from(line, &mut chunk, &mut bytes, most);
            let taken = chunk.events.len() - before;
            chunk.whole |= taken > 1;
            if taken == 0 {
                self.streams[stream].put_back(line, single);
            }
            if !goes_on {
                break;
            }
        }
        if !self.streams[stream].is_empty() {
            self.turn.push_back(stream);
        }
        chunk.events.sort_unstable();
        Some(chunk)
    }

    /// Takes the events of a line, as far as they go to the chunk's stream. `false`: the chunk takes no more.
    fn take_from(&mut self, line: usize, chunk: &mut Chunk, bytes: &mut usize, most: usize) -> bool {
        while let Some(event) = self.by_key.first(line) {
            if !matches!(self.address[event], Ok(stream) if stream == chunk.stream) {
                return true;
            }
            let long = entry::is_longer_than(&self.batch[event], REDIS_BULK_BYTES_ALWAYS);
            *bytes += self.batch[event].payload.len();
            let full = chunk.events.len() >= most || *bytes > REDIS_CHUNK_BYTES || long;
            if full && !chunk.events.is_empty() {
                return false;
            }
            self.by_key.take_first(line);
            self.line_of[event] = line;
            chunk.events.push(event);
            if long {
                chunk.long = true;
                return false;
            }
        }
        true
    }

    /// Divides a chunk of which these events, in their order, were refused, and the others have been written.
    pub(super) fn written(&self, chunk: &Chunk, mut refused: Vec<usize>) -> Parts {
        let mut kept = chunk.events.clone();
        kept.retain(|event| refused.binary_search(event).is_err());
        let mut stopped = Vec::new();
        refused.retain(|event| {
            let line = self.line_of[*event];
            let first = !stopped.contains(&line);
            stopped.extend(first.then_some(line));
            first
        });
        let mut lines: Vec<_> = kept.iter().map(|event| self.line_of[*event]).collect();
        lines.sort_unstable();
        lines.dedup();
        lines.retain(|line| !stopped.contains(line));
        Parts { kept, lines, refused }
    }

    /// Lets what follows on these lines be taken: all before it is delivered.
    pub(super) fn go_on(&mut self, lines: &[usize], report: &mut DeliveryReport) {
        for &line in lines {
            self.make_ready(line, report);
        }
    }

    fn make_ready(&mut self, line: usize, report: &mut DeliveryReport) {
        let Some(event) = self.by_key.first(line) else { return };
        match &mut self.address[event] {
            Ok(at) => {
                let stream = &mut self.streams[*at];
                if stream.is_empty() {
                    self.turn.push_back(*at);
                }
                if self.by_key.next(event).is_none() {
                    stream.single.push_back(line);
                } else {
                    stream.longer.push_back(line);
                }
            }
            Err(error) => {
                let error = std::mem::replace(error, SinkError::park(""));
                report.failed(event, error);
            }
        }
    }
}

impl Stream<'_> {
    fn is_empty(&self) -> bool {
        self.single.is_empty() && self.longer.is_empty()
    }

    fn lines(&mut self, single: bool) -> &mut VecDeque<usize> {
        if single { &mut self.single } else { &mut self.longer }
    }

    fn next(&mut self, single: bool) -> Option<usize> {
        self.lines(single).pop_front()
    }

    fn put_back(&mut self, line: usize, single: bool) {
        self.lines(single).push_front(line);
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
                    let mut keys: Vec<_> = chunk.events.iter().filter_map(|event| batch[*event].key.clone()).collect();
                    keys.sort_unstable();
                    prop_assert_eq!(chunk.whole, keys.windows(2).any(|two| two[0] == two[1]));
                    for event in &chunk.events {
                        prop_assert_eq!(&*batch[*event].topic, work.stream(chunk.stream));
                        for other in under_way.iter().flat_map(|chunk| &chunk.events) {
                            prop_assert!(batch[*event].key.is_none() || batch[*event].key != batch[*other].key);
                        }
                    }
                    under_way.push(chunk);
                } else {
                    let chunk = under_way.remove(which % under_way.len());
                    // A transaction is refused from one event on; else each event has an answer of its own.
                    let refused: Vec<usize> = match refuse {
                        0 if chunk.whole => chunk.events[chunk.events.len() / 2..].to_vec(),
                        0 => chunk.events.iter().copied().step_by(2).collect(),
                        _ => Vec::new(),
                    };
                    let parts = work.written(&chunk, refused);
                    kept.extend(&parts.kept);
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
