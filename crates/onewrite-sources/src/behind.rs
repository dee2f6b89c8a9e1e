//! Routes that are behind, in words: why, and what to do about it.

use std::time::Duration;

use onewrite_core::alarm::{Alarm, AlarmKind};
use onewrite_core::limits::FLOOR_HELD_THRESHOLD;

use crate::words::age;

/// How far a route is, and who runs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Behind {
    pub relay: String,
    pub route: String,
    /// Whether a process holds the relay's lease.
    pub is_run: bool,
    /// Since when it was seen.
    pub seen_seconds_ago: Option<f64>,
    pub paused: bool,
    pub halted: Option<String>,
    pub last_error: Option<String>,
    /// Age of the first event beyond what the route has settled. It may be one that the route does not take; one that runs is past
    /// such events in no time.
    pub seconds: Option<f64>,
}

impl Behind {
    /// That it keeps something, and what to do about it.
    pub fn keeps(&self) -> String {
        let behind = self
            .seconds
            .map_or(String::new(), |seconds| format!(", it is {} behind", age(seconds)));
        format!(
            "route {:?} of relay {:?} has not settled all of it{behind}; {}",
            self.route,
            self.relay,
            self.remedy()
        )
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        let Self { relay, route, .. } = self;
        if !self.is_run {
            let since = self.seen_seconds_ago.map_or("nobody runs the relay".to_owned(), |ago| {
                format!("nobody has run the relay for {}", age(ago))
            });
            return format!("{since}: start it, or give it up for good with `onewrite forget --relay {relay}`");
        }
        match (&self.halted, self.paused, &self.last_error) {
            (Some(reason), _, _) => format!("it halted ({reason}): mend the cause, then `onewrite resume {route}`"),
            (None, true, _) => format!("it is paused: `onewrite resume {route}`"),
            (None, false, Some(error)) => format!("it is retrying ({error}): mend the cause, and it goes on by itself"),
            (None, false, None) => "it is delivering: `onewrite status` shows how fast it catches up".to_owned(),
        }
    }

    /// The alarm of a route that is further behind than events are kept.
    pub fn retention_short(&self, retention: Duration) -> Option<Alarm> {
        let behind = self.seconds?;
        if retention.is_zero() || behind < retention.max(FLOOR_HELD_THRESHOLD).as_secs_f64() {
            return None;
        }
        Some(Alarm {
            kind: AlarmKind::RetentionShort,
            subject: format!("route {} of relay {}", self.route, self.relay),
            message: format!(
                "it is {} behind, and events are kept for {} (source.retention). None is lost, since what it has not settled stays; \
                 but what it delivers from here on may be removed at once, and cannot be replayed then. Raise source.retention if \
                 that matters; and {}",
                age(behind),
                age(retention.as_secs_f64()),
                self.remedy()
            ),
            figure: Some(behind),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_depends_on_what_the_route_does() {
        let running = Behind {
            relay: "shop".to_owned(),
            route: "orders".to_owned(),
            is_run: true,
            ..Behind::default()
        };
        let error = Some("no broker".to_owned());
        let told = [
            running.clone(),
            Behind {
                last_error: error.clone(),
                ..running.clone()
            },
            Behind {
                paused: true,
                last_error: error.clone(),
                ..running.clone()
            },
            Behind {
                halted: error,
                paused: true,
                ..running.clone()
            },
            Behind {
                is_run: false,
                seen_seconds_ago: Some(7_200.0),
                ..running.clone()
            },
        ]
        .map(|behind| behind.remedy());
        assert!(told[0].starts_with("it is delivering"));
        assert!(told[1].starts_with("it is retrying (no broker)"));
        assert_eq!(told[2], "it is paused: `onewrite resume orders`");
        assert_eq!(
            told[3],
            "it halted (no broker): mend the cause, then `onewrite resume orders`"
        );
        assert!(told[4].starts_with("nobody has run the relay for 2 h") && told[4].contains("forget --relay shop"));
    }

    #[test]
    fn a_route_within_the_retention_is_no_alarm_and_without_a_retention_none_is() {
        let behind = |seconds| Behind {
            seconds,
            ..Behind::default()
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(behind(None).retention_short(hour), None);
        assert_eq!(behind(Some(3_599.0)).retention_short(hour), None);
        assert_eq!(behind(Some(9e9)).retention_short(Duration::ZERO), None);
        assert_eq!(
            behind(Some(3_600.0)).retention_short(hour).unwrap().figure,
            Some(3_600.0)
        );
        assert_eq!(behind(Some(30.0)).retention_short(Duration::from_secs(1)), None);
    }
}
