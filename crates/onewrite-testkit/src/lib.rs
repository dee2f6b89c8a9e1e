//! What the tests of every crate share.

pub mod conformance;
pub mod faults;
pub mod memory;
pub mod seeds;
pub mod wait;

/// Real servers as fixtures: found in the cache directory, started on free ports of 127.0.0.1, each with its data in a
/// temporary directory, and gone with the test process, however that ends.
///
/// Nothing here is ever skipped: a server that cannot be had is a panic that names the missing package.
pub mod servers {
    mod activemq;
    mod amqp_codec;
    mod amqp_reader;
    mod artemis;
    mod aside;
    mod cache;
    mod database;
    mod elasticmq;
    mod elasticmq_client;
    mod home;
    mod java_broker;
    #[cfg(feature = "kafka")]
    mod kafka;
    #[cfg(feature = "kafka")]
    mod kafka_process;
    #[cfg(feature = "kafka")]
    mod kafka_records;
    mod mosquitto;
    mod mqtt;
    mod nats;
    mod nats_cluster;
    mod nats_process;
    mod nats_wire;
    mod port;
    mod postgres;
    mod postgres_copies;
    mod postgres_process;
    mod postgres_slots;
    mod process;
    mod qpid;
    mod rabbitmq;
    mod rabbitmq_bytes;
    mod rabbitmq_client;
    mod rabbitmq_process;
    mod rabbitmq_reader;
    mod redis;
    mod resp;
    mod schema_registry;

    pub use activemq::ActiveMq;
    pub use artemis::{Artemis, ArtemisSettings};
    pub use cache::root as cache_directory;
    pub use database::Database;
    pub use elasticmq::ElasticMq;
    pub use elasticmq_client::event_of_message;
    #[cfg(feature = "kafka")]
    pub use kafka::Kafka;
    #[cfg(feature = "kafka")]
    pub use kafka_records::Record;
    pub use mosquitto::Mosquitto;
    pub use nats::Nats;
    pub use nats_cluster::NatsCluster;
    pub use postgres::Postgres;
    pub use postgres_copies::Backup;
    pub use postgres_slots::Slot;
    pub use qpid::Qpid;
    pub use rabbitmq::RabbitMq;
    pub use rabbitmq_bytes::Table;
    pub use rabbitmq_client::Published;
    pub use redis::{Redis, RedisCluster};
    pub use resp::Reply;
    pub use schema_registry::SchemaRegistry;
}
