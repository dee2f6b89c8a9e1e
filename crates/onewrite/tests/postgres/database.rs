//! A fresh database for a test, and roles in it.

use onewrite::postgres::{Grant, MigrateOptions, Privileges, migrate};
use tokio_postgres::{Client, Config, NoTls};

/// A database of its own for one test.
pub struct Database {
    config: Config,
    name: String,
}

impl Database {
    /// A database without the schema.
    pub async fn empty() -> Self {
        let mut config: Config = "host=127.0.0.1 port=5499 user=postgres"
            .parse()
            .expect("a configuration");
        let name = format!("app_{}", onewrite::Uuid::new_v4().simple());
        let server = connect(config.dbname("postgres")).await;
        server
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("create a database");
        config.dbname(&name);
        Self { config, name }
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
        connect(&self.config).await
    }

    /// A connection as a new role that has these privileges and no others.
    pub async fn role(&self, privileges: Privileges) -> Client {
        let role = format!("{}_{}", self.name, format!("{privileges:?}").to_lowercase());
        let mut owner = self.owner().await;
        let create = format!("CREATE ROLE \"{role}\" LOGIN");
        owner.batch_execute(&create).await.expect("create a role");
        let grant = Grant::new(&role, privileges).expect("a role's name");
        onewrite::postgres::grant(&mut owner, &[grant]).await.expect("grant");
        let mut config = self.config.clone();
        connect(config.user(&role)).await
    }
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
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
