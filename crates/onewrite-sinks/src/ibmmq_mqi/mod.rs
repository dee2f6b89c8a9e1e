//! The transport `mqi` of the sink `ibmmq`: the client protocol of IBM MQ, through IBM's own client library.
//!
//! # What was run, and what was not
//! Neither IBM's library nor a queue manager can be had where this is built. The structures are those that the crate libmqm-sys
//! generated from IBM's headers, and what the calls do is from general knowledge of IBM's reference. They were run against a library of
//! the tests' own, which checks structures and options. **This has met neither IBM's library nor a queue manager.**
//!
//! # What acknowledged means
//! Messages are put into a unit of work, and all of them count as delivered only after `MQCMIT` said MQCC_OK, without a warning: the
//! queue manager has them in its log. 2003 says that nothing of the unit arrived; after any other failure of `MQCMIT` the outcome is
//! unknown, so all of it is put again, under the same correlation identifiers.
//!
//! # Order
//! A connection belongs to a thread of its own, which puts the events of a batch in their order and commits before it takes the next
//! batch. An event that is refused stops its key in that batch. A delivery that was given up is backed out before the thread goes on, or
//! committed whole if that was under way already: what it can repeat are the lowest events of each key, in their order. Disconnecting
//! would commit what is in the unit, so it is backed out before.
//!
//! # What the queue manager can still lose
//! As the module [`ibmmq`](crate::ibmmq) says: a message may be moved later, and a topic keeps nothing for those without a subscription.

mod connection;
mod connector;
mod library;
mod message;
mod owner;
mod reason;
mod settings;
mod sink;
mod structures;

use std::sync::Arc;

use onewrite_core::SinkConnector;
use onewrite_core::options::Options;

use self::connector::MqiConnector;
use self::settings::MqiSettings;
use crate::registry::BuildError;

/// Makes a connector from options that ask for this transport. It connects to nothing and opens no library yet.
///
/// # Errors
/// The first option that does not hold together with the others, such as one that only the other transport has.
pub fn build(options: &Options) -> Result<Arc<dyn SinkConnector>, BuildError> {
    Ok(Arc::new(MqiConnector::new(MqiSettings::read(options)?)))
}
