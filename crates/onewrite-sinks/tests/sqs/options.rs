//! Options that do not hold together.

use onewrite_core::options::Options;
use onewrite_sinks::sqs::{FIELDS, build};

const URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders";

/// The queue's URL, other options, and how the error begins.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const CASES: &[Case] = &[
    ("orders", &[], "sinks.events.region: is missing"),
    (
        "orders",
        &[("region", "eu-west-1")],
        "sinks.events.queue_url: \"orders\" is not the URL of a queue",
    ),
    (
        "https://sqs.eu-west-1.amazonaws.com/1/a.b",
        &[],
        "sinks.events.queue_url: \"https://",
    ),
    (URL, &[("region", "Ireland")], "sinks.events.region: is \"Ireland\""),
    (
        URL,
        &[("region", "eu-west-2")],
        "sinks.events.region: is \"eu-west-2\", and queue_url is in \"eu-west-1\"",
    ),
    (
        URL,
        &[("endpoint_url", "localhost:9324")],
        "sinks.events.endpoint_url: has another scheme",
    ),
    (
        URL,
        &[("endpoint_url", "http://a:hunter2@b")],
        "sinks.events.endpoint_url: holds a user or a password",
    ),
    (
        URL,
        &[("endpoint_url", "http://b/c")],
        "sinks.events.endpoint_url: holds more than a server",
    ),
    (
        URL,
        &[("access_key_id", "A")],
        "sinks.events.access_key_id: needs secret_access_key",
    ),
    (
        URL,
        &[("secret_access_key", "A")],
        "sinks.events.secret_access_key: needs access_key_id",
    ),
    (
        URL,
        &[("session_token", "A")],
        "sinks.events.session_token: needs access_key_id",
    ),
    (
        URL,
        &[("access_key_id", "A"), ("secret_access_key", "")],
        "sinks.events.access_key_id: or its secret is empty",
    ),
    (
        URL,
        &[("access_key_id", "A"), ("secret_access_key", "B"), ("profile", "C")],
        "sinks.events.profile: is set, and so is access_key_id",
    ),
    (
        URL,
        &[("max_message_bytes", "2MiB")],
        "sinks.events.max_message_bytes: is 2097152; expected up to",
    ),
    (
        URL,
        &[("timeout", "5m")],
        "sinks.events.timeout: is 300s; expected 50ms to 30s",
    ),
];

#[test]
fn options_that_do_not_hold_together_are_told_with_what_to_do() {
    for (url, texts, expected) in CASES {
        let all: Vec<_> = [("queue_url", *url)].into_iter().chain(texts.iter().copied()).collect();
        let options = Options::from_texts("sinks.events", FIELDS, &all).unwrap();
        let error = build(&options).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{url} {texts:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_region_can_come_from_the_url() {
    let options = Options::from_texts("sinks.events", FIELDS, &[("queue_url", URL)]).unwrap();
    assert!(build(&options).is_ok());
}
