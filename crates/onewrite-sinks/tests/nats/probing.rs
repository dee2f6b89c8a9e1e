//! What `onewrite check` finds.

use onewrite_core::sink::{Finding, FindingLevel};
use onewrite_testkit::servers::{Nats, NatsCluster};
use serde_json::json;

use super::connector;

fn found(findings: &[Finding], level: FindingLevel, subject: &str, words: &str) {
    let holds =
        |finding: &Finding| finding.level == level && finding.subject == subject && finding.message.contains(words);
    assert!(findings.iter().any(holds), "{level:?} {subject} {words}: {findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_lose_messages_are_told() {
    use FindingLevel::{Broken, Warning, Works};
    let nats = Nats::shared().await;
    let hour = 3_600_000_000_000_u64;
    nats.create_stream("PROBE-GOOD", &["probe.good"], json!({ "duplicate_window": hour }))
        .await;
    let lossy = json!({
        "max_msgs": 10, "max_age": hour, "storage": "memory", "retention": "interest",
    });
    nats.create_stream("PROBE-LOSSY", &["probe.lossy"], lossy).await;
    nats.create_stream("PROBE-MUTE", &["probe.mute"], json!({ "no_ack": true }))
        .await;
    let topics = ["good", "lossy", "mute", "missing", "bad topic"].map(|name| format!("probe.{name}"));
    let findings = connector(&nats.url(), &[]).probe(&topics).await;

    found(&findings, Works, &format!("server {}", nats.url()), "with NATS 2.");
    found(&findings, Works, "JetStream", "answers on $JS.API");
    found(&findings, Works, "subject probe.good", "is taken by stream PROBE-GOOD");
    found(&findings, Works, "stream PROBE-GOOD", "keeps what it acknowledges");
    for words in [
        "deletes its oldest messages at max_msgs = 10",
        "max_age",
        "held in memory",
        "retention = interest",
    ] {
        found(&findings, Warning, "stream PROBE-LOSSY", words);
    }
    found(
        &findings,
        Warning,
        "stream PROBE-LOSSY",
        "knows repeated events for 120s",
    );
    found(&findings, Broken, "stream PROBE-MUTE", "no_ack");
    found(&findings, Broken, "subject probe.missing", "no stream listens to it");
    found(&findings, Broken, "subject probe.bad topic", "holds blanks");

    let findings = connector(&nats.url(), &[("stream", "MINE")]).probe(&topics[..1]).await;
    found(&findings, Broken, "subject probe.good", "the option stream says MINE");
    let findings = connector(&nats.url(), &[("domain", "hub")]).probe(&topics[..1]).await;
    found(&findings, Broken, "JetStream", "correct domain or api_prefix");
    let findings = connector(&nats.url(), &[("subject", "x.{key}")])
        .probe(&topics[..1])
        .await;
    found(&findings, Works, "subject x.{key}", "depends on the events");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_replica_in_a_cluster_is_told() {
    let cluster = NatsCluster::start().await;
    let single = json!({ "name": "SINGLE", "subjects": ["shop.single"], "num_replicas": 1 });
    cluster.api("STREAM.CREATE.SINGLE", single).await;
    cluster.create_stream("REPLICATED", &["shop.orders"]).await;
    let topics = ["shop.single".to_owned(), "shop.orders".to_owned()];
    let findings = connector(&cluster.urls().join(","), &[]).probe(&topics).await;
    found(&findings, FindingLevel::Warning, "stream SINGLE", "has one replica");
    let about_replicated = |finding: &&Finding| finding.subject == "stream REPLICATED";
    let words: Vec<_> = findings.iter().filter(about_replicated).collect();
    assert!(
        words.iter().all(|finding| !finding.message.contains("replica")),
        "{words:?}"
    );
}
