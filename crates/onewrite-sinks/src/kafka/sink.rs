//! Delivering a batch.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use onewrite_core::{DeliveryReport, Event, Sink, SinkError};
use rdkafka::error::RDKafkaErrorCode;

use super::client::{Refusal, said};
use super::connector::Link;
use super::flight::{Failure, Fate, Flight, Tag, weight};
use super::limits::{SINGLE_RECORDS, STALLED, WARM_SECONDS};
use super::native::Headers;
use super::record::Record;
use super::topics::{Standing, Topic, Topics, partition_of};

/// A producer that has not been closed.
pub(super) struct KafkaSink {
    open: Mutex<Option<Open>>,
}

#[derive(Clone)]
struct Open {
    link: Arc<Link>,
    topics: Arc<Topics>,
}

impl KafkaSink {
    /// A sink on a producer whose brokers answer.
    pub fn new(link: Arc<Link>) -> Self {
        let topics = Arc::new(Topics::default());
        Self {
            open: Mutex::new(Some(Open { link, topics })),
        }
    }

    fn take(&self) -> Option<Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let open = open.ok_or_else(|| SinkError::reconnect("the Kafka sink was closed"))?;
        let mut delivery = Delivery::new(&open, batch, report);
        let ended = delivery.run().await;
        drop(delivery);
        ended?;
        let link = &open.link;
        if link.single && link.flight().delivered() >= SINGLE_RECORDS {
            link.flight()
                .retire("records went one by one after a refusal; going back to many in a request");
        }
        match link.flight().retired() {
            Some(reason) => Err(SinkError::reconnect(reason.to_owned())),
            None => Ok(()),
        }
    }

    async fn close(&self) -> Result<(), SinkError> {
        let Some(Open { link, topics }) = self.take() else {
            return Ok(());
        };
        let closing = tokio::task::spawn_blocking(move || {
            link.shut_down();
            topics.clear();
        });
        closing
            .await
            .map_err(|error| SinkError::reconnect("closing the Kafka sink broke off").because(error))
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        if let Some(Open { link, topics }) = self.take() {
            // Lookers and deliveries that still hold the link let it go at that, and the last one frees it.
            link.flight().break_off("the sink was dropped");
            topics.clear();
        }
    }
}

/// One batch on its way. What became known of its events goes into the report when this is dropped, be it at the end or
/// because nobody waits any longer.
struct Delivery<'a> {
    link: &'a Arc<Link>,
    topics: &'a Arc<Topics>,
    batch: &'a [Event],
    report: &'a mut DeliveryReport,
    slot: usize,
    sent: usize,
    /// Keys of which an event failed before it was sent: nothing more of them is.
    stopped: HashSet<&'a str>,
    /// The latest event sent of each key and its partition, kept where the batch goes to several topics, or the source names
    /// partitions.
    latest: Option<HashMap<&'a str, (usize, u32)>>,
    /// The partition that events without a key go to, by topic.
    unkeyed: HashMap<&'a str, u32>,
}

/// What to do with an event now.
enum Admission {
    /// It was sent, or it failed, or its key is stopped.
    Done,
    /// Something must happen first; of its key nothing goes before it.
    Later,
    /// There is no room for more.
    Full,
}

impl<'a> Delivery<'a> {
    fn new(open: &'a Open, batch: &'a [Event], report: &'a mut DeliveryReport) -> Self {
        let topics = batch.windows(2).any(|pair| pair[0].topic != pair[1].topic);
        let partitions = batch.iter().any(|event| Record::of(event).partition.is_some());
        Self {
            link: &open.link,
            topics: &open.topics,
            batch,
            report,
            slot: open.link.flight().board(batch.len()),
            sent: 0,
            stopped: HashSet::new(),
            latest: (topics || partitions).then(HashMap::new),
            unkeyed: HashMap::new(),
        }
    }

    fn flight(&self) -> &'a Flight {
        self.link.flight()
    }

    /// Sends everything that may be sent, in rounds, and waits until all of it is reported.
    async fn run(&mut self) -> Result<(), SinkError> {
        let begun = Instant::now();
        let mut waiting: Vec<usize> = (0..self.batch.len()).collect();
        loop {
            let mut changed = pin!(self.flight().changed());
            changed.as_mut().enable();
            if self.flight().retired().is_some() {
                // What was not sent is left to the next producer.
                waiting.clear();
            }
            waiting = self.round(waiting);
            let complete = self.flight().is_complete(self.slot, self.sent) && waiting.is_empty();
            if let Some(reason) = self.flight().broken() {
                return Err(SinkError::reconnect(format!("Kafka: {reason}")));
            }
            if complete {
                return Ok(());
            }
            // Nothing changing is no reason to end; it is one to look at what the client says.
            let _ = tokio::time::timeout(STALLED, changed).await;
            self.check_stalled(begun);
        }
    }

    /// Goes through the events that wait, and returns those that still do.
    fn round(&mut self, waiting: Vec<usize>) -> Vec<usize> {
        let mut later = Vec::new();
        let mut held: HashSet<&str> = HashSet::new();
        let mut topics: HashMap<&str, Standing> = HashMap::new();
        for (at, index) in waiting.iter().copied().enumerate() {
            let key = self.batch[index].key.as_deref();
            let is_held = key.is_some_and(|key| !held.is_empty() && held.contains(key));
            let admission = if is_held {
                Admission::Later
            } else {
                self.admit(index, &mut topics)
            };
            match admission {
                Admission::Done => {}
                Admission::Later => {
                    held.extend(key);
                    later.push(index);
                }
                Admission::Full => {
                    later.extend(&waiting[at..]);
                    return later;
                }
            }
        }
        self.flight().withdraw(self.slot);
        later
    }

    fn admit(&mut self, index: usize, topics: &mut HashMap<&'a str, Standing>) -> Admission {
        let event = &self.batch[index];
        let key = event.key.as_deref();
        if key.is_some_and(|key| !self.stopped.is_empty() && self.stopped.contains(key))
            || self.flight().broken().is_some()
        {
            return Admission::Done;
        }
        if !topics.contains_key(&*event.topic) {
            let standing = match name_defect(&event.topic) {
                Some(words) => Standing::Refused(SinkError::park(words)),
                None => self.topics.standing(self.link, &event.topic),
            };
            topics.insert(&event.topic, standing);
        }
        let topic = match &topics[&*event.topic] {
            Standing::Ready(topic) => Arc::clone(topic),
            Standing::Sought => return Admission::Later,
            Standing::Refused(error) => {
                let error = SinkError::new(error.action, error.context.clone());
                return self.fail(index, error);
            }
        };
        let record = Record::of(event);
        let partition = self.partition(event, &record, &topic);
        if partition >= topic.partitions {
            return self.no_such_partition(index, &topic, partition);
        }
        if self.goes_elsewhere_first(event, partition) {
            return Admission::Later;
        }
        self.send(index, &topic, &record, partition)
    }

    /// Whether an earlier event of the same key is under way to another partition, be it of this topic or of another. Only
    /// inside one partition do records keep their order, and fail together.
    fn goes_elsewhere_first(&self, event: &Event, partition: u32) -> bool {
        let (Some(latest), Some(key)) = (&self.latest, &event.key) else {
            return false;
        };
        latest.get(&**key).is_some_and(|(before, place)| {
            let elsewhere = *place != partition || self.batch[*before].topic != event.topic;
            elsewhere && !self.flight().is_delivered(self.slot, *before)
        })
    }

    fn send(&mut self, index: usize, topic: &Arc<Topic>, record: &Record<'_>, partition: u32) -> Admission {
        let event = &self.batch[index];
        let flight = self.flight();
        let place = partition as usize;
        let warm = topic.warmth.is_warm(place, flight.second(), WARM_SECONDS);
        if !warm && topic.warmth.is_warming(place) {
            return Admission::Later;
        }
        let weight = weight(record.key_bytes(), record.value_bytes());
        if !flight.reserve(self.slot, weight) {
            return Admission::Full;
        }
        let headers = Headers::of(event);
        let least = record.key_bytes() + record.value_bytes() + headers.bytes + 2 * headers.count;
        if !self.link.compressed && least > topic.limit() {
            flight.release(weight);
            return self.too_large(index, topic, least);
        }
        if warm {
            topic.warmth.touch(place, flight.second());
        } else if topic.warmth.begin(place) {
            flight.warms(self.slot, index, &topic.warmth, place);
        } else {
            flight.release(weight);
            return Admission::Later;
        }
        let produced = topic
            .handle
            .produce(record, partition as i32, headers, Tag::new(self.slot, index));
        if let Err(code) = produced {
            if !warm {
                flight.cools(self.slot, index);
            }
            flight.release(weight);
            return self.not_taken(index, code, least);
        }
        self.sent += 1;
        if let (Some(latest), Some(key)) = (&mut self.latest, &event.key) {
            latest.insert(key, (index, partition));
        }
        Admission::Done
    }

    /// The topic takes less than the event has, unless that has changed lately.
    fn too_large(&mut self, index: usize, topic: &Arc<Topic>, bytes: usize) -> Admission {
        let name = &self.batch[index].topic;
        if !topic.limit_is_fresh(self.link, name) {
            return Admission::Later;
        }
        let words = format!(
            "topic {name}: the event has {bytes} bytes, the topic takes {} (max.message.bytes); raise that, or make the \
             event smaller",
            topic.limit()
        );
        self.fail(index, SinkError::park(words))
    }

    /// The source asks for a partition that the topic does not have, unless that has changed lately.
    fn no_such_partition(&mut self, index: usize, topic: &Arc<Topic>, partition: u32) -> Admission {
        let name = &self.batch[index].topic;
        if !topic.limit_is_fresh(self.link, name) {
            return Admission::Later;
        }
        let words = format!(
            "topic {name}: the event asks for partition {}, and the topic has {} (from 0 on); add partitions, or correct what \
             the event asks for",
            partition.cast_signed(),
            topic.partitions
        );
        self.fail(index, SinkError::park(words))
    }

    /// Where an event goes: where the source says, else by the record's key as Java's client does, and without one to a
    /// partition of this batch's own.
    fn partition(&mut self, event: &'a Event, record: &Record<'_>, topic: &Topic) -> u32 {
        match (record.partition, record.key) {
            (Some(partition), _) => partition.cast_unsigned(),
            (None, Some(key)) => partition_of(key, topic.partitions),
            (None, None) => *self
                .unkeyed
                .entry(&event.topic)
                .or_insert_with(|| topic.next_partition()),
        }
    }

    /// The client took a record not, and so nothing of it is under way.
    fn not_taken(&mut self, index: usize, code: RDKafkaErrorCode, bytes: usize) -> Admission {
        let topic = &self.batch[index].topic;
        let error = match code {
            RDKafkaErrorCode::MessageSizeTooLarge => SinkError::park(format!(
                "topic {topic}: the event has {bytes} bytes, more than max_message_bytes of this sink allows"
            )),
            RDKafkaErrorCode::Fatal => {
                let fatal = self.link.client().fatal_error();
                self.flight()
                    .break_off(fatal.map_or_else(|| said(code), |(_, words)| words));
                return Admission::Done;
            }
            RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopic => {
                self.flight()
                    .retire(format!("topic {topic} has changed: {}", said(code)));
                return Admission::Later;
            }
            code => SinkError::retry(format!("topic {topic}: {}", said(code))),
        };
        self.fail(index, error)
    }

    fn fail(&mut self, index: usize, error: SinkError) -> Admission {
        self.report.failed(index, error);
        self.stopped.extend(self.batch[index].key.as_deref());
        Admission::Done
    }

    fn report_failure(&mut self, index: usize, failure: &Failure) {
        let topic = &self.batch[index].topic;
        let error = failure.park(topic);
        match failure.refusal() {
            Some(Refusal::Record) => self.report.failed(index, error),
            Some(Refusal::Topic) => {
                self.link.lessons.refuse(topic, error.context.to_string());
                self.report.failed(index, error);
            }
            // It counts as unknown: it may have arrived, and is sent again by the next producer.
            Some(Refusal::SomeRecord { .. }) | None => {}
        }
    }

    /// Gives the producer up if nothing was acknowledged for long while the client told of errors.
    fn check_stalled(&self, begun: Instant) {
        let since = begun.max(self.flight().acknowledged());
        if since.elapsed() < STALLED {
            return;
        }
        if let Some((_, words)) = self.link.troubles().telling(since) {
            let seconds = since.elapsed().as_secs();
            self.flight()
                .break_off(format!("nothing was acknowledged for {seconds} s: {words}"));
        }
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        let fates = self.flight().leave(self.slot, self.sent);
        let mut open: HashSet<&str> = HashSet::new();
        for (index, fate) in fates.into_iter().enumerate() {
            let key = self.batch[index].key.as_deref();
            match fate {
                // The one before it of its key is repeated; so is this one, lest the older record be the last of the key.
                Fate::Delivered if key.is_some_and(|key| !open.is_empty() && open.contains(key)) => {}
                Fate::Delivered => self.report.delivered(index),
                Fate::Open => open.extend(key),
                Fate::Failed(failure) => {
                    open.extend(key);
                    self.report_failure(index, &failure);
                }
            }
        }
    }
}

/// What is wrong with a topic's name, by Kafka's own rules.
fn name_defect(name: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let sound = !name.is_empty() && name.len() <= 249 && name.bytes().all(allowed) && name != "." && name != "..";
    (!sound).then(|| {
        format!(
            "{name:?} cannot be a Kafka topic; its name takes 1 to 249 letters, digits, dots, hyphens and underscores"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::name_defect;

    #[test]
    fn names_follow_kafkas_rules() {
        for name in ["shop.orders", "a", "A_b-9", "...", &"x".repeat(249)] {
            assert_eq!(name_defect(name), None);
        }
        for name in ["", ".", "..", "a b", "shop/orders", "ä", &"x".repeat(250)] {
            assert!(name_defect(name).is_some(), "{name}");
        }
    }
}
