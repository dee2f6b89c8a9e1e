//! The events that cases deliver.

use std::sync::Arc;

use jiff::Timestamp;
use onewrite_core::Event;
use uuid::Uuid;

/// Makes events for one destination.
pub(super) struct Maker {
    topic: Arc<str>,
    made: usize,
}

impl Maker {
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.into(),
            made: 0,
        }
    }

    /// An event with a new id.
    pub fn event(&mut self, key: Option<&str>) -> Event {
        self.made += 1;
        Event {
            id: Uuid::new_v4(),
            topic: Arc::clone(&self.topic),
            key: key.map(Into::into),
            event_type: Some("Checked".into()),
            payload: format!("{{\"number\": {}, \"text\": \"{:0>200}\"}}", self.made, "").into(),
            content_type: "application/json".into(),
            headers: vec![(
                "traceparent".into(),
                format!("00-{:032x}-0000000000000001-01", self.made).into(),
            )],
            occurred_at: Timestamp::from_microsecond(1_700_000_000_000_001).unwrap_or_default(),
            replay: None,
            headers_complete: false,
            verbatim: None,
        }
    }

    /// Events whose keys are taken in turn from so many.
    pub fn events(&mut self, count: usize, keys: usize) -> Vec<Event> {
        (0..count)
            .map(|at| self.event(Some(&format!("key-{}", at % keys))))
            .collect()
    }
}

/// The same event with another id and key.
pub(super) fn dressed(mut event: Event, key: &str) -> Event {
    event.id = Uuid::new_v4();
    event.key = Some(key.into());
    event
}
