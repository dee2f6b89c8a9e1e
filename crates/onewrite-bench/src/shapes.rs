//! Backlogs of events of other shapes, and of other lengths.

use anyhow::Result;

use crate::drain::{fill, relay};
use crate::figures::{Figures, Goal, Unit};
use crate::plan::{Feed, Plan};
use crate::progress::thousands;
use crate::servers::Servers;
use crate::slots;
use crate::workload::{Shape, TOPIC, Workload, topic};

/// The drain of the longest backlog against that of the shortest.
const BACKLOG_GOAL: Goal = Goal::at_least(0.9);

/// Lengths of backlogs, as far as the events reach.
const BACKLOGS: [usize; 3] = [100_000, 1_000_000, 10_000_000];

/// Fills an outbox once, and drains it in each run by a relay of each feed, of a new name.
pub async fn measure(servers: &Servers, plan: &Plan, shape: Shape, fewer: usize, figures: &mut Figures) -> Result<()> {
    let events = plan.events / fewer;
    let (database, _) = servers.outbox("bench-shape", Feed::Auto).await?;
    fill(&Workload::of(shape), &database, events).await?;
    for number in 1..=plan.runs {
        for feed in &plan.feeds {
            let mut configuration = servers.configuration(&format!("bench-shape-{feed}-{number}"), &database, *feed);
            configuration.more = (1..shape.routes).map(route).collect();
            let drained = relay::drain(servers, &configuration, events).await?;
            slots::drop_left(&database).await?;
            drained.note(figures, events, &feed.to_string());
        }
    }
    Ok(())
}

/// Drains backlogs of several lengths, each out of an outbox of its own. The rate is that from the first arrival on: the start of
/// the process would count for more the shorter a backlog is.
pub async fn backlogs(servers: &Servers, plan: &Plan, figures: &mut Figures) -> Result<()> {
    let name = |events: usize, feed: Feed| format!("backlog of {}, {feed}", thousands(events as f64));
    let (workload, lengths) = (Workload::new(), lengths(plan.events));
    for events in &lengths {
        let (database, _) = servers.outbox("bench-backlog", Feed::Auto).await?;
        fill(&workload, &database, *events).await?;
        for number in 1..=plan.runs {
            for feed in &plan.feeds {
                let relay = format!("bench-backlog-{feed}-{number}");
                let configuration = servers.configuration(&relay, &database, *feed);
                let drained = relay::drain(servers, &configuration, *events).await?;
                slots::drop_left(&database).await?;
                figures.note(name(*events, *feed), Unit::PerSecond, drained.steady);
            }
        }
    }
    let (shortest, longest) = (lengths[0], lengths[lengths.len() - 1]);
    for feed in &plan.feeds {
        let [short, long] = [shortest, longest].map(|events| thousands(events as f64));
        let ratio = format!("backlog of {long} / of {short}, {feed}");
        figures.compare(&ratio, &name(longest, *feed), &name(shortest, *feed));
        figures.expect(&ratio, BACKLOG_GOAL);
    }
    Ok(())
}

/// At least two: where the events are too few for that, all of them and a fifth.
fn lengths(events: usize) -> Vec<usize> {
    let lengths: Vec<usize> = BACKLOGS.into_iter().filter(|length| *length <= events).collect();
    match lengths[..] {
        [_, _, ..] => lengths,
        _ => vec![events / 5, events],
    }
}

/// Another route, to the same topic of the broker, where all events are counted.
fn route(number: usize) -> String {
    let topic = topic(number);
    format!(
        "[[routes]]\nname = \"route-{number}\"\nmatch = {{ topic = {topic:?} }}\nsink = \"events\"\ntopic = \"{TOPIC}\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::lengths;

    #[test]
    fn there_are_at_least_two_backlogs() {
        assert_eq!(lengths(50_000), [10_000, 50_000]);
        assert_eq!(lengths(1_000_000), [100_000, 1_000_000]);
        assert_eq!(lengths(10_000_000), [100_000, 1_000_000, 10_000_000]);
    }
}
