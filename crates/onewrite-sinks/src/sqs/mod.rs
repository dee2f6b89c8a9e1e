//! The sink `sqs`: Amazon SQS, standard and FIFO queues, by its JSON protocol.
//!
#![doc = include_str!("guide.md")]

mod readback;
mod service;

use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::{Field, Options};

use self::service::Sqs;
#[cfg(any(test, fuzzing))]
pub(crate) use self::service::fuzz;
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
