//! SNS and its query protocol: a form goes there, XML comes back (Amazon SNS API Reference, `PublishBatch`).

use std::sync::Arc;

use form_urlencoded::Serializer;
use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::aws::{Failed, Message, Request, Results, Service, Settings};
use crate::limits::SNS_MESSAGE_BYTES_MAX;

pub(super) struct Sns;

impl Service for Sns {
    const KIND: &'static str = "sns";
    const NAME: &'static str = "SNS";
    const PLACE: &'static str = "topic";
    const ADDRESS: &'static str = "topic_arn";
    const PERMISSION: &'static str = "sns:Publish";
    const MISSING: &'static [&'static str] = &["NotFound"];
    const MESSAGE_BYTES_MAX: usize = SNS_MESSAGE_BYTES_MAX;

    fn place_name(arn: &str) -> Result<&str, String> {
        let parts: Vec<&str> = arn.split(':').collect();
        let fits = |name: &str| {
            let bare = name.strip_suffix(".fifo").unwrap_or(name);
            !bare.is_empty()
                && name.len() <= 256
                && bare
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let is_account = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match parts[..] {
            ["arn", partition, "sns", region, account, name]
                if !partition.is_empty() && !region.is_empty() && is_account(account) && fits(name) =>
            {
                Ok(name)
            }
            _ => Err(format!(
                "{arn:?} is not the ARN of a topic; expected something like \"arn:aws:sns:eu-west-1:123456789012:orders\", the name 1 to 256 of the characters A-Z a-z 0-9 - _, which may end in .fifo"
            )),
        }
    }

    fn region(arn: &str) -> Option<&str> {
        let mut parts = arn.strip_prefix("arn:")?.split(':').skip(1);
        parts.next().filter(|service| *service == "sns")?;
        parts.next().filter(|region| !region.is_empty())
    }

    fn greeting() -> Request {
        form("ListTopics", |_| ())
    }

    fn question(arn: &str) -> Request {
        form("GetTopicAttributes", |form| {
            form.append_pair("TopicArn", arn);
        })
    }

    fn finding(_settings: &Settings, arn: &str, subject: String, answer: &[u8]) -> Finding {
        let Some(answer) = xml::<AttributesAnswer>(answer) else {
            return Finding::broken(subject, "cannot be used: the answer is not one of SNS");
        };
        let attributes = answer.result.attributes.entry;
        let number = |name: &str| {
            let mut found = attributes.iter().filter(|attribute| attribute.key == name);
            found.next().and_then(|attribute| attribute.value.parse::<u64>().ok())
        };
        let (confirmed, pending) = (
            number("SubscriptionsConfirmed"),
            number("SubscriptionsPending").unwrap_or(0),
        );
        let Some(confirmed) = confirmed else {
            return Finding::warning(subject, "is there, but SNS does not say how many subscriptions it has");
        };
        if confirmed == 0 {
            let words = format!(
                "has 0 confirmed subscriptions and {pending} pending: SNS takes every event and drops it, and each counts as delivered; subscribe to the topic before events go there"
            );
            return Finding::warning(subject, words);
        }
        if arn.ends_with(".fifo") {
            let words = format!("is there, has {confirmed} confirmed subscriptions, and keeps the order of each key");
            return Finding::works(subject, words);
        }
        let words = format!(
            "is there and has {confirmed} confirmed subscriptions; a standard topic, which hands messages on in any order: where order matters use a FIFO topic"
        );
        Finding::warning(subject, words)
    }

    fn batch(arn: &str, messages: &[&Message]) -> Request {
        form("PublishBatch", |form| {
            form.append_pair("TopicArn", arn);
            for (place, message) in messages.iter().enumerate() {
                entry(form, place, message);
            }
        })
    }

    fn results(answer: &[u8]) -> Option<Results> {
        let result = xml::<BatchAnswer>(answer)?.result;
        let failed = result.failed.member.into_iter().map(|entry| Failed {
            id: entry.id,
            code: entry.code,
            message: entry.message,
            sender_fault: entry.sender_fault,
        });
        let successful = result.successful.member.into_iter();
        Some(Results {
            // A message that SNS keeps has an id.
            successful: successful
                .filter(|entry| !entry.message_id.is_empty())
                .map(|entry| entry.id)
                .collect(),
            failed: failed.collect(),
        })
    }

    /// A queue that subscribes would show what arrived: it needs a policy that lets the topic write to it, and rights over two services
    /// that a relay never has.
    fn read_back(_settings: &Arc<Settings>) -> Result<Box<dyn ReadBack>, &'static str> {
        Err("a topic keeps nothing, and hands what it took on to its subscribers alone")
    }

    fn error(answer: &[u8]) -> (Option<String>, Option<String>) {
        match xml::<ErrorAnswer>(answer) {
            Some(answer) => (Some(answer.error.code), Some(answer.error.message)),
            None => (None, None),
        }
    }
}

type Form = Serializer<'static, String>;

fn form(action: &str, rest: impl FnOnce(&mut Form)) -> Request {
    let mut form = Serializer::new(String::new());
    form.append_pair("Action", action).append_pair("Version", "2010-03-31");
    rest(&mut form);
    Request {
        content_type: "application/x-www-form-urlencoded; charset=utf-8",
        target: None,
        body: form.finish().into_bytes(),
    }
}

/// Lists and maps count from 1.
fn entry(form: &mut Form, place: usize, message: &Message) {
    let prefix = format!("PublishBatchRequestEntries.member.{}", place + 1);
    let mut put = |name: &str, value: &str| {
        form.append_pair(&format!("{prefix}.{name}"), value);
    };
    put("Id", &place.to_string());
    put("Message", &message.body);
    for (at, (name, value)) in message.attributes.iter().enumerate() {
        let attribute = format!("MessageAttributes.entry.{}", at + 1);
        put(&format!("{attribute}.Name"), name);
        put(&format!("{attribute}.Value.DataType"), "String");
        put(&format!("{attribute}.Value.StringValue"), value);
    }
    if let Some((group, deduplication)) = &message.fifo {
        put("MessageGroupId", group);
        put("MessageDeduplicationId", deduplication);
    }
}

fn xml<T: DeserializeOwned>(answer: &[u8]) -> Option<T> {
    quick_xml::de::from_str(std::str::from_utf8(answer).ok()?).ok()
}

#[derive(Deserialize)]
struct BatchAnswer {
    #[serde(rename = "PublishBatchResult")]
    result: BatchResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchResult {
    #[serde(default)]
    successful: Members<Successful>,
    #[serde(default)]
    failed: Members<NotTaken>,
}

#[derive(Deserialize)]
struct Members<T> {
    #[serde(default = "Vec::new")]
    member: Vec<T>,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { member: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Successful {
    id: String,
    message_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NotTaken {
    id: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    sender_fault: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorAnswer {
    error: ErrorWords,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorWords {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct AttributesAnswer {
    #[serde(rename = "GetTopicAttributesResult")]
    result: AttributesResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttributesResult {
    attributes: Attributes,
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(default)]
    entry: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    #[serde(default)]
    value: String,
}

/// Any answer is judged, and read as one about a topic.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    crate::aws::fuzz::<Sns>(bytes);
    xml::<AttributesAnswer>(bytes);
}
