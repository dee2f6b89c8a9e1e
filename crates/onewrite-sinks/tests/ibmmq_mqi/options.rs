//! Options that do not hold together, and a library that is not there.

use onewrite_core::Action;
use onewrite_core::error::chain;

use super::{build, options};

#[test]
fn options_that_do_not_hold_together_are_told_with_what_to_do() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("urls", "")],
            "urls: is empty; expected something like \"mq://mq.example.com:1414\"",
        ),
        (
            &[("urls", "https://mq.example.com")],
            "urls: holds the scheme \"https\"; expected something like \"mq://",
        ),
        (&[("urls", "mq://a:hunter2@host")], "urls: holds a user or a password"),
        (
            &[("urls", "mq://host/path")],
            "urls: holds more or less than host and port",
        ),
        (&[("urls", "mq://")], "urls: holds more or less than host and port"),
        (&[("channel", "")], "channel: is \"\"; expected 1 to 20"),
        (&[("channel", "A-B")], "channel: is \"A-B\"; expected 1 to 20"),
        (&[("queue", "a-b")], "queue: is \"a-b\"; expected 1 to 48"),
        (&[("queue_manager", "Q M")], "queue_manager: is \"Q M\""),
        (&[("cipher_spec", "X")], "cipher_spec: needs key_repository"),
        (&[("key_repository", "/k")], "key_repository: needs cipher_spec"),
        (&[("user", "app")], "user: needs password"),
        (
            &[("api_version", "v2")],
            "api_version: is for transport \"rest\", found \"mqi\"",
        ),
        (&[("properties", "none")], "properties: is for transport \"rest\""),
        (&[("concurrency", "3")], "concurrency: is for transport \"rest\""),
        (
            &[("ca_file", "ca.pem")],
            "ca_file: is for transport \"rest\", found \"mqi\", whose certificates are in key_repository",
        ),
        (
            &[("transport", "rest"), ("urls", "https://host")],
            "channel: is for transport \"mqi\", found \"rest\"",
        ),
    ];
    for (texts, expected) in cases {
        let error = build(&options(texts).unwrap()).err().unwrap().to_string();
        assert!(
            error.starts_with(&format!("sinks.events.{expected}")),
            "{texts:?}: {error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_channel_and_the_scheme_of_the_transport_are_needed() {
    use onewrite_core::options::Options;
    use onewrite_sinks::ibmmq::FIELDS;

    for (transport, expected) in [
        (
            "mqi",
            "sinks.events.channel: is missing; transport \"mqi\" needs the name",
        ),
        (
            "rest",
            "sinks.events.urls: holds the scheme \"mq\", which is for transport \"mqi\"",
        ),
    ] {
        let texts = [
            ("urls", "mq://host"),
            ("queue_manager", "QM1"),
            ("transport", transport),
        ];
        let options = Options::from_texts("sinks.events", FIELDS, &texts).unwrap();
        let error = build(&options).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_library_that_is_missing_or_another_is_told_with_what_to_install() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("libmqic_r.so");
    let text = path.to_str().unwrap();
    let connector = build(&options(&[("library", text)]).unwrap()).unwrap();
    let error = connector.connect().await.err().unwrap();
    assert_eq!(
        error.action,
        Action::Reconnect,
        "it may be installed while the program runs"
    );
    let words = chain(&error);
    for part in [
        text,
        "MQSeriesClient",
        "/opt/mqm/lib64",
        "library",
        "transport \"rest\"",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    std::fs::write(&path, "no library").unwrap();
    assert!(connector.connect().await.is_err());
    let findings = connector.probe(&["Q".to_owned()]).await;
    assert!(findings.iter().any(|finding| finding.subject == "library"));
    // A library without the calls.
    let connector = build(&options(&[("library", "libc.so.6")]).unwrap()).unwrap();
    let words = chain(&connector.connect().await.err().unwrap());
    assert!(words.contains("MQCONNX"), "{words}");
}
