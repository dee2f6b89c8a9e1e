//! What a person on call should know of a PostgreSQL outbox, for the relay's log and for `status`.

mod segments;
mod slots;
mod transactions;

use std::time::Duration;

use onewrite_core::StoreError;
use onewrite_core::alarm::{Alarm, AlarmThresholds};
use tokio_postgres::{Client, Error};

use super::error::failed;
use super::session::BEGIN_READING;

pub(super) use slots::{Slot, missing_slot, slots};

/// Everything there is, the most pressing first.
pub(super) async fn look(
    client: &Client,
    retention: Duration,
    thresholds: &AlarmThresholds,
) -> Result<Vec<Alarm>, StoreError> {
    let mut alarms = read(client, retention, thresholds)
        .await
        .map_err(|error| failed("looking for alarms", error))?;
    alarms.sort_by_key(|alarm| alarm.kind);
    Ok(alarms)
}

async fn read(client: &Client, retention: Duration, thresholds: &AlarmThresholds) -> Result<Vec<Alarm>, Error> {
    // The same way to the indexes as for reading events, but nothing is written, so that it can be asked of a standby too.
    let begin = BEGIN_READING.replacen("READ WRITE", "READ ONLY", 1);
    client.batch_execute(&begin).await?;
    let slots = slots(client).await?;
    let held = transactions::held(client, !slots.is_empty(), thresholds).await?;
    let mut alarms = slots::alarms(&slots, &slots::owners(client).await?, &held, thresholds);
    alarms.extend(held.into_iter().map(transactions::Held::alarm));
    alarms.extend(segments::alarms(client, retention, thresholds).await?);
    client.batch_execute("COMMIT").await?;
    Ok(alarms)
}
