//! What a worker refuses, and how a client hears of it.

use catalog::state::CatalogState;
use common::error::{Report, SqlError};
use common::ids::{Oid, TransactionId};
use common::row::RowError;
use common::sqlstate::SqlState;
use partition::error::KeyError;
use rpc::locks::LockTarget;
use storage::StorageError;

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The sender planned with a map that is no longer (or not yet) this worker's.
    #[error("partition map is stale")]
    StaleMap,
    /// A cycle of waiting sessions, of which this one is ended.
    #[error("deadlock detected")]
    Deadlock { detail: String },
    /// NOWAIT met a lock.
    #[error("could not obtain lock")]
    LockNotAvailable(LockTarget),
    /// NOWAIT met a lock of a relation's row, or of a relation.
    #[error("could not obtain lock on {0}")]
    NamedLockNotAvailable(String),
    /// The statement was cancelled while it waited for a lock.
    #[error("canceling statement due to user request")]
    WaitCanceled,
    /// The lock wait was limited by the client.
    #[error("canceling statement due to lock timeout")]
    LockTimeout,
    /// The transaction has ended here: its coordinator was silent for too long, or it was decided while a call of it waited.
    #[error("transaction {0} was aborted")]
    TransactionEnded(TransactionId),
    /// A serializable transaction's reads do not hold any more, or may not.
    #[error("could not serialize access due to read/write dependencies among transactions")]
    Serialization,
    /// The versions of a snapshot are not kept any more.
    #[error("snapshot too old")]
    SnapshotTooOld,
    /// A call from before a ROLLBACK TO that came after it.
    #[error("transaction {0} was rolled back to a savepoint meanwhile")]
    Undone(TransactionId),
    /// A call of a transaction that has voted already.
    #[error("transaction {0} has voted and takes no further writes")]
    AlreadyPrepared(TransactionId),
    /// A participant that must be asked for its vote does not answer.
    #[error("the outcome of transaction {0} is not known yet")]
    Undecided(TransactionId),
    /// An index that the catalog does not have (any more).
    #[error("index {0} does not exist")]
    UnknownIndex(Oid),
    /// Older writers did not end in time.
    #[error("transactions that began before the index did not end in time")]
    OldWriters,
    /// The worker is shutting down.
    #[error("the worker is shutting down")]
    ShutDown,
    /// A task or thread ended unexpectedly.
    #[error("background work failed: {0}")]
    Background(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What another node answered.
    #[error(transparent)]
    Remote(#[from] Report),
}

impl SqlError for WorkerError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::StaleMap | Self::OldWriters => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Deadlock { .. } => SqlState::DEADLOCK_DETECTED,
            Self::LockNotAvailable(_) | Self::NamedLockNotAvailable(_) | Self::LockTimeout => SqlState::LOCK_NOT_AVAILABLE,
            Self::WaitCanceled => SqlState::QUERY_CANCELED,
            Self::TransactionEnded(_) | Self::Undone(_) => SqlState::TRANSACTION_ROLLBACK,
            Self::AlreadyPrepared(_) | Self::Background(_) => SqlState::INTERNAL_ERROR,
            Self::Undecided(_) => SqlState::CONNECTION_FAILURE,
            Self::Serialization => SqlState::SERIALIZATION_FAILURE,
            Self::SnapshotTooOld => SqlState::SNAPSHOT_TOO_OLD,
            Self::UnknownIndex(_) => SqlState::UNDEFINED_OBJECT,
            Self::ShutDown => SqlState::ADMIN_SHUTDOWN,
            Self::Storage(e) => e.sqlstate(),
            Self::Row(e) => e.sqlstate(),
            Self::Key(e) => e.sqlstate(),
            Self::Remote(e) => e.sqlstate,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Deadlock { detail } => Some(detail.clone()),
            Self::Serialization => Some("Reason code: Canceled on identification as a pivot, during commit attempt.".to_owned()),
            Self::Storage(e) => e.detail(),
            Self::Row(e) => e.detail(),
            Self::Key(e) => e.detail(),
            Self::Remote(e) => e.detail.clone(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Deadlock { .. } => Some("See server log for query details.".to_owned()),
            Self::Serialization => Some("The transaction might succeed if retried.".to_owned()),
            Self::Storage(e) => e.hint(),
            Self::Row(e) => e.hint(),
            Self::Key(e) => e.hint(),
            Self::Remote(e) => e.hint.clone(),
            _ => None,
        }
    }

    fn retryable(&self) -> bool {
        match self {
            Self::StaleMap => true,
            Self::Remote(e) => e.retryable,
            _ => false,
        }
    }

    fn report(&self) -> Report {
        match self {
            Self::Remote(report) => report.clone(),
            other => Report {
                detail: other.detail(),
                hint: other.hint(),
                retryable: other.retryable(),
                ..Report::new(other.sqlstate(), other.to_string())
            },
        }
    }
}

impl WorkerError {
    /// The error of a lock that is not free, with the relation's name as the client knows it.
    pub(crate) fn naming_relation(self, state: &CatalogState) -> Self {
        let name = |relation| state.table_of_storage(relation).map(|table| table.name.clone()).unwrap_or_default();
        match self {
            Self::LockNotAvailable(LockTarget::Row(relation)) => {
                Self::NamedLockNotAvailable(format!("row in relation \"{}\"", name(relation)))
            }
            Self::LockNotAvailable(LockTarget::Table(relation)) => Self::NamedLockNotAvailable(format!("relation \"{}\"", name(relation))),
            other => other,
        }
    }
}

impl From<WorkerError> for Report {
    fn from(error: WorkerError) -> Self {
        error.report()
    }
}

/// The result of most functions here.
pub(crate) type Result<T, E = WorkerError> = std::result::Result<T, E>;
