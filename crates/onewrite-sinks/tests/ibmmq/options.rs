//! Options that do not hold together.

use onewrite_sinks::ibmmq::build;

use super::options;

const URL: &str = "https://mq.example.com:9443";

/// URLs, other options, and how the error begins.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const CASES: &[Case] = &[
    ("", &[], "sinks.events.urls: is empty"),
    ("mq.example.com", &[], "sinks.events.urls: holds what is not a URL"),
    (
        "ftp://mq.example.com",
        &[],
        "sinks.events.urls: holds the scheme \"ftp\"",
    ),
    (
        "https://a:hunter2@mq.example.com",
        &[],
        "sinks.events.urls: holds a user or a password",
    ),
    (
        "https://mq.example.com/ibmmq",
        &[],
        "sinks.events.urls: holds more than a server",
    ),
    (
        "http://mq.example.com",
        &[("ca_file", "ca.pem")],
        "sinks.events.ca_file: is set, but the url is http://",
    ),
    (
        URL,
        &[("transport", "mqi")],
        "sinks.events.transport: is \"mqi\", which is not built into this program; use one",
    ),
    (
        URL,
        &[("channel", "C")],
        "sinks.events.channel: is for transport \"mqi\"",
    ),
    (
        URL,
        &[("queue_manager", "Q M")],
        "sinks.events.queue_manager: is \"Q M\"; expected 1 to 48",
    ),
    (URL, &[("queue_manager", "..")], "sinks.events.queue_manager: is \"..\""),
    (
        URL,
        &[("queue", "a-b")],
        "sinks.events.queue: is \"a-b\"; expected 1 to 48",
    ),
    (
        URL,
        &[("destination", "topic"), ("api_version", "v1")],
        "sinks.events.destination: \"topic\" needs api_version",
    ),
    (
        URL,
        &[("destination", "topic"), ("topic_string", "a//b")],
        "sinks.events.topic_string: \"a//b\" has an empty level",
    ),
    (
        URL,
        &[("priority", "3"), ("api_version", "v2")],
        "sinks.events.priority: needs api_version \"v3\", found \"v2\"",
    ),
    (URL, &[("user", "a:b")], "sinks.events.user: is empty or holds a \":\""),
    (URL, &[("password", "")], "sinks.events.password: is empty"),
    (URL, &[("expiry", "0s")], "sinks.events.expiry: is 0ns; expected 1ms to"),
    (
        URL,
        &[("expiry", "2000d")],
        "sinks.events.expiry: is 172800000s; expected 1ms to",
    ),
    (
        URL,
        &[("timeout", "5m")],
        "sinks.events.timeout: is 300s; expected 50ms to 30s",
    ),
    (
        URL,
        &[("certificate_file", "client.pem")],
        "sinks.events.certificate_file: needs key_file",
    ),
];

#[test]
fn options_that_do_not_hold_together_are_told_with_what_to_do() {
    for (urls, texts, expected) in CASES {
        let error = build(&options(urls, texts).unwrap()).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{urls} {texts:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_name_and_a_password_need_each_other() {
    use onewrite_core::options::Options;
    use onewrite_sinks::ibmmq::FIELDS;

    for (given, expected) in [
        ("user", "sinks.events.user: needs password"),
        ("password", "sinks.events.password: needs user"),
    ] {
        let texts = [("urls", URL), ("queue_manager", "QM1"), (given, "x")];
        let options = Options::from_texts("sinks.events", FIELDS, &texts).unwrap();
        assert_eq!(build(&options).err().unwrap().to_string(), expected);
    }
}
