//! The options of an MQTT sink, read and checked against each other.

use std::time::Duration;

use onewrite_core::options::{Options, Secret};
use onewrite_core::template::Template;

use super::message::wrong_topic;
use crate::endpoint::{self, Endpoint, Scheme};
use crate::limits::{MQTT_KEEP_ALIVE_MAX, MQTT_TEXT_BYTES_MAX, MQTT_TIMEOUT_MAX, MQTT_TIMEOUT_MIN};
use crate::registry::BuildError;
use crate::tls::TlsFiles;

pub(super) const PLAIN: Scheme = Scheme {
    name: "mqtt",
    port: 1883,
};
pub(super) const ENCRYPTED: Scheme = Scheme {
    name: "mqtts",
    port: 8883,
};

/// Everything that the options say.
pub(super) struct Settings {
    pub urls: Vec<Endpoint>,
    pub encrypted: bool,
    pub tls: TlsFiles,
    pub client_id: Option<String>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub topic: Template,
    /// What full stops become.
    pub separator: Option<String>,
    pub qos: u8,
    pub retain: bool,
    /// In seconds.
    pub expiry: Option<u32>,
    pub require_subscribers: bool,
    /// Most messages under way.
    pub window: u16,
    /// In seconds.
    pub keep_alive: u16,
    pub timeout: Duration,
}

impl Settings {
    pub(super) fn read(options: &Options) -> Result<Self, BuildError> {
        let (urls, encrypted) = endpoint::read(options, PLAIN, ENCRYPTED)?;
        let password = options.secret("password").cloned();
        if password.as_ref().is_some_and(|password| password.expose().is_empty()) {
            let words = "is empty; leave it out, or set the variable that it comes from";
            return Err(BuildError::new(options, "password", words));
        }
        for (key, text) in [
            ("client_id", options.text("client_id")),
            ("user", options.text("user")),
            ("password", password.as_ref().map(Secret::expose)),
        ] {
            if text.is_some_and(|text| text.len() > MQTT_TEXT_BYTES_MAX || text.contains('\0')) {
                let words = format!("is longer than {MQTT_TEXT_BYTES_MAX} bytes, or holds a NUL; MQTT takes neither");
                return Err(BuildError::new(options, key, words));
            }
        }
        Ok(Self {
            tls: TlsFiles::read(options, (!encrypted).then_some((PLAIN.name, ENCRYPTED.name)))?,
            urls,
            encrypted,
            client_id: client_id(options)?,
            user: options.text("user").map(str::to_owned),
            password,
            topic: topic(options)?,
            separator: separator(options)?,
            qos: if options.integer("qos") == Some(2) { 2 } else { 1 },
            retain: options.flag("retain"),
            expiry: expiry(options)?,
            require_subscribers: options.flag("require_subscribers"),
            window: options
                .integer("window")
                .and_then(|window| u16::try_from(window).ok())
                .unwrap_or(1_000),
            keep_alive: keep_alive(options)?,
            timeout: timeout(options)?,
        })
    }
}

fn client_id(options: &Options) -> Result<Option<String>, BuildError> {
    match options.text("client_id") {
        Some("") => {
            let words = "is empty; leave it out for a new one with each connection";
            Err(BuildError::new(options, "client_id", words))
        }
        id => Ok(id.map(str::to_owned)),
    }
}

fn topic(options: &Options) -> Result<Template, BuildError> {
    let Some(template) = options.template("topic") else {
        return Err(BuildError::new(options, "topic", "is missing"));
    };
    match template.literal().and_then(wrong_topic) {
        Some(words) => Err(BuildError::new(options, "topic", format!("cannot be: {words}"))),
        None => Ok(template.clone()),
    }
}

fn separator(options: &Options) -> Result<Option<String>, BuildError> {
    let Some(separator) = options.text("topic_separator") else {
        return Ok(None);
    };
    if separator.is_empty() || wrong_topic(separator).is_some() {
        let words = format!("is {separator:?}; expected a text that a topic may hold, such as \"/\"");
        return Err(BuildError::new(options, "topic_separator", words));
    }
    Ok(Some(separator.to_owned()).filter(|separator| separator != "."))
}

fn expiry(options: &Options) -> Result<Option<u32>, BuildError> {
    let Some(expiry) = options.duration("message_expiry") else {
        return Ok(None);
    };
    match u32::try_from(expiry.as_secs()) {
        Ok(seconds) if seconds > 0 => Ok(Some(seconds)),
        _ => {
            let words = format!("is {expiry:?}; expected whole seconds, from 1s to {}s", u32::MAX);
            Err(BuildError::new(options, "message_expiry", words))
        }
    }
}

fn keep_alive(options: &Options) -> Result<u16, BuildError> {
    let keep_alive = options.duration("keep_alive").unwrap_or(Duration::from_secs(30));
    match u16::try_from(keep_alive.as_secs()) {
        Ok(seconds) if seconds >= 2 => Ok(seconds),
        _ => {
            let words = format!("is {keep_alive:?}; expected 2s to {MQTT_KEEP_ALIVE_MAX:?}");
            Err(BuildError::new(options, "keep_alive", words))
        }
    }
}

fn timeout(options: &Options) -> Result<Duration, BuildError> {
    let timeout = options.duration("timeout").unwrap_or(MQTT_TIMEOUT_MAX);
    if (MQTT_TIMEOUT_MIN..=MQTT_TIMEOUT_MAX).contains(&timeout) {
        return Ok(timeout);
    }
    let words = format!("is {timeout:?}; expected {MQTT_TIMEOUT_MIN:?} to {MQTT_TIMEOUT_MAX:?}");
    Err(BuildError::new(options, "timeout", words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[(&str, &str)]) -> Result<Settings, String> {
        let all = [&[("urls", "mqtt://localhost")], texts].concat();
        let options = Options::from_texts("sinks.x", super::super::FIELDS, &all).unwrap();
        Settings::read(&options).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_hold_together() {
        let settings = read(&[]).unwrap();
        assert_eq!(
            (settings.qos, settings.retain, settings.require_subscribers),
            (1, false, true)
        );
        assert_eq!(
            (settings.window, settings.keep_alive, settings.expiry),
            (1_000, 30, None)
        );
        assert_eq!(settings.urls[0].port, 1883);
        let settings = read(&[("qos", "2"), ("topic_separator", "/"), ("message_expiry", "1h")]).unwrap();
        assert_eq!((settings.qos, settings.separator.as_deref()), (2, Some("/")));
        assert_eq!(settings.expiry, Some(3600));
    }

    #[test]
    fn what_does_not_hold_together_is_told() {
        for (texts, words) in [
            (&[("password", "")][..], "sinks.x.password: is empty"),
            (&[("client_id", "")], "sinks.x.client_id: is empty"),
            (
                &[("user", "a\0b")],
                "sinks.x.user: is longer than 65535 bytes, or holds a NUL",
            ),
            (
                &[("topic", "shop/#")],
                "sinks.x.topic: cannot be: the topic \"shop/#\" holds '#'",
            ),
            (&[("topic", "")], "sinks.x.topic: cannot be: the topic is empty"),
            (&[("topic_separator", "+")], "sinks.x.topic_separator: is \"+\""),
            (&[("message_expiry", "10ms")], "sinks.x.message_expiry: is 10ms"),
            (
                &[("keep_alive", "1s")],
                "sinks.x.keep_alive: is 1s; expected 2s to 65535s",
            ),
            (&[("timeout", "1h")], "sinks.x.timeout: is 3600s; expected 50ms to 30s"),
            (
                &[("key_file", "x.pem")],
                "sinks.x.key_file: is set, but the url is mqtt://",
            ),
        ] {
            let error = read(texts).err().unwrap();
            assert!(error.starts_with(words), "{error}");
        }
    }
}
