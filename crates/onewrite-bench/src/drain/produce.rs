//! The raw limit of writing: librdkafka by itself, with the promise that the relay's producer gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::servers::Servers;
use crate::workload::{PARTITIONS, TOPIC, TYPE, Workload};

/// The seed of the records' ids.
pub const SEED: u64 = 2;

/// How long the last records may take to be acknowledged.
const FLUSH: Duration = Duration::from_secs(60);

/// Sends so many events to a new topic, and returns the seconds until the last was acknowledged; the topic is gone then.
pub async fn produce(servers: &Servers, topic: &str, workload: Arc<Workload>, events: usize) -> Result<f64> {
    servers.kafka.create_topic(topic, PARTITIONS, &[]).await;
    let (brokers, name) = (servers.kafka.bootstrap(), topic.to_owned());
    let seconds = tokio::task::spawn_blocking(move || send_all(&brokers, &name, &workload, events)).await??;
    servers.delete_topic(topic).await?;
    Ok(seconds)
}

/// Sends them from this thread, and returns the seconds until the last was acknowledged.
pub fn send_all(brokers: &str, topic: &str, workload: &Workload, events: usize) -> Result<f64> {
    let producer: ThreadedProducer<Counter> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("compression.codec", "lz4")
        .set("partitioner", "murmur2_random")
        .create_with_context(Counter::default())
        .context("making a producer")?;
    producer
        .client()
        .fetch_metadata(Some(topic), FLUSH)
        .context("finding the topic")?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let began = Instant::now();
    for number in 0..events {
        let mut buffer = uuid::Uuid::encode_buffer();
        let id = uuid::Builder::from_random_bytes(random.u128(..).to_be_bytes()).into_uuid();
        let headers = headers(id.hyphenated().encode_lower(&mut buffer));
        let mut record = BaseRecord::<str, [u8]>::to(topic)
            .key(workload.key(number))
            .payload(workload.payload(number))
            .headers(headers);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((error, _)) => bail!("sending to {topic}: {error}"),
            }
        }
    }
    producer.flush(FLUSH).context("waiting for the last acknowledgements")?;
    let seconds = began.elapsed().as_secs_f64();
    let acknowledged = producer.context().acknowledged.load(Ordering::Relaxed);
    ensure!(
        acknowledged == events,
        "{acknowledged} of {events} records were acknowledged"
    );
    Ok(seconds)
}

/// As many as the relay sends with an event that has none of its own, and as long.
fn headers(id: &str) -> OwnedHeaders {
    let header = |key, value| Header {
        key,
        value: Some(value),
    };
    OwnedHeaders::new_with_capacity(5)
        .insert(header("onewrite-id", id))
        .insert(header("onewrite-topic", TOPIC))
        .insert(header("onewrite-type", TYPE))
        .insert(header("onewrite-occurred-at", "2026-01-01T00:00:00.000000Z"))
        .insert(header("content-type", "application/json"))
}

#[derive(Default)]
struct Counter {
    acknowledged: AtomicUsize,
}

impl ClientContext for Counter {}

impl ProducerContext for Counter {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
}
