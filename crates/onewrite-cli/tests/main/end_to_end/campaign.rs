//! A slice of the campaign of faults that `./x chaos` runs at any length, with every sink.

use std::path::Path;

use onewrite_chaos::campaign::{self, all_faults};
use onewrite_chaos::limits::SHORT_RUN;
use onewrite_chaos::setting::{Feed, Setting, SinkType};

use crate::program::EXECUTABLE;

/// Where the plans come from; `ONEWRITE_SEED` names another for both.
const POLLING_SEED: u64 = 11;
const LOG_SEED: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn polling_keeps_the_promise_to_kafka_while_everything_fails() {
    the_promise_holds_while_everything_fails(Feed::Poll, SinkType::Kafka, POLLING_SEED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_the_promise_to_rabbitmq_while_everything_fails() {
    the_promise_holds_while_everything_fails(Feed::Wal, SinkType::RabbitMq, LOG_SEED).await;
}

async fn the_promise_holds_while_everything_fails(source: Feed, sink: SinkType, seed: u64) {
    let named = std::env::var("ONEWRITE_SEED").ok().and_then(|seed| seed.parse().ok());
    let setting = Setting::new(Path::new(EXECUTABLE), source, sink);
    let report = campaign::run(setting, named.unwrap_or(seed), SHORT_RUN, &all_faults(), |line| {
        println!("{line}")
    })
    .await;
    let verdict = report.verdict.as_ref().expect("it was judged");
    println!("{}\n{verdict}", report.command);
    assert!(report.violations().is_empty(), "{:#?}", report.violations());
    assert!(verdict.committed > 1_000 && verdict.rolled_back > 0, "{verdict}");
}
