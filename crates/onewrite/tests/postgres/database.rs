//! A fresh database for a test, and roles in it.

use onewrite::postgres::{Grant, MigrateOptions, Privileges, migrate};
use onewrite_testkit::servers::{self, Postgres};
use tokio_postgres::Client;

/// A database of its own for one test.
pub struct Database(servers::Database);

impl Database {
    /// A database without the schema, on the oldest server that is supported.
    pub async fn empty() -> Self {
        Self::empty_on(14).await
    }

    /// A database without the schema, on a server of this major version.
    pub async fn empty_on(version: u32) -> Self {
        Self(Postgres::shared(version).await.database().await)
    }

    /// A database with the newest schema.
    pub async fn migrated() -> Self {
        let database = Self::empty().await;
        let mut owner = database.owner().await;
        migrate(&mut owner, &MigrateOptions::default()).await.expect("migrate");
        database
    }

    /// A connection as the owner of the schema.
    pub async fn owner(&self) -> Client {
        self.0.connect().await
    }

    /// A connection as a new role that has these privileges and no others.
    pub async fn role(&self, privileges: Privileges) -> Client {
        let role = format!("{}_{}", self.0.name, format!("{privileges:?}").to_lowercase());
        let mut owner = self.owner().await;
        owner
            .batch_execute(&format!("CREATE ROLE \"{role}\" LOGIN"))
            .await
            .expect("create a role");
        let grant = Grant::new(&role, privileges).expect("a role's name");
        onewrite::postgres::grant(&mut owner, &[grant]).await.expect("grant");
        self.0.connect_as(&role).await
    }
}

/// How many events the outbox holds.
pub async fn count(client: &Client) -> i64 {
    let row = client
        .query_one("SELECT count(*) FROM onewrite.outbox", &[])
        .await
        .expect("count");
    row.get(0)
}

/// The SQLSTATE and message with which the server refuses a statement.
pub async fn refusal(client: &Client, statement: &str) -> String {
    let error = client.batch_execute(statement).await.expect_err(statement);
    let server = error.as_db_error().unwrap_or_else(|| panic!("{statement}: {error}"));
    format!("{}: {}", server.code().code(), server.message())
}
