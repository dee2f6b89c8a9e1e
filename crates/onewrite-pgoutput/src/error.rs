//! What is wrong with bytes that are no message.

use thiserror::Error;

/// The bytes are no message of protocol version 1. The connection cannot be trusted any further: the server's messages are always
/// whole, so either they were damaged on the way or the stream is of another version than was asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("pgoutput message {message}, {field} at byte {offset}: {problem}")]
pub struct DecodeError {
    /// The kind of message, such as `Insert`; `of unknown kind` where the tag is missing or not known.
    pub message: &'static str,
    /// The field of the message in which the error is.
    pub field: &'static str,
    /// Where the field begins, in bytes from the message's tag.
    pub offset: usize,
    /// What was found and what was expected.
    pub problem: Problem,
}

/// What was found and what was expected.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// The message ends inside the field.
    #[error("found {left} bytes, expected at least {needed}")]
    Short {
        /// Bytes that the field, or as many of them as were announced, takes at the least.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A name without its terminating zero byte.
    #[error("found {left} bytes without a zero byte, expected one that ends the name")]
    Unterminated {
        /// Bytes that are left.
        left: usize,
    },
    /// A name that is not in UTF-8.
    #[error(
        "found {invalid} bytes that are not UTF-8 after {valid} that are, expected a name in UTF-8 (client_encoding)"
    )]
    NotUtf8 {
        /// Bytes of the name before the first that is wrong.
        valid: usize,
        /// Bytes from there to the name's end.
        invalid: usize,
    },
    /// A count or a length below zero.
    #[error("found {found}, expected 0 or more")]
    Negative {
        /// The number.
        found: i32,
    },
    /// A byte that has no meaning here.
    #[error("found {}, expected {expected}", byte(*.found))]
    Unknown {
        /// The byte.
        found: u8,
        /// What would have had a meaning.
        expected: &'static str,
    },
    /// The message goes on after its last field.
    #[error("found {left} more bytes, expected the end")]
    Trailing {
        /// Bytes that are left.
        left: usize,
    },
}

fn byte(found: u8) -> String {
    if found.is_ascii_graphic() {
        format!("'{}'", char::from(found))
    } else {
        format!("{found:#04x}")
    }
}
