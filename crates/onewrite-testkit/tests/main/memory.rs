//! The adapters in memory pass the suites that everybody must pass.

use onewrite_testkit::conformance::{sink, source};

use crate::harness::{BrokerHarness, DatabaseHarness};

#[tokio::test(start_paused = true)]
async fn the_sink_in_memory_passes() {
    sink::check(&mut BrokerHarness::plain())
        .await
        .unwrap_or_else(|broken| panic!("{broken}"));
}

#[tokio::test(start_paused = true)]
async fn the_source_in_memory_passes() {
    source::check(&mut DatabaseHarness::plain())
        .await
        .unwrap_or_else(|broken| panic!("{broken}"));
}
