//! What of the options does not hold together.

use onewrite_core::options::Options;
use onewrite_sinks::amqp1::{FIELDS, build};

fn problem(texts: &[(&str, &str)]) -> String {
    let options = Options::from_texts("sinks.x", FIELDS, texts).unwrap();
    build(&options).err().expect("it does not hold together").to_string()
}

#[test]
fn what_does_not_hold_together_is_told() {
    const URL: (&str, &str) = ("urls", "amqp://broker");
    const TLS: (&str, &str) = ("urls", "amqps://broker");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("urls", "")], "sinks.x.urls: is empty"),
        (&[("urls", "broker:5672")], "which is not a URL"),
        (
            &[("urls", "http://broker")],
            "has the scheme \"http\"; expected amqp://HOST:PORT or amqps://HOST:PORT",
        ),
        (&[("urls", "amqp://u:secret@broker")], "holds a user or a password"),
        (&[("urls", "amqp://broker/queue")], "with more than a host and a port"),
        (&[("urls", "amqp://broker:0")], "has no host or no such port"),
        (&[("urls", "amqp://:5672")], "has no host or no such port"),
        (&[("urls", "amqp://[::1")], "nothing closes"),
        (&[("urls", "amqp://a,amqps://b:1")], "mixes amqp:// and amqps://"),
        (&[URL, ("user", "u")], "sinks.x.user: needs password"),
        (&[URL, ("password", "p")], "sinks.x.password: needs user"),
        (&[URL, ("user", "u"), ("password", "")], "sinks.x.password: is empty"),
        (&[URL, ("sasl", "plain")], "needs user and password"),
        (&[URL, ("sasl", "scram")], "needs user and password"),
        (&[TLS, ("sasl", "external")], "needs certificate_file and key_file"),
        (
            &[URL, ("sasl", "anonymous"), ("user", "u"), ("password", "p")],
            "keep one of them",
        ),
        (&[URL, ("address", "")], "sinks.x.address: is empty"),
        (&[URL, ("ttl", "50d")], "sinks.x.ttl: is"),
        (
            &[URL, ("timeout", "16s")],
            "sinks.x.timeout: is 16s; expected 50ms to 15s",
        ),
        (
            &[URL, ("idle_timeout", "1s")],
            "sinks.x.idle_timeout: is 1s; expected 2s to 600s",
        ),
        (&[URL, ("ca_file", "ca.pem")], "use amqps://"),
    ];
    for (texts, words) in cases {
        let problem = problem(texts);
        assert!(problem.contains(words), "{texts:?}: {problem}");
        assert!(!problem.contains("secret"), "{problem}");
    }
    for url in ["amqp://[::1]:5672", "amqps://broker.example/", "amqps://a,amqps://b:1"] {
        let options = Options::from_texts("sinks.x", FIELDS, &[("urls", url)]).unwrap();
        assert!(build(&options).is_ok(), "{url}");
    }
}
