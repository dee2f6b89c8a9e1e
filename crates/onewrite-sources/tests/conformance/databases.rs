//! A database for each case on a shared server, of which it keeps no more than the present one.

use onewrite_testkit::servers::{Database, Postgres};

/// The databases of one harness. A slot that stays behind keeps the server's log for as long.
pub struct Databases {
    server: Postgres,
    present: Option<Database>,
}

impl Databases {
    pub async fn new(version: u32) -> Self {
        Self {
            server: Postgres::shared(version).await,
            present: None,
        }
    }

    pub fn version(&self) -> u32 {
        self.server.version()
    }

    /// An empty database in the place of the present one.
    pub async fn fresh(&mut self) -> Database {
        self.end().await;
        let database = self.server.database().await;
        self.present = Some(database.clone());
        database
    }

    /// Drops the present database.
    pub async fn end(&mut self) {
        if let Some(database) = self.present.take() {
            self.server.drop_database(&database).await;
        }
    }
}
