//! What goes wrong between a client and a broker.

use std::io;
use std::sync::Arc;

use onewrite_core::error::{SinkError, chain};

/// Why a channel or a connection is of no more use. Everybody who waits for it is told the same.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The broker closed the channel, for what was done on it.
    #[error("RabbitMQ closed the channel: {0}")]
    Channel(Close),
    /// The broker closed the connection.
    #[error("RabbitMQ closed the connection: {0}")]
    Connection(Close),
    /// The broker knows no way in that the client has.
    #[error("RabbitMQ does not offer the SASL mechanism {wanted}; it offers {offered}")]
    Mechanism {
        /// What the settings ask for.
        wanted: &'static str,
        /// What there is.
        offered: String,
    },
    /// The connection broke.
    #[error("{what}")]
    Broken {
        /// What happened.
        what: String,
        /// The system's word on it.
        #[source]
        source: Option<Arc<io::Error>>,
    },
    /// There is no way to the broker, or the files for TLS cannot be used.
    #[error("{}", chain(&**.0))]
    Connecting(Arc<SinkError>),
}

/// The broker's word when it closes something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {words}")]
pub struct Close {
    /// The reply code, such as 404.
    pub code: u16,
    /// The reply text, such as `NOT_FOUND - no exchange 'x' in vhost '/'`.
    pub words: String,
}

impl Failure {
    /// A connection that broke without a word.
    pub fn broken(what: impl Into<String>, source: io::Error) -> Self {
        Self::Broken {
            what: what.into(),
            source: Some(Arc::new(source)),
        }
    }

    /// The same without a cause of the system's.
    pub fn ended(what: impl Into<String>) -> Self {
        Self::Broken {
            what: what.into(),
            source: None,
        }
    }
}
