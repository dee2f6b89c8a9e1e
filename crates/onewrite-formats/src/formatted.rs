//! A format before a sink.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::error::{Action, SinkError};
use onewrite_core::sink::{CloudEventsBinding, Finding};
use onewrite_core::{DeliveryReport, Event, Sink, SinkConnector, Template};

use crate::format::{Format, Outgoing};

/// Puts a format and the template of a route's topic before a connector. Without both, the connector itself is returned: the
/// format `native` costs nothing.
///
/// # Errors
/// When the sink's wire cannot carry what the format makes.
pub fn formatted(
    connector: Arc<dyn SinkConnector>,
    format: Option<Arc<dyn Format>>,
    topic: Option<Template>,
) -> Result<Arc<dyn SinkConnector>, Misfit> {
    let documents = connector.writes_documents();
    // Such a sink writes the envelope itself.
    let format = format.filter(|format| !(documents && format.kind() == crate::json::KIND));
    if let Some(format) = &format
        && documents
        && !format.makes_documents()
    {
        return Err(Misfit {
            format: format.kind(),
            sink: connector.kind(),
        });
    }
    if format.is_none() && topic.is_none() {
        return Ok(connector);
    }
    Ok(Arc::new(Formatted {
        connector,
        laying: Arc::new(Laying { format, topic }),
    }))
}

/// A format that a sink cannot carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the sink writes each event as a JSON document, in which no body of the format {format:?} has room; for this sink \
     ({sink}) use \"native\" or \"json\", or \"cloudevents\" with mode = \"structured\"{}",
    if *sink == "http" { "; or set its mode to \"event\"" } else { "" }
)]
pub struct Misfit {
    /// The type of the format.
    pub format: &'static str,
    /// The type of the sink.
    pub sink: &'static str,
}

struct Formatted {
    connector: Arc<dyn SinkConnector>,
    laying: Arc<Laying>,
}

/// What is done to each event.
struct Laying {
    format: Option<Arc<dyn Format>>,
    topic: Option<Template>,
}

#[async_trait]
impl SinkConnector for Formatted {
    fn kind(&self) -> &'static str {
        self.connector.kind()
    }

    fn cloudevents(&self) -> CloudEventsBinding {
        self.connector.cloudevents()
    }

    fn writes_documents(&self) -> bool {
        self.connector.writes_documents()
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(FormattedSink {
            sink: self.connector.connect().await?,
            laying: Arc::clone(&self.laying),
            cloudevents: self.connector.cloudevents(),
        }))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        self.connector.probe(topics).await
    }
}

struct FormattedSink {
    sink: Box<dyn Sink>,
    laying: Arc<Laying>,
    cloudevents: CloudEventsBinding,
}

impl FormattedSink {
    async fn lay(&self, event: &Event) -> Result<Event, SinkError> {
        let topic: Arc<str> = match &self.laying.topic {
            Some(template) => template.address(event)?.into(),
            None => Arc::clone(&event.topic),
        };
        if topic.is_empty() {
            return Err(SinkError::park("the route's topic is empty for this event"));
        }
        match &self.laying.format {
            Some(format) => {
                let outgoing = Outgoing {
                    event,
                    topic: &topic,
                    cloudevents: self.cloudevents,
                };
                format.format(&outgoing).await
            }
            None => Ok(Event { topic, ..event.clone() }),
        }
    }
}

#[async_trait]
impl Sink for FormattedSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let mut stopped_keys = HashSet::new();
        let mut stopped = None;
        let (mut events, mut places) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for (place, event) in batch.iter().enumerate() {
            if event.key.as_ref().is_some_and(|key| stopped_keys.contains(key)) {
                continue;
            }
            match self.lay(event).await {
                Ok(laid) => {
                    events.push(laid);
                    places.push(place);
                }
                Err(error) if matches!(error.action, Action::Park | Action::Retry { .. }) => {
                    report.failed(place, error);
                    stopped_keys.extend(event.key.as_ref());
                }
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
        }
        if !events.is_empty() {
            self.sink.deliver(&events, &mut report.part(places)).await?;
        }
        stopped.map_or(Ok(()), Err)
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.sink.close().await
    }
}
