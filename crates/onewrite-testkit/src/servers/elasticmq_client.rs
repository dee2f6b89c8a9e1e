//! The protocol of SQS by hand, so that what reads back has nothing in common with what sends.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::conformance::sink::Arrived;

/// Calls an action and returns its answer.
///
/// # Panics
/// When there is none, or when it is an error.
pub async fn call(address: &str, action: &str, request: &Value) -> Value {
    let request = request.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\n\
         x-amz-target: AmazonSQS.{action}\r\ncontent-length: {}\r\n\r\n",
        request.len()
    );
    let answer = exchange(address, &[head.as_bytes(), request.as_bytes()].concat()).await;
    let answer = answer.unwrap_or_else(|error| panic!("ElasticMQ does not answer {action}: {error}"));
    let text = String::from_utf8(answer).expect("an answer in UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer with a head");
    assert!(
        head.starts_with("HTTP/1.1 200 "),
        "ElasticMQ refuses {action} {request}: {text}"
    );
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding");
    assert!(!chunked, "an answer in chunks, which this reader does not know");
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(body).unwrap_or_else(|error| panic!("ElasticMQ answers {action} with {body:?}: {error}"))
}

/// The event in a message of SQS.
pub fn arrived(message: &Value) -> Arrived {
    let attributes = message["MessageAttributes"].as_object().into_iter().flatten();
    let attributes = attributes.map(|(name, attribute)| {
        let value = attribute["StringValue"].as_str().expect("an attribute of type String");
        (name.clone(), value.to_owned())
    });
    event_of_message(message["Body"].as_str().expect("a body"), attributes.collect())
}

/// The event in a message of SQS or SNS, of this body and these attributes, read as the pages of the sinks say that readers should.
///
/// # Panics
/// When it is not what the pages say.
pub fn event_of_message(body: &str, attributes: BTreeMap<String, String>) -> Arrived {
    let attributes = attributes.into_iter();
    let mut headers: BTreeMap<String, String> = attributes
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    if let Some(rest) = headers.remove("onewrite-headers") {
        let rest: BTreeMap<String, String> = serde_json::from_str(&rest).expect("a JSON object of texts");
        headers.extend(rest.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)));
    }
    let payload = match headers.remove("onewrite-payload-encoding").as_deref() {
        None => body.as_bytes().to_vec(),
        Some("empty") => Vec::new(),
        Some(encoding) => {
            assert_eq!(encoding, "base64");
            from_base64(body)
        }
    };
    Arrived {
        id: headers["onewrite-id"].parse().expect("a UUID"),
        key: headers.remove("onewrite-key"),
        payload,
        headers,
    }
}

async fn exchange(address: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{text:?} is not base64"),
    };
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        (bits, held) = (bits << 6 | digit(byte), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}
