//! RabbitMQ, one node.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::aside::aside;
use super::rabbitmq_bytes::Table;
use super::rabbitmq_client::{Client, Published};
use super::rabbitmq_process::Node;
use super::rabbitmq_reader;
use crate::conformance::sink::Arrived;
use crate::wait;

/// A RabbitMQ node of the test's own, with the user `guest` (password `guest`) and the virtual host `/`. Clones are the same node;
/// it ends with the last.
#[derive(Clone)]
pub struct RabbitMq {
    node: Arc<Node>,
    /// Quorum queues that this fixture has made.
    quorum_queues: Arc<Mutex<BTreeSet<String>>>,
    shared: bool,
}

impl RabbitMq {
    /// Starts a node with further settings of `rabbitmq.conf`. In a value, `{encrypted_port}` stands for the port of
    /// [`encrypted_url`](Self::encrypted_url), where the node listens if the settings ask for it.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let node = aside(move || {
            let node = Node::prepare(&settings);
            node.start();
            node
        });
        Self {
            node: Arc::new(node.await),
            quorum_queues: Arc::default(),
            shared: false,
        }
    }

    /// The one node that all tests of a process share, each with queues, exchanges and users of its own names. It cannot be
    /// stopped, and its alarms are nobody's to set.
    pub async fn shared() -> Self {
        static NODE: OnceCell<RabbitMq> = OnceCell::const_new();
        let start = async || Self {
            shared: true,
            ..Self::start(&[]).await
        };
        NODE.get_or_init(start).await.clone()
    }

    /// Where clients connect to, such as `amqp://127.0.0.1:18672`.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.node.port())
    }

    /// The same encrypted.
    pub fn encrypted_url(&self) -> String {
        format!("amqps://127.0.0.1:{}", self.node.encrypted_port())
    }

    /// The port of [`url`](Self::url), for a test that stands in between.
    pub fn port(&self) -> u16 {
        self.node.port()
    }

    /// Makes a durable queue of this type: `quorum` or `classic`.
    pub async fn create_queue(&self, name: &str, queue_type: &str) {
        self.create_queue_with(name, queue_type, Table::new()).await;
    }

    /// The same with further arguments, such as `x-max-length`.
    pub async fn create_queue_with(&self, name: &str, queue_type: &str, arguments: Table) {
        if queue_type == "quorum" {
            self.quorum_queues().insert(name.to_owned());
        }
        let (name, arguments) = (name.to_owned(), arguments.text("x-queue-type", queue_type));
        self.ask(move |client| client.declare_queue(&name, true, &arguments))
            .await;
    }

    /// Makes a classic queue that a restart of the node ends.
    pub async fn create_transient_queue(&self, name: &str) {
        let name = name.to_owned();
        self.ask(move |client| client.declare_queue(&name, false, &Table::new()))
            .await;
    }

    /// Deletes a queue with all that it holds.
    pub async fn delete_queue(&self, name: &str) {
        self.quorum_queues().remove(name);
        let name = name.to_owned();
        self.ask(move |client| client.delete_queue(&name)).await;
    }

    /// Makes a durable exchange of this type, such as `topic`.
    pub async fn create_exchange(&self, name: &str, kind: &str) {
        let (name, kind) = (name.to_owned(), kind.to_owned());
        self.ask(move |client| client.declare_exchange(&name, &kind)).await;
    }

    /// Deletes an exchange.
    pub async fn delete_exchange(&self, name: &str) {
        let name = name.to_owned();
        self.ask(move |client| client.delete_exchange(&name)).await;
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&self, queue: &str, exchange: &str, routing_key: &str) {
        let (queue, exchange, key) = (queue.to_owned(), exchange.to_owned(), routing_key.to_owned());
        self.ask(move |client| client.bind(&queue, &exchange, &key)).await;
    }

    /// Ends a binding of a queue to an exchange.
    pub async fn unbind(&self, queue: &str, exchange: &str, routing_key: &str) {
        let (queue, exchange, key) = (queue.to_owned(), exchange.to_owned(), routing_key.to_owned());
        self.ask(move |client| client.unbind(&queue, &exchange, &key)).await;
    }

    /// How many messages are in a queue that nobody consumes; none while the node does not answer.
    pub async fn length(&self, queue: &str) -> Option<u64> {
        let (port, queue) = (self.port(), queue.to_owned());
        let counted = aside(move || Client::connect(port)?.count(&queue)).await;
        counted.ok().map(|(messages, _)| messages.into())
    }

    /// The directory of everything that the node keeps.
    pub fn data_directory(&self) -> PathBuf {
        self.node.process().home().data()
    }

    /// Whether a queue of this name is there.
    pub async fn has_queue(&self, name: &str) -> bool {
        let (port, name) = (self.port(), name.to_owned());
        aside(move || {
            let mut client = Client::connect(port).expect("connect to RabbitMQ");
            client.count(&name).is_ok()
        })
        .await
    }

    /// Everything in a queue, in its order, as it was delivered to a consumer that gives it all back.
    ///
    /// # Panics
    /// When the queue cannot be read for a long time.
    pub async fn read_all(&self, queue: &str) -> Vec<Arrived> {
        let published = self.read_published(queue).await;
        published.into_iter().map(rabbitmq_reader::arrived).collect()
    }

    /// The same as the messages are, with their properties.
    pub async fn read_published(&self, queue: &str) -> Vec<Published> {
        let (port, queue) = (self.port(), queue.to_owned());
        aside(move || rabbitmq_reader::read_all(port, &queue)).await
    }

    /// Runs `rabbitmqctl` with these arguments, which takes a second or two, and returns what it printed.
    pub async fn control(&self, arguments: &[&str]) -> String {
        let (node, arguments) = (Arc::clone(&self.node), owned(arguments));
        aside(move || node.tool("rabbitmqctl", &arguments)).await
    }

    /// Sets or lifts the alarm that blocks all publishers, as a node does that is short of memory.
    pub async fn memory_alarm(&self, on: bool) {
        self.require_own();
        let fraction = if on { "0.000001" } else { "0.9" };
        self.control(&["set_vm_memory_high_watermark", fraction]).await;
    }

    /// Kills the node, as a crash does. It stays down until [`restart`](Self::restart).
    ///
    /// RabbitMQ writes down which quorum queues there are half a second after it made them, and one that is missing there after a
    /// crash neither takes nor gives anything ever after; no test is about that, so this waits until those of the fixture are there.
    pub async fn kill9(&self) {
        let queues = self.quorum_queues().clone();
        let kill = move |node: &Node| {
            for queue in queues {
                wait::until_blocking("RabbitMQ writes down a quorum queue", || node.has_written_down(&queue));
            }
            node.process().kill();
        };
        self.change(kill).await;
    }

    /// Starts it again, on the same ports and data, and waits until it answers; first kills it if it runs.
    pub async fn restart(&self) {
        let restart = |node: &Node| {
            node.process().kill();
            node.start();
        };
        self.change(restart).await;
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Client) -> Result<T, String> + Send + 'static,
    ) -> T {
        let port = self.port();
        aside(move || {
            let mut client = Client::connect(port).unwrap_or_else(|error| panic!("connect to RabbitMQ: {error}"));
            question(&mut client).unwrap_or_else(|error| panic!("RabbitMQ refuses: {error}"))
        })
        .await
    }

    async fn change(&self, change: impl FnOnce(&Node) + Send + 'static) {
        self.require_own();
        let node = Arc::clone(&self.node);
        aside(move || change(&node)).await;
    }

    fn quorum_queues(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.quorum_queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn require_own(&self) {
        assert!(
            !self.shared,
            "other tests use the shared node; a test that harms one starts its own"
        );
    }
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}
