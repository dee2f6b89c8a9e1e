//! Connecting: the addresses in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};
use tokio::time::timeout;

use super::amqp::{Connection, Failure};
use super::readback::RabbitReadBack;
use super::settings::Settings;
use super::sink::{RabbitSink, Suspects};
use super::{judge, probe};
use crate::limits::{RABBITMQ_CONNECT_TIMEOUT, RABBITMQ_CONNECT_TIMEOUT_EACH};

pub(super) struct RabbitConnector {
    settings: Arc<Settings>,
    suspects: Arc<Suspects>,
    /// With which address the next connection begins: another after each that failed.
    next: AtomicUsize,
}

impl RabbitConnector {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            suspects: Arc::default(),
            next: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl SinkConnector for RabbitConnector {
    fn kind(&self) -> &'static str {
        "rabbitmq"
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (connection, _) = connect(&self.settings, first).await?;
        let sink = RabbitSink::new(Arc::clone(&self.settings), Arc::clone(&self.suspects), connection).await;
        Ok(Box::new(sink.map_err(|failure| judge::connection(&failure))?))
    }

    /// As the binding for AMQP 1.0 has it, of its two forms the one that it prefers; AMQP 0-9-1 has no binding of its own. See
    /// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>.
    fn cloudevents_prefix(&self) -> &'static str {
        "cloudEvents_"
    }

    fn read_back(&self) -> Option<Box<dyn ReadBack>> {
        Some(Box::new(RabbitReadBack(Arc::clone(&self.settings))))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(&self.settings, topics).await
    }
}

/// Connects to the first address that lets the client in, beginning with number `first`, and returns it for people.
pub(super) async fn connect(settings: &Settings, first: usize) -> Result<(Connection, String), SinkError> {
    let count = settings.addresses.len();
    let each = RABBITMQ_CONNECT_TIMEOUT / u32::try_from(count).unwrap_or(u32::MAX);
    let each = each.min(RABBITMQ_CONNECT_TIMEOUT_EACH);
    let mut worst: Option<SinkError> = None;
    for step in 0..count {
        let address = &settings.addresses[(first + step) % count];
        let opening = Connection::open(
            address,
            &settings.login,
            &settings.tls,
            &settings.name,
            settings.heartbeat,
        );
        let opened = timeout(each, opening).await.unwrap_or_else(|_| {
            Err(Failure::ended(format!(
                "{} did not answer within {each:?}",
                address.shown
            )))
        });
        match opened {
            Ok(connection) => return Ok((connection, address.shown.clone())),
            Err(failure) => {
                let error = judge::connection(&failure);
                // One that names what a person must do weighs more than a machine that is down.
                if error.action == Action::Halt || worst.as_ref().is_none_or(|worst| worst.action != Action::Halt) {
                    worst = Some(error);
                }
            }
        }
    }
    Err(worst.unwrap_or_else(|| SinkError::halt("urls names no broker")))
}
