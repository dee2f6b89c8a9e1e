//! Who the sink trusts, and signatures, computed once more by the rules of "AWS Signature Version 4 for API requests".

use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use onewrite_core::Action;
use onewrite_core::error::chain;
use onewrite_sinks::sqs::build;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answers::Fake;
use super::{connector, options};
use crate::authority::Authority;
use crate::support::{deliver, event, words};

const QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/orders";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The signature of a POST to `/`.
fn signature(headers: &HeaderMap, body: &[u8], names: &str, secret: &str) -> String {
    let value = |name: &str| headers[name].to_str().unwrap().trim().to_owned();
    let lines: String = names
        .split(';')
        .map(|name| format!("{name}:{}\n", value(name)))
        .collect();
    let request = format!("POST\n/\n\n{lines}\n{names}\n{}", hex(&Sha256::digest(body)));
    let time = value("x-amz-date");
    let day = &time[..8];
    let scope = format!("{day}/us-east-1/sqs/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let key = mac(format!("AWS4{secret}").as_bytes(), day);
    let key = ["us-east-1", "sqs", "aws4_request"]
        .iter()
        .fold(key, |key, text| mac(&key, text));
    hex(&mac(&key, &text))
}

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
        assert_eq!(headers["x-amz-content-sha256"], hex(&Sha256::digest(body)).as_str());
        let authorization = headers["authorization"].to_str().unwrap();
        let (before, found) = authorization.split_once(", Signature=").unwrap();
        let (credential, names) = before.split_once(", SignedHeaders=").unwrap();
        assert!(
            credential.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
            "{credential}"
        );
        for name in ["host", "x-amz-date", "x-amz-target", "x-amz-security-token"] {
            assert!(names.split(';').any(|signed| signed == name), "{name} is not signed");
        }
        assert_eq!(found, signature(headers, body, names, "hunter2-secret"));
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
