//! Users, passwords and encrypted connections.

use std::path::Path;
use std::process::Command;

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_testkit::servers::Mosquitto;
use onewrite_testkit::wait;
use tempfile::TempDir;

use super::{connector, event_for, numbers, refused, settle_anew};
use crate::authority::Authority;
use crate::support::{deliver, settle, words};

/// A broker whose second listener wants a password, and lets its user write to `shop/#` alone.
struct Guarded {
    broker: Mosquitto,
    directory: TempDir,
}

impl Guarded {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        set_password(&path("passwords"), "secret");
        std::fs::write(path("rights"), "user relay\ntopic write shop/#\n").unwrap();
        let [passwords, rights] = ["passwords", "rights"].map(|name| path(name).to_str().unwrap().to_owned());
        let listener = [
            ("allow_anonymous", "false"),
            ("password_file", passwords.as_str()),
            ("acl_file", &rights),
        ];
        let broker = Mosquitto::start(settings, &listener).await;
        for topic in ["shop/orders", "secret"] {
            broker.subscribe(topic).await;
        }
        Self { broker, directory }
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.broker.client_port())
    }
}

fn set_password(file: &Path, password: &str) {
    let status = Command::new("mosquitto_passwd")
        .args(["-c", "-b"])
        .arg(file)
        .args(["relay", password])
        .status()
        .expect("mosquitto_passwd, of Debian's package mosquitto");
    assert!(status.success());
}

const CREDENTIALS: [(&str, &str); 2] = [("user", "relay"), ("password", "secret")];

#[tokio::test]
async fn a_wrong_password_halts_and_is_not_shown() {
    let guarded = Guarded::start(&[]).await;
    for texts in [
        &[("user", "relay"), ("password", "hunter2")][..],
        &[("user", "nobody"), ("password", "hunter2")],
        &[],
    ] {
        let error = refused(&*connector(&guarded.url(), texts)).await;
        let words = chain(&error);
        assert_eq!(error.action, Action::Halt, "{words}");
        assert!(words.contains("(0x8") && !words.contains("hunter2"), "{words}");
    }
}

#[tokio::test]
async fn a_topic_that_the_user_may_not_write_to_parks_its_events_alone() {
    let guarded = Guarded::start(&[]).await;
    for qos in ["1", "2"] {
        let texts = [&CREDENTIALS[..], &[("qos", qos)]].concat();
        let sink = connector(&guarded.url(), &texts).connect().await.unwrap();
        let batch = [
            event_for("shop/orders", 1, Some("a")),
            event_for("secret", 2, Some("b")),
            event_for("shop/orders", 3, Some("b")),
            event_for("shop/orders", 4, Some("c")),
        ];
        let (result, outcomes) = deliver(&*sink, &batch).await;
        result.unwrap();
        assert_eq!(
            words(&outcomes),
            ["delivered", "park", "unknown", "delivered"],
            "QoS {qos}"
        );
    }
    assert!(numbers(&guarded.broker, "secret").await.is_empty());
    let mut arrived = numbers(&guarded.broker, "shop/orders").await;
    arrived.sort_unstable();
    assert_eq!(arrived, [1, 1, 4, 4]);
}

/// With this setting Mosquitto 2.0.11 ends the connection after each refusal, and what is under way then takes its answer along.
#[tokio::test]
async fn a_refusal_that_ends_the_connection_is_found_all_the_same() {
    let guarded = Guarded::start(&[("max_queued_messages", "0")]).await;
    let connector = connector(&guarded.url(), &CREDENTIALS);
    let mut left: Vec<_> = (1..=40)
        .map(|number| event_for("shop/orders", number, Some(["a", "b", "c"][number as usize % 3])))
        .collect();
    left[5].topic = "secret".into();
    assert_eq!(settle_anew(&*connector, left).await, [6]);
}

#[tokio::test]
async fn a_password_that_is_changed_in_mid_run_halts_after_connecting_anew() {
    let guarded = Guarded::start(&[]).await;
    let connector = connector(&guarded.url(), &CREDENTIALS);
    let sink = connector.connect().await.unwrap();
    let batch = [event_for("shop/orders", 1, Some("a"))];
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    set_password(&guarded.directory.path().join("passwords"), "another");
    guarded.broker.reload();
    let error = wait::until("the broker lets the old password in no more", async || {
        connector.connect().await.err()
    })
    .await;
    assert_eq!(error.action, Action::Halt, "{error}");
    // The old connection was ended, or goes on; it is never said to have delivered what was refused.
    let (result, outcomes) = deliver(&*sink, &batch).await;
    match result {
        Ok(()) => assert_eq!(words(&outcomes), ["delivered"]),
        Err(error) => assert_eq!(error.action, Action::Reconnect, "{error}"),
    }
}

#[tokio::test]
async fn both_sides_show_certificates_of_an_authority_that_the_other_trusts() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    authority.sign("127.0.0.1", "server");
    authority.sign("relay", "client");
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| authority.file(name));
    let listener = [
        ("cafile", ca.as_str()),
        ("certfile", &authority.file("server.pem")),
        ("keyfile", &authority.file("server.key")),
        ("require_certificate", "true"),
    ];
    let broker = Mosquitto::start(&[], &listener).await;
    broker.subscribe("encrypted").await;
    let url = format!("mqtts://127.0.0.1:{}", broker.client_port());
    let all = [
        ("ca_file", ca.as_str()),
        ("certificate_file", &certificate),
        ("key_file", &key),
    ];
    let sink = connector(&url, &all).connect().await.unwrap();
    let mut batch: Vec<_> = (1..=50)
        .map(|number| event_for("encrypted", number, Some("a")))
        .collect();
    batch[7].payload = vec![b'x'; 3 << 20].into();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    sink.close().await.unwrap();
    assert_eq!(numbers(&broker, "encrypted").await, (1..=50).collect::<Vec<_>>());

    // An authority that is not trusted, and the name of another host.
    let stranger = other.file("ca.pem");
    let error = refused(&*connector(&url, &[("ca_file", &stranger), all[1], all[2]])).await;
    assert_eq!(error.action, Action::Reconnect);
    assert!(chain(&error).contains("UnknownIssuer"), "{}", chain(&error));
    let elsewhere = url.replace("127.0.0.1", "localhost");
    let error = refused(&*connector(&elsewhere, &all)).await;
    assert!(chain(&error).contains("not valid for name"), "{}", chain(&error));
    // No client certificate.
    let error = refused(&*connector(&url, &all[..1])).await;
    assert_eq!(error.action, Action::Reconnect);
}
