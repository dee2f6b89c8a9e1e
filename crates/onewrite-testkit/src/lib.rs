//! What the tests of every crate share.

pub mod conformance;
pub mod faults;
pub mod memory;
pub mod wait;

/// Real servers as fixtures: found in the cache directory, started on free ports of 127.0.0.1, each with its data in a
/// temporary directory, and gone with the test process, however that ends.
///
/// Nothing here is ever skipped: a server that cannot be had is a panic that names the missing package.
pub mod servers {
    mod aside;
    mod cache;
    mod database;
    mod elasticmq;
    mod elasticmq_client;
    mod home;
    #[cfg(feature = "kafka")]
    mod kafka;
    #[cfg(feature = "kafka")]
    mod kafka_process;
    #[cfg(feature = "kafka")]
    mod kafka_records;
    mod port;
    mod postgres;
    mod postgres_copies;
    mod postgres_process;
    mod postgres_slots;
    mod process;

    pub use database::Database;
    pub use elasticmq::ElasticMq;
    #[cfg(feature = "kafka")]
    pub use kafka::Kafka;
    #[cfg(feature = "kafka")]
    pub use kafka_records::Record;
    pub use postgres::Postgres;
    pub use postgres_copies::Backup;
    pub use postgres_slots::Slot;
}
