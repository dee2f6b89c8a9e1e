//! ElasticMQ, which speaks the protocol of Amazon SQS and keeps its messages in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::aside::aside;
use super::cache;
use super::elasticmq_client::{arrived, call};
use super::home::Home;
use super::port::Port;
use super::process::Process;
use crate::conformance::sink::Arrived;

/// How many readers read a queue at once. A FIFO queue hands out a group to one of them at a time.
const READERS: usize = 4;

/// A server of the test's own, with the limits of Amazon SQS. It forgets everything when it ends, and its storage on disk brings not
/// all of it back after SIGKILL, so there is no restart: where a test needs a crash, a
/// [`FaultProxy`](crate::faults::FaultProxy) plays it. Clones are the same server; it ends with the last.
#[derive(Clone)]
pub struct ElasticMq(Arc<Inner>);

struct Inner {
    libraries: PathBuf,
    process: Process,
    port: Port,
    /// What was read of each queue, since reading takes it away.
    read: Mutex<BTreeMap<String, Vec<Arrived>>>,
}

impl ElasticMq {
    /// Starts a server without queues.
    pub async fn start() -> Self {
        let inner = aside(|| {
            let version = cache::version("elasticmq");
            let package = format!("ElasticMQ {version}, Maven package org.elasticmq:elasticmq-server_2.13");
            let inner = Inner {
                libraries: cache::server(&format!("elasticmq-{version}"), &package),
                process: Process::new("ElasticMQ", Home::new("elasticmq", "KILL")),
                port: Port::take(),
                read: Mutex::default(),
            };
            fs::create_dir_all(inner.process.home().data()).expect("create the server's directory");
            inner.start();
            inner
        });
        Self(Arc::new(inner.await))
    }

    /// The address of its port, `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port.number())
    }

    /// The URL of a queue.
    pub fn queue_url(&self, queue: &str) -> String {
        format!("http://{}/000000000000/{queue}", self.address())
    }

    /// Creates a queue: a FIFO queue where its name ends in `.fifo`.
    pub async fn create_queue(&self, queue: &str) {
        let mut request = json!({ "QueueName": queue });
        if queue.ends_with(".fifo") {
            request["Attributes"] = json!({ "FifoQueue": "true" });
        }
        self.call("CreateQueue", request).await;
    }

    /// The names of all queues.
    pub async fn queues(&self) -> Vec<String> {
        let answer = self.call("ListQueues", json!({})).await;
        let urls = answer["QueueUrls"].as_array().cloned().unwrap_or_default();
        let name = |url: &Value| url.as_str().and_then(|url| url.rsplit('/').next()).map(str::to_owned);
        urls.iter().filter_map(name).collect()
    }

    /// Deletes a queue with what it holds.
    pub async fn delete_queue(&self, queue: &str) {
        self.call("DeleteQueue", json!({ "QueueUrl": self.queue_url(queue) }))
            .await;
    }

    /// Everything that was ever sent to the queue, in an order that keeps each key's order where it is a FIFO queue. SQS cannot show a
    /// message without handing it out, so the fixture remembers what it has read.
    ///
    /// # Panics
    /// When the server does not answer, or when a message is not one of the sink's.
    pub async fn read_all(&self, queue: &str) -> Vec<Arrived> {
        let readers = (0..READERS).map(|_| self.read_rest(queue));
        futures::future::join_all(readers).await;
        self.read().get(queue).cloned().unwrap_or_default()
    }

    async fn read_rest(&self, queue: &str) {
        let url = self.queue_url(queue);
        let ask = json!({
            "QueueUrl": url,
            "MaxNumberOfMessages": 10,
            "VisibilityTimeout": 43_200,
            "MessageAttributeNames": ["All"],
        });
        loop {
            let answer = self.call("ReceiveMessage", ask.clone()).await;
            let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                return;
            }
            self.read()
                .entry(queue.to_owned())
                .or_default()
                .extend(messages.iter().map(arrived));
            // A group is handed out further only when what was handed out is gone.
            let entry = |(at, message): (usize, &Value)| json!({ "Id": at.to_string(), "ReceiptHandle": message["ReceiptHandle"] });
            let entries: Vec<Value> = messages.iter().enumerate().map(entry).collect();
            self.call("DeleteMessageBatch", json!({ "QueueUrl": url, "Entries": entries }))
                .await;
        }
    }

    async fn call(&self, action: &str, request: Value) -> Value {
        call(&self.address(), action, &request).await
    }

    fn read(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<Arrived>>> {
        self.0.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn start(&self) {
        let (home, port) = (self.process.home(), self.port.number());
        let configuration = format!(
            "include classpath(\"application.conf\")\n\
             node-address {{ protocol = http, host = \"127.0.0.1\", port = {port}, context-path = \"\" }}\n\
             rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = \"127.0.0.1\", sqs-limits = strict }}\n\
             rest-stats {{ enabled = false }}\n"
        );
        let file = home.path().join("elasticmq.conf");
        fs::write(&file, configuration).expect("write elasticmq.conf");
        let mut command = Command::new("java");
        command
            .arg("-Xmx256m")
            .arg(format!("-Dconfig.file={}", file.display()))
            .arg("-cp")
            .arg(self.libraries.join("*"))
            .arg("org.elasticmq.server.Main");
        let log = home.log();
        self.process.start(command, |_| {
            let text = fs::read(&log).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(") started in ")
        });
    }
}
