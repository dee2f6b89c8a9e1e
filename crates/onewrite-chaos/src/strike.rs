//! How each fault begins and ends.

use std::time::{Duration, Instant};

use onewrite_testkit::faults::ProxyMode;
use onewrite_testkit::wait;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::authority::Authority;
use crate::fault::Fault;
use crate::limits::{LARGE_TRANSACTION, TAKEOVER_MAX};
use crate::shop::{Odd, Writers};
use crate::world::{TOPIC, World, connect};

/// Brings faults about, and remembers what it has to undo.
#[derive(Default)]
pub struct Nemesis {
    /// Which relay is frozen, cut off, or has another clock.
    frozen: Option<usize>,
    wrong_clock: Option<usize>,
    /// Sessions whose transactions are to stay open.
    held: Vec<Client>,
    /// How long it takes until another process leads, while that is being found out.
    takeover: Option<JoinHandle<Option<Duration>>>,
    /// Large transactions so far, since each has keys of its own.
    large: u32,
}

impl Nemesis {
    /// Lets the fault begin; one that is over at once is over when this returns.
    ///
    /// # Errors
    /// Why it cannot befall the world at this moment.
    pub async fn begin(&mut self, fault: Fault, world: &mut World, writers: &Writers) -> Result<(), String> {
        match fault {
            Fault::RelayKilled
            | Fault::RelayFrozen
            | Fault::RelayHandsOver
            | Fault::RelayClock
            | Fault::LeaderPartitioned => self.relay(fault, world).await?,
            Fault::DatabaseAnswersLost => world.set_database_links(ProxyMode::DropReplies),
            Fault::DatabaseSlow => world.set_database_links(ProxyMode::Delay(Duration::from_millis(100))),
            Fault::DatabaseCut => world.set_database_links(ProxyMode::Reset),
            Fault::SlotDropped | Fault::SlotOutgrown | Fault::SlotWaits | Fault::WalsenderEnded => {
                self.slot(fault, world).await?;
            }
            Fault::SessionsEnded
            | Fault::DatabaseStopped
            | Fault::DatabaseKilled
            | Fault::DatabasePromoted
            | Fault::DatabaseDiskFull
            | Fault::CertificateRotated
            | Fault::CertificateUntrusted
            | Fault::TransactionHeld => self.database(fault, world).await?,
            Fault::AcknowledgementsLost
            | Fault::BrokerSlow
            | Fault::BrokerNarrow
            | Fault::BrokerSliced
            | Fault::BrokerHalfOpen
            | Fault::BrokerLimited
            | Fault::BrokerPartitioned => world.broker_link.set(link_mode(fault)),
            Fault::BrokerKilled
            | Fault::BrokerDown
            | Fault::BrokerRefuses
            | Fault::BrokerDiskFull
            | Fault::Unroutable => broker(fault, world).await?,
            Fault::Poison => writers.odd(Odd {
                poison: 1,
                by_size: world.broker.refuses_large(),
                large: 0,
            }),
            Fault::LargePayloads => writers.odd(Odd {
                large: 20,
                ..Odd::default()
            }),
            Fault::LargeTransactions => self.large_transactions(world).await?,
            Fault::OperatorPauses => drop(world.operate(&["pause", "orders"])?),
            Fault::OperatorReplays => {
                let replay = ["replay", "--route", "orders", "--since", "1m ago"];
                world.operate(&replay)?;
            }
        }
        Ok(())
    }

    /// Ends what [`begin`](Self::begin) began.
    ///
    /// # Errors
    /// What did not go as a person would have it.
    pub async fn end(&mut self, fault: Fault, world: &mut World, writers: &Writers) -> Result<(), String> {
        match fault {
            Fault::RelayFrozen => {
                if let Some(relay) = self.frozen.take().and_then(|number| world.relay(number)) {
                    relay.resume();
                }
            }
            Fault::RelayClock => {
                if let Some(number) = self.wrong_clock.take() {
                    world.restart_relay(number, None).await?;
                }
            }
            Fault::LeaderPartitioned | Fault::DatabaseAnswersLost | Fault::DatabaseSlow | Fault::DatabaseCut => {
                world.set_database_links(ProxyMode::Pass);
            }
            Fault::DatabaseDiskFull => {
                if let Some(disk) = &world.database_disk {
                    disk.empty();
                }
            }
            Fault::CertificateUntrusted => show(&world.authority, world).await,
            Fault::SlotWaits | Fault::TransactionHeld => self.held.clear(),
            Fault::AcknowledgementsLost
            | Fault::BrokerSlow
            | Fault::BrokerNarrow
            | Fault::BrokerSliced
            | Fault::BrokerHalfOpen
            | Fault::BrokerLimited
            | Fault::BrokerPartitioned => world.broker_link.set(ProxyMode::Pass),
            Fault::BrokerDown => world.broker.start_again().await,
            Fault::BrokerRefuses => world.broker.refuse(TOPIC, false).await,
            Fault::BrokerDiskFull => {
                if let Some(disk) = &world.broker_disk {
                    disk.empty();
                }
                world.broker.start_again().await;
            }
            Fault::Unroutable => world.broker.unroute(TOPIC, false).await,
            Fault::Poison | Fault::LargePayloads => writers.odd(Odd::default()),
            Fault::OperatorPauses => {
                wait::until("an operator resumes the route", async || {
                    world.operate(&["resume", "orders"]).ok()
                })
                .await;
            }
            Fault::RelayKilled
            | Fault::RelayHandsOver
            | Fault::SessionsEnded
            | Fault::DatabaseStopped
            | Fault::DatabaseKilled
            | Fault::DatabasePromoted
            | Fault::CertificateRotated
            | Fault::SlotDropped
            | Fault::SlotOutgrown
            | Fault::WalsenderEnded
            | Fault::BrokerKilled
            | Fault::LargeTransactions
            | Fault::OperatorReplays => {}
        }
        Ok(())
    }

    /// How long it took until another process led, where a fault since the last call was about that and it came to pass.
    pub async fn takeover(&mut self) -> Option<Duration> {
        self.takeover.take()?.await.ok()?
    }

    async fn relay(&mut self, fault: Fault, world: &mut World) -> Result<(), String> {
        let (leader, epoch) = leader(world).await?;
        let url = world.database.url.clone();
        let watch = || Some(tokio::spawn(takeover(url, epoch, Instant::now())));
        match fault {
            Fault::RelayKilled => {
                world.kill_relay(leader);
                self.takeover = watch();
                world.start_relay(leader);
            }
            Fault::RelayFrozen => {
                world.relay(leader).ok_or("the leader has just ended")?.pause();
                self.takeover = watch();
                self.frozen = Some(leader);
            }
            Fault::LeaderPartitioned => {
                world.members[leader].link.set(ProxyMode::HalfOpen);
                self.takeover = watch();
            }
            Fault::RelayHandsOver => {
                self.takeover = watch();
                world.restart_relay(leader, None).await?;
            }
            _ => {
                let clock = if epoch % 2 == 0 { "+3600" } else { "-3600" };
                self.wrong_clock = Some(leader);
                world.restart_relay(leader, Some(clock)).await?;
            }
        }
        Ok(())
    }

    async fn slot(&mut self, fault: Fault, world: &mut World) -> Result<(), String> {
        let mut slot = None;
        for _ in 0..40 {
            slot = world.followed_slot().await;
            if slot.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await; // slow on purpose
        }
        let slot = slot.ok_or("the relay follows no slot at this moment")?;
        match fault {
            Fault::SlotDropped => world.postgres.drop_slot(&slot).await,
            Fault::SlotWaits => {
                self.hold(world, "BEGIN; SELECT pg_current_xact_id()").await?;
                world.postgres.drop_slot(&slot).await;
            }
            Fault::WalsenderEnded => {
                if !world.postgres.end_walsender(&slot).await {
                    return Err("nobody read from the slot at this moment".to_owned());
                }
            }
            _ => {
                let (leader, _) = leader(world).await?;
                if let Some(relay) = world.relay(leader) {
                    relay.pause();
                }
                world.postgres.outgrow_slot(&slot).await;
                if let Some(relay) = world.relay(leader) {
                    relay.resume();
                }
            }
        }
        Ok(())
    }

    async fn database(&mut self, fault: Fault, world: &mut World) -> Result<(), String> {
        match fault {
            Fault::SessionsEnded => world.end_sessions().await,
            Fault::DatabaseStopped => {
                world.postgres.stop_immediate().await;
                world.postgres.restart().await;
            }
            Fault::DatabaseKilled => {
                world.postgres.kill9().await;
                world.postgres.restart().await;
            }
            Fault::DatabasePromoted => world.promote().await,
            Fault::DatabaseDiskFull => world.database_disk.as_ref().ok_or("there is no small disk")?.fill(),
            Fault::CertificateRotated => show(&world.authority, world).await,
            Fault::CertificateUntrusted => show(&Authority::new("an unknown authority"), world).await,
            _ => {
                self.hold(world, "BEGIN; SELECT pg_current_xact_id()").await?;
                self.hold(
                    world,
                    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM account",
                )
                .await?;
                let elsewhere = world.postgres.maintenance().url;
                let client = connect(&elsewhere).await.ok_or("the database does not answer")?;
                begin(&client, "BEGIN; SELECT pg_current_xact_id()").await?;
                self.held.push(client);
            }
        }
        Ok(())
    }

    async fn hold(&mut self, world: &World, words: &str) -> Result<(), String> {
        let client = connect(&world.database.url)
            .await
            .ok_or("the database does not answer")?;
        begin(&client, words).await?;
        self.held.push(client);
        Ok(())
    }

    async fn large_transactions(&mut self, world: &World) -> Result<(), String> {
        let client = connect(&world.database.url)
            .await
            .ok_or("the database does not answer")?;
        for end in ["ROLLBACK", "COMMIT"] {
            self.large += 1;
            let words = format!(
                "BEGIN; CREATE TEMPORARY TABLE written ON COMMIT DROP AS \
                 SELECT n, gen_random_uuid() AS id, 'large-{number}-' || n % 500 AS key FROM generate_series(1, {LARGE_TRANSACTION}) AS n; \
                 INSERT INTO onewrite.outbox (id, topic, key, payload) \
                 SELECT id, '{TOPIC}', key, convert_to(lpad(n::text, 300, 'x'), 'UTF8') FROM written ORDER BY n; \
                 INSERT INTO ledger (event_id, key, number) SELECT id, key, n FROM written; {end}",
                number = self.large,
            );
            begin(&client, &words).await?;
        }
        Ok(())
    }
}

async fn broker(fault: Fault, world: &mut World) -> Result<(), String> {
    match fault {
        Fault::BrokerKilled => {
            world.broker.kill().await;
            world.broker.start_again().await;
        }
        Fault::BrokerDown => world.broker.kill().await,
        Fault::BrokerRefuses => world.broker.refuse(TOPIC, true).await,
        Fault::BrokerDiskFull => world.broker_disk.as_ref().ok_or("there is no small disk")?.fill(),
        _ => world.broker.unroute(TOPIC, true).await,
    }
    Ok(())
}

fn link_mode(fault: Fault) -> ProxyMode {
    match fault {
        Fault::AcknowledgementsLost => ProxyMode::DropReplies,
        Fault::BrokerSlow => ProxyMode::Delay(Duration::from_millis(500)),
        Fault::BrokerNarrow => ProxyMode::Bandwidth(50_000),
        Fault::BrokerSliced => ProxyMode::Slice(7),
        Fault::BrokerHalfOpen => ProxyMode::HalfOpen,
        Fault::BrokerLimited => ProxyMode::Limit(20_000),
        _ => ProxyMode::Reset,
    }
}

/// Has the database show a new certificate of this authority, and the relays look at it.
async fn show(authority: &Authority, world: &World) {
    world.postgres.replace_files(&authority.sign().files()).await;
    world.end_sessions().await;
}

async fn begin(client: &Client, words: &str) -> Result<(), String> {
    client
        .batch_execute(words)
        .await
        .map_err(|error| onewrite_core::error::chain(&error))
}

/// Who leads, once somebody does.
async fn leader(world: &World) -> Result<(usize, i64), String> {
    for _ in 0..40 {
        if let Some(found) = world.leader().await {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(250)).await; // slow on purpose
    }
    Err("nobody leads at this moment".to_owned())
}

/// How long it takes until somebody leads under a later epoch.
async fn takeover(url: String, epoch: i64, since: Instant) -> Option<Duration> {
    let query = format!("SELECT 1 FROM onewrite.relay WHERE epoch > {epoch} AND expires_at > clock_timestamp()");
    while since.elapsed() < TAKEOVER_MAX {
        if let Some(client) = connect(&url).await
            && let Ok(Some(_)) = client.query_opt(&query, &[]).await
        {
            return Some(since.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(50)).await; // slow on purpose
    }
    None
}
