//! What an error says about the transaction it happened in.

use std::fmt;

/// What has become of the caller's transaction when a call failed, and so what the caller can do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransactionState {
    /// The transaction is as it was before the call. It can go on, and be committed without what the call would have written.
    Untouched,
    /// The database refuses everything but a rollback, or a rollback to a savepoint taken before the call.
    Aborted,
    /// The database has rolled the transaction back already, or will, since the connection is gone. It was not committed.
    RolledBack,
}

impl fmt::Display for TransactionState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Untouched => "the transaction is untouched",
            Self::Aborted => "the transaction is aborted: roll it back",
            Self::RolledBack => "the transaction is rolled back",
        })
    }
}
