//! Users, passwords and encrypted connections.

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_core::sink::FindingLevel;
use onewrite_testkit::servers::Redis;

use super::{connector, done, event_for, numbers, refused};
use crate::authority::Authority;
use crate::support::{deliver, event, words};

const RELAY: [&str; 9] = [
    "ACL", "SETUSER", "relay", "on", ">secret", "~shop.*", "+xadd", "+multi", "+exec",
];

async fn with_relay(more: &[&str]) -> Redis {
    let redis = Redis::start(&[]).await;
    done(&redis, &[&RELAY[..], &["+ping"], more].concat()).await;
    redis
}

const CREDENTIALS: [(&str, &str); 2] = [("user", "relay"), ("password", "secret")];

#[tokio::test]
async fn a_wrong_password_halts_and_is_not_shown() {
    let redis = with_relay(&[]).await;
    for texts in [
        [("user", "relay"), ("password", "hunter2")],
        [("user", "nobody"), ("password", "hunter2")],
    ] {
        let error = refused(&*connector(&redis.url(), &texts)).await;
        assert_eq!(error.action, Action::Halt);
        let words = chain(&error);
        assert!(words.contains("WRONGPASS") && !words.contains("hunter2"), "{words}");
    }
}

#[tokio::test]
async fn no_password_where_one_is_needed_halts() {
    let redis = with_relay(&[]).await;
    done(&redis, &["ACL", "SETUSER", "default", "off"]).await;
    let error = refused(&*connector(&redis.url(), &[])).await;
    assert_eq!(error.action, Action::Halt);
    assert!(chain(&error).contains("NOAUTH"), "{}", chain(&error));
}

#[tokio::test]
async fn a_stream_that_the_user_may_not_write_to_parks_its_events_alone() {
    let redis = with_relay(&[]).await;
    let connector = connector(&redis.url(), &CREDENTIALS);
    let sink = connector.connect().await.unwrap();
    let batch = [
        event_for("shop.orders", 1, Some("a")),
        event_for("secret.orders", 2, Some("b")),
        event_for("secret.orders", 3, Some("b")),
        event_for("secret.orders", 4, Some("c")),
    ];
    let (result, outcomes) = deliver(&*sink, &batch).await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["delivered", "park", "unknown", "park"]);
    assert_eq!(numbers(&redis, "shop.orders").await, [1]);
    let findings = connector.probe(&["secret.orders".to_owned()]).await;
    let broken: Vec<_> = findings
        .iter()
        .filter(|finding| finding.level == FindingLevel::Broken)
        .collect();
    assert_eq!(broken.len(), 1, "{findings:?}");
    assert!(broken[0].message.contains("NOPERM"), "{findings:?}");
}

#[tokio::test]
async fn rights_that_are_taken_away_in_mid_run_halt() {
    let redis = with_relay(&[]).await;
    for right in ["-xadd", "-multi", "-exec"] {
        done(&redis, &["ACL", "SETUSER", "relay", "+xadd", "+multi", "+exec"]).await;
        let sink = connector(&redis.url(), &CREDENTIALS).connect().await.unwrap();
        done(&redis, &["ACL", "SETUSER", "relay", right]).await;
        let batch = [event(1, Some("a")), event(2, Some("a"))];
        let (result, outcomes) = deliver(&*sink, &batch).await;
        let error = result.unwrap_err();
        assert_eq!(error.action, Action::Halt, "{right}: {error}");
        assert!(error.to_string().contains("NOPERM"), "{right}: {error}");
        assert!(!words(&outcomes).contains(&"delivered"), "{right}");
    }
    let error = refused(&*connector(&redis.url(), &CREDENTIALS)).await;
    assert_eq!(error.action, Action::Halt, "{error}");
}

#[tokio::test]
async fn a_user_that_is_deleted_in_mid_run_halts_after_connecting_anew() {
    let redis = with_relay(&[]).await;
    let connector = connector(&redis.url(), &CREDENTIALS);
    let sink = connector.connect().await.unwrap();
    done(&redis, &["ACL", "DELUSER", "relay"]).await;
    let (result, outcomes) = deliver(&*sink, &[event(1, None)]).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(words(&outcomes), ["unknown"]);
    assert_eq!(refused(&*connector).await.action, Action::Halt);
}

#[tokio::test]
async fn both_sides_show_certificates_of_an_authority_that_the_other_trusts() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    authority.sign("127.0.0.1", "server");
    authority.sign("relay", "client");
    let redis = Redis::start(&[
        ("tls-cert-file", &authority.file("server.pem")),
        ("tls-key-file", &authority.file("server.key")),
        ("tls-ca-cert-file", &authority.file("ca.pem")),
    ])
    .await;
    let url = format!("rediss://127.0.0.1:{}", redis.tls_port());
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| authority.file(name));
    let all = [
        ("ca_file", ca.as_str()),
        ("certificate_file", &certificate),
        ("key_file", &key),
    ];
    let sink = connector(&url, &all).connect().await.unwrap();
    let mut long = event(2, Some("a"));
    long.payload = vec![b'x'; 3 << 20].into();
    let (_, outcomes) = deliver(&*sink, &[event(1, Some("a")), long]).await;
    assert_eq!(words(&outcomes), ["delivered"; 2]);

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
    assert_eq!(numbers(&redis, "shop.orders").await, [1, 2]);
}
