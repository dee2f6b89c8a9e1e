//! From a subject to a schema that is ready for use, with what is remembered of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::client::{Failure, Proposed, Registered, Registry};
use super::serializer::Language;
use super::settings::{Choice, Reference};
use crate::limits::{REFERENCES_MAX, REFRESH_PAUSE, REFRESH_TIMEOUT, REFUSAL_HOLDS, REGISTRY_PAUSE, SUBJECTS_MAX};

/// A schema's text, and the texts of all that it refers to, each after what it refers to itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub text: String,
    /// Names by which they are referred to, and texts.
    pub references: Vec<(String, String)>,
}

/// A schema, ready for use.
pub(super) struct Ready<C> {
    pub id: u32,
    pub schema: C,
}

/// Finds schemas and remembers them.
pub(super) struct Resolver<L: Language> {
    pub registry: Registry,
    pub language: L,
    choice: Choice,
    ttl: Duration,
    known: Mutex<Known<L::Schema>>,
    /// Held by the one who asks the registry, so that it is asked once for what many events wait for. Whoever finds what it
    /// needs among what is known does not wait for this.
    asking: tokio::sync::Mutex<()>,
}

struct Known<C> {
    subjects: HashMap<String, Subject<C>>,
    schemas: HashMap<u32, Arc<Ready<C>>>,
    /// Until when the registry is left in peace, and why.
    away: Option<(Instant, String)>,
}

enum Subject<C> {
    Found { ready: Arc<Ready<C>>, since: Instant },
    Refused { failure: Failure, since: Instant },
}

/// What is known of a subject.
enum Memory<C> {
    /// This holds.
    Good(Result<Arc<Ready<C>>, Failure>),
    /// This will do where the registry has nothing newer to say.
    Stale(Arc<Ready<C>>),
    Nothing,
}

impl<L: Language> Resolver<L> {
    pub fn new(registry: Registry, language: L, choice: Choice, ttl: Duration) -> Self {
        let known = Known {
            subjects: HashMap::new(),
            schemas: HashMap::new(),
            away: None,
        };
        Self {
            registry,
            language,
            choice,
            ttl,
            known: Mutex::new(known),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// Which schema of a subject is used.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The schema for a subject.
    pub async fn resolve(&self, subject: &str) -> Result<Arc<Ready<L::Schema>>, Failure> {
        let _asking = match self.remembered(subject) {
            Memory::Good(known) => return known,
            // While somebody asks already, the old one does.
            Memory::Stale(ready) => match self.asking.try_lock() {
                Ok(asking) => asking,
                Err(_) => return Ok(ready),
            },
            Memory::Nothing => self.asking.lock().await,
        };
        // Whoever asked before may have found it.
        let stale = match self.remembered(subject) {
            Memory::Good(known) => return known,
            Memory::Stale(ready) => Some(ready),
            Memory::Nothing => None,
        };
        let begun = Instant::now();
        let patience = if stale.is_some() {
            REFRESH_TIMEOUT
        } else {
            Duration::MAX
        };
        let found = tokio::time::timeout(patience, self.look_up(subject))
            .await
            .unwrap_or_else(|_| {
                let words = format!("the schema registry did not answer within {REFRESH_TIMEOUT:?}");
                Err(Failure::Away(words))
            });
        self.remember(subject, found, stale, begun)
    }

    fn remembered(&self, subject: &str) -> Memory<L::Schema> {
        let known = self.known();
        let now = Instant::now();
        let memory = match known.subjects.get(subject) {
            // A version of a number, and a file, never become another schema.
            Some(Subject::Found { ready, since })
                if !matches!(self.choice, Choice::Latest) || now - *since < self.ttl =>
            {
                return Memory::Good(Ok(Arc::clone(ready)));
            }
            Some(Subject::Refused { failure, since }) if now - *since < REFUSAL_HOLDS => {
                return Memory::Good(Err(failure.clone()));
            }
            Some(Subject::Found { ready, .. }) => Memory::Stale(Arc::clone(ready)),
            _ => Memory::Nothing,
        };
        match (known.away.as_ref().filter(|(until, _)| now < *until), memory) {
            (Some(_), Memory::Stale(ready)) => Memory::Good(Ok(ready)),
            (Some((_, words)), _) => Memory::Good(Err(Failure::Away(words.clone()))),
            (None, memory) => memory,
        }
    }

    fn remember(
        &self,
        subject: &str,
        found: Result<Arc<Ready<L::Schema>>, Failure>,
        stale: Option<Arc<Ready<L::Schema>>>,
        begun: Instant,
    ) -> Result<Arc<Ready<L::Schema>>, Failure> {
        let mut known = self.known();
        let since = Instant::now();
        let memory = match &found {
            Err(Failure::Away(words)) => {
                tracing::warn!(subject, error = %words, "the schema registry is away");
                // At least as long as it has just been waited for, so that waiting is not all that events do.
                let pause = if stale.is_some() { REFRESH_PAUSE } else { REGISTRY_PAUSE };
                known.away = Some((since + pause.max(since - begun), words.clone()));
                return stale.map_or(found, Ok);
            }
            Ok(ready) => Subject::Found {
                ready: Arc::clone(ready),
                since,
            },
            Err(failure) => Subject::Refused {
                failure: failure.clone(),
                since,
            },
        };
        known.away = None;
        // They are soon found again: only an answer of the registry comes this far.
        if known.subjects.len() >= SUBJECTS_MAX {
            known.subjects.clear();
        }
        known.subjects.insert(subject.to_owned(), memory);
        found
    }

    fn known(&self) -> MutexGuard<'_, Known<L::Schema>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, subject: &str) -> Result<Arc<Ready<L::Schema>>, Failure> {
        let found = self.registered(subject).await?;
        if let Some(ready) = self.known().schemas.get(&found.id) {
            return Ok(Arc::clone(ready));
        }
        let ready = Arc::new(Ready {
            id: found.id,
            schema: self.prepare(subject, &found).await?,
        });
        self.known().schemas.insert(found.id, Arc::clone(&ready));
        Ok(ready)
    }

    /// The chosen schema of a subject, as the registry has it.
    async fn registered(&self, subject: &str) -> Result<Registered, Failure> {
        match &self.choice {
            Choice::Latest => self.registry.of_subject(subject, None).await,
            Choice::Version(number) => self.registry.of_subject(subject, Some(*number)).await,
            Choice::File { register, .. } => {
                let proposed = self.proposed().expect("a file is chosen");
                let id = if *register {
                    self.registry.register(subject, &proposed).await?
                } else {
                    self.registry.find(subject, &proposed).await?
                };
                Ok(Registered {
                    id,
                    schema: proposed.schema.to_owned(),
                    schema_type: proposed.schema_type.to_owned(),
                    references: proposed.references.to_vec(),
                    version: 0,
                })
            }
        }
    }

    /// The schema of the file, as it is handed to the registry.
    pub fn proposed(&self) -> Option<Proposed<'_>> {
        match &self.choice {
            Choice::File { text, references, .. } => Some(Proposed {
                schema: text,
                schema_type: L::TYPE,
                references,
            }),
            _ => None,
        }
    }

    /// Makes a schema ready, with all that it refers to.
    pub async fn prepare(&self, subject: &str, found: &Registered) -> Result<L::Schema, Failure> {
        let of =
            |words: String| Failure::Refused(format!("the schema {} of the subject {subject:?} {words}", found.id));
        if found.schema_type != L::TYPE {
            let words = format!("is of the type {}; the format needs {}", found.schema_type, L::TYPE);
            return Err(of(words));
        }
        let mut source = Source {
            text: found.schema.clone(),
            references: Vec::new(),
        };
        self.gather(&found.references, &mut source).await?;
        self.language
            .compile(&source)
            .map_err(|words| of(format!("cannot be used: {words}")))
    }

    /// Fetches what is referred to, the deepest first.
    async fn gather(&self, references: &[Reference], source: &mut Source) -> Result<(), Failure> {
        enum Step {
            Look(Reference),
            Keep(String, String),
        }
        let mut seen = HashSet::new();
        let mut steps: Vec<Step> = references.iter().rev().cloned().map(Step::Look).collect();
        while let Some(step) = steps.pop() {
            let reference = match step {
                Step::Keep(name, text) => {
                    source.references.push((name, text));
                    continue;
                }
                Step::Look(reference) => reference,
            };
            if !seen.insert(reference.name.clone()) {
                continue;
            }
            if seen.len() > REFERENCES_MAX {
                let words = format!("the schema refers to more than {REFERENCES_MAX} others");
                return Err(Failure::Refused(words));
            }
            let found = self
                .registry
                .of_subject(&reference.subject, Some(reference.version))
                .await?;
            steps.push(Step::Keep(reference.name, found.schema));
            steps.extend(found.references.into_iter().rev().map(Step::Look));
        }
        Ok(())
    }
}
