//! What `onewrite check` tells about a cluster and its topics.

use std::collections::HashMap;
use std::sync::Arc;

use onewrite_core::error::chain;
use onewrite_core::limits::PAYLOAD_BYTES_MAX;
use onewrite_core::sink::Finding;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::MetadataTopic;

use super::client::said;
use super::connector::{KafkaConnector, Link};
use super::limits::{CONNECT, DESCRIBE};
use super::native::{ConfigurationError, Resource, brokers, configuration};

/// Looks at the cluster and at each topic. Creates nothing.
pub(super) async fn probe(connector: &KafkaConnector, topics: &[String]) -> Vec<Finding> {
    let subject = format!("Kafka at {}", connector.brokers);
    // Looking must not make brokers create what is missing.
    let link = match connector.link(&[("allow.auto.create.topics", "false")]).await {
        Ok(link) => link,
        Err(error) => return vec![Finding::broken(subject, chain(&error))],
    };
    let mut findings = Vec::new();
    if connector.plain_password {
        findings.push(Finding::warning(
            subject.as_str(),
            "the password travels in the clear: set tls = true, or use SCRAM",
        ));
    }
    let topics = topics.to_vec();
    let looked = tokio::task::spawn_blocking(move || {
        let mut findings = vec![cluster(&link, &subject)];
        let creates = creates_topics(&link);
        findings.extend(topics.iter().flat_map(|topic| look(&link, topic, creates)));
        link.shut_down();
        findings
    });
    match looked.await {
        Ok(looked) => findings.splice(0..0, looked).for_each(drop),
        Err(error) => findings.push(Finding::broken("Kafka", error.to_string())),
    }
    findings
}

fn cluster(link: &Link, subject: &str) -> Finding {
    let id = link
        .client()
        .fetch_cluster_id(DESCRIBE)
        .unwrap_or_else(|| "unknown".into());
    let (_, version) = rdkafka::util::get_rdkafka_version();
    match brokers(link.client(), CONNECT) {
        Ok((count, _)) => {
            let brokers = if count == 1 { "broker" } else { "brokers" };
            let words = format!("cluster {id} answers with {count} {brokers} (client: librdkafka {version})");
            if count == 1 {
                return Finding::warning(subject, format!("{words}; an event is on one disk only"));
            }
            Finding::works(subject, words)
        }
        Err(code) => Finding::broken(subject, link.troubles().words_or(&said(code))),
    }
}

/// Whether brokers create missing topics; `None` where they do not tell.
fn creates_topics(link: &Link) -> Option<bool> {
    let (_, broker) = brokers(link.client(), DESCRIBE).ok()?;
    let entries = configuration(link.client(), Resource::Broker(broker), DESCRIBE).ok()?;
    entries.get("auto.create.topics.enable")?.parse().ok()
}

fn look(link: &Arc<Link>, name: &str, creates: Option<bool>) -> Vec<Finding> {
    let subject = format!("topic {name}");
    let metadata = match link.client().fetch_metadata(Some(name), CONNECT) {
        Ok(metadata) => metadata,
        Err(error) => return vec![Finding::broken(subject, link.troubles().words_or(&error.to_string()))],
    };
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    let code = topic.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from);
    match (topic, code) {
        (Some(topic), None) if !topic.partitions().is_empty() => {
            let described = configuration(link.client(), Resource::Topic(name), DESCRIBE);
            present(link, &subject, topic, described)
        }
        (_, None | Some(RDKafkaErrorCode::UnknownTopicOrPartition)) => vec![missing(subject, creates)],
        (_, Some(code)) => vec![Finding::broken(subject, said(code))],
    }
}

fn missing(subject: String, creates: Option<bool>) -> Finding {
    match creates {
        Some(true) => Finding::warning(
            subject,
            "is missing; the brokers create it with their defaults when the first event comes (auto.create.topics.enable)",
        ),
        Some(false) => Finding::broken(
            subject,
            "is missing, and the brokers create none by themselves: create it, or its events are parked",
        ),
        None => Finding::warning(
            subject,
            "is missing: create it; whether the brokers do so by themselves they do not tell this client",
        ),
    }
}

fn present(
    link: &Link,
    subject: &str,
    topic: &MetadataTopic,
    described: Result<HashMap<String, String>, ConfigurationError>,
) -> Vec<Finding> {
    let partitions = topic.partitions();
    let replicas = partitions
        .iter()
        .map(|partition| partition.replicas().len())
        .min()
        .unwrap_or(0);
    let mut findings = Vec::new();
    let leaderless = partitions.iter().filter(|partition| partition.leader() < 0).count();
    if leaderless > 0 {
        findings.push(Finding::broken(
            subject,
            format!(
                "{leaderless} of {} partitions have no leader: their events wait",
                partitions.len()
            ),
        ));
    }
    if replicas == 1 {
        findings.push(Finding::warning(
            subject,
            "has one replica: an acknowledged event is lost with its disk; use a replication factor of 3",
        ));
    }
    match described {
        Ok(entries) => findings.extend(settings(link, subject, replicas, &entries)),
        Err(ConfigurationError { code, words }) => findings.push(Finding::warning(
            subject,
            format!(
                "its settings cannot be read ({}); grant DescribeConfigs on it, and events that are too large are told \
                 apart at once",
                words.unwrap_or_else(|| said(code))
            ),
        )),
    }
    let words = format!("{} partitions, {replicas} replicas", partitions.len());
    findings.insert(0, Finding::works(subject, words));
    findings
}

fn settings(link: &Link, subject: &str, replicas: usize, entries: &HashMap<String, String>) -> Vec<Finding> {
    let number = |name: &str| entries.get(name).and_then(|value| value.parse::<usize>().ok());
    let mut findings = Vec::new();
    let mut warn = |words: String| findings.push(Finding::warning(subject, words));
    match number("min.insync.replicas") {
        Some(least) if least > replicas => {
            warn(format!(
                "min.insync.replicas is {least} but there are {replicas} replicas: nothing can be written"
            ));
        }
        Some(least) if least == replicas && replicas > 1 => {
            warn(format!(
                "min.insync.replicas equals the {replicas} replicas: events wait whenever one broker is away"
            ));
        }
        Some(1) if replicas > 1 => {
            warn("min.insync.replicas is 1: an acknowledged event may be on one disk only; use 2".into());
        }
        _ => {}
    }
    if entries
        .get("unclean.leader.election.enable")
        .is_some_and(|value| value == "true")
    {
        warn("unclean.leader.election.enable is true: acknowledged events may be lost when brokers fail".into());
    }
    if entries
        .get("cleanup.policy")
        .is_some_and(|policy| policy.contains("compact"))
    {
        warn("is compacted: events without a key are refused, and older events of a key disappear".into());
    }
    if let Some(limit) = number("max.message.bytes")
        && limit < PAYLOAD_BYTES_MAX
    {
        let compressed = if link.compressed { " after compression" } else { "" };
        findings.push(Finding::works(
            subject,
            format!("takes events of up to {limit} bytes{compressed} (max.message.bytes); larger ones are parked"),
        ));
    }
    findings
}
