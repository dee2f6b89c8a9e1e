//! What the three formats share: subject, schema, frame, and the findings of `onewrite check`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use onewrite_core::Event;
use onewrite_core::error::SinkError;
use onewrite_core::options::{BuildError, Options};
use onewrite_core::sink::Finding;

use super::client::{Failure, Registry};
use super::frame;
use super::known::Ready;
use super::resolver::{Resolver, Source};
use super::settings::{Choice, Naming, Settings};
use super::subject;
use crate::format::{Format, Outgoing};

/// A language of schemas.
pub(super) trait Language: Send + Sync + 'static {
    /// What the configuration calls the format.
    const KIND: &'static str;
    /// What the registry calls the language.
    const TYPE: &'static str;
    /// The content type of what is written.
    const CONTENT_TYPE: &'static str;

    /// A schema that is ready for use.
    type Schema: Send + Sync;

    /// Reads a schema.
    ///
    /// # Errors
    /// What is wrong with it.
    fn compile(&self, source: &Source) -> Result<Self::Schema, String>;

    /// The full name of what the schema describes, where it has one.
    fn name(&self, schema: &Self::Schema) -> Option<String>;

    /// Appends the body.
    ///
    /// # Errors
    /// Why the event does not fit the schema, with the path of the field.
    fn encode(&self, schema: &Self::Schema, event: &Event, out: &mut Vec<u8>) -> Result<(), String>;
}

/// A format by a schema registry.
pub(super) struct Serializer<L: Language> {
    resolver: Arc<Resolver<L>>,
    content_type: Arc<str>,
    naming: Naming,
    framed: Vec<String>,
    /// The name of the record in the configured file.
    record: Option<String>,
}

impl<L: Language> Serializer<L> {
    /// A format of these settings.
    ///
    /// # Errors
    /// When the configured file holds no schema. One that refers to others can be read only with those, when it is used.
    pub fn new(settings: Settings, language: L) -> Result<Self, BuildError> {
        let mut record = None;
        if let Choice::File {
            path, text, references, ..
        } = &settings.choice
            && references.is_empty()
        {
            let source = Source {
                text: text.clone(),
                references: Vec::new(),
            };
            let schema = language.compile(&source).map_err(|words| {
                let section = Options::new(&settings.section);
                BuildError::new(
                    &section,
                    "schema_file",
                    format!("{path} holds no schema that can be used: {words}"),
                )
            })?;
            record = language.name(&schema);
        }
        Ok(Self {
            resolver: Arc::new(Resolver::new(Registry::new(&settings), language, &settings)),
            content_type: L::CONTENT_TYPE.into(),
            naming: settings.naming,
            framed: settings.framed,
            record,
        })
    }

    fn is_framed(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        self.framed.iter().any(|framed| framed.eq_ignore_ascii_case(essence))
    }

    fn body(&self, ready: &Ready<L::Schema>, event: &Event) -> Result<Bytes, SinkError> {
        let mut body = frame::begin(ready.id, event.payload.len());
        let encoded = self.resolver.language.encode(&ready.schema, event, &mut body);
        encoded
            .map_err(|words| SinkError::park(format!("the payload does not fit the schema {}: {words}", ready.id)))?;
        Ok(body.into())
    }

    async fn probe_subject(&self, subject: &str) -> Finding {
        let about = format!("subject {subject}");
        match self.try_subject(subject).await {
            Ok(words) => Finding::works(about, words),
            Err(Failure::Refused(words)) => {
                Finding::broken(about, format!("{words}; until this is mended, its events are parked"))
            }
            Err(error) => Finding::broken(about, error.to_string()),
        }
    }

    /// What a delivery would find, without registering anything.
    async fn try_subject(&self, subject: &str) -> Result<String, Failure> {
        let registry = &self.resolver.registry;
        let Choice::File { path, register, .. } = self.resolver.choice() else {
            let version = match self.resolver.choice() {
                Choice::Version(number) => Some(*number),
                _ => None,
            };
            let found = registry.of_subject(subject, version).await?;
            self.resolver.prepare(subject, &found).await?;
            return Ok(format!(
                "has version {}, which is the schema {}",
                found.version, found.id
            ));
        };
        let proposed = self.resolver.proposed().expect("a file is chosen");
        match (registry.find(subject, &proposed).await, register) {
            (Ok(id), _) => Ok(format!("has {path} as the schema {id}")),
            (Err(Failure::Refused(_)), true) => match registry.is_compatible(subject, &proposed).await {
                Ok(true) => Ok(format!(
                    "takes {path} as its next version; the first event registers it"
                )),
                Ok(false) => Err(Failure::Refused(format!(
                    "{path} is not compatible with the latest version"
                ))),
                Err(Failure::Refused(_)) => Ok(format!("does not exist; the first event registers {path} under it")),
                Err(error) => Err(error),
            },
            (Err(error), _) => Err(error),
        }
    }
}

#[async_trait]
impl<L: Language> Format for Serializer<L> {
    fn kind(&self) -> &'static str {
        L::KIND
    }

    async fn format(&self, outgoing: &Outgoing<'_>) -> Result<Event, SinkError> {
        let event = outgoing.event;
        let (payload, content_type) = if self.is_framed(&event.content_type) {
            if !frame::is_framed(&event.payload) {
                return Err(SinkError::park(format!(
                    "the content type {:?} says that the payload is framed for a schema registry, but it does not begin with a \
                     zero byte and a schema's id",
                    event.content_type
                )));
            }
            (event.payload.clone(), Arc::clone(&event.content_type))
        } else {
            let subject = subject::of(&self.naming, outgoing, self.record.as_deref())?;
            let ready = self.resolver.resolve(&subject).await?;
            (self.body(&ready, event)?, Arc::clone(&self.content_type))
        };
        Ok(outgoing.with_body(payload, content_type))
    }

    async fn probe(&self, topics: &[String]) -> Vec<Finding> {
        let registry = &self.resolver.registry;
        let about = format!("registry {}", registry.addresses());
        // Whether there is a schema of this number does not matter: the answer shows that the registry knows us.
        let mut findings = match registry.of_id(1).await {
            Ok(_) | Err(Failure::Refused(_)) => vec![Finding::works(about, "it answers")],
            Err(error) => return vec![Finding::broken(about, error.to_string())],
        };
        let subjects = subject::for_topics(&self.naming, topics, self.record.as_deref());
        if subjects.is_empty() {
            let words = "no subject is known before the events; which schemas there are was not looked at";
            findings.push(Finding::works("subjects", words));
        }
        for subject in subjects {
            findings.push(self.probe_subject(&subject).await);
        }
        findings
    }
}
