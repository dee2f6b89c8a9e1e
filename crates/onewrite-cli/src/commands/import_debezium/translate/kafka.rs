//! `[sinks.kafka]`: what Kafka's producer in Java was told, in the words of this program's sink and of librdkafka.

use super::Translator;
use super::sink::put_checked;
use crate::commands::import_debezium::file::Section;
use crate::commands::import_debezium::given::{Kind, Setting};
use crate::commands::import_debezium::report::Group;
use crate::commands::import_debezium::verdicts::RENAMED;

/// What the sink takes for its largest record, in bytes: librdkafka's own limits.
const MESSAGE_BYTES: std::ops::RangeInclusive<i64> = 1_000..=1_000_000_000;

/// `[sinks.kafka]` and `[sinks.kafka.properties]`.
pub(super) fn sections(translator: &mut Translator, brokers: &[String]) -> Vec<Section> {
    let mut section = Section::new("[sinks.kafka]", "Where they go: the cluster that Debezium wrote to.");
    let mut properties = Section::new(
        "[sinks.kafka.properties]",
        "Properties of the producer that librdkafka has as well, in its words.",
    );
    section.put("type", "kafka");
    put_brokers(translator, &mut section, brokers);
    encryption_and_login(translator, &mut section, &mut properties);
    if let Some(client) = producer(translator, "client.id") {
        let client = translator.text(client);
        section.put("client_id", client);
    }
    if let Some(setting) = producer(translator, "compression.type") {
        put_checked(translator, &mut section, setting, "kafka", "compression");
    }
    if let Some(setting) = producer(translator, "max.request.size") {
        largest(translator, &mut section, setting);
    }
    for (name, renamed) in RENAMED {
        if let Some(setting) = producer(translator, name) {
            if setting.value.literal() == Some("-1") {
                translator.tell(setting, Group::NotNeeded, "the system's own size holds without it");
                continue;
            }
            let value = translator.text(setting);
            properties.put(renamed, value);
        }
    }
    vec![section, properties]
}

fn producer<'g>(translator: &Translator<'g>, name: &str) -> Option<&'g Setting> {
    translator.given.get(&format!("producer.override.{name}"))
}

fn literal<'g>(translator: &Translator<'g>, name: &str) -> Option<&'g str> {
    producer(translator, name)?.value.literal().map(str::trim)
}

fn put_brokers(translator: &mut Translator, section: &mut Section, brokers: &[String]) {
    let setting = producer(translator, "bootstrap.servers");
    if !brokers.is_empty() {
        if let Some(setting) = setting {
            translator.tell(setting, Group::NotNeeded, "--brokers says otherwise");
        }
        return section.put("brokers", toml_edit::Array::from_iter(brokers));
    }
    let Some(setting) = setting else {
        let of_worker = match translator.given.kind {
            Kind::Connect => "the worker's bootstrap.servers, and what its producer.* say of TLS and login",
            Kind::Server => "the brokers, which the file does not name",
        };
        translator.missing(
            "[sinks.kafka] brokers",
            format!("{of_worker} (--brokers HOST:PORT,… names the brokers)"),
        );
        let placeholder = toml_edit::Array::from_iter(["HOST:9092"]);
        return section.put_with("brokers", placeholder, format!("FILL IN: {of_worker}."));
    };
    // Java's client takes a scheme before the address, and does nothing with it.
    let address = |item: &str| {
        item.rsplit_once("://")
            .map_or(item, |(_, address)| address)
            .trim()
            .to_owned()
    };
    let list = translator.text(setting);
    let items = list.split(',').map(address).filter(|item| !item.is_empty());
    let brokers = toml_edit::Array::from_iter(items);
    if setting.value.reference().is_some() {
        let words = "One address; for several, set ONEWRITE__SINKS__KAFKA__BROKERS, which takes commas.";
        return section.put_with("brokers", brokers, words);
    }
    section.put("brokers", brokers);
}

fn encryption_and_login(translator: &mut Translator, section: &mut Section, properties: &mut Section) {
    let protocol = producer(translator, "security.protocol");
    let known = protocol.map_or(Some("PLAINTEXT".to_owned()), |setting| {
        let protocol = setting.value.literal()?.trim().to_ascii_uppercase();
        ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
            .contains(&&*protocol)
            .then_some(protocol)
    });
    let (Some(known), setting) = (known, protocol) else {
        if let Some(setting) = protocol {
            let words = "its value is not known here; `tls` and `sasl_mechanism` in `[sinks.kafka]` say the same";
            translator.tell(setting, Group::FillIn, words);
        }
        return;
    };
    let (tls, sasl) = (known.ends_with("SSL"), known.starts_with("SASL"));
    if tls {
        section.put("tls", true);
        authorities(translator, section);
        certificate(translator, section);
    } else if let Some(setting) = setting.filter(|_| !sasl) {
        translator.tell(
            setting,
            Group::Translated,
            "without `tls` and `sasl_mechanism` in `[sinks.kafka]`",
        );
    }
    unused(
        translator,
        tls,
        "ssl.",
        "the connection is not encrypted, so the producer does not use it either",
    );
    unused(
        translator,
        sasl,
        "sasl.",
        "the producer does not log in, so it does not use it either",
    );
    if sasl {
        login(translator, section, properties);
    }
}

/// Settings of an area that the protocol leaves unused.
fn unused(translator: &mut Translator, used: bool, area: &str, words: &str) {
    if used {
        return;
    }
    for (_, setting) in translator.given.below(&format!("producer.override.{area}")) {
        translator.tell(setting, Group::NotNeeded, words);
    }
}

fn authorities(translator: &mut Translator, section: &mut Section) {
    let Some(setting) = producer(translator, "ssl.truststore.location") else {
        return;
    };
    if literal(translator, "ssl.truststore.type").is_some_and(|kind| kind.eq_ignore_ascii_case("PEM")) {
        let file = translator.text(setting);
        return section.put("ca_file", file);
    }
    let words = "export the truststore's certificates as PEM (keytool -exportcert -rfc), and name that file";
    translator.tell(
        setting,
        Group::FillIn,
        format!("{words} in `ca_file` of `[sinks.kafka]`"),
    );
    section.put_with("ca_file", "FILE.pem", format!("FILL IN: {words}."));
}

fn certificate(translator: &mut Translator, section: &mut Section) {
    let Some(setting) = producer(translator, "ssl.keystore.location") else {
        return;
    };
    if literal(translator, "ssl.keystore.type").is_some_and(|kind| kind.eq_ignore_ascii_case("PEM")) {
        let file = translator.text(setting);
        section.put("certificate_file", &file);
        section.put("key_file", file);
    } else {
        let words = "export the keystore's certificate and key as PEM (openssl pkcs12), and name the files";
        translator.tell(
            setting,
            Group::FillIn,
            format!("{words} in `certificate_file` and `key_file` of `[sinks.kafka]`"),
        );
        section.put_with("certificate_file", "FILE.pem", format!("FILL IN: {words}."));
        section.put("key_file", "FILE.key");
    }
    if let Some(password) = producer(translator, "ssl.key.password") {
        let password = translator.secret(password, "ONEWRITE_KAFKA_KEY_PASSWORD");
        section.put("key_password", password);
    }
}

fn login(translator: &mut Translator, section: &mut Section, properties: &mut Section) {
    let setting = producer(translator, "sasl.mechanism");
    // What Java's client takes where it is not told.
    let mechanism = setting.map_or("GSSAPI".to_owned(), |setting| translator.text(setting));
    match setting {
        Some(setting) => put_checked(translator, section, setting, "kafka", "sasl_mechanism"),
        None => section.put("sasl_mechanism", mechanism.clone()),
    }
    match mechanism.as_str() {
        "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => user(translator, section),
        "OAUTHBEARER" => {
            let words = "Onewrite fetches no token: a sidecar writes one into this file";
            translator.missing("[sinks.kafka] token_file", words);
            section.put_with("token_file", "FILE", format!("FILL IN: {words}."));
        }
        "GSSAPI" => {
            let jaas = Jaas::read(translator);
            for (option, property) in [
                ("keyTab", "sasl.kerberos.keytab"),
                ("principal", "sasl.kerberos.principal"),
            ] {
                if let Some(value) = jaas.option(option) {
                    properties.put(property, value);
                }
            }
            if let Some(setting) = jaas.setting {
                translator.tell(
                    setting,
                    Group::Translated,
                    "`sasl.kerberos.…` in `properties` of `[sinks.kafka]`",
                );
            }
        }
        _ => {}
    }
}

fn user(translator: &mut Translator, section: &mut Section) {
    let jaas = Jaas::read(translator);
    match jaas.option("username") {
        Some(name) => section.put("username", name),
        None => {
            let words = "the user name, which the file does not give";
            translator.missing("[sinks.kafka] username", words);
            section.put_with("username", "USER", format!("FILL IN: {words}."));
        }
    }
    // Nothing of a password may be shown but the name of the variable that holds it.
    let variable = jaas.option("password").and_then(|password| {
        let name = password.strip_prefix("${")?.strip_suffix('}')?;
        let known = jaas
            .setting?
            .value
            .references()
            .any(|reference| reference.variable == name);
        known.then(|| name.to_owned())
    });
    let own = "ONEWRITE_KAFKA_PASSWORD";
    if let (None, Some(setting)) = (&variable, jaas.setting) {
        translator.tell(
            setting,
            Group::SetVariable,
            format!("set {own}; the value in the file is not repeated"),
        );
    }
    let password = translator.variable(variable.as_deref().unwrap_or(own));
    section.put("password", password);
}

/// `sasl.jaas.config`: a login module and its options.
struct Jaas<'g> {
    setting: Option<&'g Setting>,
    text: String,
}

impl<'g> Jaas<'g> {
    fn read(translator: &mut Translator<'g>) -> Self {
        let setting = producer(translator, "sasl.jaas.config");
        // Where all of it stands elsewhere, nothing is known of its parts.
        let known = setting.filter(|setting| setting.value.reference().is_none());
        Self {
            setting,
            text: known.map_or(String::new(), |setting| translator.text(setting)),
        }
    }

    /// The value of an option, with or without quotes.
    fn option(&self, name: &str) -> Option<String> {
        let words = self.text.match_indices(name).find_map(|(at, _)| {
            let begins = self.text[..at].ends_with(|before: char| before.is_whitespace());
            let value = self.text[at + name.len()..].trim_start().strip_prefix('=')?;
            begins.then(|| value.trim_start())
        })?;
        let quote = words.chars().next().filter(|first| matches!(first, '"' | '\''));
        let value = match quote {
            Some(quote) => words[1..].split(quote).next()?,
            None => words.split([' ', '\t', '\n', ';']).next()?,
        };
        (!value.is_empty()).then(|| value.to_owned())
    }
}

fn largest(translator: &mut Translator, section: &mut Section, setting: &Setting) {
    let key = "max_message_bytes";
    let Some(literal) = setting.value.literal() else {
        let value = translator.text(setting);
        return section.put(key, value);
    };
    match literal
        .trim()
        .parse::<i64>()
        .ok()
        .filter(|bytes| MESSAGE_BYTES.contains(bytes))
    {
        Some(bytes) => section.put(key, bytes),
        None => {
            let words = format!(
                "`{key}` in `[sinks.kafka]` goes from {} to {}",
                MESSAGE_BYTES.start(),
                MESSAGE_BYTES.end()
            );
            translator.tell(setting, Group::NoCounterpart, words);
        }
    }
}
