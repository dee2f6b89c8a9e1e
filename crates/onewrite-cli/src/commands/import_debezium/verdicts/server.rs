//! Debezium Server and Quarkus, in which it runs.

use super::{Topic, Verdict, lacking, not_needed, translated};

pub(super) const SERVER: Topic = Topic {
    heading: "Debezium Server",
    verdicts: VERDICTS,
};

const OWN_SIGNATURE: &str =
    "requests are signed in Onewrite's own way, by `hmac_secret` in `[sinks.http]`, or carry a `bearer_token`";
const OWN_TOKEN: &str = "Onewrite fetches no token; `bearer_token` in `[sinks.http]` holds one";
const OFFSETS: &str = "progress is in the database";
const ENGINE: &str = "Debezium's engine is not there";
const NO_ENDPOINT: &str = "there is no HTTP endpoint for health; `onewrite status --json` tells";

/// The sink `http` of the server.
pub(super) const HTTP: Topic = Topic {
    heading: "The server's sink `http` (`debezium.sink.http.…`)",
    verdicts: &[
        translated("sink.http.url", "`url` in `[sinks.http]`"),
        translated("sink.http.timeout.ms", "`timeout` in `[sinks.http]`, at most 30s"),
        translated(
            "sink.http.batch.enabled",
            "`mode` in `[sinks.http]`; the array then holds events in Onewrite's own envelopes",
        ),
        translated("sink.http.batch.max-size", "`max_batch_events` in `[sinks.http]`"),
        not_needed("sink.http.retries", "Onewrite tries again for as long as it takes"),
        not_needed(
            "sink.http.retry.interval.ms",
            "`backoff_max` in `[[routes]]` has a default",
        ),
        lacking(
            "sink.http.headers.prefix",
            &[],
            "an event's headers are sent under their own names",
        ),
        lacking(
            "sink.http.headers.encode.base64",
            &["false"],
            "headers are sent as they are",
        ),
        lacking("sink.http.authentication.type", &[""], OWN_TOKEN),
        lacking("sink.http.authentication.jwt.*", &[], OWN_TOKEN),
        lacking("sink.http.authentication.oauth2.*", &[], OWN_TOKEN),
        lacking("sink.http.authentication.webhook.secret", &[], OWN_SIGNATURE),
    ],
};

const VERDICTS: &[Verdict] = &[
    translated("sink.type", "`type` in the section of the sink: `kafka` and `http`"),
    not_needed(
        "sink.kafka.wait.message.delivery.timeout.ms",
        "`delivery_timeout` in `[[routes]]` has a default",
    ),
    not_needed("offset.storage", OFFSETS),
    not_needed("offset.storage.*", OFFSETS),
    not_needed("offset.flush.interval.ms", OFFSETS),
    not_needed("offset.flush.timeout.ms", OFFSETS),
    not_needed("offset.commit.policy", OFFSETS),
    not_needed("record.processing.*", ENGINE),
    not_needed("task.management.timeout.ms", ENGINE),
    not_needed("debezium.embedded.*", ENGINE),
    not_needed("debezium.engine.factory", ENGINE),
    not_needed(
        "debezium.termination.wait",
        "stopping waits for what is under way, within a bound",
    ),
    lacking("debezium.api.enabled", &["false"], "there are no signals"),
    lacking("debezium.api.*", &[], "there are no signals"),
    lacking("metrics.*", &[], "there is no endpoint for metrics"),
    translated("quarkus.log.level", "`level` in `[log]`"),
    translated("quarkus.log.console.json", "`format` in `[log]`"),
    translated("quarkus.log.console.json.enabled", "`format` in `[log]`"),
    not_needed("quarkus.log.*", "the option `--log` and RUST_LOG say what is logged"),
    lacking("quarkus.http.*", &[], NO_ENDPOINT),
    lacking("quarkus.management.*", &[], NO_ENDPOINT),
    lacking("quarkus.smallrye-health.*", &[], NO_ENDPOINT),
    lacking("quarkus.micrometer.*", &[], "there is no endpoint for metrics"),
    lacking("quarkus.otel.*", &[], "nothing is told to OpenTelemetry"),
    lacking("quarkus.opentelemetry.*", &[], "nothing is told to OpenTelemetry"),
    lacking(
        "quarkus.config.locations",
        &[""],
        "further files are not read; put their keys into this one before you translate it",
    ),
    lacking(
        "smallrye.config.locations",
        &[""],
        "further files are not read; put their keys into this one before you translate it",
    ),
    not_needed("smallrye.config.*", "the environment stands in for encrypted settings"),
    not_needed("quarkus.*", "a matter of Quarkus, in which Debezium Server runs"),
];
