//! Delivery: keys one after another, messages side by side.

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::{DeliveryReport, Event, Sink};
use tokio::sync::RwLock;

use super::answer::fate;
use super::message::message;
use super::session::Session;
use super::settings::Settings;
use crate::keyed::{self, Fate, StartWindow};

pub(super) struct MqttSink {
    settings: Arc<Settings>,
    /// `None` once it is closed. Deliveries hold it for reading.
    session: RwLock<Option<Session>>,
}

impl MqttSink {
    pub(super) fn new(settings: Arc<Settings>, session: Session) -> Self {
        Self {
            settings,
            session: RwLock::new(Some(session)),
        }
    }

    async fn send(&self, session: &Session, event: &Event, start: StartWindow) -> Fate {
        let message = match message(&self.settings, event) {
            Ok(message) => message,
            Err(poison) => return Fate::Refused(poison),
        };
        let (size, most) = (message.size(), session.connected.maximum_packet);
        if let Some(most) = most.filter(|most| size > *most as usize) {
            let words = format!("the packet has {size} bytes, and the broker takes {most} at most");
            return Fate::Refused(SinkError::park(words));
        }
        match session.publish(message, start).await {
            Ok(answer) => fate(&answer, &self.settings, &event.topic),
            Err(error) => Fate::Lost(error),
        }
    }
}

#[async_trait]
impl Sink for MqttSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let session = self.session.read().await;
        let Some(session) = &*session else {
            return Err(SinkError::reconnect("the MQTT sink was closed"));
        };
        let window = usize::from(self.settings.window);
        let start = StartWindow::begin();
        keyed::deliver(batch, window, report, |event| self.send(session, event, start)).await
    }

    async fn close(&self) -> Result<(), SinkError> {
        // Waits for the deliveries under way.
        let session = self.session.write().await.take();
        if let Some(session) = session {
            session.close().await;
        }
        Ok(())
    }
}
