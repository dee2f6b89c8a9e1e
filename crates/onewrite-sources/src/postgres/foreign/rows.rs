//! Rows as the truth: the unsettled ones are polled, and deleted or marked once they are settled.
//!
//! No place in the table is remembered. A look lists the first unsettled rows, in order, that are not under way; they are read and
//! handed out, and only when the list is used up does the next look come. Whatever a look sees includes everything that was
//! committed before something that it sees, so events of one key come in the order of their commits if their rows are in that order; a
//! late commit, wherever it stands in the order, is seen by the next look.

mod statements;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use onewrite_core::routing::Share;
use onewrite_core::{BatchLimit, Lease, Parking, Position, Settlement, Source, Sourced, StoreError, StoreFailure};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use self::statements::{BEGIN_BY_KEY, BEGIN_SETTLING, Statements};
use super::super::connection::Connector;
use super::super::error::failed;
use super::super::parking::LOCK_ROUTE;
use super::super::reading::{is_cut, limits};
use super::super::rows::Microseconds;
use super::super::session::{Parameters, Session};
use super::catalogue::Table;
use super::limits::{LISTED_ROWS, LOCKED_REST, LOCKED_ROWS, REST, REST_MAX};
use super::parking::{self, Numbers};
use super::reader::{Reader, raw};
use super::settings::{Foreign, Truth};
use super::settling::{Order, SettlingSql};
use crate::foreign::debezium::Operation;

const READING: &str = "reading the table";
const SETTLING: &str = "settling rows";

/// Hands out the rows of a table that a route takes.
pub(super) struct Rows {
    session: Session,
    route: String,
    reader: Reader,
    statements: Statements,
    /// How many columns the primary key has.
    key_columns: usize,
    numbers: Arc<Numbers>,
    /// Unsettled rows that are not handed out, in order.
    listed: VecDeque<Listed>,
    /// Rows handed out and not settled, by their numbers.
    out: BTreeMap<u64, Key>,
    /// Those of them that are to be settled as soon as nobody else holds a lock on them.
    locked: BTreeSet<u64>,
    /// When these were tried last.
    tried_at: Instant,
    pace: crate::pace::Pace,
    /// How long the last look took.
    look: Duration,
}

/// The primary key of a row, each column as a text.
type Key = Box<[Box<str>]>;

struct Listed {
    key: Key,
    /// About so many bytes.
    size: usize,
}

impl Rows {
    /// Opens the rows that `share` takes.
    ///
    /// # Errors
    /// `Refused` where the table is not as it is configured.
    pub async fn open(
        connector: &Connector,
        lease: &Lease,
        share: &Share,
        foreign: &Foreign,
        numbers: Arc<Numbers>,
    ) -> Result<Self, StoreError> {
        let session = Session::open(connector, lease).await?;
        session.fence().await?;
        let prepared = Prepared::new(session.client(), foreign, share).await?;
        Ok(Self {
            session,
            route: share.route.clone(),
            key_columns: prepared.reader.table.primary_key().len(),
            reader: prepared.reader,
            statements: prepared.statements,
            numbers,
            listed: VecDeque::new(),
            out: BTreeMap::new(),
            locked: BTreeSet::new(),
            tried_at: Instant::now(),
            pace: crate::pace::Pace::new(),
            look: Duration::ZERO,
        })
    }

    /// Lists the first unsettled rows that are not under way.
    async fn list(&mut self, limit: BatchLimit) -> Result<(), StoreError> {
        let most = i64::try_from(limit.events.max(LISTED_ROWS)).unwrap_or(i64::MAX);
        let under_way = Keys::of(self.out.values());
        let mut parameters: Parameters<'_> = vec![(&most, Type::INT8)];
        under_way.bind(self.key_columns, &mut parameters);
        self.statements.filter.bind(&mut parameters);
        let began = Instant::now();
        let read = self.session.client().query_typed(&self.statements.list, &parameters);
        let rows = self
            .session
            .transaction(READING, self.statements.begin_listing, read)
            .await?;
        self.look = began.elapsed();
        for row in &rows {
            self.listed
                .push_back(listed(row).map_err(|error| failed(READING, error))?);
        }
        Ok(())
    }

    /// Reads the first of the listed rows, as far as the limit goes, and the fence after them.
    async fn fetch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let mut size = 0;
        let asked = (self.listed.iter().take(limit.events.max(1)))
            .take_while(|listed| {
                let fits = size < limit.bytes.max(1);
                size += listed.size;
                fits
            })
            .count();
        let keys = Keys::of(self.listed.iter().take(asked).map(|listed| &listed.key));
        let (_, bytes) = limits(limit);
        let mut parameters = Parameters::new();
        keys.bind(self.key_columns, &mut parameters);
        parameters.push((&bytes, Type::INT8));
        let read = self.session.client().query_typed(&self.statements.fetch, &parameters);
        let (rows, _) = self.session.fenced(READING, BEGIN_BY_KEY, read).await?;
        self.hand_out(&rows, asked, limit)
    }

    /// Settles rows by their numbers, but for those that somebody else holds a lock on: they stay under way, so that no look lists
    /// them, and are tried again.
    async fn settle_rows(&mut self, numbers: &[u64]) -> Result<(), StoreError> {
        let keys = Keys::of(numbers.iter().map(|number| &self.out[number]));
        let lease = self.session.lease();
        let lock: Parameters<'_> = vec![
            (&lease.relay, Type::TEXT),
            (&self.route, Type::TEXT),
            (&lease.epoch, Type::INT8),
        ];
        let mut settle = lock.clone();
        keys.bind(self.key_columns, &mut settle);
        let settled = self.session.transaction(SETTLING, BEGIN_SETTLING, async {
            let client = self.session.client();
            let (held, left) = futures::join!(
                client.execute_typed(LOCK_ROUTE, &lock),
                client.query_typed(&self.statements.settle, &settle)
            );
            match held.and_then(|held| Ok((held, left?))) {
                // The transaction is over, and has settled nothing.
                Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
                done => done.map(Some),
            }
        });
        let left: BTreeSet<u64> = match settled.await? {
            None => numbers.iter().copied().collect(),
            Some((held, left)) => {
                self.session.held(held)?;
                let number = |row: &Row| {
                    let place: i64 = row.try_get(0).map_err(|error| failed(SETTLING, error))?;
                    Ok(numbers[usize::try_from(place - 1).unwrap_or_default()])
                };
                left.iter().map(number).collect::<Result<_, StoreError>>()?
            }
        };
        for number in numbers {
            if !left.contains(number) {
                self.out.remove(number);
                self.locked.remove(number);
            }
        }
        self.locked.extend(left);
        Ok(())
    }

    /// Tries the rows again that somebody else had locked.
    async fn settle_locked(&mut self) -> Result<(), StoreError> {
        if self.locked.is_empty() || self.tried_at.elapsed() < LOCKED_REST {
            return Ok(());
        }
        let numbers: Vec<u64> = self.locked.iter().copied().collect();
        self.settle_rows(&numbers).await?;
        self.tried_at = Instant::now();
        let rows = self.locked.len();
        if rows >= LOCKED_ROWS {
            tracing::warn!(
                route = %self.route,
                rows,
                "other transactions hold locks on rows that are delivered; nothing more is handed out until some can be settled"
            );
        }
        Ok(())
    }

    fn hand_out(&mut self, rows: &[Row], asked: usize, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        let first = self.numbers.draw(self.session.lease(), rows.len());
        let (mut events, mut read, mut bytes) = (Vec::with_capacity(rows.len()), 0, 0);
        for (row, number) in rows.iter().zip(first..) {
            let wrong = |error| failed(READING, error);
            let (place, size): (i64, i64) = (row.try_get(0).map_err(wrong)?, row.try_get(1).map_err(wrong)?);
            let written: Microseconds = row.try_get(2).map_err(wrong)?;
            let values = raw(row, 3).map_err(wrong)?;
            read = usize::try_from(place).unwrap_or_default();
            bytes += usize::try_from(size).unwrap_or_default();
            let key = self.listed[read - 1].key.clone();
            let found = self
                .reader
                .event(Operation::Insert, &values, written.timestamp(), &key.join(" "));
            // What the contract passes over is settled with what comes after it.
            self.out.insert(number, key);
            let Some((event, defect)) = found else { continue };
            events.push(Sourced {
                position: Position::new(1, number),
                event,
                defect,
            });
        }
        // The bytes cut it short; what was asked for and is not there any more is passed over.
        let done = if is_cut(0, bytes, limit) { read } else { asked };
        self.listed.drain(..done);
        Ok(events)
    }
}

#[async_trait]
impl Source for Rows {
    async fn next_batch(&mut self, limit: BatchLimit) -> Result<Vec<Sourced>, StoreError> {
        self.settle_locked().await?;
        if self.locked.len() >= LOCKED_ROWS {
            self.pace.looked(false);
            return Ok(Vec::new());
        }
        loop {
            if self.listed.is_empty() {
                self.list(limit).await?;
            }
            if self.listed.is_empty() {
                self.pace.looked(false);
                return Ok(Vec::new());
            }
            let events = self.fetch(limit).await?;
            if !events.is_empty() {
                self.pace.looked(true);
                return Ok(events);
            }
        }
    }

    async fn wait(&mut self) {
        let rest = (self.look * REST).min(REST_MAX);
        tokio::time::sleep(self.pace.wait().max(rest)).await;
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<(), StoreError> {
        let Some(through) = settlement.through else {
            return Ok(());
        };
        let is_pending = |number: u64| settlement.pending.binary_search(&Position::new(1, number)).is_ok();
        let covered = self
            .out
            .range(..=through.sequence)
            .filter(|(number, _)| !is_pending(**number) && !self.locked.contains(number));
        let numbers: Vec<u64> = covered.map(|(number, _)| *number).collect();
        self.settle_rows(&numbers).await?;
        self.settle_locked().await
    }

    async fn park(&mut self, events: &[Parking]) -> Result<(), StoreError> {
        parking::park(&self.session, &self.route, events, |parking| parking.position.sequence).await
    }
}

/// Everything about a table that was looked up before it is used.
pub(super) struct Prepared {
    pub reader: Reader,
    pub statements: Statements,
    /// Whether an index gives the rows in their order, and which column that is.
    pub order: Order,
    /// What an unsettled row is, in SQL over the table `t`.
    pub settling: SettlingSql,
}

impl Prepared {
    /// Looks everything up that reading the rows of a share needs.
    ///
    /// # Errors
    /// `Refused`, naming the option that does not fit the table.
    pub async fn new(client: &Client, foreign: &Foreign, share: &Share) -> Result<Self, StoreError> {
        let Truth::Rows { settling, order_by } = &foreign.truth else {
            return Err(StoreError::new(StoreFailure::Refused, "these rows are not polled"));
        };
        let section = &foreign.section;
        let reader = Reader::open(client, foreign, &share.relay).await?;
        let table = &reader.table;
        if table.primary_key().is_empty() {
            let words = format!(
                "{section}.table: the table {} has no primary key, by which settled rows are found again; add one",
                table.name
            );
            return Err(StoreError::new(StoreFailure::Refused, words));
        }
        let settling = SettlingSql::new(section, table, settling)?;
        let ordering = (order_by.as_deref(), reader.time_column());
        let order = Order::new(client, section, table, ordering, &settling).await?;
        let (topic, event_type) = reader.topic_and_type_sql(section, share)?;
        let settling_sql = (&settling, may_lock(client, table, &settling).await?);
        let topic_and_type = (&*topic, &*event_type);
        let statements = Statements::new(table, reader.columns(), topic_and_type, settling_sql, &order, share);
        Ok(Self {
            statements,
            order,
            settling,
            reader,
        })
    }
}

/// Whether rows can be locked by themselves. Marking them needs the same; who only deletes need not have the privilege, and a
/// policy for it would hide rows. There one locked row delays all that are settled with it.
async fn may_lock(client: &Client, table: &Table, settling: &SettlingSql) -> Result<bool, StoreError> {
    const MAY: &str = "SELECT has_any_column_privilege($1, 'UPDATE') AND NOT row_security_active($1)";
    if settling.mark.is_some() {
        return Ok(true);
    }
    let row = client.query_typed_one(MAY, &[(&table.oid, Type::OID)]).await;
    Ok(row.map_err(|error| failed("reading privileges", error))?.get(0))
}

/// Keys by columns, as statements take them.
struct Keys<'a>(Vec<Vec<&'a str>>);

impl<'a> Keys<'a> {
    fn of(keys: impl Iterator<Item = &'a Key>) -> Self {
        let mut columns: Vec<Vec<&str>> = Vec::new();
        for key in keys {
            columns.resize_with(key.len(), Vec::new);
            for (column, part) in columns.iter_mut().zip(key) {
                column.push(part);
            }
        }
        Self(columns)
    }

    /// Appends as many arrays as the key has columns.
    fn bind<'b>(&'b self, columns: usize, parameters: &mut Parameters<'b>) {
        const NONE: &[&str] = &[];
        for at in 0..columns {
            match self.0.get(at) {
                Some(column) => parameters.push((column, Type::TEXT_ARRAY)),
                None => parameters.push((&NONE, Type::TEXT_ARRAY)),
            }
        }
    }
}

fn listed(row: &Row) -> Result<Listed, tokio_postgres::Error> {
    let size = row.len() - 1;
    let key = (0..size)
        .map(|at| row.try_get::<_, &str>(at).map(Box::from))
        .collect::<Result<_, _>>()?;
    let size: i64 = row.try_get(size)?;
    Ok(Listed {
        key,
        size: usize::try_from(size).unwrap_or_default(),
    })
}
