//! How many rows of a table are not settled, for `status`.

use onewrite_core::StoreError;
use onewrite_core::error::chain;
use onewrite_core::limits::UNSETTLED_COUNT_MAX;
use onewrite_core::routing::Share;
use onewrite_core::store::RouteStatus;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::super::error::failed;
use super::super::filter::Filter;
use super::super::session::{Parameters, transaction};
use super::adopt::{source, source_of};
use super::catalogue::TableColumn;
use super::rows::Prepared;
use super::settings::Foreign;
use crate::foreign::value::oid;

/// Counting looks at a row at a time, and whatever the statistics say, by an index where there is one.
const BEGIN: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL jit = off";

/// Counts what a route over the table of `foreign` has not settled, and how old the oldest is. What cannot be counted stays
/// uncounted, and is told to the log: the rest of the status is worth having all the same.
pub(crate) async fn count(client: &Client, foreign: &Foreign, definition: &str, route: &mut RouteStatus) {
    if !foreign.is_rows() || source_of(definition) != Some(source(foreign)) {
        return;
    }
    let Some(share) = Share::from_definition(&route.relay, &route.route, definition) else {
        return;
    };
    match unsettled(client, foreign, &share).await {
        Ok((count, lag)) => {
            route.unsettled = Some(count);
            route.lag_seconds = lag;
        }
        Err(error) => {
            tracing::warn!(route = %route.route, error = %chain(&error), "the rows that are not settled could not be counted");
        }
    }
}

async fn unsettled(client: &Client, foreign: &Foreign, share: &Share) -> Result<(i64, Option<f64>), StoreError> {
    let Prepared { reader, settling, .. } = Prepared::new(client, foreign, share).await?;
    let (topic, event_type) = reader.topic_and_type_sql(&foreign.section, share)?;
    let filter = Filter::new(share, 2);
    let time = reader.time_column().and_then(|name| reader.table.find("", name).ok());
    let time = time.map_or("NULL::timestamptz".to_owned(), |at| time_sql(&reader.table.columns[at]));
    let sql = format!(
        "SELECT count(*), CASE WHEN count(*) > 0 THEN greatest(0, extract(epoch FROM clock_timestamp() - min(written)))::float8 END \
         FROM (SELECT written FROM (SELECT {time} AS written, {topic} AS topic, {event_type} AS type FROM {} AS t WHERE {}) AS rows \
         WHERE {} LIMIT $1) AS counted",
        reader.table.name.quoted(),
        settling.unsettled,
        filter.sql
    );
    let mut parameters: Parameters<'_> = vec![(&UNSETTLED_COUNT_MAX, Type::INT8)];
    filter.bind(&mut parameters);
    let row = transaction(client, BEGIN, client.query_typed_one(&sql, &parameters)).await;
    let row = row.map_err(|error| failed("counting unsettled rows", error))?;
    Ok((row.get(0), row.get(1)))
}

/// A column's time as a `timestamptz`.
fn time_sql(column: &TableColumn) -> String {
    let sql = column.sql();
    match column.base_oid {
        oid::TIMESTAMPTZ => sql,
        oid::TIMESTAMP => format!("{sql} AT TIME ZONE 'UTC'"),
        _ if column.is_integer() => format!("to_timestamp({sql} / 1000.0)"),
        _ => "NULL::timestamptz".to_owned(),
    }
}
