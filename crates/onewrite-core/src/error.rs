//! Errors of the contracts. Sources, stores and sinks classify what went wrong; core decides what to do about it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Any error as a source of another.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What became of a call to a source or a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFailure {
    /// The database did not answer, or answered that it cannot now. Whether a write took effect is unknown. Try again.
    Unavailable,
    /// Another relay holds the lease: this one must stop and deliver nothing more.
    Fenced,
    /// The database refused, and will until a person changes something: a grant, the schema, the password.
    Refused,
}

/// An error of a source or a store.
#[derive(Debug)]
pub struct StoreError {
    /// What kind of failure it is.
    pub failure: StoreFailure,
    /// What was being done, and for `Refused` what to do about it.
    pub context: Cow<'static, str>,
    source: Option<BoxError>,
}

impl StoreError {
    /// An error without a cause of its own.
    pub fn new(failure: StoreFailure, context: impl Into<Cow<'static, str>>) -> Self {
        Self {
            failure,
            context: context.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.context)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What core should do about a failed delivery. Sinks classify; core decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try again, not before `after` where the broker named a time.
    Retry {
        /// The broker's own wish, such as HTTP's `Retry-After`.
        after: Option<Duration>,
    },
    /// The connection is of no more use: connect anew, then try again.
    Reconnect,
    /// The event will never be accepted as it is: it is poison.
    Park,
    /// Nothing of this route can be delivered until a person changes something.
    Halt,
}

/// An error of a sink, about one event or about the connection.
#[derive(Debug)]
pub struct SinkError {
    /// What core should do.
    pub action: Action,
    /// What was being done and what the broker said: the words that a person reads beside a parked event.
    pub context: Cow<'static, str>,
    source: Option<BoxError>,
}

impl SinkError {
    /// An error without a cause of its own.
    pub fn new(action: Action, context: impl Into<Cow<'static, str>>) -> Self {
        Self {
            action,
            context: context.into(),
            source: None,
        }
    }

    /// A failure that may pass: try again after core's own backoff.
    pub fn retry(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Action::Retry { after: None }, context)
    }

    /// The connection is broken.
    pub fn reconnect(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Action::Reconnect, context)
    }

    /// The event is poison.
    pub fn park(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Action::Park, context)
    }

    /// The route cannot go on without a person.
    pub fn halt(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Action::Halt, context)
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.context)
    }
}

impl Error for SinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error and its causes in one line, for people: `a: b: c`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Several clients repeat their cause's words in their own; once is enough.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}
