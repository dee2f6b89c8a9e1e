//! The suite for sources. It writes as applications do, in transactions that overlap, and reads as core does.

mod adopting;
mod fencing;
mod grouping;
mod interleaving;
mod late;
mod leasing;
mod operating;
mod parking;
mod reading;
mod replaying;
mod session;
mod settling;
mod sharing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::error::BoxError;
use onewrite_core::{Operations, Outbox};

use super::report::{Broken, Case, cases, run};
pub use crate::memory::PlainRow;

/// A database that a source is checked against.
#[async_trait]
pub trait SourceHarness: Send {
    /// What is checked, for people: source, database and version.
    fn name(&self) -> String;

    /// A fresh outbox with the newest schema.
    async fn fresh(&mut self) -> Result<Subject, BoxError>;

    /// Gives back what the last subject used; nothing is asked of it any more.
    async fn end(&mut self) {}

    /// Whether two transactions can have written at the same time. A database that lets in one writer after the other declares
    /// it here; the cases of overlapping transactions are empty for it.
    fn writers_overlap(&self) -> bool {
        true
    }

    /// Whether settled events are kept for a while and can be replayed. A source over somebody else's table keeps nothing, and
    /// declares it here; the cases of replays are empty for it. Nothing else is ever left out.
    fn replays(&self) -> bool {
        true
    }

    /// Whether the status can tell how many events are not settled. A source to which the log is the truth cannot, and declares it
    /// here; it must then say so.
    fn counts(&self) -> bool {
        true
    }

    /// Where the seeds of random cases begin, so that several versions of one database see different ones.
    fn seed(&self) -> u64 {
        0
    }
}

/// One outbox under test.
pub struct Subject {
    /// As the engine sees it.
    pub outbox: Arc<dyn Outbox>,
    /// As operators see it.
    pub operations: Arc<dyn Operations>,
    /// As applications see it.
    pub writers: Arc<dyn Writers>,
}

/// Begins transactions of applications.
#[async_trait]
pub trait Writers: Send + Sync {
    /// Begins a transaction, on a connection of its own.
    async fn begin(&self) -> Result<Box<dyn Transaction>, BoxError>;
}

/// A transaction of an application. Dropping it rolls it back.
#[async_trait]
pub trait Transaction: Send {
    /// Appends events as the crate `onewrite` does, in the order of the slice.
    async fn append(&mut self, events: &[onewrite::Event]) -> Result<(), BoxError>;

    /// Inserts a row as any program may, with nothing but the database's own checks.
    async fn insert(&mut self, row: PlainRow) -> Result<(), BoxError>;

    /// Commits; what it wrote is visible when this returns.
    async fn commit(self: Box<Self>) -> Result<(), BoxError>;

    /// Rolls back.
    async fn rollback(self: Box<Self>) -> Result<(), BoxError>;
}

/// How long one case may take.
const CASE_TIMEOUT: Duration = Duration::from_secs(240);

const CASES: &[Case<dyn SourceHarness>] = cases![
    reading::where_nothing_is_nothing_comes_and_waiting_ends,
    reading::everything_committed_comes_once_in_order,
    reading::events_come_as_they_were_written,
    reading::what_is_rolled_back_never_comes,
    reading::limits_hold_but_one_event_always_comes,
    reading::a_dropped_read_loses_nothing,
    reading::a_row_that_is_no_event_comes_with_its_defect,
    late::a_late_commit_with_an_earlier_sequence_comes,
    late::writers_of_one_key_come_in_the_order_of_their_commits,
    settling::what_is_settled_never_comes_again_and_the_rest_does,
    settling::pending_events_come_again_and_alone,
    settling::a_settlement_can_be_repeated,
    interleaving::no_interleaving_and_no_crash_loses_invents_or_reorders,
    sharing::shares_are_disjoint_and_complete,
    sharing::routes_settle_each_for_itself,
    grouping::every_event_is_in_exactly_one_group,
    grouping::groups_settle_each_for_itself,
    grouping::a_lease_of_one_group_is_none_of_another,
    grouping::two_layouts_never_hold_at_once,
    grouping::another_number_of_groups_loses_and_reorders_nothing,
    grouping::what_is_set_aside_is_redelivered_in_its_group,
    grouping::a_replay_is_through_when_every_group_has_its_part,
    grouping::what_operators_ask_reaches_every_group,
    adopting::a_changed_definition_loses_nothing,
    adopting::a_new_route_begins_at_the_lowest_floor,
    leasing::one_holder_at_a_time,
    leasing::a_released_lease_is_free_at_once,
    leasing::a_lease_that_ran_out_is_taken_over_where_it_stood,
    fencing::a_newer_lease_fences_reading,
    fencing::a_newer_lease_fences_settling,
    fencing::a_newer_lease_fences_parking,
    fencing::a_newer_lease_fences_renewing,
    fencing::a_newer_lease_fences_redeliveries,
    parking::parking_twice_leaves_one,
    parking::held_events_follow_when_their_key_is_free,
    parking::a_retried_event_comes_again_until_it_is_settled,
    parking::a_retried_event_that_is_parked_again_stays,
    parking::what_is_set_aside_again_is_not_overtaken_when_it_is_retried,
    parking::an_edited_event_comes_as_edited,
    parking::an_event_that_no_route_took_comes_under_the_route_that_takes_it,
    replaying::a_replay_brings_what_it_names_and_ends,
    replaying::a_replay_is_bounded_by_ids_or_otherwise,
    replaying::a_replay_of_a_range_is_counted_and_followed,
    replaying::a_replay_leaves_alone_what_was_not_delivered,
    replaying::a_replay_waits_for_what_is_not_recorded_yet,
    replaying::a_pending_event_holds_up_its_own_replay_only_at_its_end,
    replaying::a_replay_ends_without_what_is_set_aside,
    replaying::a_replay_waits_for_events_under_retry,
    replaying::a_replay_leaves_out_what_was_skipped,
    operating::a_relay_that_nobody_runs_can_be_given_up,
    operating::pausing_and_halting_reach_the_relay,
    operating::the_status_tells_what_is_unsettled_and_parked,
    operating::a_list_of_parked_events_is_limited,
];

/// Runs every case.
///
/// # Errors
/// The cases that failed, each with what is required and what was seen.
pub async fn check(harness: &mut (dyn SourceHarness + 'static)) -> Result<(), Broken> {
    let result = run(harness.name(), harness, CASES, CASE_TIMEOUT).await;
    harness.end().await;
    result
}

/// The names of all cases.
pub fn names() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).collect()
}
