//! Set-returning functions against the rows that PostgreSQL 15 answers.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::sync::Arc;

use common::columns::cell;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::common::DFSchema;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use functions::context::{CastContext, ExprContext, ParameterTypes, SessionSettings};
use functions::registry;
use functions::resolve;

/// Calls a function with arguments written as `value` or `value::type`; answers its rows or its error.
fn rows(name: &str, args: &[&str]) -> Result<Vec<String>, String> {
    let settings = SessionSettings::default();
    let parameters = ParameterTypes::default();
    let cx = ExprContext { settings: &settings, parameters: &parameters };
    let argument = |text: &str| match text.split_once("::") {
        Some((value, ty)) => {
            let ty = types::text_input::type_by_name(ty).expect("a type");
            resolve::cast(&cx, resolve::unknown_literal(value.to_owned()), ty, CastContext::Explicit).expect("a value of the type")
        }
        None => resolve::unknown_literal(text.to_owned()),
    };
    let args = args.iter().map(|text| argument(text)).collect();
    let set = resolve::set_returning(&cx, name, args).map_err(|e| e.to_string())?;
    let datafusion::logical_expr::Expr::ScalarFunction(call) = &set.expr.expr else { panic!("{name} is no call") };
    assert!(registry::scalar_udf(call.func.name()).is_some_and(|udf| udf == call.func), "{} is found again", call.func.name());
    let physical = create_physical_expr(&set.expr.expr, &DFSchema::empty(), &ExecutionProps::new(), &PhysicalPlanningContext::default())
        .map_err(|e| e.to_string())?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).expect("an empty batch");
    let lists = physical.evaluate(&batch).and_then(|value| value.into_array(1)).map_err(|e| e.find_root().to_string())?;
    let elements = lists.as_list::<i32>().value(0);
    let text_array = SqlType::array_of(Scalar::Text.into());
    let array = |row| types::text_output::to_text(&cell(&elements, row, text_array).expect("an array"), text_array, &settings.format);
    let is_set_of_arrays = set.columns.iter().all(|(_, ty)| *ty == text_array);
    if is_set_of_arrays {
        return Ok((0..elements.len()).map(array).collect());
    }
    let shown = |row| if elements.is_null(row) { Ok("NULL".to_owned()) } else { array_value_to_string(&elements, row) };
    (0..elements.len()).map(|row| shown(row).map_err(|e| e.to_string())).collect()
}

fn check(name: &str, args: &[&str], expected: &[&str]) {
    assert_eq!(rows(name, args).expect("rows"), expected, "{name}({args:?})");
}

fn check_error(name: &str, args: &[&str], expected: &str) {
    assert!(rows(name, args).expect_err("an error").contains(expected), "{name}({args:?})");
}

#[test]
fn matches_are_rows() {
    check("regexp_matches", &["foobarbequebazilbarfbonk", "(b[^b]+)(b[^b]+)", "g"], &["{bar,beque}", "{bazil,barf}"]);
    check("regexp_matches", &["abc", "x*", "g"], &["{\"\"}", "{\"\"}", "{\"\"}", "{\"\"}"]);
    check("regexp_matches", &["abcb", "b"], &["{b}"]);
    check("regexp_matches", &["abc", "q"], &[]);
    check("regexp_matches", &["abc", "(x)?b"], &["{NULL}"]);
}

#[test]
fn parts_are_rows() {
    check("regexp_split_to_table", &["hello world foo", r"\s+"], &["hello", "world", "foo"]);
    check_error("regexp_split_to_table", &["a", "a", "g"], "regexp_split_to_table() does not support the \"global\" option");
    check("string_to_table", &["a,b,,c", ",", ""], &["a", "b", "NULL", "c"]);
    check("string_to_table", &["a,b", ","], &["a", "b"]);
}

#[test]
fn series_of_numerics() {
    let count = |args: &[&str]| rows("generate_series", args).map(|rows| rows.len());
    assert_eq!(count(&["1.0::numeric", "3::numeric", "0.5::numeric"]), Ok(5));
    assert_eq!(count(&["3::numeric", "1::numeric", "-0.7::numeric"]), Ok(3));
    assert_eq!(count(&["1.5::numeric", "3::numeric"]), Ok(2));
    check_error("generate_series", &["1::numeric", "3::numeric", "0::numeric"], "step size cannot equal zero");
    check_error("generate_series", &["NaN::numeric", "3::numeric"], "start value cannot be NaN");
    check_error("generate_series", &["1::numeric", "Infinity::numeric"], "stop value cannot be infinity");
}
