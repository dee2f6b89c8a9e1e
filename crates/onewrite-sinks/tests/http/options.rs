//! Options that do not hold together.

use onewrite_sinks::http::build;

use super::options;

const URL: &str = "https://example.com/events";

/// URL, other options, and how the error begins.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const CASES: &[Case] = &[
    ("example.com/events", &[], "sinks.events.url: is not a URL"),
    ("ftp://example.com", &[], "sinks.events.url: has the scheme \"ftp\""),
    (
        "https://user:hunter2@example.com",
        &[],
        "sinks.events.url: holds a user or a password",
    ),
    (
        "https://user@example.com",
        &[],
        "sinks.events.url: holds a user or a password",
    ),
    (
        URL,
        &[("headers", "content-length=3")],
        "sinks.events.headers: \"content-length\" is set by the sink itself",
    ),
    (
        URL,
        &[("headers", "Onewrite-Id=3")],
        "sinks.events.headers: \"Onewrite-Id\" is set by the sink itself",
    ),
    (
        URL,
        &[("headers", "a b=3")],
        "sinks.events.headers: \"a b\" is not a header name",
    ),
    (
        URL,
        &[("headers", "a=x\r\ny")],
        "sinks.events.headers: \"a\" has a value that no header can hold",
    ),
    (
        URL,
        &[("headers", "Authorization=x"), ("bearer_token", "t")],
        "sinks.events.bearer_token: is set, and so is",
    ),
    (
        URL,
        &[("bearer_token", "a\nb")],
        "sinks.events.bearer_token: holds a line break",
    ),
    (URL, &[("bearer_token", "")], "sinks.events.bearer_token: is empty"),
    (URL, &[("hmac_secret", "")], "sinks.events.hmac_secret: is empty"),
    (
        URL,
        &[("timeout", "5m")],
        "sinks.events.timeout: is 300s; expected 50ms to 30s",
    ),
    (
        URL,
        &[("allow_hosts", "10.0.0.0/8")],
        "sinks.events.allow_hosts: holds \"10.0.0.0/8\"",
    ),
    (
        URL,
        &[("allow_hosts", "*.example.com")],
        "sinks.events.allow_hosts: holds \"*.example.com\"",
    ),
    (
        URL,
        &[("ca_file", "/nowhere/ca.pem")],
        "sinks.events.ca_file: /nowhere/ca.pem cannot be read",
    ),
    (
        URL,
        &[("certificate_file", "c.pem")],
        "sinks.events.certificate_file: needs key_file",
    ),
    (
        URL,
        &[("key_file", "k.pem")],
        "sinks.events.key_file: needs certificate_file",
    ),
    (
        "http://example.com",
        &[("ca_file", "ca.pem")],
        "sinks.events.ca_file: is set, but the url is http://",
    ),
];

#[test]
fn options_that_make_no_sink_are_told_by_name() {
    for (url, texts, expected) in CASES {
        let error = build(&options(url, texts)).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
