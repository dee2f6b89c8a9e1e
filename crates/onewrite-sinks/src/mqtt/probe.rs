//! What `onewrite check` says about an MQTT broker. No event is sent.

use std::borrow::Cow;
use std::sync::Arc;

use onewrite_core::error::chain;
use onewrite_core::sink::Finding;

use super::message::{separated, wrong_topic};
use super::session::Session;
use super::settings::{ENCRYPTED, PLAIN, Settings};
use super::{LIMIT, new_client_id};
use crate::endpoint::unencrypted;
use crate::turns::connect_to;

/// Begins a session with each broker, and looks at the topics.
pub(super) async fn probe(settings: &Arc<Settings>, topics: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for url in &settings.urls {
        // Another id than the relay's, whose session would end.
        let id = match &settings.client_id {
            Some(id) => format!("{id}-check"),
            None => new_client_id(),
        };
        let subject = format!("broker {url}");
        let alone = Arc::default();
        match connect_to(url, LIMIT, Session::open(settings, url, &id, &alone)).await {
            Ok(session) => {
                let connected = &session.connected;
                let largest = match connected.maximum_packet {
                    Some(bytes) => format!("packets of {bytes} bytes at most"),
                    None => "packets of any size".to_owned(),
                };
                let window = connected.receive_maximum.min(settings.window);
                findings.push(Finding::works(
                    subject,
                    format!("takes the relay as a client of MQTT 5, with {window} messages under way and {largest}"),
                ));
                session.close().await;
            }
            Err(error) => findings.push(Finding::broken(subject, chain(&error))),
        }
    }
    for topic in settings.topic.for_topics(topics) {
        let topic = separated(settings, Cow::Borrowed(&topic)).into_owned();
        let subject = format!("topic {topic}");
        findings.push(match wrong_topic(&topic) {
            Some(words) => Finding::broken(subject, format!("{words}; its events will be parked")),
            None => Finding::works(
                subject,
                "can be sent to; who subscribes, and whether the relay may write, only a message can show",
            ),
        });
    }
    findings.extend(promises(settings));
    if !settings.encrypted {
        findings.extend(unencrypted(&settings.urls, PLAIN, ENCRYPTED));
    }
    findings
}

/// Settings under which events may reach nobody.
fn promises(settings: &Settings) -> Option<Finding> {
    if !settings.require_subscribers {
        let words = "is false: an event counts as delivered although nobody subscribes to its topic";
        return Some(Finding::warning("require_subscribers", words));
    }
    (settings.qos == 2).then(|| {
        let words =
            "is 2: some brokers, such as Mosquitto, then do not tell that nobody subscribes to a topic; with 1 they do";
        Finding::warning("qos", words)
    })
}
