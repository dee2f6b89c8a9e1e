//! How long events took, from the moment that COMMIT returned to the moment that they were read at the broker.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::trial::Outcome;

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// How many events were measured.
    pub events: u64,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// 999 of 1,000 took no longer.
    pub p999_ms: f64,
    /// None took longer.
    pub max_ms: f64,
}

/// Of the events that no fault touched, and of all.
pub fn latencies(outcome: &Outcome) -> (Option<Latency>, Option<Latency>) {
    let (mut untouched, mut all) = (histogram(), histogram());
    for (id, noted) in outcome.book.committed() {
        let Some(seen) = outcome.seen.first(&id) else { continue };
        // The broker may have it before the writer hears that it is committed.
        let took = seen.saturating_duration_since(noted.known);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        all.saturating_record(microseconds);
        if !outcome.faults.iter().any(|fault| fault.touches(noted.known, seen)) {
            untouched.saturating_record(microseconds);
        }
    }
    (latency(&untouched), latency(&all))
}

/// Microseconds up to a day, to three digits.
fn histogram() -> Histogram<u64> {
    const DAY: u64 = 24 * 3600 * 1_000_000;
    Histogram::new_with_bounds(1, DAY, 3).expect("these bounds are valid")
}

fn latency(histogram: &Histogram<u64>) -> Option<Latency> {
    #[expect(clippy::cast_precision_loss, reason = "three digits are measured")]
    let milliseconds = |microseconds: u64| microseconds as f64 / 1_000.0;
    let quantile = |quantile| milliseconds(histogram.value_at_quantile(quantile));
    (!histogram.is_empty()).then(|| Latency {
        events: histogram.len(),
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
        p999_ms: quantile(0.999),
        max_ms: milliseconds(histogram.max()),
    })
}
