//! What IBM's reference of `POST …/message` allows, and nothing else; and what a reader makes of a message.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::HeaderMap;
use onewrite_testkit::conformance::sink::Arrived;

/// A message as the queue manager keeps it.
#[derive(Clone, Debug)]
pub struct Message {
    pub body: String,
    pub content_type: String,
    /// Without `ID:`.
    pub correlation: String,
    pub persistent: bool,
    pub expiry: Option<u64>,
    pub priority: Option<u8>,
    /// As they were sent, in the order of their names.
    pub properties: BTreeMap<String, String>,
}

/// Where a request goes.
#[derive(Debug)]
pub struct Target {
    pub version: u8,
    pub queue_manager: String,
    pub topic: bool,
    pub name: String,
}

/// Why a request is not allowed, with the status that says so.
pub type NotAllowed = (u16, String);

/// Reads the path of a put.
pub fn target(path: &str) -> Result<Target, NotAllowed> {
    let missing = || (404, format!("there is no resource {path}"));
    let rest = path.strip_prefix("/ibmmq/rest/v").ok_or_else(missing)?;
    let (version, rest) = rest.split_once("/messaging/qmgr/").ok_or_else(missing)?;
    let version = version
        .parse()
        .ok()
        .filter(|version| (1..=3).contains(version))
        .ok_or_else(missing)?;
    let rest = rest.strip_suffix("/message").ok_or_else(missing)?;
    let (queue_manager, rest) = rest.split_once('/').ok_or_else(missing)?;
    let (kind, name) = rest.split_once('/').ok_or_else(missing)?;
    let topic = match kind {
        "queue" if !name.contains('/') => false,
        "topic" if version > 1 => true,
        _ => return Err(missing()),
    };
    if queue_manager.contains('.') || (topic && name.contains('.')) || path.contains('?') {
        return Err((400, format!("{path} holds what must be encoded")));
    }
    Ok(Target {
        version,
        queue_manager: decoded(queue_manager),
        topic,
        name: decoded(name),
    })
}

/// Reads headers and body of a put.
pub fn message(version: u8, headers: &HeaderMap, body: &Bytes) -> Result<Message, NotAllowed> {
    const KNOWN: &[&str] = &[
        "rest-csrf-token",
        "md-correlationid",
        "md-expiry",
        "md-persistence",
        "md-priority",
        "usr",
    ];
    let bad = |problem: String| (400, problem);
    for name in headers.keys().filter_map(|name| name.as_str().strip_prefix("ibm-mq-")) {
        let only_v3 = matches!(name, "md-priority" | "usr");
        if !KNOWN.contains(&name) || (only_v3 && version < 3) {
            return Err(bad(format!("ibm-mq-{name} is unknown to v{version}")));
        }
    }
    let one = |name: &str| -> Result<Option<String>, NotAllowed> {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap().to_owned());
        match values.next() {
            None => Ok(first),
            Some(_) => Err(bad(format!("{name} is there twice"))),
        }
    };
    let content_type = one("content-type")?.unwrap_or_default();
    let media_type = content_type.strip_suffix(";charset=utf-8").unwrap_or_default();
    if ![
        "text/plain",
        "text/html",
        "text/xml",
        "application/json",
        "application/xml",
    ]
    .contains(&media_type)
    {
        return Err((415, format!("content-type is {content_type:?}")));
    }
    let persistent = match one("ibm-mq-md-persistence")?.as_deref() {
        None | Some("nonPersistent") => false,
        Some("persistent") => true,
        Some(other) => return Err(bad(format!("ibm-mq-md-persistence is {other:?}"))),
    };
    let expiry = match one("ibm-mq-md-expiry")?.as_deref() {
        None | Some("unlimited") => None,
        Some(text) => Some(number(text, 99_999_999_900).ok_or_else(|| bad(format!("ibm-mq-md-expiry is {text:?}")))?),
    };
    let priority = match one("ibm-mq-md-priority")?.as_deref() {
        None | Some("asDestination") => None,
        Some(text) => Some(number(text, 9).ok_or_else(|| bad(format!("ibm-mq-md-priority is {text:?}")))? as u8),
    };
    let correlation = correlation(version, &one("ibm-mq-md-correlationId")?.unwrap_or_default())?;
    Ok(Message {
        body: String::from_utf8(body.to_vec()).map_err(|_| bad("the body is not UTF-8".to_owned()))?,
        content_type,
        correlation,
        persistent,
        expiry,
        priority,
        properties: properties(headers)?,
    })
}

fn correlation(version: u8, value: &str) -> Result<String, NotAllowed> {
    let digits = if version == 3 {
        value.strip_prefix("ID:").unwrap_or_default()
    } else {
        value
    };
    if digits.len() == 48 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_owned());
    }
    Err((400, format!("ibm-mq-md-correlationId is {value:?}")))
}

fn properties(headers: &HeaderMap) -> Result<BTreeMap<String, String>, NotAllowed> {
    let mut properties = BTreeMap::new();
    for value in headers.get_all("ibm-mq-usr") {
        let (name, value) = value
            .to_str()
            .ok()
            .and_then(property)
            .ok_or_else(|| (400, format!("ibm-mq-usr is {value:?}")))?;
        if let Some(other) = properties.insert(name, value) {
            return Err((400, format!("a property is there twice, also as {other}")));
        }
    }
    Ok(properties)
}

/// The event in a message, read as the sink's page says that readers should.
pub fn arrived(message: &Message) -> Arrived {
    let mut headers: BTreeMap<String, String> = message
        .properties
        .iter()
        .map(|(name, value)| {
            let name = decoded(&name.replace('_', "-").replace('$', "%"));
            (name.to_ascii_lowercase(), decoded(value.trim_matches('"')))
        })
        .collect();
    let payload = match headers.remove("onewrite-payload-encoding").as_deref() {
        Some("base64") => STANDARD.decode(&message.body).unwrap(),
        _ => message.body.clone().into_bytes(),
    };
    let id: uuid::Uuid = headers["onewrite-id"].parse().unwrap();
    assert_eq!(message.correlation, format!("{:0<48}", id.simple().to_string()));
    Arrived {
        id,
        key: headers.remove("onewrite-key"),
        payload,
        headers,
    }
}

/// A property of type string, with its quotation marks where it has them.
fn property(text: &str) -> Option<(String, String)> {
    let [name, value, "string"] = text.split(';').collect::<Vec<_>>()[..] else {
        return None;
    };
    let first = name.bytes().next()?;
    let identifier = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte));
    let inside = value
        .strip_prefix('"')
        .map_or(Some(value), |value| value.strip_suffix('"'))?;
    let fits = inside
        .bytes()
        .all(|byte| matches!(byte, b'!'..=b'~') && !b",\"\\".contains(&byte));
    (identifier && !first.is_ascii_digit() && fits).then(|| (name.to_owned(), value.to_owned()))
}

fn number(text: &str, most: u64) -> Option<u64> {
    text.parse().ok().filter(|number| *number <= most)
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .unwrap()
        .into_owned()
}
