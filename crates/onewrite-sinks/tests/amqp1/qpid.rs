//! What Qpid Broker-J does that a sink must not take for an acknowledgement.

use onewrite_core::sink::FindingLevel;
use onewrite_core::{Event, Sink, SinkConnector};
use onewrite_testkit::servers::Qpid;

use super::{LOGIN, connector, event_for, ids, said};
use crate::support::{deliver, settle, word, words};

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_without_a_binding_takes_nothing_that_is_called_delivered() {
    let broker = Qpid::shared().await;
    for (behaviour, expected, told) in [
        ("DISCARD", "retry", "accepts and discards"),
        ("REJECT", "park", "amqp:not-found"),
    ] {
        let exchange = format!("exchange-{behaviour}");
        let attributes = format!("{{\"type\": \"fanout\", \"unroutableMessageBehaviour\": \"{behaviour}\"}}");
        broker.put(&format!("exchange/{exchange}"), &attributes).await;
        let connector = connector(&broker.url(), &LOGIN);
        let sink = connector.connect().await.unwrap();
        let (_, outcomes) = deliver(&*sink, &[event_for(&exchange, 1, None)]).await;
        assert_eq!(words(&outcomes), [expected], "{exchange}");
        assert!(said(&outcomes[0]).contains(told), "{exchange}: {}", said(&outcomes[0]));
        let findings = connector.probe(std::slice::from_ref(&exchange)).await;
        let broken = findings.iter().any(|finding| finding.level == FindingLevel::Broken);
        assert_eq!(broken, behaviour == "DISCARD", "{findings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_told_from_what_is_missing() {
    let broker = Qpid::shared().await;
    broker.put("queue/looked-at", "{}").await;
    let connector = connector(&broker.url(), &LOGIN);
    let findings = connector.probe(&["looked-at".to_owned(), "missing".to_owned()]).await;
    let level = |subject: &str| {
        let found = findings.iter().find(|finding| finding.subject == subject);
        found.map(|finding| finding.level)
    };
    assert_eq!(level("address looked-at"), Some(FindingLevel::Works), "{findings:?}");
    assert_eq!(level("address missing"), Some(FindingLevel::Broken), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_in_mid_run_holds_its_own_events_back_and_no_others() {
    let broker = Qpid::shared().await;
    broker.put("queue/deleted", "{}").await;
    broker.put("queue/stays", "{}").await;
    let connector = connector(&broker.url(), &LOGIN);
    let mut sink = connector.connect().await.unwrap();
    assert!(settle(&*sink, &[event_for("deleted", 1, None)], 1).await.is_empty());
    broker.delete("queue/deleted").await;
    let (_, outcomes) = deliver(&*sink, &[event_for("deleted", 2, None)]).await;
    assert!(
        !["delivered", "park"].contains(&word(&outcomes[0])),
        "{}",
        said(&outcomes[0])
    );
    // The client answers a refused attach with a second detach. It may hit the link that comes next, or find none and end the session.
    arrives(&*connector, &mut sink, &event_for("stays", 3, None)).await;
    broker.put("queue/deleted", "{}").await;
    arrives(&*connector, &mut sink, &event_for("deleted", 2, None)).await;
    assert_eq!(ids(&broker.read_all("deleted").await), [2]);
    assert_eq!(ids(&broker.read_all("stays").await), [3]);
}

/// Delivers one event as core does but without its waits: again, and over a new connection where the sink asks for one.
async fn arrives(connector: &dyn SinkConnector, sink: &mut Box<dyn Sink>, event: &Event) {
    let mut refusals = Vec::new();
    for _ in 0..5 {
        let (result, outcomes) = deliver(&**sink, std::slice::from_ref(event)).await;
        if word(&outcomes[0]) == "delivered" {
            return;
        }
        refusals.push(said(&outcomes[0]));
        if let Err(error) = result {
            refusals.push(error.to_string());
            *sink = connector.connect().await.unwrap();
        }
    }
    panic!("event {} was refused: {refusals:#?}", event.id);
}
