//! Delivery: keys one after another, each event on the link of its address.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use fe2o3_amqp::types::messaging::Outcome;
use onewrite_core::error::SinkError;
use onewrite_core::{DeliveryReport, Event, Sink};
use tokio::sync::{Mutex, RwLock};
use tokio::time::{Instant, timeout};

use super::connection::{Life, Opened};
use super::link::{Link, Settlement, Unsent};
use super::links::{Known, Links};
use super::message::message;
use super::refusal::{Refusal, of_outcome, of_send};
use super::settings::{Place, Settings};
use crate::keyed::{self, Fate};
use crate::limits::{AMQP1_CLOSE_TIMEOUT, AMQP1_START_WINDOW};

pub(super) struct Amqp1Sink {
    settings: Arc<Settings>,
    place: Place,
    known: Arc<Known>,
    links: Arc<Links>,
    life: Mutex<Option<Life>>,
    /// Why the connection ended, where it did.
    ended: Arc<OnceLock<String>>,
    /// Read by each delivery while it lasts; `true` once the sink is closed.
    closed: RwLock<bool>,
}

impl Amqp1Sink {
    pub(super) fn new(settings: Arc<Settings>, opened: Opened, known: Arc<Known>) -> Self {
        let Opened {
            place,
            product,
            session,
            life,
        } = opened;
        Self {
            links: Arc::new(Links::new(Arc::clone(&settings), product, Arc::clone(&known), session)),
            settings,
            place,
            known,
            ended: life.ended(),
            life: Mutex::new(Some(life)),
            closed: RwLock::new(false),
        }
    }

    async fn send(&self, event: &Event, begun: Instant) -> Fate {
        if begun.elapsed() >= AMQP1_START_WINDOW {
            return Fate::Lost(SinkError::retry(format!(
                "{} is too slow for the whole delivery: after {AMQP1_START_WINDOW:?} the rest was left for the next",
                self.place
            )));
        }
        let address = match self.settings.address.address(event) {
            Ok(address) => address,
            Err(error) => return Fate::Refused(error),
        };
        match self.try_send(event, &address).await {
            Ok(()) => {
                self.known.note(&address);
                Fate::Delivered
            }
            Err(refusal) if refusal.connection => Fate::Lost(self.broken(refusal)),
            // Of some, nobody knows whether they arrived; they are tried again all the same, and the others go on.
            Err(refusal) => Fate::Refused(refusal.error()),
        }
    }

    async fn try_send(&self, event: &Event, address: &str) -> Result<(), Refusal> {
        let mut again = true;
        loop {
            let link = self.links.link(address).await?;
            let _room = link.room().await;
            match link.send(message(&self.settings, event)).await {
                Ok(settlement) => return self.settled(&link, address, settlement).await,
                Err(Unsent::Refused(refusal)) => return Err(refusal),
                // It was not sent, so another link may, once.
                Err(Unsent::Ended(ended)) if ended.again && again => again = false,
                Err(Unsent::Ended(ended)) => return Err(ended.refusal),
            }
        }
    }

    async fn settled(&self, link: &Link, address: &str, settlement: Settlement) -> Result<(), Refusal> {
        let outcome: Outcome = match timeout(self.settings.timeout, settlement).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                let refusal = of_send(&self.settings, address, self.known.contains(address), error);
                return Err(self.the_one(link, address, refusal));
            }
            Err(_) => {
                return Err(Refusal::broken(format!(
                    "address {address}: the broker did not acknowledge a message within {:?}; whether it arrived is unknown",
                    self.settings.timeout
                )));
            }
        };
        match of_outcome(&self.settings, address, self.known.contains(address), outcome) {
            None => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }

    /// A link that ended over a message does not say which: it was this one if no other was under way. Else each is tried again
    /// by itself.
    fn the_one(&self, link: &Link, address: &str, refusal: Refusal) -> Refusal {
        match (refusal.some_message, link.alone()) {
            (true, true) => {
                self.links.be_quick(address);
                Refusal::park(refusal.words)
            }
            (true, false) => {
                self.links.be_careful(address);
                refusal
            }
            (false, _) => refusal,
        }
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
        let begun = Instant::now();
        keyed::deliver(batch, self.settings.window, report, |event| self.send(event, begun)).await
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
