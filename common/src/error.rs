//! How errors speak SQL: each crate has one error enum, and each of those answers [`SqlError`].
//! [`Report`] is an error flattened to what a client may see; it is the form that crosses the network.

use serde::{Deserialize, Serialize};

use crate::sqlstate::SqlState;

/// What an error tells a client of SQL. `sqlstate` matches every variant by name.
pub trait SqlError: std::error::Error {
    /// The code.
    fn sqlstate(&self) -> SqlState;
    /// More about this case.
    fn detail(&self) -> Option<String> {
        None
    }
    /// What the user could do.
    fn hint(&self) -> Option<String> {
        None
    }
    /// Whether the same statement may be sent again with hope.
    fn retryable(&self) -> bool {
        false
    }
    /// The error with everything that a client may see.
    fn report(&self) -> Report {
        Report { detail: self.detail(), hint: self.hint(), retryable: self.retryable(), ..Report::new(self.sqlstate(), self.to_string()) }
    }
}

/// An error as PostgreSQL's ErrorResponse carries it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    pub sqlstate: SqlState,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// One-based character offset into the statement's text.
    pub position: Option<u32>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub data_type: Option<String>,
    pub constraint: Option<String>,
    /// The context line, as `COPY t, line 3, column b: "x"`.
    pub context: Option<String>,
    pub retryable: bool,
}

impl Report {
    /// An error with a code and a message in PostgreSQL's wording.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            schema: None,
            table: None,
            column: None,
            data_type: None,
            constraint: None,
            context: None,
            retryable: false,
        }
    }

    /// A feature that is not there: 0A000, `… is not supported`.
    pub fn unsupported(feature: impl std::fmt::Display) -> Self {
        Self::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{feature} is not supported"))
    }

    /// A bug of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(SqlState::INTERNAL_ERROR, message)
    }

    /// The same with a detail line.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with a position: a one-based character offset into the statement's text.
    #[must_use]
    pub fn at(mut self, position: u32) -> Self {
        self.position = Some(position);
        self
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl SqlError for Report {
    fn sqlstate(&self) -> SqlState {
        self.sqlstate
    }

    fn report(&self) -> Report {
        self.clone()
    }
}
