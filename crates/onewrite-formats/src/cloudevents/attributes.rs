//! The attributes of an event.

use std::sync::Arc;

use onewrite_core::error::SinkError;
use onewrite_core::{Event, Template};

use super::CloudEvents;

/// The attributes of one event in their order, but for `datacontenttype`, which each mode has its own place for.
pub(super) struct Attributes(pub Vec<(Arc<str>, String)>);

impl Attributes {
    /// Those that the settings give an event.
    ///
    /// # Errors
    /// To park an event of which an attribute cannot be made.
    pub fn of(settings: &CloudEvents, event: &Event) -> Result<Self, SinkError> {
        let mut all = Self(Vec::with_capacity(10));
        all.put("specversion", "1.0".to_owned())?;
        all.put("id", event.id.hyphenated().to_string())?;
        all.put("source", uri(&settings.source.address(event)?))?;
        let event_type = event.event_type.as_deref().filter(|text| !text.is_empty());
        match event_type {
            Some(event_type) => all.put("type", event_type.to_owned())?,
            None => all.put("type", settings.default_type.address(event)?.into_owned())?,
        }
        let rendered = |template: &Option<Template>| {
            let text = template.as_ref()?.render(event).ok()?.into_owned();
            (!text.is_empty()).then_some(text)
        };
        if let Some(subject) = rendered(&settings.subject) {
            all.put("subject", subject)?;
        }
        all.put("time", format!("{:.6}", event.occurred_at))?;
        if let Some(template) = &settings.dataschema {
            all.put("dataschema", uri(&template.address(event)?))?;
        }
        if let Some(key) = event.key.as_deref().filter(|key| !key.is_empty()) {
            all.put("partitionkey", key.to_owned())?;
        }
        for name in ["traceparent", "tracestate"] {
            all.put_header(event, name, name)?;
        }
        for (name, header) in &settings.extensions {
            all.put_header(event, name, header)?;
        }
        Ok(all)
    }

    fn put_header(&mut self, event: &Event, attribute: &str, header: &str) -> Result<(), SinkError> {
        let mut headers = event.headers.iter();
        match headers.find(|(name, _)| name.eq_ignore_ascii_case(header)) {
            Some((_, value)) if !value.is_empty() => self.put(attribute, value.to_string()),
            _ => Ok(()),
        }
    }

    fn put(&mut self, name: &str, value: String) -> Result<(), SinkError> {
        if let Some(character) = value.chars().find(|character| !is_allowed(*character)) {
            return Err(SinkError::park(format!(
                "the CloudEvents attribute {name} would hold the character U+{:04X}, which the specification allows in no \
                 attribute",
                u32::from(character)
            )));
        }
        self.0.push((name.into(), value));
        Ok(())
    }
}

/// CloudEvents 1.0.2, "Type System": no control characters and no noncharacters.
fn is_allowed(character: char) -> bool {
    let code = u32::from(character);
    !character.is_control() && !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

/// The text with everything percent-encoded that RFC 3986 has in no URI; a `%` stays, since it may begin an encoding.
fn uri(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
