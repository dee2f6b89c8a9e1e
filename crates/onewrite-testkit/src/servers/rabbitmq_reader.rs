//! What is in a queue, told by a consumer that acknowledges nothing and gives everything back: a queue takes what its only consumer
//! had back in its place.

use std::collections::BTreeMap;

use super::rabbitmq_client::{Client, Published};
use crate::conformance::sink::Arrived;
use crate::wait;

/// Messages that one consumer may hold without acknowledging any: what its prefetch count can say. A quorum queue holds a consumer
/// without one to 2,000.
const HELD_MAX: usize = u16::MAX as usize;

pub(super) fn read_all(port: u16, queue: &str) -> Vec<Published> {
    let mut result = Err(String::new());
    let read = || {
        result = try_read(port, queue);
        result.is_ok()
    };
    // A queue of a node that was just started may not be ready to be read yet.
    wait::holds(read);
    result.unwrap_or_else(|error| panic!("the queue {queue} cannot be read: {error}"))
}

/// A message as the suite of sinks sees it: what the wire holds in properties stands among the headers.
pub(super) fn arrived(message: Published) -> Arrived {
    let mut headers: BTreeMap<String, String> = message
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let as_header = [
        ("message-id", "onewrite-id"),
        ("type", "onewrite-type"),
        ("content-type", "content-type"),
    ];
    for (property, header) in as_header {
        if let Some(value) = message.properties.get(property) {
            headers.insert(header.to_owned(), value.clone());
        }
    }
    let id = headers.get("onewrite-id").expect("a message with an id");
    Arrived {
        id: id.parse().expect("an id that is a UUID"),
        key: headers.remove("onewrite-key"),
        payload: message.body,
        headers,
    }
}

fn try_read(port: u16, queue: &str) -> Result<Vec<Published>, String> {
    let mut client = Client::connect(port)?;
    if client.count(queue)?.1 > 0 {
        return Err("it has a consumer, which holds messages back".to_owned());
    }
    let mut messages = Vec::new();
    let mut channel = 1;
    loop {
        channel += 1;
        client.open(channel)?;
        client.consume(channel, queue)?;
        read_quietly(&mut client, queue, channel, &mut messages)?;
        if messages.len() < usize::from(channel - 1) * HELD_MAX {
            break;
        }
    }
    for channel in 2..=channel {
        client.close(channel)?;
    }
    // They are back when nobody holds them any more.
    while client.count(queue)?.1 > 0 {}
    Ok(messages)
}

/// Reads until nothing is ready and nothing is on its way.
///
/// The broker answers a question about the queue after it has taken from it what was to be delivered, and the next question on the
/// same channel after it has sent that. So nothing is left when nothing is ready and nothing came between the answers to two.
fn read_quietly(client: &mut Client, queue: &str, channel: u16, messages: &mut Vec<Published>) -> Result<(), String> {
    loop {
        let (ready, _) = client.count_on(channel, queue)?;
        messages.extend(client.take());
        client.count_on(channel, queue)?;
        let later = client.take();
        let quiet = later.is_empty();
        messages.extend(later);
        let full = messages.len() >= usize::from(channel - 1) * HELD_MAX;
        if quiet && (ready == 0 || full) {
            return Ok(());
        }
    }
}
