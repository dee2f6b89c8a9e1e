//! A feed's way over the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use onewrite_core::routing::Share;
use onewrite_core::windows::Windows;
use onewrite_core::{BatchLimit, Sourced, StoreError};

use super::super::log::{Follower, LogRow, Subscription, Tick, Window};
use super::super::snapshot::Snapshot;
use super::repeated;

/// How often a feed that follows the log makes sure that ticks still come.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// A reader of the log that the routes of a relay share.
pub trait Log: Send + Sync {
    /// Subscribes a route; `None` while the log is not read.
    fn subscribe(&self, share: &Share) -> Option<Subscription>;

    /// Whether another relay leads.
    fn is_fenced(&self) -> bool;
}

/// Follows the log for one route, or waits for the chance to.
pub(super) struct Following {
    log: Arc<dyn Log>,
    share: Share,
    present: Option<(Subscription, Follower)>,
    /// The events of the open window that are not handed out; none while that is read from the table.
    ready: VecDeque<LogRow>,
}

impl Following {
    pub fn new(log: Arc<dyn Log>, share: &Share) -> Self {
        Self {
            log,
            share: share.clone(),
            present: None,
            ready: VecDeque::new(),
        }
    }

    /// Whether another relay leads.
    pub fn is_fenced(&self) -> bool {
        self.log.is_fenced()
    }

    /// Subscribes, unless it has or the log is not read at the moment.
    pub fn begin(&mut self) {
        if self.present.is_none() {
            let subscription = self.log.subscribe(&self.share);
            self.present = subscription.map(|subscription| {
                let follower = Follower::new(subscription.begun_before);
                (subscription, follower)
            });
        }
    }

    /// Whether everything comes over the log, and in time: then the table need not be looked at.
    pub fn is_followed(&self) -> bool {
        let followed = |(subscription, follower): &(Subscription, Follower)| {
            follower.has_joined() && subscription.is_complete() && subscription.is_timely()
        };
        self.present.as_ref().is_some_and(followed)
    }

    /// Whether events of the open window wait here.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next tick, and how the window up to it is read; its events are then ready here.
    pub fn next(&mut self, base: &Snapshot, limit: BatchLimit) -> Option<(Arc<Tick>, Window)> {
        let (subscription, follower) = self.present.as_mut()?;
        if !subscription.is_complete() {
            // It fell behind, or the connection broke: from here on the table is read.
            self.present = None;
            return None;
        }
        let (rows, tick) = subscription.take(limit)?;
        let (window, events) = follower.advance(base, rows, &tick);
        self.ready = events.into();
        if follower.has_left() {
            subscription.want();
        }
        Some((tick, window))
    }

    /// Hands out what is ready of the open window.
    pub fn hand_out(&mut self, windows: &mut Windows<Snapshot>, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        while events.len() < limit.events.max(1)
            && (events.is_empty() || bytes < limit.bytes)
            && let Some(LogRow {
                sequence,
                event,
                defect,
                ..
            }) = self.ready.pop_front()
        {
            if windows.reading().is_some_and(|reading| sequence <= reading.cursor) {
                return Err(repeated(sequence.cast_signed()));
            }
            bytes += event.payload.len();
            let position = windows.hand_out(sequence);
            events.push(Sourced {
                position,
                event,
                defect,
            });
        }
        if self.ready.is_empty() {
            windows.complete();
        }
        Ok(events)
    }

    /// Returns when something came, or it is time to look into the table.
    pub async fn wait(&self, pace: Duration) {
        let Some((subscription, _)) = &self.present else {
            return tokio::time::sleep(pace).await;
        };
        let longest = if self.is_followed() { WATCH_INTERVAL } else { pace };
        let _time_is_up = tokio::time::timeout(longest, subscription.changed()).await;
    }
}
