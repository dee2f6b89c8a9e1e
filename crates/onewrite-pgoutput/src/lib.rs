//! Decoder of the messages that PostgreSQL's output plugin `pgoutput` sends to a logical replication client, protocol version 1
//! (PostgreSQL 14 to 18, where version 1 is one format; "Logical Replication Message Formats" in its documentation).
//!
//! [`decode`] takes one message, the payload of one `XLogData`, and copies nothing: names and values are slices of what it was given.
//! A [`Tuple`] is checked when it is decoded; reading its columns afterwards neither fails nor allocates. Input may be anything: what is
//! no message becomes a [`DecodeError`] that says where and why, and no allocation is larger than the input justifies.
//!
//! ```
//! use bytes::Bytes;
//! use onewrite_pgoutput::{Column, Message, decode};
//!
//! let error = decode(Bytes::from_static(b"I\x00\x00\x40\x01N\x00\x02n\x00")).unwrap_err();
//! assert_eq!(error.to_string(), "pgoutput message Insert, column kind of the new tuple at byte 9: \
//!     found 0x00, expected 'n', 'u', 't' or 'b'");
//!
//! let Ok(Message::Insert { relation: 16385, new }) = decode(Bytes::from_static(b"I\x00\x00\x40\x01N\x00\x02nt\x00\x00\x00\x0242")) else {
//!     panic!("an insert into the relation 16385");
//! };
//! assert!(new.columns().eq([Column::Null, Column::Text(Bytes::from_static(b"42"))]));
//! ```
//!
//! # Later versions
//!
//! Version 2 (streaming of transactions under way) puts the transaction's id behind the tag of every message that stands between
//! `Stream Start` and `Stream Stop`; so whether it is there depends on the messages before. Versions 2 to 4 otherwise only add kinds:
//! `S`, `E`, `c`, `A` (streaming) and `b`, `P`, `K`, `r`, `p` (two-phase commit). In this crate: a kind is a variant of [`Message`] with a
//! function and a row of the table in `decode.rs`; the id is read between the tag and that function, by a second entry that is told
//! whether a stream is open.

mod decode;
mod error;
mod message;
mod name;
mod reader;
#[cfg(test)]
mod tests;
mod tuple;

pub use decode::decode;
pub use error::{DecodeError, Problem};
pub use message::{LogicalMessage, Message, OldKind, Relation, RelationColumn, ReplicaIdentity, TruncateOptions};
pub use name::Name;
pub use tuple::{Column, Columns, Tuple};
