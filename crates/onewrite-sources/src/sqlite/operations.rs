//! What operators ask of an SQLite outbox: each call opens the file, does one thing and leaves.

use async_trait::async_trait;
use jiff::Timestamp;
use onewrite_core::options::Options;
use onewrite_core::sink::Finding;
use onewrite_core::store::{ParkedEdit, ParkedEvent, ParkedFilter, ReplayRequest, Status};
use onewrite_core::{Operations, StoreError, StoreFailure};
use rusqlite::{Connection, Row, ToSql, TransactionBehavior, params};

use super::place::{Place, schema_problem, schema_version};
use super::rows::{time_text, timestamp};
use super::status;
use super::worker::Worker;

/// [`Operations`] for SQLite.
pub struct SqliteOperations {
    place: Place,
}

impl SqliteOperations {
    /// Operations on the file that the options of a source of type `sqlite` name. It opens nothing yet.
    ///
    /// # Errors
    /// `Refused`, naming the option that nothing could be made of.
    pub fn from_options(options: &Options) -> Result<Self, StoreError> {
        Ok(Self {
            place: Place::from_options(options)?,
        })
    }

    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        Worker::open(&self.place).await?.run(doing, work).await
    }
}

#[async_trait]
impl Operations for SqliteOperations {
    async fn status(&self) -> Result<Status, StoreError> {
        self.run("reading the status", |connection| status::read(connection))
            .await
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
        let filter = filter.clone();
        self.run("reading parked events", move |connection| {
            let payload = if filter.with_payload {
                "CAST(payload AS BLOB)"
            } else {
                "x''"
            };
            select(
                connection,
                &format!("SELECT {COLUMNS}, {payload} FROM onewrite_parked_event WHERE {FITS} ORDER BY id LIMIT ?6"),
                &filter,
            )
        })
        .await
    }

    async fn retry(&self, filter: &ParkedFilter) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.run("marking parked events for another delivery", move |connection| {
            let sql = format!(
                "UPDATE onewrite_parked_event SET state = 'retry' WHERE id IN \
                 (SELECT id FROM onewrite_parked_event WHERE state = 'parked' AND {FITS} ORDER BY id LIMIT ?6)"
            );
            connection
                .execute(&sql, binds(&filter).each_ref().map(|bind| &**bind))
                .map(|rows| rows as u64)
        })
        .await
    }

    async fn skip(&self, filter: &ParkedFilter) -> Result<Vec<ParkedEvent>, StoreError> {
        let filter = filter.clone();
        self.run("removing parked events", move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // What is only held behind another is removed when it is named by number, and not by the way.
            let sql = format!(
                "SELECT {COLUMNS}, CAST(payload AS BLOB) FROM onewrite_parked_event \
                 WHERE (state <> 'held' OR ?1 IS NOT NULL) AND {FITS} ORDER BY id LIMIT ?6"
            );
            let skipped = select(&transaction, &sql, &filter)?;
            for event in &skipped {
                transaction.execute("DELETE FROM onewrite_parked_event WHERE id = ?1", [event.id])?;
            }
            transaction.commit()?;
            Ok(skipped)
        })
        .await
    }

    async fn edit(&self, id: i64, edit: &ParkedEdit) -> Result<bool, StoreError> {
        const EDIT: &str = "UPDATE onewrite_parked_event SET topic = coalesce(?2, topic), payload = coalesce(?3, payload), \
                            content_type = coalesce(?4, content_type), headers = coalesce(?5, headers) WHERE id = ?1";
        edit.check().map_err(|invalid| {
            StoreError::new(
                StoreFailure::Refused,
                format!("parked event {id} is left as it is: {invalid}"),
            )
            .because(invalid)
        })?;
        let edit = edit.clone();
        self.run("changing a parked event", move |connection| {
            let headers = edit.headers.as_ref().map(serde_json::Value::to_string);
            connection
                .execute(EDIT, params![id, edit.topic, edit.payload, edit.content_type, headers])
                .map(|rows| rows > 0)
        })
        .await
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<i64, StoreError> {
        request.check()?;
        let request = request.clone();
        let asked = self
            .run("asking for a replay", move |connection| ask(connection, &request))
            .await?;
        asked.map_err(|problem| StoreError::new(StoreFailure::Refused, problem))
    }

    async fn set_paused(&self, relay: &str, route: Option<&str>, paused: bool) -> Result<u64, StoreError> {
        // What the relay reports a moment later says the same; until then, and where no relay runs, this does.
        const SET: &str = "UPDATE onewrite_route SET paused = ?3, halted = CASE WHEN ?3 THEN halted END, \
                           state = CASE WHEN NOT ?3 THEN 'running' WHEN halted IS NULL THEN 'paused' ELSE state END \
                           WHERE relay = ?1 AND name = coalesce(?2, name)";
        let (relay, route) = (relay.to_owned(), route.map(str::to_owned));
        self.run("pausing or resuming routes", move |connection| {
            connection.execute(SET, (relay, route, paused))
        })
        .await
        .map(|rows| rows as u64)
    }

    async fn probe(&self) -> Vec<Finding> {
        let subject = self.place.path().display().to_string();
        let place = self.place.clone();
        let probed = tokio::task::spawn_blocking(move || probe(&place)).await;
        probed.unwrap_or_else(|error| vec![Finding::broken(subject, format!("the check panicked: {error}"))])
    }
}

/// The columns of [`ParkedEvent`] in its order, but for the payload.
const COLUMNS: &str = "id, relay, route, state, event_id, topic, key, type, content_type, headers, \
                       length(CAST(payload AS BLOB)), occurred_at, parked_at, attempts, error";

/// What fits a [`ParkedFilter`], bound by [`binds`].
const FITS: &str = "(?1 IS NULL OR id IN (SELECT value FROM json_each(?1))) AND (?2 IS NULL OR relay = ?2) \
                    AND (?3 IS NULL OR route = ?3) AND (?4 IS NULL OR topic = ?4) AND (?5 IS NULL OR key = ?5)";

fn binds(filter: &ParkedFilter) -> [Box<dyn ToSql>; 6] {
    let ids = (!filter.ids.is_empty()).then(|| serde_json::json!(filter.ids).to_string());
    [
        Box::new(ids),
        Box::new(filter.relay.clone()),
        Box::new(filter.route.clone()),
        Box::new(filter.topic.clone()),
        Box::new(filter.key.clone()),
        Box::new(filter.limit.unwrap_or(-1)),
    ]
}

fn select(connection: &Connection, sql: &str, filter: &ParkedFilter) -> rusqlite::Result<Vec<ParkedEvent>> {
    let mut statement = connection.prepare(sql)?;
    statement
        .query_map(binds(filter).each_ref().map(|bind| &**bind), parked_event)?
        .collect()
}

fn parked_event(row: &Row<'_>) -> rusqlite::Result<ParkedEvent> {
    let time = |column| {
        row.get::<_, String>(column)
            .map(|text| timestamp(&text).unwrap_or(Timestamp::UNIX_EPOCH))
    };
    Ok(ParkedEvent {
        id: row.get(0)?,
        relay: row.get(1)?,
        route: row.get(2)?,
        state: row.get(3)?,
        event_id: row.get::<_, String>(4)?.parse().unwrap_or_default(),
        topic: row.get(5)?,
        key: row.get(6)?,
        event_type: row.get(7)?,
        content_type: row.get(8)?,
        headers: serde_json::from_str(row.get_ref(9)?.as_str()?).unwrap_or_default(),
        payload_bytes: row.get(10)?,
        occurred_at: time(11)?,
        parked_at: time(12)?,
        attempts: row.get(13)?,
        error: row.get(14)?,
        payload: row.get(15)?,
    })
}

/// Writes a replay's request; in words, why there can be none.
fn ask(connection: &mut Connection, request: &ReplayRequest) -> rusqlite::Result<Result<i64, String>> {
    const ASK: &str = "INSERT INTO onewrite_replay (relay, route, since, until, topic, key, ids, up_to) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT coalesce(max(sequence), 0) FROM onewrite_outbox)) RETURNING id";
    let ReplayRequest {
        relay,
        route,
        since,
        until,
        topic,
        key,
        ids,
    } = request;
    let known: Vec<(String, String)> = connection
        .prepare("SELECT relay, name FROM onewrite_route ORDER BY relay, name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    if !known
        .iter()
        .any(|(known_relay, known_route)| known_relay == relay && known_route == route)
    {
        let names: Vec<String> = known.iter().map(|(relay, route)| format!("{relay}/{route}")).collect();
        return Ok(Err(format!(
            "there is no route {route:?} of relay {relay:?} with recorded progress; there are: {}",
            names.join(", ")
        )));
    }
    let ids = (!ids.is_empty()).then(|| serde_json::json!(ids).to_string());
    let (since, until) = (since.map(time_text), until.map(time_text));
    connection
        .query_row(ASK, params![relay, route, since, until, topic, key, ids], |row| {
            row.get(0)
        })
        .map(Ok)
}

fn probe(place: &Place) -> Vec<Finding> {
    let subject = place.path().display().to_string();
    let connection = match place.open_any() {
        Ok(connection) => connection,
        Err(error) => return vec![Finding::broken(subject, onewrite_core::error::chain(&error))],
    };
    let problem = schema_version(&connection).map(schema_problem);
    let mut findings = Vec::new();
    match problem {
        Ok(None) => findings.push(Finding::works(
            &subject,
            "the file can be opened, and its schema is the one this program needs",
        )),
        Ok(Some(problem)) => findings.push(Finding::broken(&subject, problem)),
        Err(error) => findings.push(Finding::broken(
            &subject,
            onewrite_core::error::chain(&place.failed("reading the schema's version", error)),
        )),
    }
    let written = connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK");
    findings.push(match written {
        Ok(()) => Finding::works("writing", "the relay can write its progress"),
        Err(error) => Finding::broken(
            "writing",
            onewrite_core::error::chain(&place.failed("beginning to write", error)),
        ),
    });
    let journal: rusqlite::Result<String> = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0));
    if journal.is_ok_and(|mode| !mode.eq_ignore_ascii_case("wal")) {
        let words = "the journal mode is not WAL, so the relay and the writers block each other; run `onewrite migrate`, which sets it";
        findings.push(Finding::warning("journal mode", words));
    }
    findings
}
