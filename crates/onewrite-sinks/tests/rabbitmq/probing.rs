//! What `onewrite check` says.

use onewrite_core::sink::{Finding, FindingLevel};
use onewrite_testkit::servers::RabbitMq;

use super::{connector, ids, name};

fn of<'a>(findings: &'a [Finding], subject: &str) -> &'a Finding {
    findings
        .iter()
        .find(|finding| finding.subject == subject)
        .unwrap_or_else(|| panic!("{subject}: {findings:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_the_default_exchange_are_looked_at() {
    let rabbit = RabbitMq::shared().await;
    let [quorum, classic, transient, missing] = ["quorum", "classic", "transient", "missing"].map(name);
    rabbit.create_queue(&quorum, "quorum").await;
    rabbit.create_queue(&classic, "classic").await;
    rabbit.create_transient_queue(&transient).await;
    let topics = [&quorum, &classic, &transient, &missing].map(Clone::clone);
    let findings = connector(&rabbit.url(), &[]).probe(&topics).await;
    let broker = of(&findings, &format!("broker {}", rabbit.url()));
    assert_eq!(broker.level, FindingLevel::Works);
    assert!(
        broker.message.starts_with("RabbitMQ ") && broker.message.contains("guest"),
        "{broker:?}"
    );
    assert_eq!(of(&findings, "publishing").level, FindingLevel::Works);
    for (queue, level, words) in [
        (&quorum, FindingLevel::Works, "a quorum queue"),
        (&classic, FindingLevel::Works, "a durable classic queue"),
        (&transient, FindingLevel::Warning, "is not durable"),
        (&missing, FindingLevel::Broken, "is missing"),
    ] {
        let finding = of(&findings, &format!("queue {queue}"));
        assert_eq!(finding.level, level, "{finding:?}");
        assert!(finding.message.contains(words), "{finding:?}");
    }
    assert!(ids(&rabbit, &quorum).await.is_empty(), "nothing is sent");
    assert!(!rabbit.has_queue(&missing).await, "nothing is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_are_looked_at_and_what_will_be_made_is_said() {
    let rabbit = RabbitMq::shared().await;
    let (there, missing) = (name("there"), name("missing"));
    rabbit.create_exchange(&there, "topic").await;
    let topics = [there.clone(), missing.clone()];
    let findings = connector(&rabbit.url(), &[("exchange", "{topic}")])
        .probe(&topics)
        .await;
    assert_eq!(of(&findings, &format!("exchange {there}")).level, FindingLevel::Works);
    let broken = of(&findings, &format!("exchange {missing}"));
    assert_eq!(broken.level, FindingLevel::Broken);
    assert!(broken.message.contains("NOT_FOUND"), "{broken:?}");

    let findings = connector(&rabbit.url(), &[("exchange", "{topic}"), ("declare", "exchange")])
        .probe(&topics)
        .await;
    let made = of(&findings, &format!("exchange {missing}"));
    assert_eq!(made.level, FindingLevel::Works);
    assert!(made.message.contains("a durable one of type topic"), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_told() {
    let findings = connector("amqp://127.0.0.1:1/shop", &[]).probe(&[]).await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].subject, "broker amqp://127.0.0.1:1/shop");
    assert!(findings[0].message.contains("refused"), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_others_can_read_is_warned_of() {
    let rabbit = RabbitMq::shared().await;
    // Another name of this machine, and not one that is known for it.
    let open = format!("amqp://127.1:{}", rabbit.port());
    let findings = connector(&open, &[]).probe(&[]).await;
    let warning = of(&findings, &format!("url {open}"));
    assert_eq!(warning.level, FindingLevel::Warning);
    assert!(warning.message.contains("use amqps://"), "{warning:?}");
    let findings = connector(&rabbit.url(), &[]).probe(&[]).await;
    assert!(
        findings.iter().all(|finding| !finding.subject.starts_with("url")),
        "{findings:?}"
    );
}
