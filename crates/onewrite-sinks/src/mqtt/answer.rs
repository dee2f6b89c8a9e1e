//! What a broker's reason codes mean (MQTT 5, chapter 2.4).

use onewrite_core::error::{Action, SinkError};

use super::packet::{Answer, NO_MATCHING_SUBSCRIBERS, NOT_AUTHORIZED, SUCCESS};
use super::settings::Settings;
use crate::keyed::Fate;

/// What became of a message; `topic` is for the words.
pub(super) fn fate(answer: &Answer, settings: &Settings, topic: &str) -> Fate {
    match answer.reason {
        SUCCESS => Fate::Delivered,
        NO_MATCHING_SUBSCRIBERS if !settings.require_subscribers => Fate::Delivered,
        NO_MATCHING_SUBSCRIBERS => {
            let words = format!(
                "nobody subscribes to {topic:?}, so the broker keeps nothing; let a subscriber with a persistent session \
                 subscribe, or set require_subscribers = false"
            );
            Fate::Refused(SinkError::retry(words))
        }
        // Every event goes there.
        NOT_AUTHORIZED if settings.topic.literal().is_some() => Fate::Lost(SinkError::halt(format!(
            "{topic:?} was refused: {}; let the relay's user write to this topic, then resume the route",
            words(answer)
        ))),
        reason => {
            let words = format!("{topic:?} was refused: {}", words(answer));
            // No right to the topic, a topic that cannot be, a packet too large, a payload that is not what it is said to be.
            let action = if matches!(reason, 0x81 | NOT_AUTHORIZED | 0x90 | 0x95 | 0x99) {
                Action::Park
            } else {
                Action::Retry { after: None }
            };
            Fate::Refused(SinkError::new(action, words))
        }
    }
}

/// Whether a connection that was ended for this reason was ended because of a message: one that is malformed to the broker, a topic
/// that cannot be, a packet too large, a payload that is not what it is said to be. Not being authorised is about the client.
pub(super) fn is_about_a_message(reason: u8) -> bool {
    matches!(reason, 0x81 | 0x90 | 0x95 | 0x99)
}

/// Why a session did not begin.
pub(super) fn no_session(answer: &Answer) -> SinkError {
    let (action, advice) = match answer.reason {
        // Of MQTT 3: the version is not accepted.
        0x01 | 0x84 => (Action::Halt, "; it does not speak MQTT 5"),
        0x85 => (Action::Halt, "; set another client_id"),
        0x86 | NOT_AUTHORIZED | 0x8c => (Action::Halt, "; check user, password and the client certificate"),
        0x8a => (Action::Halt, "; its operator must let the relay in again"),
        0x9d => (Action::Halt, "; set urls to where it is now"),
        _ => (Action::Reconnect, ""),
    };
    SinkError::new(
        action,
        format!("the broker refused the connection: {}{advice}", words(answer)),
    )
}

/// Why a session ends whose broker has acknowledged the receipt of a message of QoS 2, and then not completed it. With the receipt it took
/// the message over (MQTT 5, 4.3.3), so it is not refused; but it does not know it any more (0x92), so what the two know of each other
/// is not the same, and it may be lost. Only a session without a past mends that.
pub(super) fn incomplete(answer: &Answer) -> SinkError {
    SinkError::reconnect(format!(
        "the broker took a message and did not complete it: {}; whether it keeps it is unknown",
        words(answer)
    ))
}

/// Why there is no subscription.
pub(super) fn not_subscribed(answer: &Answer, topic: &str) -> SinkError {
    SinkError::halt(format!(
        "the broker grants no subscription with QoS 1 to {topic:?}: {}; let the user publish to and subscribe to \"onewrite/verify/#\"",
        words(answer)
    ))
}

/// Why a session ended.
pub(super) fn ended(answer: &Answer) -> SinkError {
    SinkError::reconnect(format!("the broker ended the connection: {}", words(answer)))
}

/// The name of a reason, and the broker's own words.
fn words(answer: &Answer) -> String {
    let name = match answer.reason {
        0x00 => "no reason",
        0x01 => "unacceptable protocol version",
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        NOT_AUTHORIZED => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8a => "banned",
        0x8b => "server shutting down",
        0x8c => "bad authentication method",
        0x8d => "keep alive timeout",
        0x8e => "session taken over by another connection of the same client_id",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x92 => "packet identifier not found",
        0x93 => "receive maximum exceeded",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9a => "retain not supported",
        0x9b => "QoS not supported",
        0x9c => "use another server",
        0x9d => "server moved",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        _ => "another reason",
    };
    let reason = answer.reason;
    match &answer.words {
        Some(words) if !words.is_empty() => format!("{name} (0x{reason:02x}): {words}"),
        _ => format!("{name} (0x{reason:02x})"),
    }
}
