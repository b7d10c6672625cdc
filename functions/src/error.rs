//! What can be wrong with an expression: PostgreSQL's codes and words, and the bridge between our errors and DataFusion's.

use common::error::{Report, SqlError};
use common::row::RowError;
use common::sqlstate::SqlState;
use common::types::SqlType;
use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use types::error::ValueError;

/// The usual hint for an operator that is not there.
const OPERATOR_HINT: &str = "No operator matches the given name and argument types. You might need to add explicit type casts.";
/// The usual hint for a function that is not there.
const FUNCTION_HINT: &str = "No function matches the given name and argument types. You might need to add explicit type casts.";

/// Result of resolution.
pub type Result<T, E = FunctionError> = std::result::Result<T, E>;

/// Why an expression does not resolve.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FunctionError {
    #[error("operator does not exist: {0}")]
    UndefinedOperator(String),
    #[error("operator is not unique: {0}")]
    AmbiguousOperator(String),
    #[error("function {0} does not exist")]
    UndefinedFunction(String),
    #[error("function {0} is not unique")]
    AmbiguousFunction(String),
    #[error("cannot cast type {from} to {to}")]
    CannotCast { from: SqlType, to: SqlType },
    /// 42804 in the words of the place where it happened.
    #[error("{message}")]
    TypeMismatch { message: String, hint: Option<String> },
    #[error("could not determine data type of parameter ${0}")]
    UndecidedParameter(usize),
    #[error("inconsistent types deduced for parameter ${index}")]
    InconsistentParameter { index: usize, first: SqlType, second: SqlType },
    #[error("could not determine polymorphic type because input has type unknown")]
    UndecidedPolymorphic,
    #[error("{0} is not supported")]
    Unsupported(String),
    /// Wrong use of an aggregate or a window function.
    #[error("{message}")]
    WrongUse { sqlstate: SqlState, message: String },
    /// A bug of ours.
    #[error("{0}")]
    Internal(String),
    /// A constant that is no value of its type.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl SqlError for FunctionError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::UndefinedOperator(_) | Self::UndefinedFunction(_) => SqlState::UNDEFINED_FUNCTION,
            Self::AmbiguousOperator(_) | Self::AmbiguousFunction(_) => SqlState::AMBIGUOUS_FUNCTION,
            Self::CannotCast { .. } => SqlState::CANNOT_COERCE,
            Self::TypeMismatch { .. } | Self::UndecidedPolymorphic => SqlState::DATATYPE_MISMATCH,
            Self::UndecidedParameter(_) => SqlState::INDETERMINATE_DATATYPE,
            Self::InconsistentParameter { .. } => SqlState::AMBIGUOUS_PARAMETER,
            Self::Unsupported(_) => SqlState::FEATURE_NOT_SUPPORTED,
            Self::WrongUse { sqlstate, .. } => *sqlstate,
            Self::Internal(_) => SqlState::INTERNAL_ERROR,
            Self::Value(error) => error.sqlstate(),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::Value(error) => error.detail(),
            Self::InconsistentParameter { first, second, .. } => Some(format!("{first} versus {second}")),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UndefinedOperator(_) => Some(OPERATOR_HINT.into()),
            Self::UndefinedFunction(_) => Some(FUNCTION_HINT.into()),
            Self::AmbiguousOperator(_) => {
                Some("Could not choose a best candidate operator. You might need to add explicit type casts.".into())
            }
            Self::AmbiguousFunction(_) => {
                Some("Could not choose a best candidate function. You might need to add explicit type casts.".into())
            }
            Self::TypeMismatch { hint, .. } => hint.clone(),
            Self::Value(error) => error.hint(),
            _ => None,
        }
    }
}

impl From<FunctionError> for Report {
    fn from(error: FunctionError) -> Self {
        error.report()
    }
}

/// A value error as DataFusion carries it; the SQLSTATE survives in the boxed [`Report`].
pub fn raise(error: ValueError) -> DataFusionError {
    DataFusionError::External(Box::new(error.report()))
}

/// A bug of ours inside a kernel.
pub(crate) fn internal(message: impl Into<String>) -> DataFusionError {
    DataFusionError::External(Box::new(Report::internal(message)))
}

/// A cell that could not be read or written.
pub(crate) fn raise_row(error: RowError) -> DataFusionError {
    internal(error.to_string())
}

/// An error of Arrow's checked kernels: overflow becomes 22003 for the type, a zero divisor 22012.
pub(crate) fn raise_arrow(error: ArrowError, type_name: &str) -> DataFusionError {
    match error {
        ArrowError::DivideByZero => raise(ValueError::division_by_zero()),
        ArrowError::ArithmeticOverflow(_) => raise(ValueError::out_of_range(type_name)),
        other => DataFusionError::ArrowError(Box::new(other), None),
    }
}
