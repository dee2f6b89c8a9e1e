//! Options that no sink can be made of.

use onewrite_core::options::Options;
use onewrite_sinks::rabbitmq::{FIELDS, build};

fn refused(texts: &[(&str, &str)]) -> String {
    let options = Options::from_texts("sinks.events", FIELDS, texts).unwrap();
    build(&options).err().expect("it is refused").to_string()
}

#[test]
fn each_option_that_does_not_hold_together_with_the_others_is_told() {
    let url = ("urls", "amqp://localhost");
    let long = "x".repeat(256);
    for (texts, expected) in [
        (&[("urls", "")][..], "sinks.events.urls: is empty"),
        (
            &[("urls", "localhost:5672")],
            "sinks.events.urls: holds what does not begin with amqp://",
        ),
        (&[url, ("user", "ann")], "sinks.events.user: needs password"),
        (&[url, ("password", "secret")], "sinks.events.password: needs user"),
        (
            &[url, ("user", "ann"), ("password", "")],
            "sinks.events.password: is empty",
        ),
        (&[url, ("routing_key", "")], "sinks.events.routing_key: is empty"),
        (&[url, ("exchange", &long)], "sinks.events.exchange: has 256 bytes"),
        (
            &[url, ("declare", "exchange")],
            "sinks.events.declare: is \"exchange\", but",
        ),
        (&[url, ("priority", "256")], "sinks.events.priority: is \"256\""),
        (
            &[url, ("heartbeat", "500ms")],
            "sinks.events.heartbeat: is 500ms; expected from 1s to 1h",
        ),
        (
            &[url, ("ca_file", "/nowhere")],
            "sinks.events.ca_file: is set, but the url is amqp://",
        ),
        (
            &[("urls", "amqps://h"), ("ca_file", "/nowhere")],
            "sinks.events.ca_file: ",
        ),
        (
            &[url, ("certificate_file", "/nowhere")],
            "sinks.events.certificate_file: is set, but",
        ),
    ] {
        let error = refused(texts);
        assert!(error.starts_with(expected), "{texts:?}: {error}");
    }
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let error = refused(&[("urls", "amqp://ann:hunter2@localhost")]);
    assert!(error.contains("use the options user and password"), "{error}");
    assert!(!error.contains("hunter2") && !error.contains("ann"), "{error}");
}
