//! What sinks share that speak HTTP.

use std::time::Duration;

use onewrite_core::error::SinkError;
use reqwest::{Client, ClientBuilder, Response, StatusCode};
use rustls::ClientConfig;

use crate::limits::{HTTP_CONNECT_TIMEOUT, RESPONSE_WORDS_MAX};

/// A client that goes nowhere but where it is sent, and sends everything once: no redirects, no proxy, no repetition of its own. A request
/// may take `timeout`, from connecting to the end of the answer.
pub(crate) fn client(tls: ClientConfig, timeout: Duration) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("onewrite/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(HTTP_CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
}

/// The client.
///
/// # Errors
/// To connect anew later.
pub(crate) fn built(client: ClientBuilder) -> Result<Client, SinkError> {
    let client = client.build();
    client.map_err(|error| SinkError::reconnect("cannot make an HTTP client").because(error))
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    /// Whether it may have arrived all the same.
    pub may_have_arrived: bool,
    /// To connect anew, with what happened.
    pub error: SinkError,
}

impl NoAnswer {
    /// Of a request to `server` that could take `timeout`.
    pub(crate) fn new(server: &str, timeout: Duration, error: reqwest::Error) -> Self {
        let error = error.without_url();
        let never = |words: String, error| Self {
            may_have_arrived: false,
            error: SinkError::reconnect(words).because(error),
        };
        if error.is_connect() {
            return never(format!("cannot connect to {server}"), error);
        }
        if error.is_builder() {
            return never("cannot make the HTTP request".to_owned(), error);
        }
        let what = if error.is_timeout() {
            format!("{server} did not answer within {timeout:?}")
        } else {
            format!("the connection to {server} broke before the answer was complete")
        };
        Self {
            may_have_arrived: true,
            error: SinkError::reconnect(format!("{what}; whether the events arrived is unknown")).because(error),
        }
    }
}

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

/// An answer of any bytes: the status, a line for each header, an empty line, and the body.
#[cfg(any(test, fuzzing))]
pub(crate) fn answer_of(bytes: &[u8]) -> Option<(StatusCode, reqwest::header::HeaderMap, Body)> {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (&bytes[..end], &bytes[end + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = StatusCode::from_bytes(lines.next()?).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    let body = Body {
        bytes: body.to_vec(),
        cut: false,
    };
    Some((status, headers, body))
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
