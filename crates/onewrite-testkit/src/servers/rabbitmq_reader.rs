//! What is in a queue, told by a consumer that acknowledges nothing and gives everything back: a queue takes what its only consumer
//! had back in its place.

use std::collections::BTreeMap;
use std::time::Instant;

use super::rabbitmq_client::{Client, Published};
use crate::conformance::sink::Arrived;
use crate::wait::{self, PATIENCE};

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
    give_back(&mut client, queue, channel, messages.len())?;
    Ok(messages)
}

/// Gives everything back in its order, and waits until it is there: nobody may take what another has just given back.
fn give_back(client: &mut Client, queue: &str, last_channel: u16, all: usize) -> Result<(), String> {
    for channel in 2..=last_channel {
        client.cancel(channel)?;
    }
    for channel in 2..=last_channel {
        client.close(channel)?;
        let back = all.min(usize::from(channel - 1) * HELD_MAX);
        count_until(client, 1, queue, |(ready, _)| ready as usize >= back)?;
    }
    Ok(())
}

/// Reads until nothing is ready and nothing is on its way.
///
/// The broker answers a question about the queue after it has taken from it what was to be delivered, and the next question on the
/// same channel after it has sent that. So nothing is left when nothing is ready and nothing came between the answers to two.
fn read_quietly(client: &mut Client, queue: &str, channel: u16, messages: &mut Vec<Published>) -> Result<(), String> {
    let with_consumer = |(_, consumers)| consumers > 0;
    loop {
        let (ready, _) = count_until(client, channel, queue, with_consumer)?;
        messages.extend(client.take());
        count_until(client, channel, queue, with_consumer)?;
        let later = client.take();
        let quiet = later.is_empty();
        messages.extend(later);
        let full = messages.len() >= usize::from(channel - 1) * HELD_MAX;
        if quiet && (ready == 0 || full) {
            return Ok(());
        }
    }
}

/// Counts until the answer can be true: of a quorum queue that is busy for more than a second RabbitMQ says that it has no messages
/// and no consumers.
fn count_until(
    client: &mut Client,
    channel: u16,
    queue: &str,
    can_be_true: impl Fn((u32, u32)) -> bool,
) -> Result<(u32, u32), String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let count = client.count_on(channel, queue)?;
        if can_be_true(count) {
            return Ok(count);
        }
        if Instant::now() > deadline {
            return Err(format!("it is said to have (messages, consumers): {count:?}"));
        }
    }
}
