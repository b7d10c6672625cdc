//! Expressions against what PostgreSQL 15 answers: each pair of lines in `expressions/*.txt` is an expression and its type and value, or
//! its error.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

#[path = "support/reader.rs"]
mod reader;

use std::sync::Arc;

use common::columns::{array_from, cell};
use common::datum::Datum;
use common::types::SqlType;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use functions::context::{ExprContext, ParameterTypes, SessionSettings};
use functions::registry;
use functions::resolve;

/// 2024-03-05 12:34:56.789 UTC, at which all tests run.
const NOW: i64 = 1_709_642_096_789_000;

fn settings() -> SessionSettings {
    let mut settings = SessionSettings { transaction_micros: NOW, statement_micros: NOW, ..SessionSettings::default() };
    settings.format.transaction_micros = NOW;
    settings
}

fn message(error: &datafusion::error::DataFusionError) -> String {
    use common::error::{Report, SqlError};
    let root = error.find_root();
    if let datafusion::error::DataFusionError::External(inner) = root
        && let Some(report) = inner.downcast_ref::<Report>()
    {
        return format!("ERROR {} {}", report.sqlstate(), report);
    }
    format!("ERROR XX000 {error}")
}

/// Every function of a plan must be found again by its name.
fn check_names(expr: &datafusion::logical_expr::Expr) {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    expr.apply(|e| {
        if let datafusion::logical_expr::Expr::ScalarFunction(call) = e {
            let found = registry::scalar_udf(call.func.name()).unwrap_or_else(|| panic!("{} is not found", call.func.name()));
            assert_eq!(found.as_ref(), call.func.as_ref(), "{}", call.func.name());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
}

fn evaluate(text: &str) -> String {
    use common::error::SqlError;
    let settings = settings();
    let parameters = ParameterTypes::default();
    let cx = ExprContext { settings: &settings, parameters: &parameters };
    let bound = reader::read(&cx, text).and_then(|e| resolve::settle_unknown(&cx, e));
    let bound = match bound {
        Ok(bound) => bound,
        Err(error) => return format!("ERROR {} {error}", error.sqlstate()),
    };
    check_names(&bound.expr);
    let mut config = ConfigOptions::new();
    config.extensions.insert(settings.clone());
    let mut props = ExecutionProps::new();
    props.config_options = Some(Arc::new(config));
    let schema = DFSchema::empty();
    let run = || {
        let physical = create_physical_expr(&bound.expr, &schema, &props, &PhysicalPlanningContext::default())?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        let array = physical.evaluate(&batch)?.into_array(1)?;
        let array = set_as_array(array, bound.ty);
        assert_eq!(*array.data_type(), bound.arrow(), "Arrow type of {text}");
        Ok(array)
    };
    match run() {
        Ok(array) => {
            let value = cell(&array, 0, bound.ty).unwrap();
            let shown = if value.is_null() { "NULL".to_owned() } else { types::text_output::to_text(&value, bound.ty, &settings.format) };
            format!("{} | {shown}", type_name(bound.ty))
        }
        Err(error) => message(&error),
    }
}

/// A set, which is a list in Arrow, as the array of its rows.
fn set_as_array(array: ArrayRef, ty: SqlType) -> ArrayRef {
    let Some(list) = array.as_list_opt::<i32>().filter(|_| ty.is_array) else { return array };
    let rows = list.value(0);
    let values = (0..rows.len()).map(|row| cell(&rows, row, ty.element()).unwrap()).collect();
    array_from(ty, [&if list.is_null(0) { Datum::Null } else { Datum::Array(values) }]).unwrap()
}

fn type_name(ty: SqlType) -> String {
    let name = ty.without_typmod().display_name();
    if name.starts_with("bpchar") { name.replace("bpchar", "character") } else { name }
}

#[test]
fn expressions_answer_what_postgresql_answers() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expressions");
    let only = std::env::var("EXPRESSIONS").ok();
    let mut failures = Vec::new();
    let mut count = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|f| only.as_ref().is_none_or(|o| f.to_string_lossy().contains(o.as_str()))) {
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text.lines().filter(|l| !l.is_empty() && !l.starts_with("-- ")).collect();
        for pair in lines.chunks(2) {
            let [expression, expected] = pair else { panic!("an expression without its value in {}", file.display()) };
            count += 1;
            let found = evaluate(expression);
            let expected = expected.strip_prefix("=> ").unwrap();
            if found != expected {
                failures.push(format!("{expression}\n   expected {expected}\n   found    {found}"));
            }
        }
    }
    assert!(count > 0);
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
}
