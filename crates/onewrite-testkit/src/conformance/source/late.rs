//! Cases of transactions that overlap.

use super::SourceHarness;
use super::session::{Session, event, events, exactly};
use crate::conformance::Wrong;

pub(super) async fn a_late_commit_with_an_earlier_sequence_comes(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    if !harness.writers_overlap() {
        return Ok(());
    }
    let session = Session::new(harness).await?;
    let mut feed = session.feed().await?;
    let (early, later, last) = (
        events(3, 1),
        [event("shop.orders", Some("b"))],
        [event("shop.orders", Some("c"))],
    );
    let mut slow = session.begin().await?;
    slow.append(&early).await?;
    session.commit(&later).await?;
    let mut handed_out = feed.until(1).await?;
    exactly(&later, &handed_out)?;
    feed.settle(&[]).await?;
    // Past the settlement, in this incarnation and in the next.
    let mut next = session.feed().await?;
    exactly(&[], &next.rest().await?)?;
    slow.commit().await?;
    session.commit(&last).await?;
    handed_out = feed.until(early.len() + 1).await?;
    let due = [early.as_slice(), last.as_slice()].concat();
    exactly(&due, &handed_out)?;
    exactly(&due, &next.until(early.len() + 1).await?)
}

pub(super) async fn writers_of_one_key_come_in_the_order_of_their_commits(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    if !harness.writers_overlap() {
        return Ok(());
    }
    let session = Session::new(harness).await?;
    let mut feed = session.feed().await?;
    let (mut written, mut handed_out) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let (first, second) = (events(2, 1), events(2, 1));
        let mut holder = session.begin().await?;
        // Draws its place before the other, but for another key.
        let mut waiter = session.begin().await?;
        let other = [event("shop.orders", Some("other"))];
        waiter.append(&other).await?;
        holder.append(&first).await?;
        let waiting = async {
            waiter.append(&second).await?;
            waiter.commit().await
        };
        let committing = async {
            let some = feed.rest().await?;
            holder.commit().await?;
            Ok::<_, Wrong>(some)
        };
        let (waited, some) = tokio::join!(waiting, committing);
        waited?;
        handed_out.extend(some?);
        written.extend([first, second, other.to_vec()].concat());
    }
    handed_out.extend(feed.until(written.len() - handed_out.len()).await?);
    exactly(&written, &handed_out)
}
