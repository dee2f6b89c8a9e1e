//! Attaching a link to an address, and looking at what the broker made of it before the first message.

use fe2o3_amqp::link::{CreditMode, ReceiverAttachError, SenderAttachError};
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::definitions::{Error, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp::types::messaging::{DistributionMode, Source, Target};
use fe2o3_amqp::types::primitives::{Array, Symbol};
use fe2o3_amqp::{Receiver, Sender};
use uuid::Uuid;

use super::connection::Product;
use super::refusal::{Refusal, of_attach, stopped, unauthorized, words};
use super::settings::{Node, Settings};

const QUEUE: &str = "queue";
const TOPIC: &str = "topic";

/// Qpid Broker-J: reject what an exchange cannot route, instead of discarding it.
const REJECT_UNROUTABLE: &str = "REJECT_UNROUTABLE";

/// An attached link.
pub(super) struct Attached {
    pub sender: Sender,
    pub promise: Promise,
}

/// What is known of whether the address keeps what it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// It does.
    Kept,
    /// It was not asked to.
    NotAsked,
    /// The broker does not tell, for this reason.
    Unknown(String),
}

/// Attaches a link that sends to this address, and numbers its deliveries from `first_tag` on.
///
/// # Errors
/// What the broker said, or that it would accept events and keep none.
pub(super) async fn attach(
    settings: &Settings,
    product: &Product,
    session: &mut SessionHandle<()>,
    address: &str,
    known: bool,
    first_tag: u32,
) -> Result<Attached, Refusal> {
    let mut capabilities = match settings.target {
        Node::Queue => vec![Symbol::from(QUEUE)],
        Node::Topic => vec![Symbol::from(TOPIC)],
        Node::Any => Vec::new(),
    };
    if product.is_qpid_j() && settings.target != Node::Topic {
        capabilities.push(Symbol::from(REJECT_UNROUTABLE));
    }
    let target = Target::builder()
        .address(address)
        .capabilities(Array(capabilities))
        .build();
    let outcomes =
        ["accepted", "rejected", "released", "modified"].map(|outcome| Symbol::from(format!("amqp:{outcome}:list")));
    let attached = Sender::builder()
        .name(format!("onewrite-{}", Uuid::new_v4().simple()))
        .source(Source::builder().outcomes(Array(outcomes.to_vec())).build())
        .target(target)
        .sender_settle_mode(SenderSettleMode::Unsettled)
        .receiver_settle_mode(ReceiverSettleMode::First)
        .initial_delivery_count(first_tag)
        .attach(session)
        .await;
    let sender = attached.map_err(|error| refused(settings, address, known, error))?;
    let promise = match settings.target {
        Node::Queue => promise(product, session, address, &sender).await?,
        Node::Topic | Node::Any => Promise::NotAsked,
    };
    Ok(Attached { sender, promise })
}

/// What the broker's answer says, and where it says nothing, what can be found out.
async fn promise(
    product: &Product,
    session: &mut SessionHandle<()>,
    address: &str,
    sender: &Sender,
) -> Result<Promise, Refusal> {
    let confirmed = |name: &str| {
        let capabilities = sender.target().as_ref().and_then(|target| target.capabilities.as_ref());
        capabilities.is_some_and(|capabilities| capabilities.0.iter().any(|found| found.0.eq_ignore_ascii_case(name)))
    };
    if product.is_artemis() {
        // It repeats every capability it is asked for.
        return browsable(session, address).await;
    }
    if product.is_classic() {
        // It repeats every capability, too; but its names say what they are.
        return match address.split_once("://") {
            Some(("topic" | "temp-topic", _)) => Err(Refusal::retry(format!(
                "address {address}: it is a topic, which drops events that nobody is subscribed for; name a queue, or set target = \"topic\""
            ))),
            _ => Ok(Promise::Kept),
        };
    }
    if confirmed(QUEUE) || confirmed(REJECT_UNROUTABLE) {
        return Ok(Promise::Kept);
    }
    if product.is_qpid_j() {
        return Err(Refusal::retry(format!(
            "address {address}: it is an exchange that accepts and discards what no queue is bound for; name a queue, \
             or set the exchange's unroutableMessageBehaviour to REJECT"
        )));
    }
    Ok(Promise::Unknown(
        "the broker does not confirm that it is a queue, so a message that it accepts may be kept by nobody".to_owned(),
    ))
}

/// Artemis lets a browser of a queue attach only to an address of queues (anycast). The browser has no credit, and ends at once.
async fn browsable(session: &mut SessionHandle<()>, address: &str) -> Result<Promise, Refusal> {
    let source = Source::builder()
        .address(address)
        .distribution_mode(DistributionMode::Copy)
        .capabilities(Array(vec![Symbol::from(QUEUE)]))
        .build();
    let attached = Receiver::builder()
        .name(format!("onewrite-look-{}", Uuid::new_v4().simple()))
        .source(source)
        .credit_mode(CreditMode::Manual)
        .attach(session)
        .await;
    match attached {
        Ok(receiver) => {
            // It was only a look; how it ends says nothing.
            let _ = receiver.close().await;
            Ok(Promise::Kept)
        }
        Err(ReceiverAttachError::RemoteClosedWithError(error)) => no_queue(address, &error),
        Err(ReceiverAttachError::SessionStopped(reason)) => Err(Refusal::broken(stopped(&reason))),
        Err(error) => Ok(Promise::Unknown(format!(
            "whether it is a queue cannot be seen: {error}"
        ))),
    }
}

fn no_queue(address: &str, error: &Error) -> Result<Promise, Refusal> {
    if unauthorized(error) {
        return Ok(Promise::Unknown(format!(
            "whether it is a queue cannot be seen ({}); grant the relay browse on it, or make sure that the address is anycast: \
             a multicast one accepts events that nobody keeps",
            words(error)
        )));
    }
    Err(Refusal::retry(format!(
        "address {address}: it is no queue, and accepts events that nobody may keep ({}); make it anycast, or set target = \"topic\" if \
         events are only for the subscriptions there are",
        words(error)
    )))
}

fn refused(settings: &Settings, address: &str, known: bool, error: SenderAttachError) -> Refusal {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => of_attach(settings, address, known, &error),
        SenderAttachError::SessionStopped(reason) => Refusal::broken(stopped(&reason)),
        error => Refusal::retry(format!("address {address}: the link was not attached: {error}")),
    }
}
