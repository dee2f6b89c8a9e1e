//! The HTTP sink against a server that can be told how to misbehave.

mod answers;
mod batch;
mod conformance;
mod egress;
mod options;
mod order;
mod receiver;
mod requests;
mod tls;

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use onewrite_core::options::{Kind, Options, Value};
use onewrite_core::{Sink, SinkConnector};
use onewrite_sinks::http::{FIELDS, Lookup, build_with};

use self::receiver::Receiver;

/// A connector to `url` with these options; `headers` are written as `name=value;name=value`.
fn connector(url: &str, texts: &[(&str, &str)]) -> Arc<dyn SinkConnector> {
    connector_with(url, texts, Fixed::new(&[&["127.0.0.1"]]))
}

fn connector_with(url: &str, texts: &[(&str, &str)], lookup: Fixed) -> Arc<dyn SinkConnector> {
    build_with(&options(url, texts), Arc::new(lookup)).unwrap()
}

fn options(url: &str, texts: &[(&str, &str)]) -> Options {
    let mut options = Options::new("sinks.events");
    for (name, text) in texts.iter().chain([&("url", url)]) {
        let field = FIELDS.iter().find(|field| field.name == *name).unwrap();
        let value = if field.kind == Kind::Map {
            let pairs = text.split(';').map(|pair| pair.split_once('=').unwrap());
            Value::Map(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        } else {
            field.kind.parse(text).unwrap()
        };
        options.set(field, value);
    }
    options.fill(FIELDS).unwrap();
    options
}

/// A sink connected to `receiver`.
async fn sink(receiver: &Receiver, texts: &[(&str, &str)]) -> Box<dyn Sink> {
    connector(&receiver.url(), texts).connect().await.unwrap()
}

/// Answers every lookup with the next of these lists of addresses, the last one for ever.
struct Fixed(Mutex<Vec<Vec<IpAddr>>>);

impl Fixed {
    fn new(answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Self(Mutex::new(answers.iter().rev().map(parse).collect()))
    }
}

#[async_trait]
impl Lookup for Fixed {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        match answers.len() {
            0 => Err(io::Error::other(format!("{name} is not to be looked up"))),
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.pop().unwrap()),
        }
    }
}
