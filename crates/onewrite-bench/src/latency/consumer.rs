//! The far end: an ordinary consumer that notes when it has a record in its hands.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;
use tokio::task::JoinHandle;

use super::{PATIENCE, Times};
use crate::workload::{PARTITIONS, TOPIC};

/// What stands before an event's number in its payload, but for a blank that a database or a program may put between, and the
/// quotation mark.
const FIELD: &[u8] = b"\"order\":";
/// Digits of the number.
const DIGITS: usize = 10;

/// A consumer in a thread of its own.
pub struct Consumer {
    work: JoinHandle<Result<()>>,
}

impl Consumer {
    /// Starts it at the present ends of the topic's partitions.
    pub async fn start(brokers: &str, times: Arc<Times>) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "onewrite-bench")
            .set("enable.auto.commit", "false")
            // Going on at another place than the one it was given would pass over events without a word.
            .set("auto.offset.reset", "error")
            // A record goes out to a waiting consumer when it comes; these keep the consumer from not waiting.
            .set("fetch.wait.max.ms", "10")
            .set("fetch.queue.backoff.ms", "0")
            .create()
            .context("making a consumer")?;
        let consumer = tokio::task::spawn_blocking(move || at_the_end(consumer)).await??;
        let work = tokio::task::spawn_blocking(move || consume(&consumer, &times));
        Ok(Self { work })
    }

    /// Waits until it has every event.
    pub async fn finish(self) -> Result<()> {
        self.work.await?
    }
}

/// The payload with the event's number at the beginning of its order's: still JSON, and as long.
pub fn numbered(payload: &[u8], event: usize) -> Vec<u8> {
    let mut numbered = payload.to_vec();
    let place = place(payload).expect("every payload has an order");
    numbered[place..place + DIGITS].copy_from_slice(format!("{event:0DIGITS$}").as_bytes());
    numbered
}

fn number_of(payload: &[u8]) -> Option<usize> {
    let place = place(payload)?;
    std::str::from_utf8(payload.get(place..place + DIGITS)?)
        .ok()?
        .parse()
        .ok()
}

/// Where the number begins.
fn place(payload: &[u8]) -> Option<usize> {
    let field = payload.windows(FIELD.len()).position(|window| window == FIELD)? + FIELD.len();
    let value = payload.get(field..)?;
    let number = value.iter().position(|byte| ![b' ', b'"'].contains(byte))?;
    Some(field + number)
}

fn at_the_end(consumer: BaseConsumer) -> Result<BaseConsumer> {
    let mut places = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let (_, end) = consumer.fetch_watermarks(TOPIC, partition, PATIENCE)?;
        places.add_partition_offset(TOPIC, partition, Offset::Offset(end))?;
    }
    consumer.assign(&places)?;
    Ok(consumer)
}

fn consume(consumer: &BaseConsumer, times: &Times) -> Result<()> {
    let (mut missing, mut latest) = (times.events(), Instant::now());
    while missing > 0 {
        ensure!(
            latest.elapsed() < PATIENCE,
            "{missing} events did not arrive within {PATIENCE:?}"
        );
        let record = match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => record,
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                return Err(error).context("the consumer lost its place");
            }
            // The client itself goes on after other errors.
            Some(Err(_)) | None => continue,
        };
        let event = record
            .payload()
            .and_then(number_of)
            .filter(|event| *event < times.events());
        let event = event.context("a record that is no event of this run")?;
        if times.consumed[event].load(Ordering::Relaxed) == 0 {
            times.note(&times.consumed, event);
            missing -= 1;
        }
        latest = Instant::now();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_carries_its_number() {
        let workload = crate::workload::Workload::new();
        let payload = numbered(workload.payload(7), 42);
        assert_eq!((payload.len(), number_of(&payload)), (300, Some(42)));
        // As a column of the type jsonb gives it back: in another order and with blanks.
        let value: serde_json::Value = serde_json::from_slice(&payload).expect("JSON");
        let spaced = value.to_string().replace("\":", "\": ");
        assert_eq!(number_of(spaced.as_bytes()), Some(42));
        assert_eq!(number_of(b"{\"order\": 1}"), None);
    }
}
