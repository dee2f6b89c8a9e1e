//! Each planted bug is caught, by the case that is about it.

use onewrite_testkit::conformance::{Broken, sink, source};
use onewrite_testkit::faults::{SinkBug, SourceBug, buggy_connector, buggy_outbox};
use onewrite_testkit::memory::MemoryDatabase;

use crate::harness::{BrokerHarness, DatabaseHarness};

async fn sink_with(bug: SinkBug) -> Broken {
    let mut harness = BrokerHarness::wrapped("a sink with a bug", move |inner| buggy_connector(inner, bug));
    let broken = sink::check(&mut harness).await;
    broken.expect_err("the suite catches the bug")
}

async fn source_with(bug: SourceBug) -> Broken {
    let mut harness = DatabaseHarness::wrapped("a source with a bug", move |inner| buggy_outbox(inner, bug));
    let broken = source::check(&mut harness).await;
    broken.expect_err("the suite catches the bug")
}

#[track_caller]
fn assert_caught_by(broken: &Broken, cases: &[&str]) {
    let names = broken.names();
    for case in cases {
        assert!(names.contains(case), "{case} does not catch it:\n{broken}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_settles_before_the_acknowledgement_is_caught() {
    let broken = sink_with(SinkBug::SettleBeforeAck).await;
    let cases = [
        "a_lost_reply_is_unknown_and_the_same_id_arrives_again",
        "a_stopped_broker_takes_nothing_and_parks_nothing",
        "a_slow_broker_makes_nothing_unknown_delivered",
        "a_dropped_delivery_reorders_nothing",
    ];
    assert_caught_by(&broken, &cases);
    let words = broken.to_string();
    assert!(words.starts_with("a sink with a bug: "), "{words}");
    assert!(words.contains("required: ") && words.contains("seen: "), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_takes_what_came_back_for_delivered_is_caught() {
    let broken = sink_with(SinkBug::IgnoresReturned).await;
    let cases = [
        "poison_is_parked_with_words_and_stops_its_key_alone",
        "every_event_has_an_outcome_of_its_own",
        "an_oversized_event_is_parked_alone",
    ];
    assert_caught_by(&broken, &cases);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_whole_batches_is_caught() {
    let broken = sink_with(SinkBug::WholeBatchNack).await;
    let cases = [
        "poison_is_parked_with_words_and_stops_its_key_alone",
        "every_event_has_an_outcome_of_its_own",
        "an_oversized_event_is_parked_alone",
    ];
    assert_caught_by(&broken, &cases);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_reorders_is_caught() {
    let broken = sink_with(SinkBug::Reorder).await;
    let cases = [
        "a_batch_of_two_thousand_arrives_in_order",
        "many_batches_at_once_arrive_in_order",
        "a_broker_killed_in_mid_batch_loses_and_reorders_nothing",
    ];
    assert_caught_by(&broken, &cases);
}

#[tokio::test(start_paused = true)]
async fn a_source_with_a_cursor_on_the_sequence_is_caught() {
    let broken = source_with(SourceBug::CursorById).await;
    let cases = [
        "a_late_commit_with_an_earlier_sequence_comes",
        "no_interleaving_and_no_crash_loses_invents_or_reorders",
    ];
    assert_caught_by(&broken, &cases);
}

#[tokio::test(start_paused = true)]
async fn a_floor_past_unsettled_events_is_caught() {
    let broken = source_with(SourceBug::FloorPastUnsettled).await;
    let cases = [
        "what_is_settled_never_comes_again_and_the_rest_does",
        "pending_events_come_again_and_alone",
        "no_interleaving_and_no_crash_loses_invents_or_reorders",
    ];
    assert_caught_by(&broken, &cases);
}

#[tokio::test(start_paused = true)]
async fn replays_that_end_without_what_is_not_recorded_are_caught() {
    let mut harness = DatabaseHarness {
        prepare: MemoryDatabase::finish_replays_early,
        ..DatabaseHarness::plain()
    };
    let broken = source::check(&mut harness).await;
    let cases = [
        "a_replay_waits_for_what_is_not_recorded_yet",
        "a_pending_event_holds_up_its_own_replay_only_at_its_end",
        "a_replay_waits_for_events_under_retry",
    ];
    assert_caught_by(&broken.expect_err("the suite catches the bug"), &cases);
}
