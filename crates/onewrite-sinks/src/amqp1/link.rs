//! One link to one address, owned by a task.
//!
//! A future that sends is never dropped in the middle: a message of several frames would be left half sent, and the link's credit
//! miscounted. So the link belongs to a task that takes messages by a channel; who gives up waiting leaves the task undisturbed,
//! and a message whose sender has gone before its turn is not sent.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use fe2o3_amqp::link::delivery::DeliveryFut;
use fe2o3_amqp::link::{LinkStateError, SendError};
use fe2o3_amqp::types::messaging::{Data, Outcome};
use fe2o3_amqp::{Sendable, Sender};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::refusal::{Refusal, is_of_size, of_link, of_send};
use super::settings::Settings;
use crate::keyed::StartWindow;
use crate::limits::{AMQP1_CLOSE_TIMEOUT, AMQP1_CREDIT_TIMEOUT, AMQP1_LINK_QUEUE};

/// The outcome of a message that was sent, to come.
pub(super) struct Settlement {
    outcome: DeliveryFut<Result<Outcome, SendError>>,
    unsettled: Arc<AtomicUsize>,
}

impl Settlement {
    /// Waits for it.
    pub(super) async fn outcome(self) -> Result<Outcome, SendError> {
        let outcome = self.outcome.await;
        if outcome.is_ok() {
            self.unsettled.fetch_sub(1, Ordering::AcqRel);
        }
        outcome
    }
}

/// An attached link. It detaches when the last of its users has gone.
pub(super) struct Link {
    requests: mpsc::Sender<Request>,
    ended: Arc<OnceLock<Ended>>,
}

/// Why a link takes no more messages.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub refusal: Refusal,
    /// Whether another link may do better at once.
    pub again: bool,
}

/// Why a message was not delivered.
pub(super) enum Unsent {
    /// The link ended before the whole of it was sent.
    Ended(Ended),
    /// It was sent, or could not be.
    Refused(Refusal),
}

struct Request {
    message: Sendable<Data>,
    start: StartWindow,
    answer: oneshot::Sender<Result<Settlement, Unsent>>,
}

impl Link {
    /// `left_behind` is set when the link ends, and before that is known, where it has sent what the broker did not settle.
    pub(super) fn new(
        settings: Arc<Settings>,
        address: String,
        known: bool,
        sender: Sender,
        left_behind: Arc<AtomicBool>,
    ) -> Self {
        let (requests, waiting) = mpsc::channel(AMQP1_LINK_QUEUE);
        let ended = Arc::new(OnceLock::new());
        let task = Task {
            settings,
            address,
            known,
            ended: Arc::clone(&ended),
            unsettled: Arc::default(),
            left_behind,
        };
        tokio::spawn(task.run(sender, waiting));
        Self { requests, ended }
    }

    /// Why it takes no more messages, where it does not.
    pub(super) fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }

    /// Sends a message, if its turn comes in time; its outcome is to come.
    pub(super) async fn send(&self, message: Sendable<Data>, start: StartWindow) -> Result<Settlement, Unsent> {
        let (answer, answered) = oneshot::channel();
        let request = Request { message, start, answer };
        // Where the task has gone, the answer says so too.
        let _ = self.requests.send(request).await;
        answered.await.unwrap_or_else(|_| Err(Unsent::Ended(self.end())))
    }

    fn end(&self) -> Ended {
        self.ended().cloned().unwrap_or_else(|| Ended {
            refusal: Refusal::retry("the link has ended"),
            again: true,
        })
    }
}

struct Task {
    settings: Arc<Settings>,
    address: String,
    known: bool,
    ended: Arc<OnceLock<Ended>>,
    /// Messages that were sent, and that the broker is not known to have settled.
    unsettled: Arc<AtomicUsize>,
    left_behind: Arc<AtomicBool>,
}

impl Task {
    async fn run(self, mut sender: Sender, mut requests: mpsc::Receiver<Request>) {
        let ended = loop {
            let request = tokio::select! {
                biased;
                error = sender.on_detach() => break self.detached(&error.into()),
                request = requests.recv() => request,
            };
            let Some(request) = request else {
                self.leave();
                // Nobody waits for anything any more. What the broker says to a farewell changes nothing.
                let _ = timeout(AMQP1_CLOSE_TIMEOUT, sender.close()).await;
                return;
            };
            if request.answer.is_closed() {
                continue;
            }
            if let Err(late) = request.start.check() {
                // Who does not wait any more needs no answer.
                let _ = request.answer.send(Err(Unsent::Refused(Refusal::late(&late))));
                continue;
            }
            if let Some(ended) = self.send(&mut sender, request).await {
                break ended;
            }
        };
        self.leave();
        let ended = self.ended.get_or_init(|| ended).clone();
        requests.close();
        // Dropped here, it tells the broker, and fails what is still under way.
        drop(sender);
        while let Some(request) = requests.recv().await {
            // Who does not wait any more needs no answer.
            let _ = request.answer.send(Err(Unsent::Ended(ended.clone())));
        }
    }

    /// Sends one message. Something: the link has ended.
    async fn send(&self, sender: &mut Sender, request: Request) -> Option<Ended> {
        let Request { message, answer, .. } = request;
        let (answered, ended) = match timeout(AMQP1_CREDIT_TIMEOUT, sender.send_batchable(message)).await {
            Ok(Ok(outcome)) => {
                self.unsettled.fetch_add(1, Ordering::AcqRel);
                let unsettled = Arc::clone(&self.unsettled);
                (Ok(Settlement { outcome, unsettled }), None)
            }
            Ok(Err(SendError::LinkStateError(error))) => over(self.detached(&error), is_of_size(&error)),
            Ok(Err(SendError::Detached(error))) => {
                let error = error.into();
                over(self.detached(&error), is_of_size(&error))
            }
            Ok(Err(error)) => {
                let refusal = of_send(&self.settings, &self.address, self.known, error);
                (Err(Unsent::Refused(refusal)), None)
            }
            // The future was dropped, which only a link that ends with it may suffer.
            Err(_) => {
                let words = format!(
                    "address {}: the broker gave no credit for {AMQP1_CREDIT_TIMEOUT:?}; it holds its senders back, because the address or \
                     its disk is full",
                    self.address
                );
                // The future was dropped, which only a link that ends with it may suffer.
                let ended = Ended {
                    refusal: Refusal::retry(words),
                    again: false,
                };
                over(ended, false)
            }
        };
        // Known before the answer is.
        if let Some(ended) = &ended {
            self.leave();
            self.ended.get_or_init(|| ended.clone());
        }
        let _ = answer.send(answered);
        ended
    }

    /// Notes what the link leaves behind as it ends.
    fn leave(&self) {
        if self.unsettled.load(Ordering::Acquire) > 0 {
            self.left_behind.store(true, Ordering::Release);
        }
    }

    fn detached(&self, error: &LinkStateError) -> Ended {
        let refusal = of_link(&self.settings, &self.address, self.known, error);
        Ended {
            again: !refusal.whole,
            refusal,
        }
    }
}

/// A link that ended while a message waited for credit or was sent, which cannot be told apart. A broker judges a message when it has the
/// whole of it; only its size it may judge before.
fn over(ended: Ended, of_size: bool) -> (Result<Settlement, Unsent>, Option<Ended>) {
    let unsent = if of_size {
        Unsent::Refused(ended.refusal.clone())
    } else {
        Unsent::Ended(ended.clone())
    };
    (Err(unsent), Some(ended))
}
