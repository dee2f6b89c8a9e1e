//! The statements that read the outbox.

use onewrite_core::routing::Share;
use onewrite_core::source::BatchLimit;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row};

use super::filter::Filter;
use super::rows::{EVENT_COLUMNS, EVENT_RESULTS};
use super::session::Parameters;
use super::snapshot::Snapshot;

/// Payloads up to this many bytes are light: PostgreSQL keeps them in the row, and many of them can be read without measuring.
const LIGHT_BYTES: usize = 2 * 1024;

/// Where the payload stands among the columns of a row.
const PAYLOAD: usize = 7;

/// Reads the outbox for one share. Rows come as sequence, id, and the columns that [`Decoder`](super::rows::Decoder) reads.
///
/// A read is limited by its rows and its payloads. Keys, headers and names are not added up, since adding up costs the server more than
/// reading. They are less than 10 KiB of each event that keeps the limits (34 KiB of any row that the table takes). So where every event
/// has the largest, a light read holds up to six times [`BatchLimit::bytes`], being rows of 12 KiB, one for each [`LIGHT_BYTES`]; any
/// other read holds 10 KiB for each of [`BatchLimit::events`] beside its payloads. The engine counts them as soon as they are handed
/// out, and reads on only when there is room again.
#[derive(Debug)]
pub(super) struct Reader {
    light: String,
    later: String,
    later_and_earlier: String,
    filter: Filter,
    listed: String,
    listed_filter: Filter,
}

/// The number of the first parameter of the share's condition.
const FIRST: usize = 8;

impl Reader {
    /// A reader for what `share` takes.
    pub fn new(share: &Share) -> Self {
        let filter = Filter::new(share, FIRST);
        let columns = format!("sequence, id, {EVENT_COLUMNS}");
        // Transactions that began to write after the base snapshot: their rows lie at the end of the table.
        let later = |columns: &str| {
            format!(
                "SELECT {columns} FROM onewrite.outbox WHERE sequence > greatest($3, $4) AND xid >= $5::text::xid8 \
                 AND pg_visible_in_snapshot(xid, $6::text::pg_snapshot) AND {} ORDER BY sequence LIMIT $1",
                filter.sql
            )
        };
        // Adding up the lengths costs the server more than all the rest.
        let light_payload = format!("CASE WHEN octet_length(payload) <= {LIGHT_BYTES} THEN payload END");
        let light = later(&format!(
            "sequence, id, {}",
            EVENT_RESULTS.replace("payload", &light_payload)
        ));
        let later = later(&columns);
        // Transactions that were under way in the base snapshot and have ended since: their rows lie anywhere.
        let earlier = format!(
            "SELECT rows.* FROM unnest($7::text[]::xid8[]) AS ended (xid) CROSS JOIN LATERAL (\
             SELECT {columns} FROM onewrite.outbox WHERE outbox.xid = ended.xid AND sequence > $3 AND {} \
             ORDER BY sequence LIMIT $1) AS rows",
            filter.sql
        );
        let both = format!("SELECT * FROM (({later}) UNION ALL ({earlier})) AS arms ORDER BY sequence LIMIT $1");
        let listed_filter = Filter::new(share, 4);
        let listed = format!(
            "SELECT {columns} FROM onewrite.outbox WHERE sequence = ANY($3) AND {} ORDER BY sequence LIMIT $1",
            listed_filter.sql
        );
        Self {
            light,
            later: within_bytes(&later),
            later_and_earlier: within_bytes(&both),
            filter,
            listed: within_bytes(&listed),
            listed_filter,
        }
    }

    /// What `upper` sees and `base` does not, with sequences above `cursor`, in order of the sequence. `light` reads faster,
    /// and ends before the first payload that is not; that one may be the very first.
    pub async fn window(
        &self,
        client: &Client,
        base: &Snapshot,
        upper: &Snapshot,
        cursor: u64,
        limit: BatchLimit,
        light: bool,
    ) -> Result<Rows, Error> {
        let (mut events, bytes) = limits(limit);
        let (cursor, xmax, upper_text) = (cursor.cast_signed(), base.xmax().to_string(), upper.text());
        let ended: Vec<String> = base.ended_until(upper).map(|xid| xid.to_string()).collect();
        let light = light && ended.is_empty();
        let sql = match (light, ended.is_empty()) {
            (true, _) => &self.light,
            (false, true) => &self.later,
            (false, false) => &self.later_and_earlier,
        };
        if light {
            events = events.min((bytes / LIGHT_BYTES as i64).max(1));
        }
        let mut parameters: Parameters<'_> = vec![
            (&events, Type::INT8),
            (&bytes, Type::INT8),
            (&cursor, Type::INT8),
            (&base.low, Type::INT8),
            (&xmax, Type::TEXT),
            (&upper_text, Type::TEXT),
            (&ended, Type::TEXT_ARRAY),
        ];
        self.filter.bind(&mut parameters);
        let rows = client.query_typed(sql, &parameters).await?;
        Ok(Rows::new(
            rows,
            usize::try_from(events).unwrap_or(usize::MAX),
            limit.bytes,
        ))
    }

    /// The rows of these sequences that the share takes.
    pub async fn listed(&self, client: &Client, sequences: &[i64], limit: BatchLimit) -> Result<Vec<Row>, Error> {
        let (events, bytes) = limits(limit);
        let mut parameters: Parameters<'_> = vec![
            (&events, Type::INT8),
            (&bytes, Type::INT8),
            (&sequences, Type::INT8_ARRAY),
        ];
        self.listed_filter.bind(&mut parameters);
        client.query_typed(&self.listed, &parameters).await
    }
}

/// Rows of a window.
pub(super) struct Rows {
    pub rows: Vec<Row>,
    /// Whether there may be more.
    pub is_cut: bool,
    /// Whether it ends before a payload that is not light.
    pub is_heavy: bool,
}

impl Rows {
    fn new(mut rows: Vec<Row>, events: usize, bytes: usize) -> Self {
        let length = |row: &Row| row.try_get::<_, Option<&[u8]>>(PAYLOAD).ok().flatten().map(<[u8]>::len);
        let mut read = 0;
        let heavy = rows
            .iter()
            .position(|row| length(row).map(|length| read += length).is_none());
        let is_cut = heavy.is_some() || rows.len() >= events || read >= bytes.max(1);
        rows.truncate(heavy.unwrap_or(rows.len()));
        Self {
            rows,
            is_cut,
            is_heavy: heavy.is_some(),
        }
    }
}

/// Wraps a SELECT of at most `$1` rows in order of the sequence so that it stops after `$2` bytes of payload: a chunk of
/// huge payloads never travels at once. The length of a payload that is stored apart is known without fetching it.
pub(super) fn within_bytes(select: &str) -> String {
    ordered_within_bytes(select, &format!("sequence, id, {EVENT_RESULTS}"), "sequence")
}

/// The same for a SELECT in another order, and with these columns as its result.
pub(super) fn ordered_within_bytes(select: &str, results: &str, order: &str) -> String {
    format!(
        "SELECT {results} FROM (\
         SELECT chunk.*, sum(octet_length(payload)) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) \
         - octet_length(payload) AS before FROM ({select}) AS chunk) AS measured WHERE before < $2 ORDER BY {order}"
    )
}

/// A limit as the statements take it: at least one row.
pub(super) fn limits(limit: BatchLimit) -> (i64, i64) {
    let number = |value: usize| i64::try_from(value.max(1)).unwrap_or(i64::MAX);
    (number(limit.events), number(limit.bytes))
}

/// Whether there may be more than these rows.
pub(super) fn is_cut(events: usize, bytes: usize, limit: BatchLimit) -> bool {
    events >= limit.events.max(1) || bytes >= limit.bytes.max(1)
}
