//! Reading back for `onewrite verify`: a topic of its own, all partitions from their beginnings, without a consumer group.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::SinkError;
use onewrite_core::verify::{Arrived, ReadBack, Reading};
use onewrite_core::wire::HEADER_ID;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::client::token;
use super::limits::{CONNECT, READ_PARTITIONS, READ_RECORDS};

pub(super) struct KafkaReadBack {
    pub config: ClientConfig,
    pub token_file: Option<PathBuf>,
}

impl KafkaReadBack {
    fn context(&self) -> Context {
        Context {
            token_file: self.token_file.clone(),
        }
    }

    fn admin(&self) -> Result<AdminClient<Context>, SinkError> {
        use rdkafka::config::FromClientConfigAndContext as _;
        AdminClient::from_config_and_context(&self.config, self.context())
            .map_err(|error| SinkError::halt("no client can be made of the options").because(error))
    }
}

#[async_trait]
impl ReadBack for KafkaReadBack {
    fn apart(&self, _: &str) -> Vec<(&'static str, Option<String>)> {
        Vec::new()
    }

    async fn open(&self, topic: &str) -> Result<Box<dyn Reading>, SinkError> {
        // The brokers' own default, which Kafka 2.4 and later take in this way.
        const REPLICAS: TopicReplication<'_> = TopicReplication::Fixed(-1);
        let new = NewTopic::new(topic, READ_PARTITIONS, REPLICAS);
        let asked = self.admin()?.create_topics(&[new], &options()).await;
        done(topic, "made", "Create", asked, RDKafkaErrorCode::TopicAlreadyExists)?;
        let mut config = self.config.clone();
        // Without commits the group is but a name, which the client asks for.
        config
            .set("group.id", topic)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest");
        let (context, topic) = (self.context(), topic.to_owned());
        let opening = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer<Context> = config.create_with_context(context)?;
            let mut partitions = TopicPartitionList::new();
            for partition in 0..READ_PARTITIONS {
                partitions.add_partition_offset(&topic, partition, Offset::Beginning)?;
            }
            consumer.assign(&partitions)?;
            Ok(Arc::new(consumer))
        });
        let consumer = opening
            .await
            .map_err(|error| SinkError::retry("the program is stopping").because(error))?;
        let consumer = consumer.map_err(|error: rdkafka::error::KafkaError| {
            SinkError::halt("no consumer can be made of the options").because(error)
        })?;
        Ok(Box::new(Topic(consumer)))
    }

    async fn remove(&self, topic: &str) -> Result<(), SinkError> {
        let asked = self.admin()?.delete_topics(&[topic], &options()).await;
        done(
            topic,
            "removed",
            "Delete",
            asked,
            RDKafkaErrorCode::UnknownTopicOrPartition,
        )
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CONNECT))
        .operation_timeout(Some(CONNECT))
}

/// What an answer about one topic comes to, where one of the codes means that there is nothing to do.
fn done(
    topic: &str,
    done: &str,
    operation: &str,
    asked: Result<Vec<rdkafka::admin::TopicResult>, rdkafka::error::KafkaError>,
    nothing_to_do: RDKafkaErrorCode,
) -> Result<(), SinkError> {
    let words = format!("the topic {topic} cannot be {done}");
    let results = asked.map_err(|error| SinkError::retry(words.clone()).because(error))?;
    for (_, code) in results.into_iter().filter_map(Result::err) {
        match code {
            code if code == nothing_to_do => {}
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                return Err(SinkError::halt(format!(
                    "{words}: {code}; allow the principal {operation} on topics whose names begin with onewrite.verify. (with Create, \
                     Delete, Describe, Read and Write there verify needs nothing else)"
                )));
            }
            code => return Err(SinkError::retry(format!("{words}: {code}"))),
        }
    }
    Ok(())
}

/// All partitions of a topic.
struct Topic(Arc<BaseConsumer<Context>>);

#[async_trait]
impl Reading for Topic {
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, SinkError> {
        let consumer = Arc::clone(&self.0);
        let reading = tokio::task::spawn_blocking(move || poll(&consumer, wait));
        reading
            .await
            .unwrap_or_else(|error| Err(SinkError::retry("the program is stopping").because(error)))
    }
}

fn poll(consumer: &BaseConsumer<Context>, mut wait: Duration) -> Result<Vec<Arrived>, SinkError> {
    let mut arrived = Vec::new();
    while arrived.len() < READ_RECORDS {
        match consumer.poll(wait) {
            Some(Ok(record)) => arrived.push(event(&record)),
            None => break,
            // The client connects anew by itself.
            Some(Err(_)) if !arrived.is_empty() => break,
            Some(Err(error)) => return Err(SinkError::retry("reading the topic").because(error)),
        }
        wait = Duration::ZERO;
    }
    Ok(arrived)
}

fn event(record: &BorrowedMessage<'_>) -> Arrived {
    let headers = record.headers().into_iter().flat_map(|headers| headers.iter());
    let id = headers
        .filter(|header| header.key == HEADER_ID)
        .find_map(|header| header.value);
    let id = id.and_then(|id| std::str::from_utf8(id).ok());
    Arrived::new(id, record.payload().unwrap_or_default().to_vec())
}

/// A client that is quiet: what matters comes back as errors.
struct Context {
    token_file: Option<PathBuf>,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        token(self.token_file.as_deref())
    }
}

impl ConsumerContext for Context {}
