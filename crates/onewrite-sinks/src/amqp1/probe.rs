//! What `onewrite check` says about AMQP 1.0 brokers. No event is sent.

use onewrite_core::error::chain;
use onewrite_core::sink::Finding;
use tokio::time::timeout;

use super::connection::{self, Opened};
use super::settings::{ENCRYPTED, Node, PLAIN, Settings};
use super::target::{self, Promise};
use crate::endpoint::unencrypted;
use crate::limits::AMQP1_ATTACH_TIMEOUT;

/// Looks at every broker, and at the addresses that are known through the first that lets the relay in.
pub(super) async fn probe(settings: &Settings, topics: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut first = None;
    let mut broken = Vec::new();
    for place in &settings.brokers {
        match connection::open_at(settings, place).await {
            Ok(opened) => {
                findings.push(broker(&opened));
                match first {
                    None => first = Some(opened),
                    Some(_) => opened.life.close().await,
                }
            }
            Err(error) => broken.push((format!("broker {place}"), chain(&error))),
        }
    }
    for (subject, words) in broken {
        findings.push(match first {
            None => Finding::broken(subject, words),
            Some(_) => Finding::warning(subject, format!("{words}; another broker of the list can be used")),
        });
    }
    if !settings.encrypted {
        findings.extend(unencrypted(&settings.brokers, PLAIN, ENCRYPTED));
    }
    let Some(opened) = first else { return findings };
    findings.extend(addresses(settings, opened, topics).await);
    findings.extend(lossy(settings));
    findings
}

fn broker(opened: &Opened) -> Finding {
    let product = match (&opened.product.name, &opened.product.version) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        (Some(name), None) => name.clone(),
        (None, _) => "a broker that does not say what it is".to_owned(),
    };
    Finding::works(
        format!("broker {}", opened.place),
        format!("lets the relay in, and is {product}"),
    )
}

async fn addresses(settings: &Settings, opened: Opened, topics: &[String]) -> Vec<Finding> {
    let Opened {
        product,
        mut session,
        life,
        ..
    } = opened;
    let addresses = settings.address.for_topics(topics);
    let mut findings = Vec::new();
    if addresses.is_empty() {
        let words = format!(
            "depends on more than the routes' topics ({}), so whether its addresses are there shows when events come",
            settings.address.as_str()
        );
        findings.push(Finding::warning("address", words));
    }
    for address in addresses {
        let subject = format!("address {address}");
        let attaching = target::attach(settings, &product, &mut session, &address, false, 0);
        let Ok(attached) = timeout(AMQP1_ATTACH_TIMEOUT, attaching).await else {
            let words = format!("the broker did not attach a link within {AMQP1_ATTACH_TIMEOUT:?}");
            findings.push(Finding::broken(subject, words));
            break;
        };
        findings.push(match attached {
            Ok(attached) => {
                let finding = found(settings, subject, &attached.promise, attached.sender.max_message_size());
                // It was only a look; how it ends says nothing.
                let _ = timeout(AMQP1_ATTACH_TIMEOUT, attached.sender.close()).await;
                finding
            }
            Err(refusal) => Finding::broken(subject, refusal.words),
        });
    }
    if product.is_artemis() && settings.target != Node::Topic {
        findings.push(Finding::works(
            "address-full-policy",
            "cannot be seen from here: Artemis keeps what it accepts with PAGE (its default), BLOCK and FAIL, and loses it with DROP; \
             make sure that no address of events has DROP",
        ));
    }
    life.close().await;
    findings
}

fn found(settings: &Settings, subject: String, promise: &Promise, most: Option<u64>) -> Finding {
    let most = most.map_or_else(String::new, |most| format!("; the largest message is {most} bytes"));
    match (promise, settings.target) {
        (Promise::Kept, _) => Finding::works(
            subject,
            format!("keeps what it accepts, and the relay may send to it{most}"),
        ),
        (Promise::Unknown(words), _) => Finding::warning(subject, words.clone()),
        (Promise::NotAsked, Node::Topic) => Finding::warning(
            subject,
            format!(
                "is a topic{most}; it hands events to the subscriptions that exist at that moment and drops them where there is none, \
                 and the broker does not tell which: make sure that durable subscriptions exist before events come"
            ),
        ),
        (Promise::NotAsked, _) => Finding::warning(
            subject,
            format!(
                "takes a link{most}; whether it keeps what it accepts was not asked (target = \"none\"): make sure that it is a queue, or \
                 that one is bound"
            ),
        ),
    }
}

fn lossy(settings: &Settings) -> Option<Finding> {
    (!settings.durable).then(|| {
        Finding::warning(
            "durable",
            "is false: the broker forgets events that it has accepted when it restarts",
        )
    })
}
