//! The format `cloudevents`.
//!
#![doc = include_str!("../guides/cloudevents.md")]

mod attributes;
mod binary;
mod structured;

use std::sync::Arc;

use async_trait::async_trait;
use onewrite_core::envelope::is_cloudevent;
use onewrite_core::error::SinkError;
use onewrite_core::options::{BuildError, Field, Kind, Options, defaulted, field};
use onewrite_core::{Event, Template};

use self::attributes::Attributes;
use crate::format::{Format, Outgoing};
use crate::limits::ATTRIBUTE_NAME_MAX;

/// What can be configured.
pub const FIELDS: &[Field] = &[
    defaulted(
        "mode",
        Kind::Choice(&["binary", "structured"]),
        "binary",
        "Whether attributes are headers and the payload stays the body, or one JSON document holds both.",
    ),
    defaulted(
        "source",
        Kind::Template,
        "/onewrite/{topic}",
        "The attribute source, a URI reference: the context in which the event happened. {topic} is the event's own topic.",
    ),
    defaulted(
        "default_type",
        Kind::Template,
        "{topic}",
        "The attribute type of events that have no type.",
    ),
    defaulted(
        "subject",
        Kind::Template,
        "{key}",
        "The attribute subject. An event that lacks the template's field has none; \"\" leaves it out always.",
    ),
    field(
        "dataschema",
        Kind::Template,
        "The attribute dataschema, a URI: the schema that the payload follows.",
    ),
    field(
        "extensions",
        Kind::Map,
        "Further attributes from the event's headers: names of attributes (1 to 20 lower-case letters and digits) and of \
         headers, such as { tenant = \"x-tenant\" }.",
    ),
];

/// The extension attribute that marks a replayed event, with the replay's number: what the header `onewrite-replay` is in the
/// format `native`.
const REPLAY: &str = "onewritereplay";

/// Attributes that the format itself sets or that the specification keeps for itself.
const TAKEN: &[&str] = &[
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
    "partitionkey",
    REPLAY,
    "traceparent",
    "tracestate",
];

/// Makes the format.
///
/// # Errors
/// An extension that no attribute can be, or an empty source.
pub fn build(options: &Options) -> Result<Arc<dyn Format>, BuildError> {
    let template = |name| options.template(name).cloned();
    let required = |name| {
        let template = template(name).expect("the field has a default");
        match template.literal() {
            Some("") => Err(BuildError::new(
                options,
                name,
                "is empty, and the attribute must not be; leave it out for the default",
            )),
            _ => Ok(template),
        }
    };
    let mut extensions = Vec::new();
    for (attribute, header) in options.map("extensions") {
        let problem = |words: String| BuildError::new(options, "extensions", format!("{attribute:?} {words}"));
        if !is_attribute_name(attribute) || attribute.len() > ATTRIBUTE_NAME_MAX {
            return Err(problem(format!(
                "cannot be the name of an attribute; expected 1 to {ATTRIBUTE_NAME_MAX} lower-case letters and digits"
            )));
        }
        if TAKEN.contains(&attribute) {
            return Err(problem(
                "is an attribute that the format sets itself; choose another name".to_owned(),
            ));
        }
        extensions.push((attribute.to_owned(), header.to_owned()));
    }
    Ok(Arc::new(CloudEvents {
        structured: options.text("mode") == Some("structured"),
        document_type: structured::CONTENT_TYPE.into(),
        source: required("source")?,
        default_type: required("default_type")?,
        subject: template("subject"),
        dataschema: template("dataschema").filter(|template| template.literal() != Some("")),
        extensions,
    }))
}

struct CloudEvents {
    structured: bool,
    /// The content type of a structured CloudEvent.
    document_type: Arc<str>,
    source: Template,
    default_type: Template,
    subject: Option<Template>,
    dataschema: Option<Template>,
    /// Names of attributes and of the headers that they come from.
    extensions: Vec<(String, String)>,
}

#[async_trait]
impl Format for CloudEvents {
    fn kind(&self) -> &'static str {
        "cloudevents"
    }

    fn makes_documents(&self) -> bool {
        self.structured
    }

    async fn format(&self, outgoing: &Outgoing<'_>) -> Result<Event, SinkError> {
        let event = outgoing.event;
        if is_cloudevent(&event.content_type) {
            return structured::pass(outgoing, Arc::clone(&self.document_type));
        }
        let attributes = Attributes::of(self, event)?;
        if self.structured {
            Ok(structured::write(
                outgoing,
                &attributes,
                Arc::clone(&self.document_type),
            ))
        } else {
            Ok(binary::write(outgoing, attributes))
        }
    }
}

/// Whether a text can be the name of an attribute.
fn is_attribute_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The event's own headers that can travel beside the attributes.
fn other_headers<'a>(outgoing: &Outgoing<'a>) -> impl Iterator<Item = &'a (Arc<str>, Arc<str>)> + use<'a> {
    let prefix = outgoing.cloudevents.prefix;
    outgoing.event.headers.iter().filter(move |(name, _)| {
        if prefix.is_empty() {
            return is_attribute_name(name) && !TAKEN.contains(&&**name);
        }
        let start = name.get(..prefix.len());
        !start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    })
}

#[cfg(test)]
mod tests;
