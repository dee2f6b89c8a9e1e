//! A format before a sink: what it cannot lay down it refuses before anything is sent, whatever becomes of what stands before it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use onewrite_core::sink::Finding;
use onewrite_core::{DeliveryReport, Event, Sink, SinkConnector, SinkError};

use crate::application::POISON;

/// Puts such a format before a connector; it refuses poison as long as `refusing` says so.
pub fn formatted(inner: Arc<dyn SinkConnector>, refusing: &Arc<AtomicBool>) -> Arc<dyn SinkConnector> {
    Arc::new(Formatted {
        inner,
        refusing: refusing.clone(),
    })
}

struct Formatted {
    inner: Arc<dyn SinkConnector>,
    refusing: Arc<AtomicBool>,
}

#[async_trait]
impl SinkConnector for Formatted {
    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn connect(&self) -> Result<Box<dyn Sink>, SinkError> {
        Ok(Box::new(FormattedSink {
            inner: self.inner.connect().await?,
            refusing: self.refusing.clone(),
        }))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        self.inner.probe(topics).await
    }
}

struct FormattedSink {
    inner: Box<dyn Sink>,
    refusing: Arc<AtomicBool>,
}

#[async_trait]
impl Sink for FormattedSink {
    async fn deliver(&self, batch: &[Event], report: &mut DeliveryReport) -> Result<(), SinkError> {
        let mut stopped: HashSet<&Arc<str>> = HashSet::new();
        let (mut places, mut laid_down) = (Vec::new(), Vec::new());
        for (index, event) in batch.iter().enumerate() {
            if event.key.as_ref().is_some_and(|key| stopped.contains(key)) {
                continue;
            }
            if event.payload == POISON && self.refusing.load(Ordering::Relaxed) {
                report.failed(index, SinkError::park("the format refuses it for good"));
                stopped.extend(&event.key);
            } else {
                places.push(index);
                laid_down.push(event.clone());
            }
        }
        self.inner.deliver(&laid_down, &mut report.part(places)).await
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.inner.close().await
    }
}
