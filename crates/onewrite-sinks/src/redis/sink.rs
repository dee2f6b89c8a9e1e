//! Delivery: transactions side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event, Sink};
use redis::{Pipeline, Value, cmd};
use tokio::sync::RwLock;

use super::answer::{Redirect, Refusal, judge, redirect, refused};
use super::chunks::{Chunk, Parts, Work};
use super::connection::Connection;
use super::entry::{longest, xadd};
use super::nodes::Nodes;
use super::settings::Settings;
use crate::limits::{FAILURES_IN_A_ROW, REDIS_CHUNKS_UNDER_WAY, REDIS_REDIRECTS_MAX};

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
    /// On this connection, so many of the events, the first ones, were written; the others were refused for this reason.
    Answered(Arc<Connection>, usize, Option<Refusal>),
    /// None of it arrived.
    Refused(Refusal),
    /// Nobody knows whether it arrived, or nothing can be sent at all.
    Lost(SinkError),
}

enum Reply {
    Kept(usize, Option<Refusal>),
    Elsewhere(Redirect),
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
                Reply::Kept(kept, refusal) => return Ok(Fate::Answered(connection, kept, refusal)),
                Reply::Elsewhere(redirect) => {
                    self.nodes.moved(&redirect);
                    asking = redirect.asking.then_some(redirect.to);
                }
            }
        }
        let words = format!("the cluster sent the stream {stream:?} from server to server");
        Ok(Fate::Refused(Refusal::new(Action::Reconnect, words)))
    }

    /// One transaction, or a single command, which needs none.
    async fn send(
        &self,
        connection: &Connection,
        stream: &str,
        chunk: &Chunk,
        asking: bool,
    ) -> Result<Reply, SinkError> {
        let is_cluster = self.nodes.is_cluster();
        let count = chunk.events.len();
        let mut commands = Pipeline::with_capacity(count + 3);
        if asking {
            commands.cmd("ASKING");
        }
        if count > 1 {
            commands.cmd("MULTI");
        }
        for &event in &chunk.events {
            commands.add_command(xadd(stream, self.settings.trim, &self.batch[event]));
        }
        if count > 1 {
            commands.add_command(cmd("EXEC"));
        }
        let expected = count + usize::from(asking) + if count > 1 { 2 } else { 0 };
        let mut replies = connection.all(&commands, expected).await?;
        let replies = if count > 1 {
            match replies.pop() {
                Some(Value::Array(carried_out)) if carried_out.len() == count => carried_out,
                Some(Value::ServerError(last)) => {
                    // The server discarded all of it. What the first command was told is the reason.
                    let begun = refused(&replies[usize::from(asking)]);
                    if let Some(error) = begun {
                        // No transaction: the commands stood for themselves, and what became of them is not looked into.
                        return Err(super::connection::unusable(judge("a transaction", error)));
                    }
                    let reason = replies.iter().find_map(refused).unwrap_or(&last);
                    return Ok(refusal(connection, is_cluster, stream, 0, reason));
                }
                other => {
                    let words = format!("{} answered EXEC with {other:?}", connection.endpoint());
                    return Err(SinkError::reconnect(words));
                }
            }
        } else {
            replies.split_off(usize::from(asking))
        };
        let kept = replies
            .iter()
            .take_while(|reply| matches!(reply, Value::BulkString(_)))
            .count();
        match replies.get(kept) {
            None => Ok(Reply::Kept(kept, None)),
            Some(Value::ServerError(error)) => Ok(refusal(connection, is_cluster, stream, kept, error)),
            Some(other) => {
                let words = format!("{} answered XADD with {other:?}, no id", connection.endpoint());
                Err(SinkError::reconnect(words))
            }
        }
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

fn refusal(connection: &Connection, is_cluster: bool, stream: &str, kept: usize, error: &redis::ServerError) -> Reply {
    match redirect(error, connection.endpoint()) {
        Some(redirect) if kept == 0 && is_cluster => Reply::Elsewhere(redirect),
        _ => Reply::Kept(kept, Some(judge(&format!("the stream {stream:?}"), error))),
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
        let (connection, kept, refusal) = match fate {
            Fate::Answered(connection, kept, refusal) => (Some(connection), kept, refusal),
            Fate::Refused(refusal) => (None, 0, Some(refusal)),
            Fate::Lost(error) => {
                self.stopped.get_or_insert(error);
                return;
            }
        };
        let Parts { refused, lines } = work.written(&chunk, kept);
        let events = &chunk.events[..kept];
        match connection.filter(|_| waits) {
            Some(connection) => self.keep_waiting(connection, events, &lines),
            None => {
                events.iter().for_each(|event| report.delivered(*event));
                work.go_on(&lines, report);
            }
        }
        let Some(refusal) = refusal else {
            self.refusals_in_a_row = 0;
            return;
        };
        for event in refused {
            report.failed(event, refusal.error());
        }
        match refusal.action {
            Action::Park => {}
            Action::Halt => {
                self.stopped.get_or_insert_with(|| refusal.error());
            }
            Action::Retry { .. } | Action::Reconnect => {
                self.refusals_in_a_row += 1;
                if self.refusals_in_a_row >= FAILURES_IN_A_ROW {
                    self.stopped.get_or_insert_with(|| refusal.error());
                }
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
