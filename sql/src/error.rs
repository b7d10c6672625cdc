//! What parsing and binding refuse, in PostgreSQL's words.

use common::error::{Report, SqlError};
use common::sqlstate::SqlState;

/// Result of parsing and binding.
pub type Result<T, E = BindError> = std::result::Result<T, E>;

/// A statement that is refused.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// PostgreSQL's own error, ready to be told.
    #[error("{0}")]
    Refused(Box<Report>),
    /// Building the plan failed: a statement that passed every check of ours.
    #[error("{0}")]
    Plan(#[from] datafusion::error::DataFusionError),
    #[error(transparent)]
    Function(#[from] functions::error::FunctionError),
}

impl BindError {
    /// A refusal with its code and message.
    pub fn new(sqlstate: SqlState, message: impl Into<String>) -> Self {
        Report::new(sqlstate, message).into()
    }

    /// 0A000.
    pub fn unsupported(feature: impl std::fmt::Display) -> Self {
        Report::unsupported(feature).into()
    }

    /// The same with a position, unless it has one.
    #[must_use]
    pub fn at(self, position: Option<u32>) -> Self {
        let mut report = self.report();
        report.position = report.position.or(position);
        report.into()
    }
}

impl From<Report> for BindError {
    fn from(report: Report) -> Self {
        Self::Refused(Box::new(report))
    }
}

impl SqlError for BindError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::Refused(report) => report.sqlstate,
            Self::Plan(_) => SqlState::FEATURE_NOT_SUPPORTED,
            Self::Function(error) => error.sqlstate(),
        }
    }

    fn report(&self) -> Report {
        match self {
            Self::Refused(report) => Report::clone(report),
            Self::Function(error) => error.report(),
            Self::Plan(error) => match find_report(error) {
                Some(report) => report.clone(),
                None => Report::new(SqlState::FEATURE_NOT_SUPPORTED, "this form of query is not supported").with_detail(error.to_string()),
            },
        }
    }
}

/// The report that a kernel raised inside DataFusion.
fn find_report(error: &datafusion::error::DataFusionError) -> Option<&Report> {
    let mut current: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = current {
        if let Some(report) = error.downcast_ref::<Report>() {
            return Some(report);
        }
        if let Some(datafusion::error::DataFusionError::External(inner)) = error.downcast_ref()
            && let Some(report) = inner.downcast_ref::<Report>()
        {
            return Some(report);
        }
        current = error.source();
    }
    None
}

impl From<BindError> for Report {
    fn from(error: BindError) -> Self {
        error.report()
    }
}
