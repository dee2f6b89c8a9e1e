//! Reading back for `onewrite verify`: a stream of its own, read by the ids of its entries.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::SinkError;
use onewrite_core::verify::{Arrived, ReadBack, Reading};
use redis::{Cmd, Value};

use super::answer::{judge, refused};
use super::connection::{Connection, unusable};
use super::nodes::Nodes;
use super::settings::Settings;
use crate::limits::REDIS_READ_ENTRIES;

pub(super) struct RedisReadBack(pub Arc<Settings>);

#[async_trait]
impl ReadBack for RedisReadBack {
    fn apart(&self, topic: &str) -> Vec<(&'static str, Option<String>)> {
        // Entries that are trimmed away before they are read would look lost.
        vec![
            ("stream", Some(topic.to_owned())),
            ("max_entries", None),
            ("max_age", None),
            ("trim", None),
        ]
    }

    async fn open(&self, topic: &str) -> Result<Box<dyn Reading>, SinkError> {
        Ok(Box::new(Entries {
            connection: Some(connect(&self.0, topic).await?),
            settings: Arc::clone(&self.0),
            stream: topic.to_owned(),
            last: "0".to_owned(),
        }))
    }

    async fn remove(&self, topic: &str) -> Result<(), SinkError> {
        let connection = connect(&self.0, topic).await?;
        let mut delete = Cmd::new();
        delete.arg("DEL").arg(topic);
        answered(&connection, &format!("removing the stream {topic:?}"), &delete).await?;
        Ok(())
    }
}

async fn connect(settings: &Arc<Settings>, stream: &str) -> Result<Arc<Connection>, SinkError> {
    let nodes = Nodes::connect(Arc::clone(settings)).await?;
    let home = nodes
        .home(stream)
        .map_err(|slot| SinkError::retry(format!("no server of the cluster has slot {slot}")))?;
    nodes.connection(&home, 0).await
}

async fn answered(connection: &Connection, what: &str, command: &Cmd) -> Result<Value, SinkError> {
    let value = connection.ask(command).await?;
    match refused(&value) {
        Some(error) => Err(unusable(judge(what, error))),
        None => Ok(value),
    }
}

/// The entries of a stream in their order.
struct Entries {
    settings: Arc<Settings>,
    stream: String,
    /// The id of the last entry that was read.
    last: String,
    /// None after it broke.
    connection: Option<Arc<Connection>>,
}

#[async_trait]
impl Reading for Entries {
    async fn read(&mut self, wait: Duration) -> Result<Vec<Arrived>, SinkError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.settings, &self.stream).await?,
        };
        // Nought would wait for ever, and an answer has its own time.
        let wait = wait.min(self.settings.timeout / 2).as_millis().max(1);
        let mut command = Cmd::new();
        command.arg("XREAD").arg("COUNT").arg(REDIS_READ_ENTRIES);
        command.arg("BLOCK").arg(wait.to_string());
        command.arg("STREAMS").arg(&self.stream).arg(&self.last);
        let value = answered(&connection, &format!("reading the stream {:?}", self.stream), &command).await?;
        self.connection = Some(connection);
        let mut arrived = Vec::new();
        for entry in entries(&value) {
            if let [Value::BulkString(id), Value::Array(fields)] = entry {
                self.last = String::from_utf8_lossy(id).into_owned();
                arrived.push(event(fields));
            }
        }
        Ok(arrived)
    }
}

/// The entries in the answer to `XREAD`: of each stream its name and its entries.
fn entries(value: &Value) -> impl Iterator<Item = &[Value]> {
    fn items(value: &Value) -> &[Value] {
        match value {
            Value::Array(items) => items,
            _ => &[],
        }
    }
    items(value)
        .iter()
        .filter_map(|stream| items(stream).get(1))
        .flat_map(items)
        .map(items)
}

fn event(fields: &[Value]) -> Arrived {
    let field = |wanted: &[u8]| {
        fields.chunks_exact(2).find_map(|pair| match pair {
            [Value::BulkString(name), Value::BulkString(value)] if name == wanted => Some(value.clone()),
            _ => None,
        })
    };
    let id = field(b"id").and_then(|id| String::from_utf8(id).ok());
    Arrived::new(id.as_deref(), field(b"payload").unwrap_or_default())
}

/// Any reply is entries or none.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(value: &Value) {
    for entry in entries(value) {
        if let [_, Value::Array(fields)] = entry {
            event(fields);
        }
    }
}
