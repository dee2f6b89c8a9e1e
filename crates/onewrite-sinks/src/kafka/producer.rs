//! A producer whose reports are served by a thread of its own.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, Producer};

use super::client::Context;
use super::limits::SERVE;

/// A producer and the thread that serves it. The wrapper's own kind serves for 100 ms at a time and spins through the last
/// millisecond of each, because the client waits in whole ones: that is nearly a percent of a core for a relay that does
/// nothing.
pub(super) struct ServedProducer {
    producer: Arc<BaseProducer<Context>>,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl ServedProducer {
    /// Makes the client, and starts the thread.
    pub fn new(config: &ClientConfig, context: Context) -> KafkaResult<Self> {
        let producer: Arc<BaseProducer<Context>> = Arc::new(config.create_with_context(context)?);
        let stop = Arc::new(AtomicBool::new(false));
        let (served, stopped) = (Arc::clone(&producer), Arc::clone(&stop));
        let serve = move || {
            while !stopped.load(Ordering::Relaxed) {
                served.poll(SERVE);
                served.context().flight.look_at_the_clock();
            }
        };
        let server = thread::Builder::new()
            .name("kafka-reports".into())
            .spawn(serve)
            .map_err(|error| KafkaError::ClientCreation(format!("no thread could be started: {error}")))?;
        Ok(Self {
            producer,
            stop,
            server: Some(server),
        })
    }
}

impl Deref for ServedProducer {
    type Target = BaseProducer<Context>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

impl Drop for ServedProducer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It ends within the time of one service, and has nothing to tell.
        let _ = self.server.take().map(JoinHandle::join);
    }
}
