//! What `onewrite check` says about Redis. No event is sent.

use std::sync::Arc;

use onewrite_core::error::chain;
use onewrite_core::sink::Finding;
use redis::{Value, cmd};

use super::answer::{refused, words};
use super::connection::Connection;
use super::nodes::{Nodes, Place};
use super::settings::Settings;
use crate::endpoint::Endpoint;

/// Looks at everything that a delivery will need, up to the first thing that stands in the way of the rest.
pub(super) async fn probe(settings: &Arc<Settings>, topics: &[String]) -> Vec<Finding> {
    let subject = format!("server {}", settings.shown_urls());
    let nodes = match Nodes::connect(Arc::clone(settings)).await {
        Ok(nodes) => nodes,
        Err(error) => return vec![Finding::broken(subject, chain(&error))],
    };
    let mut findings = Vec::new();
    let servers = match nodes.whole_place() {
        Place::Single(endpoint) => {
            let words = format!("{endpoint} answers, is not a replica, and carries out transactions");
            findings.push(Finding::works(subject, words));
            vec![endpoint]
        }
        Place::Cluster(slots) => {
            let words = format!("a cluster of {} masters", slots.servers().len());
            findings.push(match slots.uncovered() {
                0 => Finding::works(subject, words),
                count => Finding::broken(
                    subject,
                    format!("{words}, but {count} slots have no server; see \"redis-cli --cluster check\""),
                ),
            });
            slots.servers().to_vec()
        }
    };
    for server in &servers {
        match nodes.connection(server, 0).await {
            Ok(connection) => findings.extend(keeping(&connection).await),
            Err(error) => findings.push(Finding::broken(format!("server {server}"), chain(&error))),
        }
    }
    for stream in settings.stream.for_topics(topics) {
        findings.push(look_at_stream(&nodes, &stream).await);
    }
    let mut open = settings.urls.iter().filter(|_| !settings.encrypted);
    findings.extend(open.find_map(|url| url.in_the_open("redis", "rediss")));
    findings
}

/// What a server does with what it has acknowledged.
async fn keeping(connection: &Connection) -> Vec<Finding> {
    let subject = format!("server {}", connection.endpoint());
    let info = match connection.ask(&cmd("INFO")).await {
        Ok(Value::BulkString(text)) => String::from_utf8_lossy(&text).into_owned(),
        Ok(Value::VerbatimString { text, .. }) => text,
        _ => {
            let words =
                "does not say whether it keeps what it acknowledges; give the user INFO (+info) to have it looked at";
            return vec![Finding::warning(subject, words)];
        }
    };
    let value = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    };
    let version = value("redis_version");
    let mut findings = Vec::new();
    match value("aof_enabled") {
        "0" => findings.push(Finding::warning(
            subject.clone(),
            format!("version {version} has \"appendonly no\": a crash loses what it acknowledged since its last snapshot; set it to yes"),
        )),
        _ => findings.push(Finding::works(
            subject.clone(),
            format!("version {version} has \"appendonly yes\"; whether a crash loses the last second is in its appendfsync"),
        )),
    }
    let policy = value("maxmemory_policy");
    if !matches!(policy, "" | "noeviction") {
        let words = format!(
            "has the maxmemory-policy {policy:?}: when memory is short it removes streams with everything in them; set it to \"noeviction\""
        );
        findings.push(Finding::warning(subject, words));
    }
    findings
}

/// Asks for an entry that cannot be, which is refused for its id only when nothing else is in the way.
async fn look_at_stream(nodes: &Nodes, stream: &str) -> Finding {
    let subject = format!("stream {stream}");
    let found = match asked(nodes, stream).await {
        Ok(found) => found,
        Err(words) => return Finding::broken(subject, words),
    };
    let [kind, impossible] = &found[..] else {
        return Finding::broken(subject, "the server did not answer");
    };
    if let Some(error) = refused(impossible)
        && !words(error).contains("Invalid stream ID")
    {
        return Finding::broken(subject, words(error));
    }
    match kind {
        Value::SimpleString(kind) if kind == "stream" => Finding::works(subject, "is there, and may be written to"),
        Value::SimpleString(kind) if kind == "none" => {
            Finding::works(subject, "is not there; the first event makes it")
        }
        Value::SimpleString(kind) => Finding::broken(
            subject,
            format!("is a {kind}, no stream: its events will be parked; rename it, or set stream"),
        ),
        _ => Finding::works(subject, "may be written to"),
    }
}

async fn asked(nodes: &Nodes, stream: &str) -> Result<Vec<Value>, String> {
    let home: Endpoint = nodes
        .home(stream)
        .map_err(|slot| format!("no server of the cluster has its slot {slot}"))?;
    let connection = nodes.connection(&home, 0).await.map_err(|error| chain(&error))?;
    let mut found = Vec::new();
    let mut kind = cmd("TYPE");
    kind.arg(stream);
    let mut impossible = cmd("XADD");
    impossible.arg(stream).arg("no-id").arg("field").arg("value");
    for command in [kind, impossible] {
        found.push(connection.ask(&command).await.map_err(|error| chain(&error))?);
    }
    Ok(found)
}
