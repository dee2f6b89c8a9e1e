//! What is in a topic, told by a consumer that has nothing to do with the relay.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::wait::PATIENCE;

/// A record as the broker keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: i32,
    /// The place in the partition.
    pub offset: i64,
    /// The key; a record may have none.
    pub key: Option<Vec<u8>>,
    /// The body; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers, in their order; a name may come more than once.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since 1970, set by producer or broker.
    pub timestamp: Option<i64>,
}

impl Record {
    /// The value of the last header of this name, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().rev().filter(|(known, _)| known == name);
        std::str::from_utf8(found.next()?.1.as_deref()?).ok()
    }

    fn new(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
            timestamp: message.timestamp().to_millis(),
        }
    }
}

pub(super) fn read_all(mut config: ClientConfig, topic: &str) -> Vec<Record> {
    config
        .set("group.id", "onewrite-testkit")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut unread: HashSet<i32> = partitions(&consumer, topic).into_iter().collect();
    let mut assignment = TopicPartitionList::new();
    for partition in &unread {
        assignment
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .expect("an offset");
    }
    consumer.assign(&assignment).expect("assign the partitions");
    let mut records = Vec::new();
    let mut deadline = Instant::now() + PATIENCE;
    while !unread.is_empty() {
        assert!(
            Instant::now() < deadline,
            "reading {topic}: no end of the partitions {unread:?} in {PATIENCE:?}"
        );
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                records.push(Record::new(&message));
                deadline = Instant::now() + PATIENCE;
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => _ = unread.remove(&partition),
            // The client itself reconnects to a broker that is just coming back.
            Some(Err(_)) | None => {}
        }
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

pub(super) fn count(config: ClientConfig, topic: &str) -> Result<i64, KafkaError> {
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let ends = partitions.map(|partition| consumer.fetch_watermarks(topic, partition.id(), PATIENCE));
    ends.map(|marks| marks.map(|(_, end)| end)).sum()
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE);
    let metadata = metadata.unwrap_or_else(|error| panic!("the partitions of {topic}: {error}"));
    let found: Vec<i32> = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions())
        .map(|partition| partition.id())
        .collect();
    assert!(!found.is_empty(), "the topic {topic} does not exist");
    found
}
