//! The events: what the outbox is filled with, and what the raw producer sends.

use std::fmt::Write as _;
use std::pin::pin;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::try_join_all;
use onewrite_testkit::servers::Database;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

/// The topic of every event.
pub const TOPIC: &str = "bench.events";
/// The type of every event.
pub const TYPE: &str = "OrderPlaced";
/// Partitions of the topic.
pub const PARTITIONS: i32 = 8;
/// Bytes of every payload.
pub const PAYLOAD_BYTES: usize = 300;

/// Different keys.
const KEYS: usize = 50_000;
/// Different payloads: too many for one to come twice within the window of a compressor.
const PAYLOADS: usize = 8_192;
/// Connections that fill the outbox, so that transactions overlap as an application's do.
pub const WRITERS: usize = 4;
/// Events of one of their transactions.
pub const TRANSACTION: usize = 100;

/// All payloads and keys, made beforehand so that making them takes no part in any figure. The same on every run.
pub struct Workload {
    payloads: Vec<Bytes>,
    keys: Vec<String>,
}

impl Workload {
    /// Makes them.
    pub fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        Self {
            payloads: (0..PAYLOADS).map(|_| payload(&mut random)).collect(),
            keys: (0..KEYS).map(|number| format!("order-{number}")).collect(),
        }
    }

    /// The payload of the event of this number.
    pub fn payload(&self, number: usize) -> &Bytes {
        &self.payloads[number % PAYLOADS]
    }

    /// The key of the event of this number; each key comes equally often, at irregular distances from neighbours.
    pub fn key(&self, number: usize) -> &str {
        &self.keys[number.wrapping_mul(7_919) % KEYS]
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
        for statement in ["VACUUM (ANALYZE) onewrite.outbox", "CHECKPOINT"] {
            client.batch_execute(statement).await.context(statement)?;
        }
        Ok(())
    }

    async fn write(&self, database: &Database, writer: usize, events: usize) -> Result<()> {
        const COPY: &str = "COPY onewrite.outbox (topic, key, type, payload) FROM STDIN (FORMAT binary)";
        let client = database.connect().await;
        let starts = (0..events).step_by(TRANSACTION).skip(writer).step_by(WRITERS);
        for start in starts {
            let sink = client.copy_in(COPY).await?;
            let types = [Type::TEXT, Type::TEXT, Type::TEXT, Type::BYTEA];
            let mut rows = pin!(BinaryCopyInWriter::new(sink, &types));
            for number in start..events.min(start + TRANSACTION) {
                let payload: &[u8] = self.payload(number);
                rows.as_mut()
                    .write(&[&TOPIC, &self.key(number), &TYPE, &payload])
                    .await?;
            }
            rows.finish().await?;
        }
        Ok(())
    }
}

/// JSON as orders have it: about as regular, and about as random. lz4 makes it about half as long.
fn payload(random: &mut fastrand::Rng) -> Bytes {
    let mut text = format!(
        "{{\"order\":\"{:032x}\",\"customer\":{},\"state\":\"placed\",\"lines\":[",
        random.u128(..),
        random.u32(100_000..1_000_000)
    );
    for _ in 0..3 {
        let _ = write!(
            text,
            "{{\"article\":\"{:08X}\",\"quantity\":{},\"price\":{}}},",
            random.u32(..),
            random.u8(1..10),
            random.u32(100..10_000)
        );
    }
    text.pop();
    text.push_str("],\"note\":\"");
    while text.len() < PAYLOAD_BYTES - 2 {
        text.push(random.lowercase());
    }
    text.push_str("\"}");
    assert_eq!(
        text.len(),
        PAYLOAD_BYTES,
        "the fixed part of a payload leaves room for the note"
    );
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_length_and_are_json() {
        let workload = Workload::new();
        for number in 0..PAYLOADS {
            let payload = workload.payload(number);
            assert_eq!(payload.len(), PAYLOAD_BYTES);
            serde_json::from_slice::<serde_json::Value>(payload).expect("JSON");
        }
        assert_ne!(workload.key(0), workload.key(1));
    }
}
