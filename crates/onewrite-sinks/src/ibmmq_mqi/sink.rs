//! Delivery: handed to the thread that owns the connection, and waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event, Sink};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::owner::{Job, Owner, Told};
use super::settings::MqiSettings;
use crate::rotation::Rotation;

pub(super) struct MqiSink {
    pub settings: Arc<MqiSettings>,
    pub owner: Owner,
    /// Which of the servers it talks to.
    pub server: usize,
    /// By which the next connection chooses its server.
    pub rotation: Arc<Rotation>,
    /// Whether a call has not returned in time: nothing more is given to its thread.
    pub hangs: AtomicBool,
}

impl MqiSink {
    async fn settle(&self, told: &mut UnboundedReceiver<Told>, report: &mut DeliveryReport) -> Result<(), SinkError> {
        loop {
            match self.next(told).await? {
                Told::One(place, Ok(())) => report.delivered(place),
                Told::One(place, Err(error)) => report.failed(place, error),
                Told::End(result) => return result,
            }
        }
    }

    /// What the thread tells next, as long as its calls return.
    async fn next(&self, told: &mut UnboundedReceiver<Told>) -> Result<Told, SinkError> {
        loop {
            let before = self.owner.progress.load(Ordering::Relaxed);
            match timeout(self.settings.timeout, told.recv()).await {
                Ok(Some(told)) => return Ok(told),
                Ok(None) => return Err(self.gone()),
                Err(_) if self.owner.progress.load(Ordering::Relaxed) != before => {}
                Err(_) => {
                    self.hangs.store(true, Ordering::Relaxed);
                    return Err(self.gone());
                }
            }
        }
    }

    fn gone(&self) -> SinkError {
        let server = &self.settings.servers[self.server].connection_name;
        if self.hangs.load(Ordering::Relaxed) {
            let timeout = self.settings.timeout;
            return SinkError::reconnect(format!(
                "{server} did not answer within {timeout:?}; whether messages were committed is unknown"
            ));
        }
        SinkError::reconnect(format!("the connection to {server} has ended"))
    }
}

#[async_trait]
impl Sink for MqiSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        if self.hangs.load(Ordering::Relaxed) {
            return Err(self.gone());
        }
        let (tell, mut told) = unbounded_channel();
        let events = batch.to_vec();
        let sent = self.owner.jobs.send(Job::Deliver {
            events,
            begun: Instant::now(),
            tell,
        });
        let result = match sent {
            Ok(()) => self.settle(&mut told, report).await,
            Err(_) => Err(self.gone()),
        };
        if matches!(&result, Err(error) if error.action == Action::Reconnect) {
            self.rotation.leave(self.server, self.settings.servers.len());
        }
        result
    }

    async fn close(&self) -> Result<(), SinkError> {
        let (done, closed) = oneshot::channel();
        if !self.hangs.load(Ordering::Relaxed) && self.owner.jobs.send(Job::Close(done)).is_ok() {
            // Past the time, the thread ends by itself once its call returns.
            let _ = timeout(self.settings.timeout, closed).await;
        }
        Ok(())
    }
}
