//! NATS with JetStream, three servers.

use std::sync::Arc;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::aside::aside;
use super::nats::stream;
use super::nats_process::{Server, api, read_all};
use super::port::Port;
use crate::conformance::sink::Arrived;

/// How many servers: the least that goes on without one.
const SERVERS: usize = 3;

/// A cluster of three NATS servers of the test's own. Clones are the same cluster; it ends with the last.
#[derive(Clone)]
pub struct NatsCluster {
    servers: Arc<Vec<Server>>,
    _routes: Arc<Vec<Port>>,
}

impl NatsCluster {
    /// Starts the cluster and waits until its JetStream has a leader.
    pub async fn start() -> Self {
        let routes: Vec<Port> = (0..SERVERS).map(|_| Port::take()).collect();
        let all: Vec<String> = routes
            .iter()
            .map(|port| format!("\"nats://127.0.0.1:{}\"", port.number()))
            .collect();
        let all = all.join(", ");
        let bases: Vec<_> = routes
            .iter()
            .map(|port| {
                let own = port.number();
                format!("cluster {{ name: checked, listen: \"127.0.0.1:{own}\", routes: [{all}] }}")
            })
            .collect();
        let servers = aside(move || {
            let start = |(at, base): (usize, &String)| {
                let server = Server::prepare(&name(at), None, base);
                server.configure("");
                server.start();
                server
            };
            bases.iter().enumerate().map(start).collect::<Vec<_>>()
        });
        let cluster = Self {
            servers: Arc::new(servers.await),
            _routes: Arc::new(routes),
        };
        cluster.api("INFO", json!({})).await;
        cluster
    }

    /// Where the servers listen, as `nats://HOST:PORT`, in their order.
    pub fn urls(&self) -> Vec<String> {
        self.addresses()
            .iter()
            .map(|address| format!("nats://{address}"))
            .collect()
    }

    /// Creates a stream in files on all three servers that takes these subjects.
    pub async fn create_stream(&self, name: &str, subjects: &[&str]) {
        let body = stream(name, subjects, json!({ "num_replicas": SERVERS }));
        self.api(&format!("STREAM.CREATE.{name}"), body).await;
    }

    /// Sends a request of the JetStream API until one of the servers does it, and returns the answer.
    pub async fn api(&self, request: &str, body: Value) -> Value {
        api(self.addresses(), request, body).await
    }

    /// Which server leads a stream at present.
    pub async fn leader(&self, stream: &str) -> usize {
        loop {
            let info = self.api(&format!("STREAM.INFO.{stream}"), json!({})).await;
            let leader = info["cluster"]["leader"].as_str();
            if let Some(at) = (0..SERVERS).find(|at| leader == Some(&name(*at))) {
                return at;
            }
        }
    }

    /// Everything that a stream holds, in the order of arrival, as soon as the cluster can tell. Nothing is consumed.
    pub async fn read_all(&self, stream: &str) -> Vec<Arrived> {
        read_all(self.addresses(), stream).await
    }

    /// Kills a server, as a crash does. It stays down until [`restart`](Self::restart).
    pub async fn kill9(&self, server: usize) {
        let servers = Arc::clone(&self.servers);
        aside(move || servers[server].process().kill()).await;
    }

    /// Starts it again, on the same ports and data; first shuts it down if it runs.
    pub async fn restart(&self, server: usize) {
        let servers = Arc::clone(&self.servers);
        aside(move || {
            servers[server].process().stop(Signal::TERM);
            servers[server].start();
        })
        .await;
    }

    fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(Server::address).collect()
    }
}

fn name(server: usize) -> String {
    format!("server-{server}")
}
