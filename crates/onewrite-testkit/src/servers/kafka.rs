//! Apache Kafka, one node that is broker and controller (KRaft).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rustix::process::Signal;
use tokio::sync::OnceCell;

use super::aside::aside;
use super::kafka_process::Broker;
use super::kafka_records::{self, Record};
use crate::wait;

/// A Kafka broker of the test's own. Topics are not created automatically. Clones are the same broker; it ends with the
/// last.
///
/// It has two listeners on 127.0.0.1: `BROKER`, always plain, which [`bootstrap`](Self::bootstrap) names and the fixture
/// itself uses, and `CLIENT`, for which a test may choose TLS or SASL by the setting `listener.security.protocol.map`.
#[derive(Clone)]
pub struct Kafka {
    broker: Arc<Broker>,
    shared: bool,
}

impl Kafka {
    /// Starts a broker with further settings of `server.properties`.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_telling(settings, None).await
    }

    /// Starts a broker that tells clients of the listener `CLIENT` to connect to this port of 127.0.0.1, where a test stands
    /// between them and [`client_bootstrap`](Self::client_bootstrap).
    pub async fn start_behind(port: u16, settings: &[(&str, &str)]) -> Self {
        Self::start_telling(settings, Some(port)).await
    }

    async fn start_telling(settings: &[(&str, &str)], told: Option<u16>) -> Self {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let broker = aside(move || {
            let broker = Broker::prepare(&settings, told);
            broker.start();
            broker
        });
        Self {
            broker: Arc::new(broker.await),
            shared: false,
        }
    }

    /// The one broker that all tests of a process share, each with topics of its own names. It cannot be stopped.
    pub async fn shared() -> Self {
        static BROKER: OnceCell<Kafka> = OnceCell::const_new();
        let start = async || Self {
            shared: true,
            ..Self::start(&[]).await
        };
        BROKER.get_or_init(start).await.clone()
    }

    /// The address of the plain listener, `127.0.0.1:PORT`; the same after every restart.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.broker.broker_port())
    }

    /// The address of the listener `CLIENT`.
    pub fn client_bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.broker.client_port())
    }

    /// The directory with Kafka's own jars, those of Kafka Connect among them.
    pub fn libraries(&self) -> PathBuf {
        self.broker.libraries().to_owned()
    }

    /// The port of [`client_bootstrap`](Self::client_bootstrap), for a test that stands in between.
    pub fn client_port(&self) -> u16 {
        self.broker.client_port()
    }

    /// The directory of everything that the broker keeps.
    pub fn data_directory(&self) -> PathBuf {
        self.broker.process().home().data()
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.broker.process().pid()
    }

    /// The file with the broker's own messages.
    pub fn log(&self) -> PathBuf {
        self.broker.process().home().log()
    }

    /// Creates a topic with settings such as `("max.message.bytes", "2000")`, and waits until its partitions have a leader.
    pub async fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("an admin client");
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        topic.config.extend_from_slice(settings);
        let options = AdminOptions::new()
            .request_timeout(Some(wait::PATIENCE))
            .operation_timeout(Some(wait::PATIENCE));
        let results = admin.create_topics([&topic], &options).await;
        let results = results.unwrap_or_else(|error| panic!("create the topic {name}: {error}"));
        for result in results {
            result.unwrap_or_else(|(name, code)| panic!("create the topic {name}: {code}"));
        }
        let name = name.to_owned();
        let led = move || {
            let metadata = admin.inner().fetch_metadata(Some(&name), Duration::from_secs(5));
            metadata.is_ok_and(|metadata| {
                let topics = metadata.topics();
                topics
                    .iter()
                    .all(|topic| topic.error().is_none() && topic.partitions().iter().all(|p| p.leader() >= 0))
            })
        };
        assert!(
            aside(|| wait::holds(led)).await,
            "a partition of the new topic has no leader"
        );
    }

    /// Gives a topic these settings, and for all others the broker's.
    pub async fn configure_topic(&self, name: &str, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("an admin client");
        let mut topic = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (name, value) in settings {
            topic = topic.set(name, value);
        }
        let options = AdminOptions::new().request_timeout(Some(wait::PATIENCE));
        let results = admin.alter_configs([&topic], &options).await;
        let results = results.unwrap_or_else(|error| panic!("configure the topic {name}: {error}"));
        for result in results {
            result.unwrap_or_else(|(_, code)| panic!("configure the topic {name}: {code}"));
        }
    }

    /// Everything in a topic, read by a consumer of its own to the end that it finds, by partition and offset; of
    /// transactions only what is committed.
    pub async fn read_all(&self, topic: &str) -> Vec<Record> {
        let (config, topic) = (self.client(), topic.to_owned());
        aside(move || kafka_records::read_all(config, &topic)).await
    }

    /// How many offsets the topic's partitions have given out, all together: without transactions, its records.
    pub async fn count(&self, topic: &str) -> i64 {
        let counted = self.try_count(topic).await;
        counted.unwrap_or_else(|error| panic!("the end of {topic}: {error}"))
    }

    /// The same while the broker may have no answer.
    ///
    /// # Errors
    /// The broker has none for a long time, or one in other words.
    pub async fn try_count(&self, topic: &str) -> Result<i64, KafkaError> {
        let (config, topic) = (self.client(), topic.to_owned());
        aside(move || kafka_records::count(config, &topic)).await
    }

    /// Runs a class of Kafka's own tools against this broker, such as `kafka.admin.ConfigCommand` to add a
    /// SCRAM user, and returns what it printed.
    pub async fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut all = vec!["--bootstrap-server".to_owned(), self.bootstrap()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let (broker, class) = (Arc::clone(&self.broker), class.to_owned());
        aside(move || broker.tool(&class, &all)).await
    }

    /// Freezes the broker: connections stay open and nothing answers.
    pub fn stop(&self) {
        self.require_own();
        self.broker.process().home().signal(Signal::STOP);
    }

    /// Ends [`stop`](Self::stop).
    pub fn continue_(&self) {
        self.require_own();
        self.broker.process().home().signal(Signal::CONT);
    }

    /// Kills the broker, as a crash does. It stays down until [`restart`](Self::restart).
    pub async fn kill9(&self) {
        self.change(|broker| broker.process().kill()).await;
    }

    /// Shuts the broker down in order. It stays down until [`restart`](Self::restart).
    pub async fn shut_down(&self) {
        self.change(|broker| broker.process().stop(Signal::TERM)).await;
    }

    /// Starts it again, on the same ports and data, and waits until it serves; first shuts it down if it runs.
    pub async fn restart(&self) {
        let restart = |broker: &Broker| {
            broker.process().stop(Signal::TERM);
            broker.start();
        };
        self.change(restart).await;
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config
    }

    async fn change(&self, change: impl FnOnce(&Broker) + Send + 'static) {
        self.require_own();
        let broker = Arc::clone(&self.broker);
        aside(move || change(&broker)).await;
    }

    fn require_own(&self) {
        assert!(
            !self.shared,
            "other tests use the shared broker; a test that stops one starts its own"
        );
    }
}
