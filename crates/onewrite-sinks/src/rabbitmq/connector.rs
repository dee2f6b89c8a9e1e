//! Connecting: the addresses in turn.

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::sink::{CloudEventsBinding, Finding};
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};
use tokio::time::timeout;

use super::amqp::{Connection, Failure};
use super::readback::RabbitReadBack;
use super::settings::Settings;
use super::sink::{RabbitSink, Suspects};
use super::{judge, probe};
use crate::limits::{RABBITMQ_CONNECT_TIMEOUT, RABBITMQ_CONNECT_TIMEOUT_EACH};
use crate::rotation::Rotation;

pub(super) struct RabbitConnector {
    settings: Arc<Settings>,
    suspects: Arc<Suspects>,
    /// Each connection begins with another address than the one before it found.
    rotation: Rotation,
}

impl RabbitConnector {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            suspects: Arc::default(),
            rotation: Rotation::default(),
        }
    }
}

#[async_trait]
impl SinkConnector for RabbitConnector {
    fn kind(&self) -> &'static str {
        "rabbitmq"
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let (address, connection) = connect(&self.settings, &self.rotation).await?;
        self.rotation.leave(address, self.settings.addresses.len());
        let sink = RabbitSink::new(Arc::clone(&self.settings), Arc::clone(&self.suspects), connection).await;
        Ok(Box::new(sink.map_err(|failure| judge::connection(&failure))?))
    }

    /// As the binding for AMQP 1.0 has it, of its two forms the one that it prefers; AMQP 0-9-1 has no binding of its own. See
    /// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>.
    fn cloudevents(&self) -> CloudEventsBinding {
        CloudEventsBinding::prefixed("cloudEvents_")
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Ok(Box::new(RabbitReadBack(Arc::clone(&self.settings))))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.settings, topics).await
    }
}

/// Connects to the first address that lets the client in, and returns its number.
pub(super) async fn connect(settings: &Settings, rotation: &Rotation) -> Result<(usize, Connection), SinkError> {
    let count = settings.addresses.len();
    let each = RABBITMQ_CONNECT_TIMEOUT / u32::try_from(count).unwrap_or(u32::MAX);
    let each = each.min(RABBITMQ_CONNECT_TIMEOUT_EACH);
    let open = |number: usize| async move {
        let address = &settings.addresses[number];
        let Settings { login, tls, name, .. } = settings;
        let opening = Connection::open(address, login, tls, name, settings.heartbeat);
        let slow = |_| {
            Err(Failure::ended(format!(
                "{} did not answer within {each:?}",
                address.shown
            )))
        };
        let opened = timeout(each, opening).await.unwrap_or_else(slow);
        opened.map_err(|failure| judge::connection(&failure))
    };
    rotation.connect(count, open).await
}
