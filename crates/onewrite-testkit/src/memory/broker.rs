//! A broker in memory: a log of deliveries, and what a test can do to it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::sink::Finding;
use onewrite_core::{DeliveryReport, Event, Sink, SinkConnector};
use tokio::sync::watch;
use uuid::Uuid;

/// A broker. Clones are the same broker; it keeps everything that it ever acknowledged.
#[derive(Clone, Default)]
pub struct MemoryBroker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    count: watch::Sender<usize>,
}

type Refusal = Arc<dyn Fn(&Event) -> Option<String> + Send + Sync>;

#[derive(Default)]
struct State {
    log: Vec<Event>,
    stopped: bool,
    replies_lost: bool,
    pause: Duration,
    refuses: Option<Refusal>,
    /// Grows with every stop, so that connections from before are known.
    starts: u64,
}

impl MemoryBroker {
    /// A broker that takes everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// What connects to it.
    pub fn connector(&self) -> Arc<MemoryConnector> {
        Arc::new(MemoryConnector { broker: self.clone() })
    }

    /// Everything it holds, duplicates included, in the order of arrival.
    pub fn log(&self) -> Vec<Event> {
        self.state().log.clone()
    }

    /// The ids of everything it holds, in the order of arrival.
    pub fn ids(&self) -> Vec<Uuid> {
        self.state().log.iter().map(|event| event.id).collect()
    }

    /// Forgets everything it holds.
    pub fn clear(&self) {
        self.state().log.clear();
    }

    /// Waits until it holds so many events, duplicates included.
    pub async fn wait_for(&self, count: usize) {
        // The sender lives as long as this value.
        let _ = self.shared.count.subscribe().wait_for(|held| *held >= count).await;
    }

    /// Stops it: connections break, and nothing answers.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.starts += 1;
    }

    /// Starts it again, with everything that it held.
    pub fn start(&self) {
        self.state().stopped = false;
    }

    /// Whether it takes events without ever saying so.
    pub fn lose_replies(&self, lose: bool) {
        self.state().replies_lost = lose;
    }

    /// How long it takes over each event.
    pub fn slow_down(&self, pause: Duration) {
        self.state().pause = pause;
    }

    /// Refuses for good the events for which `refuses` has words.
    pub fn refuse(&self, refuses: impl Fn(&Event) -> Option<String> + Send + Sync + 'static) {
        self.state().refuses = Some(Arc::new(refuses));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic while it is held")
    }

    fn take(&self, event: &Event) -> Answer {
        let mut state = self.state();
        if let Some(words) = state.refuses.as_ref().and_then(|refuses| refuses(event)) {
            return Answer::Refused(words);
        }
        state.log.push(event.clone());
        let held = state.log.len();
        let answer = if state.replies_lost {
            Answer::Lost
        } else {
            Answer::Taken
        };
        drop(state);
        self.shared.count.send_replace(held);
        answer
    }
}

enum Answer {
    Taken,
    Lost,
    Refused(String),
}

/// Connects to a [`MemoryBroker`].
pub struct MemoryConnector {
    broker: MemoryBroker,
}

#[async_trait]
impl SinkConnector for MemoryConnector {
    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        tokio::task::yield_now().await;
        let state = self.broker.state();
        if state.stopped {
            return Err(SinkError::reconnect("the broker in memory is stopped"));
        }
        Ok(Box::new(MemorySink {
            broker: self.broker.clone(),
            starts: state.starts,
            closed: AtomicBool::new(false),
        }))
    }

    async fn probe(&self, _: &[String]) -> Vec<Finding> {
        let subject = "the broker in memory";
        vec![match self.connect().await {
            Ok(_) => Finding::works(subject, "it answers"),
            Err(error) => Finding::broken(subject, format!("{error}; start it")),
        }]
    }
}

struct MemorySink {
    broker: MemoryBroker,
    starts: u64,
    closed: AtomicBool,
}

impl MemorySink {
    /// How long the broker takes over the next event, unless it cannot be reached.
    fn reach(&self) -> Result<Duration, SinkError> {
        let state = self.broker.state();
        if self.closed.load(Ordering::Relaxed) {
            Err(SinkError::reconnect(
                "the connection to the broker in memory was closed",
            ))
        } else if state.stopped || state.starts != self.starts {
            Err(SinkError::reconnect("the connection to the broker in memory broke"))
        } else {
            Ok(state.pause)
        }
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let mut stopped_keys = HashSet::new();
        let mut lost = false;
        for (index, event) in batch.iter().enumerate() {
            tokio::task::yield_now().await;
            let pause = self.reach()?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
                self.reach()?;
            }
            if event.key.as_ref().is_some_and(|key| stopped_keys.contains(key)) {
                continue;
            }
            match self.broker.take(event) {
                Answer::Taken => report.delivered(index),
                Answer::Lost => lost = true,
                Answer::Refused(words) => {
                    report.failed(index, SinkError::park(words));
                    stopped_keys.extend(event.key.as_ref());
                }
            }
        }
        if lost {
            return Err(SinkError::reconnect("the broker in memory did not answer"));
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.closed.store(true, Ordering::Relaxed);
        Ok(())
    }
}
