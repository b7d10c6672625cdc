//! What can be wrong with a value: PostgreSQL's codes and words.

use common::error::{Report, SqlError};
use common::sqlstate::SqlState;

/// A value that is refused. The message is PostgreSQL's; few callers look further than that, so the enum has a variant for each code
/// family and carries the words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// 22P02: `invalid input syntax for type integer: "x"`.
    #[error("invalid input syntax for type {type_name}: \"{text}\"")]
    InvalidSyntax { type_name: String, text: String, detail: Option<String> },
    /// Any other code with its message.
    #[error("{message}")]
    Other { sqlstate: SqlState, message: String, detail: Option<String>, hint: Option<String> },
}

impl ValueError {
    /// 22P02 for a type by its SQL name.
    pub fn syntax(type_name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::InvalidSyntax { type_name: type_name.into(), text: text.into(), detail: None }
    }

    /// An error with a code and a message.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self::Other { sqlstate, message: message.into(), detail: None, hint: None }
    }

    /// 22003: `integer out of range`.
    pub fn out_of_range(type_name: &str) -> Self {
        Self::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{type_name} out of range"))
    }

    /// 22012.
    pub fn division_by_zero() -> Self {
        Self::new(SqlState::DIVISION_BY_ZERO, "division by zero")
    }
}

impl SqlError for ValueError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::InvalidSyntax { .. } => SqlState::INVALID_TEXT_REPRESENTATION,
            Self::Other { sqlstate, .. } => *sqlstate,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::InvalidSyntax { detail, .. } | Self::Other { detail, .. } => detail.clone(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InvalidSyntax { .. } => None,
            Self::Other { hint, .. } => hint.clone(),
        }
    }
}

impl From<ValueError> for Report {
    fn from(error: ValueError) -> Self {
        error.report()
    }
}
