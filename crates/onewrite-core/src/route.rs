//! Drives one route: carries out on the real source and sink what the [`Machine`] says, and tells it what happened.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{SinkError, StoreError};
use crate::event::Event;
use crate::failpoint;
use crate::limits::{CONNECT_TIMEOUT, DRAIN_TIMEOUT};
use crate::machine::{Effect, FEED, Machine};
use crate::position::Settlement;
use crate::routing::Share;
use crate::sink::{DeliveryReport, Outcome, Sink, SinkConnector};
use crate::source::{BatchLimit, Parking, Source, Sourced};
use crate::store::{Lease, Outbox, RouteControl, RouteReport};

/// The two ends of a route and what lies between.
pub(crate) struct RouteDriver {
    pub machine: Arc<Mutex<Machine>>,
    pub share: Share,
    pub lease: Lease,
    pub outbox: Arc<dyn Outbox>,
    pub connector: Arc<dyn SinkConnector>,
    pub delivery_timeout: Duration,
    pub control: watch::Receiver<Option<RouteControl>>,
}

/// What a finished piece of work has to tell.
enum Done {
    Opened(usize, Result<Box<dyn Source>, StoreError>),
    Read(usize, Box<dyn Source>, Result<Vec<Sourced>, StoreError>),
    Waited(usize, Box<dyn Source>),
    Settled(usize, Box<dyn Source>, Result<(), StoreError>),
    Parked(usize, Box<dyn Source>, Vec<Parking>, Result<(), StoreError>),
    BlockedKeys(Result<Vec<Arc<str>>, StoreError>),
    Connected(Result<Box<dyn Sink>, SinkError>),
    Closed,
    Delivered(usize, Result<(), SinkError>, Vec<Outcome>),
}

type Work = FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>;

/// What belongs to a run besides the machine.
struct Hands {
    sources: [Option<Box<dyn Source>>; 2],
    call_back: [Arc<Notify>; 2],
    sink: Option<Arc<dyn Sink>>,
    work: Work,
}

impl RouteDriver {
    /// Runs until `stop` is cancelled and everything under way has come to rest (or [`DRAIN_TIMEOUT`] is over), or until
    /// another relay took over. Dropping the future abandons everything at once, which is safe: what is not recorded as
    /// settled is delivered again.
    pub async fn run(mut self, stop: CancellationToken) {
        let beginning = Instant::now();
        let mut hands = Hands {
            sources: [None, None],
            call_back: [Arc::new(Notify::new()), Arc::new(Notify::new())],
            sink: None,
            work: FuturesUnordered::new(),
        };
        let mut deadline = None;
        loop {
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                tracing::warn!(route = %self.share.route, "deliveries did not come to rest in time; they will be repeated");
                return;
            }
            let now = beginning.elapsed();
            let (effects, wake) = {
                let mut machine = self.machine.lock().expect("the machine does not panic");
                let effects = machine.effects(now);
                if machine.is_stopped() {
                    return;
                }
                (effects, machine.next_wake(now))
            };
            for effect in effects {
                self.begin(effect, &mut hands);
            }
            let wake = [wake.map(|wake| beginning + wake), deadline]
                .into_iter()
                .flatten()
                .min();
            // In a fixed order, the rare before the frequent: work that is always ready must not keep a stop from being heard.
            tokio::select! {
                biased;
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + DRAIN_TIMEOUT);
                    self.machine.lock().expect("the machine does not panic").stop();
                }
                Ok(()) = self.control.changed() => {
                    let control = self.control.borrow_and_update().clone();
                    if let Some(control) = control {
                        self.machine.lock().expect("the machine does not panic").control(&control, beginning.elapsed());
                    }
                }
                // Before the clock, which only looks again at what there is to do.
                Some(done) = hands.work.next() => self.tell(done, &mut hands, beginning.elapsed()),
                () = sleep_until(wake) => {}
            }
        }
    }

    fn begin(&self, effect: Effect, hands: &mut Hands) {
        let work: Pin<Box<dyn Future<Output = Done> + Send>> = match effect {
            Effect::Open { seat } => {
                hands.sources[seat] = None;
                Box::pin(open(self.outbox.clone(), self.lease.clone(), self.share.clone(), seat))
            }
            Effect::Read { seat, limit } => Box::pin(read(seat, hands.source(seat), limit)),
            Effect::Wait { seat } => Box::pin(wait(seat, hands.source(seat), hands.call_back[seat].clone())),
            Effect::CallBack { seat } => return hands.call_back[seat].notify_one(),
            Effect::Settle { seat, settlement } => Box::pin(settle(seat, hands.source(seat), settlement)),
            Effect::Park { seat, events } => Box::pin(park(seat, hands.source(seat), events)),
            Effect::AskBlockedKeys => {
                let (outbox, lease, route) = (self.outbox.clone(), self.lease.clone(), self.share.route.clone());
                Box::pin(async move { Done::BlockedKeys(outbox.blocked_keys(&lease, &route).await) })
            }
            Effect::Connect => Box::pin(connect(self.connector.clone())),
            Effect::CloseSink => Box::pin(close(hands.sink.take())),
            Effect::Deliver { delivery, events } => {
                let sink = hands.sink.clone().expect("the machine delivers only while connected");
                Box::pin(deliver(delivery, sink, events, self.delivery_timeout))
            }
        };
        hands.work.push(work);
    }

    fn tell(&self, done: Done, hands: &mut Hands, now: Duration) {
        let mut machine = self.machine.lock().expect("the machine does not panic");
        match done {
            Done::Opened(seat, Ok(source)) => {
                hands.sources[seat] = Some(source);
                machine.opened(seat, Ok(()), now);
            }
            Done::Opened(seat, Err(error)) => machine.opened(seat, Err(error), now),
            Done::Read(seat, source, result) => {
                hands.sources[seat] = Some(source);
                machine.read(seat, result, now);
            }
            Done::Waited(seat, source) => {
                hands.sources[seat] = Some(source);
                machine.waited(seat);
            }
            Done::Settled(seat, source, result) => {
                hands.sources[seat] = Some(source);
                machine.settled(seat, result, now);
            }
            Done::Parked(seat, source, events, result) => {
                hands.sources[seat] = Some(source);
                machine.parked(seat, &events, result, now);
            }
            Done::BlockedKeys(result) => machine.blocked_keys(result, now),
            Done::Connected(Ok(sink)) => {
                hands.sink = Some(sink.into());
                machine.connected(Ok(()), now);
            }
            Done::Connected(Err(error)) => machine.connected(Err(error), now),
            Done::Closed => machine.closed(),
            Done::Delivered(delivery, result, outcomes) => machine.delivered(delivery, result, outcomes, now),
        }
    }
}

impl Hands {
    fn source(&mut self, seat: usize) -> Box<dyn Source> {
        self.sources[seat]
            .take()
            .expect("the machine uses an open source for one thing at a time")
    }
}

/// The report of a route, and the reason of a halt that the database does not know of yet.
pub(crate) fn report(machine: &Mutex<Machine>) -> (RouteReport, Option<String>) {
    let mut machine = machine.lock().expect("the machine does not panic");
    let halt = machine.halt_to_record().map(str::to_owned);
    (machine.report(), halt)
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

async fn open(outbox: Arc<dyn Outbox>, lease: Lease, share: Share, seat: usize) -> Done {
    let source = if seat == FEED {
        outbox.feed(&lease, &share).await
    } else {
        outbox.redeliveries(&lease, &share).await
    };
    Done::Opened(seat, source)
}

async fn read(seat: usize, mut source: Box<dyn Source>, limit: BatchLimit) -> Done {
    let result = source.next_batch(limit).await;
    Done::Read(seat, source, result)
}

async fn wait(seat: usize, mut source: Box<dyn Source>, call_back: Arc<Notify>) -> Done {
    tokio::select! {
        biased;
        () = call_back.notified() => {}
        () = source.wait() => {}
    }
    Done::Waited(seat, source)
}

async fn settle(seat: usize, mut source: Box<dyn Source>, settlement: Settlement) -> Done {
    let (before, after) = match seat {
        FEED => ("settle.before", "settle.after"),
        _ => ("redelivery.settle.before", "redelivery.settle.after"),
    };
    failpoint::reach(before);
    let result = source.settle(&settlement).await;
    failpoint::reach(after);
    Done::Settled(seat, source, result)
}

async fn park(seat: usize, mut source: Box<dyn Source>, events: Vec<Parking>) -> Done {
    failpoint::reach("park.before");
    let result = source.park(&events).await;
    failpoint::reach("park.after");
    Done::Parked(seat, source, events, result)
}

async fn connect(connector: Arc<dyn SinkConnector>) -> Done {
    let result = tokio::time::timeout(CONNECT_TIMEOUT, connector.connect()).await;
    Done::Connected(result.unwrap_or_else(|_| {
        Err(SinkError::retry(format!(
            "the {} sink did not connect within {CONNECT_TIMEOUT:?}",
            connector.kind()
        )))
    }))
}

async fn close(sink: Option<Arc<dyn Sink>>) -> Done {
    if let Some(sink) = sink {
        match tokio::time::timeout(CONNECT_TIMEOUT, sink.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %crate::error::chain(&error), "the sink did not close cleanly"),
            Err(_) => tracing::warn!("the sink did not close within {CONNECT_TIMEOUT:?}"),
        }
    }
    Done::Closed
}

/// Delivers in a task of its own: it uses another core, and a panic in a sink costs no more than a repetition.
async fn deliver(delivery: usize, sink: Arc<dyn Sink>, events: Arc<Vec<Event>>, limit: Duration) -> Done {
    let length = events.len();
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut report = DeliveryReport::new(length);
        failpoint::reach("deliver.before");
        let result = tokio::time::timeout(limit, sink.deliver(&events, &mut report)).await;
        failpoint::reach("deliver.after");
        let result = result.unwrap_or_else(|_| {
            Err(SinkError::reconnect(format!(
                "the sink did not answer within {limit:?}; whether it took the events is unknown"
            )))
        });
        (result, report.into_outcomes())
    }));
    let (result, outcomes) = task.await.unwrap_or_else(|_| {
        let outcomes = DeliveryReport::new(length).into_outcomes();
        (
            Err(SinkError::reconnect("the sink panicked; this is a bug in it")),
            outcomes,
        )
    });
    Done::Delivered(delivery, result, outcomes)
}
