//! Queues and exchanges that the sink makes.

use onewrite_core::Action;
use onewrite_testkit::servers::RabbitMq;

use super::{connector, events_for, ids, name, settle, to};
use crate::support::{deliver, words};

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_queue_is_made_as_a_quorum_queue_and_made_again_when_it_was_deleted() {
    let rabbit = RabbitMq::shared().await;
    let queue = name("made");
    let connector = connector(&rabbit.url(), &[("declare", "queue")]);
    let sink = connector.connect().await.unwrap();
    let batch = events_for(&queue, 1, 20, 4);
    assert!(deliver(&*sink, &batch[..10]).await.0.is_ok());
    assert_eq!(ids(&rabbit, &queue).await.len(), 10);
    let listed = rabbit
        .control(&["list_queues", "--silent", "name", "type", "durable"])
        .await;
    assert!(listed.contains(&format!("{queue}\tquorum\ttrue")), "{listed}");

    rabbit.delete_queue(&queue).await;
    let (_, outcomes) = deliver(&*sink, &batch[10..11]).await;
    assert_eq!(words(&outcomes), ["retry"]);
    let (result, outcomes) = deliver(&*sink, &batch[10..]).await;
    assert!(result.is_ok(), "{result:?} {outcomes:?}");
    assert_eq!(ids(&rabbit, &queue).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_made_with_its_exchange_and_binding() {
    let rabbit = RabbitMq::shared().await;
    let (exchange, queue) = (name("exchange"), name("bound"));
    let options = [
        ("declare", "queue"),
        ("exchange", exchange.as_str()),
        ("exchange_type", "direct"),
        ("queue_type", "classic"),
    ];
    let settled = settle(&*connector(&rabbit.url(), &options), &events_for(&queue, 1, 10, 2)).await;
    assert!(settled.parked.is_empty(), "{settled:?}");
    let published = rabbit.read_published(&queue).await;
    assert_eq!(published.len(), 10);
    assert!(
        published
            .iter()
            .all(|message| message.exchange == exchange && message.routing_key == queue)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exists_is_used_as_it_is() {
    let rabbit = RabbitMq::shared().await;
    let (exchange, queue) = (name("fanout"), name("classic"));
    rabbit.create_exchange(&exchange, "fanout").await;
    rabbit.create_queue(&queue, "classic").await;
    let options = [("declare", "queue"), ("exchange", exchange.as_str())];
    let settled = settle(&*connector(&rabbit.url(), &options), &events_for(&queue, 1, 10, 2)).await;
    assert!(settled.parked.is_empty(), "{settled:?}");
    assert_eq!(ids(&rabbit, &queue).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_that_nobody_asked_for() {
    let rabbit = RabbitMq::shared().await;
    let (exchange, queue) = (name("exchange"), name("unasked"));
    let options = [("declare", "exchange"), ("exchange", exchange.as_str())];
    let settled = settle(&*connector(&rabbit.url(), &options), &events_for(&queue, 1, 2, 2)).await;
    assert_eq!(settled.parked.len(), 2, "the exchange is there, and no queue is bound");
    assert!(!rabbit.has_queue(&queue).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_may_not_be_made_is_the_matter_of_its_events() {
    let rabbit = RabbitMq::shared().await;
    let (user, prefix) = (name("user"), name("mine"));
    rabbit.control(&["add_user", &user, "secret"]).await;
    let configure = format!("^{prefix}");
    rabbit
        .control(&["set_permissions", &user, &configure, ".*", ".*"])
        .await;
    let options = |routing_key| {
        [
            ("user", user.as_str()),
            ("password", "secret"),
            ("declare", "queue"),
            ("routing_key", routing_key),
        ]
    };
    let (allowed, forbidden) = (format!("{prefix}-orders"), name("of-others"));
    let batch = [to(&forbidden, 1, Some("a")), to(&allowed, 2, Some("b"))];
    let sink = connector(&rabbit.url(), &options("{topic}")).connect().await.unwrap();
    let (result, outcomes) = deliver(&*sink, &batch).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(words(&outcomes), ["park", "delivered"]);
    assert!(format!("{outcomes:?}").contains("to queue"), "{outcomes:?}");

    let sink = connector(&rabbit.url(), &options(&forbidden)).connect().await.unwrap();
    let error = deliver(&*sink, &batch).await.0.unwrap_err();
    assert_eq!(error.action, Action::Halt, "every event goes there: {error}");
    assert!(error.to_string().contains("for the queue"), "{error}");
}
