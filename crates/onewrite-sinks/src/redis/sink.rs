//! Delivery: transactions side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event, Sink};
use redis::Pipeline;
use tokio::sync::RwLock;
use tokio::time::Instant;

use super::answer::Refusal;
use super::chunks::{Chunk, Parts, Work};
use super::connection::Connection;
use super::entry::{longest, xadd};
use super::heard::{Heard, Refused, Reply};
use super::nodes::Nodes;
use super::settings::Settings;
use crate::limits::{FAILURES_IN_A_ROW, REDIS_CHUNKS_UNDER_WAY, REDIS_REDIRECTS_MAX, START_WINDOW};

pub(super) struct RedisSink {
    settings: Arc<Settings>,
    /// `None` once it is closed. Deliveries hold it for reading.
    nodes: RwLock<Option<Nodes>>,
    turns: AtomicUsize,
}

impl RedisSink {
    pub(super) fn new(settings: Arc<Settings>, nodes: Nodes) -> Self {
        Self {
            settings,
            nodes: RwLock::new(Some(nodes)),
            turns: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Sink for RedisSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let begun = Instant::now();
        let nodes = self.nodes.read().await;
        let Some(nodes) = &*nodes else {
            return Err(SinkError::reconnect("the Redis sink was closed"));
        };
        let writer = Writer {
            settings: &self.settings,
            nodes,
            batch,
            turn: self.turns.fetch_add(1, Ordering::Relaxed),
        };
        let mut work = Work::new(batch, &self.settings.stream, report);
        let mut course = Course::default();
        let mut under_way = FuturesUnordered::new();
        // Where replicas or disks are waited for, in rounds: what follows an event under its key may go to another server, and is
        // written only when that event is delivered.
        loop {
            loop {
                while course.stopped.is_none() && under_way.len() < REDIS_CHUNKS_UNDER_WAY {
                    let Some(chunk) = work.take() else { break };
                    if begun.elapsed() >= START_WINDOW {
                        course.stopped = Some(writer.too_slow());
                        break;
                    }
                    let stream = work.stream(chunk.stream).to_owned();
                    under_way.push(writer.write(stream, chunk));
                }
                let Some(written) = under_way.next().await else { break };
                course.note(written, self.settings.wait.is_some(), &mut work, report);
            }
            let waiting = std::mem::take(&mut course.waiting);
            if waiting.is_empty() {
                return course.stopped.map_or(Ok(()), Err);
            }
            if let Err(error) = writer.wait(waiting, &mut work, report).await {
                course.stopped.get_or_insert(error);
            }
        }
    }

    async fn close(&self) -> Result<(), SinkError> {
        // Waits for the deliveries under way.
        self.nodes.write().await.take();
        Ok(())
    }
}

/// What one delivery writes with.
struct Writer<'a> {
    settings: &'a Settings,
    nodes: &'a Nodes,
    batch: &'a [Event],
    /// Which of several connections it uses.
    turn: usize,
}

struct Written {
    chunk: Chunk,
    fate: Fate,
}

enum Fate {
    /// On this connection all was written but for these.
    Answered(Arc<Connection>, Refused),
    /// None of it arrived.
    Refused(Refusal),
    /// Nobody knows whether it arrived, or nothing can be sent at all.
    Lost(SinkError),
}

impl Writer<'_> {
    async fn write(&self, stream: String, chunk: Chunk) -> Written {
        let fate = self.follow(&stream, &chunk).await;
        let fate = fate.unwrap_or_else(Fate::Lost);
        Written { chunk, fate }
    }

    /// Writes to where the stream is, however often a cluster says that it is elsewhere.
    async fn follow(&self, stream: &str, chunk: &Chunk) -> Result<Fate, SinkError> {
        let mut asking = None;
        for _ in 0..=REDIS_REDIRECTS_MAX {
            let home = match asking.take() {
                Some(to) => Ok((to, true)),
                None => self.nodes.home(stream).map(|home| (home, false)),
            };
            let (home, asks) = match home {
                Ok(home) => home,
                Err(slot) => {
                    let words = format!("no server of the cluster has the slot {slot} of the stream {stream:?}");
                    return Ok(Fate::Refused(Refusal::new(Action::Reconnect, words)));
                }
            };
            let connection = match self.nodes.connection(&home, self.turn).await {
                Ok(connection) => connection,
                // One server of several: the streams of the others go on.
                Err(error) if self.nodes.is_cluster() && error.action == Action::Reconnect => {
                    let words = onewrite_core::error::chain(&error);
                    return Ok(Fate::Refused(Refusal::new(error.action, words)));
                }
                Err(error) => return Err(error),
            };
            if chunk.long
                && let Some(words) = connection.refuses_length(longest(&self.batch[chunk.events[0]])).await?
            {
                let words = format!("{home} takes nothing of this length: {words}; raise proto-max-bulk-len");
                return Ok(Fate::Refused(Refusal::new(Action::Park, words)));
            }
            match self.send(&connection, stream, chunk, asks).await? {
                Reply::Here(refused) => return Ok(Fate::Answered(connection, refused)),
                Reply::Elsewhere(redirect) => {
                    self.nodes.moved(&redirect);
                    asking = redirect.asking.then_some(redirect.to);
                }
            }
        }
        let words = format!("the cluster sent the stream {stream:?} from server to server");
        Ok(Fate::Refused(Refusal::new(Action::Reconnect, words)))
    }

    /// One transaction where a key is in the chunk twice. Where none is, each event stands for itself: a later one of its key is sent
    /// only when it is written, so it needs none, and costs client and server half of what it costs in one.
    async fn send(
        &self,
        connection: &Connection,
        stream: &str,
        chunk: &Chunk,
        asking: bool,
    ) -> Result<Reply, SinkError> {
        let count = chunk.events.len();
        // What is asked for holds for one command, or for one transaction.
        let transaction = chunk.whole || (asking && count > 1);
        let mut commands = Pipeline::with_capacity(count + 3);
        if asking {
            commands.cmd("ASKING");
        }
        if transaction {
            commands.cmd("MULTI");
        }
        for &event in &chunk.events {
            commands.add_command(xadd(stream, self.settings.trim, &self.batch[event]));
        }
        if transaction {
            commands.cmd("EXEC");
        }
        let expected = count + usize::from(asking) + if transaction { 2 } else { 0 };
        let mut replies = connection.all(&commands, expected).await?;
        if asking {
            replies.remove(0);
        }
        let heard = Heard {
            connection,
            stream,
            events: &chunk.events,
            nodes: self.nodes,
            only_stream: self.settings.stream.literal().is_some(),
        };
        match transaction {
            true => heard.of_transaction(replies),
            false => heard.of_each(&replies),
        }
    }

    fn too_slow(&self) -> SinkError {
        let urls = self.settings.shown_urls();
        SinkError::retry(format!(
            "{urls} is too slow for the whole delivery: after {START_WINDOW:?} the rest was left for the next"
        ))
    }

    /// Waits for replicas and disks, where that is asked for, and tells what is delivered by it.
    async fn wait(
        &self,
        waiting: Vec<Waiting>,
        work: &mut Work<'_>,
        report: &mut DeliveryReport,
    ) -> Result<(), SinkError> {
        let Some(wait) = self.settings.wait else { return Ok(()) };
        let waits = waiting.into_iter().map(|written| async move {
            let waited = written.connection.wait(wait).await;
            (waited, written)
        });
        let mut waits: FuturesUnordered<_> = waits.collect();
        let mut failed = None;
        while let Some((waited, written)) = waits.next().await {
            match waited {
                Ok(()) => {
                    written.events.iter().for_each(|event| report.delivered(*event));
                    work.go_on(&written.lines, report);
                }
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// How a delivery has gone so far.
#[derive(Default)]
struct Course {
    /// Why nothing further is sent.
    stopped: Option<SinkError>,
    refusals_in_a_row: u32,
    /// What was written and is still waited for, by connection.
    waiting: Vec<Waiting>,
}

/// What was written on a connection and is delivered when its replicas or disks have it.
struct Waiting {
    connection: Arc<Connection>,
    events: Vec<usize>,
    /// The lines that go on then.
    lines: Vec<usize>,
}

impl Course {
    fn note(&mut self, written: Written, waits: bool, work: &mut Work<'_>, report: &mut DeliveryReport) {
        let Written { chunk, fate } = written;
        let (connection, refused) = match fate {
            Fate::Answered(connection, refused) => (Some(connection), refused),
            Fate::Refused(refusal) => {
                let all = chunk.events.iter().map(|event| (*event, refusal.clone()));
                (None, all.collect())
            }
            Fate::Lost(error) => {
                self.stopped.get_or_insert(error);
                return;
            }
        };
        let Parts {
            kept,
            lines,
            refused: first,
        } = work.written(&chunk, refused.iter().map(|(event, _)| *event).collect());
        match connection.filter(|_| waits) {
            Some(connection) => self.keep_waiting(connection, &kept, &lines),
            None => {
                kept.iter().for_each(|event| report.delivered(*event));
                work.go_on(&lines, report);
            }
        }
        for (event, refusal) in &refused {
            if first.binary_search(event).is_ok() {
                report.failed(*event, refusal.error());
            }
        }
        self.count(&refused);
    }

    /// Takes note of what the refusals of a chunk say about the delivery.
    fn count(&mut self, refused: &Refused) {
        let Some((_, last)) = refused.last() else {
            self.refusals_in_a_row = 0;
            return;
        };
        let halts = |refusal: &&Refusal| refusal.action == Action::Halt;
        let mut all = refused.iter().map(|(_, refusal)| refusal);
        if let Some(halt) = all.clone().find(halts) {
            self.stopped.get_or_insert_with(|| halt.error());
        } else if all.any(|refusal| refusal.action != Action::Park) {
            self.refusals_in_a_row += 1;
            if self.refusals_in_a_row >= FAILURES_IN_A_ROW {
                self.stopped.get_or_insert_with(|| last.error());
            }
        }
    }

    fn keep_waiting(&mut self, connection: Arc<Connection>, events: &[usize], lines: &[usize]) {
        let same = |waiting: &&mut Waiting| Arc::ptr_eq(&waiting.connection, &connection);
        match self.waiting.iter_mut().find(same) {
            Some(waiting) => {
                waiting.events.extend_from_slice(events);
                waiting.lines.extend_from_slice(lines);
            }
            None => self.waiting.push(Waiting {
                connection,
                events: events.to_vec(),
                lines: lines.to_vec(),
            }),
        }
    }
}
