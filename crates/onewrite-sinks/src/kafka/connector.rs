//! Connecting, and what is remembered from one producer to the next.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use onewrite_core::error::SinkError;
use onewrite_core::sink::{CloudEventsBinding, Finding};
use onewrite_core::verify::ReadBack;
use onewrite_core::{Sink, SinkConnector};
use rdkafka::ClientConfig;
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{Producer, PurgeConfig};

use super::client::{Context, Troubles, said};
use super::flight::Flight;
use super::limits::{CLOSE, CONNECT, METADATA_TRY, REFUSAL_HOLDS, REQUEST_BYTES_MIN};
use super::native;
use super::probe;
use super::producer::ServedProducer;
use super::readback::KafkaReadBack;
use super::sink::KafkaSink;

/// Makes producers.
pub(super) struct KafkaConnector {
    /// The configured addresses, for people.
    pub brokers: String,
    /// Whether a password would travel in the clear.
    pub plain_password: bool,
    /// Whether the size of a record on the wire is unknown before it is sent.
    pub compressed: bool,
    /// Where the token of OAUTHBEARER lies.
    pub token_file: Option<PathBuf>,
    /// What one producer learned for the next.
    pub lessons: Arc<Lessons>,
    /// The client's configuration.
    pub config: ClientConfig,
}

#[async_trait]
impl SinkConnector for KafkaConnector {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    /// As CloudEvents' Kafka protocol binding 1.0.2 (3.2.3.1) has it.
    fn cloudevents(&self) -> CloudEventsBinding {
        CloudEventsBinding::prefixed("ce_")
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let link = self.link(&[]).await?;
        Ok(Box::new(KafkaSink::new(link)))
    }

    fn read_back(&self) -> Result<Box<dyn ReadBack>, &'static str> {
        Ok(Box::new(KafkaReadBack {
            config: self.config.clone(),
            token_file: self.token_file.clone(),
        }))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        probe::probe(self, topics).await
    }
}

impl KafkaConnector {
    /// A producer whose brokers answer.
    pub(super) async fn link(&self, overrides: &[(&str, &str)]) -> Result<Arc<Link>, SinkError> {
        let mut config = self.config.clone();
        for (name, value) in overrides {
            config.set(*name, *value);
        }
        let request_bytes = self.lessons.request_bytes();
        // A look at the cluster delivers nothing, and must not use the lesson up.
        let single = overrides.is_empty() && self.lessons.single.swap(false, Ordering::AcqRel);
        config.set("batch.size", request_bytes.to_string());
        if single {
            config.set("batch.num.messages", "1");
        }
        let context = Context {
            flight: Flight::new(),
            troubles: Troubles::default(),
            lessons: Arc::clone(&self.lessons),
            token_file: self.token_file.clone(),
            alone_from: if single { 0 } else { request_bytes },
        };
        let (lessons, compressed, brokers) = (Arc::clone(&self.lessons), self.compressed, self.brokers.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            check_files(&config)?;
            let producer = ServedProducer::new(&config, context).map_err(|error| unusable(&brokers, error))?;
            let link = Link {
                producer: Some(producer),
                lessons,
                request_bytes,
                single,
                compressed,
            };
            link.greet(&brokers, begun)?;
            Ok(Arc::new(link))
        });
        opening.await.unwrap_or_else(|_| {
            Err(SinkError::retry(
                "connecting to Kafka broke off: the program is stopping",
            ))
        })
    }
}

/// A producer, and what it was made for.
pub(super) struct Link {
    /// There until the link is dropped.
    producer: Option<ServedProducer>,
    /// What it learns for the next one.
    pub lessons: Arc<Lessons>,
    /// Its largest request, in bytes.
    pub request_bytes: usize,
    /// Whether every record goes in a request of its own.
    pub single: bool,
    /// Whether requests are compressed.
    pub compressed: bool,
}

impl Link {
    /// What is under way.
    pub fn flight(&self) -> &Flight {
        &self.client().context().flight
    }

    /// What went wrong lately.
    pub fn troubles(&self) -> &Troubles {
        &self.client().context().troubles
    }

    /// librdkafka's client.
    pub fn client(&self) -> &Client<Context> {
        self.producer().client()
    }

    /// Makes sure that requests fit a topic that takes only so many bytes at once; otherwise the next producer's will.
    pub fn fit(&self, topic: &str, limit: usize) {
        if limit < self.request_bytes && self.lessons.narrow(limit) {
            self.flight().retire(format!(
                "topic {topic} takes requests of {limit} bytes at most (max.message.bytes); going on with such"
            ));
        }
    }

    /// Sends nothing more, waits a little for the answers that are under way, and forgets what is left. Blocks.
    pub fn shut_down(&self) {
        // What is still in the queue is taken back first where the producer is of no more use; what is on the wire is
        // given the time to be answered, since an unanswered request may still be carried out.
        if self.flight().broken().is_some() {
            self.producer().purge(PurgeConfig::default().queue());
        }
        let _ = self.producer().flush(CLOSE);
        self.flight().break_off("the sink was closed");
        self.producer().purge(PurgeConfig::default().queue().inflight());
    }

    fn producer(&self) -> &ServedProducer {
        self.producer
            .as_ref()
            .expect("the producer is there until the link is dropped")
    }

    /// Waits for a broker to answer. Blocks.
    fn greet(&self, brokers: &str, begun: Instant) -> Result<(), SinkError> {
        loop {
            let code = match native::brokers(self.client(), METADATA_TRY) {
                Ok(_) => return Ok(()),
                Err(code) => code,
            };
            if self.troubles().are_decisive() || begun.elapsed() >= CONNECT {
                let told = self.troubles().telling(begun);
                let (code, words) = told.unwrap_or((code, said(code)));
                return Err(SinkError::retry(format!(
                    "Kafka at {brokers}: {words}{}",
                    advice(code, &words)
                )));
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        // Freeing a producer waits for its threads, which no task should do. Its records are taken back at once.
        let freeing = move || {
            producer.purge(PurgeConfig::default().queue().inflight());
            drop(producer);
        };
        if let Err(error) = std::thread::Builder::new().name("kafka-free".into()).spawn(freeing) {
            tracing::warn!(%error, "no thread could be started to free a Kafka producer");
        }
    }
}

/// What to do about an error of the connection.
fn advice(code: RDKafkaErrorCode, words: &str) -> &'static str {
    match code {
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
            "; check sasl_mechanism, username, password and token_file against the cluster's"
        }
        RDKafkaErrorCode::ClusterAuthorizationFailed => "; grant this client IdempotentWrite on the cluster",
        RDKafkaErrorCode::SSL if words.contains("certificate verify failed") => {
            "; give the authority that signed the brokers' certificates with ca_file"
        }
        RDKafkaErrorCode::SSL => "; check that this listener speaks TLS, and certificate_file and key_file",
        RDKafkaErrorCode::Resolve => "; check the name in brokers",
        RDKafkaErrorCode::BrokerTransportFailure if words.contains("Disconnected") => {
            "; a listener that expects TLS or another login closes connections like that: check tls and sasl_mechanism"
        }
        _ => "",
    }
}

/// Makes sure that the files of TLS can be read, which the client would tell without their names.
fn check_files(config: &ClientConfig) -> Result<(), SinkError> {
    let files = [
        ("ca_file", "ssl.ca.location"),
        ("certificate_file", "ssl.certificate.location"),
        ("key_file", "ssl.key.location"),
    ];
    for (name, property) in files {
        if let Some(path) = config.get(property)
            && let Err(error) = std::fs::read(path)
        {
            return Err(SinkError::retry(format!("{name} {path} cannot be read")).because(error));
        }
    }
    Ok(())
}

fn unusable(brokers: &str, error: KafkaError) -> SinkError {
    match error {
        KafkaError::ClientCreation(words) => {
            SinkError::retry(format!("no client for Kafka at {brokers} can be made: {words}"))
        }
        KafkaError::ClientConfig(_, words, name, _) => {
            SinkError::retry(format!("no client for Kafka at {brokers} can be made: {name}: {words}"))
        }
        other => SinkError::retry(format!("no client for Kafka at {brokers} can be made")).because(other),
    }
}

/// What one producer learns for those that come after it.
pub(super) struct Lessons {
    request_bytes: AtomicUsize,
    single: AtomicBool,
    refusals: Mutex<HashMap<Arc<str>, (String, Instant)>>,
}

impl Lessons {
    /// Nothing learned yet.
    pub fn new(request_bytes: usize) -> Self {
        Self {
            request_bytes: AtomicUsize::new(request_bytes),
            single: AtomicBool::new(false),
            refusals: Mutex::default(),
        }
    }

    /// The largest request that every topic takes, in bytes, as far as is known.
    pub fn request_bytes(&self) -> usize {
        self.request_bytes.load(Ordering::Relaxed)
    }

    /// Learns that requests must be no larger than `limit`; returns whether that is news.
    pub fn narrow(&self, limit: usize) -> bool {
        // The framing of a request counts too.
        let limit = limit.saturating_sub(128).max(REQUEST_BYTES_MIN);
        self.request_bytes.fetch_min(limit, Ordering::Relaxed) > limit
    }

    /// Learns that a request was refused for one of its records, or for its size: the next producer sends records one by
    /// one, so that the next refusal names the culprit.
    pub fn suspect(&self, size: bool) {
        self.single.store(true, Ordering::Release);
        if size {
            self.narrow(self.request_bytes() / 4);
        }
    }

    /// Learns that a topic takes no records for now.
    pub fn refuse(&self, topic: &Arc<str>, words: String) {
        let until = Instant::now() + REFUSAL_HOLDS;
        self.refusals().insert(Arc::clone(topic), (words, until));
    }

    /// Why a topic takes no records, if that was learned lately.
    pub fn refusal(&self, topic: &str) -> Option<String> {
        let mut refusals = self.refusals();
        let (words, until) = refusals.get(topic)?;
        if Instant::now() < *until {
            return Some(words.clone());
        }
        refusals.remove(topic);
        None
    }

    fn refusals(&self) -> MutexGuard<'_, HashMap<Arc<str>, (String, Instant)>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
