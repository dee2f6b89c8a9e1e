//! Each adapter against the real thing, or a server that can be told how to misbehave.

#[cfg(feature = "amqp1")]
mod amqp1;
#[allow(dead_code, reason = "a build without some of the sinks uses a part of it")]
mod authority;
#[cfg(any(feature = "sqs", feature = "sns"))]
mod aws;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "ibmmq")]
mod ibmmq;
#[cfg(feature = "ibmmq-mqi")]
mod ibmmq_mqi;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sns")]
mod sns;
#[cfg(feature = "sqs")]
mod sqs;
#[allow(dead_code, reason = "a build without some of the sinks uses a part of it")]
mod support;
