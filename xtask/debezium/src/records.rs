//! What is in Kafka, found by the id that each record has in its header.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use onewrite_testkit::servers::{Kafka, Record};
use onewrite_testkit::wait;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::{Value, json};

/// Reads all topics.
pub struct Records {
    kafka: Kafka,
    /// By id; each is taken once.
    found: HashMap<String, (String, Record)>,
    taken: usize,
}

impl Records {
    /// Of this broker.
    pub fn new(kafka: &Kafka) -> Self {
        Self {
            kafka: kafka.clone(),
            found: HashMap::new(),
            taken: 0,
        }
    }

    /// The record of an id with its topic; waits for it, and looks `meanwhile` whether that is in vain.
    pub async fn wait_for(&mut self, id: &str, meanwhile: impl AsyncFn()) -> (String, Record) {
        let what = format!("a record with the id {id}");
        wait::until(&what, async || {
            let key = |records: &Self| records.found.keys().find(|found| is_id(found, id)).cloned();
            if key(self).is_none() {
                meanwhile().await;
                self.read().await;
            }
            let key = key(self)?;
            self.taken += 1;
            self.found.get(&key).cloned()
        })
        .await
    }

    /// # Panics
    /// When there are records that nobody asked for.
    pub fn check_all_taken(&self) {
        assert_eq!(
            self.found.len(),
            self.taken,
            "records beside those of the rows: {:?}",
            self.found.keys()
        );
    }

    async fn read(&mut self) {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.kafka.bootstrap())
            .set("group.id", "recorder");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let metadata = consumer
            .fetch_metadata(None, Duration::from_secs(30))
            .expect("the topics");
        let topics = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let topics: Vec<String> = topics.filter(|topic| !topic.starts_with('_')).collect();
        for topic in topics {
            for record in self.kafka.read_all(&topic).await {
                if let Some(id) = record.header("id").map(str::to_owned) {
                    self.found.insert(id, (topic.clone(), record));
                }
            }
        }
    }
}

/// Converters write it plain, quoted, or inside of an object.
fn is_id(header: &str, id: &str) -> bool {
    header == id || header.contains(&format!("\"{id}\"")) || header.ends_with(&format!(":{id}}}"))
}

/// Text where it is one, so that people can read it.
pub fn bytes_to_json(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => json!(text),
        Some((bytes, Err(_))) => json!({"base64": STANDARD.encode(bytes)}),
    }
}
