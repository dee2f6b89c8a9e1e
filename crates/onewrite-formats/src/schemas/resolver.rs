//! From a subject to a schema that is ready for use.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::client::{Failure, Proposed, Registered, Registry};
use super::known::{Known, Memory, Ready};
use super::serializer::Language;
use super::settings::{Choice, Reference, Settings};
use crate::limits::{REFERENCES_MAX, REFRESH_TIMEOUT};

/// A schema's text, and the texts of all that it refers to, each after what it refers to itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub text: String,
    /// Names by which they are referred to, and texts.
    pub references: Vec<(String, String)>,
}

/// Finds schemas and remembers them.
pub(super) struct Resolver<L: Language> {
    pub registry: Registry,
    pub language: L,
    choice: Choice,
    ttl: Duration,
    /// How long a look-up may take, whatever it asks for and however often; and how long to wait for that of another.
    timeout: Duration,
    known: Mutex<Known<L::Schema>>,
    /// Held by the one who asks the registry, so that it is asked once for what many events wait for. Whoever finds what it
    /// needs among what is known does not wait for this.
    asking: Arc<tokio::sync::Mutex<()>>,
}

impl<L: Language> Resolver<L> {
    pub fn new(registry: Registry, language: L, settings: &Settings) -> Self {
        Self {
            registry,
            language,
            choice: settings.choice.clone(),
            ttl: settings.cache_ttl,
            timeout: settings.timeout,
            known: Mutex::new(Known::default()),
            asking: Arc::default(),
        }
    }

    /// Which schema of a subject is used.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The schema for a subject.
    pub async fn resolve(self: &Arc<Self>, subject: &str) -> Result<Arc<Ready<L::Schema>>, Failure> {
        let asking = Arc::clone(&self.asking);
        let asking = match self.remembered(subject) {
            Memory::Good(known) => return known,
            // While somebody asks already, the old one does.
            Memory::Stale(ready) => match asking.try_lock_owned() {
                Ok(asking) => asking,
                Err(_) => return Ok(ready),
            },
            Memory::Nothing => match timeout(self.timeout, asking.lock_owned()).await {
                Ok(asking) => asking,
                Err(_) => return Err(Failure::away("the schema registry is busy with other subjects")),
            },
        };
        // In a task of its own: what it finds is there for the next delivery, also where this one is given up meanwhile.
        let (this, subject) = (Arc::clone(self), subject.to_owned());
        let task = tokio::spawn(async move {
            let _asking = asking;
            this.ask(&subject).await
        });
        task.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure::away(format!("the look-up was given up: {error}"))),
        })
    }

    async fn ask(&self, subject: &str) -> Result<Arc<Ready<L::Schema>>, Failure> {
        // Whoever asked before may have found it.
        let stale = match self.remembered(subject) {
            Memory::Good(known) => return known,
            Memory::Stale(ready) => Some(ready),
            Memory::Nothing => None,
        };
        let begun = Instant::now();
        let patience = match stale {
            Some(_) => REFRESH_TIMEOUT.min(self.timeout),
            None => self.timeout,
        };
        let found = timeout(patience, self.look_up(subject)).await.unwrap_or_else(|_| {
            let words = format!("the schema registry did not give the schema of {subject:?} within {patience:?}");
            Err(Failure::away(words))
        });
        let found = match (found, stale) {
            // A registry that is still loading, and what stands before one, deny what is there. What is known was good a while ago.
            (Err(failure), Some(ready)) => {
                tracing::warn!(
                    subject,
                    id = ready.id,
                    error = %failure,
                    "the schema registry gave no newer schema; the one that is known is used on"
                );
                self.known().not_refreshed();
                return Ok(ready);
            }
            (Err(Failure::Away { words, .. }), None) => {
                tracing::warn!(subject, error = %words, "the schema registry is away");
                return Err(self.known().not_found(subject, words, begun.elapsed()));
            }
            (found, _) => found,
        };
        self.known().remember(subject, &found);
        found
    }

    fn remembered(&self, subject: &str) -> Memory<L::Schema> {
        // A version of a number, and a file, never become another schema.
        let ttl = matches!(self.choice, Choice::Latest).then_some(self.ttl);
        self.known().of(subject, ttl)
    }

    fn known(&self) -> MutexGuard<'_, Known<L::Schema>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_up(&self, subject: &str) -> Result<Arc<Ready<L::Schema>>, Failure> {
        let found = self.registered(subject).await?;
        if let Some(ready) = self.known().schema(found.id) {
            return Ok(ready);
        }
        let ready = Arc::new(Ready {
            id: found.id,
            schema: self.prepare(subject, &found).await?,
        });
        self.known().keep(&ready);
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
