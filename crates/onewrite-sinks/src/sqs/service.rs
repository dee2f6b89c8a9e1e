//! SQS and its JSON protocol (Amazon SQS API Reference, "Making query API requests using the AWS JSON protocol").

use std::sync::Arc;

use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::readback::SqsReadBack;
use crate::aws::{Failed, Message, Request, Results, Service, Settings};
use crate::limits::SQS_MESSAGE_BYTES_MAX;

pub(super) struct Sqs;

impl Service for Sqs {
    const KIND: &'static str = "sqs";
    const NAME: &'static str = "SQS";
    const PLACE: &'static str = "queue";
    const ADDRESS: &'static str = "queue_url";
    const PERMISSION: &'static str = "sqs:SendMessage";
    const MISSING: &'static [&'static str] = &[
        "QueueDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
        "InvalidAddress",
    ];
    const MESSAGE_BYTES_MAX: usize = SQS_MESSAGE_BYTES_MAX;

    fn place_name(url: &str) -> Result<&str, String> {
        let parts = url
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
        let name = parts.and_then(|(_, rest)| rest.rsplit_once('/')).map(|(_, name)| name);
        let bare = name.map(|name| name.strip_suffix(".fifo").unwrap_or(name));
        let fits = |name: &str| {
            (1..=80).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        match (name, bare) {
            (Some(name), Some(bare)) if fits(bare) && name.len() <= 80 => Ok(name),
            _ => Err(format!(
                "{url:?} is not the URL of a queue; its last part must be 1 to 80 of the characters A-Z a-z 0-9 - _, and may end in .fifo"
            )),
        }
    }

    fn region(url: &str) -> Option<&str> {
        let (_, rest) = url.split_once("://sqs.")?;
        Some(rest.split_once(".amazonaws.com")?.0)
    }

    fn greeting() -> Request {
        request("AmazonSQS.ListQueues", &json!({ "MaxResults": 1 }))
    }

    fn question(queue_url: &str) -> Request {
        let ask = json!({ "QueueUrl": queue_url, "AttributeNames": ["All"] });
        request("AmazonSQS.GetQueueAttributes", &ask)
    }

    fn finding(settings: &Settings, queue_url: &str, subject: String, answer: &[u8]) -> Finding {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let most = answer["Attributes"]["MaximumMessageSize"].as_str();
        match most.and_then(|text| text.parse::<usize>().ok()) {
            Some(most) if most < settings.message_bytes_max => Finding::warning(
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

    fn batch(queue_url: &str, messages: &[&Message]) -> Request {
        let entries = messages
            .iter()
            .enumerate()
            .map(|(place, message)| entry(place, message));
        let batch = json!({ "QueueUrl": queue_url, "Entries": entries.collect::<Vec<_>>() });
        request("AmazonSQS.SendMessageBatch", &batch)
    }

    fn results(answer: &[u8]) -> Option<Results> {
        let lists: Lists = serde_json::from_slice(answer).ok()?;
        let failed = lists.failed.into_iter().map(|entry| Failed {
            id: entry.id,
            code: entry.code,
            message: entry.message.unwrap_or_default(),
            sender_fault: entry.sender_fault,
        });
        Some(Results {
            successful: lists.successful.into_iter().map(|entry| entry.id).collect(),
            failed: failed.collect(),
        })
    }

    fn read_back(settings: &Arc<Settings>) -> Result<Box<dyn ReadBack>, &'static str> {
        Ok(Box::new(SqsReadBack::new(settings)?))
    }

    fn error(answer: &[u8]) -> (Option<String>, Option<String>) {
        let error: ErrorBody = serde_json::from_slice(answer).unwrap_or_default();
        (error.code, error.message)
    }
}

pub(super) fn request(target: &'static str, body: &Value) -> Request {
    Request {
        content_type: "application/x-amz-json-1.0",
        target: Some(target),
        body: body.to_string().into_bytes(),
    }
}

fn entry(id: usize, message: &Message) -> Value {
    let attribute =
        |(name, value): &(String, String)| (name.clone(), json!({ "DataType": "String", "StringValue": value }));
    let attributes: Map<String, Value> = message.attributes.iter().map(attribute).collect();
    let mut entry = json!({ "Id": id.to_string(), "MessageBody": message.body });
    if !attributes.is_empty() {
        entry["MessageAttributes"] = attributes.into();
    }
    if let Some((group, deduplication)) = &message.fifo {
        entry["MessageGroupId"] = group.as_str().into();
        entry["MessageDeduplicationId"] = deduplication.as_str().into();
    }
    entry
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Lists {
    #[serde(default)]
    successful: Vec<Successful>,
    #[serde(default)]
    failed: Vec<NotTaken>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Successful {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NotTaken {
    id: String,
    #[serde(default)]
    code: String,
    message: Option<String>,
    #[serde(default)]
    sender_fault: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    #[serde(rename = "__type")]
    code: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// Any answer is judged.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    crate::aws::fuzz::<Sqs>(bytes);
}
