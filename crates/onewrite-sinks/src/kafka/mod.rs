//! The sink `kafka`: Apache Kafka, and whatever speaks its protocol, through librdkafka's idempotent producer.
//!
//! The record's key is the event's key, its value the payload untouched, its headers those of the format `native`, its
//! time `occurred_at`. Keys go to the partition to which Java's client would send them. Where the source's contract lays the
//! record down to the byte, key, headers, partition and time are that record's.
//!
//! # Why no event overtakes an earlier one of its key
//!
//! Call what one producer puts on the log for one key its *run*. What has to hold is: a run begins at or before the lowest
//! event of the key that is not settled, and it has no gaps but for parked events. Then any number of producers may be
//! interleaved, also one that was given up and whose last requests a broker carries out late: the first time that an event
//! stands on the log, in whichever run, the events before it in that run stand there already. Such a late request can
//! only repeat, never overtake.
//!
//! Runs have no gaps because of four things:
//!
//! 1. **Inside a producer** a key has one partition, and the records of a partition are numbered. The broker refuses a
//!    number out of turn, so what follows a refused request is refused too. It does so only for producers that it knows in
//!    this partition: of one that it does not, it takes any number. So the first record of a partition travels alone, and
//!    nothing follows before it is acknowledged; nor after an hour's pause, since a broker forgets.
//! 2. **A record that fails for good ends the producer** (`enable.gapless.guarantee`, and `Flight::break_off` at the first
//!    failed report). Records never time out inside the client (`message.timeout.ms` = 0), which would close the gap and go
//!    on. Every delivery under way ends with `Reconnect`, what was not acknowledged counts as unknown, and core begins anew
//!    at the lowest event of each key.
//! 3. **What is refused before it is sent** (a name that cannot be a topic, a topic that is missing, a record that is too
//!    large) stops its key for the rest of the batch. Nothing is handed to the client for a topic that is not known to be
//!    there, since the client would fail those records one by one while others come through.
//! 4. **Between topics**, and between the partitions that a source may name, there is no order in Kafka, so an event waits
//!    until the one before it of the same key is acknowledged where that went elsewhere. When a topic gets more partitions, the producer is replaced with
//!    nothing under way.
//!
//! A delivery that is dropped leaves its records in the client's queue. A later delivery on the same sink puts the same
//! events behind them; one on a new sink finds the old producer purged or about to be: either is another run.
//!
//! # Whose fault a refusal is
//!
//! A broker refuses a request as a whole. A record is parked only if it was alone in its request; else the next producer
//! sends one record in each request until the culprit has shown itself (and, where size was the reason, with smaller
//! requests from then on: a topic may take less than what many small events come to). Where the client may read the
//! topic's settings, requests fit the topic from the start.

mod client;
mod config;
mod connector;
mod flight;
mod hold;
mod limits;
mod native;
mod probe;
mod producer;
mod readback;
mod record;
mod sink;
mod topics;

pub use config::{FIELDS, build};

#[cfg(doc)]
use flight::Flight;
