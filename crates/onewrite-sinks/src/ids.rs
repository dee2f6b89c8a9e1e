//! Ids of events that are remembered for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// The ids that were noted last. Past the most that are remembered, the one that was noted longest ago is forgotten.
pub struct Ids {
    most: usize,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    places: HashMap<Uuid, u64>,
    by_place: BTreeMap<u64, Uuid>,
    next: u64,
}

impl Ids {
    /// None yet, and at most so many.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            noted: Mutex::default(),
        }
    }

    /// Remembers an id, as the latest.
    pub fn note(&self, id: Uuid) {
        let mut noted = self.lock();
        let place = noted.next;
        noted.next += 1;
        if let Some(before) = noted.places.insert(id, place) {
            noted.by_place.remove(&before);
        }
        noted.by_place.insert(place, id);
        if noted.places.len() > self.most
            && let Some((_, oldest)) = noted.by_place.pop_first()
        {
            noted.places.remove(&oldest);
        }
    }

    /// Whether it is remembered.
    pub fn contains(&self, id: Uuid) -> bool {
        self.lock().places.contains_key(&id)
    }

    /// Forgets an id, and says whether it was remembered.
    pub fn forget(&self, id: Uuid) -> bool {
        let mut noted = self.lock();
        let place = noted.places.remove(&id);
        place.is_some_and(|place| noted.by_place.remove(&place).is_some())
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered() {
        let ids = Ids::new(2);
        let [one, two, three] = [1, 2, 3].map(Uuid::from_u128);
        ids.note(one);
        ids.note(two);
        ids.note(one);
        ids.note(three);
        assert!(ids.contains(one) && !ids.contains(two) && ids.contains(three));
        assert!(ids.forget(one) && !ids.forget(one) && !ids.forget(two));
        ids.note(two);
        assert!(ids.contains(two) && ids.contains(three));
    }
}
