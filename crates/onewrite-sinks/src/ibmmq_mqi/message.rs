//! What an event becomes.

use bytes::Bytes;
use onewrite_core::Event;
use onewrite_core::error::SinkError;
use onewrite_core::wire::{HEADER_CONTENT_TYPE, HEADER_KEY, key_header, native_headers};

use super::settings::MqiSettings;
use crate::ibmmq::properties;
use crate::ibmmq::request::is_name;
use crate::ibmmq::settings::Destination;
use crate::limits::{IBMMQ_NAME_BYTES_MAX, IBMMQ_TOPIC_BYTES_MAX};

/// A message to be put.
pub(super) struct Message {
    /// The name of the queue, or the topic string.
    pub address: String,
    pub body: Bytes,
    /// Whether the body is UTF-8.
    pub text: bool,
    /// The event's id, and zero bytes.
    pub correlation: [u8; 24],
    /// Names and values.
    pub properties: Vec<(String, String)>,
}

impl Message {
    /// The message of an event.
    ///
    /// # Errors
    /// To park an event that has no address or is too large.
    pub(super) fn of(settings: &MqiSettings, event: &Event) -> Result<Self, SinkError> {
        let address = address(&settings.destination, event)?;
        let mut correlation = [0; 24];
        correlation[..16].copy_from_slice(event.id.as_bytes());
        let message = Self {
            address,
            body: event.payload.clone(),
            text: std::str::from_utf8(&event.payload).is_ok(),
            correlation,
            properties: properties_of(event),
        };
        let lengths = message.properties.iter().map(|(name, value)| name.len() + value.len());
        let size = message.body.len() + lengths.sum::<usize>();
        let most = settings.message_bytes_max;
        if size > most {
            return Err(SinkError::park(format!(
                "the message has {size} bytes with its properties, more than max_message_bytes = {most}"
            )));
        }
        Ok(message)
    }
}

fn address(destination: &Destination, event: &Event) -> Result<String, SinkError> {
    match destination {
        Destination::Queue(queue) => {
            let queue = queue.address(event)?;
            if is_name(&queue) {
                return Ok(queue.into());
            }
            Err(SinkError::park(format!(
                "{queue:?} cannot be the name of a queue; expected 1 to {IBMMQ_NAME_BYTES_MAX} of the characters A-Z a-z 0-9 . / _ %"
            )))
        }
        Destination::Topic(topic) => {
            let topic = topic.address(event)?;
            if (1..=IBMMQ_TOPIC_BYTES_MAX).contains(&topic.len()) {
                return Ok(topic.into());
            }
            Err(SinkError::park(format!(
                "no topic string can be made of the event: it has {} bytes; expected 1 to {IBMMQ_TOPIC_BYTES_MAX}",
                topic.len()
            )))
        }
    }
}

/// Names and values as the REST transport writes them, so that readers need not know which one wrote.
fn properties_of(event: &Event) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: &str| {
        if name != HEADER_CONTENT_TYPE || !value.is_empty() {
            all.push((properties::name(name), properties::encoded(value)));
        }
    };
    native_headers(event, &mut add);
    if let Some(key) = key_header(event) {
        add(HEADER_KEY, key);
    }
    all
}
