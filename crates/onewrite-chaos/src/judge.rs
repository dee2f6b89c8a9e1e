//! The checker's word on a run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use onewrite_core::promise::{Found, Ledger, Verdict};
use onewrite_testkit::servers::Database;
use onewrite_testkit::wait;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

/// Compares the ledger in the database, and what rolled back for sure, with what was found at the end of the way.
///
/// # Panics
/// When the database does not answer.
pub async fn judge(database: &Database, rolled_back: &[Uuid], found: &Found) -> Verdict {
    let client = database.connect().await;
    let rows = client
        .query("SELECT event_id::text, key, number FROM ledger", &[])
        .await;
    let mut ledger = Ledger::default();
    for row in rows.expect("the ledger") {
        let number: i64 = row.get(2);
        ledger.committed(id(row.get(0)), Some((row.get(1), number.cast_unsigned())));
    }
    rolled_back.iter().for_each(|id| ledger.rolled_back(*id));
    ledger.judge(found)
}

/// In which windows the committed events were written that arrived nowhere, and how many of each; `committed` is how many there were
/// at the end of each window.
///
/// # Panics
/// When the database does not answer.
pub async fn lost_by_window(database: &Database, arrived: &HashSet<Uuid>, committed: &[i64]) -> BTreeMap<usize, u64> {
    const IDS: &str = "SELECT event_id::text FROM ledger ORDER BY written_at";
    let rows = database.connect().await.query(IDS, &[]).await;
    let mut lost = BTreeMap::new();
    for (place, row) in (0..).zip(rows.expect("the ledger")) {
        if !arrived.contains(&id(row.get(0))) {
            let window = committed.partition_point(|so_far| *so_far <= place);
            *lost.entry(window).or_default() += 1;
        }
    }
    lost
}

/// The ids that are parked.
///
/// # Panics
/// When the database does not answer.
pub async fn parked(database: &Database) -> HashSet<Uuid> {
    let client = database.connect().await;
    let rows = client
        .query("SELECT event_id::text FROM onewrite.parked_event", &[])
        .await;
    let rows = rows.expect("parked events");
    rows.iter().map(|row| id(row.get(0))).collect()
}

/// Consumers of one inbox.
const CONSUMERS: usize = 4;

/// Deliveries that a consumer applies in one transaction.
const TOGETHER: usize = 200;

/// Lets consumers with one inbox apply deliveries, duplicates included, several at once and with transactions that roll back, and
/// tells how often each took effect.
///
/// # Panics
/// When the database does not answer.
pub async fn effects(database: &Database, deliveries: &[Uuid]) -> HashMap<Uuid, u64> {
    let client = database.connect().await;
    let table = "CREATE TABLE effect (event_id uuid NOT NULL)";
    client.batch_execute(table).await.expect("a table for effects");
    let mut consumers = JoinSet::new();
    for number in 0..CONSUMERS {
        // Each has every fourth part, so that what came twice is with two of them.
        let parts = deliveries.chunks(TOGETHER).skip(number).step_by(CONSUMERS);
        let mut parts: Vec<Vec<String>> = parts.map(|part| part.iter().map(Uuid::to_string).collect()).collect();
        // The same order for all, so that transactions wait for each other and not in a circle.
        parts.iter_mut().for_each(|part| part.sort());
        consumers.spawn(consume(database.clone(), parts));
    }
    consumers.join_all().await;
    let rows = client
        .query("SELECT event_id::text, count(*) FROM effect GROUP BY 1", &[])
        .await;
    let rows = rows.expect("the effects");
    rows.iter()
        .map(|row| (id(row.get(0)), row.get::<_, i64>(1).cast_unsigned()))
        .collect()
}

async fn consume(database: Database, parts: Vec<Vec<String>>) {
    let mut client = database.connect().await;
    let mut random = fastrand::Rng::with_seed(parts.len() as u64);
    for part in parts {
        let mut gives_up = random.u8(0..5) == 0;
        // A deadlock, which the database ends, is as good a reason to begin anew.
        let deadline = Instant::now() + wait::PATIENCE;
        loop {
            let applied = apply(&mut client, &part, std::mem::take(&mut gives_up)).await;
            if matches!(applied, Ok(true)) {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "a consumer cannot apply its part: {applied:?}"
            );
        }
    }
}

/// Whether it is applied for good.
async fn apply(client: &mut Client, part: &[String], gives_up: bool) -> Result<bool, Error> {
    const APPLY: &str =
        "INSERT INTO effect SELECT id FROM unnest($1::text[]::uuid[]) AS id WHERE onewrite.receive('chaos', id)";
    let transaction = client.transaction().await?;
    transaction.execute(APPLY, &[&part]).await?;
    if gives_up {
        transaction.rollback().await?;
        return Ok(false);
    }
    transaction.commit().await?;
    Ok(true)
}

/// An id as the database or a header writes it.
///
/// # Panics
/// When it is none.
pub fn id(text: &str) -> Uuid {
    text.parse().expect("an id is a UUID")
}
