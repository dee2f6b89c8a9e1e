//! What is remembered of subjects and schemas.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Failure;
use crate::limits::{REFRESH_PAUSE, REFUSAL_HOLDS, REGISTRY_PAUSE, SCHEMAS_MAX, SUBJECT_PAUSE_MAX, SUBJECTS_MAX};

/// A schema, ready for use.
pub(super) struct Ready<C> {
    pub id: u32,
    pub schema: C,
}

/// What is known of subjects, and schemas by their numbers: both up to a limit.
pub(super) struct Known<C> {
    subjects: HashMap<String, Subject<C>>,
    schemas: HashMap<u32, Arc<Ready<C>>>,
    /// Until when nobody asks for a subject that has no schema yet, and why.
    away: Option<(Instant, String)>,
    /// Until when nobody looks for a newer schema.
    refreshing_again: Option<Instant>,
}

struct Subject<C> {
    since: Instant,
    what: What<C>,
}

enum What<C> {
    Found(Arc<Ready<C>>),
    Refused(Failure),
    /// The registry did not give it, and is not asked for it during this time.
    Missed {
        words: String,
        pause: Duration,
    },
}

/// What is known of one subject.
pub(super) enum Memory<C> {
    /// This holds.
    Good(Result<Arc<Ready<C>>, Failure>),
    /// This will do where the registry has nothing newer to say.
    Stale(Arc<Ready<C>>),
    Nothing,
}

impl<C> Default for Known<C> {
    fn default() -> Self {
        Self {
            subjects: HashMap::new(),
            schemas: HashMap::new(),
            away: None,
            refreshing_again: None,
        }
    }
}

impl<C> Known<C> {
    /// What is known of a subject. What was found holds for `ttl`, or for good.
    pub fn of(&self, subject: &str, ttl: Option<Duration>) -> Memory<C> {
        let now = Instant::now();
        let is_away = self.away.as_ref().filter(|(until, _)| now < *until);
        match self
            .subjects
            .get(subject)
            .map(|subject| (&subject.what, now - subject.since))
        {
            Some((What::Found(ready), age)) => {
                let rests = is_away.is_some() || self.refreshing_again.is_some_and(|until| now < until);
                if rests || ttl.is_none_or(|ttl| age < ttl) {
                    Memory::Good(Ok(Arc::clone(ready)))
                } else {
                    Memory::Stale(Arc::clone(ready))
                }
            }
            Some((What::Refused(failure), age)) if age < REFUSAL_HOLDS => Memory::Good(Err(failure.clone())),
            Some((What::Missed { words, pause }, age)) if age < *pause => {
                Memory::Good(Err(self.waited_out(words.clone(), now)))
            }
            _ => match is_away {
                Some((_, words)) => Memory::Good(Err(self.waited_out(words.clone(), now))),
                None => Memory::Nothing,
            },
        }
    }

    /// The registry answered: it has this schema for the subject, or refuses it.
    pub fn remember(&mut self, subject: &str, found: &Result<Arc<Ready<C>>, Failure>) {
        (self.away, self.refreshing_again) = (None, None);
        let what = match found {
            Ok(ready) => What::Found(Arc::clone(ready)),
            Err(failure) => What::Refused(failure.clone()),
        };
        self.put(subject, what);
    }

    /// The registry did not give a newer schema: all that are known will do for a while.
    pub fn not_refreshed(&mut self) {
        self.refreshing_again = Some(Instant::now() + REFRESH_PAUSE);
    }

    /// The registry did not give the schema of a subject that has none, and was waited for so long. It is left in peace a while, and
    /// this subject for longer.
    pub fn not_found(&mut self, subject: &str, words: String, waited: Duration) -> Failure {
        let now = Instant::now();
        let pause = waited.max(REGISTRY_PAUSE);
        self.away = Some((now + pause, words.clone()));
        let before = match self.subjects.get(subject) {
            Some(Subject {
                what: What::Missed { pause, .. },
                ..
            }) => *pause,
            _ => pause,
        };
        let missed = What::Missed {
            words: words.clone(),
            pause: (2 * before).min(SUBJECT_PAUSE_MAX).max(pause),
        };
        self.put(subject, missed);
        self.waited_out(words, now)
    }

    /// The schema of this number.
    pub fn schema(&self, id: u32) -> Option<Arc<Ready<C>>> {
        self.schemas.get(&id).cloned()
    }

    /// Keeps a schema under its number.
    pub fn keep(&mut self, ready: &Arc<Ready<C>>) {
        if self.schemas.len() >= SCHEMAS_MAX {
            // First those that no subject has any more.
            self.schemas.retain(|_, schema| Arc::strong_count(schema) > 1);
        }
        if self.schemas.len() >= SCHEMAS_MAX {
            let found = self.subjects.values().filter_map(|subject| match &subject.what {
                What::Found(ready) => Some((subject.since, ready.id)),
                _ => None,
            });
            let oldest = found.min().map(|(_, id)| id);
            self.schemas.retain(|id, _| Some(*id) != oldest);
            self.subjects
                .retain(|_, subject| !matches!(&subject.what, What::Found(ready) if Some(ready.id) == oldest));
        }
        self.schemas.insert(ready.id, Arc::clone(ready));
    }

    fn put(&mut self, subject: &str, what: What<C>) {
        if self.subjects.len() >= SUBJECTS_MAX && !self.subjects.contains_key(subject) {
            let oldest = self.subjects.iter().min_by_key(|(_, subject)| subject.since);
            if let Some(oldest) = oldest.map(|(subject, _)| subject.clone()) {
                self.subjects.remove(&oldest);
            }
        }
        let since = Instant::now();
        self.subjects.insert(subject.to_owned(), Subject { since, what });
    }

    /// That an event must wait until the registry is asked again. Each comes back at the same time, so that another subject has
    /// its turn while one that failed is still left in peace.
    fn waited_out(&self, words: String, now: Instant) -> Failure {
        let again = self
            .away
            .as_ref()
            .map(|(until, _)| until.saturating_duration_since(now));
        let after = Some(again.filter(|again| !again.is_zero()).unwrap_or(REGISTRY_PAUSE));
        Failure::Away { words, after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(id: u32) -> Arc<Ready<()>> {
        Arc::new(Ready { id, schema: () })
    }

    fn found(known: &mut Known<()>, subject: &str, id: u32) {
        let ready = known.schema(id).unwrap_or_else(|| {
            let made = ready(id);
            known.keep(&made);
            made
        });
        known.remember(subject, &Ok(ready));
    }

    #[test]
    fn neither_subjects_nor_schemas_fill_the_memory() {
        let mut known = Known::default();
        let most = u32::try_from(SCHEMAS_MAX).unwrap();
        for id in 0..most + 50 {
            found(&mut known, &format!("s{id}"), id);
        }
        assert_eq!((known.schemas.len(), known.subjects.len()), (SCHEMAS_MAX, SCHEMAS_MAX));
        assert!(
            known.schema(49).is_none() && known.schema(50).is_some(),
            "the oldest go"
        );
        for number in 0..SUBJECTS_MAX + 5 {
            found(&mut known, &format!("t{number}"), most);
        }
        assert_eq!(known.subjects.len(), SUBJECTS_MAX);
        // What no subject has any more goes before what one has.
        found(&mut known, "t", 7);
        assert!(known.schema(most).is_some() && known.schemas.len() == 2);
    }

    #[test]
    fn a_subject_in_trouble_is_left_in_peace_for_longer_than_the_registry() {
        let mut known: Known<()> = Known::default();
        for doubled in [2, 4, 8, 16, 30, 30] {
            let Failure::Away { after, .. } = known.not_found("s", "trouble".to_owned(), Duration::ZERO) else {
                panic!("it is away")
            };
            assert_eq!(after, Some(REGISTRY_PAUSE));
            let What::Missed { pause, .. } = &known.subjects["s"].what else {
                panic!("it is missed")
            };
            assert_eq!(*pause, doubled * REGISTRY_PAUSE);
        }
        assert!(matches!(known.of("other", None), Memory::Good(Err(_))));
        known.not_refreshed();
        found(&mut known, "third", 1);
        assert!(
            matches!(known.of("other", None), Memory::Nothing),
            "the registry answered"
        );
    }

    #[test]
    fn a_refresh_that_failed_leaves_new_subjects_alone() {
        let mut known = Known::default();
        found(&mut known, "s", 1);
        assert!(matches!(known.of("s", Some(Duration::ZERO)), Memory::Stale(_)));
        known.not_refreshed();
        assert!(matches!(known.of("s", Some(Duration::ZERO)), Memory::Good(Ok(_))));
        assert!(matches!(known.of("new", Some(Duration::ZERO)), Memory::Nothing));
    }
}
