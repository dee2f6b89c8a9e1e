//! Protobuf.
//!
#![doc = include_str!("../guides/protobuf.md")]
//!
//! The place of a message in its file, which the wire format has before the body: the indices of the message and of the messages
//! that it is nested in, outermost first, behind their count; a single nought stands for the first message of the file.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use onewrite_core::{Event, Template};
use prost_reflect::prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, FileDescriptor, MessageDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::frame::zigzag;
use super::resolver::Source;
use super::serializer::Language;
use crate::limits::NESTING_MAX;

pub(super) struct Protobuf {
    message: Option<Template>,
    options: DeserializeOptions,
}

impl Protobuf {
    pub fn new(message: Option<Template>, refuse_unknown: bool) -> Self {
        Self {
            message,
            options: DeserializeOptions::new().deny_unknown_fields(refuse_unknown),
        }
    }
}

/// A file of messages.
pub(super) struct Messages {
    file: FileDescriptor,
    first: MessageDescriptor,
    /// Where messages stand that were asked for.
    places: Mutex<HashMap<String, (MessageDescriptor, Vec<u8>)>>,
}

/// What the registry's schema is called among its references; none can have this name.
const OWN_NAME: &str = "onewrite/the-schema-itself.proto";

impl Language for Protobuf {
    const KIND: &'static str = "protobuf";
    const TYPE: &'static str = "PROTOBUF";
    const CONTENT_TYPE: &'static str = "application/vnd.confluent.protobuf";

    type Schema = Messages;

    fn compile(&self, source: &Source) -> Result<Messages, String> {
        let mut texts: HashMap<String, String> = source.references.iter().cloned().collect();
        texts.insert(OWN_NAME.to_owned(), source.text.clone());
        // The parser calls itself for each level.
        if texts.values().any(|text| nesting(text) > NESTING_MAX) {
            return Err(format!("it is nested more than {NESTING_MAX} deep"));
        }
        let mut resolver = ChainFileResolver::new();
        resolver.add(Texts(texts));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.include_imports(true);
        compiler
            .open_file(OWN_NAME)
            .map_err(|error| onewrite_core::error::chain(&error))?;
        let pool = compiler.descriptor_pool();
        let file = pool.get_file_by_name(OWN_NAME).expect("the file was compiled");
        let first = file.messages().next().ok_or("it holds no message")?;
        Ok(Messages {
            file,
            first,
            places: Mutex::default(),
        })
    }

    fn name(&self, schema: &Messages) -> Option<String> {
        let configured = self.message.as_ref().and_then(|template| template.literal());
        Some(configured.unwrap_or(schema.first.full_name()).to_owned())
    }

    fn encode(&self, schema: &Messages, event: &Event, out: &mut Vec<u8>) -> Result<(), String> {
        let message = match &self.message {
            None => {
                // The first message of the file.
                out.push(0);
                schema.first.clone()
            }
            Some(template) => {
                let name = template.render(event).map_err(|missing| missing.to_string())?;
                let (message, place) = schema.find(&name)?;
                out.extend_from_slice(&place);
                message
            }
        };
        let mut json = serde_json::Deserializer::from_slice(&event.payload);
        let read = DynamicMessage::deserialize_with_options(message, &mut json, &self.options);
        let read = read.and_then(|read| json.end().map(|()| read));
        let read = read.map_err(|error| error.to_string())?;
        read.encode(out).map_err(|error| error.to_string())
    }
}

impl Messages {
    /// A message by its full name, and its place as it is written.
    fn find(&self, name: &str) -> Result<(MessageDescriptor, Vec<u8>), String> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = places.get(name) {
            return Ok(found.clone());
        }
        let message = self.file.parent_pool().get_message_by_name(name);
        let message = message
            .filter(|message| message.parent_file() == self.file)
            .ok_or_else(|| {
                let known: Vec<_> = self
                    .file
                    .messages()
                    .map(|message| message.full_name().to_owned())
                    .collect();
                format!(
                    "the schema has no message {name:?}; its messages are {}",
                    known.join(", ")
                )
            })?;
        let place = place_of(&message);
        places.insert(name.to_owned(), (message.clone(), place.clone()));
        Ok((message, place))
    }
}

fn place_of(message: &MessageDescriptor) -> Vec<u8> {
    // A descriptor's path alternates the numbers of fields (of the file: 4, of a message: 3) with indices.
    let indices: Vec<i64> = message
        .path()
        .iter()
        .skip(1)
        .step_by(2)
        .map(|index| i64::from(*index))
        .collect();
    let mut place = Vec::with_capacity(indices.len() + 1);
    if indices == [0] {
        place.push(0);
        return place;
    }
    zigzag(
        i64::try_from(indices.len()).expect("messages are not nested that deep"),
        &mut place,
    );
    for index in indices {
        zigzag(index, &mut place);
    }
    place
}

/// How deep braces and brackets stand in one another outside of comments and strings.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after.first()) {
            (b'/', Some(b'/')) => behind(after, |byte| byte == b'\n'),
            (b'/', Some(b'*')) => behind_comment(&after[1..]),
            (b'"' | b'\'', _) => behind_string(after, *first),
            _ => after,
        };
        match first {
            b'{' | b'[' | b'<' => depth += 1,
            b'}' | b']' | b'>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn behind(text: &[u8], is_end: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| is_end(*byte));
    end.map_or(&[], |end| &text[end + 1..])
}

/// Comments stand in one another for the parser, which calls that wrong only afterwards.
fn behind_comment(mut text: &[u8]) -> &[u8] {
    let mut depth = 1;
    while depth > 0 && !text.is_empty() {
        text = match text {
            [b'*', b'/', after @ ..] => {
                depth -= 1;
                after
            }
            [b'/', b'*', after @ ..] => {
                depth += 1;
                after
            }
            _ => &text[1..],
        };
    }
    text
}

/// A string ends with its line at the latest.
fn behind_string(mut text: &[u8], quote: u8) -> &[u8] {
    while let [first, after @ ..] = text {
        text = match (first, after) {
            (b'\\', [_, after @ ..]) => after,
            (b'\n', _) => return after,
            (first, _) if *first == quote => return after,
            _ => after,
        };
    }
    text
}

/// Files by their names.
struct Texts(HashMap<String, String>);

impl FileResolver for Texts {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// A body is a message of the schema.
#[cfg(any(test, fuzzing))]
pub(super) fn is_read_back(schema: &Messages, body: &[u8]) {
    let message = body.strip_prefix(&[0]).expect("it is the first message of the file");
    let read = DynamicMessage::decode(schema.first.clone(), message);
    assert!(read.is_ok(), "{read:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemas::tests::event;

    const ORDER: &str = r#"
        syntax = "proto3";
        package shop;
        import "address.proto";
        import "google/protobuf/timestamp.proto";
        message Order {
          int64 id = 1;
          string note_text = 2;
          repeated Address to = 3;
          google.protobuf.Timestamp at = 4;
          bytes raw = 5;
          message Line { message Part { int32 n = 1; } int32 n = 1; }
          message Other { int32 n = 1; }
        }
        message Cancelled { int64 id = 1; }
    "#;
    const ADDRESS: &str = "syntax = \"proto3\"; package shop; message Address { string city = 1; }";

    fn encoded(message: Option<&str>, payload: &str) -> Result<Vec<u8>, String> {
        let template = message.map(|message| Template::parse(message).unwrap());
        let protobuf = Protobuf::new(template, true);
        let schema = protobuf.compile(&Source {
            text: ORDER.to_owned(),
            references: vec![("address.proto".to_owned(), ADDRESS.to_owned())],
        })?;
        let mut out = Vec::new();
        protobuf.encode(&schema, &event(payload), &mut out).map(|()| out)
    }

    #[test]
    fn a_message_is_laid_down_as_the_encoding_guide_has_it() {
        // By hand from https://protobuf.dev/programming-guides/encoding/: field 1 varint 150; field 2 length 2; field 3 length 6
        // of field 1 length 4; field 4 length 2 of field 1 varint 1; field 5 length 2.
        let json = r#"{"id":"150","noteText":"hi","to":[{"city":"Bern"}],"at":"1970-01-01T00:00:01Z","raw":"AP8="}"#;
        let expected = b"\x00\x08\x96\x01\x12\x02hi\x1a\x06\x0a\x04Bern\x22\x02\x08\x01\x2a\x02\x00\xff";
        assert_eq!(encoded(None, json).unwrap(), expected);
        assert_eq!(encoded(Some("shop.Order"), json).unwrap(), expected);
    }

    #[test]
    fn nested_and_later_messages_have_their_place_before_them() {
        let place = |message: &str| encoded(Some(message), "{}").unwrap();
        assert_eq!(place("shop.Cancelled"), [2, 2]);
        assert_eq!(place("shop.Order.Line"), [4, 0, 0]);
        assert_eq!(place("shop.Order.Other"), [4, 0, 2]);
        assert_eq!(place("shop.Order.Line.Part"), [6, 0, 0, 0]);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let words = encoded(None, r#"{"id":"x"}"#).unwrap_err();
        assert!(!words.is_empty(), "{words}");
        let words = encoded(None, r#"{"nope":1}"#).unwrap_err();
        assert!(words.contains("nope"), "{words}");
        let words = encoded(Some("shop.Address"), "{}").unwrap_err();
        assert!(
            words.contains("no message \"shop.Address\"") && words.contains("shop.Order"),
            "{words}"
        );
    }

    #[test]
    fn messages_without_end_in_one_another_are_refused() {
        let deep = |levels: usize| {
            format!(
                "syntax = \"proto3\"; {}{}",
                "message M { ".repeat(levels),
                "}".repeat(levels)
            )
        };
        let compiled = |text: String| {
            let references = Vec::new();
            Protobuf::new(None, true)
                .compile(&Source { text, references })
                .map(|_| ())
        };
        assert_eq!(compiled(deep(20)), Ok(()));
        assert_eq!(
            compiled(deep(20_000)),
            Err("it is nested more than 128 deep".to_owned())
        );
        assert_eq!(nesting("{ '}{{' \"\\\"{\" // {{\n [ /* { /* */ } */ { } ] }"), 3);
    }
}
