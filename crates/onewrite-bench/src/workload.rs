//! The events: what the outbox is filled with, and what the raw producer sends.

use std::fmt::Write as _;
use std::pin::pin;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use onewrite_testkit::servers::Database;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

/// The topic of every event that a single route takes, and the broker's topic of all events.
pub const TOPIC: &str = "bench.events";
/// The type of every event.
pub const TYPE: &str = "OrderPlaced";
/// Partitions of the topic.
pub const PARTITIONS: i32 = 8;
/// The seed of the payloads.
pub const SEED: u64 = 1;

/// Bytes of different payloads: too many for one to come twice within the window of a compressor.
const PAYLOADS_BYTES: usize = 8_192 * Shape::USUAL.payload_bytes;
/// And how many there are, at the least and at the most.
const PAYLOADS: (usize, usize) = (512, 8_192);
/// Connections that fill the outbox, so that transactions overlap as an application's do.
pub const WRITERS: usize = 4;

/// What events are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of every payload: 100, or 300 and more.
    pub payload_bytes: usize,
    /// Different keys.
    pub keys: usize,
    /// Events of a transaction.
    pub transaction: usize,
    /// Routes that take events in turn, each those of a topic of its own.
    pub routes: usize,
}

impl Shape {
    /// What is measured where nothing else is said.
    pub const USUAL: Self = Self {
        payload_bytes: 300,
        keys: 50_000,
        transaction: 100,
        routes: 1,
    };
}

/// All payloads and keys, made beforehand so that making them takes no part in any figure. The same on every run.
pub struct Workload {
    shape: Shape,
    payloads: Vec<Bytes>,
    keys: Vec<String>,
    topics: Vec<String>,
}

impl Workload {
    /// Makes the usual ones.
    pub fn new() -> Self {
        Self::of(Shape::USUAL)
    }

    /// Makes those of a shape.
    pub fn of(shape: Shape) -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        let (least, most) = PAYLOADS;
        let payloads = (PAYLOADS_BYTES / shape.payload_bytes).clamp(least, most);
        Self {
            shape,
            payloads: (0..payloads)
                .map(|_| payload(&mut random, shape.payload_bytes))
                .collect(),
            keys: (0..shape.keys).map(|number| format!("order-{number}")).collect(),
            topics: (0..shape.routes).map(topic).collect(),
        }
    }

    /// The payload of the event of this number.
    pub fn payload(&self, number: usize) -> &Bytes {
        &self.payloads[number % self.payloads.len()]
    }

    /// The key of the event of this number; each key comes equally often, at irregular distances from neighbours.
    pub fn key(&self, number: usize) -> &str {
        &self.keys[number.wrapping_mul(7_919) % self.keys.len()]
    }

    /// The topic of the event of this number.
    pub fn topic(&self, number: usize) -> &str {
        &self.topics[number % self.topics.len()]
    }

    /// Puts so many events into an outbox.
    pub async fn fill(&self, database: &Database, events: usize) -> Result<()> {
        let writers = (0..WRITERS).map(|writer| self.write(database, writer, events));
        try_join_all(writers).await.context("filling the outbox")?;
        Ok(())
    }

    /// Leaves nothing of that to be done later: neither by a vacuum, which the first reader of a fresh row otherwise does in
    /// part, nor by a checkpoint.
    pub async fn settle(database: &Database) -> Result<()> {
        let client = database.connect().await;
        for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
            client.batch_execute(statement).await.context(statement)?;
        }
        Ok(())
    }

    async fn write(&self, database: &Database, writer: usize, events: usize) -> Result<()> {
        const COPY: &str = "COPY onewrite.outbox (topic, key, type, payload) FROM STDIN (FORMAT binary)";
        let client = database.connect().await;
        let transaction = self.shape.transaction;
        if transaction < Shape::USUAL.transaction {
            // A flush for each would take longer than everything that is measured.
            client.batch_execute("SET synchronous_commit = off").await?;
        }
        let starts = (0..events).step_by(transaction).skip(writer).step_by(WRITERS);
        for start in starts {
            let sink = client.copy_in(COPY).await?;
            let types = [Type::TEXT, Type::TEXT, Type::TEXT, Type::BYTEA];
            let mut rows = pin!(BinaryCopyInWriter::new(sink, &types));
            for number in start..events.min(start + transaction) {
                let payload: &[u8] = self.payload(number);
                rows.as_mut()
                    .write(&[&self.topic(number), &self.key(number), &TYPE, &payload])
                    .await?;
            }
            rows.finish().await?;
        }
        Ok(())
    }
}

/// The topic of the events that the route of this number takes.
pub fn topic(route: usize) -> String {
    match route {
        0 => TOPIC.to_owned(),
        route => format!("{TOPIC}.{route}"),
    }
}

/// JSON as orders have it: about as regular, and about as random. lz4 makes it about half as long.
fn payload(random: &mut fastrand::Rng, bytes: usize) -> Bytes {
    let mut text = format!(
        "{{\"order\":\"{:032x}\",\"customer\":{},\"state\":\"placed\",\"lines\":[",
        random.u128(..),
        random.u32(100_000..1_000_000)
    );
    let lines = if bytes < Shape::USUAL.payload_bytes {
        0
    } else {
        bytes / 100
    };
    for number in 0..lines {
        let _ = write!(
            text,
            "{}{{\"article\":\"{:08X}\",\"quantity\":{},\"price\":{}}}",
            if number == 0 { "" } else { "," },
            random.u32(..),
            random.u8(1..10),
            random.u32(100..10_000)
        );
    }
    text.push_str("],\"note\":\"");
    while text.len() < bytes - 2 {
        text.push(random.lowercase());
    }
    text.push_str("\"}");
    assert_eq!(
        text.len(),
        bytes,
        "the fixed part of a payload leaves room for the note"
    );
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_length_and_are_json() {
        for payload_bytes in [100, 300, 1_000, 10_000] {
            let workload = Workload::of(Shape {
                payload_bytes,
                ..Shape::USUAL
            });
            for number in 0..workload.payloads.len() {
                let payload = workload.payload(number);
                assert_eq!(payload.len(), payload_bytes);
                serde_json::from_slice::<serde_json::Value>(payload).expect("JSON");
            }
        }
    }

    #[test]
    fn keys_and_topics_are_as_many_as_the_shape_says() {
        let different = |shape: Shape, of: fn(&Workload, usize) -> &str| {
            let workload = Workload::of(shape);
            let all: std::collections::HashSet<&str> = (0..200_000).map(|number| of(&workload, number)).collect();
            all.len()
        };
        for keys in [1, Shape::USUAL.keys, 100_000] {
            let shape = Shape { keys, ..Shape::USUAL };
            assert_eq!(different(shape, Workload::key), keys);
        }
        let shape = Shape {
            routes: 10,
            ..Shape::USUAL
        };
        assert_eq!(different(shape, Workload::topic), 10);
        assert_eq!(different(Shape::USUAL, Workload::topic), 1);
    }
}
