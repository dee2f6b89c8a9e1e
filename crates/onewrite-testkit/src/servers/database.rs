//! A database of a test's own.

use tokio_postgres::{Client, Config, NoTls};

/// A database on a server fixture. It goes with the server.
#[derive(Clone, Debug)]
pub struct Database {
    /// The address as the superuser, `postgres://postgres@127.0.0.1:PORT/NAME`.
    pub url: String,
    /// The name.
    pub name: String,
    port: u16,
}

impl Database {
    pub(super) fn new(port: u16, name: &str) -> Self {
        Self {
            url: format!("postgres://postgres@127.0.0.1:{port}/{name}"),
            name: name.to_owned(),
            port,
        }
    }

    /// The same database by another port of 127.0.0.1: of a proxy in front of its server, or of the server that took over.
    pub fn through(&self, port: u16) -> Self {
        Self::new(port, &self.name)
    }

    /// The address as another role, without a password. A role that shall need one is created `IN ROLE password_users`.
    pub fn url_as(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// The driver's settings, as the superuser.
    pub fn config(&self) -> Config {
        self.url.parse().expect("the fixture's address is one")
    }

    /// A connection as the superuser.
    pub async fn connect(&self) -> Client {
        connect(&self.config()).await
    }

    /// A connection as another role.
    pub async fn connect_as(&self, role: &str) -> Client {
        connect(self.config().user(role)).await
    }
}

pub(super) async fn create(port: u16) -> Database {
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let server = Database::new(port, "postgres").connect().await;
    let created = server.batch_execute(&format!("CREATE DATABASE {name}")).await;
    created.unwrap_or_else(|error| panic!("create the database {name} on port {port}: {error:?}"));
    Database::new(port, &name)
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap_or_else(|error| {
        panic!(
            "connect to {:?} of port {:?}: {error}",
            config.get_dbname(),
            config.get_ports()
        )
    });
    // Its error reaches the client's next call.
    tokio::spawn(connection);
    client
}
