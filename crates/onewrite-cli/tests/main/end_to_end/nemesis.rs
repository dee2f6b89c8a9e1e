//! What befalls the relay, the broker and the database while a campaign runs, and when.

use std::collections::BTreeMap;

use onewrite_testkit::servers::Postgres;
use tokio_postgres::Client;

use crate::end_to_end::world::{Relay, World};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The broker stands still, connections open.
    KafkaStops,
    /// It goes on.
    KafkaGoesOn,
    /// The database stops without a checkpoint and starts again.
    DatabaseCrashes,
    /// The primary is gone, the standby takes over.
    DatabaseFailsOver,
    /// The relay's slot is dropped while it reads.
    SlotDropped,
    /// The relay stands still until its slot is lost by `max_slot_wal_keep_size`.
    SlotOutgrown,
    /// The server's process that feeds the relay is ended.
    WalsenderEnded,
    /// The relay is away for longer than the server keeps the log for it.
    RelayAway,
}

impl Fault {
    /// Whether it befalls the relay's slot, so that there must be one.
    fn needs_slot(self) -> bool {
        matches!(
            self,
            Self::SlotDropped | Self::SlotOutgrown | Self::WalsenderEnded | Self::RelayAway
        )
    }
}

/// Which fault comes before which kill of the relay.
pub struct Plan(BTreeMap<u64, Fault>);

impl Plan {
    /// Spreads faults over kills, each to one of its own, at random but the same for a seed. Between the broker's stop and its
    /// going on are two kills.
    pub fn new(kills: u64, faults: &[Fault], seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let stop = random.u64(1..kills - 3);
        let mut plan = BTreeMap::from([(stop, Fault::KafkaStops), (stop + 3, Fault::KafkaGoesOn)]);
        // The first kill finds a relay that has just begun.
        let mut free: Vec<u64> = (1..kills).filter(|kill| !plan.contains_key(kill)).collect();
        random.shuffle(&mut free);
        assert!(free.len() >= faults.len(), "fewer kills than faults");
        plan.extend(free.into_iter().zip(faults.iter().copied()));
        Self(plan)
    }

    /// What comes before the kill of this number.
    pub fn at(&self, kill: u64) -> Option<Fault> {
        self.0.get(&kill).copied()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (kill, fault) in &self.0 {
            write!(formatter, "{kill} {fault:?}, ")?;
        }
        Ok(())
    }
}

/// Brings faults about.
pub struct Nemesis {
    /// Whether the relay has a slot that faults can befall.
    by_log: bool,
    /// A transaction in another database of the server: it holds back every snapshot's xmin, and no new slot is ready before it
    /// ends.
    held: Option<Client>,
    kafka_stopped: bool,
    /// The slot that the server is to give up while the relay is away after its next kill.
    left: Option<String>,
}

impl Nemesis {
    /// Nothing has happened yet, but for the transaction in another database; a relay that shall have a slot has it.
    pub async fn new(world: &World, faults: &[Fault]) -> Self {
        let by_log = faults.iter().any(|fault| fault.needs_slot());
        if by_log {
            world.follows_log().await;
        }
        Self {
            by_log,
            held: Some(hold(&world.postgres).await),
            kafka_stopped: false,
            left: None,
        }
    }

    /// Whether nothing can arrive.
    pub fn kafka_is_stopped(&self) -> bool {
        self.kafka_stopped
    }

    /// Lets the fault happen.
    pub async fn strike(&mut self, fault: Fault, world: &mut World, relay: &Relay) {
        let slot = match fault.needs_slot() {
            true => self.renewed_slot(world).await,
            false => String::new(),
        };
        match fault {
            Fault::KafkaStops => {
                world.broker.stop();
                self.kafka_stopped = true;
            }
            Fault::KafkaGoesOn => {
                world.broker.continue_();
                self.kafka_stopped = false;
            }
            Fault::DatabaseCrashes => {
                world.postgres.stop_immediate().await;
                world.postgres.restart().await;
                self.held = Some(hold(&world.postgres).await);
            }
            Fault::DatabaseFailsOver => {
                world.fail_over().await;
                self.held = Some(hold(&world.postgres).await);
            }
            Fault::SlotDropped => world.postgres.drop_slot(&slot).await,
            Fault::SlotOutgrown => {
                relay.pause();
                world.postgres.outgrow_slot(&slot).await;
                relay.resume();
            }
            Fault::WalsenderEnded => {
                world
                    .until("the slot has a reader to end", async || {
                        world.postgres.end_walsender(&slot).await.then_some(())
                    })
                    .await;
            }
            Fault::RelayAway => self.left = Some(slot),
        }
    }

    /// Kills the relay and starts another, later if it is to stay away for long.
    pub async fn kill(&mut self, relay: Relay, world: &World) -> Relay {
        relay.kill();
        if let Some(slot) = self.left.take() {
            world.postgres.outgrow_slot(&slot).await;
        }
        world.start_relay()
    }

    /// Ends the held transaction; a relay that shall follow the log does so in the end.
    pub async fn end(self, world: &World) {
        drop(self.held);
        if self.by_log {
            world.follows_log().await;
        }
    }

    /// The slot that the relay reads from. Where it lost the last one it has been polling for as long as the held transaction
    /// was open; now that ends, and another begins when there is a slot.
    async fn renewed_slot(&mut self, world: &World) -> String {
        self.held = None;
        let slot = world.follows_log().await;
        self.held = Some(hold(&world.postgres).await);
        slot
    }
}

/// Opens a transaction that has a transaction id, in another database.
async fn hold(server: &Postgres) -> Client {
    let elsewhere = server.database().await.connect().await;
    elsewhere
        .batch_execute("CREATE TABLE held (n int); BEGIN; INSERT INTO held VALUES (1)")
        .await
        .expect("a transaction");
    elsewhere
}
