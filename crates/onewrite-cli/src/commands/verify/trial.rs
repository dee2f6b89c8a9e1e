//! One run, from the first event to the verdict.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use onewrite_core::promise::{Found, Verdict};
use onewrite_core::store::{ParkedFilter, RouteStatus};
use onewrite_core::verify::{ProvingGround, ROUTE, Reading, Run};
use onewrite_core::{Operations, StoreError};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::arguments::Arguments;
use super::book::Book;
use super::faults::{Fault, Schedule};
use super::limits::{STATUS_INTERVAL, STATUS_INTERVAL_AT_THE_END, TICK};
use super::load::{self, Plan};
use super::progress::Progress;
use super::relay::Relay;
use super::seen::{self, Seen};

/// What a run is made of.
pub struct Trial<'a> {
    /// What was asked for.
    pub arguments: &'a Arguments,
    /// The load.
    pub plan: Plan,
    /// The run.
    pub run: Run,
    /// The name of its relay.
    pub relay_name: String,
    /// The configuration of its relay.
    pub configuration: String,
    /// Why the order of what is read back says nothing, where it does not.
    pub unordered: Option<&'static str>,
    /// The database to write to.
    pub ground: Arc<dyn ProvingGround>,
    /// The database for operators.
    pub operations: Arc<dyn Operations>,
    /// When to give up.
    pub stop: CancellationToken,
}

/// What a run found.
pub struct Outcome {
    /// The checker's word on I1 to I4.
    pub verdict: Verdict,
    /// What was written.
    pub book: Arc<Book>,
    /// What arrived.
    pub seen: Arc<Seen>,
    /// What went wrong on purpose.
    pub faults: Vec<Fault>,
    /// How long the writers wrote.
    pub wrote_for: Duration,
    /// How long after the last event and the last fault nothing was behind any more; `None` where something still was.
    pub caught_up_after: Option<Duration>,
    /// Events that the relay had not settled in the end; `None` where the database cannot count them.
    pub unsettled: Option<i64>,
    /// The most memory that the relay had, in bytes.
    pub memory: Option<u64>,
    /// The most of its log that the database kept for the relay, in bytes.
    pub log_kept: Option<i64>,
    /// How much larger the outbox became, in bytes; what applications wrote meanwhile is in it.
    pub outbox_grew: i64,
    /// How the relay found new events: every way that was seen, in their order.
    pub feeds: Vec<String>,
}

/// What is looked at while a run is under way.
#[derive(Default)]
struct Watched {
    at: Option<Instant>,
    /// Whether somebody holds the relay's lease.
    led: bool,
    route: Option<RouteStatus>,
    /// The most so far.
    log_kept: Option<i64>,
    /// All so far, in their order, none twice in a row.
    feeds: Vec<String>,
}

impl Watched {
    /// What is seen now, after `before`.
    fn after(mut self, before: Self) -> Self {
        let mut feeds = before.feeds;
        feeds.extend(self.feeds);
        feeds.dedup();
        self.feeds = feeds;
        self.log_kept = self.log_kept.max(before.log_kept);
        self
    }
}

impl Trial<'_> {
    /// Runs it. What it leaves behind is removed by whoever made it.
    ///
    /// # Errors
    /// When there can be no verdict: something does not work at all, or it was interrupted.
    pub async fn run(&self, reading: Box<dyn Reading>, progress: &mut Progress) -> anyhow::Result<Outcome> {
        let book = Arc::new(Book::default());
        let outcome = self.run_with(&book, reading, progress).await;
        if outcome.is_err() {
            // A COMMIT may still be on its way, and what it writes must not come after everything was removed.
            self.look_up(&book).await?;
        }
        outcome
    }

    async fn run_with(
        &self,
        book: &Arc<Book>,
        reading: Box<dyn Reading>,
        progress: &mut Progress,
    ) -> anyhow::Result<Outcome> {
        let bytes_before = self.ground.outbox_bytes().await?;
        let (seen, mut watched) = (Arc::new(Seen::default()), Watched::default());
        let mut relay = Relay::start(self.configuration.clone())?;
        self.until_led(&mut relay, &mut watched).await?;
        let quiet = CancellationToken::new();
        let following = tokio::spawn(seen::follow(reading, Arc::clone(&seen), quiet.clone()));
        let following = AbortOnDropHandle::new(following);
        let mut stage = Stage {
            trial: self,
            book,
            seen: &seen,
            began: Instant::now(),
            schedule: Schedule::new(self.arguments.faults, self.plan.expected(), self.plan.seed),
            watched,
            progress,
        };
        stage.first(&mut relay).await?;
        let wrote_for = stage.load(&mut relay).await?;
        let since = stage
            .schedule
            .last_at()
            .map_or(stage.began + wrote_for, |at| at.max(stage.began + wrote_for));
        self.look_up(book).await?;
        let caught_up_after = stage.drain(&mut relay, since).await?;
        let stopped = relay.stop().await;
        quiet.cancel();
        following.await?.context("what arrived can no longer be read back")?;
        stopped?;
        stage.watch(Duration::ZERO).await?;
        stage.schedule.observe(book, &seen, true);
        let Stage { schedule, watched, .. } = stage;
        let bytes = self.ground.outbox_bytes().await?;
        Ok(Outcome {
            verdict: self.judge(book, &seen).await?,
            book: Arc::clone(book),
            seen,
            faults: schedule.past,
            wrote_for,
            caught_up_after,
            unsettled: watched.route.and_then(|route| route.unsettled),
            memory: relay.memory,
            log_kept: watched.log_kept,
            outbox_grew: bytes.cast_signed() - bytes_before.cast_signed(),
            // What tells of no feed reads its table.
            feeds: match watched.feeds.is_empty() {
                true => vec!["poll".to_owned()],
                false => watched.feeds,
            },
        })
    }

    /// Finds out what became of the transactions whose COMMIT nobody answered.
    async fn look_up(&self, book: &Book) -> anyhow::Result<()> {
        let (ids, keys) = book.unknown();
        if !ids.is_empty() {
            let committed = self.ground.committed(&self.run, &keys, &ids).await?;
            book.resolve(|id| committed.contains(id));
        }
        Ok(())
    }

    /// Waits until the relay has its lease and its feed, so that the first events are not late by its start.
    async fn until_led(&self, relay: &mut Relay, watched: &mut Watched) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.arguments.within;
        loop {
            self.pause().await?;
            relay.look()?;
            *watched = self.look().await?;
            if watched.led && (!watched.feeds.is_empty() || !self.ground.tells_feed()) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "verify's own relay did not begin to work within {:?}; `onewrite check` may tell why",
                    self.arguments.within
                );
            }
        }
    }

    async fn look(&self) -> anyhow::Result<Watched> {
        let status = self.operations.status().await?;
        let relay = status.relays.into_iter().find(|relay| relay.name == self.relay_name);
        let route = |route: &RouteStatus| route.relay == self.relay_name && route.route == ROUTE;
        let led = relay.as_ref().filter(|relay| relay.holder.is_some());
        Ok(Watched {
            at: Some(Instant::now()),
            led: led.is_some(),
            route: status.routes.into_iter().find(route),
            log_kept: led.and_then(|relay| relay.slot.as_ref()?.retained_bytes),
            feeds: relay.and_then(|relay| relay.feed).into_iter().collect(),
        })
    }

    /// The pause between two looks; an error where it was interrupted meanwhile.
    async fn pause(&self) -> anyhow::Result<()> {
        tokio::select! {
            () = self.stop.cancelled() => bail!("interrupted"),
            () = sleep_until(Instant::now() + TICK) => Ok(()),
        }
    }

    async fn parked(&self) -> anyhow::Result<HashSet<Uuid>> {
        let filter = ParkedFilter {
            relay: Some(self.relay_name.clone()),
            ..ParkedFilter::default()
        };
        let parked = self.operations.parked(&filter).await?;
        Ok(parked.into_iter().map(|event| event.event_id).collect())
    }

    async fn judge(&self, book: &Book, seen: &Seen) -> anyhow::Result<Verdict> {
        let deliveries = seen.ids();
        let parked = self.parked().await?;
        let effects = self.ground.receive(&self.run.topic(), &deliveries).await?;
        Ok(book.ledger().judge(&Found {
            deliveries,
            ever_parked: parked.clone(),
            parked,
            effects: Some(effects),
        }))
    }
}

/// A run under way.
struct Stage<'a> {
    trial: &'a Trial<'a>,
    book: &'a Arc<Book>,
    seen: &'a Arc<Seen>,
    began: Instant,
    schedule: Schedule,
    watched: Watched,
    progress: &'a mut Progress,
}

impl Stage<'_> {
    /// Writes one event and waits until it arrives: what a first delivery has to make or to learn is no latency of others, and what
    /// does not work at all is told soon.
    async fn first(&mut self, relay: &mut Relay) -> anyhow::Result<()> {
        let Trial {
            ground,
            run,
            plan,
            arguments,
            ..
        } = self.trial;
        load::write_first(ground.as_ref(), run, plan, self.book).await?;
        let deadline = Instant::now() + arguments.within;
        while self.seen.distinct() == 0 {
            self.turn(relay, false).await?;
            if Instant::now() >= deadline {
                let route = self.trial.look().await?.route;
                let why = route.and_then(|route| route.last_error).or_else(|| self.seen.trouble());
                let why = why.unwrap_or_else(|| "and nothing tells why".to_owned());
                bail!("the first event did not arrive within {:?}: {why}", arguments.within);
            }
        }
        self.progress.begin();
        self.began = Instant::now();
        self.schedule.begin(self.began);
        Ok(())
    }

    /// Lets the writers write and the faults happen; returns how long the writers wrote. They have come to their end in any case.
    async fn load(&mut self, relay: &mut Relay) -> anyhow::Result<Duration> {
        let (trial, halt) = (self.trial, self.trial.stop.child_token());
        let writing = load::write(
            Arc::clone(&trial.ground),
            trial.run.clone(),
            trial.plan.clone(),
            Arc::clone(self.book),
            halt.clone(),
        );
        let mut writing = Some(tokio::spawn(writing));
        let loaded = self.load_with(&mut writing, relay).await;
        halt.cancel();
        if let Some(writing) = writing {
            // What went wrong first is what counts.
            let _ = writing.await;
        }
        loaded
    }

    async fn load_with(
        &mut self,
        writing: &mut Option<JoinHandle<Result<(), StoreError>>>,
        relay: &mut Relay,
    ) -> anyhow::Result<Duration> {
        let Trial { ground, plan, .. } = self.trial;
        let mut wrote_for = None;
        loop {
            self.turn(relay, wrote_for.is_some()).await?;
            if let Some(ended) = writing.take_if(|writing| writing.is_finished()) {
                ended.await?.context("the load could not be written")?;
                wrote_for = Some(self.began.elapsed());
            }
            let tally = self.book.tally();
            let written = tally.committed + tally.rolled_back + tally.unanswered;
            let done = wrote_for.map_or_else(|| plan.done(written, self.began.elapsed()), |_| 1.0);
            if self.schedule.is_due(done, self.trial.arguments.within) {
                // A short run may see at no other time how things were in front of a fault.
                self.watch(Duration::ZERO).await?;
                let actors = (&mut *relay, &**ground, self.trial.relay_name.as_str());
                let ends = (&**self.book, &**self.seen);
                let what = self.schedule.strike(actors, ends).await?;
                what.iter()
                    .for_each(|what| self.progress.say(&format!("  ---- {what}")));
            }
            if let Some(wrote_for) = wrote_for
                && self.schedule.is_over()
            {
                return Ok(wrote_for);
            }
        }
    }

    /// Waits until everything arrived or is parked, and the relay has recorded all of it as settled; returns how long after `since`
    /// the last event arrived.
    async fn drain(&mut self, relay: &mut Relay, since: Instant) -> anyhow::Result<Option<Duration>> {
        let committed: Vec<Uuid> = self.book.committed().into_iter().map(|(id, _)| id).collect();
        let deadline = Instant::now() + self.trial.arguments.within;
        let (mut missing, mut parked) = (committed, HashSet::new());
        let mut last = since;
        while Instant::now() < deadline {
            missing.retain(|id| match self.seen.first(id) {
                Some(seen) => {
                    last = last.max(seen);
                    false
                }
                None => !parked.contains(id),
            });
            let settled = |route: &RouteStatus| route.unsettled.is_none_or(|unsettled| unsettled == 0);
            if missing.is_empty() {
                self.watch(STATUS_INTERVAL_AT_THE_END).await?;
                if self.watched.route.as_ref().is_some_and(settled) {
                    return Ok(Some(last - since));
                }
            }
            self.turn(relay, true).await?;
            if self
                .watched
                .route
                .as_ref()
                .is_some_and(|route| route.parked + route.held > 0)
            {
                parked = self.trial.parked().await?;
            }
        }
        Ok(missing.is_empty().then(|| last - since))
    }

    async fn turn(&mut self, relay: &mut Relay, ended: bool) -> anyhow::Result<()> {
        self.trial.pause().await?;
        relay.look()?;
        self.watch(STATUS_INTERVAL).await?;
        self.schedule.observe(self.book, self.seen, ended);
        self.progress.figures(self.book, self.seen);
        Ok(())
    }

    /// Looks at the relay's status, unless that was done within `interval`.
    async fn watch(&mut self, interval: Duration) -> anyhow::Result<()> {
        if self.watched.at.is_some_and(|at| at.elapsed() < interval) {
            return Ok(());
        }
        let seen = self.trial.look().await?;
        self.watched = seen.after(std::mem::take(&mut self.watched));
        Ok(())
    }
}
