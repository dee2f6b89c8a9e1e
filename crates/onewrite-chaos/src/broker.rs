//! What the end of the way must be able to do, whichever broker it is.

use std::collections::HashMap;
use std::path::PathBuf;

use async_trait::async_trait;
use onewrite_testkit::conformance::sink::Arrived;
use onewrite_testkit::faults::{FaultProxy, ProxyMode};
use onewrite_testkit::servers::{Artemis, Kafka, Mosquitto, Nats, RabbitMq, Redis};
use serde_json::{Value, json};
use uuid::Uuid;

/// A setting of a topic in Kafka by which records have the time of their arrival.
pub const KAFKA_TIMES: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

/// A broker with a destination for the events of a topic, which something independent of the relay can read.
#[async_trait]
pub trait Broker: Send + Sync {
    /// The port of 127.0.0.1 that clients connect to.
    fn port(&self) -> u16;

    /// The keys of a sink's section that delivers to it by this port, which may be that of a proxy in front of it.
    fn sink_at(&self, port: u16) -> String;

    /// The same without anything in between.
    fn sink(&self) -> String {
        self.sink_at(self.port())
    }

    /// `kill -9`.
    async fn kill(&self);

    /// Starts it again, with what it holds.
    async fn start_again(&self);

    /// The ids of everything that it holds, duplicates included, in an order that keeps that of each key.
    async fn delivered(&self, topic: &str) -> Vec<Uuid>;

    /// Whether it can tell how many events it holds without giving them out.
    fn counts(&self) -> bool {
        true
    }

    /// How many events it holds, duplicates included; none while it does not answer.
    async fn count(&self, _topic: &str) -> Option<u64> {
        None
    }

    /// When each event first arrived, in milliseconds since 1970, by the broker's own clock; empty where it keeps no such time.
    async fn arrivals(&self, _topic: &str) -> HashMap<Uuid, i64> {
        HashMap::new()
    }

    /// Makes it take nothing, as one does that is short of something, or lets it take events again.
    ///
    /// # Panics
    /// Where there is no such state; see [`Fault::inapplicable`](crate::fault::Fault::inapplicable).
    async fn refuse(&self, _topic: &str, _on: bool) {
        unreachable!("this broker cannot be made to refuse");
    }

    /// Takes the way from the topic to the destination away, or gives it back. What is at the destination stays.
    ///
    /// # Panics
    /// Where there is no such way; see [`Fault::inapplicable`](crate::fault::Fault::inapplicable).
    async fn unroute(&self, _topic: &str, _on: bool) {
        unreachable!("this broker has no way that can be taken away");
    }

    /// Whether it refuses a payload of [`POISON_PAYLOAD`](crate::limits::POISON_PAYLOAD) bytes.
    fn refuses_large(&self) -> bool {
        false
    }

    /// The directory of everything that it keeps, where that is on a disk.
    fn data_directory(&self) -> Option<PathBuf> {
        None
    }
}

#[async_trait]
impl Broker for Kafka {
    fn port(&self) -> u16 {
        self.client_port()
    }

    fn sink_at(&self, port: u16) -> String {
        format!("type = \"kafka\"\nbrokers = [\"127.0.0.1:{port}\"]")
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

    async fn count(&self, topic: &str) -> Option<u64> {
        u64::try_from(self.try_count(topic).await.ok()?).ok()
    }

    async fn arrivals(&self, topic: &str) -> HashMap<Uuid, i64> {
        let mut first = HashMap::new();
        for record in self.read_all(topic).await {
            let id = record.header("onewrite-id").and_then(|id| id.parse().ok());
            if let (Some(id), Some(time)) = (id, record.timestamp) {
                first.entry(id).or_insert(time);
            }
        }
        first
    }

    async fn refuse(&self, topic: &str, on: bool) {
        let replicas = if on { "2" } else { "1" };
        self.configure_topic(topic, &[KAFKA_TIMES, ("min.insync.replicas", replicas)])
            .await;
    }

    fn refuses_large(&self) -> bool {
        true
    }

    fn data_directory(&self) -> Option<PathBuf> {
        Some(self.data_directory())
    }
}

#[async_trait]
impl Broker for RabbitMq {
    fn port(&self) -> u16 {
        self.port()
    }

    fn sink_at(&self, port: u16) -> String {
        let url = format!("amqp://127.0.0.1:{port}");
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
    fn port(&self) -> u16 {
        self.port()
    }

    fn sink_at(&self, port: u16) -> String {
        let url = format!("amqp://127.0.0.1:{port}");
        format!("type = \"amqp1\"\nurls = [\"{url}\"]\nuser = \"relay\"\npassword = \"relay-secret\"")
    }

    fn counts(&self) -> bool {
        false
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
    fn port(&self) -> u16 {
        self.port()
    }

    fn sink_at(&self, port: u16) -> String {
        format!("type = \"redis\"\nurls = [\"redis://127.0.0.1:{port}\"]")
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

    async fn count(&self, topic: &str) -> Option<u64> {
        self.length(topic).await
    }

    async fn refuse(&self, _topic: &str, on: bool) {
        let bytes = if on { "1" } else { "0" };
        self.command(&["CONFIG", "SET", "maxmemory", bytes]).await;
    }

    fn data_directory(&self) -> Option<PathBuf> {
        Some(self.data_directory())
    }
}

/// A RabbitMQ node whose queue is behind an exchange, so that the way into it can be taken away.
pub struct Bound(RabbitMq);

impl Bound {
    const EXCHANGE: &'static str = "shop";

    /// A quorum queue, bound under its own name.
    pub async fn start(topic: &str) -> Self {
        // The limit beyond which a message is poison.
        let rabbitmq = RabbitMq::start(&[("max_message_size", "1000000")]).await;
        rabbitmq.create_queue(topic, "quorum").await;
        rabbitmq.create_exchange(Self::EXCHANGE, "topic").await;
        rabbitmq.bind(topic, Self::EXCHANGE, topic).await;
        Self(rabbitmq)
    }
}

#[async_trait]
impl Broker for Bound {
    fn port(&self) -> u16 {
        self.0.port()
    }

    fn sink_at(&self, port: u16) -> String {
        format!("{}\nexchange = \"{}\"", self.0.sink_at(port), Self::EXCHANGE)
    }

    async fn kill(&self) {
        self.0.kill9().await;
    }

    async fn start_again(&self) {
        self.0.restart().await;
    }

    async fn delivered(&self, topic: &str) -> Vec<Uuid> {
        self.0.delivered(topic).await
    }

    async fn count(&self, topic: &str) -> Option<u64> {
        self.0.length(topic).await
    }

    async fn refuse(&self, _topic: &str, on: bool) {
        self.0.memory_alarm(on).await;
    }

    async fn unroute(&self, topic: &str, on: bool) {
        match on {
            true => self.0.unbind(topic, Self::EXCHANGE, topic).await,
            false => self.0.bind(topic, Self::EXCHANGE, topic).await,
        }
    }

    fn refuses_large(&self) -> bool {
        true
    }

    fn data_directory(&self) -> Option<PathBuf> {
        Some(self.0.data_directory())
    }
}

/// A NATS server with a stream, which has a name of its own.
pub struct Stream(Nats);

impl Stream {
    const NAME: &'static str = "EVENTS";

    /// An empty stream for a topic.
    pub async fn start(topic: &str) -> Self {
        let nats = Nats::start("").await;
        nats.create_stream(Self::NAME, &[topic], Self::settings(-1)).await;
        Self(nats)
    }

    fn settings(most: i64) -> Value {
        // A window of duplicates would hide what the relay repeats. A full stream is to refuse what is new.
        json!({"duplicate_window": 100_000_000, "discard": "new", "max_msgs": most})
    }
}

#[async_trait]
impl Broker for Stream {
    fn port(&self) -> u16 {
        let address = self.0.address();
        let port = address.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("an address ends with its port")
    }

    fn sink_at(&self, port: u16) -> String {
        format!("type = \"nats\"\nurls = [\"nats://127.0.0.1:{port}\"]")
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

    async fn count(&self, _topic: &str) -> Option<u64> {
        let info = self.0.api(&format!("STREAM.INFO.{}", Self::NAME), json!({})).await;
        info["state"]["messages"].as_u64()
    }

    async fn refuse(&self, topic: &str, on: bool) {
        let most = if on { 1 } else { -1 };
        self.0.update_stream(Self::NAME, &[topic], Self::settings(most)).await;
    }

    async fn unroute(&self, topic: &str, on: bool) {
        let subject = if on { "nowhere" } else { topic };
        self.0.update_stream(Self::NAME, &[subject], Self::settings(-1)).await;
    }

    fn refuses_large(&self) -> bool {
        true
    }

    fn data_directory(&self) -> Option<PathBuf> {
        Some(self.0.data_directory())
    }
}

/// Mosquitto with a subscriber. It acknowledges before it writes anything to disk, so a plain kill loses what is delivered, as
/// the sink's page says. Here it is killed when no acknowledgement of what is not on disk can get through any more.
pub struct Subscribed {
    broker: Mosquitto,
    proxy: FaultProxy,
}

impl Subscribed {
    /// An empty broker with a subscriber to a topic.
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
    fn port(&self) -> u16 {
        self.proxy.address().port()
    }

    fn sink_at(&self, port: u16) -> String {
        format!("type = \"mqtt\"\nurls = [\"mqtt://127.0.0.1:{port}\"]")
    }

    fn counts(&self) -> bool {
        false
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
