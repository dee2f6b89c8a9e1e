//! Delivery: keys one after another, requests side by side.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::{DeliveryReport, Event, Sink};
use reqwest::{Client, Request};
use tokio::time::Instant;
use uuid::Uuid;

use super::answer::{Answer, Refusal, judge, partial};
use super::egress::NoAddress;
use super::request;
use super::settings::{Mode, Settings};
use crate::limits::{BATCH_RESPONSE_BYTES_MAX, FAILURES_IN_A_ROW, HTTP_BATCH_BYTES, RESPONSE_BYTES_MAX};
use crate::lines::{Item, Lines};
use crate::room::Room;
use crate::web::{Body, NoAnswer};

pub(super) struct HttpSink {
    settings: Arc<Settings>,
    client: Client,
    room: Room,
}

impl HttpSink {
    pub(super) fn new(settings: Arc<Settings>, client: Client) -> Self {
        Self {
            room: Room::new(
                settings.concurrency,
                &settings.origin,
                "; raise concurrency, or use mode = \"batch\"",
            ),
            settings,
            client,
        }
    }

    /// Sends one request, once there is room and unless it is too late to begin by then.
    async fn send(&self, batch: &[Event], parcel: Parcel, begun: Instant) -> Sent {
        let fate = match self.room.enter(begun).await {
            Ok(_permit) => match self.request(batch, &parcel) {
                Ok(request) => self.post(batch, &parcel, request).await,
                Err(error) => Fate::Poison(error),
            },
            Err(error) => Fate::Unsent(error),
        };
        Sent { parcel, fate }
    }

    fn request(&self, batch: &[Event], parcel: &Parcel) -> Result<Request, SinkError> {
        match (self.settings.mode, parcel.as_slice()) {
            (Mode::Event, [only]) => request::single(&self.settings, &batch[only.event]),
            _ => {
                let events = parcel.iter().map(|item| &batch[item.event]);
                Ok(request::many(&self.settings, events))
            }
        }
    }

    async fn post(&self, batch: &[Event], parcel: &Parcel, request: Request) -> Fate {
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => return self.no_answer(error),
        };
        let batched = self.settings.mode != Mode::Event;
        let bytes_max = if batched {
            BATCH_RESPONSE_BYTES_MAX
        } else {
            RESPONSE_BYTES_MAX
        };
        let body = Body::read(&mut response, bytes_max).await;
        if !batched || !response.status().is_success() {
            // The status has said it all; a body that broke off takes nothing back.
            let body = body.unwrap_or_default();
            return Fate::Answered(judge(&self.settings, response.status(), response.headers(), &body));
        }
        match body {
            Ok(body) => {
                let sent: Vec<Uuid> = parcel.iter().map(|item| batch[item.event].id).collect();
                Fate::Answered(partial(&self.settings, &body, &sent))
            }
            Err(error) => self.no_answer(error),
        }
    }

    /// Tells what was certainly not sent from what may have arrived.
    fn no_answer(&self, error: reqwest::Error) -> Fate {
        if let Some(refusal) = NoAddress::refusal_in(&error) {
            return Fate::Unsent(SinkError::halt(refusal.to_string()));
        }
        let NoAnswer {
            may_have_arrived,
            mut error,
        } = NoAnswer::new(&self.settings.origin, self.settings.timeout, error);
        if may_have_arrived {
            // It is a matter of its own events, and the client has other connections.
            error.action = Action::Retry { after: None };
            return Fate::Unknown(error);
        }
        Fate::Unsent(error)
    }
}

#[async_trait]
impl Sink for HttpSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let begun = Instant::now();
        let most = match self.settings.mode {
            Mode::Event => 1,
            Mode::Batch(most) => most,
        };
        let mut work = Work::new(batch, most);
        let mut course = Course::default();
        let mut under_way = FuturesUnordered::new();
        loop {
            while course.goes_on() && under_way.len() < self.room.size() {
                let Some(parcel) = work.next() else { break };
                under_way.push(self.send(batch, parcel, begun));
            }
            let Some(sent) = under_way.next().await else { break };
            course.note(sent, batch, &mut work, report);
        }
        course.end()
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.room.close(self.settings.timeout).await;
        Ok(())
    }
}

/// The events of one request, all of different keys.
type Parcel = Vec<Item>;

struct Sent {
    parcel: Parcel,
    fate: Fate,
}

enum Fate {
    Answered(Answer),
    /// It may have arrived.
    Unknown(SinkError),
    /// It cannot have arrived, and nothing else could now.
    Unsent(SinkError),
    /// The one event of the request cannot even be sent.
    Poison(SinkError),
}

/// What is left to send.
struct Work<'a> {
    batch: &'a [Event],
    most: usize,
    lines: Lines,
    /// Halves of refused requests.
    halves: Vec<Parcel>,
}

impl<'a> Work<'a> {
    fn new(batch: &'a [Event], most: usize) -> Self {
        Self {
            batch,
            most,
            lines: Lines::new(batch),
            halves: Vec::new(),
        }
    }

    /// The events of the next request.
    fn next(&mut self) -> Option<Parcel> {
        if let Some(half) = self.halves.pop() {
            return Some(half);
        }
        let mut parcel = Parcel::new();
        let mut bytes = 0;
        while parcel.len() < self.most {
            let Some(event) = self.lines.peek() else { break };
            bytes += self.batch[event].payload.len();
            if !parcel.is_empty() && bytes > HTTP_BATCH_BYTES {
                break;
            }
            parcel.extend(self.lines.take());
        }
        (!parcel.is_empty()).then_some(parcel)
    }
}

/// How a delivery has gone so far.
#[derive(Default)]
struct Course {
    /// Why nothing further is sent.
    stopped: Option<SinkError>,
    /// The first request that may or may not have arrived.
    unknown: Option<SinkError>,
    delivered: bool,
    failures_in_a_row: u32,
}

impl Course {
    fn goes_on(&self) -> bool {
        self.stopped.is_none()
    }

    fn note(&mut self, sent: Sent, batch: &[Event], work: &mut Work<'_>, report: &mut DeliveryReport) {
        let Sent { parcel, fate } = sent;
        match fate {
            Fate::Answered(Answer::Accepted) => parcel.iter().for_each(|item| self.accepted(*item, work, report)),
            Fate::Answered(Answer::Partly(rejected)) => {
                for item in parcel {
                    match rejected.iter().find(|rejected| rejected.id == batch[item.event].id) {
                        None => self.accepted(item, work, report),
                        Some(rejected) => {
                            let action = if rejected.retry {
                                Action::Retry { after: None }
                            } else {
                                Action::Park
                            };
                            report.failed(item.event, SinkError::new(action, rejected.words.clone()));
                        }
                    }
                }
            }
            Fate::Answered(Answer::Refused(refusal)) => self.refused(&refusal, parcel, work, report),
            Fate::Poison(error) => report.failed(parcel[0].event, error),
            Fate::Unknown(error) => {
                tracing::warn!(error = %onewrite_core::error::chain(&error), "a request has no known outcome; it will be sent again");
                self.unknown.get_or_insert(error);
                self.failure();
            }
            Fate::Unsent(error) => {
                self.stopped.get_or_insert(error);
            }
        }
    }

    fn accepted(&mut self, item: Item, work: &mut Work<'_>, report: &mut DeliveryReport) {
        report.delivered(item.event);
        work.lines.acknowledged(item);
        self.delivered = true;
        self.failures_in_a_row = 0;
    }

    fn refused(&mut self, refusal: &Refusal, mut parcel: Parcel, work: &mut Work<'_>, report: &mut DeliveryReport) {
        if refusal.may_be_one_event && parcel.len() > 1 {
            // Only an event that is refused by itself is known to be the cause.
            let second = parcel.split_off(parcel.len() / 2);
            work.halves.extend([second, parcel]);
            if refusal.action != Action::Park {
                self.failure();
            }
            return;
        }
        for item in &parcel {
            report.failed(item.event, refusal.error());
        }
        if refusal.route_wide {
            self.stopped.get_or_insert_with(|| refusal.error());
        } else if refusal.action != Action::Park {
            self.failure();
        }
    }

    fn failure(&mut self) {
        self.failures_in_a_row += 1;
        if self.failures_in_a_row >= FAILURES_IN_A_ROW {
            let words = format!("{FAILURES_IN_A_ROW} requests in a row failed; the rest of the delivery waits");
            self.stopped.get_or_insert_with(|| SinkError::retry(words));
        }
    }

    /// The word on the delivery as a whole. One unknown request among others that got through is the matter of its own
    /// events, which core holds back for a while; where nothing got through, the route is told why.
    fn end(self) -> Result<(), SinkError> {
        match (self.stopped, self.unknown) {
            (Some(stopped), None) => Err(stopped),
            (Some(stopped), Some(unknown)) if stopped.action == (Action::Retry { after: None }) => Err(unknown),
            (Some(stopped), Some(_)) => Err(stopped),
            (None, Some(unknown)) if !self.delivered => Err(unknown),
            (None, _) => Ok(()),
        }
    }
}
