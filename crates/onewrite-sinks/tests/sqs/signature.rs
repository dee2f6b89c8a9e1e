//! Who the sink trusts, and what it signs.

use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_sinks::sqs::build;
use serde_json::json;

use super::answers::Fake;
use super::{connector, options};
use crate::authority::Authority;
use crate::aws::{SECRET, check};
use crate::support::{deliver, event, words};

const QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/orders";

#[tokio::test]
async fn requests_are_signed_with_their_bodies() {
    let fake = Fake::start(|_| (200, json!({ "Successful": [{ "Id": "0" }] }))).await;
    let texts = [("session_token", "a-token")];
    let sink = connector(&fake.address, QUEUE, &texts).connect().await.unwrap();
    deliver(&*sink, &[event(1, Some("a"))]).await.0.unwrap();
    let requests = fake.sent.lock().unwrap();
    assert_eq!(requests.len(), 2);
    for (headers, body) in &*requests {
        assert_eq!(headers["x-amz-security-token"], "a-token");
        let names = check("sqs", headers, body, SECRET).unwrap();
        for name in ["host", "x-amz-date", "x-amz-target", "x-amz-security-token"] {
            assert!(names.iter().any(|signed| signed == name), "{name} is not signed");
        }
    }
}

#[tokio::test]
async fn certificates_are_checked_on_both_sides() {
    let (authority, other) = (Authority::new("ours"), Authority::new("another"));
    let fake = Fake::encrypted(authority.acceptor()).await;
    authority.sign("relay", "client");
    let endpoint = format!("https://{}", fake.address);
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| authority.file(name));
    let trusting = |ca: &str| {
        let texts = [
            ("endpoint_url", endpoint.as_str()),
            ("ca_file", ca),
            ("certificate_file", &certificate),
            ("key_file", &key),
        ];
        build(&options(QUEUE, &texts)).unwrap()
    };
    let sink = trusting(&ca).connect().await.unwrap();
    assert_eq!(words(&deliver(&*sink, &[event(1, None)]).await.1), ["delivered"]);
    let sent = fake.sent.lock().unwrap().len();

    let error = trusting(&other.file("ca.pem")).connect().await.err().unwrap();
    assert_eq!(error.action, Action::Reconnect);
    assert!(chain(&error).contains("UnknownIssuer"), "{}", chain(&error));
    assert_eq!(fake.sent.lock().unwrap().len(), sent, "nothing was sent to a stranger");
}
