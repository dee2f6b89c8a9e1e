//! Options that do not hold together.

use onewrite_sinks::http::build;

use super::options;

#[test]
fn options_that_make_no_sink_are_told_by_name() {
    let url = "https://example.com/events";
    for (url, texts, expected) in [
        ("example.com/events", &[][..], "sinks.events.url: is not a URL"),
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
            url,
            &[("headers", "content-length=3")],
            "sinks.events.headers: \"content-length\" is set by the sink itself",
        ),
        (
            url,
            &[("headers", "Onewrite-Id=3")],
            "sinks.events.headers: \"Onewrite-Id\" is set by the sink itself",
        ),
        (
            url,
            &[("headers", "a b=3")],
            "sinks.events.headers: \"a b\" is not a header name",
        ),
        (
            url,
            &[("headers", "a=x\r\ny")],
            "sinks.events.headers: \"a\" has a value that no header can hold",
        ),
        (
            url,
            &[("headers", "Authorization=x"), ("bearer_token", "t")],
            "sinks.events.bearer_token: is set, and so is",
        ),
        (
            url,
            &[("bearer_token", "a\nb")],
            "sinks.events.bearer_token: holds a line break",
        ),
        (url, &[("bearer_token", "")], "sinks.events.bearer_token: is empty"),
        (url, &[("hmac_secret", "")], "sinks.events.hmac_secret: is empty"),
        (
            url,
            &[("timeout", "5m")],
            "sinks.events.timeout: is 300s; expected 50ms to 30s",
        ),
        (
            url,
            &[("allow_hosts", "10.0.0.0/8")],
            "sinks.events.allow_hosts: holds \"10.0.0.0/8\"",
        ),
        (
            url,
            &[("allow_hosts", "*.example.com")],
            "sinks.events.allow_hosts: holds \"*.example.com\"",
        ),
        (
            url,
            &[("ca_file", "/nowhere/ca.pem")],
            "sinks.events.ca_file: /nowhere/ca.pem cannot be read",
        ),
        (
            url,
            &[("certificate_file", "c.pem")],
            "sinks.events.certificate_file: needs key_file",
        ),
        (
            url,
            &[("key_file", "k.pem")],
            "sinks.events.key_file: needs certificate_file",
        ),
        (
            "http://example.com",
            &[("ca_file", "ca.pem")],
            "sinks.events.ca_file: is set, but the url is http://",
        ),
    ] {
        let error = build(&options(url, texts)).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
