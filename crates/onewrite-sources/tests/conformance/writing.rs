//! A transaction that lives in a task of its own, since drivers' transactions borrow their connection.

use async_trait::async_trait;
use onewrite::Event;
use onewrite_core::error::BoxError;
use onewrite_testkit::conformance::source::{PlainRow, Transaction};
use tokio::sync::{mpsc, oneshot};

type Answer = oneshot::Sender<Result<(), BoxError>>;

/// What the task is asked to do. Being asked nothing more means a rollback.
pub enum Request {
    Append(Vec<Event>, Answer),
    Insert(PlainRow, Answer),
    Commit(Answer),
    Rollback(Answer),
}

/// The suite's end of it.
pub struct Writing {
    requests: mpsc::UnboundedSender<Request>,
}

impl Writing {
    /// A transaction, and what its task receives.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Request>) {
        let (requests, received) = mpsc::unbounded_channel();
        (Self { requests }, received)
    }

    async fn ask(&self, request: impl FnOnce(Answer) -> Request) -> Result<(), BoxError> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(request(answer))
            .map_err(|_| "the transaction's task has ended")?;
        answered.await?
    }
}

#[async_trait]
impl Transaction for Writing {
    async fn append(&mut self, events: &[Event]) -> Result<(), BoxError> {
        self.ask(|answer| Request::Append(events.to_vec(), answer)).await
    }

    async fn insert(&mut self, row: PlainRow) -> Result<(), BoxError> {
        self.ask(|answer| Request::Insert(row, answer)).await
    }

    async fn commit(self: Box<Self>) -> Result<(), BoxError> {
        self.ask(Request::Commit).await
    }

    async fn rollback(self: Box<Self>) -> Result<(), BoxError> {
        self.ask(Request::Rollback).await
    }
}
