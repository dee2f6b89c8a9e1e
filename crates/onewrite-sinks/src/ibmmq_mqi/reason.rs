//! What a call that failed means.

use libmqm_sys::MQLONG;
use onewrite_core::error::{Action, SinkError};

use crate::ibmmq::answer::{Meaning, of_reason};

/// A call that did not do what it was to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub call: &'static str,
    pub reason: MQLONG,
}

impl Failure {
    /// The whole unit of work was backed out (MQRC_BACKED_OUT).
    pub(super) const BACKED_OUT: MQLONG = 2_003;
    /// The unit of work has as many messages as MAXUMSGS allows (MQRC_SYNCPOINT_LIMIT_REACHED).
    pub(super) const UNIT_IS_FULL: MQLONG = 2_024;
    const NOT_AUTHORIZED: MQLONG = 2_035;

    fn words(self, server: &str, advice: &str) -> String {
        let Self { call, reason } = self;
        let name = NAMES.iter().find(|(number, _)| *number == reason);
        let name = name.map_or(String::new(), |(_, name)| format!(" MQRC_{name}"));
        let advice = if advice.is_empty() {
            String::new()
        } else {
            format!("; {advice}")
        };
        format!("{server}: {call} failed with reason {reason}{name}{advice}")
    }

    /// Why there is no connection.
    pub(super) fn connecting(self, server: &str) -> SinkError {
        let advice = match self.reason {
            Self::NOT_AUTHORIZED => {
                let advice = "the credentials are refused; check user, password and the rules of the channel, then resume the route";
                return SinkError::halt(self.words(server, advice));
            }
            2_058 => "the queue manager there has another name; check queue_manager",
            2_381 | 2_393 | 2_397 | 2_398 | 2_400 => {
                "TLS failed; check cipher_spec, key_repository and the certificates"
            }
            2_539 | 2_540 => "the channel is not to be used; check channel, which is a server-connection channel there",
            _ => "check urls, and that queue manager and listener run",
        };
        SinkError::reconnect(self.words(server, advice))
    }

    /// What becomes of an event that was not put.
    pub(super) fn putting(self, server: &str) -> Refusal {
        // HCONN_ERROR, HOBJ_ERROR: a handle of ours has become useless.
        if matches!(self.reason, 2_018 | 2_019) {
            return Refusal::All(SinkError::reconnect(self.words(server, "the connection is not usable")));
        }
        if self.reason == Self::BACKED_OUT {
            return Refusal::All(SinkError::retry(self.words(server, "the unit of work was backed out")));
        }
        if self.reason == Self::UNIT_IS_FULL {
            return Refusal::One(SinkError::retry(self.words(server, "raise MAXUMSGS")));
        }
        let Some(meaning) = u32::try_from(self.reason).ok().and_then(of_reason) else {
            // The message may be in the unit of work or not, so nothing of that is committed.
            return Refusal::All(SinkError::reconnect(
                self.words(server, "whether the message was put is unknown"),
            ));
        };
        match meaning {
            Meaning::Park(advice) => Refusal::One(SinkError::park(self.words(server, advice))),
            Meaning::Later(advice) => Refusal::One(SinkError::retry(self.words(server, advice))),
            Meaning::AllLater(advice) => Refusal::All(SinkError::retry(self.words(server, advice))),
            Meaning::Elsewhere(advice) => Refusal::All(SinkError::new(Action::Reconnect, self.words(server, advice))),
            Meaning::Halt(advice) => Refusal::All(SinkError::halt(self.words(server, advice))),
        }
    }

    /// What a commit that was not confirmed means for everything that was put.
    pub(super) fn committing(self, server: &str) -> SinkError {
        if self.reason == Self::BACKED_OUT {
            let advice = "nothing of it arrived; if it happens again, look at the log space of the queue manager";
            return SinkError::retry(self.words(server, advice));
        }
        SinkError::reconnect(self.words(server, "whether the messages were committed is unknown"))
    }

    /// What it means that what was put could not be taken back.
    pub(super) fn backing_out(self, server: &str) -> SinkError {
        SinkError::reconnect(self.words(server, "the connection is given up, which backs out what was put"))
    }
}

/// What was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// This event.
    One(SinkError),
    /// Everything, now.
    All(SinkError),
}

/// The names of the reasons that one meets (IBM MQ, "API completion and reason codes").
const NAMES: &[(MQLONG, &str)] = &[
    (2_003, "BACKED_OUT"),
    (2_009, "CONNECTION_BROKEN"),
    (2_024, "SYNCPOINT_LIMIT_REACHED"),
    (2_030, "MSG_TOO_BIG_FOR_Q"),
    (2_031, "MSG_TOO_BIG_FOR_Q_MGR"),
    (2_035, "NOT_AUTHORIZED"),
    (2_051, "PUT_INHIBITED"),
    (2_052, "Q_DELETED"),
    (2_053, "Q_FULL"),
    (2_058, "Q_MGR_NAME_ERROR"),
    (2_059, "Q_MGR_NOT_AVAILABLE"),
    (2_085, "UNKNOWN_OBJECT_NAME"),
    (2_102, "RESOURCE_PROBLEM"),
    (2_161, "Q_MGR_QUIESCING"),
    (2_162, "Q_MGR_STOPPING"),
    (2_192, "STORAGE_MEDIUM_FULL"),
    (2_202, "CONNECTION_QUIESCING"),
    (2_203, "CONNECTION_STOPPING"),
    (2_218, "MSG_TOO_BIG_FOR_CHANNEL"),
    (2_381, "KEY_REPOSITORY_ERROR"),
    (2_393, "SSL_INITIALIZATION_ERROR"),
    (2_397, "JSSE_ERROR"),
    (2_538, "HOST_NOT_AVAILABLE"),
    (2_539, "CHANNEL_CONFIG_ERROR"),
    (2_540, "UNKNOWN_CHANNEL_NAME"),
];
