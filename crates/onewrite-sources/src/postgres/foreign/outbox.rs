//! What a contract of its own puts in the place of the native outbox.

use std::sync::Arc;

use onewrite_core::options::Options;
use onewrite_core::routing::Share;
use onewrite_core::{Lease, Source, StoreError};

use super::super::connection::Connector;
use super::super::log;
use super::super::session::Session;
use super::adopt::adopt;
use super::parking::Numbers;
use super::rows::{Prepared, Rows};
use super::settings::{Foreign, Truth};

/// An outbox that is not Onewrite's own, as the engine sees it.
pub(crate) struct ForeignOutbox {
    settings: Foreign,
    numbers: Arc<Numbers>,
}

impl ForeignOutbox {
    /// Reads the options; `None` where the outbox is Onewrite's own.
    ///
    /// # Errors
    /// `Refused`, naming the option and what is wrong with it.
    pub fn from_options(options: &Options) -> Result<Option<Self>, StoreError> {
        let settings = Foreign::from_options(options)?;
        Ok(settings.map(|settings| Self {
            settings,
            numbers: Arc::default(),
        }))
    }

    /// Where the events are, for people.
    pub fn place(&self) -> String {
        self.settings.place_name()
    }

    /// See [`Outbox::adopt`](onewrite_core::Outbox::adopt); also looks everything up that is configured.
    ///
    /// # Errors
    /// `Refused`, naming the option that does not fit the database.
    pub async fn adopt(&self, connector: &Connector, lease: &Lease, shares: &[Share]) -> Result<(), StoreError> {
        let session = Session::open(connector, lease).await?;
        match &self.settings.truth {
            Truth::Rows { .. } => {
                for share in shares {
                    Prepared::new(session.client(), &self.settings, share).await?;
                }
                adopt(session.client(), lease, shares, &self.settings).await?;
                log::stop_following(&session, "the rows say what is settled").await
            }
            Truth::Log => todo!(),
        }
    }

    /// See [`Outbox::feed`](onewrite_core::Outbox::feed).
    ///
    /// # Errors
    /// `Refused` where the database is not as it is configured.
    pub async fn feed(&self, connector: &Connector, lease: &Lease, share: &Share) -> Result<Box<dyn Source>, StoreError> {
        match &self.settings.truth {
            Truth::Rows { .. } => {
                let rows = Rows::open(connector, lease, share, &self.settings, self.numbers.clone()).await?;
                Ok(Box::new(rows))
            }
            Truth::Log => todo!(),
        }
    }
}
