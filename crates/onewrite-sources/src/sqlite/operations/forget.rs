//! Giving a relay up for good.

use onewrite_core::store::Forgotten;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::super::outbox::LASTS;

/// Removes everything that is recorded of a relay; in words, why that may not be.
pub(super) fn forget(connection: &mut Connection, relay: &str) -> rusqlite::Result<Result<Forgotten, String>> {
    let sql = format!("SELECT CASE WHEN {LASTS} THEN holder END FROM onewrite_relay WHERE name = ?1");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let holder = transaction.query_row(&sql, [relay], |row| row.get::<_, Option<String>>(0));
    match holder.optional()? {
        None => {
            const KNOWN: &str = "SELECT coalesce(group_concat(name, ', ' ORDER BY name), 'none') FROM onewrite_relay";
            let known: String = transaction.query_row(KNOWN, [], |row| row.get(0))?;
            Ok(Err(format!("there is no relay {relay:?}; recorded are: {known}")))
        }
        Some(Some(holder)) => Ok(Err(format!(
            "the relay {relay:?} is run by {holder}; stop it first, and give up only what nobody runs any more"
        ))),
        Some(None) => {
            let forgotten = remove(&transaction, relay)?;
            transaction.commit()?;
            Ok(Ok(forgotten))
        }
    }
}

fn remove(transaction: &Transaction<'_>, relay: &str) -> rusqlite::Result<Forgotten> {
    // How far back the outbox reaches is everybody's business.
    const BEQUEATH: &str = "\
        UPDATE onewrite_relay SET \
          removed_through = nullif(max(coalesce(removed_through, 0), (SELECT coalesce(gone.removed_through, 0) \
            FROM onewrite_relay AS gone WHERE gone.name = ?1)), 0), \
          removed_until = nullif(max(coalesce(removed_until, ''), (SELECT coalesce(gone.removed_until, '') \
            FROM onewrite_relay AS gone WHERE gone.name = ?1)), '') \
        WHERE name <> ?1";
    transaction.execute(BEQUEATH, [relay])?;
    let routes = "SELECT name FROM onewrite_route WHERE relay = ?1 ORDER BY name";
    let routes = transaction
        .prepare(routes)?
        .query_map([relay], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let parked = transaction.execute("DELETE FROM onewrite_parked_event WHERE relay = ?1", [relay])? as u64;
    for rest in [
        "DELETE FROM onewrite_route WHERE relay = ?1",
        "DELETE FROM onewrite_replay WHERE relay = ?1",
        "DELETE FROM onewrite_skipped_event WHERE relay = ?1",
        "DELETE FROM onewrite_relay WHERE name = ?1",
    ] {
        transaction.execute(rest, [relay])?;
    }
    Ok(Forgotten {
        routes,
        parked,
        slots: Vec::new(),
    })
}
