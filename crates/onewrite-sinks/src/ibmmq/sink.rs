//! Delivery: keys one after another, requests side by side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event, Sink};
use reqwest::Client;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::answer::judge;
use super::request::put;
use super::settings::Settings;
use crate::keyed::{self, Fate};
use crate::limits::{RESPONSE_BYTES_MAX, START_WINDOW};
use crate::web::Body;

pub(super) struct MqSink {
    settings: Arc<Settings>,
    client: Client,
    /// Which of the servers it talks to.
    server: usize,
    /// Which server the next connection tries first.
    first: Arc<AtomicUsize>,
    /// One permit for each request that may be under way, over all deliveries at once. Closed with the sink.
    permits: Semaphore,
}

impl MqSink {
    pub(super) fn new(settings: Arc<Settings>, client: Client, server: usize, first: Arc<AtomicUsize>) -> Self {
        Self {
            permits: Semaphore::new(settings.concurrency),
            settings,
            client,
            server,
            first,
        }
    }

    /// Puts one event, once there is room and unless it is too late to begin by then.
    async fn send(&self, event: &Event, begun: Instant) -> Fate {
        let _permit = match self.permits.acquire().await {
            Err(_) => return Fate::Lost(SinkError::reconnect("the IBM MQ sink was closed")),
            Ok(_) if begun.elapsed() >= START_WINDOW => return Fate::Lost(self.too_slow()),
            Ok(permit) => permit,
        };
        let fate = self.put(event).await;
        if let Fate::Lost(error) = &fate
            && error.action == Action::Reconnect
        {
            // Of several requests that fail at once, one moves on.
            let next = (self.server + 1) % self.settings.servers.len();
            let moved = self
                .first
                .compare_exchange(self.server, next, Ordering::Relaxed, Ordering::Relaxed);
            if moved.is_ok() && next != self.server {
                tracing::info!(server = self.settings.servers[next], "the next server is tried first");
            }
        }
        fate
    }

    async fn put(&self, event: &Event) -> Fate {
        let put = match put(&self.settings, event) {
            Ok(put) => put,
            Err(error) => return Fate::Refused(error),
        };
        let server = &self.settings.servers[self.server];
        let url = format!("{server}{}", put.path);
        let posted = self.client.post(url).headers(put.headers).body(put.body).send().await;
        let mut response = match posted {
            Ok(response) => response,
            Err(error) => return Fate::Lost(self.no_answer(error)),
        };
        // The status says enough; a body that breaks off takes nothing back.
        let body = Body::read(&mut response, RESPONSE_BYTES_MAX).await.unwrap_or_default();
        judge(&self.settings, server, response.status(), &body)
    }

    fn no_answer(&self, error: reqwest::Error) -> SinkError {
        let server = &self.settings.servers[self.server];
        let error = error.without_url();
        let words = if error.is_connect() {
            format!("cannot connect to {server}")
        } else if error.is_timeout() {
            let timeout = self.settings.timeout;
            format!("{server} did not answer within {timeout:?}; whether the message was put is unknown")
        } else {
            format!(
                "the connection to {server} broke before the answer was complete; whether the message was put is unknown"
            )
        };
        SinkError::reconnect(words).because(error)
    }

    fn too_slow(&self) -> SinkError {
        SinkError::retry(format!(
            "{} is too slow for the whole delivery: after {START_WINDOW:?} the rest was left for the next; raise concurrency",
            self.settings.servers[self.server]
        ))
    }
}

#[async_trait]
impl Sink for MqSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let begun = Instant::now();
        let window = self.settings.concurrency;
        keyed::deliver(batch, window, report, |event| self.send(event, begun)).await
    }

    async fn close(&self) -> Result<(), SinkError> {
        let all = u32::try_from(self.settings.concurrency).unwrap_or(u32::MAX);
        // Holding all permits means that no request is under way. Closed already: nothing is, either.
        if let Ok(_all) = self.permits.acquire_many(all).await {
            self.permits.close();
        }
        Ok(())
    }
}
