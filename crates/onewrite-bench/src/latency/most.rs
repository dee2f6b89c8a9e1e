//! The greatest rate that is kept up.

use std::time::Duration;

use anyhow::Result;

use super::{Load, Spans, run};
use crate::figures::{Figures, Unit};
use crate::plan::Plan;
use crate::progress::{say, thousands};
use crate::relay::Relay;
use crate::servers::Servers;
use crate::slots;

/// Where the search begins, and the rate at which it gives up.
const FIRST: u32 = 20_000;
const LEAST: u32 = 500;

/// In each run, raises the rate until it is not kept up, and tells the last one that was; nought where none was, as on a machine
/// that is busy with other things.
pub async fn measure(servers: &Servers, plan: &Plan, transaction: usize, figures: &mut Figures) -> Result<()> {
    servers.warm_up(plan).await?;
    for feed in &plan.feeds {
        for _ in 0..plan.runs {
            let (database, configuration) = servers.outbox(&format!("bench-most-{feed}"), *feed).await?;
            let relay = Relay::start(&configuration)?;
            let mut search = Search::new(plan.growth);
            while let Some(rate) = search.rate() {
                let load = Load { rate, transaction };
                let spans = run(servers, &database, &relay, load, plan.warm_up, plan.step).await?;
                let kept = keeps_up(&spans, plan.step);
                let word = if kept { "kept up" } else { "not kept up" };
                say(format!("  {} events/s are {word}", thousands(rate.into())));
                search.tried(spans, kept);
            }
            relay.stop().await?;
            slots::drop_left(&database).await?;
            let (rate, spans) = search.outcome();
            figures.note(format!("greatest rate kept up, {feed}"), Unit::PerSecond, rate.into());
            spans.note(figures, *feed, "");
        }
    }
    Ok(())
}

/// Neither the writers nor the relay fell behind the schedule by more than a tenth of the time.
fn keeps_up(spans: &Spans, lasting: Duration) -> bool {
    spans.schedule.p99 < lasting.as_secs_f64() * 1e3 / 10.0
}

/// Goes down by halves to a rate that is kept up, and from there up to one that is not.
struct Search<Found> {
    growth: f64,
    next: Option<u32>,
    /// The greatest rate that was kept up, and what was found at it; before there is one, nought and what was found last.
    best: Option<(u32, Found)>,
    /// A rate that was not kept up.
    limit: Option<u32>,
}

impl<Found> Search<Found> {
    fn new(growth: f64) -> Self {
        Self {
            growth,
            next: Some(FIRST),
            best: None,
            limit: None,
        }
    }

    fn rate(&self) -> Option<u32> {
        self.next
    }

    fn tried(&mut self, found: Found, kept: bool) {
        let rate = self.next.expect("a rate was tried");
        let has_best = self.best.as_ref().is_some_and(|(best, _)| *best > 0);
        self.next = if kept {
            self.best = Some((rate, found));
            let higher = (f64::from(rate) * self.growth) as u32;
            self.limit.is_none_or(|limit| higher < limit).then_some(higher)
        } else {
            self.limit = Some(rate);
            if !has_best {
                self.best = Some((0, found));
            }
            (!has_best && rate / 2 >= LEAST).then_some(rate / 2)
        };
    }

    fn outcome(self) -> (u32, Found) {
        self.best.expect("at least one rate was tried")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(growth: f64, most: u32) -> (Vec<u32>, u32) {
        let mut search = Search::new(growth);
        let mut rates = Vec::new();
        while let Some(rate) = search.rate() {
            rates.push(rate);
            search.tried(rate, rate <= most);
        }
        let (rate, found) = search.outcome();
        assert!(rate == found || rate == 0);
        (rates, rate)
    }

    #[test]
    fn the_search_ends_at_the_last_rate_that_was_kept_up() {
        assert_eq!(search(2.0, 50_000), (vec![20_000, 40_000, 80_000], 40_000));
        assert_eq!(search(2.0, 6_000), (vec![20_000, 10_000, 5_000], 5_000));
        assert_eq!(search(1.5, 8_000), (vec![20_000, 10_000, 5_000, 7_500], 7_500));
    }

    #[test]
    fn the_search_ends_where_nothing_is_kept_up() {
        assert_eq!(search(2.0, 0), (vec![20_000, 10_000, 5_000, 2_500, 1_250, 625], 0));
    }
}
