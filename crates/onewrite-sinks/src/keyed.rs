//! Keys one after another, different keys side by side: how a sink sends whose broker answers for each event by itself.
//!
//! A broker that refuses one message may take the next, so an event is sent only when the one before it of its key has
//! been acknowledged. What is given up in between, by a dropped future or a broken connection, is then at most one event of
//! each key, the lowest that is not settled, and its late arrival can only repeat, never overtake.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event};
use tokio::time::{Instant, timeout_at};

use crate::limits::{FAILURES_IN_A_ROW, START_WINDOW};
use crate::lines::Lines;

/// What became of one event that was sent.
#[derive(Debug)]
pub enum Fate {
    /// The broker acknowledged that it keeps it.
    Delivered,
    /// The broker, or the sink before it, refused it; nothing of it arrived.
    Refused(SinkError),
    /// It was not sent, or nobody knows whether it arrived; and nothing more can be sent in this delivery.
    Lost(SinkError),
}

/// The time in which a delivery begins to send: [`START_WINDOW`], counted from its beginning.
#[derive(Clone, Copy, Debug)]
pub struct StartWindow {
    end: Instant,
}

impl StartWindow {
    /// Begins now.
    pub fn begin() -> Self {
        Self {
            end: Instant::now() + START_WINDOW,
        }
    }

    /// Waits for what an event needs before it can be sent, such as room or its turn.
    ///
    /// # Errors
    /// For [`Fate::Lost`]: it came too late, or would.
    pub async fn wait<T>(self, ready: impl Future<Output = T>) -> Result<T, SinkError> {
        let ready = timeout_at(self.end, ready).await;
        self.check()?;
        ready.map_err(|_| too_slow())
    }

    /// # Errors
    /// For [`Fate::Lost`]: it is over.
    pub fn check(self) -> Result<(), SinkError> {
        if Instant::now() < self.end {
            Ok(())
        } else {
            Err(too_slow())
        }
    }
}

/// Delivers a batch by sending events with `send`, at most `window` of them and one of each key under way. After a
/// [`Fate::Lost`], and after [`START_WINDOW`], nothing further is sent, and what is under way comes to its end.
///
/// # Errors
/// The gravest of the events that were lost, that too many were refused in a row, or that the broker is too slow for all.
pub async fn deliver<'a, F>(
    batch: &'a [Event],
    window: usize,
    report: &mut DeliveryReport,
    mut send: impl FnMut(&'a Event) -> F,
) -> Result<(), SinkError>
where
    F: Future<Output = Fate>,
{
    let start = StartWindow::begin();
    let mut lines = Lines::new(batch);
    let mut under_way = FuturesUnordered::new();
    let mut stopped = None;
    let mut refusals = 0;
    loop {
        while stopped.is_none() && under_way.len() < window {
            let Some(item) = lines.take() else { break };
            if let Err(error) = start.check() {
                stopped = Some(error);
                break;
            }
            let sent = send(&batch[item.event]);
            under_way.push(async move { (item, sent.await) });
        }
        let Some((item, fate)) = under_way.next().await else {
            break;
        };
        match fate {
            Fate::Delivered => {
                report.delivered(item.event);
                lines.acknowledged(item);
                refusals = 0;
            }
            Fate::Refused(error) => {
                if error.action != Action::Park {
                    refusals += 1;
                }
                report.failed(item.event, error);
                if refusals >= FAILURES_IN_A_ROW {
                    let words =
                        format!("{FAILURES_IN_A_ROW} events in a row were refused; the rest of the delivery waits");
                    stopped.get_or_insert_with(|| SinkError::retry(words));
                }
            }
            Fate::Lost(error) => stopped = Some(graver(stopped, error)),
        }
    }
    stopped.map_or(Ok(()), Err)
}

fn too_slow() -> SinkError {
    SinkError::retry(format!(
        "the broker is too slow for the whole delivery: after {START_WINDOW:?} the rest was left for the next"
    ))
}

/// Of two errors about the whole, the one that asks for more: a connection that is to be made anew must not be kept for one that was only
/// slow before.
fn graver(known: Option<SinkError>, error: SinkError) -> SinkError {
    let weight = |error: &SinkError| match error.action {
        Action::Halt => 2,
        Action::Reconnect => 1,
        Action::Retry { .. } | Action::Park => 0,
    };
    match known {
        Some(known) if weight(&known) >= weight(&error) => known,
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use bytes::Bytes;
    use jiff::Timestamp;
    use onewrite_core::Outcome;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn event(number: usize, key: Option<u8>) -> Event {
        Event {
            id: Uuid::from_u128(number as u128),
            topic: "t".into(),
            key: key.map(|key| key.to_string().into()),
            event_type: None,
            payload: Bytes::new(),
            content_type: "text/plain".into(),
            headers: Vec::new(),
            occurred_at: Timestamp::UNIX_EPOCH,
            replay: None,
            headers_complete: false,
            verbatim: None,
        }
    }

    #[tokio::test]
    async fn what_is_ready_too_late_or_never_is_not_begun_with() {
        assert_eq!(StartWindow::begin().wait(async { 7 }).await.unwrap(), 7);
        let over = StartWindow { end: Instant::now() };
        for error in [
            over.wait(async { 7 }).await.unwrap_err(),
            over.wait(std::future::pending::<i32>()).await.unwrap_err(),
        ] {
            assert_eq!(error.action, Action::Retry { after: None });
            assert!(error.to_string().contains("the rest was left for the next"), "{error}");
        }
    }

    #[derive(Default)]
    struct Broker {
        /// In the order in which they came.
        kept: Vec<usize>,
        under_way: usize,
        most_under_way: usize,
    }

    proptest! {
        #[test]
        fn no_event_overtakes_one_of_its_key(
            keys in prop::collection::vec(prop::option::of(0_u8..4), 0..60),
            fates in prop::collection::vec((0_u8..12, 0_usize..4), 60),
            window in 1_usize..8,
        ) {
            let batch: Vec<_> = keys.iter().enumerate().map(|(number, key)| event(number, *key)).collect();
            let broker = RefCell::new(Broker::default());
            let mut report = DeliveryReport::new(batch.len());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let result = runtime.block_on(deliver(&batch, window, &mut report, |event| {
                let number = event.id.as_u128() as usize;
                let (broker, (fate, waits)) = (&broker, fates[number]);
                async move {
                    {
                        let mut broker = broker.borrow_mut();
                        broker.under_way += 1;
                        broker.most_under_way = broker.most_under_way.max(broker.under_way);
                    }
                    for _ in 0..waits {
                        tokio::task::yield_now().await;
                    }
                    let mut broker = broker.borrow_mut();
                    broker.under_way -= 1;
                    match fate {
                        0 => Fate::Refused(SinkError::park("no")),
                        1 => Fate::Refused(SinkError::retry("not now")),
                        2 => Fate::Lost(SinkError::reconnect("gone")),
                        _ => {
                            broker.kept.push(number);
                            Fate::Delivered
                        }
                    }
                }
            }));
            let broker = broker.into_inner();
            prop_assert!(broker.most_under_way <= window);
            let outcomes = report.into_outcomes();
            for key in 0..4 {
                let of_key: Vec<usize> = (0..batch.len()).filter(|at| keys[*at] == Some(key)).collect();
                let kept: Vec<usize> = broker.kept.iter().copied().filter(|at| of_key.contains(at)).collect();
                prop_assert_eq!(&kept[..], &of_key[..kept.len()], "a run without gaps");
            }
            for (at, outcome) in outcomes.iter().enumerate() {
                prop_assert_eq!(matches!(outcome, Outcome::Delivered), broker.kept.contains(&at));
            }
            let lost = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Unknown));
            let refused = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(_)));
            prop_assert!(!lost || refused || result.is_err(), "what is left is explained");
        }
    }
}
