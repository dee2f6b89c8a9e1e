//! As much of a client of AMQP 0-9-1 as a relay needs: a connection, channels that publish in confirm mode and ask questions.
//!
//! Client libraries hide what a relay must know. A broker returns an unroutable message and acknowledges it all the same, and only
//! the order on the channel says which acknowledgement that is: between the two it may acknowledge others, or all at once
//! (`multiple`). A library that hands the next acknowledgement the last returned message calls a lost event delivered. Here the
//! [returns and confirms](confirms) are matched by the message itself, and a return that matches nothing ends the connection.
//!
//! Bytes are written and read by the codec of `amq-protocol`, made from RabbitMQ's own specification.

mod confirms;
mod connection;
mod failure;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod shared;

pub(super) use self::confirms::Verdict;
pub(super) use self::connection::{Channel, Connection, Message, reach};
pub(super) use self::failure::{Close, Failure};
pub(super) use self::frames::{Frames, put_heartbeat, put_method};
pub(super) use self::handshake::{Login, greet};
