//! What became of the messages of one channel in confirm mode.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::failure::Failure;

/// The broker's word on one message.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Acknowledged, and not returned: it is in every queue that it was to go to.
    Kept,
    /// Returned: it went into no queue.
    Returned {
        /// The reply code, such as 312.
        code: u16,
        /// The reply text, such as `NO_ROUTE`.
        words: String,
    },
    /// Negatively acknowledged: a queue refused it.
    Refused,
    /// Nobody knows: the channel ended before the broker's word.
    Unknown(Failure),
}

/// Messages without the broker's word.
#[derive(Default)]
pub struct Confirms {
    published: u64,
    pending: BTreeMap<u64, Pending>,
}

struct Pending {
    event: Uuid,
    returned: Option<Verdict>,
    verdict: oneshot::Sender<Verdict>,
}

/// A word of the broker's about messages that it was never sent: nothing that it says can be relied upon.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("RabbitMQ speaks of a message that it was not sent, or has spoken of before")]
pub struct Senseless;

impl Confirms {
    /// Notes a message in the order in which they are written, which is how both sides number them.
    pub fn published(&mut self, event: Uuid) -> oneshot::Receiver<Verdict> {
        self.published += 1;
        let (verdict, receiver) = oneshot::channel();
        let pending = Pending {
            event,
            returned: None,
            verdict,
        };
        self.pending.insert(self.published, pending);
        receiver
    }

    /// Notes that the message of an event was returned. A return names no number, but what was published comes back with it, the
    /// event's id among its properties. Its acknowledgement follows, but those of others may come first. Where the event is
    /// on its way twice, since a delivery was given up in between, nobody knows which of the two it was: then neither counts as
    /// kept, and the worst that follows is a repetition.
    pub fn returned(&mut self, event: Uuid, verdict: &Verdict) -> Result<(), Senseless> {
        let mut known = false;
        for pending in self.pending.values_mut().filter(|pending| pending.event == event) {
            pending.returned.get_or_insert_with(|| verdict.clone());
            known = true;
        }
        if known { Ok(()) } else { Err(Senseless) }
    }

    /// Notes an acknowledgement, `kept` or negative, of one message, or of all up to it; number 0 stands for all.
    pub fn answered(&mut self, number: u64, multiple: bool, kept: bool) -> Result<(), Senseless> {
        if number > self.published {
            return Err(Senseless);
        }
        if !multiple {
            settle(self.pending.remove(&number).ok_or(Senseless)?, kept);
            return Ok(());
        }
        let later = match number {
            0 => BTreeMap::new(),
            _ => self.pending.split_off(&(number + 1)),
        };
        for pending in std::mem::replace(&mut self.pending, later).into_values() {
            settle(pending, kept);
        }
        Ok(())
    }

    /// Ends the wait, and returns the events whose messages the broker never spoke of.
    pub fn fail(&mut self, failure: &Failure) -> Vec<Uuid> {
        let pending = std::mem::take(&mut self.pending).into_values();
        pending
            .map(|pending| {
                tell(pending.verdict, Verdict::Unknown(failure.clone()));
                pending.event
            })
            .collect()
    }
}

fn settle(pending: Pending, kept: bool) {
    let verdict = match pending.returned {
        Some(returned) => returned,
        None if kept => Verdict::Kept,
        None => Verdict::Refused,
    };
    tell(pending.verdict, verdict);
}

fn tell(to: oneshot::Sender<Verdict>, verdict: Verdict) {
    // A delivery that was given up does not wait any more.
    let _ = to.send(verdict);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> Uuid {
        Uuid::from_u128(number.into())
    }

    fn no_route() -> Verdict {
        Verdict::Returned {
            code: 312,
            words: "NO_ROUTE".into(),
        }
    }

    fn word(receiver: &mut oneshot::Receiver<Verdict>) -> &'static str {
        match receiver.try_recv() {
            Ok(Verdict::Kept) => "kept",
            Ok(Verdict::Returned { .. }) => "returned",
            Ok(Verdict::Refused) => "refused",
            Ok(Verdict::Unknown(_)) => "unknown",
            Err(_) => "pending",
        }
    }

    #[test]
    fn a_return_belongs_to_its_own_message_whatever_is_acknowledged_in_between() {
        let mut confirms = Confirms::default();
        let mut receivers: Vec<_> = (1..=4).map(|number| confirms.published(id(number))).collect();
        confirms.returned(id(3), &no_route()).unwrap();
        confirms.answered(1, false, true).unwrap();
        confirms.answered(3, true, true).unwrap();
        let words: Vec<_> = receivers.iter_mut().map(word).collect();
        assert_eq!(words, ["kept", "kept", "returned", "pending"]);
        let failure = Failure::ended("over");
        assert_eq!(confirms.fail(&failure), [id(4)]);
        assert_eq!(word(&mut receivers[3]), "unknown");
    }

    #[test]
    fn of_an_event_that_is_on_its_way_twice_neither_is_kept_where_one_was_returned() {
        let mut confirms = Confirms::default();
        let mut receivers = [1, 1, 2].map(|number| confirms.published(id(number)));
        confirms.returned(id(1), &no_route()).unwrap();
        confirms.answered(1, false, false).unwrap();
        confirms.answered(3, true, true).unwrap();
        let words: Vec<_> = receivers.iter_mut().map(word).collect();
        assert_eq!(words, ["returned", "returned", "kept"]);
    }

    #[test]
    fn what_makes_no_sense_is_not_taken_for_an_answer() {
        let mut confirms = Confirms::default();
        let mut first = confirms.published(id(1));
        assert_eq!(confirms.returned(id(2), &no_route()), Err(Senseless));
        assert_eq!(confirms.answered(2, true, true), Err(Senseless));
        confirms.answered(0, true, false).unwrap();
        assert_eq!(word(&mut first), "refused");
        assert_eq!(confirms.answered(1, false, true), Err(Senseless));
    }

    proptest! {
        #[test]
        fn every_message_gets_the_word_that_was_meant_for_it(
            meant in prop::collection::vec(0_u8..3, 1..40),
            order in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 80),
        ) {
            let mut confirms = Confirms::default();
            let mut receivers: Vec<_> = (0..meant.len() as u64)
                .map(|number| confirms.published(id(number)))
                .collect();
            for (number, word) in meant.iter().enumerate() {
                if *word == 1 {
                    confirms.returned(id(number as u64), &no_route()).unwrap();
                }
            }
            let mut open: Vec<usize> = (0..meant.len()).collect();
            for (which, multiple) in order {
                if open.is_empty() {
                    break;
                }
                let last = open[which.index(open.len())];
                let kept = meant[last] != 2;
                // Many at once only where the same is meant of all of them.
                let several: Vec<usize> = open.iter().copied().filter(|number| *number <= last).collect();
                let multiple = multiple && several.iter().all(|number| (meant[*number] != 2) == kept);
                confirms.answered(last as u64 + 1, multiple, kept).unwrap();
                open.retain(|number| *number != last && !(multiple && *number < last));
            }
            for (number, receiver) in receivers.iter_mut().enumerate() {
                let expected = match meant[number] {
                    _ if open.contains(&number) => "pending",
                    0 => "kept",
                    1 => "returned",
                    _ => "refused",
                };
                prop_assert_eq!(word(receiver), expected);
            }
        }
    }
}
