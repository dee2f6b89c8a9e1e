//! Reading events that are set aside and may be delivered again.

use onewrite_core::routing::{Share, UNROUTED};
use onewrite_core::{BatchLimit, Position, Sourced, StoreError};
use tokio_postgres::types::Type;

use super::super::blocked::KEYS;
use super::super::error::failed;
use super::super::filter::Filter;
use super::super::lanes::and_in;
use super::super::reading::{limits, ordered_within_bytes};
use super::super::record;
use super::super::rows::{Decoder, EVENT_COLUMNS, EVENT_RESULTS};
use super::super::session::{BEGIN, Parameters, Session};
use super::Item;

const READING: &str = "reading events to deliver again";

/// Reads `parked_event` for one share.
pub(super) struct Aside {
    sql: String,
    filter: Filter,
    relay: String,
    route: String,
    decoder: Decoder,
}

impl Aside {
    pub fn new(share: &Share) -> Self {
        let filter = Filter::of_any_group(share, 7);
        let mut in_group = "true".to_owned();
        and_in(share.group, "event_id", &mut in_group);
        Self {
            sql: sql(&filter.sql, &in_group),
            filter,
            relay: share.relay.clone(),
            route: share.route.clone(),
            decoder: Decoder::default(),
        }
    }

    /// What may be delivered again, lowest sequence first, but for the rows that are out.
    pub async fn read(
        &mut self,
        session: &Session,
        out: &[i64],
        limit: BatchLimit,
    ) -> Result<Vec<(Item, Sourced)>, StoreError> {
        let (events, bytes) = limits(limit);
        let mut parameters: Parameters<'_> = vec![
            (&events, Type::INT8),
            (&bytes, Type::INT8),
            (&self.relay, Type::TEXT),
            (&self.route, Type::TEXT),
            (&UNROUTED, Type::TEXT),
            (&out, Type::INT8_ARRAY),
        ];
        self.filter.bind(&mut parameters);
        let read = session.client().query_typed(&self.sql, &parameters);
        let rows = session.transaction(READING, BEGIN, read).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut event = self
                .decoder
                .event(row, 1, Position::new(0, 0))
                .map_err(|error| failed(READING, error))?;
            match row.get::<_, Option<&str>>(9).map(record::from_json).transpose() {
                Ok(verbatim) => event.event.verbatim = verbatim.map(Box::new),
                Err(words) => _ = event.defect.get_or_insert(words),
            }
            found.push((Item::Aside(row.get(0)), event));
        }
        Ok(found)
    }
}

/// Three arms: the route's own events under retry (those of the catch-all only while no route takes them), its held events
/// of keys that nothing is parked of, and the catch-all's events under retry that the route takes; of each what is in the group.
fn sql(takes: &str, in_group: &str) -> String {
    let columns = format!("id AS number, sequence, event_id AS id, {EVENT_COLUMNS}, record");
    let own = format!(
        "SELECT {columns} FROM onewrite.parked_event WHERE relay = $3 AND route = $4 AND state = 'retry' \
         AND id <> ALL($6) AND ($4 <> $5 OR ({takes})) AND {in_group} ORDER BY sequence, number LIMIT $1"
    );
    let held = format!(
        "SELECT held.* FROM keys CROSS JOIN LATERAL (SELECT {columns} FROM onewrite.parked_event \
         WHERE relay = $3 AND route = $4 AND parked_event.key = keys.key AND state = 'held' AND id <> ALL($6) AND {in_group} \
         ORDER BY sequence, number LIMIT $1) AS held \
         WHERE NOT EXISTS (SELECT 1 FROM onewrite.parked_event AS poison WHERE poison.relay = $3 AND poison.route = $4 \
         AND poison.key = keys.key AND poison.state = 'parked')"
    );
    let adopted = format!(
        "SELECT {columns} FROM onewrite.parked_event WHERE relay = $3 AND route = $5 AND $4 <> $5 AND state = 'retry' \
         AND id <> ALL($6) AND ({takes}) AND {in_group} ORDER BY sequence, number LIMIT $1"
    );
    let all = format!(
        "SELECT * FROM (({own}) UNION ALL ({held}) UNION ALL ({adopted})) AS arms ORDER BY sequence, number LIMIT $1"
    );
    let results = format!("number, id, {EVENT_RESULTS}, record::text");
    format!("{KEYS} {}", ordered_within_bytes(&all, &results, "sequence, number"))
}
