//! The sink `sns`: Amazon SNS, standard and FIFO topics, by its query protocol.
//!
//! # What acknowledged means
//! `PublishBatch` answers for each message of a batch. An event is delivered when its own entry is in the list `Successful`, with the id
//! that SNS gave it; SNS has then stored the message. What is in neither list is unknown.
//!
//! **It means that SNS took the message, not that anybody gets it.** A topic to which nobody subscribes takes every message and drops it,
//! and so does one whose filters match none of its subscriptions. What a subscriber does not take is lost once SNS has given up trying,
//! unless its subscription has a dead-letter queue. SNS keeps nothing to read later, unless a FIFO topic has an archive.
//!
//! # What a message looks like
//! As with the sink `sqs`: the payload as it is where it is text of characters that XML allows, which SQS asks of what a topic hands on to
//! its queues; else base64, said by the attribute `onewrite-payload-encoding`; `-` for an empty one. The headers are message attributes
//! of type String, ten at most: SNS takes more, but throws the message away when it hands it to a queue with raw message delivery. What
//! cannot be an attribute of its own is in `onewrite-headers`, a JSON object.
//!
//! # Order
//! Events of one key go strictly one after another, and a batch never holds two of one key: a failed entry stops none of those behind
//! it. To a FIFO topic (its name ends in `.fifo`) the key is the message group, and the event's id the deduplication id, so that SNS
//! itself drops what is repeated within five minutes. An event without a key is a group of its own. A key that cannot be the name of a
//! group (more than 128 characters, or others than letters, digits and punctuation) goes by its SHA-256. A standard topic hands
//! messages on in whatever order it likes.
//!
//! # Answers
//! | answer | what becomes of the event |
//! | --- | --- |
//! | its entry is in `Successful` | delivered |
//! | its entry failed by the sender's fault, or the topic does not exist | parked, with the words of SNS |
//! | its entry failed otherwise, or for a permission or a key of encryption; 5xx | tried again |
//! | throttling, also of the key of encryption | tried again, with the rest of the delivery |
//! | the topic's key of encryption cannot be used | the route halts where it has one topic, else the event is tried again |
//! | credentials or signature refused | the route halts |
//! | no permission | the route halts where it has one topic, else the event is parked |
//! | expired credentials, no answer, no connection | tried again, after connecting anew |
//! | any other refusal of a whole batch | its halves are tried, and what is refused by itself is parked |
//!
//! # Credentials
//! From the options, or else by the usual chain: the environment, the shared files (`profile`), web identity, the container's and the
//! machine's role. A `credential_process` is not run. Only those of the options are covered by tests.

mod service;

use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::{Field, Options};

use self::service::Sns;
use crate::aws::{self, Connector};
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

/// What can be configured of the sink `sns`.
pub const FIELDS: &[Field] = &[
    aws::address(
        "topic_arn",
        "The topic's ARN, such as arn:aws:sns:eu-west-1:123456789012:{type}; an event that makes no topic's ARN is parked.",
    ),
    aws::text(
        "region",
        "The region, such as eu-west-1. Left out: that of topic_arn, or AWS_REGION or AWS_DEFAULT_REGION.",
    ),
    aws::text(
        "endpoint_url",
        "Where requests go instead of https://sns.REGION.amazonaws.com: a private endpoint, or an emulator.",
    ),
    aws::ACCESS_KEY_ID,
    aws::SECRET_ACCESS_KEY,
    aws::SESSION_TOKEN,
    aws::PROFILE,
    aws::largest(
        "A larger message, attributes included, is parked before it is sent, and a batch holds no more. SNS takes no more than the default.",
    ),
    aws::TIMEOUT,
    aws::CONCURRENCY,
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
];

/// Makes a connector to the topics that the options name. It connects to nothing yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as an access key without its secret.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    Ok(Arc::new(Connector::<Sns>::new(options)?))
}
