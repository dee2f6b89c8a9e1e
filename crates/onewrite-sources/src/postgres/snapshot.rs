//! A PostgreSQL snapshot as the feed compares and records it.

use std::cmp::Reverse;
use std::sync::Arc;

use onewrite_core::{StoreError, StoreFailure};

/// A snapshot, and what is known of the sequence values of the transactions that it does not see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    text: Arc<str>,
    xmin: u64,
    xmax: u64,
    in_progress: Arc<[u64]>,
    /// No row of a transaction at or above `xmax` has a sequence at or below this.
    pub low: i64,
}

impl Snapshot {
    /// The floor of a route that has settled nothing: it sees no transaction.
    pub const NOTHING: &'static str = "1:1:";

    /// Reads PostgreSQL's own text, `xmin:xmax:xid,xid,…`.
    ///
    /// # Errors
    /// `Refused` when the text is no snapshot: somebody changed a progress row by hand.
    pub fn parse(text: &str, low: i64) -> Result<Self, StoreError> {
        let parts = || {
            let mut parts = text.splitn(3, ':');
            let (xmin, xmax, rest) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
            let in_progress = rest.split(',').filter(|xid| !xid.is_empty());
            let in_progress = in_progress.map(|xid| xid.parse().ok()).collect::<Option<Vec<u64>>>()?;
            let ascending = in_progress.is_sorted_by(|earlier, later| earlier < later);
            let between = in_progress.iter().all(|xid| (xmin..xmax).contains(xid));
            (xmin <= xmax && ascending && between).then(|| Self {
                text: text.into(),
                xmin,
                xmax,
                in_progress: in_progress.into(),
                low,
            })
        };
        parts().ok_or_else(|| {
            let words = format!("the recorded progress holds {text:?}, which is not a snapshot such as 750:752:751");
            StoreError::new(StoreFailure::Refused, words)
        })
    }

    /// The same snapshot with a bound that may be higher: that of an earlier one holds as well.
    #[must_use]
    pub fn bounded_like(mut self, earlier: &Self) -> Self {
        self.low = self.low.max(earlier.low);
        self
    }

    /// PostgreSQL's text for it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// One past the last transaction that had ended.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The transactions below [`xmax`](Self::xmax) that had not ended, ascending.
    pub fn in_progress(&self) -> &[u64] {
        &self.in_progress
    }

    /// The transactions that had not ended in this snapshot but had in `later`.
    pub fn ended_until<'a>(&'a self, later: &'a Self) -> impl Iterator<Item = u64> + 'a {
        self.in_progress.iter().copied().filter(|xid| later.sees(*xid))
    }

    /// How much it sees: of two snapshots of one server the greater sees all that the lesser does.
    pub fn extent(&self) -> impl Ord + use<> {
        (self.xmax, self.xmin, Reverse(self.in_progress.len()))
    }

    /// Whether a transaction had ended.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.in_progress.binary_search(&xid).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        Snapshot::parse(text, 0).expect("a snapshot")
    }

    #[test]
    fn what_ended_between_two_snapshots_is_found() {
        let (earlier, later) = (snapshot("10:20:10,12,15"), snapshot("12:30:12,25"));
        assert_eq!(earlier.ended_until(&later).collect::<Vec<_>>(), [10, 15]);
        assert!(
            later.sees(20) && !later.sees(25) && !later.sees(30) && snapshot("1:1:").ended_until(&later).count() == 0
        );
    }

    #[test]
    fn snapshots_of_one_server_are_in_order() {
        let texts = [
            "1:1:",
            "746:746:",
            "746:750:746,748",
            "748:750:748",
            "750:750:",
            "750:751:",
        ];
        assert!(
            texts
                .windows(2)
                .all(|pair| snapshot(pair[0]).extent() < snapshot(pair[1]).extent())
        );
    }

    #[test]
    fn nonsense_is_told() {
        for text in ["", "1", "1:2", "a:2:", "1:2:x", "2:1:", "1:5:3,2", "1:5:5"] {
            assert_eq!(Snapshot::parse(text, 0).unwrap_err().failure, StoreFailure::Refused);
        }
    }
}
