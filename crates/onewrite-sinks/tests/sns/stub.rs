//! A stand-in for SNS, written from Amazon's reference: what the reference does not allow is refused and noted, and so is a request
//! whose signature is not right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::HeaderMap;
use onewrite_testkit::conformance::sink::Arrived;
use onewrite_testkit::servers::event_of_message;
use tokio_rustls::TlsAcceptor;

use super::arn;
use super::reference::{Message, messages, parameters};
use crate::aws::{SECRET, Server, check};

/// Status, code and message of a refusal.
pub type Refusal = (u16, &'static str, &'static str);

/// Code and `SenderFault` of an entry that is refused.
pub type EntryRefusal = (&'static str, bool);

/// A topic: what it was given, and what is wrong with it.
#[derive(Default)]
pub struct Topic {
    pub messages: Vec<Message>,
    pub subscriptions: u32,
    /// How it refuses everything, also to be looked at.
    pub refuses: Option<Refusal>,
    /// How it refuses entries whose body holds a text.
    pub refuses_entries: Vec<(&'static str, EntryRefusal)>,
    /// The deduplication ids that it has seen.
    seen: BTreeSet<String>,
}

pub struct State {
    pub topics: BTreeMap<String, Topic>,
    pub secret: &'static str,
    /// Most bytes of a batch.
    pub bytes_max: usize,
    /// An answer to every batch, in place of what SNS would say: status and body.
    pub instead: Option<(u16, String)>,
    /// Batches so far.
    pub batches: usize,
    /// Requests that the reference does not allow, with the reason.
    pub not_allowed: Vec<String>,
}

/// The server. It ends with the value.
pub struct Stub {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Stub {
    /// A server with topics of these names.
    pub async fn start(topics: &[&str]) -> Self {
        Self::start_with(topics, None).await
    }

    /// The same behind TLS.
    pub async fn encrypted(topics: &[&str], acceptor: TlsAcceptor) -> Self {
        Self::start_with(topics, Some(acceptor)).await
    }

    async fn start_with(topics: &[&str], acceptor: Option<TlsAcceptor>) -> Self {
        let topics = topics.iter().map(|name| (arn(name), Topic::default()));
        let state = Arc::new(Mutex::new(State {
            topics: topics.collect(),
            secret: SECRET,
            bytes_max: 262_144,
            instead: None,
            batches: 0,
            not_allowed: Vec::new(),
        }));
        let kept = Arc::clone(&state);
        let answer = move |headers: HeaderMap, body: Bytes| kept.lock().unwrap().answer(&headers, &body);
        let server = Server::start(acceptor, answer).await;
        Self { server, state }
    }

    pub fn address(&self) -> String {
        self.server.address.clone()
    }

    /// Looks at the state, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// Looks at a topic, or changes it.
    pub fn topic<T>(&self, name: &str, look: impl FnOnce(&mut Topic) -> T) -> T {
        self.with(|state| look(state.topics.get_mut(&arn(name)).unwrap()))
    }

    /// The messages of a topic.
    pub fn messages(&self, name: &str) -> Vec<Message> {
        self.topic(name, |topic| topic.messages.clone())
    }

    /// The events of a topic.
    pub fn read_all(&self, name: &str) -> Vec<Arrived> {
        let messages = self.messages(name).into_iter();
        messages
            .map(|message| event_of_message(&message.body, message.attributes))
            .collect()
    }

    /// That nothing came which the reference does not allow.
    pub fn assert_allowed(&self) {
        self.with(|state| assert_eq!(state.not_allowed, Vec::<String>::new()));
    }
}

impl State {
    fn answer(&mut self, headers: &HeaderMap, body: &[u8]) -> (u16, String) {
        if let Err(problem) = check("sns", headers, body, self.secret) {
            return refusal((403, "SignatureDoesNotMatch", &problem));
        }
        match self.act(headers, body) {
            Ok(answer) => answer,
            Err(problem) => {
                self.not_allowed.push(problem.clone());
                refusal((400, "InvalidParameter", &problem))
            }
        }
    }

    fn act(&mut self, headers: &HeaderMap, body: &[u8]) -> Result<(u16, String), String> {
        let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            return Err(format!("the content type is {kind:?}"));
        }
        let mut parameters = parameters(body)?;
        if parameters.remove("Version").as_deref() != Some("2010-03-31") {
            return Err("the version is another".to_owned());
        }
        let action = parameters.remove("Action").unwrap_or_default();
        let arn = parameters.remove("TopicArn");
        match (action.as_str(), arn) {
            ("ListTopics", None) if parameters.is_empty() => Ok(answer("ListTopics", "<Topics/>")),
            ("GetTopicAttributes", Some(arn)) if parameters.is_empty() => Ok(self.attributes(&arn)),
            ("PublishBatch", Some(arn)) => {
                let messages = messages(parameters, &arn)?;
                self.batches += 1;
                Ok(self.publish(&arn, messages))
            }
            _ => Err(format!("{action} with {:?}", parameters.keys())),
        }
    }

    fn attributes(&self, arn: &str) -> (u16, String) {
        let Some(topic) = self.topics.get(arn) else {
            return missing();
        };
        if let Some(refused) = topic.refuses {
            return refusal(refused);
        }
        let entry = |(key, value): (&str, &str)| format!("<entry><key>{key}</key><value>{value}</value></entry>");
        let subscriptions = topic.subscriptions.to_string();
        let entries = [
            ("TopicArn", arn),
            ("SubscriptionsConfirmed", &subscriptions),
            ("SubscriptionsPending", "1"),
            ("DisplayName", ""),
        ];
        let entries: String = entries.into_iter().map(entry).collect();
        answer("GetTopicAttributes", &format!("<Attributes>{entries}</Attributes>"))
    }

    fn publish(&mut self, arn: &str, messages: Vec<Message>) -> (u16, String) {
        if let Some(instead) = &self.instead {
            return instead.clone();
        }
        let Some(topic) = self.topics.get_mut(arn) else {
            return missing();
        };
        if let Some(refused) = topic.refuses {
            return refusal(refused);
        }
        if messages.iter().map(Message::size).sum::<usize>() > self.bytes_max {
            return refusal((
                400,
                "BatchRequestTooLong",
                "The length of all the messages put together is more than the limit",
            ));
        }
        let (mut successful, mut failed) = (String::new(), String::new());
        for message in messages {
            let refused = topic
                .refuses_entries
                .iter()
                .find(|(text, _)| message.body.contains(text));
            let id = &message.id;
            if let Some((_, (code, fault))) = refused {
                failed.push_str(&format!(
                    "<member><Id>{id}</Id><Code>{code}</Code><Message>no &lt;reason&gt;</Message><SenderFault>{fault}</SenderFault></member>"
                ));
                continue;
            }
            successful.push_str(&format!("<member><MessageId>id-{id}</MessageId><Id>{id}</Id></member>"));
            // SNS answers a repetition as it does the first.
            let fifo = message.fifo.as_ref();
            if fifo.is_none_or(|(_, deduplication)| topic.seen.insert(deduplication.clone())) {
                topic.messages.push(message);
            }
        }
        answer(
            "PublishBatch",
            &format!("<Failed>{failed}</Failed><Successful>{successful}</Successful>"),
        )
    }
}

/// An error answer of SNS.
pub fn refusal((status, code, message): (u16, &str, &str)) -> (u16, String) {
    let kind = if status < 500 { "Sender" } else { "Receiver" };
    let body = format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>{kind}</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>a-request</RequestId></ErrorResponse>"
    );
    (status, body)
}

fn missing() -> (u16, String) {
    refusal((404, "NotFound", "Topic does not exist"))
}

fn answer(action: &str, result: &str) -> (u16, String) {
    let body = format!(
        "<{action}Response xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">\n  <{action}Result>{result}</{action}Result>\n  \
         <ResponseMetadata><RequestId>a-request</RequestId></ResponseMetadata>\n</{action}Response>\n"
    );
    (200, body)
}
