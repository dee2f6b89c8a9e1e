//! The links of a connection: one for each address, at most so many.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fe2o3_amqp::session::SessionHandle;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::connection::Product;
use super::link::Link;
use super::refusal::Refusal;
use super::settings::Settings;
use super::target::{self, Promise};
use crate::limits::{AMQP1_ADDRESSES_KNOWN, AMQP1_ATTACH_TIMEOUT};

/// Addresses that have taken events: what was there once and is missing now will come back.
#[derive(Default)]
pub(super) struct Known(Mutex<HashSet<Box<str>>>);

impl Known {
    pub(super) fn note(&self, address: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(address) && known.len() < AMQP1_ADDRESSES_KNOWN {
            known.insert(address.into());
        }
    }

    pub(super) fn contains(&self, address: &str) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(address)
    }
}

/// The links of one connection.
pub(super) struct Links {
    settings: Arc<Settings>,
    product: Product,
    known: Arc<Known>,
    session: tokio::sync::Mutex<SessionHandle<()>>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    by_address: HashMap<String, Slot>,
    /// Counts up with every use.
    now: u64,
    /// Addresses whose link ended over a message, without a word on which.
    careful: HashSet<String>,
    /// Addresses of which it was said that nobody knows whether they keep anything.
    doubted: HashSet<String>,
}

struct Slot {
    link: Arc<Cell>,
    used: u64,
}

/// A link that is attached once for all who want it.
type Cell = OnceCell<Result<Arc<Link>, Refusal>>;

impl Links {
    pub(super) fn new(
        settings: Arc<Settings>,
        product: Product,
        known: Arc<Known>,
        session: SessionHandle<()>,
    ) -> Self {
        Self {
            settings,
            product,
            known,
            session: tokio::sync::Mutex::new(session),
            slots: Mutex::default(),
        }
    }

    /// A link to this address that has not ended, attached if need be.
    pub(super) async fn link(self: &Arc<Self>, address: &str) -> Result<Arc<Link>, Refusal> {
        let mut again = true;
        loop {
            let cell = self.slot(address);
            let attached = cell.get_or_init(|| self.attach_aside(address)).await.clone();
            let refusal = match attached {
                Ok(link) => match link.ended() {
                    None => return Ok(link),
                    Some(ended) => ended.refusal.clone(),
                },
                Err(refusal) => {
                    again = false;
                    refusal
                }
            };
            self.forget(address, &cell);
            // A broker that ends what it has just attached does so again.
            if !std::mem::take(&mut again) {
                return Err(refusal);
            }
        }
    }

    /// The next link to this address carries one message at a time: the last one ended over one of several.
    pub(super) fn be_careful(&self, address: &str) {
        self.slots().careful.insert(address.to_owned());
    }

    /// The message over which it ended is found.
    pub(super) fn be_quick(&self, address: &str) {
        self.slots().careful.remove(address);
    }

    /// Lets go of all links; each detaches when its last user has gone.
    pub(super) fn clear(&self) {
        self.slots().by_address.clear();
    }

    fn slot(&self, address: &str) -> Arc<Cell> {
        let mut slots = self.slots();
        slots.now += 1;
        let now = slots.now;
        if let Some(slot) = slots.by_address.get_mut(address) {
            slot.used = now;
            return Arc::clone(&slot.link);
        }
        if slots.by_address.len() >= self.settings.max_links {
            let oldest = slots.by_address.iter().min_by_key(|(_, slot)| slot.used);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                slots.by_address.remove(&oldest);
            }
        }
        let link = Arc::new(Cell::new());
        let slot = Slot {
            link: Arc::clone(&link),
            used: now,
        };
        slots.by_address.insert(address.to_owned(), slot);
        link
    }

    /// Unless another has taken its place already.
    fn forget(&self, address: &str, cell: &Arc<Cell>) {
        let mut slots = self.slots();
        if slots
            .by_address
            .get(address)
            .is_some_and(|slot| Arc::ptr_eq(&slot.link, cell))
        {
            slots.by_address.remove(address);
        }
    }

    /// In a task of its own: half an exchange would be left behind if a delivery's future were dropped.
    async fn attach_aside(self: &Arc<Self>, address: &str) -> Result<Arc<Link>, Refusal> {
        let (links, address) = (Arc::clone(self), address.to_owned());
        let attaching = tokio::spawn(async move {
            match timeout(AMQP1_ATTACH_TIMEOUT, links.attach(&address)).await {
                Ok(attached) => attached,
                Err(_) => Err(Refusal::broken(format!(
                    "address {address}: the broker did not attach a link within {AMQP1_ATTACH_TIMEOUT:?}"
                ))),
            }
        });
        attaching
            .await
            .unwrap_or_else(|error| Err(Refusal::broken(format!("attaching a link broke off: {error}"))))
    }

    async fn attach(&self, address: &str) -> Result<Arc<Link>, Refusal> {
        let known = self.known.contains(address);
        let mut session = self.session.lock().await;
        let attached = target::attach(&self.settings, &self.product, &mut session, address, known).await?;
        drop(session);
        if let Promise::Unknown(words) = &attached.promise
            && self.slots().doubted.insert(address.to_owned())
        {
            tracing::warn!(address, "{words}");
        }
        let alone = self.slots().careful.contains(address);
        let settings = Arc::clone(&self.settings);
        let link = Link::new(settings, address.to_owned(), known, attached.sender, alone);
        Ok(Arc::new(link))
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
