//! What a broker's error says about an event, its address, or everything.

use fe2o3_amqp::connection::ConnectionStopReason;
use fe2o3_amqp::link::{LinkStateError, SendError, SessionStopReason};
use fe2o3_amqp::types::definitions::{AmqpError, ConnectionError, Error, ErrorCondition, LinkError, SessionError};
use fe2o3_amqp::types::messaging::Outcome;
use fe2o3_amqp::types::primitives::Symbol;
use onewrite_core::error::{Action, SinkError};

use super::settings::Settings;

/// Why an event was not delivered.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub action: Action,
    pub words: String,
    /// Whether it is about the whole delivery, of which nothing more can be sent.
    pub whole: bool,
    /// Whether the link ended over what one message is, without a word on which.
    pub some_message: bool,
}

impl Refusal {
    pub(super) fn retry(words: impl Into<String>) -> Self {
        Self::new(Action::Retry { after: None }, words)
    }

    pub(super) fn park(words: impl Into<String>) -> Self {
        Self::new(Action::Park, words)
    }

    /// The connection broke.
    pub(super) fn broken(words: impl Into<String>) -> Self {
        Self {
            whole: true,
            ..Self::new(Action::Reconnect, words)
        }
    }

    /// It is too late to begin.
    pub(super) fn late(error: &SinkError) -> Self {
        Self {
            whole: true,
            ..Self::new(error.action, error.to_string())
        }
    }

    pub(super) fn error(self) -> SinkError {
        SinkError::new(self.action, self.words)
    }

    fn new(action: Action, words: impl Into<String>) -> Self {
        Self {
            action,
            words: words.into(),
            whole: false,
            some_message: false,
        }
    }
}

/// What an outcome other than *accepted* says. `None`: it was accepted.
pub(super) fn of_outcome(settings: &Settings, address: &str, known: bool, outcome: Outcome) -> Option<Refusal> {
    Some(match outcome {
        Outcome::Accepted(_) => return None,
        Outcome::Released(_) => Refusal::retry(format!(
            "address {address}: the broker released the message, so it did not take it; RabbitMQ answers so where no queue is bound"
        )),
        Outcome::Modified(modified) if modified.undeliverable_here == Some(true) => Refusal::park(format!(
            "address {address}: the broker handed the message back and wants it no more (modified, undeliverable-here)"
        )),
        Outcome::Modified(_) => Refusal::retry(format!(
            "address {address}: the broker handed the message back (modified); it may be full, or not able to now"
        )),
        Outcome::Rejected(rejected) => match rejected.error {
            Some(error) => of_condition(settings, address, known, "the broker rejects the message", &error),
            None => Refusal::retry(format!(
                "address {address}: the broker rejected the message and gave no reason"
            )),
        },
    })
}

/// What it says that a link was not let attach: something of the address, and never of one message.
pub(super) fn of_attach(settings: &Settings, address: &str, known: bool, error: &Error) -> Refusal {
    let what = "the broker does not let the relay attach";
    match meaning(&error.condition) {
        Meaning::Message => Refusal::retry(format!("address {address}: {what}: {}", words(error))),
        _ => of_condition(settings, address, known, what, error),
    }
}

/// What an error of the broker's on this address says: of a message, or of the link.
fn of_condition(settings: &Settings, address: &str, known: bool, what: &str, error: &Error) -> Refusal {
    let said = words(error);
    let same_for_all = settings.address.literal().is_some();
    let at = format!("address {address}: {what}: {said}");
    match meaning(&error.condition) {
        Meaning::Message => Refusal::park(at),
        Meaning::Unauthorized if same_for_all => {
            Refusal::new(Action::Halt, format!("{at}; grant the relay to send to this address"))
        }
        Meaning::Unauthorized => Refusal::park(format!("{at}; grant the relay to send to this address")),
        Meaning::Missing if same_for_all || known => {
            Refusal::retry(format!("{at}; create it, and the events go on by themselves"))
        }
        Meaning::Missing => Refusal::park(format!("{at}; create it, or correct the option address")),
        Meaning::Passing => Refusal::retry(at),
    }
}

/// What it says that a link ended.
pub(super) fn of_link(settings: &Settings, address: &str, known: bool, error: &LinkStateError) -> Refusal {
    match error {
        LinkStateError::SessionStopped(reason) => Refusal::broken(stopped(reason)),
        LinkStateError::RemoteDetachedWithError(error) | LinkStateError::RemoteClosedWithError(error) => {
            let what = "the broker detached the link";
            match meaning(&error.condition) {
                // Of a message, but of which?
                Meaning::Message => Refusal {
                    some_message: true,
                    ..Refusal::retry(format!("address {address}: {what}: {}", words(error)))
                },
                _ => of_condition(settings, address, known, what, error),
            }
        }
        LinkStateError::RemoteDetached | LinkStateError::RemoteClosed => Refusal::retry(format!(
            "address {address}: the broker detached the link and gave no reason"
        )),
        LinkStateError::IllegalState | LinkStateError::ExpectImmediateDetach => {
            Refusal::retry(format!("address {address}: the link ended"))
        }
    }
}

/// Whether a link ended over the size of a message.
pub(super) fn is_of_size(error: &LinkStateError) -> bool {
    use LinkStateError::{RemoteClosedWithError, RemoteDetachedWithError};
    let (RemoteClosedWithError(error) | RemoteDetachedWithError(error)) = error else {
        return false;
    };
    error.condition == ErrorCondition::LinkError(LinkError::MessageSizeExceeded)
}

/// What it says that a message could not be sent, or has no outcome.
pub(super) fn of_send(settings: &Settings, address: &str, known: bool, error: SendError) -> Refusal {
    match error {
        SendError::LinkStateError(error) => of_link(settings, address, known, &error),
        SendError::Detached(error) => of_link(settings, address, known, &error.into()),
        SendError::MessageSizeExceeded(size) => Refusal::park(format!(
            "address {address}: the message has {} bytes, and the broker takes at most {} on this link; make the event smaller, or raise the broker's limit",
            size.size, size.max_size
        )),
        SendError::MessageEncodeError => {
            Refusal::park(format!("address {address}: the event cannot be encoded as AMQP 1.0"))
        }
        SendError::NonTerminalDeliveryState | SendError::IllegalDeliveryState => Refusal::retry(format!(
            "address {address}: the broker settled the message without saying what became of it"
        )),
    }
}

/// The condition and the broker's own words.
pub(super) fn words(error: &Error) -> String {
    let condition = name(&error.condition);
    match error.description.as_deref() {
        Some(description) if !description.is_empty() => format!("{condition}: {description}"),
        _ => condition,
    }
}

/// Whether the error says that the relay may not do what it wants.
pub(super) fn unauthorized(error: &Error) -> bool {
    meaning(&error.condition) == Meaning::Unauthorized
}

/// Why a session or its connection stopped.
pub(super) fn stopped(reason: &SessionStopReason) -> String {
    match reason {
        SessionStopReason::RemoteEndedWithError(error) => format!("the broker ended the session: {}", words(error)),
        SessionStopReason::RemoteEnded => "the broker ended the session".to_owned(),
        SessionStopReason::ConnectionStopped(ConnectionStopReason::RemoteClosedWithError(error)) => {
            format!("the broker closed the connection: {}", words(error))
        }
        SessionStopReason::ConnectionStopped(ConnectionStopReason::RemoteClosed) => {
            "the broker closed the connection".to_owned()
        }
        SessionStopReason::ConnectionStopped(ConnectionStopReason::ClosedWithError(error)) => {
            format!("the connection was closed: {}", words(error))
        }
        SessionStopReason::EndedWithError(error) => format!("the session was ended: {}", words(error)),
        SessionStopReason::Ended | SessionStopReason::ConnectionStopped(ConnectionStopReason::Closed) => {
            "the connection ended".to_owned()
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The message will never be accepted as it is.
    Message,
    Unauthorized,
    /// There is no such address.
    Missing,
    /// It may pass.
    Passing,
}

fn meaning(condition: &ErrorCondition) -> Meaning {
    match condition {
        ErrorCondition::AmqpError(
            AmqpError::DecodeError
            | AmqpError::InvalidField
            | AmqpError::NotAllowed
            | AmqpError::NotImplemented
            | AmqpError::PreconditionFailed
            | AmqpError::FrameSizeTooSmall,
        )
        | ErrorCondition::LinkError(LinkError::MessageSizeExceeded) => Meaning::Message,
        ErrorCondition::AmqpError(AmqpError::UnauthorizedAccess) => Meaning::Unauthorized,
        ErrorCondition::AmqpError(AmqpError::NotFound | AmqpError::ResourceDeleted) => Meaning::Missing,
        _ => Meaning::Passing,
    }
}

fn name(condition: &ErrorCondition) -> String {
    let symbol: Symbol = match condition {
        ErrorCondition::AmqpError(error) => error.into(),
        ErrorCondition::ConnectionError(error) => <Symbol as From<&ConnectionError>>::from(error),
        ErrorCondition::SessionError(error) => <Symbol as From<&SessionError>>::from(error),
        ErrorCondition::LinkError(error) => error.into(),
        ErrorCondition::Custom(symbol) => symbol.clone(),
    };
    symbol.0
}

#[cfg(test)]
mod tests {
    use onewrite_core::options::Options;

    use super::super::FIELDS;
    use super::*;

    #[test]
    fn a_refused_attach_is_never_taken_for_a_word_on_one_message() {
        let texts = [("urls", "amqp://broker")];
        let settings = Settings::read(&Options::from_texts("sinks.x", FIELDS, &texts).unwrap()).unwrap();
        for condition in [
            AmqpError::InvalidField,
            AmqpError::NotAllowed,
            AmqpError::NotImplemented,
            AmqpError::PreconditionFailed,
        ] {
            let error = Error::new(condition, Some("said so".to_owned()), None);
            let refusal = of_attach(&settings, "orders", false, &error);
            assert!(matches!(refusal.action, Action::Retry { .. }), "{refusal:?}");
            assert!(
                refusal.words.contains("said so") && !refusal.some_message,
                "{refusal:?}"
            );
        }
        let missing = Error::new(AmqpError::NotFound, None, None);
        assert_eq!(of_attach(&settings, "orders", false, &missing).action, Action::Park);
    }
}
