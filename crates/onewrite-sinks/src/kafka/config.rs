//! What can be configured of the sink, and what that means to librdkafka.

use std::path::PathBuf;
use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::{Field, Kind, Options, field};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use super::connector::{KafkaConnector, Lessons};
use super::limits::{LINGER_MILLISECONDS, MESSAGE_BYTES, REQUEST_BYTES, REQUEST_MILLISECONDS, TOPIC_GRACE};
use crate::registry::BuildError;

/// What can be configured of the sink `kafka`.
pub const FIELDS: &[Field] = &[
    Field {
        required: true,
        ..field(
            "brokers",
            Kind::List,
            "Brokers to begin with, as \"host:port\" (the port is 9092 where none is given); the cluster tells the others.",
        )
    },
    Field {
        default: Some("false"),
        ..field(
            "tls",
            Kind::Flag,
            "Whether connections are encrypted. Certificates and host names are always checked; there is no fallback to plain text.",
        )
    },
    field(
        "ca_file",
        Kind::Text,
        "With tls: a PEM file of the certificate authorities to trust instead of the system's.",
    ),
    field(
        "certificate_file",
        Kind::Text,
        "With tls: a PEM file with this client's certificate (and its chain), for clusters that ask for one.",
    ),
    field(
        "key_file",
        Kind::Text,
        "With tls: a PEM file with the private key of certificate_file.",
    ),
    field(
        "key_password",
        Kind::Secret,
        "With tls: the password of key_file, if it has one.",
    ),
    field(
        "sasl_mechanism",
        Kind::Choice(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"]),
        "How this client logs in; without it, it does not. GSSAPI (Kerberos) takes its sasl.kerberos.* from properties.",
    ),
    field("username", Kind::Text, "The user name for PLAIN and SCRAM."),
    field("password", Kind::Secret, "The password for PLAIN and SCRAM."),
    field(
        "token_file",
        Kind::Text,
        "For OAUTHBEARER: a file with a signed JWT, read anew whenever the cluster wants a fresh one; a sidecar or the platform renews it.",
    ),
    Field {
        default: Some("lz4"),
        ..field(
            "compression",
            Kind::Choice(&["none", "gzip", "snappy", "lz4", "zstd"]),
            "How requests are compressed. lz4 costs next to nothing; zstd saves most.",
        )
    },
    Field {
        default: Some("onewrite"),
        ..field(
            "client_id",
            Kind::Text,
            "The name of this client in the brokers' logs, metrics and quotas.",
        )
    },
    Field {
        default: Some("65MiB"),
        ..field(
            "max_message_bytes",
            Kind::Bytes,
            "Largest record, uncompressed, that is sent at all; a larger event is parked. By default whatever the outbox takes, so that the topic's max.message.bytes decides.",
        )
    },
    field(
        "properties",
        Kind::Map,
        "Further properties of librdkafka, such as \"broker.address.family\" = \"v4\". Those that would break delivery or order are refused.",
    ),
];

/// Makes a connector to the brokers that the options name. It connects to nothing yet.
///
/// # Errors
/// The first option that contradicts another, is missing beside another, or is refused by librdkafka.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    let mut config = ClientConfig::new();
    // What the client says is filtered by the program's own log settings.
    config.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in PROMISE {
        config.set(*name, *value);
    }
    config.set("bootstrap.servers", brokers(options)?);
    config.set("compression.codec", options.text("compression").unwrap_or("lz4"));
    config.set("client.id", options.text("client_id").unwrap_or("onewrite"));
    config.set("topic.metadata.propagation.max.ms", TOPIC_GRACE.as_millis().to_string());
    config.set("message.max.bytes", max_message_bytes(options)?.to_string());
    login(options, &mut config)?;
    encryption(options, &mut config)?;
    properties(options, &mut config)?;
    let request_bytes = config
        .get("batch.size")
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(REQUEST_BYTES);
    Ok(Arc::new(KafkaConnector {
        brokers: options.list("brokers").join(", "),
        plain_password: options.text("sasl_mechanism") == Some("PLAIN") && !options.flag("tls"),
        compressed: options.text("compression") != Some("none"),
        token_file: options.text("token_file").map(PathBuf::from),
        lessons: Arc::new(Lessons::new(request_bytes)),
        config,
    }))
}

/// What the promise needs, and what low latency needs, of the client.
const PROMISE: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // A record that fails for good ends the producer, so that nothing behind it can go on without it.
    ("enable.gapless.guarantee", "true"),
    // A record that times out inside the client would leave a gap that the client closes by going on. Core's own limit
    // for a delivery governs; the producer is replaced then.
    ("message.timeout.ms", "0"),
    // The room is counted by the sink, whose records the client frees a little later than it reports them.
    ("queue.buffering.max.messages", "1000000"),
    ("queue.buffering.max.kbytes", "2097151"),
    ("linger.ms", LINGER_MILLISECONDS),
    ("partitioner", "murmur2_random"),
    ("socket.nagle.disable", "true"),
    ("socket.keepalive.enable", "true"),
    ("socket.timeout.ms", REQUEST_MILLISECONDS),
    ("reconnect.backoff.max.ms", "2000"),
    // Otherwise the client tells brokers that support it about its own workings.
    ("enable.metrics.push", "false"),
];

/// Properties that are not for `properties`, and why.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &[
            "enable.idempotence",
            "acks",
            "request.required.acks",
            "enable.gapless.guarantee",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "message.send.max.retries",
            "retries",
            "queuing.strategy",
            "partitioner",
            "transactional.id",
            "delivery.report.only.error",
            "test.mock.num.brokers",
        ],
        "is refused: with another value events could be lost, or overtake others of their key",
    ),
    (
        &[
            "enable.ssl.certificate.verification",
            "ssl.endpoint.identification.algorithm",
        ],
        "is refused: certificates are always checked; give the authority that signed the brokers' with \"ca_file\"",
    ),
    (
        &[
            "queue.buffering.max.messages",
            "queue.buffering.max.kbytes",
            "log.queue",
            "dr_cb",
            "dr_msg_cb",
        ],
        "is refused: the sink bounds its memory itself",
    ),
    (
        &[
            "sasl.oauthbearer.method",
            "sasl.oauthbearer.client.id",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.token.endpoint.url",
        ],
        "is refused: this program fetches no token itself; let a sidecar write one and name the file with \"token_file\"",
    ),
    (
        &["bootstrap.servers", "metadata.broker.list"],
        "is refused: it is the option \"brokers\"",
    ),
    (&["client.id"], "is refused: it is the option \"client_id\""),
    (
        &["compression.codec", "compression.type"],
        "is refused: it is the option \"compression\"",
    ),
    (
        &["message.max.bytes"],
        "is refused: it is the option \"max_message_bytes\"",
    ),
    (
        &["security.protocol"],
        "is refused: it follows from the options \"tls\" and \"sasl_mechanism\"",
    ),
    (
        &["sasl.mechanism", "sasl.mechanisms"],
        "is refused: it is the option \"sasl_mechanism\"",
    ),
    (&["sasl.username"], "is refused: it is the option \"username\""),
    (
        &["sasl.password"],
        "is refused: it is the option \"password\", which is kept secret",
    ),
    (&["ssl.ca.location"], "is refused: it is the option \"ca_file\""),
    (
        &["ssl.certificate.location"],
        "is refused: it is the option \"certificate_file\"",
    ),
    (&["ssl.key.location"], "is refused: it is the option \"key_file\""),
    (
        &["ssl.key.password"],
        "is refused: it is the option \"key_password\", which is kept secret",
    ),
];

fn brokers(options: &Options) -> Result<String, BuildError> {
    let brokers = options.list("brokers");
    if brokers.is_empty() {
        return Err(BuildError::new(
            options,
            "brokers",
            "is empty; expected at least one \"host:port\"",
        ));
    }
    for broker in brokers {
        let port = broker.rsplit_once(':').map(|(_, port)| port);
        let addressed = !broker.contains("://") && !broker.contains(',') && !broker.trim().is_empty();
        if !addressed || port.is_some_and(|port| port.parse::<u16>().is_err() && !port.ends_with(']')) {
            let problem = format!("{broker:?} is no address of a broker; expected \"host:port\"");
            return Err(BuildError::new(options, "brokers", problem));
        }
    }
    Ok(brokers.join(","))
}

fn max_message_bytes(options: &Options) -> Result<i64, BuildError> {
    let bytes = options.integer("max_message_bytes").unwrap_or(*MESSAGE_BYTES.end());
    if MESSAGE_BYTES.contains(&bytes) {
        return Ok(bytes);
    }
    let problem = format!(
        "is {bytes} bytes; expected {} to {}",
        MESSAGE_BYTES.start(),
        MESSAGE_BYTES.end()
    );
    Err(BuildError::new(options, "max_message_bytes", problem))
}

fn login(options: &Options, config: &mut ClientConfig) -> Result<(), BuildError> {
    let mechanism = options.text("sasl_mechanism");
    let by_password = matches!(mechanism, Some("PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512"));
    let given = [
        ("username", options.text("username").is_some(), by_password),
        ("password", options.secret("password").is_some(), by_password),
        (
            "token_file",
            options.text("token_file").is_some(),
            mechanism == Some("OAUTHBEARER"),
        ),
    ];
    for (name, given, needed) in given {
        let problem = match (given, needed) {
            (false, true) => format!(
                "is missing; sasl_mechanism {:?} needs it",
                mechanism.unwrap_or_default()
            ),
            (true, false) => format!(
                "is of no use with sasl_mechanism {}; remove it or choose another mechanism",
                mechanism.map_or("unset".to_owned(), |mechanism| format!("{mechanism:?}"))
            ),
            _ => continue,
        };
        return Err(BuildError::new(options, name, problem));
    }
    if let Some(mechanism) = mechanism {
        config.set("sasl.mechanisms", mechanism);
    }
    if let (true, Some(username), Some(password)) = (by_password, options.text("username"), options.secret("password"))
    {
        config.set("sasl.username", username);
        config.set("sasl.password", password.expose());
    }
    config.set(
        "security.protocol",
        match (options.flag("tls"), mechanism.is_some()) {
            (false, false) => "plaintext",
            (false, true) => "sasl_plaintext",
            (true, false) => "ssl",
            (true, true) => "sasl_ssl",
        },
    );
    Ok(())
}

fn encryption(options: &Options, config: &mut ClientConfig) -> Result<(), BuildError> {
    let texts = [
        ("ca_file", "ssl.ca.location"),
        ("certificate_file", "ssl.certificate.location"),
        ("key_file", "ssl.key.location"),
    ];
    for (name, property) in texts {
        let Some(path) = options.text(name) else { continue };
        if !options.flag("tls") {
            return Err(BuildError::new(options, name, "is of no use without tls = true"));
        }
        config.set(property, path);
    }
    let (certificate, key) = (options.text("certificate_file"), options.text("key_file"));
    if certificate.is_some() != key.is_some() {
        let missing = if key.is_none() { "key_file" } else { "certificate_file" };
        return Err(BuildError::new(
            options,
            missing,
            "is missing; certificate_file and key_file go together",
        ));
    }
    match options.secret("key_password") {
        Some(_) if key.is_none() => Err(BuildError::new(
            options,
            "key_password",
            "is of no use without key_file",
        )),
        Some(password) => {
            config.set("ssl.key.password", password.expose());
            Ok(())
        }
        None => Ok(()),
    }
}

fn properties(options: &Options, config: &mut ClientConfig) -> Result<(), BuildError> {
    for (name, value) in options.map("properties") {
        let refused = REFUSED.iter().find(|(names, _)| names.contains(&name));
        if let Some((_, reason)) = refused {
            return Err(BuildError::new(options, "properties", format!("{name} {reason}")));
        }
        config.set(name, value);
    }
    match config.create_native_config() {
        Ok(_) => Ok(()),
        // The value is left out: it may be a secret.
        Err(KafkaError::ClientConfig(_, problem, name, _)) => {
            Err(BuildError::new(options, "properties", format!("{name}: {problem}")))
        }
        Err(other) => Err(BuildError::new(options, "properties", "librdkafka takes them not").because(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(texts: &[(&str, &str)], properties: &[(&str, &str)]) -> String {
        let mut options = Options::from_texts("sinks.events", FIELDS, texts).unwrap();
        let map = FIELDS.iter().find(|field| field.name == "properties").unwrap();
        let entries = properties
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        options.set(map, onewrite_core::options::Value::Map(entries));
        match build(&options) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_goes_together_is_taken() {
        let ssl = [("brokers", "a,b:9093"), ("tls", "true")];
        assert_eq!(told(&ssl, &[("broker.address.family", "v4"), ("linger.ms", "5")]), "");
        let login = [
            ("sasl_mechanism", "SCRAM-SHA-512"),
            ("username", "u"),
            ("password", "hunter2"),
        ];
        assert_eq!(told(&[&ssl[..], &login[..]].concat(), &[]), "");
        assert_eq!(
            told(
                &[
                    ("brokers", "a"),
                    ("sasl_mechanism", "OAUTHBEARER"),
                    ("token_file", "/t")
                ],
                &[]
            ),
            ""
        );
    }

    #[test]
    fn what_contradicts_itself_is_told_by_its_key() {
        for (texts, expected) in [
            (&[("brokers", " ")][..], "sinks.events.brokers: is empty"),
            (
                &[("brokers", "kafka://a:9092")],
                "sinks.events.brokers: \"kafka://a:9092\" is no address",
            ),
            (
                &[("brokers", "a"), ("sasl_mechanism", "PLAIN")],
                "sinks.events.username: is missing",
            ),
            (
                &[("brokers", "a"), ("username", "u")],
                "sinks.events.username: is of no use",
            ),
            (
                &[("brokers", "a"), ("sasl_mechanism", "OAUTHBEARER")],
                "sinks.events.token_file: is missing",
            ),
            (
                &[("brokers", "a"), ("ca_file", "/ca")],
                "sinks.events.ca_file: is of no use without tls",
            ),
            (
                &[("brokers", "a"), ("tls", "true"), ("key_file", "/k")],
                "sinks.events.certificate_file: is missing",
            ),
            (
                &[("brokers", "a"), ("max_message_bytes", "10")],
                "sinks.events.max_message_bytes: is 10 bytes",
            ),
        ] {
            let error = told(texts, &[]);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn properties_that_break_the_promise_are_refused_and_secrets_not_shown() {
        let brokers = [("brokers", "a")];
        for name in [
            "acks",
            "enable.idempotence",
            "retries",
            "message.timeout.ms",
            "queuing.strategy",
        ] {
            let error = told(&brokers, &[(name, "1")]);
            assert!(error.contains("overtake others of their key"), "{error}");
        }
        let error = told(&brokers, &[("sasl.pasword", "hunter2")]);
        assert!(error.contains("sasl.pasword") && !error.contains("hunter2"), "{error}");
    }
}
