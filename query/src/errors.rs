//! DataFusion's errors as reports. An error of ours travels inside DataFusion as a boxed [`Report`] and comes out unchanged.

use arrow::error::ArrowError;
use common::error::Report;
use common::sqlstate::SqlState;
use datafusion::error::DataFusionError;

/// The report of an error.
pub fn report(error: &DataFusionError) -> Report {
    match error {
        DataFusionError::External(inner) => external(inner.as_ref()),
        DataFusionError::ArrowError(inner, _) => arrow(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => report(inner),
        DataFusionError::Shared(inner) => report(inner),
        DataFusionError::Collection(errors) => errors.first().map_or_else(|| Report::internal("an empty list of errors"), report),
        DataFusionError::ResourcesExhausted(message) => {
            Report::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(first_line(message))
        }
        DataFusionError::NotImplemented(message) => {
            Report::new(SqlState::FEATURE_NOT_SUPPORTED, "this form of query is not supported").with_detail(first_line(message))
        }
        DataFusionError::Execution(message) if message.contains("more than one row") => {
            Report::new(SqlState::CARDINALITY_VIOLATION, "more than one row returned by a subquery used as an expression")
        }
        DataFusionError::Plan(message) if message.contains("scalar subquery") || message.contains("Scalar subquery") => {
            Report::new(SqlState::FEATURE_NOT_SUPPORTED, "this form of correlated subquery is not supported")
                .with_detail(first_line(message))
        }
        other => Report::internal(first_line(&other.strip_backtrace())),
    }
}

/// An error of ours for DataFusion.
pub fn raise(report: Report) -> DataFusionError {
    DataFusionError::External(Box::new(report))
}

fn external(error: &(dyn std::error::Error + 'static)) -> Report {
    if let Some(report) = error.downcast_ref::<Report>() {
        return report.clone();
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        return report(inner);
    }
    if let Some(inner) = error.downcast_ref::<ArrowError>() {
        return arrow(inner);
    }
    match error.source() {
        Some(source) => external(source),
        None => Report::internal(error.to_string()),
    }
}

fn arrow(error: &ArrowError) -> Report {
    match error {
        ArrowError::DivideByZero => Report::new(SqlState::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => Report::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range"),
        ArrowError::ExternalError(inner) => external(inner.as_ref()),
        other => Report::internal(other.to_string()),
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}
