//! What the sinks of Amazon's services share: signed requests, batches of up to ten messages with an answer for each, and what the
//! answers mean. A [`Service`] says how its protocol puts it.
//!
//! # Order
//! Events of one key go strictly one after another, and a batch never holds two of one key: a failed entry stops none of those behind
//! it, and a request that is given up can only repeat an event, never overtake one.

mod answer;
mod client;
mod connector;
mod fields;
mod message;
mod settings;
mod sink;

use std::sync::Arc;

use onewrite_core::sink::Finding;
use onewrite_core::verify::ReadBack;

#[cfg(any(test, fuzzing))]
pub(crate) use self::answer::fuzz;
pub(crate) use self::answer::{Failed, Results, bare, words};
pub(crate) use self::client::{AwsClient, Request};
pub(crate) use self::connector::Connector;
pub(crate) use self::fields::{
    ACCESS_KEY_ID, CONCURRENCY, PROFILE, SECRET_ACCESS_KEY, SESSION_TOKEN, TIMEOUT, address, largest, text,
};
pub(crate) use self::message::Message;
pub(crate) use self::settings::Settings;

/// A service that takes batches of messages and answers for each.
pub(crate) trait Service: Send + Sync + 'static {
    /// The sink's type, and the service's name in signatures and hosts.
    const KIND: &'static str;
    /// The service's name for people.
    const NAME: &'static str;
    /// What messages go to, for people.
    const PLACE: &'static str;
    /// The option with its address.
    const ADDRESS: &'static str;
    /// The permission that sending needs.
    const PERMISSION: &'static str;
    /// The codes of errors that say that the place does not exist, without `Exception` at their end.
    const MISSING: &'static [&'static str];
    /// Most bytes that a message can have, and a batch.
    const MESSAGE_BYTES_MAX: usize;

    /// The name of the place in its address.
    ///
    /// # Errors
    /// Why there is none.
    fn place_name(address: &str) -> Result<&str, String>;

    /// The region in an address, where it says one.
    fn region(address: &str) -> Option<&str>;

    /// A request that any service of this kind answers, if only with a refusal.
    fn greeting() -> Request;

    /// A request about a place.
    fn question(address: &str) -> Request;

    /// What the answer to the question says of the place.
    fn finding(settings: &Settings, address: &str, subject: String, answer: &[u8]) -> Finding;

    /// A request to send messages. Their places are their ids.
    fn batch(address: &str, messages: &[&Message]) -> Request;

    /// What became of a batch; `None` where the answer is not one of this service.
    fn results(answer: &[u8]) -> Option<Results>;

    /// How `onewrite verify` reads back, or why that cannot be.
    fn read_back(settings: &Arc<Settings>) -> Result<Box<dyn ReadBack>, &'static str>;

    /// Code and message of an error, as far as the answer holds them.
    fn error(answer: &[u8]) -> (Option<String>, Option<String>);
}
