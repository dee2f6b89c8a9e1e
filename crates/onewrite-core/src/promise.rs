//! The promise I1 to I4, checked: what applications committed, against what the broker holds.
//!
//! The checker knows nothing of how events travel. It compares a [`Ledger`], kept in the same transactions as the events, with
//! what an independent consumer read back.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;
use uuid::Uuid;

/// What became of the transactions: the truth to compare with.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    committed: HashMap<Uuid, Option<(String, u64)>>,
    rolled_back: HashSet<Uuid>,
}

impl Ledger {
    /// Notes an event whose transaction committed; `place` is its key and its number among the committed events of that key,
    /// in the order of commits.
    pub fn committed(&mut self, id: Uuid, place: Option<(String, u64)>) {
        self.committed.insert(id, place);
    }

    /// Notes an event whose transaction rolled back.
    pub fn rolled_back(&mut self, id: Uuid) {
        self.rolled_back.insert(id);
    }

    /// How many events are committed.
    pub fn len(&self) -> usize {
        self.committed.len()
    }

    /// Whether nothing is committed.
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty()
    }

    /// Compares with what was found.
    pub fn judge(&self, found: &Found) -> Verdict {
        let mut verdict = Verdict {
            committed: self.committed.len() as u64,
            rolled_back: self.rolled_back.len() as u64,
            parked: found.parked.len() as u64,
            ..Verdict::default()
        };
        let seen = self.judge_deliveries(found, &mut verdict);
        for id in self.committed.keys() {
            if !seen.contains(id) && !found.parked.contains(id) {
                verdict.lost.note(|| id.to_string());
            }
        }
        if let Some(effects) = &found.effects {
            verdict.effects = Some(self.judge_effects(effects, found));
        }
        verdict
    }

    fn judge_deliveries(&self, found: &Found, verdict: &mut Verdict) -> HashSet<Uuid> {
        let mut seen = HashSet::with_capacity(found.deliveries.len());
        let mut last: HashMap<&str, u64> = HashMap::new();
        for id in &found.deliveries {
            verdict.deliveries += 1;
            if !seen.insert(*id) {
                verdict.duplicates += 1;
                continue;
            }
            let Some(place) = self.committed.get(id) else {
                let origin = if self.rolled_back.contains(id) {
                    "rolled back"
                } else {
                    "never written"
                };
                verdict.phantom.note(|| format!("{id} ({origin})"));
                continue;
            };
            // A parked event that an operator had delivered later is out of its place knowingly.
            let Some((key, number)) = place.as_ref().filter(|_| !found.ever_parked.contains(id)) else {
                continue;
            };
            let last = last.entry(key).or_default();
            if number < last {
                verdict
                    .reordered
                    .note(|| format!("key {key:?}: number {number} arrived after {last}"));
            }
            *last = (*last).max(*number);
        }
        seen
    }

    fn judge_effects(&self, effects: &HashMap<Uuid, u64>, found: &Found) -> Examples {
        let mut wrong = Examples::default();
        for id in self.committed.keys().filter(|id| !found.parked.contains(id)) {
            match effects.get(id).copied().unwrap_or_default() {
                1 => {}
                count => wrong.note(|| format!("{id} applied {count} times")),
            }
        }
        for id in effects.keys().filter(|id| !self.committed.contains_key(id)) {
            wrong.note(|| format!("{id} applied, though never committed"));
        }
        wrong
    }
}

/// What was found at the other end.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The ids that the broker holds, duplicates included, in an order that keeps the broker's order inside each key.
    pub deliveries: Vec<Uuid>,
    /// The ids that are parked now.
    pub parked: HashSet<Uuid>,
    /// The ids that were ever parked, so that their place among the others says nothing.
    pub ever_parked: HashSet<Uuid>,
    /// How often a consumer with an inbox applied each id, where there is one.
    pub effects: Option<HashMap<Uuid, u64>>,
}

/// Violations of one rule: how many, and the first few in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examples {
    /// How many there are.
    pub count: u64,
    /// The first few.
    pub first: Vec<String>,
}

impl Examples {
    const SHOWN: usize = 5;

    /// Notes one more.
    pub fn note(&mut self, words: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < Self::SHOWN {
            self.first.push(words());
        }
    }
}

/// The checker's word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Events committed.
    pub committed: u64,
    /// Events rolled back.
    pub rolled_back: u64,
    /// Events parked now.
    pub parked: u64,
    /// Deliveries that the broker holds.
    pub deliveries: u64,
    /// Deliveries of an id that had arrived before: allowed, counted.
    pub duplicates: u64,
    /// I1: committed, but neither delivered nor parked.
    pub lost: Examples,
    /// I2: delivered, but not committed.
    pub phantom: Examples,
    /// I3: first deliveries of a key out of the order of commits.
    pub reordered: Examples,
    /// I4: not applied exactly once by the consumer with an inbox; `None` where there was no such consumer.
    pub effects: Option<Examples>,
}

impl Verdict {
    /// Whether everything that was checked holds.
    pub fn holds(&self) -> bool {
        let rules = [
            Some(&self.lost),
            Some(&self.phantom),
            Some(&self.reordered),
            self.effects.as_ref(),
        ];
        rules.into_iter().flatten().all(|examples| examples.count == 0)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            committed,
            rolled_back,
            parked,
            deliveries,
            duplicates,
            ..
        } = self;
        writeln!(
            formatter,
            "committed {committed}, rolled back {rolled_back}; arrived {deliveries}, of them repeated {duplicates}; parked {parked}"
        )?;
        let rules = [
            (
                "I1 no loss",
                "every committed event arrived or is parked",
                Some(&self.lost),
            ),
            (
                "I2 no phantom",
                "nothing arrived that was not committed",
                Some(&self.phantom),
            ),
            (
                "I3 order",
                "each key's events first arrived in the order of commits",
                Some(&self.reordered),
            ),
            (
                "I4 one effect",
                "the inbox let each event take effect once",
                self.effects.as_ref(),
            ),
        ];
        for (name, meaning, examples) in rules {
            let Some(Examples { count, first }) = examples else {
                continue;
            };
            let verdict = if *count == 0 {
                "holds".to_owned()
            } else {
                format!("BROKEN {count}")
            };
            writeln!(formatter, "  {name:<14} {verdict:<12} {meaning}")?;
            for example in first {
                writeln!(formatter, "    {example}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        for number in 1..=3 {
            ledger.committed(id(number), Some(("k".into(), number as u64)));
        }
        ledger.rolled_back(id(9));
        ledger
    }

    fn found(numbers: &[u128]) -> Found {
        Found {
            deliveries: numbers.iter().copied().map(id).collect(),
            ..Found::default()
        }
    }

    #[test]
    fn duplicates_are_counted_and_allowed() {
        let verdict = ledger().judge(&found(&[1, 2, 1, 3, 2]));
        assert!(verdict.holds(), "{verdict}");
        assert_eq!(verdict.duplicates, 2);
    }

    #[test]
    fn each_rule_is_broken_by_its_own_kind_of_violation() {
        assert_eq!(ledger().judge(&found(&[1, 3])).lost.count, 1);
        assert_eq!(
            ledger().judge(&found(&[1, 2, 3, 9])).phantom.first,
            [format!("{} (rolled back)", id(9))]
        );
        assert_eq!(
            ledger().judge(&found(&[1, 3, 2])).reordered.first,
            ["key \"k\": number 2 arrived after 3"]
        );
        let effects = HashMap::from([(id(1), 1), (id(2), 2), (id(3), 1)]);
        let verdict = ledger().judge(&Found {
            effects: Some(effects),
            ..found(&[1, 2, 3])
        });
        assert_eq!(verdict.effects.as_ref().map(|examples| examples.count), Some(1));
        assert!(!verdict.holds() && verdict.to_string().contains("I4 one effect  BROKEN 1"));
    }

    #[test]
    fn a_parked_event_is_neither_lost_nor_out_of_order() {
        let parked = HashSet::from([id(2)]);
        let verdict = ledger().judge(&Found {
            parked: parked.clone(),
            ever_parked: parked,
            ..found(&[1, 3])
        });
        assert!(verdict.holds(), "{verdict}");
        let verdict = ledger().judge(&Found {
            ever_parked: HashSet::from([id(2)]),
            ..found(&[1, 3, 2])
        });
        assert!(verdict.holds(), "{verdict}");
    }
}
