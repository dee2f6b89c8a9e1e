//! Warming the broker up: a virtual machine that has just started translates its own code for its first minutes, on the cores that
//! all share, and what is measured meanwhile is mostly that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Instant, interval};

use crate::progress::say;
use crate::servers::Servers;
use crate::workload::{PARTITIONS, Workload};

/// The topic of the warming alone.
const TOPIC: &str = "bench-warming";

/// Records, each a request of its own: so many at a time, and how often.
const BURST: usize = 10;
const PACE: Duration = Duration::from_millis(5);

/// How long the broker may take for the last ones.
const FLUSH: Duration = Duration::from_secs(30);

/// Sends records one by one for so long, past a consumer that waits for each; Onewrite has no part in it.
pub async fn warm(servers: &Servers, lasting: Duration) -> Result<()> {
    say(format!("warming the broker up for {lasting:?}"));
    servers.kafka.create_topic(TOPIC, PARTITIONS, &[]).await;
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", servers.kafka.bootstrap());
    let consumer: BaseConsumer = client
        .clone()
        .set("group.id", TOPIC)
        .set("fetch.wait.max.ms", "10")
        .create()
        .context("making a consumer")?;
    let mut places = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        places.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
    }
    consumer.assign(&places)?;
    let over = Arc::new(AtomicBool::new(false));
    let reading = tokio::task::spawn_blocking({
        let over = over.clone();
        move || {
            while !over.load(Ordering::Relaxed) {
                let _record = consumer.poll(Duration::from_millis(100));
            }
        }
    });
    let sent = send(client, lasting).await;
    over.store(true, Ordering::Relaxed);
    reading.await?;
    sent?;
    servers.delete_topic(TOPIC).await
}

async fn send(mut client: ClientConfig, lasting: Duration) -> Result<()> {
    let producer: ThreadedProducer<DefaultProducerContext> = client
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create()
        .context("making a producer")?;
    let workload = Workload::new();
    let (end, mut pace, mut number) = (Instant::now() + lasting, interval(PACE), 0);
    while Instant::now() < end {
        pace.tick().await;
        for _ in 0..BURST {
            let record = BaseRecord::<str, [u8]>::to(TOPIC)
                .key(workload.key(number))
                .payload(workload.payload(number));
            // A full queue only makes the warming smaller.
            let _ = producer.send(record);
            number += 1;
        }
    }
    tokio::task::spawn_blocking(move || producer.flush(FLUSH))
        .await?
        .context("waiting for the broker that is warmed up")
}
