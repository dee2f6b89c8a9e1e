//! What the sink makes of answers that no emulator gives.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::HeaderMap;
use onewrite_core::error::chain;
use onewrite_core::{Outcome, SinkError};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::connector;
use crate::aws::Server;
use crate::support::{deliver, event, events, words};

const QUEUE: &str = "https://sqs.us-east-1.amazonaws.com/123456789012/orders";

/// A request to send: headers, body.
pub type Sent = (HeaderMap, Bytes);

/// A server that answers each `SendMessageBatch` as the test says, and everything else with an empty object.
pub struct Fake {
    pub address: String,
    pub sent: Arc<Mutex<Vec<Sent>>>,
    _server: Server,
}

impl Fake {
    pub async fn start(answer: impl Fn(&Value) -> (u16, Value) + Send + Sync + 'static) -> Self {
        Self::listen(answer, None).await
    }

    /// A server behind TLS that takes everything.
    pub async fn encrypted(acceptor: TlsAcceptor) -> Self {
        let taken = |_: &Value| (200, json!({ "Successful": [{ "Id": "0" }] }));
        Self::listen(taken, Some(acceptor)).await
    }

    async fn listen(
        answer: impl Fn(&Value) -> (u16, Value) + Send + Sync + 'static,
        acceptor: Option<TlsAcceptor>,
    ) -> Self {
        let sent = Arc::<Mutex<Vec<Sent>>>::default();
        let kept = Arc::clone(&sent);
        let server = Server::start(acceptor, move |headers, body| {
            let (status, said) = match headers["x-amz-target"].to_str() {
                Ok("AmazonSQS.SendMessageBatch") => answer(&serde_json::from_slice(&body).unwrap()),
                _ => (200, json!({})),
            };
            kept.lock().unwrap().push((headers, body));
            (status, said.to_string())
        });
        let server = server.await;
        Self {
            address: server.address.clone(),
            sent,
            _server: server,
        }
    }
}

async fn answered(status: u16, said: Value, queue: &str) -> (Result<(), SinkError>, Vec<Outcome>) {
    let fake = Fake::start(move |_| (status, said.clone())).await;
    let sink = connector(&fake.address, queue, &[]).connect().await.unwrap();
    deliver(&*sink, &[event(1, Some("a"))]).await
}

fn whole(result: &Result<(), SinkError>) -> Option<&'static str> {
    let error = result.as_ref().err()?;
    Some(words(&[Outcome::Failed(SinkError::new(error.action, ""))])[0])
}

#[tokio::test]
async fn each_refusal_of_a_batch_has_its_action() {
    for (status, code, expected) in [
        (400, "com.amazonaws.sqs#QueueDoesNotExist", ("park", None)),
        (400, "com.amazonaws.sqs#UnsupportedOperation", ("park", None)),
        (
            403,
            "com.amazon.coral.service#AccessDeniedException",
            ("unknown", Some("halt")),
        ),
        (403, "InvalidClientTokenId", ("unknown", Some("halt"))),
        (403, "SignatureDoesNotMatch", ("unknown", Some("halt"))),
        (
            400,
            "com.amazon.coral.service#InvalidSignatureException",
            ("unknown", Some("halt")),
        ),
        (403, "InvalidClientTokenIdException", ("unknown", Some("halt"))),
        (403, "MissingAuthenticationTokenException", ("unknown", Some("halt"))),
        (400, "IncompleteSignatureException", ("unknown", Some("halt"))),
        (400, "NotAuthorized", ("unknown", Some("halt"))),
        (403, "ExpiredTokenException", ("unknown", Some("reconnect"))),
        (400, "RequestExpiredException", ("unknown", Some("reconnect"))),
        (400, "TooManyRequests", ("unknown", Some("retry"))),
        (400, "QueueDoesNotExistException", ("park", None)),
        (400, "com.amazonaws.sqs#RequestThrottled", ("unknown", Some("retry"))),
        (400, "ThrottlingException", ("unknown", Some("retry"))),
        (400, "com.amazonaws.sqs#KmsThrottled", ("unknown", Some("retry"))),
        (400, "com.amazonaws.sqs#KmsDisabled", ("unknown", Some("halt"))),
        (503, "ServiceUnavailable", ("retry", None)),
        (500, "", ("retry", None)),
        (302, "", ("unknown", Some("retry"))),
        (404, "", ("unknown", Some("retry"))),
    ] {
        let (result, outcomes) = answered(status, json!({ "__type": code, "message": "no\nreason" }), QUEUE).await;
        assert_eq!((words(&outcomes)[0], whole(&result)), expected, "{status} {code}");
    }
    for (code, message) in [
        (
            "InvalidSignatureException",
            "Signature expired: 20261126T210000Z is now earlier than 20261126T211000Z",
        ),
        (
            "SignatureDoesNotMatch",
            "Signature not yet current: 20261126T213000Z is still later than 20261126T211000Z",
        ),
    ] {
        let (result, outcomes) = answered(403, json!({ "__type": code, "message": message }), QUEUE).await;
        assert_eq!(
            (words(&outcomes)[0], whole(&result)),
            ("unknown", Some("reconnect")),
            "{code}"
        );
    }
    // Where events go to several queues, one of them may be allowed.
    let denied = json!({ "__type": "AccessDenied" });
    let (result, outcomes) = answered(403, denied, "https://sqs.us-east-1.amazonaws.com/1/{type}").await;
    assert_eq!((words(&outcomes)[0], whole(&result)), ("park", None));
}

#[tokio::test]
async fn each_entry_has_an_outcome_of_its_own() {
    let fake = Fake::start(|request| {
        assert_eq!(request["Entries"].as_array().unwrap().len(), 5);
        let failed = |id: &str, fault: bool, code: &str| json!({ "Id": id, "SenderFault": fault, "Code": code, "Message": "so" });
        let said = json!({
            "Successful": [{ "Id": "0" }],
            "Failed": [
                failed("1", true, "InvalidMessageContents"),
                failed("2", false, "InternalError"),
                failed("3", true, "KmsThrottled"),
            ],
        });
        (200, said)
    })
    .await;
    let sink = connector(&fake.address, QUEUE, &[]).connect().await.unwrap();
    let (result, outcomes) = deliver(&*sink, &events(5, &["a", "b", "c", "d", "e"])).await;
    assert_eq!(words(&outcomes), ["delivered", "park", "retry", "retry", "unknown"]);
    assert_eq!(whole(&result), Some("retry"), "the one that nothing was said of");
}

#[tokio::test]
async fn an_answer_that_is_none_of_sqs_delivers_nothing() {
    for said in [
        json!([]),
        json!("ok"),
        json!({ "Successful": [{ "Id": "77" }] }),
        json!({ "Successful": 3 }),
    ] {
        let (result, outcomes) = answered(200, said.clone(), QUEUE).await;
        assert_eq!(
            (words(&outcomes)[0], whole(&result)),
            ("unknown", Some("retry")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn one_event_that_spoils_a_batch_is_found_and_the_others_arrive() {
    let fake = Fake::start(|request| {
        let entries = request["Entries"].as_array().unwrap();
        let spoilt = |entry: &Value| entry["MessageBody"].as_str().unwrap().contains("\"number\": 4}");
        if entries.iter().any(spoilt) {
            return (
                400,
                json!({ "__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "no" }),
            );
        }
        let successful: Vec<_> = entries.iter().map(|entry| json!({ "Id": entry["Id"] })).collect();
        (200, json!({ "Successful": successful }))
    })
    .await;
    let sink = connector(&fake.address, QUEUE, &[]).connect().await.unwrap();
    let (result, outcomes) = deliver(&*sink, &events(8, &["a", "b", "c", "d", "e", "f", "g", "h"])).await;
    result.unwrap();
    let mut expected = vec!["delivered"; 8];
    expected[3] = "park";
    assert_eq!(words(&outcomes), expected);
}

#[tokio::test]
async fn headers_that_cannot_be_attributes_are_together_in_one() {
    let fake = Fake::start(|_| (200, json!({ "Successful": [{ "Id": "0" }] }))).await;
    let sink = connector(&fake.address, QUEUE, &[]).connect().await.unwrap();
    let mut sent = event(1, Some("a\u{1}b"));
    sent.headers = vec![("x-empty".into(), "".into()), ("traceparent".into(), "00-1".into())];
    deliver(&*sink, &[sent]).await.0.unwrap();
    let requests = fake.sent.lock().unwrap();
    let request: Value = serde_json::from_slice(&requests.last().unwrap().1).unwrap();
    let attributes = &request["Entries"][0]["MessageAttributes"];
    assert_eq!(attributes["onewrite-key"], Value::Null);
    let rest = attributes["onewrite-headers"]["StringValue"].as_str().unwrap();
    assert_eq!(rest, r#"{"onewrite-key":"a\u0001b","traceparent":"00-1","x-empty":""}"#);
    assert_eq!(
        request["Entries"][0]["MessageGroupId"],
        Value::Null,
        "a standard queue has no groups"
    );
}

#[tokio::test]
async fn errors_hold_the_words_of_sqs_and_no_secret() {
    let (result, _) = answered(
        403,
        json!({ "__type": "SignatureDoesNotMatch", "message": "it does not" }),
        QUEUE,
    )
    .await;
    let said = chain(&result.unwrap_err());
    assert!(
        said.contains("SignatureDoesNotMatch") && said.contains("it does not"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}
