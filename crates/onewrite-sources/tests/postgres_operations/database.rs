//! A database with the schema, and the operations on it as a relay's role.

use onewrite::postgres::{Grant, MigrateOptions, Privileges, migrate};
use onewrite_core::Operations;
use onewrite_core::options::{Field, Kind, Options, Secret, Value};
use onewrite_core::routing::{Group, Match, Pattern, Share};
use onewrite_core::store::{ParkedFilter, Status};
use onewrite_sources::postgres::PostgresOperations;
use onewrite_testkit::servers::{self, Postgres};
use tokio_postgres::Client;

const URL: Field = Field {
    name: "url",
    kind: Kind::Secret,
    default: None,
    required: true,
    doc: "",
};

/// A database of its own for one test.
pub struct Database {
    database: servers::Database,
    /// The schema's owner, and a superuser.
    pub owner: Client,
}

impl Database {
    /// Without the schema, on the oldest server that is supported.
    pub async fn empty() -> Self {
        Self::on(&Postgres::shared(14).await).await
    }

    /// Without the schema, on this server.
    pub async fn on(server: &Postgres) -> Self {
        let database = server.database().await;
        let owner = database.connect().await;
        Self { database, owner }
    }

    /// With the newest schema.
    pub async fn migrated() -> Self {
        Self::empty().await.migrate().await
    }

    /// Brings the schema to the newest version.
    pub async fn migrate(mut self) -> Self {
        migrate(&mut self.owner, &MigrateOptions::default())
            .await
            .expect("migrate");
        self
    }

    /// The address of another database of the same server.
    pub fn url(&self, database: &str) -> String {
        self.database.url.replace(&self.database.name, database)
    }

    /// Another connection of the owner.
    pub async fn connect(&self) -> Client {
        self.database.connect().await
    }

    /// A role without any privilege, and the operations as that role.
    pub async fn stranger(&self) -> (String, PostgresOperations) {
        let role = format!("role_{}", onewrite::Uuid::new_v4().simple());
        self.run(&format!("CREATE ROLE {role} LOGIN")).await;
        let operations = operations(&self.database.url_as(&role));
        (role, operations)
    }

    /// The operations as a role that has what a relay is granted and nothing else.
    pub async fn operations(&mut self) -> PostgresOperations {
        let (role, operations) = self.stranger().await;
        let grant = Grant::new(&role, Privileges::Relay).expect("a role");
        onewrite::postgres::grant(&mut self.owner, &[grant])
            .await
            .expect("grant");
        operations
    }

    /// The operations of a relay's role that is configured like this beside the URL, and the role.
    pub async fn configured(&mut self, texts: &[(&str, &str)]) -> (String, PostgresOperations) {
        let (role, _) = self.stranger().await;
        let grant = Grant::new(&role, Privileges::Relay).expect("a role");
        onewrite::postgres::grant(&mut self.owner, &[grant])
            .await
            .expect("grant");
        let url = self.database.url_as(&role);
        let texts: Vec<_> = texts.iter().copied().chain([("url", url.as_str())]).collect();
        let options =
            Options::from_texts("source", onewrite_sources::postgres::FIELDS, &texts).expect("texts that fit");
        (role, PostgresOperations::from_options(&options).expect("options"))
    }

    /// Runs statements as the owner.
    pub async fn run(&self, statements: &str) {
        self.owner
            .batch_execute(statements)
            .await
            .unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    /// Reads one value as the owner, as text.
    pub async fn read(&self, query: &str) -> String {
        let row = self.owner.query_one(&format!("SELECT ({query})::text"), &[]).await;
        row.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
    }

    /// Records a route of the relay `shop` that takes topics of this pattern and has settled nothing.
    pub async fn route(&self, name: &str, topic: &str) {
        let wanted = Match {
            topic: Some(Pattern::new(topic)),
            event_type: None,
        };
        let share = Share {
            relay: "shop".into(),
            route: name.into(),
            group: Group::ALL,
            wanted,
            taken: Vec::new(),
        };
        let insert = "INSERT INTO onewrite.route (relay, name, definition, floor_snapshot, floor_sequence) \
                      VALUES ('shop', $1, $2, '1:1:', 0)";
        self.owner
            .execute(insert, &[&name, &share.definition()])
            .await
            .expect("record a route");
    }

    /// Sets an event of the relay `shop` aside and returns its number.
    pub async fn park(&self, route: &str, state: &str, key: &str) -> i64 {
        let insert = "INSERT INTO onewrite.parked_event (relay, route, sequence, state, event_id, topic, key, type, \
                      content_type, headers, payload, occurred_at, attempts, error) \
                      SELECT 'shop', $1, coalesce(max(sequence), 0) + 1, $2, gen_random_uuid(), 'shop.orders', $3, 'T', \
                      'text/plain', '{\"a\": \"b\"}', 'body', '2026-01-02 03:04:05.678901Z', 7, 'too large' \
                      FROM onewrite.parked_event RETURNING id";
        let row = self
            .owner
            .query_one(insert, &[&route, &state, &key])
            .await
            .expect("park");
        row.get(0)
    }
}

/// The operations on the database of this URL.
pub fn operations(url: &str) -> PostgresOperations {
    let mut options = Options::new("source");
    options.set(&URL, Value::Secret(Secret::new(url)));
    PostgresOperations::from_options(&options).expect("options")
}

/// The status, which must be there.
pub async fn status(operations: &PostgresOperations) -> Status {
    operations.status().await.expect("the status")
}

/// These numbers and nothing else, with their payloads.
pub fn numbered(ids: &[i64]) -> ParkedFilter {
    ParkedFilter {
        ids: ids.to_vec(),
        with_payload: true,
        ..ParkedFilter::default()
    }
}
