//! The statements that read and settle rows of a table.

use std::fmt::Write as _;

use onewrite_core::routing::Share;

use super::super::super::filter::Filter;
use super::super::catalogue::{Table, TableColumn};
use super::super::settling::{Order, SettlingSql};
use crate::foreign::value::oid;

/// Statements over one table for one share. Rows are named by their primary key, each column of it as a text.
#[derive(Debug)]
pub(crate) struct Statements {
    /// Begins a transaction in which [`list`](Self::list) goes by the index that there is.
    pub begin_listing: &'static str,
    /// Lists the unsettled rows of the share in order: their keys, and about how large each is. `$1` is how many at the most; the
    /// next ones are arrays of the keys to leave out; then come the filter's.
    pub list: String,
    /// The share's condition.
    pub filter: Filter,
    /// Reads rows in the order of their keys, `$1` and on, until so many bytes have come: the number of the key, the size, the
    /// time of reading, and the columns.
    pub fetch: String,
    /// Settles rows by their keys, `$4` and on, under the fence of `$1` to `$3`; the numbers of the keys whose rows it left, since
    /// somebody else holds a lock on them.
    pub settle: String,
}

macro_rules! begin_by_key {
    () => {
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '5s'; \
         SET LOCAL enable_seqscan = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_hashjoin = off; SET LOCAL jit = off; \
         SET LOCAL datestyle = ISO; SET LOCAL timezone = 'UTC'; SET LOCAL extra_float_digits = 1"
    };
}

/// What the planner may not do to a statement that picks rows by key: the statistics of a table that empties and fills lie. The
/// forms of texts are those of the log.
pub(super) const BEGIN_BY_KEY: &str = begin_by_key!();

/// The same for settling, which holds the route's row: whoever adopts the route next must not wait until an application's
/// transaction has ended. Rows that are locked are left out anyway; there are locks on the table as well, and those that its triggers
/// and foreign keys take.
pub(super) const BEGIN_SETTLING: &str = concat!(begin_by_key!(), "; SET LOCAL lock_timeout = '1s'");

/// Listing where an index gives the order.
const BEGIN_BY_INDEX: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = 0; \
     SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL jit = off; \
     SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL datestyle = ISO; SET LOCAL timezone = 'UTC'";

/// Listing where none does: whatever the planner thinks best.
const BEGIN_ANYHOW: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = 0; SET LOCAL jit = off; \
     SET LOCAL datestyle = ISO; SET LOCAL timezone = 'UTC'";

impl Statements {
    /// The statements for what `share` takes. `topic` and `type` are SQL over the table `t`, and `columns` what is read. `may_lock`
    /// tells whether rows can be locked by themselves.
    pub fn new(
        table: &Table,
        columns: &[TableColumn],
        (topic, event_type): (&str, &str),
        (settling, may_lock): (&SettlingSql, bool),
        order: &Order,
        share: &Share,
    ) -> Self {
        let key: Vec<&TableColumn> = table.primary_key().into_iter().map(|at| &table.columns[at]).collect();
        let filter = Filter::new(share, 2 + key.len());
        let source = format!("{} AS t", table.name.quoted());
        let unsettled = &settling.unsettled;
        let names = listed(key.iter().enumerate(), |(at, _)| format!("key_{at}"));
        let texts = listed(key.iter().enumerate(), |(at, column)| {
            format!("({})::text AS key_{at}", column.sql())
        });
        let size = sum(columns, about);
        let tie = order
            .tie
            .as_ref()
            .map_or(String::new(), |tie| format!(", {tie} AS tie"));
        let by_tie = if order.tie.is_some() { ", tie" } else { "" };
        let left_out = unnested(key.len(), 2);
        let list = format!(
            "SELECT {names}, size FROM (SELECT {texts}, {} AS place{tie}, {topic} AS topic, {event_type} AS type, {size} AS size \
             FROM {source} WHERE {unsettled}) AS rows \
             WHERE {} AND ({names}) NOT IN (SELECT * FROM {left_out} AS out) ORDER BY place{by_tie} LIMIT $1",
            order.column.sql(),
            filter.sql
        );
        let same_key = |keys: &str| {
            let same = |(at, column): (usize, &&TableColumn)| {
                format!("{} = {keys}.key_{at}::{}", column.sql(), column.sql_type)
            };
            key.iter().enumerate().map(same).collect::<Vec<_>>().join(" AND ")
        };
        let values = listed(columns.iter().enumerate(), |(at, column)| {
            format!("{} AS value_{at}", column.value_sql())
        });
        let read = listed(columns.iter().enumerate(), |(at, _)| format!("value_{at}"));
        let size = sum(columns, exactly);
        let fetch = format!(
            "SELECT number, size, clock_timestamp(), {read} FROM (\
             SELECT found.*, sum(size) OVER (ORDER BY number ROWS UNBOUNDED PRECEDING) - size AS before FROM (\
             SELECT wanted.number, {size} AS size, {values} FROM {} WITH ORDINALITY AS wanted ({names}, number) \
             JOIN {source} ON {} WHERE {unsettled}) AS found) AS measured WHERE before < ${} ORDER BY number",
            unnested(key.len(), 1),
            same_key("wanted"),
            key.len() + 1
        );
        let wanted = format!("{} WITH ORDINALITY AS wanted ({names}, number)", unnested(key.len(), 4));
        let settle = settle(table, (settling, may_lock), &wanted, same_key);
        Self {
            begin_listing: if order.is_indexed { BEGIN_BY_INDEX } else { BEGIN_ANYHOW },
            list,
            filter,
            fetch,
            settle,
        }
    }
}

/// Where rows can be locked, those that somebody else has locked are passed over: who waits for them holds the route's row. They
/// are picked first and settled by key then, so that one that was changed meanwhile is settled as it is now.
fn settle(
    table: &Table,
    (settling, may_lock): (&SettlingSql, bool),
    wanted: &str,
    same_key: impl Fn(&str) -> String,
) -> String {
    let (name, unsettled) = (table.name.quoted(), &settling.unsettled);
    let held = still_held!();
    let of_wanted = same_key("wanted");
    let lock = match (may_lock, &settling.mark) {
        (false, _) => "",
        (true, None) => "FOR UPDATE OF t SKIP LOCKED",
        // As marking locks it: a foreign key that refers to the row is in nobody's way.
        (true, Some(_)) => "FOR NO KEY UPDATE OF t SKIP LOCKED",
    };
    let of_free = same_key("free");
    let settle = match &settling.mark {
        None => format!("DELETE FROM {name} AS t USING free WHERE {of_free}"),
        Some(mark) => format!("UPDATE {name} AS t SET {mark} FROM free WHERE {of_free} AND {unsettled}"),
    };
    format!(
        "WITH wanted AS MATERIALIZED (SELECT * FROM {wanted}), \
         free AS MATERIALIZED (SELECT wanted.* FROM wanted JOIN {name} AS t ON {of_wanted} WHERE {unsettled} AND {held} {lock}), \
         settled AS ({settle} RETURNING free.number) \
         SELECT wanted.number FROM wanted JOIN {name} AS t ON {of_wanted} \
         WHERE {unsettled} AND wanted.number NOT IN (SELECT number FROM settled)"
    )
}

/// The rows of as many arrays of texts, bound from `$first` on.
fn unnested(count: usize, first: usize) -> String {
    format!(
        "unnest({})",
        listed(first..first + count, |number| format!("${number}::text[]"))
    )
}

fn listed<T>(items: impl Iterator<Item = T>, mut text: impl FnMut(T) -> String) -> String {
    items.fold(String::new(), |mut list, item| {
        let separator = if list.is_empty() { "" } else { ", " };
        let _ = write!(list, "{separator}{}", text(item));
        list
    })
}

/// The size of the columns whose values vary in length.
fn sum(columns: &[TableColumn], size: impl Fn(&TableColumn) -> String) -> String {
    let sizes = columns.iter().filter(|column| column.varies);
    let sizes: Vec<String> = sizes
        .map(|column| format!("coalesce({}, 0)::bigint", size(column)))
        .collect();
    match sizes.is_empty() {
        true => "0::bigint".to_owned(),
        false => sizes.join(" + "),
    }
}

/// The size of a value as far as it is known without fetching it: where the database would have to make a text of it first, what it
/// takes on disk.
fn about(column: &TableColumn) -> String {
    match column.base_oid {
        oid::BYTEA | oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::JSON => exactly(column),
        _ => format!("pg_column_size({})", column.sql()),
    }
}

fn exactly(column: &TableColumn) -> String {
    match column.base_oid {
        oid::BYTEA | oid::BPCHAR => format!("octet_length({})", column.sql()),
        _ => format!("octet_length(({})::text)", column.value_sql()),
    }
}
