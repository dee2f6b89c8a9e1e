//! Passwords, tokens, keys, and what happens when they are taken away.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use onewrite_core::error::{Action, chain};
use onewrite_testkit::servers::Nats;
use serde_json::{Value, json};

use super::{connector, to};
use crate::support::{deliver, event, settle};

/// Users who may do everything: the fixture, and those of a test.
fn users(others: &str) -> String {
    let fixture = Nats::FIXTURE;
    format!("authorization {{ users: [ {{ user: {fixture}, password: {fixture} }}, {others} ] }}")
}

async fn refusal(nats: &Nats, texts: &[(&str, &str)]) -> String {
    let error = connector(&nats.url(), texts)
        .connect()
        .await
        .err()
        .expect("no connection");
    assert_eq!(error.action, Action::Halt, "{}", chain(&error));
    chain(&error)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_login_halts_the_route_and_a_right_one_delivers() {
    let key = KeyPair::new_user();
    let seed = key.seed().unwrap();
    let others = format!("{{ user: relay, password: right }}, {{ nkey: {} }}", key.public_key());
    let nats = Nats::start(&users(&others)).await;
    nats.create_stream("EVENTS", &["shop.orders"], json!({})).await;
    let told = refusal(&nats, &[("user", "relay"), ("password", "hunter2")]).await;
    assert!(told.contains("refuses the login; check user and password"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    let told = refusal(&nats, &[]).await;
    assert!(told.contains("the server wants a login"), "{told}");
    let stranger = KeyPair::new_user().seed().unwrap();
    let told = refusal(&nats, &[("nkey_seed", &stranger)]).await;
    assert!(told.contains("check nkey_seed") && !told.contains(&stranger), "{told}");

    let logins: [&[(&str, &str)]; 2] = [&[("user", "relay"), ("password", "right")], &[("nkey_seed", &seed)]];
    for (number, login) in (1..).zip(logins) {
        let sink = connector(&nats.url(), login).connect().await.unwrap();
        assert!(
            settle(&*sink, &[to("shop.orders", event(number, None))], 1)
                .await
                .is_empty()
        );
    }
    assert_eq!(nats.read_all("EVENTS").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_checked() {
    let nats = Nats::start(&format!("authorization {{ token: {} }}", Nats::FIXTURE)).await;
    let told = refusal(&nats, &[("token", "hunter2hunter2")]).await;
    assert!(told.contains("check token") && !told.contains("hunter2"), "{told}");
    connector(&nats.url(), &[("token", Nats::FIXTURE)])
        .connect()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_revoked_in_mid_run_ends_the_connection_and_then_halts() {
    let nats = Nats::start(&users("{ user: relay, password: right }")).await;
    nats.create_stream("EVENTS", &["shop.orders"], json!({})).await;
    let login = [("user", "relay"), ("password", "right")];
    let sink = connector(&nats.url(), &login).connect().await.unwrap();
    assert!(settle(&*sink, &[to("shop.orders", event(1, None))], 1).await.is_empty());
    nats.reload(&users("{ user: other, password: right }")).await;
    let (result, outcomes) = deliver(&*sink, &[to("shop.orders", event(2, None))]).await;
    assert_eq!(result.unwrap_err().action, Action::Reconnect);
    assert_eq!(crate::support::words(&outcomes), ["unknown"]);
    refusal(&nats, &login).await;
    assert_eq!(nats.read_all("EVENTS").await.len(), 1);
}

/// A JSON web token as NATS has them.
fn token(issuer: &KeyPair, subject: &str, expires: i64, nats: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": "checked", "iat": 1_700_000_000, "exp": expires, "iss": issuer.public_key(), "name": "checked", "sub": subject,
        "nats": nats,
    });
    let text = format!(
        "{}.{}",
        part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })),
        part(&claims)
    );
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_is_taken_until_it_expires() {
    let (operator, system, account, user) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_account(),
        KeyPair::new_user(),
    );
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let claims = json!({ "type": "account", "version": 2, "limits": limits });
    let plain =
        json!({ "type": "account", "version": 2, "limits": { "subs": -1, "data": -1, "payload": -1, "conn": -1 } });
    let nats = Nats::start(&format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {}: {}, {}: {} }}",
        token(
            &operator,
            &operator.public_key(),
            0,
            json!({ "type": "operator", "version": 2 })
        ),
        system.public_key(),
        system.public_key(),
        token(&operator, &system.public_key(), 0, plain),
        account.public_key(),
        token(&operator, &account.public_key(), 0, claims),
    ))
    .await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.creds");
    let write = |expires: i64| {
        let limits = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let jwt = token(&account, &user.public_key(), expires, limits);
        let seed = user.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&path, text).unwrap();
    };
    write(0);
    let connector = connector(&nats.url(), &[("credentials_file", path.to_str().unwrap())]);
    let sink = connector.connect().await.unwrap();
    let options = async_nats::ConnectOptions::with_credentials_file(&path).await.unwrap();
    let client = options.connect(nats.url()).await.unwrap();
    let stream = json!({ "name": "EVENTS", "subjects": ["shop.orders"] }).to_string();
    client
        .request("$JS.API.STREAM.CREATE.EVENTS", stream.into())
        .await
        .unwrap();
    assert!(settle(&*sink, &[event(1, None)], 1).await.is_empty());

    write(1_700_000_001);
    let error = connector.connect().await.err().expect("it has expired");
    assert_eq!(error.action, Action::Halt, "{}", chain(&error));
    assert!(error.to_string().contains("check credentials_file"), "{error}");
}
