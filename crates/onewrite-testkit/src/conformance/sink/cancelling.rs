//! Cases in which a delivery's future, or the sink, is dropped.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use onewrite_core::error::SinkError;
use onewrite_core::{DeliveryReport, Event};
use tokio::time::Instant;

use super::drive::{Drive, Round};
use super::events::Maker;
use super::{SinkHarness, expect};
use crate::conformance::Wrong;

/// Deliveries that are dropped in one case.
const ROUNDS: usize = 24;
const EVENTS_EACH: usize = 150;

pub(super) async fn a_dropped_delivery_reorders_nothing(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    dropped(harness, false).await
}

pub(super) async fn a_sink_dropped_without_close_reorders_nothing(harness: &mut dyn SinkHarness) -> Result<(), Wrong> {
    dropped(harness, true).await
}

/// Drops deliveries at random points, delivers what is left of each, and goes on.
async fn dropped(harness: &mut dyn SinkHarness, the_sink_too: bool) -> Result<(), Wrong> {
    let destination = harness.destination().await?;
    let mut drive = Drive::new(&destination, harness);
    let mut maker = Maker::new(&destination.topic);
    let mut random = fastrand::Rng::with_seed(7);
    let mut sent = maker.events(EVENTS_EACH, 10);
    let whole = drive_whole(&mut drive, &sent).await?;
    for _ in 0..ROUNDS {
        let events = maker.events(EVENTS_EACH, 10);
        let cut = whole.some(&mut random);
        let round = cut_short(&mut drive, &events, cut).await?;
        drive.hear(&events, &round)?;
        sent.extend_from_slice(&events);
        if the_sink_too {
            drive.drop_sink();
        }
        // Half of the time what is left goes out together with later events, as it does in a relay.
        if random.bool() {
            let later = maker.events(20, 10);
            sent.extend_from_slice(&later);
            let both = [events, later].concat();
            drive.all(&both).await?;
        } else {
            drive.all(&events).await?;
        }
    }
    expect::parked_only(&drive.said, &[])?;
    expect::arrived_in_order(&sent, &drive.said, &harness.read_back().await?)?;
    drive.close().await
}

/// How much a delivery is allowed: so many polls, and so long.
#[derive(Clone, Copy)]
struct Effort {
    polls: u32,
    time: Duration,
}

impl Effort {
    /// Somewhere from nothing to all of it. Some sinks do their work in many polls, some in one and then wait.
    fn some(self, random: &mut fastrand::Rng) -> Self {
        let part = self.time.mul_f64(random.f64() * 1.1);
        let all = Self {
            polls: u32::MAX,
            time: Duration::MAX,
        };
        if random.bool() {
            Self {
                polls: random.u32(1..=self.polls.max(2)),
                ..all
            }
        } else {
            Self { time: part, ..all }
        }
    }
}

/// One delivery to its end, and what it took.
async fn drive_whole(drive: &mut Drive, events: &[Event]) -> Result<Effort, Wrong> {
    let began = Instant::now();
    let mut polls = 0;
    let mut report = DeliveryReport::new(events.len());
    let sink = drive.sink().await?;
    let result = {
        let mut delivering = pin!(sink.deliver(events, &mut report));
        std::future::poll_fn(|context| {
            polls += 1;
            delivering.as_mut().poll(context)
        })
        .await
    };
    let round = Round {
        result,
        outcomes: report.into_outcomes(),
    };
    drive.hear(events, &round)?;
    drive.all(events).await?;
    Ok(Effort {
        polls,
        time: began.elapsed(),
    })
}

/// A delivery that is dropped when its effort is used up, unless it has ended by then.
async fn cut_short(drive: &mut Drive, events: &[Event], effort: Effort) -> Result<Round, Wrong> {
    let mut report = DeliveryReport::new(events.len());
    let sink = drive.sink().await?;
    let dropped = || Err(SinkError::retry("dropped"));
    let result = {
        let mut polls = 0;
        let mut delivering = pin!(sink.deliver(events, &mut report));
        let mut time = pin!(tokio::time::sleep(effort.time.min(Duration::from_secs(3600))));
        std::future::poll_fn(|context| {
            if polls == effort.polls || time.as_mut().poll(context).is_ready() {
                return std::task::Poll::Ready(dropped());
            }
            polls += 1;
            let polled = delivering.as_mut().poll(context);
            if polled.is_pending() && polls == effort.polls {
                // It was its last poll; nothing else would wake this future.
                context.waker().wake_by_ref();
            }
            polled
        })
        .await
    };
    Ok(Round {
        result,
        outcomes: report.into_outcomes(),
    })
}
