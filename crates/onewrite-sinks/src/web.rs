//! What sinks share that speak HTTP.

use reqwest::{Response, StatusCode};

use crate::limits::RESPONSE_WORDS_MAX;

/// The part of a body that was read.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub cut: bool,
}

impl Body {
    /// Reads up to `bytes_max` bytes.
    pub(crate) async fn read(response: &mut Response, bytes_max: usize) -> Result<Self, reqwest::Error> {
        let mut body = Self::default();
        while let Some(chunk) = response.chunk().await? {
            let room = bytes_max - body.bytes.len();
            if chunk.len() > room {
                body.bytes.extend_from_slice(&chunk[..room]);
                body.cut = true;
                break;
            }
            body.bytes.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// A server's words for one line of a log or a table: control characters escaped, cut to [`RESPONSE_WORDS_MAX`].
pub(crate) fn readable(text: &str) -> String {
    let mut characters = text.chars();
    let mut out = String::new();
    for character in characters.by_ref().take(RESPONSE_WORDS_MAX) {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

/// A status for people, such as `404 Not Found`.
pub(crate) fn shown(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_and_hold_no_control_characters() {
        assert_eq!(readable("a\r\nb\x1b[31m"), "a\\r\\nb\\u{1b}[31m");
        let long = readable(&"é".repeat(RESPONSE_WORDS_MAX + 1));
        assert_eq!(long.chars().count(), RESPONSE_WORDS_MAX + 1);
        assert!(long.ends_with('…'));
    }
}
