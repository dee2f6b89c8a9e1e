//! The sink `sqs`: Amazon SQS, standard and FIFO queues, by its JSON protocol.
//!
//! # What acknowledged means
//! `SendMessageBatch` answers for each message of a batch. An event is delivered when its own entry is in the list `Successful`; SQS
//! then keeps the message on several servers. What is in neither list is unknown. SQS discards a message after the queue's retention
//! period, 4 days unless changed, whether it was read or not.
//!
//! # What a message looks like
//! The body is the payload where SQS can carry it: text of characters that XML allows. Any other travels as base64, with the attribute
//! `onewrite-payload-encoding` saying `base64`; an empty one, which SQS does not take, as `-` with `empty`. The headers are message
//! attributes of type String: `onewrite-id`, `onewrite-topic`, `onewrite-type`, `onewrite-occurred-at`, `content-type`, `onewrite-key`, and
//! the event's own. SQS takes ten attributes, their values neither empty nor outside XML: where the event's own are more, or one of
//! them cannot be an attribute, they are all together in the attribute `onewrite-headers`, a JSON object; so is one of Onewrite's that
//! cannot.
//!
//! # Order
//! Events of one key go strictly one after another, and a batch never holds two of one key: a failed entry stops none of those behind
//! it. To a FIFO queue (its name ends in `.fifo`) the key is the message group, and the event's id the deduplication id, so that SQS
//! itself drops what is repeated within five minutes. An event without a key is a group of its own. A key that cannot be the name of a
//! group (more than 128 characters, or others than letters, digits and punctuation) goes by its SHA-256. A standard queue hands
//! messages out in whatever order it likes.
//!
//! # Answers
//! | answer | what becomes of the event |
//! | --- | --- |
//! | its entry is in `Successful` | delivered |
//! | its entry failed by the sender's fault, or the queue does not exist | parked, with the words of SQS |
//! | its entry failed otherwise, or for a permission or a key of encryption; 5xx | tried again |
//! | throttling | tried again, with the rest of the delivery |
//! | the queue's key of encryption cannot be used | the route halts where it has one queue, else the event is tried again |
//! | credentials or signature refused | the route halts |
//! | access denied | the route halts where it has one queue, else the event is parked |
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

use self::service::Sqs;
use crate::aws::{self, Connector};
use crate::registry::BuildError;
use crate::tls::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

/// What can be configured of the sink `sqs`.
pub const FIELDS: &[Field] = &[
    aws::address(
        "queue_url",
        "The queue's URL, such as https://sqs.eu-west-1.amazonaws.com/123456789012/{type}; an event that makes no queue's name is parked.",
    ),
    aws::text(
        "region",
        "The region, such as eu-west-1. Left out: that of queue_url, or AWS_REGION or AWS_DEFAULT_REGION.",
    ),
    aws::text(
        "endpoint_url",
        "Where requests go instead of https://sqs.REGION.amazonaws.com: a private endpoint, or an emulator.",
    ),
    aws::ACCESS_KEY_ID,
    aws::SECRET_ACCESS_KEY,
    aws::SESSION_TOKEN,
    aws::PROFILE,
    aws::largest(
        "A larger message, attributes included, is parked before it is sent, and a batch holds no more. Up to 1MiB, where the queue takes it.",
    ),
    aws::TIMEOUT,
    aws::CONCURRENCY,
    CA_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
];

/// Makes a connector to the queues that the options name. It connects to nothing yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as an access key without its secret.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    Ok(Arc::new(Connector::<Sqs>::new(options)?))
}
