//! Options that do not hold together.

use onewrite_core::options::Options;
use onewrite_sinks::sns::{FIELDS, build};

const ARN: &str = "arn:aws:sns:eu-west-1:123456789012:orders";

/// The topic's ARN, other options, and how the error begins.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const CASES: &[Case] = &[
    ("orders", &[], "sinks.events.region: is missing: neither topic_arn nor"),
    (
        "orders",
        &[("region", "eu-west-1")],
        "sinks.events.topic_arn: \"orders\" is not the ARN of a topic",
    ),
    (
        "arn:aws:sns:eu-west-1:123456789012:a.b",
        &[],
        "sinks.events.topic_arn: \"arn:",
    ),
    (
        "arn:aws:sns:eu-west-1:123456789012:orders:7c1f",
        &[],
        "sinks.events.topic_arn: \"arn:",
    ),
    (
        "arn:aws:sqs:eu-west-1:123456789012:orders",
        &[("region", "eu-west-1")],
        "sinks.events.topic_arn: \"arn:",
    ),
    ("arn:aws:sns:eu-west-1::orders", &[], "sinks.events.topic_arn: \"arn:"),
    (
        "arn:aws:sns:{header.region}:1:orders",
        &[],
        "sinks.events.region: is missing",
    ),
    (ARN, &[("region", "Ireland")], "sinks.events.region: is \"Ireland\""),
    (
        ARN,
        &[("region", "eu-west-2")],
        "sinks.events.region: is \"eu-west-2\", and topic_arn is in \"eu-west-1\"",
    ),
    (
        ARN,
        &[("endpoint_url", "http://a:hunter2@b")],
        "sinks.events.endpoint_url: holds a user or a password",
    ),
    (
        ARN,
        &[("access_key_id", "A")],
        "sinks.events.access_key_id: needs secret_access_key",
    ),
    (
        ARN,
        &[("max_message_bytes", "512KiB")],
        "sinks.events.max_message_bytes: is 524288; expected up to 262144",
    ),
    (
        ARN,
        &[("timeout", "5m")],
        "sinks.events.timeout: is 300s; expected 50ms to 30s",
    ),
];

#[test]
fn options_that_do_not_hold_together_are_told_with_what_to_do() {
    for (arn, texts, expected) in CASES {
        let all: Vec<_> = [("topic_arn", *arn)].into_iter().chain(texts.iter().copied()).collect();
        let options = Options::from_texts("sinks.events", FIELDS, &all).unwrap();
        let error = build(&options).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{arn} {texts:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_region_can_come_from_the_arn() {
    for arn in [
        ARN,
        "arn:aws-cn:sns:cn-north-1:123456789012:{type}",
        "arn:aws:sns:eu-west-1:1:orders.fifo",
    ] {
        let options = Options::from_texts("sinks.events", FIELDS, &[("topic_arn", arn)]).unwrap();
        assert!(build(&options).is_ok(), "{arn}");
    }
}
