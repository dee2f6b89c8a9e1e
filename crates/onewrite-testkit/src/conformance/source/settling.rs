//! Cases of settling.

use onewrite_core::BatchLimit;

use super::SourceHarness;
use super::session::{Session, events, exactly, sourced_ids};
use crate::conformance::Wrong;

pub(super) async fn what_is_settled_never_comes_again_and_the_rest_does(
    harness: &mut dyn SourceHarness,
) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let written = events(100, 4);
    session.commit(&written[..60]).await?;
    session.commit(&written[60..]).await?;
    // In steps, each the end of an incarnation: in the middle of what one snapshot sees, at its end, past all of it.
    let mut settled = 0;
    for (read, settle) in [(10, 4), (30, 30), (26, 26), (40, 0), (40, 1), (39, 39)] {
        let mut feed = session.feed().await?;
        let mut handed_out = Vec::new();
        while handed_out.len() < read {
            let limit = BatchLimit {
                events: read - handed_out.len(),
                bytes: 1 << 20,
            };
            let some = feed.read(limit).await?;
            if some.is_empty() {
                break;
            }
            handed_out.extend(some);
        }
        let due = &written[settled..(settled + read).min(written.len())];
        let when = format!("after {settled} events were settled");
        exactly(due, &handed_out).map_err(|wrong| wrong.when(&when))?;
        if settle > 0 {
            feed.settle_through(Some(handed_out[settle - 1].position), &[]).await?;
            settled += settle;
        }
    }
    exactly(&[], &session.feed().await?.rest().await?)
}

pub(super) async fn pending_events_come_again_and_alone(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let written = events(50, 50);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    let left: Vec<_> = handed_out.iter().step_by(3).cloned().collect();
    let positions: Vec<_> = left.iter().map(|sourced| sourced.position).collect();
    feed.settle(&positions).await?;

    let due: Vec<_> = written
        .iter()
        .filter(|event| sourced_ids(&left).contains(&event.id))
        .cloned()
        .collect();
    let mut feed = session.feed().await?;
    let again = feed
        .read(BatchLimit {
            events: 5,
            bytes: 1 << 20,
        })
        .await?;
    exactly(&due[..5], &again)?;
    // The first two are settled now; the incarnation ends before it has read the others.
    feed.settle_through(Some(again[1].position), &[]).await?;
    let mut feed = session.feed().await?;
    let later = events(5, 5);
    session.commit(&later).await?;
    let again = feed.until(due.len() - 2 + later.len()).await?;
    exactly(&[&due[2..], &later].concat(), &again)?;
    // One of the old stays pending while the floor goes on past everything new.
    feed.settle(&[again[0].position]).await?;
    let mut feed = session.feed().await?;
    let again = feed.rest().await?;
    exactly(&due[2..3], &again)?;
    feed.settle(&[]).await?;
    exactly(&[], &session.feed().await?.rest().await?)
}

pub(super) async fn a_settlement_can_be_repeated(harness: &mut dyn SourceHarness) -> Result<(), Wrong> {
    let session = Session::new(harness).await?;
    let written = events(20, 2);
    session.commit(&written).await?;
    let mut feed = session.feed().await?;
    let handed_out = feed.rest().await?;
    let pending = [handed_out[3].position];
    let through = Some(handed_out[9].position);
    feed.settle_through(through, &pending).await?;
    feed.settle_through(through, &pending).await?;
    let due = [&written[3..4], &written[10..]].concat();
    exactly(&due, &session.feed().await?.rest().await?)
}
