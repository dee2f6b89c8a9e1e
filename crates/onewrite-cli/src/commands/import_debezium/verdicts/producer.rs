//! Kafka's producer: `producer.override.…` of a connector, `debezium.sink.kafka.producer.…` of the server.

use super::{Topic, Verdict, lacking, not_needed, secret, translated};

pub(super) const TOPIC: Topic = Topic {
    heading: "Kafka's producer (`producer.override.…`, `debezium.sink.kafka.producer.…`)",
    verdicts: VERDICTS,
};

/// Properties that librdkafka has under the same name, or under this one, and that mean the same there.
pub const RENAMED: &[(&str, &str)] = &[
    ("linger.ms", "linger.ms"),
    ("request.timeout.ms", "request.timeout.ms"),
    ("metadata.max.age.ms", "metadata.max.age.ms"),
    ("connections.max.idle.ms", "connections.max.idle.ms"),
    (
        "socket.connection.setup.timeout.ms",
        "socket.connection.setup.timeout.ms",
    ),
    ("reconnect.backoff.ms", "reconnect.backoff.ms"),
    ("reconnect.backoff.max.ms", "reconnect.backoff.max.ms"),
    ("retry.backoff.ms", "retry.backoff.ms"),
    ("retry.backoff.max.ms", "retry.backoff.max.ms"),
    ("client.dns.lookup", "client.dns.lookup"),
    ("metadata.recovery.strategy", "metadata.recovery.strategy"),
    (
        "metadata.recovery.rebootstrap.trigger.ms",
        "metadata.recovery.rebootstrap.trigger.ms",
    ),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("sasl.kerberos.service.name", "sasl.kerberos.service.name"),
];

const BY_FILES: &str =
    "certificates and keys are PEM files: `ca_file`, `certificate_file` and `key_file` in `[sinks.kafka]`";
const NOT_JAVA: &str = "a matter of Java's TLS";
const OWN_TOKEN: &str = "Onewrite fetches no token; a sidecar writes one into `token_file` of `[sinks.kafka]`";
const GATHERED: &str = "a request takes what has gathered while the last one was under way";
const PROPERTIES: &str = "`properties` in `[sinks.kafka]`";

const VERDICTS: &[Verdict] = &[
    translated("producer.override.bootstrap.servers", "`brokers` in `[sinks.kafka]`"),
    translated("producer.override.client.id", "`client_id` in `[sinks.kafka]`"),
    translated(
        "producer.override.compression.type",
        "`compression` in `[sinks.kafka]`, which is `lz4` unless it is given",
    ),
    translated(
        "producer.override.max.request.size",
        "`max_message_bytes` in `[sinks.kafka]`",
    ),
    translated(
        "producer.override.security.protocol",
        "`tls` and `sasl_mechanism` in `[sinks.kafka]`",
    ),
    translated(
        "producer.override.sasl.mechanism",
        "`sasl_mechanism` in `[sinks.kafka]`",
    ),
    secret(
        "producer.override.sasl.jaas.config",
        "`username` and `password` in `[sinks.kafka]`, the password from the environment",
    ),
    translated(
        "producer.override.ssl.truststore.location",
        "`ca_file` in `[sinks.kafka]`, where it is PEM",
    ),
    translated(
        "producer.override.ssl.truststore.type",
        "`ca_file` in `[sinks.kafka]`, where it is PEM",
    ),
    translated(
        "producer.override.ssl.keystore.location",
        "`certificate_file` and `key_file` in `[sinks.kafka]`, where it is PEM",
    ),
    translated(
        "producer.override.ssl.keystore.type",
        "`certificate_file` and `key_file` in `[sinks.kafka]`, where it is PEM",
    ),
    secret(
        "producer.override.ssl.key.password",
        "`key_password` in `[sinks.kafka]`, from the environment",
    ),
    not_needed("producer.override.ssl.truststore.password", "PEM files need none"),
    not_needed(
        "producer.override.ssl.keystore.password",
        "PEM files need none but that of the key",
    ),
    lacking("producer.override.ssl.truststore.certificates", &[""], BY_FILES),
    lacking("producer.override.ssl.keystore.certificate.chain", &[""], BY_FILES),
    lacking("producer.override.ssl.keystore.key", &[""], BY_FILES),
    lacking(
        "producer.override.ssl.endpoint.identification.algorithm",
        &["https"],
        "host names are always checked",
    ),
    not_needed("producer.override.ssl.protocol", NOT_JAVA),
    not_needed("producer.override.ssl.provider", NOT_JAVA),
    not_needed("producer.override.ssl.enabled.protocols", NOT_JAVA),
    lacking(
        "producer.override.ssl.cipher.suites",
        &[""],
        "suites have other names in OpenSSL: `ssl.cipher.suites` in `properties`",
    ),
    lacking("producer.override.ssl.engine.factory.class", &[""], NOT_JAVA),
    not_needed("producer.override.ssl.keymanager.algorithm", NOT_JAVA),
    not_needed("producer.override.ssl.trustmanager.algorithm", NOT_JAVA),
    not_needed("producer.override.ssl.secure.random.implementation", NOT_JAVA),
    not_needed("producer.override.security.providers", NOT_JAVA),
    lacking(
        "producer.override.sasl.client.callback.handler.class",
        &[""],
        "no class of yours can log in",
    ),
    lacking("producer.override.sasl.login.callback.handler.class", &[""], OWN_TOKEN),
    lacking(
        "producer.override.sasl.login.class",
        &[""],
        "no class of yours can log in",
    ),
    not_needed(
        "producer.override.sasl.login.*",
        "logging in is tried again for as long as it takes",
    ),
    lacking("producer.override.sasl.oauthbearer.*", &[], OWN_TOKEN),
    translated("producer.override.sasl.kerberos.service.name", PROPERTIES),
    not_needed(
        "producer.override.sasl.kerberos.*",
        "the system's Kerberos has settings of its own",
    ),
    not_needed("producer.override.acks", "every in-sync replica acknowledges, always"),
    not_needed(
        "producer.override.enable.idempotence",
        "the producer is idempotent, always",
    ),
    not_needed(
        "producer.override.retries",
        "Onewrite tries again for as long as it takes",
    ),
    not_needed(
        "producer.override.delivery.timeout.ms",
        "`delivery_timeout` in `[[routes]]` has a default",
    ),
    not_needed(
        "producer.override.max.block.ms",
        "`delivery_timeout` in `[[routes]]` has a default",
    ),
    not_needed(
        "producer.override.max.in.flight.requests.per.connection",
        "order holds with several requests under way",
    ),
    not_needed("producer.override.batch.size", GATHERED),
    not_needed(
        "producer.override.buffer.memory",
        "memory is bounded by `max_in_flight_bytes` in `[[routes]]`",
    ),
    translated("producer.override.linger.ms", PROPERTIES),
    translated("producer.override.request.timeout.ms", PROPERTIES),
    translated("producer.override.metadata.max.age.ms", PROPERTIES),
    translated("producer.override.connections.max.idle.ms", PROPERTIES),
    translated("producer.override.socket.connection.setup.timeout.ms", PROPERTIES),
    not_needed(
        "producer.override.socket.connection.setup.timeout.max.ms",
        "every try to connect has the same limit",
    ),
    translated("producer.override.reconnect.backoff.ms", PROPERTIES),
    translated("producer.override.reconnect.backoff.max.ms", PROPERTIES),
    translated("producer.override.retry.backoff.ms", PROPERTIES),
    translated("producer.override.retry.backoff.max.ms", PROPERTIES),
    translated("producer.override.client.dns.lookup", PROPERTIES),
    translated("producer.override.metadata.recovery.strategy", PROPERTIES),
    translated("producer.override.metadata.recovery.rebootstrap.trigger.ms", PROPERTIES),
    translated("producer.override.send.buffer.bytes", PROPERTIES),
    translated("producer.override.receive.buffer.bytes", PROPERTIES),
    not_needed(
        "producer.override.metadata.max.idle.ms",
        "topics are forgotten when they are not used",
    ),
    not_needed(
        "producer.override.compression.gzip.level",
        "each codec is used at its own default level",
    ),
    not_needed(
        "producer.override.compression.lz4.level",
        "each codec is used at its own default level",
    ),
    not_needed(
        "producer.override.compression.zstd.level",
        "each codec is used at its own default level",
    ),
    lacking(
        "producer.override.partitioner.class",
        &["", "org.apache.kafka.clients.producer.internals.DefaultPartitioner"],
        "keys go to the partitions to which Java's own partitioner sends them",
    ),
    lacking(
        "producer.override.partitioner.ignore.keys",
        &["false"],
        "keys go to the partitions to which Java's client sends them",
    ),
    not_needed(
        "producer.override.partitioner.adaptive.partitioning.enable",
        "it is about records without keys",
    ),
    not_needed(
        "producer.override.partitioner.availability.timeout.ms",
        "it is about records without keys",
    ),
    lacking(
        "producer.override.key.serializer",
        SERIALIZERS,
        "records are made by `converters` in `[source]`, and sent as they are",
    ),
    lacking(
        "producer.override.value.serializer",
        SERIALIZERS,
        "records are made by `converters` in `[source]`, and sent as they are",
    ),
    lacking(
        "producer.override.interceptor.classes",
        &[""],
        "no class of yours sees records on their way",
    ),
    lacking(
        "producer.override.transactional.id",
        &[""],
        "delivery is at least once, with the same `id` in the headers each time",
    ),
    not_needed(
        "producer.override.transaction.timeout.ms",
        "there are no transactions in Kafka",
    ),
    not_needed(
        "producer.override.transaction.two.phase.commit.enable",
        "there are no transactions in Kafka",
    ),
    not_needed(
        "producer.override.metric.reporters",
        "there are no metrics of Java's kind",
    ),
    not_needed("producer.override.metrics.*", "there are no metrics of Java's kind"),
    not_needed(
        "producer.override.auto.include.jmx.reporter",
        "there are no metrics of Java's kind",
    ),
    not_needed(
        "producer.override.enable.metrics.push",
        "the client tells brokers nothing about its own workings",
    ),
    not_needed(
        "producer.override.config.providers",
        "the environment stands in for config providers",
    ),
];

const SERIALIZERS: &[&str] = &[
    "org.apache.kafka.common.serialization.StringSerializer",
    "org.apache.kafka.common.serialization.ByteArraySerializer",
    "org.apache.kafka.common.serialization.ByteBufferSerializer",
];
