//! The attributes of an event.

use std::borrow::Cow;

use onewrite_core::error::SinkError;
use onewrite_core::{Event, Template};

use super::{CloudEvents, REPLAY};

/// The attributes of one event in their order, but for `datacontenttype`, which each mode has its own place for.
pub(super) struct Attributes<'a>(pub Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Attributes<'a> {
    /// Those that the settings give an event.
    ///
    /// # Errors
    /// To park an event of which an attribute cannot be made.
    pub fn of(settings: &'a CloudEvents, event: &'a Event) -> Result<Self, SinkError> {
        let mut all = Self(Vec::with_capacity(12 + settings.extensions.len()));
        all.put("specversion", "1.0")?;
        all.put("id", event.id.hyphenated().to_string())?;
        all.put("source", uri(settings.source.address(event)?))?;
        let event_type = event.event_type.as_deref().filter(|text| !text.is_empty());
        match event_type {
            Some(event_type) => all.put("type", event_type)?,
            None => all.put("type", settings.default_type.address(event)?)?,
        }
        let rendered = |template: &'a Option<Template>| {
            let text = template.as_ref()?.render(event).ok()?;
            (!text.is_empty()).then_some(text)
        };
        if let Some(subject) = rendered(&settings.subject) {
            all.put("subject", subject)?;
        }
        all.put("time", format!("{:.6}", event.occurred_at))?;
        if let Some(template) = &settings.dataschema {
            all.put("dataschema", uri(template.address(event)?))?;
        }
        if let Some(key) = event.key.as_deref().filter(|key| !key.is_empty()) {
            all.put("partitionkey", key)?;
        }
        if let Some(replay) = event.replay {
            all.put(REPLAY, replay.to_string())?;
        }
        for name in ["traceparent", "tracestate"] {
            all.put_header(event, name, name)?;
        }
        for (name, header) in &settings.extensions {
            all.put_header(event, name, header)?;
        }
        Ok(all)
    }

    fn put_header(&mut self, event: &'a Event, attribute: &'a str, header: &str) -> Result<(), SinkError> {
        let mut headers = event.headers.iter();
        match headers.find(|(name, _)| name.eq_ignore_ascii_case(header)) {
            Some((_, value)) if !value.is_empty() => self.put(attribute, &**value),
            _ => Ok(()),
        }
    }

    fn put(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) -> Result<(), SinkError> {
        let value = value.into();
        if let Some(character) = value.chars().find(|character| !is_allowed(*character)) {
            return Err(SinkError::park(format!(
                "the CloudEvents attribute {name} would hold the character U+{:04X}, which the specification allows in no \
                 attribute",
                u32::from(character)
            )));
        }
        self.0.push((name, value));
        Ok(())
    }
}

/// CloudEvents 1.0.2, "Type System": no control characters and no noncharacters.
fn is_allowed(character: char) -> bool {
    let code = u32::from(character);
    !character.is_control() && !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

/// The text with everything percent-encoded that RFC 3986 has in no URI; a `%` stays, since it may begin an encoding.
fn uri(text: Cow<'_, str>) -> Cow<'_, str> {
    percent_encoded(text, |byte| {
        byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte)
    })
}

/// The text with every byte percent-encoded that is not `plain`.
pub(super) fn percent_encoded(text: Cow<'_, str>, plain: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if text.bytes().all(&plain) {
        return text;
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(encoded)
}
