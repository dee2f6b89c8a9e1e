//! Alarms: what a person on call should know before it hurts, in words that name the cause and what to do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::limits;
use crate::limits::{ALARM_LOOKS, ALARM_WORSE};

/// Something that grows worse until a person does something about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarm {
    /// What it is about.
    pub kind: AlarmKind,
    /// Whom it concerns, such as `slot onewrite_shop`; with the kind it says whether two alarms are the same one.
    pub subject: String,
    /// What is wrong with its figures, why, and what to do.
    pub message: String,
    /// The figure that tells how bad it is, where there is one: bytes for what takes up space, seconds for what takes time.
    pub figure: Option<f64>,
}

/// What an alarm is about, the most pressing first. `docs/operations.md` has a section for each: meaning, cause, what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// The server gave a relay's replication slot up, or somebody dropped it.
    SlotLost,
    /// The write-ahead log is kept for a relay, or for a reader, and takes up the disk.
    WalRetained,
    /// A replication slot of Onewrite's that nobody uses.
    SlotUnused,
    /// A transaction stays open and holds back its own events, the emptying of segments, or the removal of dead rows.
    FloorHeld,
    /// Space that should be free by now and is not.
    SegmentBlocked,
    /// Segments are written to again before the retention is over, so that none is ever emptied.
    RotationShort,
    /// A route is further behind than events are kept for replays.
    RetentionShort,
}

impl AlarmKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::SlotLost,
        Self::WalRetained,
        Self::SlotUnused,
        Self::FloorHeld,
        Self::SegmentBlocked,
        Self::RotationShort,
        Self::RetentionShort,
    ];

    /// The word that is logged and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SlotLost => "slot_lost",
            Self::WalRetained => "wal_retained",
            Self::SlotUnused => "slot_unused",
            Self::FloorHeld => "floor_held",
            Self::SegmentBlocked => "segment_blocked",
            Self::RotationShort => "rotation_short",
            Self::RetentionShort => "retention_short",
        }
    }
}

/// From when on something is an alarm. The usual ones, with their reasons, stand in [`limits`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlarmThresholds {
    /// Bytes of the log that a slot may keep for a reason that is known.
    pub wal_retained: i64,
    /// The same without one.
    pub wal_retained_unexplained: i64,
    /// How long a slot's relay may be gone.
    pub slot_unused: Duration,
    /// How old a transaction may be that wrote something, or uses a segment.
    pub floor_held: Duration,
    /// The same of one that only reads.
    pub snapshot_held: Duration,
    /// How old a transaction must be to be named as what keeps a segment from being emptied.
    pub segment_used: Duration,
}

impl Default for AlarmThresholds {
    fn default() -> Self {
        Self {
            wal_retained: limits::WAL_RETAINED_THRESHOLD,
            wal_retained_unexplained: limits::WAL_RETAINED_UNEXPLAINED_THRESHOLD,
            slot_unused: limits::SLOT_UNUSED_THRESHOLD,
            floor_held: limits::FLOOR_HELD_THRESHOLD,
            snapshot_held: limits::SNAPSHOT_HELD_THRESHOLD,
            segment_used: limits::SEGMENT_USED_THRESHOLD,
        }
    }
}

/// Remembers which alarms were told, so that each is told when it begins, when it got materially worse and when it is over,
/// and not at every look.
#[derive(Debug, Default)]
pub struct AlarmWatch {
    told: BTreeMap<(AlarmKind, String), Told>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum AlarmNews {
    /// It is new.
    Begins(Alarm),
    /// Its figure is a multiple of what it was when it was told last.
    Worse(Alarm),
    /// It was not seen any more for some looks.
    Over {
        /// What it was about.
        kind: AlarmKind,
        /// Whom it concerned.
        subject: String,
    },
}

#[derive(Debug)]
struct Told {
    figure: Option<f64>,
    missed: u32,
}

impl AlarmWatch {
    /// Compares what is seen now with what was told, and returns what is to be told now.
    pub fn look(&mut self, alarms: Vec<Alarm>) -> Vec<AlarmNews> {
        let mut news = Vec::new();
        for told in self.told.values_mut() {
            told.missed += 1;
        }
        for alarm in alarms {
            let figure = alarm.figure;
            match self.told.get_mut(&(alarm.kind, alarm.subject.clone())) {
                Some(told) => {
                    told.missed = 0;
                    let worse = figure
                        .zip(told.figure)
                        .is_some_and(|(now, then)| now >= then * ALARM_WORSE);
                    if worse {
                        told.figure = figure;
                        news.push(AlarmNews::Worse(alarm));
                    }
                }
                None => {
                    let told = Told { figure, missed: 0 };
                    self.told.insert((alarm.kind, alarm.subject.clone()), told);
                    news.push(AlarmNews::Begins(alarm));
                }
            }
        }
        self.told.retain(|(kind, subject), told| {
            let over = told.missed >= ALARM_LOOKS;
            if over {
                let (kind, subject) = (*kind, subject.clone());
                news.push(AlarmNews::Over { kind, subject });
            }
            !over
        });
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(subject: &str, figure: f64) -> Alarm {
        Alarm {
            kind: AlarmKind::WalRetained,
            subject: subject.to_owned(),
            message: "words".to_owned(),
            figure: Some(figure),
        }
    }

    #[test]
    fn an_alarm_is_told_when_it_begins_when_it_doubled_and_when_it_is_over() {
        let mut watch = AlarmWatch::default();
        let mut look = |figures: &[f64]| watch.look(figures.iter().map(|figure| alarm("slot a", *figure)).collect());
        assert_eq!(look(&[]), []);
        assert_eq!(look(&[100.0]), [AlarmNews::Begins(alarm("slot a", 100.0))]);
        for figure in [100.0, 199.0, 50.0] {
            assert_eq!(look(&[figure]), []);
        }
        assert_eq!(look(&[200.0]), [AlarmNews::Worse(alarm("slot a", 200.0))]);
        assert_eq!(look(&[399.0]), []);
        // Around the threshold it comes and goes; that alone is no news.
        assert_eq!(look(&[]), []);
        assert_eq!(look(&[300.0]), []);
        assert_eq!(look(&[]), []);
        let over = AlarmNews::Over {
            kind: AlarmKind::WalRetained,
            subject: "slot a".to_owned(),
        };
        assert_eq!(look(&[]), [over]);
        assert_eq!(look(&[300.0]), [AlarmNews::Begins(alarm("slot a", 300.0))]);
    }

    #[test]
    fn alarms_are_told_apart_by_kind_and_subject() {
        let mut watch = AlarmWatch::default();
        let unused = Alarm {
            kind: AlarmKind::SlotUnused,
            ..alarm("slot a", 1.0)
        };
        let news = watch.look(vec![alarm("slot a", 1.0), alarm("slot b", 1.0), unused]);
        assert_eq!(news.len(), 3);
    }

    #[test]
    fn the_word_of_a_kind_is_the_one_in_json() {
        for kind in AlarmKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
