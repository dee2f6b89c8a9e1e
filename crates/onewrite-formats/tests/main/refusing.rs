//! What a registry can answer beside schemas.

use onewrite_testkit::memory::MemoryBroker;

use crate::stub::{Answer, Stub};
use crate::support::{deliver, event, format, sink};

/// What becomes of two events of one subject: the words on the delivery, and on each event.
async fn told(registry: &str, more: &[(&str, &str)]) -> (Option<String>, Vec<String>) {
    let mut options = vec![("registry", registry)];
    options.extend(more);
    let sink = sink(MemoryBroker::new().connector(), Some(format("avro", &options)), None).await;
    let batch = [event(1, Some("a"), "{\"n\":1}"), event(2, Some("b"), "{\"n\":1}")];
    let (result, words) = deliver(&*sink, &batch).await;
    (result.err().map(|error| format!("{:?}: {error}", error.action)), words)
}

const SCHEMA: &str = r#"{"id":7,"version":1,"schema":"{\"type\":\"map\",\"values\":\"int\"}"}"#;

#[tokio::test]
async fn wrong_credentials_halt_with_the_registrys_words() {
    for (status, code) in [(401, 40101), (401, 401), (403, 403)] {
        let stub = Stub::answering(move |_| {
            let body = format!(r#"{{"error_code":{code},"message":"who are you?"}}"#);
            Answer::new(status, &body)
        });
        let stub = stub.await;
        let (halted, words) = told(&stub.url(), &[("user", "u"), ("password", "hunter2")]).await;
        let halted = halted.unwrap();
        assert!(
            halted.starts_with("Halt: ") && halted.contains("who are you?"),
            "{halted}"
        );
        assert!(!halted.contains("hunter2"), "{halted}");
        assert_eq!(words, ["unknown", "unknown"]);
        let sent = stub.seen()[0].header("authorization").map(str::to_owned);
        assert_eq!(sent.as_deref(), Some("Basic dTpodW50ZXIy"));
    }
}

#[tokio::test]
async fn an_answer_that_is_no_registrys_is_waited_out() {
    for (status, body) in [
        (404, "<html>no such page</html>"),
        (200, "<html>hello</html>"),
        (302, ""),
        (405, ""),
    ] {
        let stub = Stub::answering(move |_| Answer::new(status, body)).await;
        let (result, words) = told(&stub.url(), &[]).await;
        assert_eq!(result, None, "{status}");
        assert!(
            words
                .iter()
                .all(|words| words.starts_with("Retry") && words.contains("address")),
            "{status}: {words:?}"
        );
    }
}

#[tokio::test]
async fn trouble_of_the_registry_is_waited_out_and_asked_for_once() {
    for status in [429, 500, 503] {
        let stub = Stub::answering(move |_| Answer::new(status, "trouble")).await;
        let (result, words) = told(&stub.url(), &[]).await;
        assert_eq!(result, None);
        assert!(
            words
                .iter()
                .all(|words| words.starts_with("Retry") && words.contains("trouble")),
            "{words:?}"
        );
        assert_eq!(stub.seen().len(), 1, "the second event of the batch does not ask again");
    }
}

#[tokio::test]
async fn a_refusal_parks_and_is_asked_for_once() {
    let stub = Stub::answering(|_| Answer::new(422, r#"{"error_code":42201,"message":"bad schema"}"#)).await;
    let (_, words) = told(&stub.url(), &[]).await;
    assert!(
        words
            .iter()
            .all(|words| words.starts_with("Park: ") && words.contains("error 42201: bad schema")),
        "{words:?}"
    );
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn addresses_are_tried_in_turn() {
    let down = Stub::answering(|_| Answer::new(503, "")).await;
    let up = Stub::answering(|_| Answer::new(200, SCHEMA)).await;
    let both = format!("http://127.0.0.1:1,{},{}", down.url(), up.url());
    let (_, words) = told(&both, &[("bearer_token", "t0ken")]).await;
    assert_eq!(words, ["delivered", "delivered"]);
    assert_eq!((down.seen().len(), up.seen().len()), (1, 1));
    assert_eq!(up.seen()[0].header("authorization"), Some("Bearer t0ken"));
    assert!(
        up.seen()[0]
            .line
            .starts_with("GET /subjects/orders-value/versions/latest "),
        "{:?}",
        up.seen()[0]
    );
}

#[tokio::test]
async fn a_certificate_is_trusted_only_where_it_is_told_to_be() {
    let stub = Stub::encrypted(|_| Answer::new(200, SCHEMA)).await;
    let (_, words) = told(&stub.url(), &[]).await;
    assert!(
        words[0].starts_with("Retry") && words[0].contains("ertificate"),
        "{words:?}"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, stub.certificate.as_deref().unwrap()).unwrap();
    let (_, words) = told(&stub.url(), &[("ca_file", path.to_str().unwrap())]).await;
    assert_eq!(words, ["delivered", "delivered"]);
}

#[tokio::test]
async fn a_subject_is_one_part_of_the_path() {
    let up = Stub::answering(|_| Answer::new(200, SCHEMA)).await;
    let (_, words) = told(&format!("{}base", up.url()), &[("subject", "a/../{topic}?x")]).await;
    assert_eq!(words, ["delivered", "delivered"]);
    assert!(
        up.seen()[0]
            .line
            .starts_with("GET /base/subjects/a%2F..%2Forders%3Fx/versions/latest "),
        "{:?}",
        up.seen()[0]
    );
}

#[tokio::test]
async fn what_is_framed_already_passes() {
    let broker = MemoryBroker::new();
    let sink = sink(
        broker.connector(),
        Some(format("avro", &[("registry", "http://127.0.0.1:1")])),
        None,
    )
    .await;
    let mut framed = event(1, Some("a"), "\0\0\0\0\u{1}x");
    framed.content_type = "application/vnd.confluent.avro".into();
    let mut odd = framed.clone();
    (odd.key, odd.payload) = (Some("b".into()), "{}".into());
    let (_, words) = deliver(&*sink, &[framed.clone(), odd]).await;
    assert_eq!(words[0], "delivered");
    assert!(words[1].starts_with("Park: the content type"), "{words:?}");
    assert_eq!(broker.log()[0].payload, framed.payload);
}
