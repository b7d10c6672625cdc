//! What a catalog refuses.

use common::error::{Report, SqlError};
use common::ids::{CatalogVersion, Oid, WorkerId};
use common::sqlstate::SqlState;

/// Why the catalog did not do it.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("relation \"{0}\" already exists")]
    DuplicateRelation(String),
    #[error("schema \"{0}\" already exists")]
    DuplicateSchema(String),
    #[error("object {0} does not exist")]
    MissingObject(Oid),
    #[error("schema \"{0}\" is not empty")]
    SchemaNotEmpty(String),
    /// The proposer had seen an older schema: it must look again.
    #[error("the catalog changed while the statement ran")]
    Stale { proposed_on: CatalogVersion, current: CatalogVersion },
    #[error("worker {0} is not known to this catalog")]
    UnknownWorker(WorkerId),
    #[error("there is no worker to hold the partitions")]
    NoWorkers,
    #[error("the catalog did not reach version {0} in time")]
    TooSlow(CatalogVersion),
    #[error("catalog message cannot be read: {0}")]
    Malformed(#[from] rmp_serde::decode::Error),
    #[error("could not use the catalog's data in \"{path}\": {message}")]
    Storage { path: String, message: String },
    #[error("the catalog is out of object ids")]
    OutOfIds,
}

impl SqlError for CatalogError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::DuplicateRelation(_) => SqlState::DUPLICATE_TABLE,
            Self::DuplicateSchema(_) => SqlState::DUPLICATE_SCHEMA,
            Self::MissingObject(_) => SqlState::UNDEFINED_OBJECT,
            Self::SchemaNotEmpty(_) => SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            Self::Stale { .. } => SqlState::SERIALIZATION_FAILURE,
            Self::UnknownWorker(_) | Self::NoWorkers => SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::TooSlow(_) => SqlState::CONNECTION_FAILURE,
            Self::Malformed(_) => SqlState::INTERNAL_ERROR,
            Self::Storage { .. } => SqlState::IO_ERROR,
            Self::OutOfIds => SqlState::PROGRAM_LIMIT_EXCEEDED,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Stale { proposed_on, current } => {
                Some(format!("The statement was planned on version {proposed_on}; the catalog is at {current}."))
            }
            _ => None,
        }
    }

    fn retryable(&self) -> bool {
        matches!(self, Self::Stale { .. })
    }
}

impl From<CatalogError> for Report {
    fn from(error: CatalogError) -> Self {
        error.report()
    }
}
