//! Reading back for `onewrite verify`: a stream of its own, read in order by a consumer that acknowledges nothing.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{self, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::{self, Context, Message};
use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _};
use onewrite_core::SinkError;
use onewrite_core::verify::{Arrived, ReadBack, Reading};
use onewrite_core::wire::HEADER_ID;
use serde_json::json;
use tokio::time::timeout;

use super::api::{Listener, Unanswered, ask, listener};
use super::link::Link;
use super::settings::Settings;
use crate::limits::NATS_READ_MESSAGES;
use crate::turns::Turns;

pub(super) struct NatsReadBack(pub Arc<Settings>);

#[async_trait]
impl ReadBack for NatsReadBack {
    fn apart(&self, topic: &str) -> Vec<(&'static str, Option<String>)> {
        // A stream that is there already may take the subject; the sink is then told nothing of streams.
        let stream = self.0.expect_last_sequence.then(|| name(topic));
        vec![("subject", Some(topic.to_owned())), ("stream", stream)]
    }

    async fn open(&self, topic: &str) -> Result<Box<dyn Reading>, SinkError> {
        let link = Link::open(&self.0, &Turns::default()).await?;
        let stream = match listener(&self.0, &link, topic).await? {
            Listener::Stream(stream) => stream,
            Listener::None | Listener::Unknown(_) => create(&self.0, &link, topic).await?,
        };
        let mut reading = Subject {
            settings: Arc::clone(&self.0),
            subject: topic.to_owned(),
            stream,
            next: 1,
            open: None,
        };
        reading.open = Some(reading.connect(link).await?);
        Ok(Box::new(reading))
    }

    async fn remove(&self, topic: &str) -> Result<(), SinkError> {
        let link = Link::open(&self.0, &Turns::default()).await?;
        let Listener::Stream(stream) = listener(&self.0, &link, topic).await? else {
            return Ok(());
        };
        let (request, body) = if stream == name(topic) {
            (format!("STREAM.DELETE.{stream}"), json!({}))
        } else {
            (format!("STREAM.PURGE.{stream}"), json!({ "filter": topic }))
        };
        let asked = ask(&self.0, &link, &request, &body).await;
        link.end().await;
        asked
            .map(|_| ())
            .map_err(|unanswered| told(&format!("the stream {stream:?} cannot be cleaned up"), unanswered))
    }
}

/// The stream of a topic: the names of streams hold no dots.
fn name(topic: &str) -> String {
    topic.replace('.', "_")
}

async fn create(settings: &Settings, link: &Link, topic: &str) -> Result<String, SinkError> {
    let name = name(topic);
    let stream = json!({ "name": name, "subjects": [topic], "storage": "file" });
    match ask(settings, link, &format!("STREAM.CREATE.{name}"), &stream).await {
        Ok(_) => Ok(name),
        Err(unanswered) => {
            let words = format!(
                "no stream can be made for the subject {topic:?}; allow the user {}.STREAM.CREATE.*, or make a stream that takes \
                 \"onewrite.verify.>\"",
                settings.api
            );
            Err(told(&words, unanswered))
        }
    }
}

fn told(what: &str, unanswered: Unanswered) -> SinkError {
    match unanswered {
        Unanswered::Ended(error) => error,
        Unanswered::Refused(error) => SinkError::halt(format!("{what}: {}", error.words())),
        Unanswered::Unknown(words) => SinkError::halt(format!("{what}: {words}")),
    }
}

/// The messages of one subject of a stream.
struct Subject {
    settings: Arc<Settings>,
    subject: String,
    stream: String,
    /// The sequence to go on with.
    next: u64,
    /// None after it broke.
    open: Option<(Link, Messages)>,
}

impl Subject {
    async fn connect(&self, link: Link) -> Result<(Link, Messages), SinkError> {
        let wrong = |error: async_nats::Error| {
            SinkError::reconnect(format!("the stream {:?} cannot be read", self.stream)).because(error)
        };
        let context: Context = jetstream::with_prefix(link.client().clone(), &self.settings.api);
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.next,
            },
            filter_subject: self.subject.clone(),
            ..pull::Config::default()
        };
        let consumer = context.create_consumer_on_stream(config, &self.stream).await;
        let consumer = consumer.map_err(|error| wrong(error.into()))?;
        let messages = consumer.messages().await.map_err(|error| wrong(error.into()))?;
        Ok((link, messages))
    }

    fn take(&mut self, message: &Message) -> Arrived {
        if let Ok(info) = message.info() {
            self.next = info.stream_sequence + 1;
        }
        let headers = message.headers.as_ref();
        let id = headers.and_then(|headers| headers.get(HEADER_ID));
        Arrived::new(id.map(|id| id.as_str()), message.payload.clone())
    }
}

#[async_trait]
impl Reading for Subject {
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, SinkError> {
        let (link, mut messages) = match self.open.take() {
            Some(open) => open,
            None => {
                self.connect(Link::open(&self.settings, &Turns::default()).await?)
                    .await?
            }
        };
        let mut arrived = Vec::new();
        let mut next = timeout(wait, messages.next()).await.ok();
        while let Some(message) = next {
            match message {
                Some(Ok(message)) => arrived.push(self.take(&message)),
                // What was read before it counts; the next call connects anew.
                Some(Err(_)) | None if !arrived.is_empty() => return Ok(arrived),
                Some(Err(error)) => {
                    let words = format!("reading the stream {:?} broke off", self.stream);
                    return Err(SinkError::reconnect(words).because(error));
                }
                None => return Err(SinkError::reconnect("the consumer of the stream ended")),
            }
            next = match arrived.len() < NATS_READ_MESSAGES {
                true => messages.next().now_or_never(),
                false => None,
            };
        }
        self.open = Some((link, messages));
        Ok(arrived)
    }
}
