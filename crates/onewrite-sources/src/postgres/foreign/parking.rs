//! Setting aside events of tables and logs that are not Onewrite's own.
//!
//! Such an event has no sequence in an outbox. It is known again by its id, and its place among the events set aside is the number
//! under which it was handed out last: numbers ascend from one incarnation of a source to the next, and what was set aside and is
//! not settled is handed out again, in order.

use std::sync::atomic::{AtomicU64, Ordering};

use onewrite_core::{Lease, Parking, StoreError};
use tokio_postgres::types::Type;

use super::super::parking::{BEGIN_PARKING, Columns, LOCK_ROUTE};
use super::super::record;
use super::super::session::{Parameters, Session};

/// Numbers under which events are handed out, ascending for all sources of a process and all holders of a lease.
#[derive(Debug, Default)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    /// How many numbers one holder of a lease has: a trillion.
    const BITS: u32 = 40;

    /// So many numbers in a row, of which this is the first.
    pub fn draw(&self, lease: &Lease, count: usize) -> u64 {
        let drawn = self.0.fetch_add(count as u64, Ordering::Relaxed);
        (lease.epoch.cast_unsigned() << Self::BITS) + drawn
    }
}

/// An event that is there stays as it is when it only has to wait, but for its place.
const PARK: &str = concat!(
    "\
    WITH aside AS ( \
        SELECT * FROM unnest($4::bigint[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], \
                             $12::bytea[], $13::timestamptz[], $14::bigint[], $15::text[], $16::text[]) \
            AS aside (sequence, state, id, topic, key, type, content_type, headers, payload, occurred_at, attempts, error, record) \
        WHERE ",
    still_held!(),
    "), again AS ( \
        UPDATE onewrite.parked_event AS parked SET sequence = aside.sequence, \
            state = CASE WHEN aside.state = 'held' THEN parked.state ELSE aside.state END, \
            error = CASE WHEN aside.state = 'held' THEN parked.error ELSE aside.error END, \
            attempts = CASE WHEN aside.state = 'held' THEN parked.attempts ELSE aside.attempts END, \
            parked_at = CASE WHEN aside.state = 'held' THEN parked.parked_at ELSE clock_timestamp() END \
        FROM aside WHERE parked.relay = $1 AND parked.route = $2 AND parked.event_id = aside.id RETURNING parked.event_id) \
    INSERT INTO onewrite.parked_event (relay, route, sequence, state, event_id, topic, key, type, content_type, headers, \
                                       payload, occurred_at, attempts, error, record) \
    SELECT $1, $2, sequence, state, id, topic, key, type, content_type, headers::jsonb, payload, occurred_at, attempts, error, \
           record::jsonb \
    FROM aside WHERE id NOT IN (SELECT event_id FROM again)"
);

/// Sets events aside under `route`, durably and fenced. `number` tells the number under which an event was handed out.
pub(super) async fn park(
    session: &Session,
    route: &str,
    events: &[Parking],
    number: impl Fn(&Parking) -> u64,
) -> Result<(), StoreError> {
    let columns = Columns::new(events, number);
    let records: Vec<Option<String>> = (events.iter())
        .map(|parking| parking.event.verbatim.as_deref().map(record::to_json))
        .collect();
    let lease = session.lease();
    let lock: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&route, Type::TEXT),
        (&lease.epoch, Type::INT8),
    ];
    let mut park = lock.clone();
    park.extend(columns.bind());
    park.push((&records, Type::TEXT_ARRAY));
    let locked = session
        .transaction("setting events aside", BEGIN_PARKING, async {
            let client = session.client();
            let (locked, parked) = futures::join!(
                client.execute_typed(LOCK_ROUTE, &lock),
                client.execute_typed(PARK, &park)
            );
            parked.and(locked)
        })
        .await?;
    session.held(locked)
}
