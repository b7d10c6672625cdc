//! Calls and operators with a syntax of their own reach the functions that PostgreSQL means: each pair of lines in `keyword_calls.txt` is
//! an expression of type text and PostgreSQL 15's answer.

use std::sync::Arc;

use common::columns::cell;
use common::datum::Datum;
use common::error::{Report, SqlError as _};
use common::types::Scalar;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use functions::context::SessionSettings;

fn message(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<Report>() {
            Some(report) => format!("ERROR {} {report}", report.sqlstate()),
            None => error.to_string(),
        },
        _ => error.to_string(),
    }
}

fn evaluate(text: &str) -> String {
    let bound = match sql::bind::bind_expression(text, &[], Scalar::Text.into(), &SessionSettings::default()) {
        Ok(bound) => bound,
        Err(error) => return format!("ERROR {} {error}", error.sqlstate()),
    };
    let run = || {
        let physical = create_physical_expr(&bound.expr, &DFSchema::empty(), &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        physical.evaluate(&batch)?.into_array(1)
    };
    match run() {
        Ok(array) => match cell(&array, 0, bound.ty) {
            Ok(Datum::Text(value)) => value,
            _ => "NULL".to_owned(),
        },
        Err(error) => message(&error),
    }
}

#[test]
fn keyword_calls_answer_what_postgresql_answers() {
    let lines: Vec<&str> = include_str!("keyword_calls.txt").lines().collect();
    let mut failures = Vec::new();
    for pair in lines.chunks(2) {
        let [expression, expected] = pair else { panic!("an expression without its value") };
        let expected = expected.strip_prefix("=> ").unwrap();
        let found = evaluate(expression);
        if found != expected {
            failures.push(format!("{expression}\n   expected {expected}\n   found    {found}"));
        }
    }
    assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), lines.len() / 2, failures.join("\n"));
}
