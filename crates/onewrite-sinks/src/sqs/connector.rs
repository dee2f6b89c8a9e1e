//! Connecting, and the findings of `onewrite check`.

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::{SinkError, chain};
use onewrite_core::sink::Finding;
use onewrite_core::{Sink, SinkConnector};
use serde_json::{Value, json};

use super::answer::words;
use super::client::{NoAnswer, SqsClient};
use super::settings::{Settings, queue_name};
use super::sink::SqsSink;
use crate::web::shown;

pub(super) struct SqsConnector {
    settings: Arc<Settings>,
}

impl SqsConnector {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }

    async fn look_at(&self, client: &SqsClient, queue_url: &str) -> Finding {
        let subject = format!("queue {queue_url}");
        if let Err(problem) = queue_name(queue_url) {
            return Finding::broken(subject, problem);
        }
        let ask = json!({ "QueueUrl": queue_url, "AttributeNames": ["All"] });
        let (status, body) = match client.call("GetQueueAttributes", ask.to_string().into_bytes()).await {
            Ok(answered) => answered,
            Err(NoAnswer::Unsent(error) | NoAnswer::Unknown(error)) => return Finding::broken(subject, chain(&error)),
        };
        if !status.is_success() {
            let (code, message) = words(&body);
            let said = format!("{} {code}: {message}", shown(status));
            return if code.starts_with("AccessDenied") {
                Finding::warning(
                    subject,
                    format!("may not be looked at, so only an event can show whether it works ({said})"),
                )
            } else {
                Finding::broken(subject, format!("cannot be used: {said}"))
            };
        }
        let answer: Value = serde_json::from_slice(&body.bytes).unwrap_or_default();
        let number = |name: &str| {
            answer["Attributes"][name]
                .as_str()
                .and_then(|text| text.parse::<usize>().ok())
        };
        match number("MaximumMessageSize") {
            Some(most) if most < self.settings.message_bytes_max => Finding::warning(
                subject,
                format!("takes {most} bytes a message, less than max_message_bytes; larger events will be parked"),
            ),
            _ if queue_url.ends_with(".fifo") => Finding::works(subject, "is there and keeps the order of each key"),
            _ => Finding::warning(
                subject,
                "is there; a standard queue, which hands messages out in any order: where order matters use a FIFO queue",
            ),
        }
    }
}

#[async_trait]
impl SinkConnector for SqsConnector {
    fn kind(&self) -> &'static str {
        "sqs"
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        let client = SqsClient::new(Arc::clone(&self.settings)).await?;
        // Any answer will do, also that this may not be asked.
        match client.call("ListQueues", b"{\"MaxResults\": 1}".to_vec()).await {
            Ok((status, body)) if status.is_server_error() => {
                let (code, message) = words(&body);
                let words = format!("{} answered {}; {code} {message}", self.settings.origin, shown(status));
                Err(SinkError::reconnect(words))
            }
            Ok(_) => Ok(Box::new(SqsSink::new(Arc::clone(&self.settings), client))),
            Err(NoAnswer::Unsent(error) | NoAnswer::Unknown(error)) => Err(error),
        }
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        let client = match SqsClient::new(Arc::clone(&self.settings)).await {
            Ok(client) => client,
            Err(error) => return vec![Finding::broken("TLS", chain(&error))],
        };
        let mut findings = Vec::new();
        let subject = format!("endpoint {}", self.settings.origin);
        match client.call("ListQueues", b"{\"MaxResults\": 1}".to_vec()).await {
            Ok((status, _)) => findings.push(Finding::works(subject, format!("answers ({})", shown(status)))),
            Err(NoAnswer::Unsent(error) | NoAnswer::Unknown(error)) => {
                findings.push(Finding::broken(subject, chain(&error)));
                return findings;
            }
        }
        for queue_url in self.settings.queue_url.for_topics(topics) {
            findings.push(self.look_at(&client, &queue_url).await);
        }
        findings
    }
}
