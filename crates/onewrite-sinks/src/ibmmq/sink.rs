//! Delivery: keys one after another, requests side by side.

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event, Sink};
use reqwest::Client;
use tokio::time::Instant;

use super::answer::judge;
use super::request::put;
use super::settings::Settings;
use crate::keyed::{self, Fate};
use crate::limits::RESPONSE_BYTES_MAX;
use crate::room::Room;
use crate::rotation::Rotation;
use crate::web::{Body, NoAnswer};

pub(super) struct MqSink {
    settings: Arc<Settings>,
    client: Client,
    /// Which of the servers it talks to.
    server: usize,
    /// By which the next connection chooses its server.
    rotation: Arc<Rotation>,
    room: Room,
}

impl MqSink {
    pub(super) fn new(settings: Arc<Settings>, client: Client, server: usize, rotation: Arc<Rotation>) -> Self {
        Self {
            room: Room::new(settings.concurrency, &settings.servers[server], "; raise concurrency"),
            settings,
            client,
            server,
            rotation,
        }
    }

    /// Puts one event, once there is room and unless it is too late to begin by then.
    async fn send(&self, event: &Event, begun: Instant) -> Fate {
        let fate = match self.room.enter(begun).await {
            Ok(_permit) => self.put(event).await,
            Err(error) => return Fate::Lost(error),
        };
        if let Fate::Lost(error) = &fate
            && error.action == Action::Reconnect
        {
            self.rotation.leave(self.server, self.settings.servers.len());
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
            Err(error) => return Fate::Lost(NoAnswer::new(server, self.settings.timeout, error).error),
        };
        // The status says enough; a body that breaks off takes nothing back.
        let body = Body::read(&mut response, RESPONSE_BYTES_MAX).await.unwrap_or_default();
        judge(&self.settings, server, response.status(), &body)
    }
}

#[async_trait]
impl Sink for MqSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let begun = Instant::now();
        keyed::deliver(batch, self.room.size(), report, |event| self.send(event, begun)).await
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.room.close(self.settings.timeout).await;
        Ok(())
    }
}
