//! What `onewrite check` says about a RabbitMQ broker. No event is sent.

use std::sync::Arc;
use std::time::Duration;

use amq_protocol::protocol::BasicProperties;
use onewrite_core::error::chain;
use onewrite_core::sink::{Finding, FindingLevel};
use tokio::time::timeout;
use uuid::Uuid;

use super::amqp::{Close, Connection, Failure, Login, Message, Verdict};
use super::connector::connect;
use super::destinations::{Alone, exchange_is_there, is_missing, plain_queue, queue_is_there};
use super::judge::{self, ACCESS_REFUSED};
use super::settings::{Declare, Settings};
use crate::rotation::Rotation;

/// How long the broker has to answer a message that goes nowhere; one that blocks publishers says so at once.
const ANSWER: Duration = Duration::from_secs(5);

/// How long it has to answer all questions.
const LOOKING: Duration = Duration::from_secs(20);

/// Looks at everything that a delivery will need, up to the first thing that stands in the way of the rest.
pub(super) async fn probe(settings: &Arc<Settings>, topics: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (address, connection) = match connect(settings, &Rotation::default()).await {
        Ok(connected) => connected,
        Err(error) => {
            findings.push(Finding::broken(format!("broker {}", settings.shown()), chain(&error)));
            return findings;
        }
    };
    let (server, shown) = (&connection.server, &settings.addresses[address].shown);
    let who = match &settings.login {
        Login::Plain { user, .. } => format!("the user {user}"),
        Login::External => "the client certificate".to_owned(),
    };
    let subject = format!("broker {shown}");
    let words = format!("{} {} lets {who} in", server.product, server.version);
    findings.push(Finding::works(subject.clone(), words));
    if server.product != "RabbitMQ" {
        let words = format!("says that it is {:?}; what was tested is RabbitMQ", server.product);
        findings.push(Finding::warning(subject, words));
    }
    let looking = look(&connection, settings, topics, &mut findings);
    if timeout(LOOKING, looking).await.is_err() {
        let words = format!("the broker did not answer all questions within {LOOKING:?}; look at its log");
        findings.push(Finding::broken(format!("broker {shown}"), words));
    }
    let mut open = settings.addresses.iter().filter(|address| !address.encrypted);
    findings.extend(open.find_map(|address| address.endpoint.in_the_open("amqp", "amqps")));
    findings
}

async fn look(connection: &Connection, settings: &Settings, topics: &[String], findings: &mut Vec<Finding>) {
    let mut alone = Alone::default();
    if let Some(finding) = publishers(connection, &mut alone, settings).await {
        let broken = finding.level == FindingLevel::Broken;
        findings.push(finding);
        if broken {
            // A broker that blocks a publisher does not read its questions either.
            return;
        }
    }
    for exchange in settings.exchange.for_topics(topics) {
        findings.extend(exchange_finding(connection, &mut alone, settings, &exchange).await);
    }
    if settings.exchange.literal() == Some("") {
        for queue in settings.routing_key.for_topics(topics) {
            findings.push(queue_finding(connection, &mut alone, settings, &queue).await);
        }
    }
    connection.close().await;
}

/// Whether the broker takes messages at all.
///
/// It tells that it blocks publishers only to one that publishes, so it gets an empty message to the default exchange for a queue
/// that cannot exist, which it returns. It blocks behind that message, so only the answer to a further question shows that it does not.
async fn publishers(connection: &Connection, alone: &mut Alone, settings: &Settings) -> Option<Finding> {
    let subject = "publishing";
    let mut blocked = connection.blocked();
    tokio::select! {
        Ok(reason) = blocked.wait_for(Option::is_some) => {
            let reason = reason.clone().unwrap_or_default();
            let words = format!("the broker blocks all publishers: {reason}; it needs memory or disk space, see rabbitmqctl status");
            Some(Finding::broken(subject, words))
        }
        answered = timeout(ANSWER, publish_to_nobody(connection, alone)) => match answered {
            Ok(Ok(())) => Some(Finding::works(subject, "the broker takes messages; no alarm blocks publishers")),
            Ok(Err(Failure::Channel(close))) => {
                // Other exchanges may still be open to this user.
                let needed = settings.exchange.literal() == Some("");
                needed.then(|| Finding::broken(subject, format!("{close}; give the user the permission to write")))
            }
            Ok(Err(failure)) => Some(Finding::broken(subject, chain(&failure))),
            Err(_) => {
                let words = format!("the broker did not answer a message within {ANSWER:?}; look at its log");
                Some(Finding::broken(subject, words))
            }
        },
    }
}

async fn publish_to_nobody(connection: &Connection, alone: &mut Alone) -> Result<(), Failure> {
    /// Every virtual host has it.
    const SOME_EXCHANGE: &str = "amq.direct";
    let nobody = Message {
        event: Uuid::nil(),
        exchange: String::new(),
        routing_key: format!("onewrite-check-{}", Uuid::new_v4()),
        properties: BasicProperties::default(),
        body: bytes::Bytes::new(),
    };
    let published = alone.channel(connection).await?.publish(nobody);
    // Without properties it fits into every frame.
    if let Ok(verdict) = published
        && let Ok(Verdict::Unknown(failure)) = verdict.await
    {
        alone.closed();
        return Err(failure);
    }
    alone.ask(connection, exchange_is_there(SOME_EXCHANGE)).await?;
    Ok(())
}

async fn exchange_finding(
    connection: &Connection,
    alone: &mut Alone,
    settings: &Settings,
    exchange: &str,
) -> Option<Finding> {
    if exchange.is_empty() {
        return None;
    }
    let subject = format!("exchange {exchange}");
    let found = alone.ask(connection, exchange_is_there(exchange)).await;
    Some(match &found {
        Ok(_) => Finding::works(
            subject,
            "exists; whether a queue is bound for each event only a message can show",
        ),
        Err(_) if is_missing(&found) && settings.declare != Declare::Nothing => {
            let words = format!(
                "is missing; the first event makes it, a durable one of type {}",
                settings.exchange_type
            );
            Finding::works(subject, words)
        }
        Err(failure) => {
            let words = format!("{}; create it, or set declare = \"exchange\"", chain(failure));
            Finding::broken(subject, words)
        }
    })
}

async fn queue_finding(connection: &Connection, alone: &mut Alone, settings: &Settings, queue: &str) -> Finding {
    let subject = format!("queue {queue}");
    let found = alone.ask(connection, queue_is_there(queue)).await;
    if is_missing(&found) {
        if settings.declare == Declare::Queue {
            let words = format!(
                "is missing; the first event makes it, a durable one of type {}",
                settings.queue_type
            );
            return Finding::works(subject, words);
        }
        let words = "is missing: events for it are returned and parked; create it, or set declare = \"queue\"";
        return Finding::broken(subject, words);
    }
    if let Err(failure) = found {
        return Finding::broken(subject, chain(&failure));
    }
    // It is there, so this makes nothing: the broker says in what way it is another than a durable classic queue.
    match alone.ask(connection, plain_queue(queue)).await {
        Ok(_) => Finding::works(subject, "exists, a durable classic queue, which one node keeps"),
        Err(Failure::Channel(close)) => kind_of_queue(subject, &close),
        Err(failure) => Finding::broken(subject, chain(&failure)),
    }
}

fn kind_of_queue(subject: String, close: &Close) -> Finding {
    let differs = |what: &str| close.words.contains(&format!("inequivalent arg '{what}'"));
    if close.code == judge::PRECONDITION_FAILED && differs("durable") {
        let words = "is not durable: a restart of the broker ends it, with every event in it; make it a quorum queue";
        return Finding::warning(subject, words);
    }
    if close.code == judge::PRECONDITION_FAILED && differs("auto_delete") {
        let words = "is deleted when its last consumer goes, with every event in it; make it a quorum queue";
        return Finding::warning(subject, words);
    }
    if close.code == ACCESS_REFUSED || close.code == judge::PRECONDITION_FAILED {
        let kinds = ["quorum", "stream"];
        let kind = kinds
            .into_iter()
            .find(|kind| close.words.contains(&format!("'{kind}'")));
        return Finding::works(
            subject,
            kind.map_or("exists".to_owned(), |kind| format!("exists, a {kind} queue")),
        );
    }
    Finding::warning(subject, format!("exists, but {close}"))
}
