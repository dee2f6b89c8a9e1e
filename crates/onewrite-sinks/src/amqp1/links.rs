//! The links of a connection: one for each address, at most so many; and one of its own for each message that goes alone.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fe2o3_amqp::session::SessionHandle;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::time::timeout;

use super::connection::Product;
use super::link::Link;
use super::refusal::Refusal;
use super::settings::Settings;
use super::target::{self, Promise};
use crate::ids::Ids;
use crate::limits::{
    AMQP1_ADDRESSES_KNOWN, AMQP1_ATTACH_TIMEOUT, AMQP1_SUSPECTS_MAX, AMQP1_TAGS_APART, AMQP1_TAGS_OF_LINKS,
};

/// What connections have taught, for those that come after them.
pub(super) struct Memory {
    /// Addresses that have taken events: what was there once and is missing now will come back.
    pub known: Addresses,
    /// Addresses of which it was said that nobody knows whether they keep anything.
    pub doubted: Addresses,
    /// Events that were under way when a link ended over one of several, without a word on which.
    pub suspects: Ids,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            known: Addresses::default(),
            doubted: Addresses::default(),
            suspects: Ids::new(AMQP1_SUSPECTS_MAX),
        }
    }
}

/// Addresses, as many as are remembered.
#[derive(Default)]
pub(super) struct Addresses(Mutex<HashSet<Box<str>>>);

impl Addresses {
    /// Remembers one, and says whether it is new and there was room for it.
    pub(super) fn note(&self, address: &str) -> bool {
        let mut known = self.lock();
        !known.contains(address) && known.len() < AMQP1_ADDRESSES_KNOWN && known.insert(address.into())
    }

    pub(super) fn contains(&self, address: &str) -> bool {
        self.lock().contains(address)
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The links of one connection.
pub(super) struct Links {
    settings: Arc<Settings>,
    product: Product,
    memory: Arc<Memory>,
    session: tokio::sync::Mutex<Session>,
    /// Whether a link ended that had sent what the broker did not settle.
    left_behind: Arc<AtomicBool>,
    slots: Mutex<Slots>,
}

struct Session {
    handle: SessionHandle<()>,
    /// Links so far.
    attached: u32,
    /// Why no further link can be attached.
    broken: Option<Refusal>,
}

#[derive(Default)]
struct Slots {
    by_address: HashMap<String, Slot>,
    /// Counts up with every use.
    now: u64,
}

struct Slot {
    link: Attaching,
    used: u64,
}

/// A link that is attached once for all who want it. It goes on being attached when none of them waits any more.
type Attaching = Shared<BoxFuture<'static, Result<Arc<Link>, Refusal>>>;

impl Links {
    pub(super) fn new(
        settings: Arc<Settings>,
        product: Product,
        memory: Arc<Memory>,
        session: SessionHandle<()>,
    ) -> Self {
        Self {
            settings,
            product,
            memory,
            session: tokio::sync::Mutex::new(Session {
                handle: session,
                attached: 0,
                broken: None,
            }),
            left_behind: Arc::default(),
            slots: Mutex::default(),
        }
    }

    /// A link to this address that has not ended, attached if need be.
    pub(super) async fn link(self: &Arc<Self>, address: &str) -> Result<Arc<Link>, Refusal> {
        let mut again = true;
        loop {
            let attaching = self.slot(address);
            let refusal = match attaching.clone().await {
                Ok(link) => match link.ended() {
                    None => return Ok(link),
                    Some(ended) => ended.refusal.clone(),
                },
                Err(refusal) => {
                    again = false;
                    refusal
                }
            };
            self.forget(address, &attaching);
            // A broker that ends what it has just attached does so again.
            if !std::mem::take(&mut again) {
                return Err(refusal);
            }
        }
    }

    /// A new link to this address, for one message: what ends it ends it over that one.
    pub(super) async fn link_of_its_own(self: &Arc<Self>, address: &str) -> Result<Arc<Link>, Refusal> {
        self.attach_aside(address).await
    }

    /// Lets go of all links; each detaches when its last user has gone.
    pub(super) fn clear(&self) {
        self.slots().by_address.clear();
    }

    fn slot(self: &Arc<Self>, address: &str) -> Attaching {
        let mut slots = self.slots();
        slots.now += 1;
        let now = slots.now;
        if let Some(slot) = slots.by_address.get_mut(address) {
            slot.used = now;
            return slot.link.clone();
        }
        if slots.by_address.len() >= self.settings.max_links {
            let oldest = slots.by_address.iter().min_by_key(|(_, slot)| slot.used);
            if let Some(oldest) = oldest.map(|(address, _)| address.clone()) {
                slots.by_address.remove(&oldest);
            }
        }
        let link = self.attach_aside(address);
        let slot = Slot {
            link: link.clone(),
            used: now,
        };
        slots.by_address.insert(address.to_owned(), slot);
        link
    }

    /// Unless another has taken its place already.
    fn forget(&self, address: &str, attaching: &Attaching) {
        let mut slots = self.slots();
        if slots
            .by_address
            .get(address)
            .is_some_and(|slot| slot.link.ptr_eq(attaching))
        {
            slots.by_address.remove(address);
        }
    }

    /// In a task of its own: half an exchange would be left behind if a delivery's future were dropped.
    fn attach_aside(self: &Arc<Self>, address: &str) -> Attaching {
        let (links, address) = (Arc::clone(self), address.to_owned());
        let attached = tokio::spawn(async move { links.attach(&address).await });
        let attached = attached.map(|attached| {
            attached.unwrap_or_else(|error| Err(Refusal::broken(format!("attaching a link broke off: {error}"))))
        });
        attached.boxed().shared()
    }

    async fn attach(&self, address: &str) -> Result<Arc<Link>, Refusal> {
        let known = self.memory.known.contains(address);
        let mut session = self.session.lock().await;
        if let Some(broken) = &session.broken {
            return Err(broken.clone());
        }
        self.check_left_behind(address)?;
        let first_tag = session.attached % AMQP1_TAGS_OF_LINKS * AMQP1_TAGS_APART;
        session.attached = session.attached.wrapping_add(1);
        // Counted from here: what others took before says nothing about the broker.
        let attaching = target::attach(
            &self.settings,
            &self.product,
            &mut session.handle,
            address,
            known,
            first_tag,
        );
        let Ok(attached) = timeout(AMQP1_ATTACH_TIMEOUT, attaching).await else {
            let broken = Refusal::broken(format!(
                "address {address}: the broker did not attach a link within {AMQP1_ATTACH_TIMEOUT:?}"
            ));
            session.broken = Some(broken.clone());
            return Err(broken);
        };
        drop(session);
        let attached = attached?;
        // It may have ended meanwhile, and this one taken its handle.
        self.check_left_behind(address)?;
        if let Promise::Unknown(words) = &attached.promise
            && self.memory.doubted.note(address)
        {
            tracing::warn!(address, "{words}");
        }
        let settings = Arc::clone(&self.settings);
        Ok(Arc::new(Link::new(
            settings,
            address.to_owned(),
            known,
            attached.sender,
            Arc::clone(&self.left_behind),
        )))
    }

    /// What a link leaves behind that ends, the client still has to send or to hear of, and it knows it by the link's handle alone, which
    /// the next link takes over. That one would be handed what is not for its address.
    fn check_left_behind(&self, address: &str) -> Result<(), Refusal> {
        if !self.left_behind.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Refusal::broken(format!(
            "address {address}: no further link is attached on this connection, since one has ended whose messages the broker did not all \
             settle"
        )))
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
