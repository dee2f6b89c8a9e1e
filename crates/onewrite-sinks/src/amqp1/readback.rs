//! Reading back for `onewrite verify`: a queue of its own, whose messages are taken in their order.
//!
//! AMQP has no word for making or removing a queue. A broker that makes queues on demand, as ActiveMQ does, makes this one when it is
//! read, and removes it (or keeps it empty) when it has been; at others it has to be there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fe2o3_amqp::Receiver;
use fe2o3_amqp::link::CreditMode;
use fe2o3_amqp::types::messaging::{Data, Message, MessageId, Source};
use fe2o3_amqp::types::primitives::{Array, Symbol};
use onewrite_core::SinkError;
use onewrite_core::verify::{Arrived, ReadBack, Reading};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::connection::{Opened, open};
use super::settings::Settings;
use crate::limits::{AMQP1_READ_MESSAGES, AMQP1_READ_QUIET};
use crate::turns::Turns;

pub(super) struct Amqp1ReadBack(pub Arc<Settings>);

#[async_trait]
impl ReadBack for Amqp1ReadBack {
    fn apart(&self, topic: &str) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("address", Some(topic.to_owned())),
            ("target", Some("queue".to_owned())),
            ("ttl", None),
        ]
    }

    async fn open(&self, topic: &str) -> Result<Box<dyn Reading>, SinkError> {
        Ok(Box::new(Queue {
            messages: Some(receive(&self.0, topic).await?),
            settings: Arc::clone(&self.0),
            address: topic.to_owned(),
        }))
    }

    /// Takes what is left: a queue that was made on demand goes when it is empty and nobody reads it.
    async fn remove(&self, topic: &str) -> Result<(), SinkError> {
        let mut queue = Queue {
            messages: None,
            settings: Arc::clone(&self.0),
            address: topic.to_owned(),
        };
        while !queue.read(AMQP1_READ_QUIET).await?.is_empty() {}
        Ok(())
    }
}

/// What a connection of its own receives from a queue, until nobody asks any more.
async fn receive(settings: &Settings, address: &str) -> Result<mpsc::Receiver<Arrived>, SinkError> {
    let mut opened = open(settings, &Turns::default()).await?;
    let source = Source::builder()
        .address(address)
        .capabilities(Array(vec![Symbol::from("queue")]))
        .build();
    let attaching = Receiver::builder()
        .name(format!("onewrite-verify-{}", Uuid::new_v4().simple()))
        .source(source)
        .target("onewrite-verify")
        .credit_mode(CreditMode::Auto(AMQP1_READ_MESSAGES))
        .attach(&mut opened.session);
    let receiver = attaching.await.map_err(|error| {
        let words = format!(
            "the queue {address:?} cannot be read; let the broker make it on demand, and the user consume from it"
        );
        SinkError::halt(words).because(error)
    })?;
    let (arrived, messages) = mpsc::channel(AMQP1_READ_MESSAGES as usize);
    tokio::spawn(pass_on(opened, receiver, arrived));
    Ok(messages)
}

/// A future that receives is dropped in the middle only where its link ends with it.
async fn pass_on(opened: Opened, mut receiver: Receiver, arrived: mpsc::Sender<Arrived>) {
    loop {
        let received = tokio::select! {
            () = arrived.closed() => break,
            received = receiver.recv::<Data>() => received,
        };
        let Ok(delivery) = received else { break };
        let message = event(delivery.message());
        if receiver.accept(&delivery).await.is_err() || arrived.send(message).await.is_err() {
            break;
        }
    }
    // What the broker says to a farewell changes nothing.
    let _ = receiver.close().await;
    opened.life.close().await;
}

fn event(message: &Message<Data>) -> Arrived {
    let id = message
        .properties
        .as_ref()
        .and_then(|properties| match &properties.message_id {
            Some(MessageId::String(id)) => Some(id.as_str()),
            _ => None,
        });
    Arrived::new(id, message.body.0.to_vec())
}

/// A queue that is read and emptied.
struct Queue {
    settings: Arc<Settings>,
    address: String,
    /// None after it broke.
    messages: Option<mpsc::Receiver<Arrived>>,
}

#[async_trait]
impl Reading for Queue {
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, SinkError> {
        let mut messages = match self.messages.take() {
            Some(messages) => messages,
            None => receive(&self.settings, &self.address).await?,
        };
        let mut arrived = Vec::new();
        match timeout_at(Instant::now() + wait, messages.recv()).await {
            Ok(Some(message)) => arrived.push(message),
            Ok(None) => return Err(SinkError::reconnect(format!("the link to {:?} ended", self.address))),
            Err(_) => {}
        }
        while let Ok(message) = messages.try_recv() {
            arrived.push(message);
        }
        self.messages = Some(messages);
        Ok(arrived)
    }
}
