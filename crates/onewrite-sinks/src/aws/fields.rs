//! Options that these sinks have in common.

use onewrite_core::options::{Field, Kind, field};

pub(crate) const ACCESS_KEY_ID: Field = text(
    "access_key_id",
    "The access key. Left out: the usual chain of environment, profile and roles.",
);
pub(crate) const SECRET_ACCESS_KEY: Field = field("secret_access_key", Kind::Secret, "The secret of access_key_id.");
pub(crate) const SESSION_TOKEN: Field = field(
    "session_token",
    Kind::Secret,
    "The session token of temporary credentials.",
);
pub(crate) const PROFILE: Field = text(
    "profile",
    "The profile of the shared configuration files to take credentials from.",
);
pub(crate) const TIMEOUT: Field = preset(
    "timeout",
    Kind::Duration,
    "15s",
    "How long a request may take; from 50ms to 30s. What was not answered by then is unknown and is sent again.",
);
pub(crate) const CONCURRENCY: Field = preset(
    "concurrency",
    Kind::Integer { min: 1, max: 256 },
    "32",
    "Requests under way at once, each of up to ten events. Events of one key never overlap, whatever it is.",
);

/// The address of a place.
pub(crate) const fn address(name: &'static str, doc: &'static str) -> Field {
    Field {
        required: true,
        ..field(name, Kind::Template, doc)
    }
}

/// A text that may be left out.
pub(crate) const fn text(name: &'static str, doc: &'static str) -> Field {
    field(name, Kind::Text, doc)
}

/// The size of the largest message.
pub(crate) const fn largest(doc: &'static str) -> Field {
    preset("max_message_bytes", Kind::Bytes, "256KiB", doc)
}

const fn preset(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Field {
    Field {
        default: Some(default),
        ..field(name, kind, doc)
    }
}
