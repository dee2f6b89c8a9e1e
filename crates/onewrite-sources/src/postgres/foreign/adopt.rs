//! Making the recorded progress fit the routes, where the events are not in Onewrite's own outbox.

use onewrite_core::routing::Share;
use onewrite_core::{Lease, StoreError};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::super::adopt::{holds, keep, remove_others};
use super::super::error::failed;
use super::super::session::{BEGIN, Parameters, fenced};
use super::progress::Progress;
use super::settings::Foreign;

const ADOPTING: &str = "adopting the routes";

/// A snapshot that sees whatever there is: such a route needs nothing of the outbox, and keeps none of it.
const EVERYTHING: &str = "4611686018427387904:4611686018427387904:";

/// The key under which a definition says where the events come from.
const SOURCE: &str = "source";

/// Whether a recorded definition is that of a route over events that are not in Onewrite's own outbox.
pub(crate) fn is_foreign(definition: &str) -> bool {
    source_of(definition).is_some()
}

/// What is recorded of a share: what it takes, and where from.
fn definition(foreign: &Foreign, share: &Share) -> String {
    let plain = share.definition();
    let Ok(serde_json::Value::Object(mut object)) = serde_json::from_str(&plain) else {
        return plain;
    };
    object.insert(SOURCE.to_owned(), source(foreign).into());
    serde_json::Value::Object(object).to_string()
}

/// Where the events come from, and what says that they are settled: recorded progress is worth something for the same alone.
pub(super) fn source(foreign: &Foreign) -> String {
    let truth = if foreign.is_rows() { "rows" } else { "log" };
    format!("{} {truth}: {}", foreign.contract, foreign.place_name())
}

/// The source of a recorded definition; `None` for the native outbox.
pub(super) fn source_of(definition: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(definition).ok()?;
    json.get(SOURCE)?.as_str().map(str::to_owned)
}

/// See [`Outbox::adopt`](onewrite_core::Outbox::adopt). Routes begin at `start` where nothing is recorded over the same source; with
/// `anew`, nothing that is counts.
pub(super) async fn adopt(
    client: &Client,
    lease: &Lease,
    shares: &[Share],
    foreign: &Foreign,
    (start, anew): (Progress, bool),
) -> Result<(), StoreError> {
    // The transaction ends with the connection if it is not committed.
    let wrong = |error: Error| failed(ADOPTING, error);
    client.batch_execute(BEGIN).await.map_err(wrong)?;
    if !holds(client, lease).await.map_err(wrong)? {
        return Err(fenced(lease));
    }
    let recorded = read(client, lease).await.map_err(wrong)?;
    let same = source(foreign);
    let over_the_same = recorded
        .iter()
        .filter(|row| !anew && source_of(row.get(1)).as_ref() == Some(&same));
    let beginning = Progress::lowest(over_the_same.map(|row| Progress::from_row(row, 2))).unwrap_or(start);
    for share in shares {
        let definition = definition(foreign, share);
        let is_same = |row: &Row| row.get::<_, &str>(0) == share.route && row.get::<_, &str>(1) == definition;
        let adopted = match !anew && recorded.iter().any(is_same) {
            true => keep(client, lease, share).await,
            false => rebase(client, lease, share, &definition, &beginning).await,
        };
        adopted.map_err(wrong)?;
    }
    remove_others(client, lease, shares).await.map_err(wrong)?;
    client.batch_execute("COMMIT").await.map_err(wrong)
}

/// Whether the relay has progress over this source: then it must go on from there.
pub(super) async fn has_progress(client: &Client, lease: &Lease, foreign: &Foreign) -> Result<bool, StoreError> {
    let recorded = read(client, lease).await.map_err(|error| failed(ADOPTING, error))?;
    let same = source(foreign);
    Ok(recorded.iter().any(|row| source_of(row.get(1)).as_ref() == Some(&same)))
}

async fn read(client: &Client, lease: &Lease) -> Result<Vec<Row>, Error> {
    const READ: &str = "SELECT name, definition, log_commit, log_index, log_pending FROM onewrite.route \
                        WHERE relay = $1 ORDER BY name FOR UPDATE";
    client.query_typed(READ, &[(&lease.relay, Type::TEXT)]).await
}

async fn rebase(
    client: &Client,
    lease: &Lease,
    share: &Share,
    definition: &str,
    beginning: &Progress,
) -> Result<(), Error> {
    const REBASE: &str = "\
        INSERT INTO onewrite.route (relay, name, epoch, definition, floor_snapshot, floor_sequence, log_commit, log_index, log_pending) \
        VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8) \
        ON CONFLICT (relay, name, lane_group) DO UPDATE SET epoch = excluded.epoch, lane_groups = 1, definition = excluded.definition, \
          floor_snapshot = excluded.floor_snapshot, floor_sequence = excluded.floor_sequence, window_snapshot = NULL, \
          window_sequence = NULL, pending = excluded.pending, log_commit = excluded.log_commit, log_index = excluded.log_index, \
          log_pending = excluded.log_pending, updated_at = clock_timestamp()";
    let columns = beginning.columns();
    let parameters: Parameters<'_> = vec![
        (&lease.relay, Type::TEXT),
        (&share.route, Type::TEXT),
        (&lease.epoch, Type::INT8),
        (&definition, Type::TEXT),
        (&EVERYTHING, Type::TEXT),
        (&columns.commit, Type::INT8),
        (&columns.index, Type::INT8),
        (&columns.pending, Type::INT8_ARRAY),
    ];
    client.execute_typed(REBASE, &parameters).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use onewrite_core::options::Options;
    use onewrite_core::routing::{Match, shares};

    use super::*;
    use crate::postgres::FIELDS;

    #[test]
    fn a_definition_says_where_events_come_from_and_can_still_be_read() {
        let texts = [
            ("url", "postgres://u@localhost/shop"),
            ("contract", "debezium"),
            ("table", "outbox"),
        ];
        let options = Options::from_texts("source", FIELDS, &texts).expect("texts that fit");
        let foreign = Foreign::from_options(&options)
            .expect("options that fit")
            .expect("a foreign contract");
        let share = shares("r", &[("a".to_owned(), Match::default())]).remove(0);
        let text = definition(&foreign, &share);
        assert_eq!(source_of(&text).as_deref(), Some("debezium log: table public.outbox"));
        assert_eq!(Share::from_definition("r", "a", &text), Some(share.clone()));
        assert!(is_foreign(&text) && !is_foreign(&share.definition()));
    }
}
