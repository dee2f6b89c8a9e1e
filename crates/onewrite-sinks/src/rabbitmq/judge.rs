//! What a failure means for events: whose fault it is, and who must act.

use onewrite_core::error::SinkError;

use super::amqp::{Close, Failure};
use super::destinations::Asked;
use super::settings::{Settings, Unroutable};

/// `ACCESS_REFUSED`: the login, an exchange, or a topic of one.
pub(super) const ACCESS_REFUSED: u16 = 403;
/// `NOT_FOUND`: an exchange or a queue.
pub(super) const NOT_FOUND: u16 = 404;
/// `PRECONDITION_FAILED`: the message, or what exists with other settings.
pub(super) const PRECONDITION_FAILED: u16 = 406;
/// `COMMAND_INVALID`: such as an exchange of a type that the broker does not know.
const COMMAND_INVALID: u16 = 503;
/// `NOT_ALLOWED`: the virtual host, or a limit of it.
const NOT_ALLOWED: u16 = 530;
/// `CONNECTION_FORCED`: the broker is shut down, or a person closed the connection.
pub(super) const CONNECTION_FORCED: u16 = 320;

/// A connection that cannot be made, or has ended.
pub(super) fn connection(failure: &Failure) -> SinkError {
    let error = |error: SinkError| error.because(failure.clone());
    match failure {
        Failure::Connection(Close {
            code: ACCESS_REFUSED, ..
        }) => error(SinkError::halt(
            "RabbitMQ refuses the login; check user and password, or the name in the client certificate",
        )),
        Failure::Connection(Close {
            code: NOT_ALLOWED,
            words,
        }) if !passes(words) => error(SinkError::halt(
            "RabbitMQ refuses the virtual host; check that it exists and that the user has permissions in it",
        )),
        Failure::Connection(Close {
            code: COMMAND_INVALID, ..
        }) => error(SinkError::halt(
            "RabbitMQ does not know what it was asked for; check declare and exchange_type",
        )),
        Failure::Mechanism { .. } => error(SinkError::halt(
            "there is no way to log in; enable the mechanism on the broker, or set user and password",
        )),
        Failure::Connecting(_) | Failure::Connection(_) | Failure::Channel(_) | Failure::Broken { .. } => {
            error(SinkError::reconnect("there is no connection to RabbitMQ"))
        }
    }
}

/// Whether what is not allowed now may be allowed later without anybody's doing: a limit, or a virtual host that is starting.
fn passes(words: &str) -> bool {
    words.contains("limit") || words.contains("is down")
}

/// An event that went alone and was refused by the broker's closing the channel.
///
/// What all events of the sink share is not the event's fault. An exchange that the configuration names and that is not there
/// holds all of them up until somebody makes it, since parking a day's events would help nobody; one that the event names is an
/// event that cannot be routed.
pub(super) fn refused(settings: &Settings, close: &Close) -> SinkError {
    let shared_exchange = settings.exchange.literal().is_some();
    let shared_address = shared_exchange && settings.routing_key.literal().is_some();
    match close.code {
        ACCESS_REFUSED => {
            // Permissions are given for exchanges, and on topic exchanges for routing keys as well.
            let shared = if is_of_topic(close) {
                shared_address
            } else {
                shared_exchange
            };
            if shared {
                let words = format!("{close}; give the user the permission, which every event of this sink needs");
                SinkError::halt(words)
            } else {
                SinkError::park(close.to_string())
            }
        }
        NOT_FOUND if shared_exchange => SinkError::retry(format!(
            "the exchange is missing: {close}; create it, or set declare = \"exchange\""
        )),
        NOT_FOUND => unroutable(settings, format!("the event's exchange is missing: {close}")),
        _ => SinkError::park(format!("RabbitMQ refuses the message: {close}")),
    }
}

/// Whether what is refused is one routing key of an exchange, and not the exchange.
pub(super) fn is_of_topic(close: &Close) -> bool {
    close.words.contains("access to topic")
}

/// An event that went into no queue.
pub(super) fn unroutable(settings: &Settings, words: String) -> SinkError {
    match settings.unroutable {
        Unroutable::Park => SinkError::park(words),
        Unroutable::Retry => SinkError::retry(words),
    }
}

/// What the sink was to look at or make for an event was refused. A queue that the event names is its own matter, whatever exchange
/// it goes through.
pub(super) fn undeclared(settings: &Settings, asked: Asked, close: &Close) -> SinkError {
    let of_queue = match asked {
        Asked::Exchange => false,
        Asked::Queue => true,
        Asked::Binding => close.words.contains("to queue"),
    };
    match close.code {
        ACCESS_REFUSED if of_queue && settings.routing_key.literal().is_some() => SinkError::halt(format!(
            "{close}; give the user the permission for the queue, which every event of this sink needs"
        )),
        ACCESS_REFUSED if of_queue => SinkError::park(close.to_string()),
        ACCESS_REFUSED => refused(settings, close),
        NOT_FOUND if asked == Asked::Exchange => refused(settings, close),
        _ => SinkError::retry(format!("what declare asks for cannot be made: {close}")),
    }
}

/// The largest message that the broker takes, if that is what it complains of. It tells the size of the message and then the limit.
pub(super) fn size_limit(close: &Close) -> Option<usize> {
    if close.code != PRECONDITION_FAILED || !close.words.contains("message size") {
        return None;
    }
    let mut numbers = close.words.split(|character: char| !character.is_ascii_digit());
    numbers.rfind(|number| !number.is_empty())?.parse().ok()
}

#[cfg(test)]
mod tests {
    use onewrite_core::Action;

    use super::*;

    fn close(code: u16, words: &str) -> Close {
        Close {
            code,
            words: words.to_owned(),
        }
    }

    #[test]
    fn the_limit_is_read_from_the_brokers_words() {
        for words in [
            "PRECONDITION_FAILED - message size 200001 is larger than configured max size 100000",
            "PRECONDITION_FAILED - message size 200001 larger than max size 100000",
        ] {
            assert_eq!(size_limit(&close(406, words)), Some(100_000), "{words}");
        }
        assert_eq!(
            size_limit(&close(406, "PRECONDITION_FAILED - invalid expiration '1x'")),
            None
        );
    }

    #[test]
    fn a_limit_of_connections_passes_and_a_missing_virtual_host_does_not() {
        let of = |words| connection(&Failure::Connection(close(530, words))).action;
        assert_eq!(of("NOT_ALLOWED - vhost shop not found"), Action::Halt);
        let limit = "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached";
        assert_eq!(of(limit), Action::Reconnect);
        let shut_down = Failure::Connection(close(320, "CONNECTION_FORCED - broker forced connection closure"));
        assert_eq!(connection(&shut_down).action, Action::Reconnect);
    }
}
