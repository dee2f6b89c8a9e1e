//! The messages. Log positions (LSN) are byte offsets in the write-ahead log; times are microseconds since 2000-01-01 00:00 UTC.

use bytes::Bytes;

use crate::name::Name;
use crate::tuple::Tuple;

/// One message of protocol version 1.
///
/// A transaction is a `Begin`, its changes, and a `Commit`; transactions follow each other in the order of their commits. A `Relation`
/// comes before the first change of its table on a connection, and again when the table's definition has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A transaction that has committed begins.
    Begin {
        /// Where its commit record begins: the `commit_lsn` of its `Commit`.
        final_lsn: u64,
        /// When it committed.
        commit_time_micros: i64,
        /// Its transaction id, without epoch.
        xid: u32,
    },
    /// The transaction ends.
    Commit {
        /// Unused by the server, 0 at present.
        flags: u8,
        /// Where its commit record begins.
        commit_lsn: u64,
        /// Where its commit record ends: to confirm the transaction, confirm this position.
        end_lsn: u64,
        /// When it committed.
        commit_time_micros: i64,
    },
    /// The transaction was replicated from another server.
    Origin {
        /// Its commit position there.
        commit_lsn: u64,
        /// The other server's name.
        name: Name,
    },
    /// The definition of a table.
    Relation(Relation),
    /// The name of a type that is not built in.
    Type {
        /// Its oid.
        oid: u32,
        /// Its schema.
        namespace: Name,
        /// Its name.
        name: Name,
    },
    /// A row was inserted.
    Insert {
        /// The table's oid.
        relation: u32,
        /// The row.
        new: Tuple,
    },
    /// A row was updated.
    Update {
        /// The table's oid.
        relation: u32,
        /// The row before, where the replica identity is full or a column of it changed.
        old: Option<(OldKind, Tuple)>,
        /// The row after.
        new: Tuple,
    },
    /// A row was deleted.
    Delete {
        /// The table's oid.
        relation: u32,
        /// What `old` holds.
        kind: OldKind,
        /// The row.
        old: Tuple,
    },
    /// Tables were truncated.
    Truncate {
        /// Their oids.
        relations: Vec<u32>,
        /// How.
        options: TruncateOptions,
    },
    /// What `pg_logical_emit_message` wrote; only with the plugin's option `messages`.
    LogicalMessage(LogicalMessage),
}

/// The definition of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// Its oid, by which changes name it.
    pub oid: u32,
    /// Its schema; never empty, though the server sends `pg_catalog` as nothing.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// Which columns of an old row are logged.
    pub replica_identity: ReplicaIdentity,
    /// Its published columns, in the order in which tuples hold them.
    pub columns: Vec<RelationColumn>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    /// 1 where it is part of the replica identity, else 0.
    pub flags: u8,
    /// Its name.
    pub name: Name,
    /// The oid of its type.
    pub type_oid: u32,
    /// The type's modifier (`atttypmod`), -1 for none.
    pub type_modifier: i32,
}

impl RelationColumn {
    /// Whether it is part of the replica identity.
    pub fn is_key(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// Which columns of an old row are logged: `REPLICA IDENTITY` of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// Those of the primary key, if it has one.
    Default,
    /// None.
    Nothing,
    /// All.
    Full,
    /// Those of a certain index.
    Index,
}

/// What the tuple of an old row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldKind {
    /// The replica identity's columns; the others are null.
    Key,
    /// All columns.
    Full,
}

/// How tables were truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruncateOptions(pub u8);

impl TruncateOptions {
    /// With the tables that refer to them.
    pub fn cascade(self) -> bool {
        self.0 & 1 != 0
    }

    /// Their sequences begin again.
    pub fn restart_identity(self) -> bool {
        self.0 & 2 != 0
    }
}

/// What `pg_logical_emit_message` wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalMessage {
    /// Whether it is part of a transaction, and so stands between a `Begin` and a `Commit`; otherwise it stands anywhere, and was
    /// written whether or not its transaction committed.
    pub transactional: bool,
    /// Its position in the log.
    pub lsn: u64,
    /// By which applications tell their messages apart.
    pub prefix: Name,
    /// Any bytes.
    pub content: Bytes,
}
