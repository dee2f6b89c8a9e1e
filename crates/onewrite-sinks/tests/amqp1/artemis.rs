//! What ActiveMQ Artemis does that a sink must not take for an acknowledgement.

use onewrite_core::Outcome;
use onewrite_core::sink::FindingLevel;
use onewrite_testkit::servers::{Artemis, ArtemisSettings};
use onewrite_testkit::wait;
use tokio::sync::OnceCell;

use super::{LOGIN, connector, event_for, ids, said};
use crate::support::{deliver, settle, word, words};

/// Addresses `fixed.…` are never created on demand; `blocked.…`, `failing.…` and `dropping.…` hold some ten messages.
const ADDRESS_SETTINGS: &str = "
<address-setting match=\"fixed.#\"><auto-create-queues>false</auto-create-queues>\
<auto-create-addresses>false</auto-create-addresses></address-setting>
<address-setting match=\"blocked.#\"><max-size-messages>10</max-size-messages>\
<address-full-policy>BLOCK</address-full-policy></address-setting>
<address-setting match=\"failing.#\"><max-size-messages>10</max-size-messages>\
<address-full-policy>FAIL</address-full-policy></address-setting>";

fn settings() -> ArtemisSettings {
    ArtemisSettings {
        address_settings: ADDRESS_SETTINGS.to_owned(),
        // What is sent on credit that was given before is taken, however full the address is.
        acceptor: ";amqpCredits=10;amqpLowCredits=3".to_owned(),
        ..ArtemisSettings::default()
    }
}

/// One broker for these tests, each with addresses of its own names.
async fn broker() -> Artemis {
    static BROKER: OnceCell<Artemis> = OnceCell::const_new();
    BROKER
        .get_or_init(async || Artemis::start(&settings()).await)
        .await
        .clone()
}

async fn sink(texts: &[(&str, &str)]) -> Box<dyn onewrite_core::Sink> {
    let texts = [&LOGIN[..], texts].concat();
    connector(&broker().await.url(), &texts).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multicast_address_is_told_and_nothing_is_called_delivered() {
    let broker = broker().await;
    broker
        .tool(&[
            "address",
            "create",
            "--name",
            "fixed.multicast",
            "--multicast",
            "--no-anycast",
        ])
        .await;
    let queue = [
        "queue",
        "create",
        "--name",
        "subscription",
        "--address",
        "subscribed",
        "--multicast",
        "--durable",
    ];
    let rest = ["--preserve-on-no-consumers", "--auto-create-address"];
    broker.tool(&[&queue[..], &rest].concat()).await;
    let sink = sink(&[]).await;
    for (address, expected, told) in [
        ("fixed.multicast", "park", "amqp:not-found"),
        ("subscribed", "retry", "it is no queue"),
    ] {
        let (_, outcomes) = deliver(&*sink, &[event_for(address, 1, None)]).await;
        assert_eq!(words(&outcomes), [expected], "{}", said(&outcomes[0]));
        assert!(said(&outcomes[0]).contains(told), "{}", said(&outcomes[0]));
        let findings = connector(&broker.url(), &LOGIN).probe(&[address.to_owned()]).await;
        assert!(
            findings.iter().any(|finding| finding.level == FindingLevel::Broken),
            "{findings:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_auto_creation_would_make_multicast_keeps_what_it_accepts() {
    let broker = broker().await;
    broker
        .tool(&[
            "address",
            "create",
            "--name",
            "open.multicast",
            "--multicast",
            "--no-anycast",
        ])
        .await;
    let sink = sink(&[]).await;
    for address in ["fresh", "open.multicast"] {
        let (_, outcomes) = deliver(&*sink, &[event_for(address, 1, None)]).await;
        match word(&outcomes[0]) {
            "delivered" => assert_eq!(ids(&broker.read_all(address).await), [1], "{address}"),
            "retry" => assert_eq!(address, "open.multicast", "{}", said(&outcomes[0])),
            other => panic!("{address}: {other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_queues_topics_and_what_is_missing() {
    let broker = broker().await;
    let worst = async |texts: &[(&str, &str)], topic: &str| {
        let connector = connector(&broker.url(), &[&LOGIN[..], texts].concat());
        let findings = connector.probe(&[topic.to_owned()]).await;
        assert!(
            findings[0].message.contains("apache-activemq-artemis 2.40.0"),
            "{findings:?}"
        );
        let subject = format!("address {topic}");
        let of_address = findings.into_iter().find(|finding| finding.subject == subject);
        of_address.map(|finding| (finding.level, finding.message)).unwrap()
    };
    let (level, words) = worst(&[], "looked-at").await;
    assert_eq!(level, FindingLevel::Works, "{words}");
    let (level, words) = worst(&[], "fixed.missing").await;
    assert_eq!(level, FindingLevel::Broken, "{words}");
    let (level, words) = worst(&[("target", "topic")], "news").await;
    assert_eq!(level, FindingLevel::Warning, "{words}");
    assert!(words.contains("drops them where there is none"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_address_that_blocks_is_tried_again_with_words() {
    full("blocked.orders", "gave no credit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_address_that_fails_is_tried_again_with_words() {
    full("failing.orders", "address failing.orders").await;
}

/// Fills an address, and finds that everything that was called delivered is there.
async fn full(address: &str, expected: &str) {
    let sink = sink(&[("window", "4")]).await;
    let batch: Vec<_> = (1..=60)
        .map(|number| event_for(address, number, Some(&number.to_string())))
        .collect();
    let (_, outcomes) = deliver(&*sink, &batch).await;
    let delivered = words(&outcomes).iter().filter(|word| **word == "delivered").count();
    assert!((1..60).contains(&delivered), "{:?}", words(&outcomes));
    assert!(!words(&outcomes).contains(&"park"), "{:?}", words(&outcomes));
    let refused = outcomes
        .iter()
        .find(|outcome| matches!(outcome, Outcome::Failed(_)))
        .unwrap();
    assert_eq!(word(refused), "retry");
    assert!(said(refused).contains(expected), "{}", said(refused));
    let kept = ids(&broker().await.read_all(address).await);
    for (event, outcome) in batch.iter().zip(&outcomes) {
        assert!(
            word(outcome) != "delivered" || kept.contains(&event.id.as_u128()),
            "{} is lost",
            event.id
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_in_mid_run_holds_its_own_events_back_and_no_others() {
    let broker = broker().await;
    let create = [
        "queue",
        "create",
        "--name",
        "fixed.deleted",
        "--address",
        "fixed.deleted",
        "--anycast",
        "--durable",
    ];
    let create = [&create[..], &["--preserve-on-no-consumers", "--auto-create-address"]].concat();
    broker.tool(&create).await;
    let sink = sink(&[]).await;
    assert!(
        settle(&*sink, &[event_for("fixed.deleted", 1, None)], 1)
            .await
            .is_empty()
    );
    broker.tool(&["queue", "delete", "--name", "fixed.deleted"]).await;

    let both = [event_for("fixed.deleted", 2, None), event_for("not-deleted", 3, None)];
    let (_, outcomes) = deliver(&*sink, &both).await;
    assert_eq!(words(&outcomes), ["retry", "delivered"], "{}", said(&outcomes[0]));
    assert_eq!(ids(&broker.read_all("not-deleted").await), [3]);

    broker.tool(&create).await;
    assert!(settle(&*sink, &both[..1], 3).await.is_empty());
    assert_eq!(ids(&broker.read_all("fixed.deleted").await), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_address_is_parked_unless_it_is_that_of_every_event() {
    let sink_of_any = sink(&[]).await;
    let (_, outcomes) = deliver(&*sink_of_any, &[event_for("fixed.nowhere", 1, None)]).await;
    assert_eq!(words(&outcomes), ["park"]);
    let sink_of_one = sink(&[("address", "fixed.nowhere")]).await;
    let (_, outcomes) = deliver(&*sink_of_one, &[event_for("shop", 1, None)]).await;
    assert_eq!(words(&outcomes), ["retry"]);
    assert!(said(&outcomes[0]).contains("amqp:not-found"), "{}", said(&outcomes[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn artemis_drops_a_repetition_that_carries_its_duplicate_id() {
    let broker = broker().await;
    for (address, detection, times) in [("repeated", "false", 2), ("detected", "true", 1)] {
        let sink = sink(&[("duplicate_detection", detection)]).await;
        let event = [event_for(address, 1, None)];
        for _ in 0..2 {
            let (result, outcomes) = deliver(&*sink, &event).await;
            assert_eq!(
                words(&outcomes),
                ["delivered"],
                "{address}: {result:?} {}",
                said(&outcomes[0])
            );
        }
        assert_eq!(broker.read_all(address).await.len(), times, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_many_frames_arrives_whole() {
    let broker = broker().await;
    let mut event = event_for("large", 1, None);
    event.payload = (0..3_000_000_u32).map(|at| at as u8).collect::<Vec<_>>().into();
    let sink = sink(&[]).await;
    assert!(settle(&*sink, std::slice::from_ref(&event), 1).await.is_empty());
    let arrived = broker.read_all("large").await;
    assert_eq!(arrived.len(), 1);
    assert!(arrived[0].payload == event.payload);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_give_way_to_those_that_are_used() {
    let broker = broker().await;
    let sink = sink(&[("max_links", "3")]).await;
    let batch: Vec<_> = (1..=40)
        .map(|number| {
            event_for(
                &format!("many.{}", number % 10),
                number,
                Some(&(number % 10).to_string()),
            )
        })
        .collect();
    assert!(settle(&*sink, &batch, 1).await.is_empty());
    for queue in 0..10 {
        let expected: Vec<u128> = (1..=40).filter(|number| number % 10 == queue).collect();
        assert_eq!(ids(&broker.read_all(&format!("many.{queue}")).await), expected);
    }
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_revoked_in_mid_run_is_told() {
    let mut with_guest = ArtemisSettings {
        users: vec![("guest".to_owned(), "guest-secret".to_owned(), "all".to_owned())],
        ..settings()
    };
    let broker = Artemis::start(&with_guest).await;
    let login = [("user", "guest"), ("password", "guest-secret")];
    let connect = async |texts: &[(&str, &str)]| {
        let texts = [&login[..], texts].concat();
        connector(&broker.url(), &texts).connect().await.unwrap()
    };
    let of_any = connect(&[]).await;
    let of_one = connect(&[("address", "revoked")]).await;
    assert!(settle(&*of_any, &[event_for("revoked", 1, None)], 1).await.is_empty());
    assert!(settle(&*of_one, &[event_for("revoked", 2, None)], 1).await.is_empty());

    with_guest.users[0].2 = "nobody".to_owned();
    broker.change(&with_guest);
    let number = std::cell::Cell::new(2);
    let refused = async |sink: &dyn onewrite_core::Sink| {
        wait::until("the permission is gone", async || {
            number.set(number.get() + 1);
            let (_, outcomes) = deliver(sink, &[event_for("revoked", number.get(), None)]).await;
            matches!(outcomes[0], Outcome::Failed(_)).then(|| (word(&outcomes[0]), said(&outcomes[0])))
        })
        .await
    };
    let (of_any, words) = refused(&*of_any).await;
    assert_eq!(of_any, "park", "{words}");
    let (of_one, words) = refused(&*of_one).await;
    assert_eq!(of_one, "halt", "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_halts() {
    let texts = [("user", "relay"), ("password", "wrong-password")];
    let connector = connector(&broker().await.url(), &texts);
    let error = connector.connect().await.err().expect("a wrong password is refused");
    assert_eq!(error.action, onewrite_core::Action::Halt, "{error}");
    assert!(!format!("{error:?}").contains("wrong-password"));
    let findings = connector.probe(&[]).await;
    assert_eq!(findings[0].level, FindingLevel::Broken, "{findings:?}");
}
