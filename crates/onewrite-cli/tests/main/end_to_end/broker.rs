//! What the end of the way must be able to do, whichever broker it is.

use async_trait::async_trait;
use onewrite_testkit::conformance::sink::Arrived;
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::{Artemis, Kafka, Mosquitto, Nats, RabbitMq, Redis};
use uuid::Uuid;

/// A broker with a destination for the events of a topic, which something independent of the relay can read.
#[async_trait]
pub trait Broker: Send + Sync {
    /// The keys of a sink's section that delivers to it.
    fn sink(&self, topic: &str) -> String;

    /// `kill -9`.
    async fn kill(&self);

    /// Starts it again, with what it holds.
    async fn start_again(&self);

    /// The ids of everything that it holds, duplicates included, in an order that keeps that of each key.
    async fn delivered(&self, topic: &str) -> Vec<Uuid>;
}

#[async_trait]
impl Broker for Kafka {
    fn sink(&self, _topic: &str) -> String {
        format!("type = \"kafka\"\nbrokers = [\"{}\"]", self.bootstrap())
    }

    async fn kill(&self) {
        self.kill9().await;
    }

    async fn start_again(&self) {
        self.restart().await;
    }

    async fn delivered(&self, topic: &str) -> Vec<Uuid> {
        // A key is in one partition, so partition by partition keeps each key's order.
        let records = self.read_all(topic).await;
        let id = |text: &str| text.parse().expect("an id is a UUID");
        records
            .iter()
            .map(|record| id(record.header("onewrite-id").expect("every record has its id")))
            .collect()
    }
}

#[async_trait]
impl Broker for RabbitMq {
    fn sink(&self, _topic: &str) -> String {
        let url = self.url();
        format!("type = \"rabbitmq\"\nurls = [\"{url}\"]\nuser = \"guest\"\npassword = \"guest\"")
    }

    async fn kill(&self) {
        self.kill9().await;
    }

    async fn start_again(&self) {
        self.restart().await;
    }

    async fn delivered(&self, topic: &str) -> Vec<Uuid> {
        ids(self.read_all(topic).await)
    }
}

#[async_trait]
impl Broker for Artemis {
    fn sink(&self, _topic: &str) -> String {
        let url = self.url();
        format!("type = \"amqp1\"\nurls = [\"{url}\"]\nuser = \"relay\"\npassword = \"relay-secret\"")
    }

    async fn kill(&self) {
        self.kill9().await;
    }

    async fn start_again(&self) {
        self.restart().await;
    }

    async fn delivered(&self, topic: &str) -> Vec<Uuid> {
        ids(self.read_all(topic).await)
    }
}

#[async_trait]
impl Broker for Redis {
    fn sink(&self, _topic: &str) -> String {
        format!("type = \"redis\"\nurls = [\"{}\"]", self.url())
    }

    async fn kill(&self) {
        self.kill9().await;
    }

    async fn start_again(&self) {
        self.restart().await;
    }

    async fn delivered(&self, topic: &str) -> Vec<Uuid> {
        ids(self.read_all(topic).await)
    }
}

/// A NATS server with a stream, which has a name of its own.
pub struct Stream(pub Nats);

impl Stream {
    pub const NAME: &'static str = "EVENTS";
}

#[async_trait]
impl Broker for Stream {
    fn sink(&self, _topic: &str) -> String {
        format!("type = \"nats\"\nurls = [\"{}\"]", self.0.url())
    }

    async fn kill(&self) {
        self.0.kill9().await;
    }

    async fn start_again(&self) {
        self.0.restart().await;
    }

    async fn delivered(&self, _topic: &str) -> Vec<Uuid> {
        ids(self.0.read_all(Self::NAME).await)
    }
}

/// Mosquitto with a subscriber. It acknowledges before it writes anything to disk, so a plain kill loses what is delivered, as
/// the sink's page says. Here it is killed when no acknowledgement of what is not on disk can get through any more.
pub struct Subscribed {
    broker: Mosquitto,
    proxy: FaultProxy,
}

impl Subscribed {
    pub async fn start(topic: &str) -> Self {
        let broker = Mosquitto::start(&[("max_inflight_messages", "1000")], &[]).await;
        broker.subscribe(topic).await;
        let proxy = FaultProxy::start(([127, 0, 0, 1], broker.port()).into()).await;
        Self {
            broker,
            proxy: proxy.expect("a port"),
        }
    }
}

#[async_trait]
impl Broker for Subscribed {
    fn sink(&self, _topic: &str) -> String {
        format!("type = \"mqtt\"\nurls = [\"mqtt://{}\"]", self.proxy.address())
    }

    async fn kill(&self) {
        self.proxy.set(ProxyMode::HalfOpen);
        self.broker.save().await;
        self.broker.kill9().await;
        self.proxy.set(ProxyMode::Reset);
    }

    async fn start_again(&self) {
        self.broker.restart().await;
        self.proxy.set(ProxyMode::Pass);
    }

    async fn delivered(&self, topic: &str) -> Vec<Uuid> {
        ids(self.broker.read_all(topic).await)
    }
}

fn ids(arrived: Vec<Arrived>) -> Vec<Uuid> {
    arrived.into_iter().map(|arrived| arrived.id).collect()
}
