//! What became of the events of a chunk, by what the server said.

use onewrite_core::error::{Action, SinkError};
use redis::{ServerError, Value};

use super::answer::{Redirect, Refusal, judge, redirect, refused};
use super::connection::{Connection, unusable};
use super::nodes::Nodes;

/// Events that were refused, in their order.
pub(super) type Refused = Vec<(usize, Refusal)>;

/// What became of a chunk.
pub(super) enum Reply {
    /// All was written but for these.
    Here(Refused),
    /// Nothing was, and it is to go there.
    Elsewhere(Redirect),
}

/// What was heard of the events of a chunk.
pub(super) struct Heard<'a> {
    /// From whom.
    pub connection: &'a Connection,
    /// Where they were to go.
    pub stream: &'a str,
    /// Which of the batch they are.
    pub events: &'a [usize],
    /// Where streams are.
    pub nodes: &'a Nodes,
    /// Whether all events of the route go to this stream.
    pub only_stream: bool,
}

impl Heard<'_> {
    /// Of a transaction: what it was begun with, the commands, and what ended it.
    pub(super) fn of_transaction(&self, mut replies: Vec<Value>) -> Result<Reply, SinkError> {
        match replies.pop() {
            Some(Value::Array(carried_out)) if carried_out.len() == self.events.len() => {
                let kept = carried_out
                    .iter()
                    .take_while(|reply| matches!(reply, Value::BulkString(_)))
                    .count();
                // What stands behind a refusal is not looked at: it may be of the same key.
                carried_out.get(kept).map_or(Ok(Reply::Here(Vec::new())), |reply| {
                    Ok(self.refused(kept, self.error(reply)?))
                })
            }
            Some(Value::ServerError(last)) => {
                // The server discarded all of it. What the first command was told is the reason.
                if let Some(error) = replies.first().and_then(refused) {
                    // No transaction: the commands stood for themselves, and what became of them is not looked into.
                    return Err(unusable(judge("a transaction", error)));
                }
                let reason = replies.iter().find_map(refused).unwrap_or(&last);
                Ok(self.refused(0, reason))
            }
            other => {
                let words = format!("{} answered EXEC with {other:?}", self.connection.endpoint());
                Err(SinkError::reconnect(words))
            }
        }
    }

    /// Of commands that stand for themselves, all of different keys.
    pub(super) fn of_each(&self, replies: &[Value]) -> Result<Reply, SinkError> {
        let mut refused = Vec::new();
        for (event, reply) in self.events.iter().zip(replies) {
            if !matches!(reply, Value::BulkString(_)) {
                refused.push((*event, self.error(reply)?));
            }
        }
        if let Some((_, error)) = refused.first().filter(|_| refused.len() == self.events.len())
            && let Some(redirect) = self.redirect(error)
        {
            return Ok(Reply::Elsewhere(redirect));
        }
        let refusal = |(event, error)| (event, self.refusal(error));
        Ok(Reply::Here(refused.into_iter().map(refusal).collect()))
    }

    fn error<'r>(&self, reply: &'r Value) -> Result<&'r ServerError, SinkError> {
        refused(reply).ok_or_else(|| {
            let words = format!("{} answered XADD with {reply:?}, no id", self.connection.endpoint());
            SinkError::reconnect(words)
        })
    }

    /// All events but the first ones were refused.
    fn refused(&self, kept: usize, error: &ServerError) -> Reply {
        if let Some(redirect) = self.redirect(error).filter(|_| kept == 0) {
            return Reply::Elsewhere(redirect);
        }
        let refusal = self.refusal(error);
        Reply::Here(
            self.events[kept..]
                .iter()
                .map(|event| (*event, refusal.clone()))
                .collect(),
        )
    }

    fn redirect(&self, error: &ServerError) -> Option<Redirect> {
        let redirect = redirect(error, self.connection.endpoint());
        redirect.filter(|_| self.nodes.is_cluster())
    }

    fn refusal(&self, error: &ServerError) -> Refusal {
        if let Some(redirect) = self.redirect(error) {
            // The slot went there between two commands.
            self.nodes.moved(&redirect);
            let words = format!(
                "the stream {:?} has moved to {}; it goes there the next time",
                self.stream, redirect.to
            );
            return Refusal::new(Action::Retry { after: None }, words);
        }
        let refusal = judge(&format!("the stream {:?}", self.stream), error);
        if refusal.action == Action::Park && self.only_stream {
            let words = format!(
                "{}; every event goes to this stream, so put it right and resume the route",
                refusal.words
            );
            return Refusal::new(Action::Halt, words);
        }
        refusal
    }
}
