//! Which rows of a table are settled, and in which order the others come: `settle`, `mark_column` and `order_by`.

use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::super::error::failed;
use super::catalogue::{Table, TableColumn};
use super::name::literal;
use super::settings::Settling;
use crate::foreign::value::oid;

/// What is done to settled rows, in SQL over the table `t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettlingSql {
    /// True of a row that is not settled.
    pub unsettled: String,
    /// The assignment that marks a row; `None` where settled rows are deleted.
    pub mark: Option<String>,
    /// The number of the column that holds the mark.
    pub mark_number: Option<i16>,
}

impl SettlingSql {
    /// Looks the columns up.
    ///
    /// # Errors
    /// `Refused`, naming the option that does not fit the column.
    pub fn new(section: &str, table: &Table, settling: &Settling) -> Result<Self, StoreError> {
        let Settling::Mark {
            column,
            marked,
            unmarked,
        } = settling
        else {
            return Ok(Self {
                unsettled: "true".to_owned(),
                mark: None,
                mark_number: None,
            });
        };
        let column = &table.columns[table.find(&format!("{section}.mark_column"), column)?];
        let wrong = |key: &str, words: &str| {
            let name = &column.column.name;
            let words = format!(
                "{section}.{key}: the column {name} is of type {}; {words}",
                column.sql_type
            );
            StoreError::new(StoreFailure::Refused, words)
        };
        let own = |key: &str, value: &Option<String>| match value {
            Some(_) => Err(wrong(key, "what it holds goes without saying, so leave this out")),
            None => Ok(()),
        };
        let given = |key: &str, value: &Option<String>, usual: Option<&str>| match (value, usual) {
            (Some(value), _) => Ok(literal(value)),
            (None, Some(usual)) => Ok(usual.to_owned()),
            (None, None) => Err(wrong(key, "say what it holds")),
        };
        let sql = column.sql();
        let (unsettled, value) = match column.base_oid {
            oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::DATE => {
                own("mark_value", marked)?;
                own("unmarked_value", unmarked)?;
                if !column.nullable {
                    return Err(wrong(
                        "mark_column",
                        "it is NOT NULL, so that every row would count as settled",
                    ));
                }
                (format!("{sql} IS NULL"), "now()".to_owned())
            }
            oid::BOOL => {
                own("mark_value", marked)?;
                own("unmarked_value", unmarked)?;
                (of_boolean(column), "true".to_owned())
            }
            _ if column.is_integer() => {
                let before = given("unmarked_value", unmarked, Some("0"))?;
                (of_integer(column, &before), given("mark_value", marked, Some("1"))?)
            }
            _ => {
                let before = given("unmarked_value", unmarked, None)?;
                (format!("{sql} = {before}"), given("mark_value", marked, None)?)
            }
        };
        let name = super::name::quoted(&column.column.name);
        Ok(Self {
            unsettled,
            mark: Some(format!("{name} = {value}")),
            mark_number: Some(column.number),
        })
    }
}

// A condition is written as simply as the column allows, so that an index WHERE the same is used.
fn of_boolean(column: &TableColumn) -> String {
    match column.nullable {
        true => format!("{} IS NOT TRUE", column.sql()),
        false => format!("NOT {}", column.sql()),
    }
}

fn of_integer(column: &TableColumn, before: &str) -> String {
    match column.nullable {
        // Nobody wrote anything: that is no mark.
        true => format!("coalesce({}, {before}) = {before}", column.sql()),
        false => format!("{} = {before}", column.sql()),
    }
}

/// The order of rows.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// The column that it is by.
    pub column: TableColumn,
    /// What tells rows apart that are equal there.
    pub tie: Option<String>,
    /// Whether an index gives the unsettled rows in this order.
    pub is_indexed: bool,
}

impl Order {
    /// The order by `named`, or else by the primary key where that is a number, or else by the time.
    ///
    /// # Errors
    /// `Refused` where there is no such column, or none that gives an order.
    pub async fn new(
        client: &Client,
        section: &str,
        table: &Table,
        (named, time): (Option<&str>, Option<&str>),
        settling: &SettlingSql,
    ) -> Result<Self, StoreError> {
        let key = table.primary_key();
        let number = match key.as_slice() {
            [only] if table.columns[*only].is_integer() => Some(*only),
            _ => None,
        };
        let at = match (named, number, time) {
            (Some(name), _, _) => table.find(&format!("{section}.order_by"), name)?,
            (None, Some(number), _) => number,
            (None, None, Some(time)) => table.find(&format!("{section}.columns.time"), time)?,
            (None, None, None) => {
                let words = format!(
                    "{section}.order_by: missing; the table {} has no number as its primary key, so name the column that ascends \
                     in the order in which the rows of one key are written",
                    table.name
                );
                return Err(StoreError::new(StoreFailure::Refused, words));
            }
        };
        let column = table.columns[at].clone();
        let tie = match number {
            Some(number) if number == at => None,
            Some(number) => Some(table.columns[number].sql()),
            // Rows of one transaction mostly lie in the order in which they were written.
            None => Some("t.ctid".to_owned()),
        };
        let is_indexed = is_indexed(client, table, &column, settling).await?;
        Ok(Self {
            column,
            tie,
            is_indexed,
        })
    }
}

/// Whether an index gives the unsettled rows in order: by the order's column alone where settled rows are deleted; where they
/// stay, one that leaves them out, or begins with the mark.
async fn is_indexed(
    client: &Client,
    table: &Table,
    column: &TableColumn,
    settling: &SettlingSql,
) -> Result<bool, StoreError> {
    const INDEXED: &str = "SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                           JOIN pg_am ON pg_am.oid = c.relam WHERE i.indrelid = $1 AND i.indisvalid AND pg_am.amname = 'btree' \
                           AND CASE WHEN $3::int2 IS NULL THEN i.indkey[0] = $2 AND i.indpred IS NULL \
                                    ELSE (i.indkey[0] = $2 AND i.indpred IS NOT NULL) OR (i.indkey[0] = $3 AND i.indkey[1] = $2) END)";
    let parameters = [
        (&table.oid as _, Type::OID),
        (&column.number as _, Type::INT2),
        (&settling.mark_number as _, Type::INT2),
    ];
    let row = client.query_typed_one(INDEXED, &parameters).await;
    Ok(row.map_err(|error| failed("looking for an index", error))?.get(0))
}
