//! What a PostgreSQL error means to the engine: try again, or a person must change something.

use std::error::Error as _;

use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Classifies `error`, which happened while `doing` something, such as `reading the outbox`.
pub(crate) fn failed(doing: &str, error: Error) -> StoreError {
    let verdict = match error.code() {
        Some(code) => of_state(code),
        None => of_client(&error),
    };
    match verdict {
        None => StoreError::new(StoreFailure::Unavailable, doing.to_owned()).because(error),
        Some(advice) => StoreError::new(StoreFailure::Refused, format!("{doing}: {advice}")).because(error),
    }
}

/// What a person should do about an SQLSTATE; `None` where trying again is the thing to do.
fn of_state(code: &SqlState) -> Option<&'static str> {
    match code.code() {
        // A configuration that names no schema `onewrite` and a search path without it look alike: both lack the schema.
        "42P01" | "3F000" | "42703" | "42883" => {
            Some("the schema onewrite is missing or older than this version; run `onewrite migrate`")
        }
        "42501" => Some("the user lacks a privilege; grant what `onewrite migrate --print` lists for the relay"),
        "3D000" => Some("the database does not exist; create it, or correct the URL"),
        state if state.starts_with("28") => Some("the server refused the user; correct user, password or pg_hba.conf"),
        // Of what is left, class 42 (syntax, types) and class 0A (not supported) will be the same at the next attempt.
        state if state.starts_with("42") || state.starts_with("0A") => {
            Some("the server does not accept this statement; PostgreSQL 14 or later is needed")
        }
        // A value that does not fit, or breaks a constraint: it would not fit the next time either.
        state if state.starts_with("22") || state.starts_with("23") => {
            Some("the server refuses a value; compare the schema with what `onewrite migrate --print` writes")
        }
        _ => None,
    }
}

/// The same for an error that the client found. Its kinds are not public; what tells them apart are the words and the cause.
fn of_client(error: &Error) -> Option<&'static str> {
    let words = error.to_string();
    if words == "authentication error" {
        return Some("the server asks for a way to log in that the configuration does not allow");
    }
    if words == "invalid configuration" {
        return Some("the connection lacks something that the server asks for, such as a password");
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .or_else(|| error.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(_)) = inner {
            return Some("the server's certificate is not trusted; name the authority that signed it as ca_file");
        }
        cause = error.source();
    }
    // A server that offers no TLS answers before any handshake; nothing else is of this kind without an I/O error inside.
    if words == "error performing TLS handshake" && error.source().is_some_and(|cause| !cause.is::<std::io::Error>()) {
        return Some("the server offers no TLS; turn it on there, or allow plain text with sslmode=disable in the URL");
    }
    None
}
