//! The suite that every sink must pass, in both modes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::sink::{Arrived, Destination, SinkHarness, check};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::connector;
use super::receiver::{Received, Receiver, Reply};
use crate::support::event;

#[tokio::test]
async fn the_http_sink_conforms_with_one_event_a_request() {
    conforms("event").await;
}

#[tokio::test]
async fn the_http_sink_conforms_with_many_events_a_request() {
    conforms("batch").await;
}

async fn conforms(mode: &'static str) {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let script = Arc::clone(&kept);
    let mut harness = Endpoint {
        receiver: Receiver::scripted(move |received| script.lock().unwrap().reply(received)).await,
        mode,
        destinations: 0,
        kept,
    };
    if let Err(broken) = check(&mut harness).await {
        panic!("{broken}");
    }
}

/// Bytes past which the endpoint refuses a body, as web servers do.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A header or text that the endpoint refuses for good.
const POISON: &str = "poison";

struct Endpoint {
    receiver: Receiver,
    mode: &'static str,
    destinations: u32,
    kept: Arc<Mutex<Kept>>,
}

/// What the endpoint keeps, and how it behaves at present.
#[derive(Default)]
struct Kept {
    requests: Vec<Received>,
    lose: bool,
    slow: bool,
}

impl Kept {
    fn reply(&mut self, received: &Received) -> Reply {
        if received.method != "POST" {
            return Reply::Refuse(405, Vec::new(), String::new());
        }
        if received.body.len() > BODY_BYTES_MAX {
            return Reply::Refuse(413, Vec::new(), "too large".to_owned());
        }
        let arrived = arrived(received);
        if arrived.iter().any(|event| event.headers.contains_key(POISON)) {
            return Reply::Refuse(422, Vec::new(), "nobody can eat this".to_owned());
        }
        self.requests.push(received.clone());
        match (self.lose, self.slow) {
            (true, _) => Reply::TakeAndDrop,
            (_, true) => Reply::Late(Duration::from_millis(20)),
            _ => Reply::Take(200),
        }
    }
}

#[async_trait]
impl SinkHarness for Endpoint {
    fn name(&self) -> String {
        format!("http, mode {}", self.mode)
    }

    async fn destination(&mut self) -> Result<Destination, BoxError> {
        self.destinations += 1;
        let url = format!("http://{}/{}", self.receiver.address, self.destinations);
        Ok(Destination {
            connector: connector(&url, &[("mode", self.mode), ("timeout", "5s")]),
            topic: "shop.orders".to_owned(),
        })
    }

    async fn read_back(&mut self) -> Result<Vec<Arrived>, BoxError> {
        let path = format!("/{}", self.destinations);
        let kept = self.kept.lock().unwrap();
        Ok(kept
            .requests
            .iter()
            .filter(|request| request.path == path)
            .flat_map(arrived)
            .collect())
    }

    fn poison(&self) -> Option<Event> {
        let mut event = event(1, None);
        event.headers = vec![(POISON.into(), "yes".into())];
        Some(event)
    }

    fn oversize(&self) -> Option<Event> {
        let mut event = event(1, None);
        event.payload = vec![b'x'; BODY_BYTES_MAX + 1].into();
        event.content_type = "text/plain".into();
        Some(event)
    }

    async fn lose_replies(&mut self, lose: bool) -> Result<(), BoxError> {
        self.kept.lock().unwrap().lose = lose;
        Ok(())
    }

    async fn stop_broker(&mut self) -> Result<(), BoxError> {
        self.receiver.stop().await;
        Ok(())
    }

    async fn start_broker(&mut self) -> Result<(), BoxError> {
        self.receiver.start_again().await;
        Ok(())
    }

    async fn slow_broker(&mut self, slow: bool) -> Result<(), BoxError> {
        self.kept.lock().unwrap().slow = slow;
        Ok(())
    }
}

/// The events of a request, read as the documentation of the sink says that receivers should.
fn arrived(request: &Received) -> Vec<Arrived> {
    if request.header("onewrite-id").is_none() {
        let envelopes: Vec<Envelope> = serde_json::from_slice(&request.body).unwrap();
        return envelopes.into_iter().map(Envelope::arrived).collect();
    }
    let mut headers: BTreeMap<_, _> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), decoded(value.to_str().unwrap())))
        .collect();
    let key = headers.remove("onewrite-key");
    for name in ["accept", "content-length", "host", "idempotency-key", "user-agent"] {
        headers.remove(name);
    }
    vec![Arrived {
        id: headers["onewrite-id"].parse().unwrap(),
        key,
        payload: request.body.to_vec(),
        headers,
    }]
}

#[derive(Deserialize)]
struct Envelope {
    id: Uuid,
    topic: String,
    key: Option<String>,
    r#type: Option<String>,
    occurred_at: String,
    content_type: String,
    headers: BTreeMap<String, String>,
    payload: Option<Box<RawValue>>,
    payload_text: Option<String>,
    payload_base64: Option<String>,
}

impl Envelope {
    fn arrived(self) -> Arrived {
        use base64::Engine;

        let mut headers: BTreeMap<_, _> = self
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        headers.insert("content-type".to_owned(), self.content_type);
        headers.insert("onewrite-id".to_owned(), self.id.to_string());
        headers.insert("onewrite-topic".to_owned(), self.topic);
        headers.insert("onewrite-occurred-at".to_owned(), self.occurred_at);
        headers.extend(self.r#type.map(|event_type| ("onewrite-type".to_owned(), event_type)));
        let base64 = self
            .payload_base64
            .map(|text| base64::engine::general_purpose::STANDARD.decode(text).unwrap());
        let text = self.payload_text.map(String::into_bytes);
        let json = self.payload.map(|json| json.get().as_bytes().to_vec());
        Arrived {
            id: self.id,
            key: self.key,
            payload: json.or(text).or(base64).unwrap(),
            headers,
        }
    }
}

/// A header's value without its percent-encoding; no value of the suite holds a percent sign that is not encoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(first);
        }
    }
    String::from_utf8(bytes).unwrap()
}
