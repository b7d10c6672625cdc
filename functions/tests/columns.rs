//! Functions over columns: every row as it would be alone, NULLs among them.

use std::sync::Arc;

use common::columns::cell;
use common::types::Scalar;
use datafusion::arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::col;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::create_physical_expr;
use functions::context::{ExprContext, ParameterTypes, SessionSettings};
use functions::resolve;
use functions::typed_expr::TypedExpr;

fn batch() -> RecordBatch {
    let texts = StringArray::from(vec![Some("Žlutý kůň"), None, Some("  ab "), Some(""), Some("a%b")]);
    let patterns = StringArray::from(vec![Some("ž.*k"), Some("x"), None, Some("^$"), Some("b$")]);
    let numbers = Int32Array::from(vec![Some(2), Some(1), Some(3), None, Some(-1)]);
    let doubles = Float64Array::from(vec![Some(2.25), None, Some(0.0), Some(f64::NAN), Some(16.0)]);
    let columns: Vec<ArrayRef> = vec![Arc::new(texts), Arc::new(patterns), Arc::new(numbers), Arc::new(doubles)];
    let field = |name: &str, ty: DataType| Field::new(name, ty, true);
    let schema = Schema::new(vec![
        field("t", DataType::Utf8),
        field("p", DataType::Utf8),
        field("n", DataType::Int32),
        field("d", DataType::Float64),
    ]);
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns of the schema")
}

/// An argument: the name of a column, or a constant in quotes.
fn argument(text: &str) -> TypedExpr {
    match text {
        "t" | "p" => TypedExpr::new(col(text), Scalar::Text),
        "n" => TypedExpr::new(col(text), Scalar::Int4),
        "d" => TypedExpr::new(col(text), Scalar::Float8),
        constant => resolve::unknown_literal(constant.trim_matches('\'').to_owned()),
    }
}

/// The values that a function or an operator gives over the batch, as text.
fn values(name: &str, args: &[&str]) -> Vec<String> {
    let settings = SessionSettings::default();
    let parameters = ParameterTypes::default();
    let cx = ExprContext { settings: &settings, parameters: &parameters };
    let args: Vec<TypedExpr> = args.iter().map(|text| argument(text)).collect();
    let bound = match args.as_slice() {
        [left, right] if !name.starts_with(char::is_alphabetic) => resolve::binary_operator(&cx, name, left.clone(), right.clone()),
        _ => resolve::call(&cx, name, args, false),
    };
    let bound = bound.expect("the call resolves");
    let batch = batch();
    let schema = DFSchema::try_from(batch.schema()).expect("distinct names");
    let planned = create_physical_expr(&bound.expr, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default());
    let array = planned.and_then(|p| p.evaluate(&batch)).and_then(|v| v.into_array(batch.num_rows())).expect("values");
    let shown = |row| match cell(&array, row, bound.ty).expect("a cell") {
        value if value.is_null() => "NULL".to_owned(),
        value => types::text_output::to_text(&value, bound.ty, &settings.format),
    };
    (0..batch.num_rows()).map(shown).collect()
}

#[test]
fn texts() {
    assert_eq!(values("length", &["t"]), ["9", "NULL", "5", "0", "3"]);
    assert_eq!(values("upper", &["t"]), ["ŽLUTÝ KŮŇ", "NULL", "  AB ", "", "A%B"]);
    assert_eq!(values("btrim", &["t"]), ["Žlutý kůň", "NULL", "ab", "", "a%b"]);
    assert_eq!(values("substr", &["t", "n"]), ["lutý kůň", "NULL", "ab ", "NULL", "a%b"]);
    assert_eq!(values("substr", &["t", "'2'", "'2'"]), ["lu", "NULL", " a", "", "%b"]);
    assert_eq!(values("left", &["t", "n"]), ["Žl", "NULL", "  a", "NULL", "a%"]);
    assert_eq!(values("right", &["'abc'", "n"]), ["bc", "c", "abc", "NULL", "bc"]);
    assert_eq!(values("concat", &["t", "n"]), ["Žlutý kůň2", "1", "  ab 3", "", "a%b-1"]);
    assert_eq!(values("||", &["t", "'!'"]), ["Žlutý kůň!", "NULL", "  ab !", "!", "a%b!"]);
    assert_eq!(values("||", &["t", "n"]), ["Žlutý kůň2", "NULL", "  ab 3", "NULL", "a%b-1"]);
    assert_eq!(values("replace", &["t", "'b'", "'X'"]), ["Žlutý kůň", "NULL", "  aX ", "", "a%X"]);
}

#[test]
fn patterns() {
    assert_eq!(values("~", &["t", "p"]), ["f", "NULL", "NULL", "t", "t"]);
    assert_eq!(values("~*", &["t", "p"]), ["t", "NULL", "NULL", "t", "t"]);
    assert_eq!(values("!~", &["t", "'a'"]), ["t", "NULL", "f", "t", "f"]);
    assert_eq!(values("~~", &["t", "'%a%'"]), ["f", "NULL", "t", "f", "t"]);
    assert_eq!(values("~~", &["t", "t"]), ["t", "NULL", "t", "t", "t"]);
    assert_eq!(values("!~~*", &["t", "'ŽL%'"]), ["f", "NULL", "t", "t", "t"]);
    assert_eq!(values("regexp_replace", &["t", "'.$'", "'-'"]), ["Žlutý ků-", "NULL", "  ab-", "", "a%-"]);
    assert_eq!(values("regexp_match", &["t", "'(b)'"]), ["NULL", "NULL", "{b}", "NULL", "{b}"]);
}

#[test]
fn doubles() {
    assert_eq!(values("sqrt", &["d"]), ["1.5", "NULL", "0", "NaN", "4"]);
    assert_eq!(values("round", &["d"]), ["2", "NULL", "0", "NaN", "16"]);
    assert_eq!(values("power", &["d", "'2'"]), ["5.0625", "NULL", "0", "NaN", "256"]);
}
