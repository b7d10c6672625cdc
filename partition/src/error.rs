//! What can go wrong with keys.

use common::error::SqlError;
use common::sqlstate::SqlState;
use common::types::SqlType;

/// A key that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The type has no order that a key could keep.
    #[error("data type {0} cannot be part of a key")]
    NotOrdered(SqlType),
    /// A value whose representation is not the column's.
    #[error("a key column of type {0} got a value of another type")]
    WrongValue(SqlType),
    /// More values than the key has columns.
    #[error("a key of {columns} columns got {values} values")]
    TooManyValues { columns: usize, values: usize },
    /// Keys travel in every message and stand in every index entry.
    #[error("index row size {size} exceeds maximum {KEY_BYTES_MAX}")]
    TooLong { size: usize },
}

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 8_192;

impl SqlError for KeyError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::NotOrdered(_) => SqlState::UNDEFINED_OBJECT,
            Self::WrongValue(_) | Self::TooManyValues { .. } => SqlState::INTERNAL_ERROR,
            Self::TooLong { .. } => SqlState::PROGRAM_LIMIT_EXCEEDED,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::TooLong { .. } => Some("Values larger than this cannot be indexed.".into()),
            Self::NotOrdered(_) | Self::WrongValue(_) | Self::TooManyValues { .. } => None,
        }
    }
}
