//! Giving a relay up for good.

use std::collections::BTreeSet;

use onewrite_core::store::Forgotten;
use onewrite_core::{StoreError, StoreFailure};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Transaction};

use super::super::error::failed;
use super::super::lease::LOCK_LAYOUT;
use super::super::log::slot;

const FORGETTING: &str = "giving up the relay";

/// Removes everything that is recorded of a relay, and its slot.
///
/// # Errors
/// `Refused` when there is no such relay, when a process runs it, and when the user may not drop its slot.
pub(super) async fn forget(client: &mut Client, relay: &str) -> Result<Forgotten, StoreError> {
    let wrong = |error: Error| failed(FORGETTING, error);
    let transaction = client.transaction().await.map_err(wrong)?;
    // The locks keep a lease from being taken until all is gone.
    const RELAY: &str = concat!(
        "SELECT slot, CASE WHEN ",
        lasts!(),
        " THEN holder END FROM onewrite.relay WHERE name = $1 ORDER BY lane_group FOR UPDATE"
    );
    const MEMBERS: &str = concat!("SELECT holder FROM onewrite.member WHERE relay = $1 AND ", lives!());
    let of_relay = [(&relay as &(dyn ToSql + Sync), Type::TEXT)];
    let locked = transaction.execute_typed(LOCK_LAYOUT, &of_relay).await;
    locked.map_err(wrong)?;
    let groups = transaction.query_typed(RELAY, &of_relay).await.map_err(wrong)?;
    if groups.is_empty() {
        return Err(unknown(&transaction, relay).await.map_err(wrong)?);
    }
    let members = transaction.query_typed(MEMBERS, &of_relay).await.map_err(wrong)?;
    let holders = groups.iter().filter_map(|row| row.get::<_, Option<&str>>(1));
    let runs: BTreeSet<&str> = holders.chain(members.iter().map(|row| row.get(0))).collect();
    if !runs.is_empty() {
        let runs: Vec<&str> = runs.into_iter().collect();
        return Err(refused(format!(
            "the relay {relay:?} is run by {}; stop it first, and give up only what nobody runs any more",
            runs.join(", ")
        )));
    }
    let mut slots = Vec::new();
    for slot in groups.iter().filter_map(|row| row.get::<_, Option<String>>(0)) {
        slots.extend(drop_slot(&transaction, slot).await?);
    }
    let forgotten = remove(&transaction, relay, slots).await.map_err(wrong)?;
    transaction.commit().await.map_err(wrong)?;
    Ok(forgotten)
}

/// Drops the slot first: should the rest fail, nothing is kept on the server's disk for a relay that nobody runs.
async fn drop_slot(transaction: &Transaction<'_>, slot: String) -> Result<Option<String>, StoreError> {
    const DROP: &str = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 \
                        AND database = current_database()";
    // Nobody holds the lease, so whoever still reads from it does so in vain.
    slot::free(transaction.client(), &slot).await?;
    let dropped = transaction.query_typed_opt(DROP, &[(&slot, Type::TEXT)]).await;
    match dropped {
        Ok(dropped) => Ok(dropped.map(|_| slot)),
        Err(error) => Err(refused(format!(
            "the relay's slot cannot be dropped, so nothing was done; as a superuser run \
             SELECT pg_drop_replication_slot('{slot}'); and then this again"
        ))
        .because(error)),
    }
}

async fn remove(transaction: &Transaction<'_>, relay: &str, slots: Vec<String>) -> Result<Forgotten, Error> {
    let of_relay = [(&relay as _, Type::TEXT)];
    // How far back the outbox reaches is everybody's business.
    const BEQUEATH: &str = "UPDATE onewrite.relay SET emptied_through = greatest(relay.emptied_through, gone.emptied_through), \
                            emptied_until = greatest(relay.emptied_until, gone.emptied_until) \
                            FROM (SELECT max(emptied_through) AS emptied_through, max(emptied_until) AS emptied_until \
                                  FROM onewrite.relay WHERE name = $1) AS gone WHERE relay.name <> $1";
    transaction.execute_typed(BEQUEATH, &of_relay).await?;
    let routes = "DELETE FROM onewrite.route WHERE relay = $1 RETURNING name";
    let mut routes: Vec<String> = transaction
        .query_typed(routes, &of_relay)
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    routes.sort_unstable();
    routes.dedup();
    let parked = "DELETE FROM onewrite.parked_event WHERE relay = $1";
    let parked = transaction.execute_typed(parked, &of_relay).await?;
    for rest in [
        "DELETE FROM onewrite.replay WHERE relay = $1",
        "DELETE FROM onewrite.member WHERE relay = $1",
        "DELETE FROM onewrite.skipped_event WHERE relay = $1",
        "DELETE FROM onewrite.relay WHERE name = $1",
    ] {
        transaction.execute_typed(rest, &of_relay).await?;
    }
    Ok(Forgotten { routes, parked, slots })
}

async fn unknown(transaction: &Transaction<'_>, relay: &str) -> Result<StoreError, Error> {
    const KNOWN: &str = "SELECT coalesce(string_agg(DISTINCT quote_ident(name), ', '), 'none') FROM onewrite.relay";
    let row = transaction.query_typed_one(KNOWN, &[]).await?;
    let known: &str = row.get(0);
    Ok(refused(format!("there is no relay {relay:?}; recorded are: {known}")))
}

fn refused(words: String) -> StoreError {
    StoreError::new(StoreFailure::Refused, words)
}
