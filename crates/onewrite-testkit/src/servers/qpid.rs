//! Apache Qpid Broker-J.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::aside::aside;
use super::home::Home;
use super::java_broker::{JavaBroker, java};
use super::port::Port;
use super::{amqp_reader, cache};
use crate::conformance::sink::Arrived;

const USER: &str = "relay";
const PASSWORD: &str = "relay-secret";

/// The largest message that the broker takes.
const MESSAGE_BYTES_MAX: usize = 2_000_000;

/// A broker of the test's own, with a store on disk that is synchronised before it acknowledges. Nothing is created on demand,
/// and no message may be larger than 2,000,000 bytes.
/// Clones are the same broker; it ends with the last.
#[derive(Clone)]
pub struct Qpid {
    broker: JavaBroker,
    ports: Arc<(Port, Port)>,
}

impl Qpid {
    /// Starts a broker.
    pub async fn start() -> Self {
        let version = cache::version("qpid");
        let package = format!("Qpid Broker-J {version}, Maven package org.apache.qpid:apache-qpid-broker-j");
        let libraries = cache::server(&format!("qpid-{version}"), &package);
        let ports = (Port::take(), Port::take());
        let home = Home::new("qpid", "KILL");
        fs::create_dir_all(home.data()).expect("create the data directory");
        let configuration = configuration(ports.0.number(), ports.1.number());
        fs::write(home.path().join("initial.json"), configuration).expect("write a configuration");
        let start = move |home: &Home| {
            let mut command = java(&libraries, "-Xmx256m");
            command
                .arg(format!("-Dqpid.work_dir={}", home.data().join("work").display()))
                .arg(format!("-Dqpid.max_message_size={MESSAGE_BYTES_MAX}"))
                .args(["org.apache.qpid.server.Main", "-icp"])
                .arg(home.path().join("initial.json"));
            command
        };
        Self {
            broker: JavaBroker::start("Qpid", home, "BRK-1004", start).await,
            ports: Arc::new(ports),
        }
    }

    /// The one broker that all tests of a process share, each with queues of its own names. Nobody stops it.
    pub async fn shared() -> Self {
        static BROKER: OnceCell<Qpid> = OnceCell::const_new();
        BROKER.get_or_init(Self::start).await.clone()
    }

    /// Where clients connect to: `amqp://127.0.0.1:PORT`, the same after every restart. The user `relay` with the password
    /// `relay-secret` may do everything.
    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port())
    }

    /// The port of [`url`](Self::url).
    pub fn port(&self) -> u16 {
        self.ports.0.number()
    }

    /// Creates an object of the virtual host, or gives it other attributes (JSON): `queue/orders`, `exchange/events`.
    pub async fn put(&self, object: &str, attributes: &str) {
        self.manage("PUT", object, attributes).await;
    }

    /// Deletes an object of the virtual host.
    pub async fn delete(&self, object: &str) {
        self.manage("DELETE", object, "").await;
    }

    /// Everything in the queue of this name, in its order, and it stays there.
    pub async fn read_all(&self, queue: &str) -> Vec<Arrived> {
        let (port, queue) = (self.port(), queue.to_owned());
        aside(move || amqp_reader::read_all(port, USER, PASSWORD, &queue)).await
    }

    /// Kills the broker, as a crash does. It stays down until [`restart`](Self::restart).
    pub async fn kill9(&self) {
        self.broker.kill9().await;
    }

    /// Starts it again on its ports and data; first shuts it down if it runs.
    pub async fn restart(&self) {
        self.broker.restart().await;
    }

    /// One request to the broker's management interface.
    async fn manage(&self, method: &str, object: &str, body: &str) {
        let (kind, name) = object.split_once('/').expect("kind/name");
        let credentials = base64(format!("{USER}:{PASSWORD}").as_bytes());
        let request = format!(
            "{method} /api/latest/{kind}/default/default/{name} HTTP/1.0\r\nauthorization: Basic {credentials}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let port = self.ports.1.number();
        let answer = aside(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connect to Qpid's management");
            stream.write_all(request.as_bytes()).expect("write a request");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("read an answer");
            answer
        })
        .await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "{method} {object}: {answer}");
    }
}

fn configuration(port: u16, management: u16) -> String {
    serde_json::json!({
        "name": "onewrite",
        "modelVersion": "9.1",
        "authenticationproviders": [{
            "name": "users",
            "type": "Plain",
            "secureOnlyMechanisms": [],
            "users": [{"name": USER, "type": "managed", "password": PASSWORD}],
        }],
        "ports": [
            {
                "name": "AMQP",
                "type": "AMQP",
                "bindingAddress": "127.0.0.1",
                "port": port,
                "authenticationProvider": "users",
                "protocols": ["AMQP_1_0"],
                "virtualhostaliases": [
                    {"name": "nameAlias", "type": "nameAlias"},
                    {"name": "defaultAlias", "type": "defaultAlias"},
                    {"name": "hostnameAlias", "type": "hostnameAlias"},
                ],
            },
            {
                "name": "HTTP",
                "type": "HTTP",
                "bindingAddress": "127.0.0.1",
                "port": management,
                "authenticationProvider": "users",
                "protocols": ["HTTP"],
            },
        ],
        "virtualhostnodes": [{
            "name": "default",
            "type": "JSON",
            "defaultVirtualHostNode": "true",
            "virtualHostInitialConfiguration": "{\"type\": \"BDB\"}",
        }],
        "plugins": [{
            "type": "MANAGEMENT-HTTP",
            "name": "httpManagement",
            "httpBasicAuthenticationEnabled": true,
        }],
    })
    .to_string()
}

/// For one header; the testkit has no crate for it.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let group = u32::from_be_bytes(group);
        for at in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
