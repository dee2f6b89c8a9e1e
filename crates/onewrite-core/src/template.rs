//! Templates of topics, routing keys and other addresses: text with an event's fields in it, and nothing that is executed.
//!
//! | written | stands for |
//! | --- | --- |
//! | `{topic}`, `{key}`, `{type}`, `{id}` | the event's field of that name |
//! | `{header.NAME}` | the event's own header NAME, in whatever case |
//! | `{key|none}` | the field, or the text behind the bar where the event has none or an empty one |
//! | `{{` and `}}` | a brace |
//!
//! Anything else in braces is refused when the configuration is read.

use std::borrow::Cow;
use std::fmt;

use crate::error::SinkError;
use crate::event::Event;
use crate::options::nearest;

/// A text with fields in it, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { field: Field, otherwise: Option<String> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Topic,
    Key,
    Type,
    Id,
    Header(String),
}

const FIELDS: &[&str] = &["topic", "key", "type", "id", "header.NAME"];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it and what is expected.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(InvalidTemplate(
                    "has a \"}\" that closes nothing; write \"}}\" for a brace".to_owned(),
                ));
            }
            let Some((inside, after)) = rest.split_once('}') else {
                return Err(InvalidTemplate(
                    "has a \"{\" that nothing closes; write \"{{\" for a brace".to_owned(),
                ));
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(field(inside)?);
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// The text for an event.
    ///
    /// # Errors
    /// Which field the event lacks; such an event is poison.
    pub fn render<'a>(&'a self, event: &'a Event) -> Result<Cow<'a, str>, MissingField> {
        self.render_at(event, &event.topic)
    }

    /// The same, where `{topic}` stands for this topic in place of the event's.
    ///
    /// # Errors
    /// As for [`render`](Self::render).
    pub fn render_at<'a>(&'a self, event: &'a Event, topic: &'a str) -> Result<Cow<'a, str>, MissingField> {
        if let [only] = &self.parts[..] {
            return self.part(only, event, topic);
        }
        let mut text = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            text.push_str(&self.part(part, event, topic)?);
        }
        Ok(Cow::Owned(text))
    }

    /// The same, as the error of a sink that parks an event of which no address can be made.
    ///
    /// # Errors
    /// To park the event.
    pub fn address<'a>(&'a self, event: &'a Event) -> Result<Cow<'a, str>, SinkError> {
        self.address_at(event, &event.topic)
    }

    /// The same, where `{topic}` stands for this topic in place of the event's.
    ///
    /// # Errors
    /// To park the event.
    pub fn address_at<'a>(&'a self, event: &'a Event, topic: &'a str) -> Result<Cow<'a, str>, SinkError> {
        self.render_at(event, topic)
            .map_err(|missing| SinkError::park(missing.to_string()))
    }

    /// The text, where it is the same for every event.
    pub fn literal(&self) -> Option<&str> {
        match &self.parts[..] {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The texts for events of these topics, as far as they depend on nothing else: what a check can look at.
    pub fn for_topics(&self, topics: &[String]) -> Vec<String> {
        let known = |part: &Part| {
            matches!(
                part,
                Part::Text(_)
                    | Part::Field {
                        field: Field::Topic,
                        ..
                    }
            )
        };
        if let Some(literal) = self.literal() {
            return vec![literal.to_owned()];
        }
        if !self.parts.iter().all(known) {
            return Vec::new();
        }
        let text = |topic: &String| {
            let text = |part: &Part| match part {
                Part::Text(text) => text.clone(),
                Part::Field { .. } => topic.clone(),
            };
            self.parts.iter().map(text).collect()
        };
        topics.iter().map(text).collect()
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn part<'a>(&'a self, part: &'a Part, event: &'a Event, topic: &'a str) -> Result<Cow<'a, str>, MissingField> {
        let (field, otherwise) = match part {
            Part::Text(text) => return Ok(Cow::Borrowed(text)),
            Part::Field { field, otherwise } => (field, otherwise),
        };
        let value = match field {
            Field::Id => return Ok(Cow::Owned(event.id.hyphenated().to_string())),
            Field::Topic => Some(topic),
            Field::Key => event.key.as_deref(),
            Field::Type => event.event_type.as_deref(),
            Field::Header(name) => {
                let mut headers = event.headers.iter();
                headers
                    .find(|(found, _)| found.eq_ignore_ascii_case(name))
                    .map(|(_, value)| &**value)
            }
        };
        let value = value.filter(|value| !value.is_empty()).or(otherwise.as_deref());
        value.map(Cow::Borrowed).ok_or_else(|| MissingField {
            template: self.text.clone(),
            field: field.to_string(),
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic => formatter.write_str("topic"),
            Self::Key => formatter.write_str("key"),
            Self::Type => formatter.write_str("type"),
            Self::Id => formatter.write_str("id"),
            Self::Header(name) => write!(formatter, "header {name:?}"),
        }
    }
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTemplate(String);

/// An event that has not what a template needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the template {template:?} needs the event's {field}, and it has none; give the event one, or write a substitute behind a bar, as in {{key|none}}"
)]
pub struct MissingField {
    /// The template.
    pub template: String,
    /// What is missing, such as `header "region"`.
    pub field: String,
}

fn field(inside: &str) -> Result<Part, InvalidTemplate> {
    let (name, otherwise) = match inside.split_once('|') {
        Some((name, otherwise)) => (name, Some(otherwise.to_owned())),
        None => (inside, None),
    };
    let field = match name {
        "topic" => Field::Topic,
        "key" => Field::Key,
        "type" => Field::Type,
        "id" => Field::Id,
        _ => match name.strip_prefix("header.") {
            Some(header) if !header.is_empty() => Field::Header(header.to_owned()),
            _ => return Err(unknown(name)),
        },
    };
    if otherwise.as_deref() == Some("") {
        return Err(InvalidTemplate(format!("has nothing behind the bar of {{{inside}}}")));
    }
    Ok(Part::Field { field, otherwise })
}

fn unknown(name: &str) -> InvalidTemplate {
    InvalidTemplate(match nearest(name, FIELDS.iter().copied()) {
        Some(near) => format!("has the unknown field {{{name}}}; did you mean {{{near}}}?"),
        None => format!(
            "has the unknown field {{{name}}}; the fields are {{{}}}",
            FIELDS.join("}, {")
        ),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn event() -> Event {
        Event {
            id: uuid::Uuid::from_u128(7),
            topic: "shop.orders".into(),
            key: Some("42".into()),
            event_type: None,
            payload: Bytes::new(),
            content_type: "".into(),
            headers: vec![("Region".into(), "eu".into()), ("empty".into(), "".into())],
            occurred_at: Timestamp::UNIX_EPOCH,
            replay: None,
            headers_complete: false,
            verbatim: None,
        }
    }

    fn rendered(text: &str) -> Result<String, String> {
        let template = Template::parse(text).map_err(|error| error.to_string())?;
        let rendered = template.render(&event()).map(Cow::into_owned);
        rendered.map_err(|error| error.to_string())
    }

    #[test]
    fn fields_take_their_places() {
        assert_eq!(rendered("{topic}").unwrap(), "shop.orders");
        assert_eq!(
            rendered("a.{topic}.{key}.{header.region}").unwrap(),
            "a.shop.orders.42.eu"
        );
        assert_eq!(rendered("{id}").unwrap(), "00000000-0000-0000-0000-000000000007");
        assert_eq!(rendered("{type|none}/{header.empty|x}").unwrap(), "none/x");
        assert_eq!(rendered("{{{key}}}").unwrap(), "{42}");
        assert_eq!(rendered("").unwrap(), "");
    }

    #[test]
    fn what_an_event_lacks_is_named() {
        let words = rendered("{header.tenant}.x").unwrap_err();
        assert!(
            words.starts_with(
                "the template \"{header.tenant}.x\" needs the event's header \"tenant\", and it has none;"
            ),
            "{words}"
        );
        assert!(rendered("{type}").unwrap_err().contains("needs the event's type"));
    }

    #[test]
    fn what_is_no_template_is_told() {
        for (text, words) in [
            ("{topci}", "has the unknown field {topci}; did you mean {topic}?"),
            (
                "{!}",
                "has the unknown field {!}; the fields are {topic}, {key}, {type}, {id}, {header.NAME}",
            ),
            ("a{key", "has a \"{\" that nothing closes; write \"{{\" for a brace"),
            ("a}", "has a \"}\" that closes nothing; write \"}}\" for a brace"),
            ("{key|}", "has nothing behind the bar of {key|}"),
        ] {
            assert_eq!(rendered(text).unwrap_err(), words);
        }
    }

    #[test]
    fn a_check_sees_the_addresses_that_are_known() {
        let topics = ["a".to_owned(), "b".to_owned()];
        let known = |text| Template::parse(text).unwrap().for_topics(&topics);
        assert_eq!(known("fixed"), ["fixed"]);
        assert_eq!(known("x.{topic}"), ["x.a", "x.b"]);
        assert!(known("x.{key}").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}|a-z.]{0,20}") {
            let _ = rendered(&text);
        }

        #[test]
        fn an_escaped_text_stands_for_itself(text in ".{0,20}") {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(rendered(&escaped).unwrap(), text);
        }
    }
}
