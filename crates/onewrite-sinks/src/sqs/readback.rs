//! Reading back for `onewrite verify`: a queue of its own, whose messages are taken and deleted, several at a time.
//!
//! A FIFO queue hands out the next messages of a group only when the ones before are deleted, and they are deleted after they were passed on:
//! so the readers side by side keep the order inside each key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::SinkError;
use onewrite_core::verify::{Arrived, ReadBack, Reading};
use onewrite_core::wire::HEADER_ID;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::service::{Sqs, request};
use crate::aws::{AwsClient, Service, Settings, bare, words};
use crate::limits::{
    SQS_QUEUE_PATIENCE, SQS_QUEUE_READY, SQS_READ_BYTES_MAX, SQS_READ_HIDDEN_SECONDS, SQS_READ_WAIT_SECONDS,
    SQS_READERS,
};
use crate::web::shown;

/// The end of a FIFO queue's name.
const FIFO: &str = ".fifo";

pub(super) struct SqsReadBack {
    settings: Arc<Settings>,
    /// What the URLs of queues begin with.
    base: String,
    fifo: bool,
}

impl SqsReadBack {
    /// # Errors
    /// Why the queues of these settings cannot be read back.
    pub(super) fn new(settings: &Arc<Settings>) -> Result<Self, &'static str> {
        let (base, name) = settings.address.as_str().rsplit_once('/').unwrap_or_default();
        if base.is_empty() || base.contains(['{', '}']) {
            return Err(
                "its queue_url has a placeholder in front of the queue's name, so nobody knows where a queue of its own would be",
            );
        }
        if settings.timeout < Duration::from_secs(2 * SQS_READ_WAIT_SECONDS) {
            return Err("its timeout is shorter than the two seconds that a question for messages may take");
        }
        Ok(Self {
            settings: Arc::clone(settings),
            base: base.to_owned(),
            fifo: name.ends_with(FIFO),
        })
    }

    fn name(&self, topic: &str) -> String {
        topic.replace('.', "-") + if self.fifo { FIFO } else { "" }
    }

    fn url(&self, topic: &str) -> String {
        format!("{}/{}", self.base, self.name(topic))
    }

    async fn queue(&self, topic: &str) -> Result<Queue, SinkError> {
        Ok(Queue {
            client: AwsClient::new(Sqs::KIND, Arc::clone(&self.settings)).await?,
            url: self.url(topic),
        })
    }
}

#[async_trait]
impl ReadBack for SqsReadBack {
    fn apart(&self, topic: &str) -> Vec<(&'static str, Option<String>)> {
        vec![(Sqs::ADDRESS, Some(self.url(topic)))]
    }

    fn unordered(&self) -> Option<&'static str> {
        (!self.fifo).then_some("a standard queue hands messages out in any order")
    }

    async fn open(&self, topic: &str) -> Result<Box<dyn Reading>, SinkError> {
        let queue = Arc::new(self.queue(topic).await?);
        queue.create(&self.name(topic)).await?;
        let (arrived, messages) = mpsc::channel(SQS_READERS);
        let mut readers = JoinSet::new();
        for _ in 0..SQS_READERS {
            readers.spawn(pass_on(Arc::clone(&queue), arrived.clone()));
        }
        Ok(Box::new(Messages {
            messages,
            _readers: readers,
        }))
    }

    async fn remove(&self, topic: &str) -> Result<(), SinkError> {
        let queue = self.queue(topic).await?;
        let removed = queue.ask("AmazonSQS.DeleteQueue", json!({}), "be removed").await;
        match removed {
            Err(refused) if !refused.is_missing => Err(refused.error),
            _ => Ok(()),
        }
    }
}

/// What the readers bring.
struct Messages {
    messages: mpsc::Receiver<Result<Vec<Arrived>, SinkError>>,
    /// They end with it.
    _readers: JoinSet<()>,
}

#[async_trait]
impl Reading for Messages {
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, SinkError> {
        match timeout(wait, self.messages.recv()).await {
            Err(_nothing_came) => Ok(Vec::new()),
            Ok(Some(read)) => read,
            Ok(None) => Err(SinkError::halt("every reader of the queue has ended")),
        }
    }
}

/// Takes messages until nobody wants them any more. A failure is passed on as well, and the next attempt waits until it was heard of.
async fn pass_on(queue: Arc<Queue>, arrived: mpsc::Sender<Result<Vec<Arrived>, SinkError>>) {
    loop {
        let (read, receipts) = match queue.receive(SQS_READ_WAIT_SECONDS).await {
            Ok(messages) if messages.is_empty() => continue,
            Ok(messages) => (Ok(messages.iter().map(event).collect()), receipts(&messages)),
            Err(refused) => (Err(refused.error), Vec::new()),
        };
        if arrived.send(read).await.is_err() {
            return;
        }
        // What cannot be deleted comes again.
        if !receipts.is_empty()
            && let Err(refused) = queue.delete(receipts).await
            && arrived.send(Err(refused.error)).await.is_err()
        {
            return;
        }
    }
}

fn receipts(messages: &[Value]) -> Vec<Value> {
    let messages = messages.iter().enumerate();
    messages
        .map(|(place, message)| json!({ "Id": place.to_string(), "ReceiptHandle": message["ReceiptHandle"] }))
        .collect()
}

/// The payloads of verify are JSON, which travels as it is.
fn event(message: &Value) -> Arrived {
    let id = message["MessageAttributes"][HEADER_ID]["StringValue"].as_str();
    let body = message["Body"].as_str().unwrap_or_default();
    Arrived::new(id, body.as_bytes().to_vec())
}

/// A queue of verify's own.
struct Queue {
    client: AwsClient,
    url: String,
}

/// Why a request was not carried out.
struct Refused {
    /// Because there is no such queue.
    is_missing: bool,
    error: SinkError,
}

impl Queue {
    /// Makes it, and waits until it can be used.
    async fn create(&self, name: &str) -> Result<(), SinkError> {
        let mut queue = json!({ "QueueName": name });
        if name.ends_with(FIFO) {
            queue["Attributes"] = json!({ "FifoQueue": "true" });
        }
        let created = self.ask("AmazonSQS.CreateQueue", queue, "be made").await;
        created.map_err(|refused| refused.error)?;
        let deadline = Instant::now() + SQS_QUEUE_PATIENCE;
        loop {
            sleep_until(Instant::now() + SQS_QUEUE_READY).await;
            match self.receive(0).await {
                Ok(_) => return Ok(()),
                Err(refused) if !refused.is_missing || Instant::now() >= deadline => return Err(refused.error),
                Err(_) => {}
            }
        }
    }

    async fn receive(&self, wait_seconds: u64) -> Result<Vec<Value>, Refused> {
        let wanted = json!({
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": wait_seconds,
            "VisibilityTimeout": SQS_READ_HIDDEN_SECONDS,
            "MessageAttributeNames": [HEADER_ID],
        });
        let mut answer = self.ask("AmazonSQS.ReceiveMessage", wanted, "be read").await?;
        match answer["Messages"].take() {
            Value::Array(messages) => Ok(messages),
            _ => Ok(Vec::new()),
        }
    }

    async fn delete(&self, entries: Vec<Value>) -> Result<(), Refused> {
        let entries = json!({ "Entries": entries });
        let deleted = self.ask("AmazonSQS.DeleteMessageBatch", entries, "be emptied").await;
        deleted.map(|_| ())
    }

    /// Asks for something about this queue, unless the request names one itself.
    async fn ask(&self, target: &'static str, mut body: Value, what: &str) -> Result<Value, Refused> {
        if body["QueueName"].is_null() {
            body["QueueUrl"] = self.url.as_str().into();
        }
        let asked = self.client.call_for(request(target, &body), SQS_READ_BYTES_MAX).await;
        let (status, body) = asked.map_err(|error| Refused {
            is_missing: false,
            error,
        })?;
        if status.is_success() {
            // Some answers are empty.
            return Ok(serde_json::from_slice(&body.bytes).unwrap_or_default());
        }
        let (code, message) = words::<Sqs>(&body);
        let action = target.replace("AmazonSQS.", "sqs:");
        let advice = format!("allow the credentials {action} for queues named \"onewrite-verify-*\"");
        Err(Refused {
            is_missing: Sqs::MISSING.contains(&bare(&code)),
            error: SinkError::halt(format!(
                "the queue {:?} cannot {what}: {} {code}: {message}; {advice}",
                self.url,
                shown(status)
            )),
        })
    }
}
