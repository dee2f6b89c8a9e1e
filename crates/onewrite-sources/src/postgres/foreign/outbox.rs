//! What a contract of its own puts in the place of the native outbox.

use std::sync::{Arc, Mutex, PoisonError};

use onewrite_core::options::Options;
use onewrite_core::routing::Share;
use onewrite_core::{Lease, Source, StoreError};

use super::super::connection::Connector;
use super::super::log as native;
use super::super::session::{Session, fenced};
use super::adopt::{adopt, has_progress};
use super::log::{Log, LogFeed, LogReader};
use super::parking::Numbers;
use super::progress::Progress;
use super::reader::Reader;
use super::rows::{Prepared, Rows};
use super::settings::{Foreign, Place};

/// An outbox that is not Onewrite's own, as the engine sees it.
pub(crate) struct ForeignOutbox {
    settings: Arc<Foreign>,
    numbers: Arc<Numbers>,
    /// The reader of the log under the present lease.
    log: Mutex<Option<Arc<LogReader>>>,
}

impl ForeignOutbox {
    /// Reads the options; `None` where the outbox is Onewrite's own.
    ///
    /// # Errors
    /// `Refused`, naming the option and what is wrong with it.
    pub fn from_options(options: &Options) -> Result<Option<Self>, StoreError> {
        let settings = Foreign::from_options(options)?;
        Ok(settings.map(|settings| Self {
            settings: Arc::new(settings),
            numbers: Arc::default(),
            log: Mutex::default(),
        }))
    }

    /// Where the events are and how they are found, for people.
    pub fn place(&self) -> String {
        let feed = if self.settings.is_rows() { "poll" } else { "wal" };
        format!("{}, feed {feed}", self.settings.place_name())
    }

    /// See [`Outbox::adopt`](onewrite_core::Outbox::adopt); also looks everything up that is configured.
    ///
    /// # Errors
    /// `Refused`, naming the option that does not fit the database, or telling that the slot is lost.
    pub async fn adopt(&self, connector: &Connector, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
        let session = Session::open(connector, lease).await?;
        session.fence().await?;
        let (client, settings) = (session.client(), &*self.settings);
        if settings.is_rows() {
            for share in shares {
                Prepared::new(client, settings, share).await?;
            }
            adopt(client, lease, shares, settings, (Progress::default(), false)).await?;
            return native::stop_following(&session, "the rows say what is settled").await;
        }
        if let Place::Table(_) = &settings.place {
            let reader = Reader::open(client, settings, &lease.relay).await?;
            reader.table.require_logged(&settings.section)?;
        }
        self.replace(None);
        let log = Log::of(client, settings, &lease.relay).await?;
        let had_progress = has_progress(client, lease, settings).await?;
        let start = log.prepare(client, lease, settings, had_progress).await?;
        let beginning = (Progress::before(start.place), start.is_new);
        adopt(client, lease, shares, settings, beginning).await?;
        let words = match start.is_new {
            true => format!(
                "the slot {} was made just now; the log says what is settled from here on",
                log.slot
            ),
            false => format!("the slot {} was there; the log says what is settled", log.slot),
        };
        tracing::info!(relay = %lease.relay, feed = "wal", "following the log: {words}");
        native::record(&session, "wal", &words, Some(&log.slot)).await?;
        self.replace(Some(LogReader::new(lease, shares)));
        Ok(())
    }

    /// See [`Outbox::feed`](onewrite_core::Outbox::feed).
    ///
    /// # Errors
    /// `Refused` where the database is not as it is configured.
    pub async fn feed(
        &self,
        connector: &Connector,
        lease: &Lease,
        share: &Share,
    ) -> Result<Box<dyn Source>, StoreError> {
        if self.settings.is_rows() {
            let rows = Rows::open(connector, lease, share, &self.settings, self.numbers.clone()).await?;
            return Ok(Box::new(rows));
        }
        let reader = self.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reader = reader
            .filter(|reader| reader.epoch == lease.epoch)
            .ok_or_else(|| fenced(lease))?;
        let log = (&*reader, &self.settings);
        Ok(Box::new(
            LogFeed::open(connector, lease, share, log, self.numbers.clone()).await?,
        ))
    }

    /// Puts a reader in the place of the one before, whose routes are told.
    fn replace(&self, reader: Option<LogReader>) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *log, reader.map(Arc::new));
        drop(log);
        if let Some(before) = before {
            before.end();
        }
    }
}
