//! Expressions in SQL's own syntax against PostgreSQL 15: each pair of lines in `expressions/*.txt` is an expression and its value as
//! text, or its error. What functions answer is tested in `functions`; here it is that syntax reaches them.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::Arc;

use common::columns::cell;
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::types::Scalar;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use functions::context::SessionSettings;

/// 2024-03-05 12:34:56.789 UTC, at which all tests run.
const NOW: i64 = 1_709_642_096_789_000;

fn message(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::External(inner) if inner.is::<Report>() => {
            inner.downcast_ref::<Report>().map_or_else(String::new, |report| format!("ERROR {} {report}", report.sqlstate()))
        }
        other => format!("ERROR XX000 {other}"),
    }
}

fn evaluate(text: &str) -> String {
    let mut settings = SessionSettings { transaction_micros: NOW, statement_micros: NOW, ..SessionSettings::default() };
    settings.format.transaction_micros = NOW;
    let bound = match sql::bind::bind_expression(text, &[], Scalar::Text.into(), &settings) {
        Ok(bound) => bound,
        Err(error) => return format!("ERROR {} {error}", error.sqlstate()),
    };
    let mut config = ConfigOptions::new();
    config.extensions.insert(settings);
    let mut props = ExecutionProps::new();
    props.config_options = Some(Arc::new(config));
    let run = || {
        let physical = create_physical_expr(&bound.expr, &DFSchema::empty(), &props, &PhysicalPlanningContext::default())?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        physical.evaluate(&batch)?.into_array(1)
    };
    match run() {
        Ok(array) => match cell(&array, 0, Scalar::Text.into()).unwrap() {
            Datum::Text(text) => text,
            _ => "NULL".to_owned(),
        },
        Err(error) => message(&error),
    }
}

#[test]
fn syntax_means_what_postgresql_means() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expressions");
    let mut failures = Vec::new();
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|l| !l.is_empty() && !l.starts_with("-- ")).collect();
        for pair in lines.chunks(2) {
            let [expression, expected] = pair else { panic!("an expression without its value: {pair:?}") };
            count += 1;
            let (found, expected) = (evaluate(expression), expected.strip_prefix("=> ").unwrap());
            if found != expected {
                failures.push(format!("{expression}\n   expected {expected}\n   found    {found}"));
            }
        }
    }
    assert!(count > 0);
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
}
