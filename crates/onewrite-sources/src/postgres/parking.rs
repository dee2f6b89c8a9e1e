//! Setting events aside.

use onewrite_core::event::headers_to_json;
use onewrite_core::source::ParkReason;
use onewrite_core::{Parking, StoreError};
use tokio_postgres::types::Type;

use super::rows::Microseconds;
use super::session::{BEGIN, Parameters, Session};

/// Locks the route's row, so that no other relay can adopt the route until this transaction ends; no row when one has.
pub(super) const LOCK_ROUTE: &str = "SELECT 1 FROM onewrite.route WHERE relay = $1 AND name = $2 AND epoch = $3 \
                                     AND EXISTS (SELECT 1 FROM onewrite.relay WHERE name = $1 AND epoch = $3) FOR UPDATE";

/// The headers are taken from the outbox where the row is still there: what is no flat object of texts would be lost.
/// An event that was set aside before, in a run that did not come to record it, stays as it is when it only has to wait.
const PARK: &str = concat!(
    "\
    INSERT INTO onewrite.parked_event (relay, route, sequence, state, event_id, topic, key, type, content_type, headers, \
                                       payload, occurred_at, attempts, error) \
    SELECT $1, $2, aside.sequence, aside.state, aside.id, aside.topic, aside.key, aside.type, aside.content_type, \
           coalesce(outbox.headers, aside.headers::jsonb), aside.payload, aside.occurred_at, aside.attempts, aside.error \
    FROM unnest($4::bigint[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], \
                $12::bytea[], $13::timestamptz[], $14::bigint[], $15::text[]) \
         AS aside (sequence, state, id, topic, key, type, content_type, headers, payload, occurred_at, attempts, error) \
    LEFT JOIN onewrite.outbox ON outbox.sequence = aside.sequence AND outbox.id = aside.id \
    WHERE ",
    still_held!(),
    " \
    ON CONFLICT (relay, route, sequence) DO UPDATE \
    SET state = excluded.state, error = excluded.error, attempts = excluded.attempts, parked_at = clock_timestamp() \
    WHERE excluded.state <> 'held'"
);

/// Joining a handful of rows by index, whatever the statistics say.
pub(super) const BEGIN_PARKING: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; SET LOCAL statement_timeout = 0; \
     SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL enable_seqscan = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_hashjoin = off; SET LOCAL jit = off";

/// Sets events of the outbox aside under `route`, durably and fenced. `sequence` tells an event's sequence in the outbox.
pub(super) async fn park(
    session: &Session,
    route: &str,
    events: &[Parking],
    sequence: impl Fn(&Parking) -> u64,
) -> Result<(), StoreError> {
    let columns = Columns::new(events, sequence);
    let lease = session.lease();
    let lock: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&route, Type::TEXT),
        (&lease.epoch, Type::INT8),
    ];
    let mut park = lock.clone();
    park.extend(columns.bind());
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

/// Sets events of `parked_event` aside once more, by their numbers there. They belong to this route now, which may have taken them over
/// from that of what no other took.
pub(super) async fn park_again(session: &Session, route: &str, events: &[(i64, &Parking)]) -> Result<(), StoreError> {
    // What a replay has set aside of the same events; a statement of its own, since the other must not meet it.
    const REPLACE: &str = concat!(
        "\
        DELETE FROM onewrite.parked_event AS other USING onewrite.parked_event AS again \
        WHERE again.id = ANY($4) AND other.relay = again.relay AND other.route = $2 AND other.sequence = again.sequence \
        AND other.id <> again.id AND ",
        still_held!()
    );
    const PARK_AGAIN: &str = concat!(
        "\
        UPDATE onewrite.parked_event SET route = $2, state = again.state, error = again.error, parked_at = clock_timestamp(), \
               attempts = parked_event.attempts + again.attempts \
        FROM unnest($4::bigint[], $5::text[], $6::bigint[], $7::text[]) AS again (id, state, attempts, error) \
        WHERE parked_event.id = again.id \
        AND ",
        still_held!()
    );
    let ids: Vec<i64> = events.iter().map(|(id, _)| *id).collect();
    let states: Vec<&str> = events.iter().map(|(_, parking)| state(parking)).collect();
    let attempts: Vec<i64> = events.iter().map(|(_, parking)| parking.attempts.into()).collect();
    let words: Vec<String> = events.iter().map(|(_, parking)| words(parking)).collect();
    let lease = session.lease();
    let lock: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&route, Type::TEXT),
        (&lease.epoch, Type::INT8),
    ];
    let mut replace = lock.clone();
    replace.push((&ids, Type::INT8_ARRAY));
    let mut update = lock.clone();
    update.extend([(&ids as _, Type::INT8_ARRAY), (&states as _, Type::TEXT_ARRAY)] as Pair<'_>);
    update.extend([(&attempts as _, Type::INT8_ARRAY), (&words as _, Type::TEXT_ARRAY)] as Pair<'_>);
    let locked = session
        .transaction("setting events aside again", BEGIN, async {
            let client = session.client();
            let (locked, replaced, again) = futures::join!(
                client.execute_typed(LOCK_ROUTE, &lock),
                client.execute_typed(REPLACE, &replace),
                client.execute_typed(PARK_AGAIN, &update)
            );
            again.and(replaced).and(locked)
        })
        .await?;
    session.held(locked)
}

type Pair<'a> = [(&'a (dyn tokio_postgres::types::ToSql + Sync), Type); 2];

/// The columns of events to set aside, as arrays.
pub(super) struct Columns<'a> {
    sequences: Vec<i64>,
    states: Vec<&'static str>,
    ids: Vec<uuid::Uuid>,
    topics: Vec<&'a str>,
    keys: Vec<Option<&'a str>>,
    types: Vec<Option<&'a str>>,
    content_types: Vec<&'a str>,
    headers: Vec<String>,
    payloads: Vec<&'a [u8]>,
    occurred_at: Vec<Microseconds>,
    attempts: Vec<i64>,
    words: Vec<String>,
}

impl<'a> Columns<'a> {
    /// The columns of these events; `sequence` tells the number that their place among the events set aside has.
    pub fn new(events: &'a [Parking], sequence: impl Fn(&Parking) -> u64) -> Self {
        Self {
            sequences: events.iter().map(|parking| sequence(parking).cast_signed()).collect(),
            states: events.iter().map(state).collect(),
            ids: events.iter().map(|parking| parking.event.id).collect(),
            topics: events.iter().map(|parking| &*parking.event.topic).collect(),
            keys: events.iter().map(|parking| parking.event.key.as_deref()).collect(),
            types: events
                .iter()
                .map(|parking| parking.event.event_type.as_deref())
                .collect(),
            content_types: events.iter().map(|parking| &*parking.event.content_type).collect(),
            headers: events
                .iter()
                .map(|parking| headers_to_json(&parking.event.headers).to_string())
                .collect(),
            payloads: events.iter().map(|parking| &*parking.event.payload).collect(),
            occurred_at: events.iter().map(|parking| parking.event.occurred_at.into()).collect(),
            attempts: events.iter().map(|parking| parking.attempts.into()).collect(),
            words: events.iter().map(words).collect(),
        }
    }

    /// Twelve parameters, in the order of the fields.
    pub fn bind(&self) -> Parameters<'_> {
        vec![
            (&self.sequences, Type::INT8_ARRAY),
            (&self.states, Type::TEXT_ARRAY),
            (&self.ids, Type::UUID_ARRAY),
            (&self.topics, Type::TEXT_ARRAY),
            (&self.keys, Type::TEXT_ARRAY),
            (&self.types, Type::TEXT_ARRAY),
            (&self.content_types, Type::TEXT_ARRAY),
            (&self.headers, Type::TEXT_ARRAY),
            (&self.payloads, Type::BYTEA_ARRAY),
            (&self.occurred_at, Type::TIMESTAMPTZ_ARRAY),
            (&self.attempts, Type::INT8_ARRAY),
            (&self.words, Type::TEXT_ARRAY),
        ]
    }
}

fn state(parking: &Parking) -> &'static str {
    match parking.reason {
        ParkReason::Poison(_) => "parked",
        ParkReason::Held => "held",
    }
}

fn words(parking: &Parking) -> String {
    match &parking.reason {
        // What a broker said may hold a NUL, and no text of PostgreSQL can.
        ParkReason::Poison(words) => words.replace('\0', "\u{fffd}"),
        ParkReason::Held => "waits behind a parked event of its key".to_owned(),
    }
}
