//! Delivery: batches side by side, of different keys each.

use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event, Sink};
use tokio::time::Instant;

use super::Service;
use super::answer::{Answer, Refusal, Scope, judge};
use super::client::AwsClient;
use super::message::Message;
use super::settings::Settings;
use crate::limits::{AWS_BATCH_ENTRIES_MAX, FAILURES_IN_A_ROW};
use crate::lines::{Item, Lines};
use crate::room::Room;

pub(super) struct BatchSink<S> {
    settings: Arc<Settings>,
    client: AwsClient,
    room: Room,
    service: PhantomData<S>,
}

impl<S: Service> BatchSink<S> {
    pub(super) fn new(settings: Arc<Settings>, client: AwsClient) -> Self {
        Self {
            room: Room::new(settings.concurrency, &settings.origin, "; raise concurrency"),
            settings,
            client,
            service: PhantomData,
        }
    }

    /// Sends one batch, once there is room and unless it is too late to begin by then.
    async fn send(&self, parcel: Parcel, begun: Instant) -> (Parcel, Result<Answer, SinkError>) {
        let result = match self.room.enter(begun).await {
            Ok(_permit) => self.send_now(&parcel).await,
            Err(error) => Err(error),
        };
        (parcel, result)
    }

    async fn send_now(&self, parcel: &Parcel) -> Result<Answer, SinkError> {
        let messages: Vec<_> = parcel.iter().map(|(_, message)| message).collect();
        let request = S::batch(&messages[0].address, &messages);
        let (status, body) = self.client.call(request).await?;
        let one_place = self.settings.address.literal().is_some();
        let origin = &self.settings.origin;
        Ok(judge::<S>(origin, status, &body, parcel.len(), one_place))
    }
}

#[async_trait]
impl<S: Service> Sink for BatchSink<S> {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let begun = Instant::now();
        let mut work = Work::new(&self.settings, batch);
        let mut course = Course::default();
        let mut under_way = FuturesUnordered::new();
        loop {
            while course.stopped.is_none() && under_way.len() < self.room.size() {
                let Some(parcel) = work.next::<S>(report) else { break };
                under_way.push(self.send(parcel, begun));
            }
            let Some((parcel, result)) = under_way.next().await else {
                break;
            };
            course.note::<S>(parcel, result, &mut work, report);
        }
        course.end()
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.room.close(self.settings.timeout).await;
        Ok(())
    }
}

/// The messages of one request: to one place, all of different keys.
type Parcel = Vec<(Item, Message)>;

/// What is left to send.
struct Work<'a> {
    settings: &'a Settings,
    batch: &'a [Event],
    lines: Lines,
    /// By address: what is being gathered.
    open: BTreeMap<String, Parcel>,
    /// Whole batches, and halves of refused ones.
    ready: VecDeque<Parcel>,
}

impl<'a> Work<'a> {
    fn new(settings: &'a Settings, batch: &'a [Event]) -> Self {
        Self {
            settings,
            batch,
            lines: Lines::new(batch),
            open: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// The messages of the next request. Events of which no message can be made are reported on the way.
    fn next<S: Service>(&mut self, report: &mut DeliveryReport) -> Option<Parcel> {
        while self.ready.is_empty() {
            let Some(item) = self.lines.take() else { break };
            match Message::new::<S>(self.settings, &self.batch[item.event]) {
                Ok(message) => self.gather(item, message),
                Err(error) => report.failed(item.event, error),
            }
        }
        let ready = self.ready.pop_front();
        ready.or_else(|| self.open.pop_first().map(|(_, parcel)| parcel))
    }

    fn gather(&mut self, item: Item, message: Message) {
        let parcel = self.open.entry(message.address.clone()).or_default();
        let size: usize = parcel.iter().map(|(_, message)| message.size).sum();
        if !parcel.is_empty() && size + message.size > self.settings.message_bytes_max {
            self.ready.push_back(std::mem::take(parcel));
        }
        parcel.push((item, message));
        if parcel.len() == AWS_BATCH_ENTRIES_MAX {
            self.ready.push_back(std::mem::take(parcel));
        }
        self.open.retain(|_, parcel| !parcel.is_empty());
    }
}

/// How a delivery has gone so far.
#[derive(Default)]
struct Course {
    /// Why nothing further is sent.
    stopped: Option<SinkError>,
    failures_in_a_row: u32,
}

impl Course {
    fn note<S: Service>(
        &mut self,
        parcel: Parcel,
        result: Result<Answer, SinkError>,
        work: &mut Work<'_>,
        report: &mut DeliveryReport,
    ) {
        match result {
            Ok(Answer::Each(each)) => {
                for ((item, _), outcome) in parcel.into_iter().zip(each) {
                    match outcome {
                        Some(Ok(())) => {
                            report.delivered(item.event);
                            work.lines.acknowledged(item);
                            self.failures_in_a_row = 0;
                        }
                        Some(Err(error)) => {
                            self.failure(error.action);
                            report.failed(item.event, error);
                        }
                        None => {
                            let words = format!("{} did not say what became of an event; it is sent again", S::NAME);
                            self.stopped.get_or_insert_with(|| SinkError::retry(words));
                        }
                    }
                }
            }
            Ok(Answer::Refused(refusal)) => self.refused(&refusal, parcel, work, report),
            Err(error) => {
                self.stopped.get_or_insert(error);
            }
        }
    }

    fn refused(&mut self, refusal: &Refusal, mut parcel: Parcel, work: &mut Work<'_>, report: &mut DeliveryReport) {
        if refusal.scope == Scope::Event && parcel.len() > 1 {
            // Only an event that is refused by itself is known to be the cause.
            let second = parcel.split_off(parcel.len() / 2);
            work.ready.extend([parcel, second]);
            return;
        }
        if refusal.scope == Scope::Route {
            self.stopped.get_or_insert_with(|| refusal.error());
            return;
        }
        for (item, _) in parcel {
            report.failed(item.event, refusal.error());
        }
        self.failure(refusal.action);
    }

    fn failure(&mut self, action: Action) {
        if action == Action::Park {
            return;
        }
        self.failures_in_a_row += 1;
        if self.failures_in_a_row >= FAILURES_IN_A_ROW {
            let words = format!("{FAILURES_IN_A_ROW} failures in a row; the rest of the delivery waits");
            self.stopped.get_or_insert_with(|| SinkError::retry(words));
        }
    }

    fn end(self) -> Result<(), SinkError> {
        self.stopped.map_or(Ok(()), Err)
    }
}
