//! What Amazon's reference allows in a `PublishBatch` (Amazon SNS API Reference, `PublishBatch` and `PublishBatchRequestEntry`; Amazon
//! SNS Developer Guide, "Amazon SNS message attributes").

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;

/// Parameters by their names.
pub type Parameters = BTreeMap<String, String>;

/// A message as SNS keeps it.
#[derive(Clone, Debug)]
pub struct Message {
    /// The id of its entry.
    pub id: String,
    pub body: String,
    pub attributes: BTreeMap<String, String>,
    /// Message group and deduplication id.
    pub fifo: Option<(String, String)>,
}

impl Message {
    /// Body and attributes, in bytes.
    pub fn size(&self) -> usize {
        let attributes = self.attributes.iter();
        let sizes = attributes.map(|(name, value)| name.len() + "String".len() + value.len());
        self.body.len() + sizes.sum::<usize>()
    }
}

/// The parameters of a form.
pub fn parameters(body: &[u8]) -> Result<Parameters, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        let text = percent_decode_str(&text).decode_utf8().map(|text| text.into_owned());
        text.map_err(|error| error.to_string())
    };
    let mut parameters = Parameters::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} has no value"))?;
        if parameters.insert(decoded(name)?, decoded(value)?).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(parameters)
}

/// The messages of a batch, for a topic of this ARN. Whatever is in no place that the reference gives it is refused.
pub fn messages(mut parameters: Parameters, arn: &str) -> Result<Vec<Message>, String> {
    let mut messages = Vec::new();
    let mut ids = BTreeSet::new();
    while let Some(message) = message(&mut parameters, messages.len() + 1)? {
        let fits = |text: &str| {
            (1..=128).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte.is_ascii_punctuation())
        };
        match &message.fifo {
            Some(_) if !arn.ends_with(".fifo") => return Err("a standard topic has no groups".to_owned()),
            None if arn.ends_with(".fifo") => return Err("a FIFO topic needs a group".to_owned()),
            Some((group, deduplication)) if !fits(group) || !fits(deduplication) => {
                return Err(format!("{group:?} or {deduplication:?} is not allowed"));
            }
            _ => {}
        }
        if message.body.is_empty() {
            return Err("Empty message".to_owned());
        }
        if !ids.insert(message.id.clone()) {
            return Err("an id is there twice".to_owned());
        }
        messages.push(message);
    }
    match parameters.keys().next() {
        Some(name) => Err(format!("there is no parameter {name}")),
        None if (1..=10).contains(&messages.len()) => Ok(messages),
        None => Err(format!("{} entries", messages.len())),
    }
}

fn message(parameters: &mut Parameters, number: usize) -> Result<Option<Message>, String> {
    let prefix = format!("PublishBatchRequestEntries.member.{number}");
    let Some(id) = parameters.remove(&format!("{prefix}.Id")) else {
        return Ok(None);
    };
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !(1..=80).contains(&id.len()) || !id.bytes().all(is_id) {
        return Err(format!("{id:?} is no id"));
    }
    let body = parameters.remove(&format!("{prefix}.Message"));
    let group = parameters.remove(&format!("{prefix}.MessageGroupId"));
    let deduplication = parameters.remove(&format!("{prefix}.MessageDeduplicationId"));
    let fifo = match (group, deduplication) {
        (Some(group), Some(deduplication)) => Some((group, deduplication)),
        (None, None) => None,
        _ => return Err("a group without a deduplication id, or the other way round".to_owned()),
    };
    Ok(Some(Message {
        id,
        body: body.ok_or("an entry without a message")?,
        attributes: attributes(parameters, &prefix)?,
        fifo,
    }))
}

fn attributes(parameters: &mut Parameters, prefix: &str) -> Result<BTreeMap<String, String>, String> {
    let mut attributes = BTreeMap::new();
    for number in 1.. {
        let prefix = format!("{prefix}.MessageAttributes.entry.{number}");
        let Some(name) = parameters.remove(&format!("{prefix}.Name")) else {
            break;
        };
        let kind = parameters.remove(&format!("{prefix}.Value.DataType"));
        let value = parameters.remove(&format!("{prefix}.Value.StringValue"));
        let value = value.filter(|value| !value.is_empty() && kind.as_deref() == Some("String"));
        let lower = name.to_ascii_lowercase();
        let is_name = (1..=256).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
            && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
            && !(lower.starts_with("aws.") || lower.starts_with("amazon."));
        match value {
            Some(value) if is_name && !attributes.contains_key(&name) => attributes.insert(name, value),
            value => return Err(format!("the attribute {name:?} of {value:?} is not allowed")),
        };
    }
    // More would be thrown away on the way to a queue with raw message delivery.
    if attributes.len() > 10 {
        return Err(format!("{} attributes", attributes.len()));
    }
    Ok(attributes)
}
