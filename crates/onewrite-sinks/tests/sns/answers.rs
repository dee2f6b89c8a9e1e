//! What the sink makes of each answer.

use onewrite_core::error::chain;
use onewrite_core::{Outcome, SinkError};

use super::sink;
use super::stub::{Stub, refusal};
use crate::support::{deliver, event, events, words};

/// What becomes of one event and of its delivery when every batch is answered like this.
async fn answered(instead: (u16, String), topic: &str) -> (Result<(), SinkError>, Vec<Outcome>) {
    let stub = Stub::start(&["OrderPlaced"]).await;
    stub.with(|state| state.instead = Some(instead));
    deliver(&*sink(&stub, topic).await, &[event(1, Some("a"))]).await
}

fn whole(result: &Result<(), SinkError>) -> Option<&'static str> {
    let error = result.as_ref().err()?;
    Some(words(&[Outcome::Failed(SinkError::new(error.action, ""))])[0])
}

#[tokio::test]
async fn each_refusal_of_a_batch_has_its_action() {
    for (status, code, expected) in [
        (404, "NotFound", ("park", None)),
        (400, "InvalidParameter", ("park", None)),
        (400, "ParameterValueInvalid", ("park", None)),
        (400, "ValidationError", ("park", None)),
        (403, "AuthorizationError", ("unknown", Some("halt"))),
        (403, "InvalidClientTokenId", ("unknown", Some("halt"))),
        (403, "SignatureDoesNotMatch", ("unknown", Some("halt"))),
        (403, "InvalidSecurity", ("unknown", Some("halt"))),
        (403, "ExpiredToken", ("unknown", Some("reconnect"))),
        (429, "Throttled", ("unknown", Some("retry"))),
        (400, "Throttling", ("unknown", Some("retry"))),
        (400, "KMSThrottling", ("unknown", Some("retry"))),
        (400, "KMSAccessDenied", ("unknown", Some("halt"))),
        (400, "KMSDisabled", ("unknown", Some("halt"))),
        (400, "KMSInvalidState", ("unknown", Some("halt"))),
        (400, "KMSNotFound", ("unknown", Some("halt"))),
        (403, "KMSOptInRequired", ("unknown", Some("halt"))),
        (500, "InternalError", ("retry", None)),
        (503, "ServiceUnavailable", ("retry", None)),
        (400, "", ("unknown", Some("retry"))),
        (404, "", ("unknown", Some("retry"))),
        (302, "", ("unknown", Some("retry"))),
    ] {
        let (result, outcomes) = answered(refusal((status, code, "no reason")), "OrderPlaced").await;
        assert_eq!((words(&outcomes)[0], whole(&result)), expected, "{status} {code}");
    }
}

#[tokio::test]
async fn where_events_go_to_several_topics_one_topic_stops_no_other() {
    for (status, code, expected) in [
        (403, "AuthorizationError", ("park", None)),
        (400, "KMSDisabled", ("retry", None)),
        (403, "SignatureDoesNotMatch", ("unknown", Some("halt"))),
    ] {
        let (result, outcomes) = answered(refusal((status, code, "no reason")), "{type}").await;
        assert_eq!((words(&outcomes)[0], whole(&result)), expected, "{status} {code}");
    }
}

#[tokio::test]
async fn each_entry_has_an_outcome_of_its_own() {
    let stub = Stub::start(&["orders"]).await;
    stub.topic("orders", |topic| {
        topic.refuses_entries = vec![
            ("\"number\": 2}", ("InvalidParameter", true)),
            ("\"number\": 3}", ("InternalError", false)),
            ("\"number\": 4}", ("KMSDisabled", true)),
            ("\"number\": 5}", ("Throttled", true)),
            ("\"number\": 6}", ("AuthorizationError", true)),
        ];
    });
    let batch = events(7, &["a", "b", "c", "d", "e", "f", "g"]);
    let (result, outcomes) = deliver(&*sink(&stub, "orders").await, &batch).await;
    result.unwrap();
    let expected = ["delivered", "park", "retry", "retry", "retry", "retry", "delivered"];
    assert_eq!(words(&outcomes), expected);
    let Outcome::Failed(error) = &outcomes[1] else {
        panic!("it is parked")
    };
    let said = chain(error);
    assert!(
        said.contains("InvalidParameter") && said.contains("no <reason>"),
        "{said}"
    );
    assert_eq!(stub.with(|state| state.batches), 1);
}

#[tokio::test]
async fn an_answer_that_is_none_of_sns_delivers_nothing() {
    let result = |inside: &str| {
        format!("<PublishBatchResponse><PublishBatchResult>{inside}</PublishBatchResult></PublishBatchResponse>")
    };
    let kept = |id: &str| format!("<member><MessageId>m</MessageId><Id>{id}</Id></member>");
    for said in [
        String::new(),
        "ok".to_owned(),
        "<html><body>It works</body></html>".to_owned(),
        "{\"Successful\": [{\"Id\": \"0\"}]}".to_owned(),
        result(""),
        result("<Failed/><Successful/>"),
        result(&format!("<Failed/><Successful>{}</Successful>", kept("77"))),
        result(&format!("<Failed/><Successful>{}</Successful>", kept("first"))),
        result("<Failed/><Successful><member><Id>0</Id></member></Successful>"),
        result("<Failed/><Successful><member><MessageId/><Id>0</Id></member></Successful>"),
        result(&format!("<Successful>{}</Successful>", kept("0")))
            .replace("</PublishBatchResult></PublishBatchResponse>", ""),
        format!(
            "<PublishBatchResponse><Successful>{}</Successful></PublishBatchResponse>",
            kept("0")
        ),
        "<!DOCTYPE a [<!ENTITY b \"c\">]><PublishBatchResponse>&b;</PublishBatchResponse>".to_owned(),
    ] {
        let (result, outcomes) = answered((200, said.clone()), "OrderPlaced").await;
        assert_eq!(
            (words(&outcomes)[0], whole(&result)),
            ("unknown", Some("retry")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn an_entry_that_both_arrived_and_failed_is_not_delivered() {
    let member = "<member><MessageId>m</MessageId><Id>0</Id></member>";
    let failed = "<member><Id>0</Id><Code>InternalError</Code><SenderFault>false</SenderFault></member>";
    let said = format!(
        "<PublishBatchResponse><PublishBatchResult><Failed>{failed}</Failed><Successful>{member}</Successful></PublishBatchResult></PublishBatchResponse>"
    );
    let (result, outcomes) = answered((200, said), "OrderPlaced").await;
    result.unwrap();
    assert_eq!(words(&outcomes), ["retry"]);
}

#[tokio::test]
async fn errors_hold_the_words_of_sns_and_no_secret() {
    let (result, _) = answered(refusal((403, "AuthorizationError", "not &amp; never")), "OrderPlaced").await;
    let said = chain(&result.unwrap_err());
    for part in ["AuthorizationError", "not & never", "allow sns:Publish"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}
