//! Delivery: keys one after another, each event on the link of its address.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use fe2o3_amqp::types::messaging::Outcome;
use onewrite_core::error::SinkError;
use onewrite_core::{DeliveryReport, Event, Sink};
use tokio::sync::{Mutex, RwLock};
use tokio::time::timeout;

use super::connection::{Life, Opened};
use super::link::{Link, Settlement, Unsent};
use super::links::{Links, Memory};
use super::message::message;
use super::refusal::{Refusal, of_outcome, of_send};
use super::settings::Settings;
use crate::endpoint::Endpoint;
use crate::keyed::{self, Fate, StartWindow};
use crate::limits::AMQP1_CLOSE_TIMEOUT;

pub(super) struct Amqp1Sink {
    settings: Arc<Settings>,
    place: Endpoint,
    memory: Arc<Memory>,
    links: Arc<Links>,
    /// Held while a suspect goes alone: there are as many links besides those of the addresses.
    alone: Mutex<()>,
    life: Mutex<Option<Life>>,
    /// Why the connection ended, where it did.
    ended: Arc<OnceLock<String>>,
    /// Read by each delivery while it lasts; `true` once the sink is closed.
    closed: RwLock<bool>,
}

impl Amqp1Sink {
    pub(super) fn new(settings: Arc<Settings>, opened: Opened, memory: Arc<Memory>) -> Self {
        let Opened {
            place,
            product,
            session,
            life,
        } = opened;
        Self {
            links: Arc::new(Links::new(Arc::clone(&settings), product, Arc::clone(&memory), session)),
            settings,
            place,
            memory,
            alone: Mutex::new(()),
            ended: life.ended(),
            life: Mutex::new(Some(life)),
            closed: RwLock::new(false),
        }
    }

    async fn send(&self, event: &Event, start: StartWindow) -> Fate {
        let address = match self.settings.address.address(event) {
            Ok(address) => address,
            Err(error) => return Fate::Refused(error),
        };
        let sent = if self.memory.suspects.contains(event.id) {
            self.send_alone(event, &address, start).await
        } else {
            self.send_among_others(event, &address, start).await
        };
        match sent {
            Ok(()) => {
                self.memory.known.note(&address);
                Fate::Delivered
            }
            Err(refusal) if refusal.whole => Fate::Lost(self.broken(refusal)),
            // Of some, nobody knows whether they arrived; they are tried again all the same, and the others go on.
            Err(refusal) => Fate::Refused(refusal.error()),
        }
    }

    async fn send_among_others(&self, event: &Event, address: &str, start: StartWindow) -> Result<(), Refusal> {
        let mut again = true;
        loop {
            let link = in_time(start, self.links.link(address)).await??;
            let refusal = match self.send_on(&link, event, address, start).await {
                Ok(()) => return Ok(()),
                Err(Unsent::Refused(refusal)) => refusal,
                // It was not sent, so another link may, once.
                Err(Unsent::Ended(ended)) if ended.again && std::mem::take(&mut again) => continue,
                Err(Unsent::Ended(ended)) => return Err(ended.refusal),
            };
            if refusal.some_message {
                // It may be the one over which the link ended; the next time it goes alone.
                self.memory.suspects.note(event.id);
            }
            return Err(refusal);
        }
    }

    /// A suspect has a link of its own, which only it can be the reason of ending. Whoever gives up waiting takes nothing from that: the
    /// link is never used again.
    async fn send_alone(&self, event: &Event, address: &str, start: StartWindow) -> Result<(), Refusal> {
        let _turn = in_time(start, self.alone.lock()).await?;
        let link = in_time(start, self.links.link_of_its_own(address)).await??;
        match self.send_on(&link, event, address, start).await {
            Ok(()) => {
                self.memory.suspects.forget(event.id);
                Ok(())
            }
            Err(Unsent::Refused(refusal)) if refusal.some_message => {
                self.memory.suspects.forget(event.id);
                Err(Refusal::park(refusal.words))
            }
            Err(Unsent::Refused(refusal)) => Err(refusal),
            Err(Unsent::Ended(ended)) => Err(ended.refusal),
        }
    }

    /// Sends a message and waits for what becomes of it.
    async fn send_on(&self, link: &Link, event: &Event, address: &str, start: StartWindow) -> Result<(), Unsent> {
        let settlement = link.send(message(&self.settings, event), start).await?;
        self.settled(address, settlement).await.map_err(Unsent::Refused)
    }

    async fn settled(&self, address: &str, settlement: Settlement) -> Result<(), Refusal> {
        let known = self.memory.known.contains(address);
        let outcome: Outcome = match timeout(self.settings.timeout, settlement.outcome()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => return Err(of_send(&self.settings, address, known, error)),
            Err(_) => {
                return Err(Refusal::broken(format!(
                    "address {address}: the broker did not acknowledge a message within {:?}; whether it arrived is unknown",
                    self.settings.timeout
                )));
            }
        };
        of_outcome(&self.settings, address, known, outcome).map_or(Ok(()), Err)
    }

    /// Adds where, and why the connection ended if it is known by now.
    fn broken(&self, refusal: Refusal) -> SinkError {
        let words = match self.ended.get() {
            Some(why) if !refusal.words.contains(why.as_str()) => format!("{}: {} ({why})", self.place, refusal.words),
            _ => format!("{}: {}", self.place, refusal.words),
        };
        SinkError::new(refusal.action, words)
    }
}

#[async_trait]
impl Sink for Amqp1Sink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let closed = self.closed.read().await;
        if *closed {
            return Err(SinkError::reconnect("the AMQP 1.0 sink was closed"));
        }
        let start = StartWindow::begin();
        keyed::deliver(batch, self.settings.window, report, |event| self.send(event, start)).await
    }

    async fn close(&self) -> Result<(), SinkError> {
        // Waits for deliveries that are under way.
        *self.closed.write().await = true;
        self.links.clear();
        if let Some(life) = self.life.lock().await.take() {
            // What the broker says to a farewell changes nothing.
            let _ = timeout(2 * AMQP1_CLOSE_TIMEOUT, life.close()).await;
        }
        Ok(())
    }
}

/// What is ready before it is too late to begin.
async fn in_time<T>(start: StartWindow, ready: impl Future<Output = T>) -> Result<T, Refusal> {
    start.wait(ready).await.map_err(|late| Refusal::late(&late))
}
