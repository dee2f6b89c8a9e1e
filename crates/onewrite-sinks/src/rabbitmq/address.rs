//! The URLs of brokers: `amqp://host:port/virtual-host`.

use crate::endpoint::{Endpoint, authority};
use crate::limits::AMQP_SHORT_TEXT_BYTES_MAX;

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Whether TLS is spoken.
    pub encrypted: bool,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The virtual host.
    pub virtual_host: String,
    /// The URL for people.
    pub shown: String,
}

/// Reads a URL. A port or virtual host that is left out is the usual one: 5672, encrypted 5671, and `/`.
///
/// # Errors
/// What is wrong with it, without repeating what may be a password.
pub(super) fn parse(url: &str) -> Result<Address, String> {
    const EXPECTED: &str = "expected something like \"amqp://localhost:5672\" or \"amqps://broker.example.com/shop\"";
    let (encrypted, rest) = if let Some(rest) = url.strip_prefix("amqps://") {
        (true, rest)
    } else if let Some(rest) = url.strip_prefix("amqp://") {
        (false, rest)
    } else {
        return Err(format!(
            "holds what does not begin with amqp:// or amqps://; {EXPECTED}"
        ));
    };
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    // Not in the place alone: a password may hold a slash. In a virtual host the character is written %40.
    if rest.contains('@') {
        return Err(
            "holds a user or a password, which would show up in logs; use the options user and password".to_owned(),
        );
    }
    let problem = |words: &str| Err(format!("{url:?} {words}; {EXPECTED}"));
    if url.contains(['?', '#']) || url.chars().any(char::is_whitespace) {
        return problem("holds a blank, \"?\" or \"#\", which no URL of a broker has");
    }
    let (scheme, port) = if encrypted { ("amqps", 5671) } else { ("amqp", 5672) };
    let Some(endpoint) = authority(place, port) else {
        return problem("has no host and port that can be read");
    };
    let Some(virtual_host) = decode(path) else {
        return problem("has a virtual host that is not percent-encoded UTF-8");
    };
    if path.contains('/') {
        return problem("has a slash in its virtual host, to be written as %2f");
    }
    if virtual_host.len() > AMQP_SHORT_TEXT_BYTES_MAX {
        return problem("has a virtual host of more than 255 bytes");
    }
    let shown_path = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    Ok(Address {
        encrypted,
        virtual_host: if virtual_host.is_empty() {
            "/".to_owned()
        } else {
            virtual_host
        },
        shown: format!("{scheme}://{endpoint}{shown_path}"),
        endpoint,
    })
}

/// Percent-decoding, where it comes to text.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (String, u16, String, String) {
        let address = parse(url).unwrap();
        let Endpoint { host, port } = address.endpoint;
        (host, port, address.virtual_host, address.shown)
    }

    #[test]
    fn what_is_left_out_is_the_usual() {
        let usual = ("h".to_owned(), 5672, "/".to_owned(), "amqp://h:5672".to_owned());
        assert_eq!(parsed("amqp://h"), usual);
        assert_eq!(parsed("amqp://h:5672/"), usual);
        assert_eq!(parsed("amqps://h").1, 5671);
        assert_eq!(parsed("amqp://h/shop").2, "shop");
        let encoded = parsed("amqp://[::1]:7/%2fa%20b");
        assert_eq!(
            encoded,
            (
                "::1".to_owned(),
                7,
                "/a b".to_owned(),
                "amqp://[::1]:7/%2fa%20b".to_owned()
            )
        );
    }

    #[test]
    fn what_cannot_be_an_address_is_told() {
        for (url, words) in [
            ("http://h", "does not begin with amqp://"),
            ("amqp://", "has no host"),
            ("amqp://h:x", "has no host and port"),
            ("amqp://[1]:7", "has no host and port"),
            ("amqp://h/%zz", "not percent-encoded"),
            ("amqp://h/a/b", "to be written as %2f"),
            ("amqp://h?heartbeat=3", "\"?\""),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(words), "{url}: {error}");
        }
        let error = parse("amqp://ann:hunter2@h").unwrap_err();
        assert!(
            error.contains("the options user and password") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
