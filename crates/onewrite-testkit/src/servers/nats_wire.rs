//! The protocol of NATS, spoken by hand: what fixtures ask with, and read streams with.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use crate::conformance::sink::Arrived;

/// Who the fixture is where a test's configuration asks: the name, the password, and the token.
pub const FIXTURE: &str = "fixture";

/// How long one answer may take; who asks tries again.
const ANSWER: Duration = Duration::from_secs(5);

/// Requests under way at once.
const PIPELINE: u64 = 500;

/// A connection.
pub struct Wire {
    stream: BufStream<TcpStream>,
    inbox: String,
    asked: u64,
}

impl Wire {
    /// Connects and logs in.
    pub async fn connect(address: &str) -> io::Result<Self> {
        let mut wire = Self {
            stream: BufStream::new(TcpStream::connect(address).await?),
            inbox: format!("_INBOX.{}", uuid::Uuid::new_v4().simple()),
            asked: 0,
        };
        wire.line().await?;
        let hello = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true, "lang": "fixture", "version": "1",
            "user": FIXTURE, "pass": FIXTURE, "auth_token": FIXTURE,
        });
        let text = format!("CONNECT {hello}\r\nSUB {}.* 1\r\nPING\r\n", wire.inbox);
        wire.stream.write_all(text.as_bytes()).await?;
        wire.stream.flush().await?;
        while wire.line().await? != "PONG" {}
        Ok(wire)
    }

    /// One request of the JetStream API, such as `STREAM.INFO.EVENTS`, and its answer.
    pub async fn api(&mut self, request: &str, body: &Value) -> io::Result<Value> {
        let number = self.ask(request, body).await?;
        self.stream.flush().await?;
        loop {
            let (found, answer) = self.answer().await?;
            if found == number {
                return Ok(answer);
            }
        }
    }

    /// Everything that a stream holds, by sequence; no consumer is made and nothing is taken away.
    pub async fn read_all(&mut self, stream: &str) -> io::Result<Vec<Arrived>> {
        let info = succeeded(self.api(&format!("STREAM.INFO.{stream}"), &json!({})).await?)?;
        let state = |name: &str| info["state"][name].as_u64().unwrap_or_default();
        let (mut next, last) = (state("first_seq").max(1), state("last_seq"));
        let request = format!("STREAM.MSG.GET.{stream}");
        let mut found = BTreeMap::new();
        while next <= last {
            let mut asked = HashMap::new();
            while next <= last && (asked.len() as u64) < PIPELINE {
                asked.insert(self.ask(&request, &json!({ "seq": next })).await?, next);
                next += 1;
            }
            self.stream.flush().await?;
            while !asked.is_empty() {
                let (number, answer) = self.answer().await?;
                let Some(sequence) = asked.remove(&number) else {
                    continue;
                };
                if answer["error"]["err_code"] == NO_MESSAGE {
                    continue;
                }
                found.insert(sequence, arrived(&succeeded(answer)?["message"])?);
            }
        }
        Ok(found.into_values().collect())
    }

    async fn ask(&mut self, request: &str, body: &Value) -> io::Result<u64> {
        self.asked += 1;
        let body = body.to_string();
        let text = format!(
            "PUB $JS.API.{request} {}.{} {}\r\n{body}\r\n",
            self.inbox,
            self.asked,
            body.len()
        );
        self.stream.write_all(text.as_bytes()).await?;
        Ok(self.asked)
    }

    /// The next answer, and the number of its request.
    async fn answer(&mut self) -> io::Result<(u64, Value)> {
        let answer = tokio::time::timeout(ANSWER, async {
            loop {
                let line = self.line().await?;
                let words: Vec<&str> = line.split(' ').collect();
                let (Some(&verb), Some(&subject)) = (words.first(), words.get(1)) else {
                    continue;
                };
                let number = subject.rsplit('.').next().and_then(|number| number.parse().ok());
                match (verb, number) {
                    ("MSG", Some(number)) => {
                        let body = self.bytes(words[words.len() - 1]).await?;
                        return Ok((number, serde_json::from_slice(&body)?));
                    }
                    ("HMSG", Some(_)) => {
                        let body = self.bytes(words[words.len() - 1]).await?;
                        return Err(io::Error::other(String::from_utf8_lossy(&body).into_owned()));
                    }
                    _ => {}
                }
            }
        });
        answer.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// So many bytes and the line break behind them.
    async fn bytes(&mut self, length: &str) -> io::Result<Vec<u8>> {
        let length: usize = length.parse().map_err(io::Error::other)?;
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The next line that is not the server's own business.
    async fn line(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            match line {
                "PING" => {
                    self.stream.write_all(b"PONG\r\n").await?;
                    self.stream.flush().await?;
                }
                _ if line.starts_with("-ERR") => return Err(io::Error::other(line.to_owned())),
                _ => return Ok(line.to_owned()),
            }
        }
    }
}

/// The API's error for a sequence that the stream does not hold any more: the server's `JSNoMessageFoundErr`.
const NO_MESSAGE: u64 = 10_037;

/// The answer, unless it tells of an error.
pub fn succeeded(answer: Value) -> io::Result<Value> {
    if answer["error"].is_null() {
        return Ok(answer);
    }
    Err(io::Error::other(answer["error"].to_string()))
}

/// A message as the API describes it.
fn arrived(message: &Value) -> io::Result<Arrived> {
    let bytes = |name: &str| STANDARD.decode(message[name].as_str().unwrap_or_default());
    let block = String::from_utf8(bytes("hdrs").map_err(io::Error::other)?).map_err(io::Error::other)?;
    let mut headers = BTreeMap::new();
    for line in block.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        let name = name.to_ascii_lowercase();
        let value = if name.starts_with("onewrite-") {
            decoded(value)?
        } else {
            value.to_owned()
        };
        headers.insert(name, value);
    }
    let id = headers.get("nats-msg-id").and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| io::Error::other(format!("no id in {headers:?}")))?;
    headers.retain(|name, _| !name.starts_with("nats-"));
    Ok(Arrived {
        id,
        key: headers.remove("onewrite-key"),
        payload: bytes("data").map_err(io::Error::other)?,
        headers,
    })
}

/// Takes percent-encoding off.
fn decoded(text: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest
            .split_at_checked(2)
            .ok_or_else(|| io::Error::other(format!("cut off: {text}")))?;
        let digits = std::str::from_utf8(digits).map_err(io::Error::other)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(io::Error::other)?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(io::Error::other)
}
