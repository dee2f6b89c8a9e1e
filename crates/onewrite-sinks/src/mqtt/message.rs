//! An event as a message.

use std::borrow::Cow;
use std::fmt::Write as _;

use onewrite_core::Event;
use onewrite_core::error::SinkError;
use onewrite_core::wire::{HEADER_CONTENT_TYPE, HEADER_KEY, RESERVED_HEADER_PREFIX, key_header, native_headers};

use super::packet::{Message, Properties};
use super::settings::Settings;
use crate::limits::MQTT_TEXT_BYTES_MAX;

/// The message that an event is sent as, or why it never can be.
pub(super) fn message(settings: &Settings, event: &Event) -> Result<Message, SinkError> {
    let topic = topic(settings, event)?;
    let mut properties = Properties::default();
    if is_text(event) {
        properties.payload_is_text();
    }
    if let Some(expiry) = settings.expiry {
        properties.expiry(expiry);
    }
    let mut too_long = None;
    let mut put = |name: &str, value: &str| {
        let fits = if name == HEADER_CONTENT_TYPE {
            properties.content_type(&encoded(value, false))
        } else {
            let always = name.starts_with(RESERVED_HEADER_PREFIX);
            properties.user(&encoded(name, false), &encoded(value, always))
        };
        if !fits {
            too_long.get_or_insert_with(|| name.to_owned());
        }
    };
    native_headers(event, &mut put);
    if let Some(key) = key_header(event) {
        put(HEADER_KEY, key);
    }
    if let Some(name) = too_long {
        let words =
            format!("the header {name:?} is longer than {MQTT_TEXT_BYTES_MAX} bytes, the most that MQTT can hold");
        return Err(SinkError::park(words));
    }
    Ok(Message::new(
        &topic,
        settings.qos,
        settings.retain,
        &properties,
        event.payload.clone(),
    ))
}

/// What is wrong with a topic that messages would be sent to.
pub(super) fn wrong_topic(topic: &str) -> Option<String> {
    if topic.is_empty() {
        return Some("the topic is empty".to_owned());
    }
    if topic.len() > MQTT_TEXT_BYTES_MAX {
        let length = topic.len();
        return Some(format!(
            "the topic has {length} bytes; MQTT allows {MQTT_TEXT_BYTES_MAX}"
        ));
    }
    let wrong = topic
        .chars()
        .find(|character| matches!(character, '+' | '#') || is_forbidden(*character))?;
    Some(format!(
        "the topic {topic:?} holds {wrong:?}, which no MQTT topic that is sent to may hold"
    ))
}

/// The topic, with the full stops replaced.
pub(super) fn separated<'a>(settings: &Settings, topic: Cow<'a, str>) -> Cow<'a, str> {
    match &settings.separator {
        Some(separator) if topic.contains('.') => Cow::Owned(topic.replace('.', separator)),
        _ => topic,
    }
}

fn topic<'a>(settings: &'a Settings, event: &'a Event) -> Result<Cow<'a, str>, SinkError> {
    let topic = separated(settings, settings.topic.address(event)?);
    match wrong_topic(&topic) {
        Some(words) => Err(SinkError::park(words)),
        None => Ok(topic),
    }
}

/// Whether subscribers may be told that the payload is text. Brokers may check it, so it is looked at.
fn is_text(event: &Event) -> bool {
    let media = event.content_type.split(';').next().unwrap_or_default().trim();
    let named = media.starts_with("text/") || media == "application/json" || media.ends_with("+json");
    named && std::str::from_utf8(&event.payload).is_ok()
}

/// Characters for which a broker may close the connection (MQTT 5, 1.5.4: control characters and non-characters), and in `always` the
/// percent sign as well, are percent-encoded as UTF-8, so that decoding gives the text back.
fn encoded(text: &str, always: bool) -> Cow<'_, str> {
    if !text
        .chars()
        .any(|character| is_forbidden(character) || (always && character == '%'))
    {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if !is_forbidden(character) && character != '%' {
            encoded.push(character);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in character.encode_utf8(&mut bytes).bytes() {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    Cow::Owned(encoded)
}

fn is_forbidden(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_travel_as_they_are_where_they_can() {
        assert_eq!(encoded("Grüße, 鍵 50 %41", false), "Grüße, 鍵 50 %41");
        assert_eq!(encoded("Grüße, 50 %41", true), "Grüße, 50 %2541");
        assert_eq!(encoded("a\tb%", false), "a%09b%25");
        assert_eq!(encoded("\u{1}\u{85}\u{fffe}", true), "%01%C2%85%EF%BF%BE");
    }

    #[test]
    fn topics_that_nobody_may_send_to_are_told() {
        for topic in ["", "a/+", "#", "a\0b", "a\u{85}", &"x".repeat(65_536)] {
            assert!(wrong_topic(topic).is_some(), "{topic:?}");
        }
        for topic in ["shop/orders", "shop.orders", "/", "$x", "Größe"] {
            assert_eq!(wrong_topic(topic), None);
        }
    }
}
