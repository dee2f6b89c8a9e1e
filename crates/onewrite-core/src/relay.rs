//! A relay: holds the leases of its name, or some of them, drives its routes under each, and stands by where others lead.

mod leading;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::alarm::{AlarmNews, AlarmWatch};
use crate::error::{SinkError, StoreError, StoreFailure, chain};
use crate::event::Event;
use crate::failpoint;
use crate::limits::{LEASE_RENEWAL, LEASE_TTL, MAINTENANCE_INTERVAL};
use crate::machine::{Machine, OnPoison, RouteBehaviour};
use crate::route::{self, RouteDriver};
use crate::routing::{Match, Share, UNROUTED, shares};
use crate::sink::{DeliveryReport, Finding, Sink, SinkConnector};
use crate::store::{Lease, Member, Outbox, RouteControl};

/// A route of a relay.
#[derive(Clone)]
pub struct Route {
    /// Its name, unique in the relay and not [`UNROUTED`].
    pub name: String,
    /// Which events it takes, of those that no route before it takes.
    pub wanted: Match,
    /// Where they go.
    pub connector: Arc<dyn SinkConnector>,
    /// How it behaves.
    pub behaviour: RouteBehaviour,
}

/// What a relay is made of.
#[derive(Clone)]
pub struct Relay {
    /// Its name; processes of one name share its groups of lanes, and where there is but one, they are an active and standbys.
    pub name: String,
    /// Who this process is, for people, such as host and process number.
    pub holder: String,
    /// The same for the other processes: no two of one name may ever have the same, or they do not share evenly.
    pub member: String,
    /// Into how many groups of lanes the key space is cut, from 1 to [`GROUPS_MAX`](crate::limits::GROUPS_MAX).
    pub groups: u32,
    /// Its routes in their order.
    pub routes: Vec<Route>,
    /// The database.
    pub outbox: Arc<dyn Outbox>,
    /// How long a lease lasts without being renewed: after a crash, others take over within this time and a second.
    pub lease_ttl: Duration,
}

/// A route while the relay leads.
struct Led {
    name: String,
    machine: Arc<Mutex<Machine>>,
    control: watch::Sender<Option<RouteControl>>,
}

impl Relay {
    /// A relay with the usual lease and one group, whose member is the holder.
    pub fn new(
        name: impl Into<String>,
        holder: impl Into<String>,
        routes: Vec<Route>,
        outbox: Arc<dyn Outbox>,
    ) -> Self {
        let holder = holder.into();
        Self {
            name: name.into(),
            member: holder.clone(),
            holder,
            groups: 1,
            routes,
            outbox,
            lease_ttl: LEASE_TTL,
        }
    }

    /// Leads a group until that is stopped, or the lease is lost.
    async fn lead(&self, lease: Lease, stop: &CancellationToken) -> Result<(), StoreError> {
        let shares = self.shares(&lease);
        self.outbox.adopt(&lease, &shares).await?;
        // Before the renewal, since many keys take their time: from then on the lease's end is watched.
        let mut blocked = Vec::with_capacity(shares.len());
        for share in &shares {
            blocked.push(self.blocked_keys(&lease, share).await?);
        }
        let renewed_at = Instant::now();
        let controls = self.outbox.renew(&lease, self.lease_ttl, &[]).await?;
        let finish = stop.child_token();
        let (mut led, mut drivers) = (Vec::new(), JoinSet::new());
        for (share, blocked) in shares.into_iter().zip(blocked) {
            let (route, driver) = self.start(&lease, share, blocked, &controls);
            led.push(route);
            drivers.spawn(driver.run(finish.clone()));
        }
        // Returning drops the drivers, which ends every delivery at once: right when the lease is lost.
        tokio::select! {
            biased;
            held = self.hold(&lease, &led, &mut drivers, renewed_at) => held?,
            () = self.keep_tidy(&lease), if lease.group.index == 0 => {}
        }
        failpoint::reach("release.before");
        let released = self.outbox.release(&lease).await;
        failpoint::reach("release.after");
        released
    }

    fn shares(&self, lease: &Lease) -> Vec<Share> {
        let routes: Vec<_> = self
            .routes
            .iter()
            .map(|route| (route.name.clone(), route.wanted.clone()))
            .collect();
        let shares = shares(&self.name, &routes);
        shares.iter().map(|share| share.in_group(lease.group)).collect()
    }

    fn as_member(&self) -> Member {
        Member {
            relay: self.name.clone(),
            id: self.member.clone(),
            holder: self.holder.clone(),
            groups: self.groups,
        }
    }

    fn route_of(&self, share: &Share) -> Route {
        let mut routes = self.routes.iter();
        let route = routes.find(|route| route.name == share.route);
        route.cloned().unwrap_or_else(unrouted)
    }

    async fn blocked_keys(&self, lease: &Lease, share: &Share) -> Result<Vec<Arc<str>>, StoreError> {
        match self.route_of(share).behaviour.on_poison {
            OnPoison::BlockKey => self.outbox.blocked_keys(lease, &share.route).await,
            OnPoison::Park | OnPoison::Halt => Ok(Vec::new()),
        }
    }

    fn start(
        &self,
        lease: &Lease,
        share: Share,
        blocked: Vec<Arc<str>>,
        controls: &[RouteControl],
    ) -> (Led, RouteDriver) {
        let route = self.route_of(&share);
        let delivery_timeout = route.behaviour.delivery_timeout;
        let mut machine = Machine::new(&share.route, route.behaviour, blocked, fastrand::u64(..));
        if let Some(control) = controls.iter().find(|control| control.route == share.route) {
            machine.control(control, Duration::ZERO);
        }
        let machine = Arc::new(Mutex::new(machine));
        let (control, controlled) = watch::channel(None);
        let driver = RouteDriver {
            machine: machine.clone(),
            lease: lease.clone(),
            outbox: self.outbox.clone(),
            connector: route.connector,
            delivery_timeout,
            control: controlled,
            share,
        };
        let led = Led {
            name: driver.share.route.clone(),
            machine,
            control,
        };
        (led, driver)
    }

    /// Renews the lease, brings reports to the database and operators' wishes to the routes, until the routes have ended.
    /// `renewed_at` is when the last renewal was begun.
    async fn hold(
        &self,
        lease: &Lease,
        led: &[Led],
        drivers: &mut JoinSet<()>,
        mut renewed_at: Instant,
    ) -> Result<(), StoreError> {
        loop {
            let runs_out_at = renewed_at + self.lease_ttl;
            tokio::select! {
                biased;
                ended = drivers.join_next() => match ended {
                    Some(Ok(())) => continue,
                    Some(Err(error)) => return Err(StoreError::new(StoreFailure::Unavailable, "a route panicked; this is a bug").because(error)),
                    None => break,
                },
                () = tokio::time::sleep_until(runs_out_at.min(Instant::now() + self.interval())) => {}
            }
            let began = Instant::now();
            // Past its time the lease may be another's: this relay must deliver nothing more, even if it cannot ask.
            match tokio::time::timeout_at(runs_out_at, self.renew(lease, led)).await {
                Ok(Ok(())) => renewed_at = began,
                Ok(Err(error)) if error.failure != StoreFailure::Unavailable => return Err(error),
                // What fails at once is never too late for the timeout.
                Ok(Err(error)) if Instant::now() >= runs_out_at => return Err(ran_out().because(error)),
                Ok(Err(error)) => {
                    tracing::warn!(error = %chain(&error), "the lease could not be renewed; trying again")
                }
                Err(_) => return Err(ran_out()),
            }
        }
        if led
            .iter()
            .any(|route| route.machine.lock().expect("the machine does not panic").is_fenced())
        {
            return Err(StoreError::new(
                StoreFailure::Fenced,
                format!("another process took the relay's lease (group {})", lease.group),
            ));
        }
        self.renew(lease, led).await
    }

    /// How often leases are renewed, and looked for.
    fn interval(&self) -> Duration {
        LEASE_RENEWAL.min(self.lease_ttl / 4)
    }

    async fn renew(&self, lease: &Lease, led: &[Led]) -> Result<(), StoreError> {
        let mut reports = Vec::with_capacity(led.len());
        for route in led {
            let (report, halt) = route::report(&route.machine);
            reports.push(report);
            if let Some(reason) = halt {
                tracing::error!(route = %route.name, reason = %reason, "the route halted; resume it when the cause is mended");
                self.outbox.halt(lease, &route.name, &reason).await?;
                route
                    .machine
                    .lock()
                    .expect("the machine does not panic")
                    .halt_recorded();
                // From now on the database says so, and whoever resumes the route before it is heard once changes that.
                route.control.send_if_modified(|current| {
                    *current = Some(RouteControl {
                        route: route.name.clone(),
                        paused: current.as_ref().is_some_and(|control| control.paused),
                        halted: Some(reason),
                    });
                    false
                });
            }
        }
        let controls = self.outbox.renew(lease, self.lease_ttl, &reports).await?;
        for control in controls {
            if let Some(route) = led.iter().find(|route| route.name == control.route) {
                route.control.send_if_modified(|current| {
                    let changed = current.as_ref() != Some(&control);
                    *current = Some(control.clone());
                    changed
                });
            }
        }
        Ok(())
    }

    /// Beside everything else, since it may take its time; never ends.
    async fn keep_tidy(&self, lease: &Lease) {
        let mut watch = AlarmWatch::default();
        loop {
            tokio::time::sleep_until(Instant::now() + MAINTENANCE_INTERVAL).await;
            self.maintain(lease, &mut watch).await;
        }
    }

    async fn maintain(&self, lease: &Lease, watch: &mut AlarmWatch) {
        match self.outbox.maintain(lease).await {
            Ok(done) => {
                for name in done.emptied {
                    tracing::info!(segment = %name, "emptied: every event in it is settled and past the retention");
                }
                watch.look(done.alarms).into_iter().for_each(tell);
            }
            Err(error) => tracing::warn!(error = %chain(&error), "the outbox could not be tidied; trying again later"),
        }
    }
}

fn ran_out() -> StoreError {
    StoreError::new(
        StoreFailure::Unavailable,
        "the lease ran out before it could be renewed",
    )
}

fn tell(news: AlarmNews) {
    match news {
        AlarmNews::Begins(alarm) => {
            tracing::warn!(alarm = alarm.kind.as_str(), subject = %alarm.subject, "{}", alarm.message);
        }
        AlarmNews::Worse(alarm) => {
            tracing::warn!(alarm = alarm.kind.as_str(), subject = %alarm.subject, "worse than before: {}", alarm.message);
        }
        AlarmNews::Over { kind, subject } => {
            tracing::info!(alarm = kind.as_str(), %subject, "the alarm is over");
        }
    }
}

/// The route of what no other route takes.
fn unrouted() -> Route {
    Route {
        name: UNROUTED.to_owned(),
        wanted: Match::default(),
        connector: Arc::new(Nowhere),
        behaviour: RouteBehaviour::default(),
    }
}

/// The sink of events that no route takes: each is parked.
struct Nowhere;

#[async_trait::async_trait]
impl SinkConnector for Nowhere {
    fn kind(&self) -> &'static str {
        UNROUTED
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(Self))
    }

    async fn probe(&self, _: &[String]) -> Vec<Finding> {
        Vec::new()
    }
}

#[async_trait::async_trait]
impl Sink for Nowhere {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        for (index, event) in batch.iter().enumerate() {
            let words = format!(
                "no route takes the topic {:?}; add one, then retry this event",
                event.topic
            );
            report.failed(index, SinkError::park(words));
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), SinkError> {
        Ok(())
    }
}
