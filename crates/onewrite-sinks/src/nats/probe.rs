//! What `onewrite check` says about NATS. No event is sent.

use std::sync::Arc;
use std::time::Duration;

use onewrite_core::error::chain;
use onewrite_core::sink::Finding;
use serde_json::{Value, json};

use super::answer::{ApiError, NOT_FOR_ACCOUNT};
use super::api::{Listener, Unanswered, ask, listener};
use super::link::Link;
use super::message::subject_problem;
use super::settings::{ENCRYPTED, PLAIN, Settings};
use crate::endpoint::unencrypted;
use crate::limits::NATS_DUPLICATE_WINDOW;
use crate::turns::Turns;

/// Looks at everything that a delivery will need, up to the first thing that stands in the way of the rest.
pub(super) async fn probe(settings: &Arc<Settings>, topics: &[String]) -> Vec<Finding> {
    let link = match Link::open(settings, &Turns::default()).await {
        Ok(link) => link,
        Err(error) => return vec![Finding::broken(servers(settings), chain(&error))],
    };
    let info = link.info();
    let mut findings = vec![Finding::works(
        format!("server {}", link.server()),
        format!(
            "is {} with NATS {}; takes messages of up to {} bytes",
            info.server_name, info.version, info.max_payload
        ),
    )];
    if !settings.encrypted {
        findings.extend(unencrypted(&settings.urls, PLAIN, ENCRYPTED));
    }
    let ended = match jetstream(settings, &link).await {
        Ok(finding) => {
            findings.push(finding);
            subjects(settings, &link, topics, info.cluster.is_some(), &mut findings).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        findings.push(Finding::broken("JetStream", error));
    }
    link.end().await;
    findings
}

fn servers(settings: &Settings) -> String {
    let urls: Vec<_> = settings.urls.iter().map(ToString::to_string).collect();
    format!("servers {}", urls.join(", "))
}

/// Whether JetStream answers, and what the account may keep. An error ends the check.
async fn jetstream(settings: &Settings, link: &Link) -> Result<Finding, String> {
    let info = match ask(settings, link, "INFO", &json!({})).await {
        Ok(info) => info,
        Err(Unanswered::Ended(error)) => return Err(chain(&error)),
        Err(Unanswered::Refused(error)) if error.err_code == NOT_FOR_ACCOUNT => {
            let words = format!("{}; enable it for the account of the relay's user", error.words());
            return Err(words);
        }
        Err(Unanswered::Refused(error)) => return Err(format!("is not ready: {}", error.words())),
        Err(Unanswered::Unknown(words)) if words.starts_with("Permissions Violation") => {
            let words =
                format!("cannot be asked: {words}; events can be delivered without it, but not be checked here");
            return Ok(Finding::warning("JetStream", words));
        }
        Err(Unanswered::Unknown(words)) => {
            let words = format!("{words}; enable JetStream on the server, or correct domain or api_prefix");
            return Err(words);
        }
    };
    let limit = |name: &str| match info["limits"][name].as_i64() {
        None | Some(-1) => "no limit".to_owned(),
        Some(bytes) => format!("{bytes} bytes"),
    };
    let used = |name: &str| info[name].as_u64().unwrap_or_default();
    let words = format!(
        "answers on {}; the account has {} bytes in files ({}) and {} in memory ({}), in {} streams",
        settings.api,
        used("storage"),
        limit("max_storage"),
        used("memory"),
        limit("max_memory"),
        used("streams"),
    );
    let full = info["limits"]["max_storage"]
        .as_u64()
        .is_some_and(|most| most > 0 && used("storage") >= most);
    Ok(if full {
        Finding::broken(
            "JetStream",
            format!("{words}; nothing more is kept until there is room"),
        )
    } else {
        Finding::works("JetStream", words)
    })
}

/// Looks at the streams that will take the events.
async fn subjects(
    settings: &Settings,
    link: &Link,
    topics: &[String],
    clustered: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), String> {
    let subjects = settings.subject.for_topics(topics);
    if subjects.is_empty() {
        findings.push(Finding::works(
            format!("subject {}", settings.subject.as_str()),
            "depends on the events; which streams take them only a delivery can show",
        ));
    }
    let mut streams: Vec<String> = Vec::new();
    for subject in subjects {
        let about = format!("subject {subject}");
        if let Some(problem) = subject_problem(&subject) {
            findings.push(Finding::broken(about, format!("{problem}; its events would be parked")));
            continue;
        }
        let found = listener(settings, link, &subject)
            .await
            .map_err(|error| chain(&error))?;
        findings.push(match &found {
            Listener::None => Finding::broken(
                about,
                "no stream listens to it, so its events would be parked; create a stream with this subject",
            ),
            Listener::Stream(stream) => match settings.stream.as_ref().filter(|expected| *expected != stream) {
                Some(expected) => Finding::broken(
                    about,
                    format!(
                        "is taken by stream {stream}, but the option stream says {expected}; its events would be parked"
                    ),
                ),
                None => Finding::works(
                    about,
                    format!("is taken by stream {stream}; whether the user may publish to it only a delivery can show"),
                ),
            },
            Listener::Unknown(words) => {
                Finding::warning(about, format!("which stream takes it cannot be told: {words}"))
            }
        });
        if let Listener::Stream(stream) = found
            && !streams.contains(&stream)
        {
            streams.push(stream);
        }
    }
    for stream in streams {
        match ask(settings, link, &format!("STREAM.INFO.{stream}"), &json!({})).await {
            Ok(info) => findings.extend(look_at(&stream, &info, clustered)),
            Err(Unanswered::Ended(error)) => return Err(chain(&error)),
            Err(unanswered) => {
                let words = match unanswered {
                    Unanswered::Unknown(words) => words,
                    Unanswered::Refused(error) => ApiError::words(&error),
                    Unanswered::Ended(error) => chain(&error),
                };
                findings.push(Finding::warning(
                    format!("stream {stream}"),
                    format!("its settings cannot be read: {words}"),
                ));
            }
        }
    }
    Ok(())
}

/// What a stream's settings mean for those who count on its messages.
fn look_at(stream: &str, info: &Value, clustered: bool) -> Vec<Finding> {
    let about = format!("stream {stream}");
    let config = &info["config"];
    let mut findings: Vec<_> = refusing(info)
        .into_iter()
        .map(|words| Finding::broken(&about, words))
        .collect();
    let lossy = losing(config, clustered).into_iter().chain(duplicates(config));
    findings.extend(lossy.map(|words| Finding::warning(&about, words)));
    if findings.is_empty() {
        let words = format!(
            "keeps what it acknowledges ({} in {})",
            text(config, "retention"),
            text(config, "storage")
        );
        findings.push(Finding::works(about, words));
    }
    findings
}

fn text<'a>(config: &'a Value, name: &str) -> &'a str {
    config[name].as_str().unwrap_or_default()
}

/// A limit; 0 and -1 are none.
fn limit(config: &Value, name: &str) -> Option<u64> {
    config[name].as_u64().filter(|limit| *limit > 0)
}

/// Why a stream takes nothing, or does not say that it did.
fn refusing(info: &Value) -> Vec<&'static str> {
    let config = &info["config"];
    let is = |name: &str| config[name].as_bool() == Some(true);
    let mut words = Vec::new();
    if is("no_ack") {
        words.push(
            "does not acknowledge what it takes (no_ack), so nothing would ever count as delivered; set no_ack to false",
        );
    }
    if is("sealed") {
        words.push("is sealed and takes nothing; use another stream");
    }
    let full = [("max_msgs", "messages"), ("max_bytes", "bytes")]
        .iter()
        .any(|(most, used)| {
            let used = info["state"][used].as_u64().unwrap_or_default();
            limit(config, most).is_some_and(|most| used >= most)
        });
    if full && text(config, "discard") == "new" {
        words.push("is full and refuses new messages (discard = new); make room, or raise its limits");
    }
    words
}

/// How a stream loses messages that it has acknowledged.
fn losing(config: &Value, clustered: bool) -> Vec<String> {
    let mut words = Vec::new();
    let limits: Vec<_> = ["max_msgs", "max_bytes", "max_msgs_per_subject"]
        .into_iter()
        .filter_map(|name| limit(config, name).map(|limit| format!("{name} = {limit}")))
        .collect();
    if text(config, "discard") != "new" && !limits.is_empty() {
        words.push(format!(
            "deletes its oldest messages at {}, read or not (discard = old); with discard = new, events wait in the outbox instead",
            limits.join(", ")
        ));
    }
    if let Some(age) = limit(config, "max_age").map(Duration::from_nanos) {
        words.push(format!("deletes messages after {age:?} (max_age), read or not"));
    }
    let mut told = |holds: bool, text: &str| {
        if holds {
            words.push(text.to_owned());
        }
    };
    told(
        text(config, "retention") == "interest",
        "keeps only what a consumer waits for (retention = interest): with no consumer, a message is acknowledged and gone",
    );
    told(
        text(config, "storage") == "memory",
        "is held in memory; a restart of its server loses what it acknowledged, unless replicas hold it",
    );
    told(
        text(config, "persist_mode") == "async",
        "acknowledges before it has written (persist_mode = async); a crash of its server loses messages",
    );
    told(
        clustered && config["num_replicas"].as_u64().unwrap_or(1) < 2,
        "has one replica though its server is in a cluster; what it acknowledged is lost with that server",
    );
    words
}

/// What it means that the stream knows an event again for so long only.
fn duplicates(config: &Value) -> Option<String> {
    let window = Duration::from_nanos(config["duplicate_window"].as_u64().unwrap_or_default());
    (window < NATS_DUPLICATE_WINDOW).then(|| {
        format!(
            "knows repeated events for {window:?} (duplicate_window). When an acknowledgement is lost and the outage that lost it \
             lasts longer, the event is kept twice. Consumers that use the inbox apply it once all the same; a window of \
             {NATS_DUPLICATE_WINDOW:?} makes it rarer, at the price of memory for each id"
        )
    })
}
