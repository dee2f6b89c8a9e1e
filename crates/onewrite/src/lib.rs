//! The transactional outbox for applications.
//!
//! An order and the event that tells of it are two writes to two systems, and no transaction spans both. With an outbox they
//! are one write: the application appends the event to a table *in the transaction that changes the data*, and the relay
//! `onewrite run` carries it to the broker. This crate is what an application links: an [`Event`], `append` in the caller's own
//! transaction, the inbox that makes a consumer idempotent, and the schema with its migrations. No broker client is among its
//! dependencies.
//!
//! # SQLite
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! use onewrite::Event;
//!
//! let mut connection = rusqlite::Connection::open_in_memory()?;
//! onewrite::sqlite::migrate(&mut connection)?;
//! connection.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)")?;
//!
//! let transaction = connection.transaction()?;
//! transaction.execute("INSERT INTO orders VALUES (42, 'lamp')", [])?;
//! let event = Event::json("shop.orders", &serde_json::json!({"order": 42, "item": "lamp"}))?
//!     .key("42")
//!     .event_type("OrderPlaced");
//! onewrite::sqlite::append(&transaction, &event)?;
//! transaction.commit()?; // Both, or neither.
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # PostgreSQL
//!
//! ```no_run
//! # #[cfg(feature = "postgres")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use onewrite::Event;
//!
//! let (mut client, connection) = tokio_postgres::connect("host=localhost dbname=shop", tokio_postgres::NoTls).await?;
//! tokio::spawn(connection);
//! onewrite::postgres::migrate(&mut client, &onewrite::postgres::MigrateOptions::default()).await?;
//!
//! let transaction = client.transaction().await?;
//! transaction.execute("INSERT INTO orders VALUES (42, 'lamp')", &[]).await?;
//! let event = Event::json("shop.orders", &serde_json::json!({"order": 42, "item": "lamp"}))?
//!     .key("42")
//!     .event_type("OrderPlaced");
//! onewrite::postgres::append(&transaction, &event).await?;
//! transaction.commit().await?; // Both, or neither.
//! # Ok(())
//! # }
//! ```
//!
//! # The other side: a consumer that meets duplicates
//!
//! A relay delivers every event at least once. A consumer that keeps its effects in a database asks the inbox first, in the
//! transaction of those effects:
//!
//! ```
//! # #[cfg(feature = "sqlite")] {
//! # let mut connection = rusqlite::Connection::open_in_memory()?;
//! # onewrite::sqlite::migrate(&mut connection)?;
//! # connection.execute_batch("CREATE TABLE stock (item TEXT PRIMARY KEY, count INTEGER); INSERT INTO stock VALUES ('lamp', 7)")?;
//! # let event_id = onewrite::Uuid::new_v4();
//! for _delivery in 1..=2 {
//!     let transaction = connection.transaction()?;
//!     if onewrite::sqlite::receive(&transaction, "warehouse", event_id)? {
//!         transaction.execute("UPDATE stock SET count = count - 1 WHERE item = 'lamp'", [])?;
//!     }
//!     transaction.commit()?;
//! }
//! assert_eq!(connection.query_row("SELECT count FROM stock", [], |row| row.get::<_, i64>(0))?, 6);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With another driver, [`statements`] holds the SQL and says what to bind, and [`Event::check`] the checks to make first.

pub mod event;
pub mod limits;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod schema;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod statements;
pub mod transaction;

pub use event::{Event, InvalidEvent};
pub use transaction::TransactionState;
pub use uuid::Uuid;
