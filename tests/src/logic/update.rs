//! Writing PostgreSQL's answers into a logic test.

use std::fmt::Write as _;
use std::path::Path;

use sqllogictest::{ExpectedError, QueryExpect, Record, RecordOutput, StatementExpect};

use super::{ColumnKind, Engine, runner};
use crate::client::Address;

/// Runs a file on PostgreSQL and writes it anew with the answers.
pub fn update_file(path: &Path, address: &Address) -> Result<(), String> {
    let records = sqllogictest::parse_file::<ColumnKind>(path).map_err(|error| error.to_string())?;
    let mut runner = runner(address, Engine::Postgresql);
    let mut text = String::new();
    for record in records {
        let output = futures::executor::block_on(runner.apply_record(record.clone()));
        let record = match output {
            RecordOutput::Nothing => record,
            output => with_output(record, output),
        };
        writeln!(text, "{record}").map_err(|error| error.to_string())?;
    }
    runner.shutdown();
    let text = format!("{}\n", text.trim_end());
    std::fs::write(path, text).map_err(|error| error.to_string())
}

fn with_output(record: Record<ColumnKind>, output: RecordOutput<ColumnKind>) -> Record<ColumnKind> {
    match (record, output) {
        (Record::Statement { loc, conditions, connection, sql, expected, retry }, output) => {
            let expected = match (output, expected) {
                (RecordOutput::Statement { error: Some(error), .. }, StatementExpect::Error(expected)) => {
                    StatementExpect::Error(kept_or_told(expected, &*error))
                }
                (RecordOutput::Statement { error: Some(error), .. }, _) => StatementExpect::Error(told(&*error)),
                (RecordOutput::Statement { count, .. }, StatementExpect::Count(_)) => StatementExpect::Count(count),
                _ => StatementExpect::Ok,
            };
            Record::Statement { loc, conditions, connection, sql, expected, retry }
        }
        (Record::Query { loc, conditions, connection, sql, expected, retry }, RecordOutput::Query { types, rows, error }) => {
            let expected = match (error, expected) {
                (Some(error), QueryExpect::Error(expected)) => QueryExpect::Error(kept_or_told(expected, &*error)),
                (Some(error), QueryExpect::Results { .. }) => QueryExpect::Error(told(&*error)),
                (None, expected) => with_results(expected, types, &rows),
            };
            Record::Query { loc, conditions, connection, sql, expected, retry }
        }
        (Record::Query { loc, conditions, connection, sql, retry, .. }, RecordOutput::Statement { count, error }) => {
            let expected = error.map_or(StatementExpect::Count(count), |error| StatementExpect::Error(told(&*error)));
            Record::Statement { loc, conditions, connection, sql, expected, retry }
        }
        (record, _) => record,
    }
}

fn with_results(expected: QueryExpect<ColumnKind>, types: Vec<ColumnKind>, rows: &[Vec<String>]) -> QueryExpect<ColumnKind> {
    let (sort_mode, label) = match expected {
        QueryExpect::Results { sort_mode, label, .. } => (sort_mode, label),
        QueryExpect::Error(_) => (None, None),
    };
    QueryExpect::Results { types, sort_mode, result_mode: None, label, results: rows.iter().map(|row| row.concat()).collect() }
}

/// A pattern that was written by hand stays: it is there for what may differ.
fn kept_or_told(expected: ExpectedError, error: &dyn std::error::Error) -> ExpectedError {
    let is_kept = matches!(expected, ExpectedError::Inline(_)) && expected.is_match(&error.to_string());
    if is_kept { expected } else { told(error) }
}

/// The whole error, line by line: a pattern would let differences through.
fn told(error: &dyn std::error::Error) -> ExpectedError {
    ExpectedError::Multiline(error.to_string().trim().to_owned())
}
