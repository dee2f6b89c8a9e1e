//! An event as a message of AMQP 0-9-1.

use amq_protocol::protocol::BasicProperties;
use amq_protocol::types::{AMQPValue, FieldTable, LongString, ShortString};
use onewrite_core::Event;
use onewrite_core::error::SinkError;
use onewrite_core::wire::{self, HEADER_CONTENT_TYPE, HEADER_ID, HEADER_KEY, HEADER_TYPE};

use super::amqp::Message;
use super::settings::Settings;
use crate::limits::AMQP_SHORT_TEXT_BYTES_MAX;

/// Headers that an event cannot set: RabbitMQ routes by the first two, writes the others itself when it moves a message on, and
/// refuses or misreads them as texts. See <https://www.rabbitmq.com/docs/sender-selected> and
/// <https://www.rabbitmq.com/docs/dlx>.
pub(super) const NEVER_FROM_EVENTS: &[&str] = &[
    "CC",
    "BCC",
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
    "x-delivery-count",
    "x-received-from",
];

/// Kept on disk by every queue that outlives the broker.
const PERSISTENT: u8 = 2;

/// The message for an event.
///
/// # Errors
/// To park the event: no message can be made of it.
pub(super) fn message(settings: &Settings, event: &Event) -> Result<Message, SinkError> {
    let exchange = settings.exchange.address(event)?.into_owned();
    let routing_key = settings.routing_key.address(event)?.into_owned();
    short("the exchange's name", &exchange)?;
    short("the routing key", &routing_key)?;
    let mut properties = properties(event)?;
    if let Some(template) = &settings.priority {
        properties = properties.with_priority(priority(&template.address(event)?)?);
    }
    if let Some(milliseconds) = settings.expiration {
        properties = properties.with_expiration(milliseconds.to_string().into());
    }
    Ok(Message {
        event: event.id,
        exchange,
        routing_key,
        properties,
        body: event.payload.clone(),
    })
}

fn properties(event: &Event) -> Result<BasicProperties, SinkError> {
    let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let mut headers = FieldTable::default();
    let mut refused = None;
    let complete = event.headers_complete;
    wire::native_headers(event, |name, value| {
        if !complete && name == HEADER_ID {
            // The property message-id, which every message has.
            return;
        }
        let property = match ShortString::try_new(value) {
            Ok(property) if name == HEADER_CONTENT_TYPE => Some((HEADER_CONTENT_TYPE, property)),
            Ok(property) if !complete && name == HEADER_TYPE => Some((HEADER_TYPE, property)),
            _ => None,
        };
        let with = std::mem::take(&mut properties);
        properties = match property {
            Some((HEADER_CONTENT_TYPE, property)) => with.with_content_type(property),
            Some((_, property)) => with.with_type(property),
            None => {
                if let Err(error) = put(&mut headers, name, value) {
                    refused.get_or_insert(error);
                }
                with
            }
        };
    });
    if let Some(key) = wire::key_header(event) {
        put(&mut headers, HEADER_KEY, key)?;
    }
    if let Some(error) = refused {
        return Err(error);
    }
    if !complete {
        properties = properties.with_app_id("onewrite".into());
        // In seconds; the header onewrite-occurred-at has the microseconds. There is no time before 1970.
        if let Ok(seconds) = u64::try_from(event.occurred_at.as_second()) {
            properties = properties.with_timestamp(seconds);
        }
    }
    Ok(properties.with_headers(headers))
}

fn put(headers: &mut FieldTable, name: &str, value: &str) -> Result<(), SinkError> {
    if NEVER_FROM_EVENTS.contains(&name) {
        return Ok(());
    }
    short("the name of a header", name)?;
    headers.insert(name.into(), AMQPValue::LongString(LongString::from(value)));
    Ok(())
}

fn short(what: &str, text: &str) -> Result<(), SinkError> {
    let length = text.len();
    if length <= AMQP_SHORT_TEXT_BYTES_MAX {
        return Ok(());
    }
    let start: String = text.chars().take(40).collect();
    Err(SinkError::park(format!(
        "{what}, \"{start}…\", has {length} bytes; AMQP allows {AMQP_SHORT_TEXT_BYTES_MAX}"
    )))
}

fn priority(text: &str) -> Result<u8, SinkError> {
    let words = || format!("the priority is {text:?}; expected a whole number from 0 to 255");
    text.trim().parse().map_err(|_| SinkError::park(words()))
}
