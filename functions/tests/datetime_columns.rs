//! Functions of dates and times over columns answer what they answer for each row's constants.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::Arc;

use common::columns::{array_from, cell};
use common::datum::Datum;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, col};
use datafusion::physical_expr::create_physical_expr;
use functions::context::{CastContext, ExprContext, ParameterTypes, SessionSettings};
use functions::resolve;
use functions::typed_expr::TypedExpr;
use types::format_settings::TimeZone;
use types::{text_input, text_output};

fn settings() -> SessionSettings {
    let mut settings = SessionSettings::default();
    settings.format.time_zone = TimeZone::Named(chrono_tz::Tz::America__New_York);
    settings
}

/// Rows of one column each: values as text, `None` for NULL.
const COLUMNS: &[(&str, Scalar, [Option<&str>; 6])] = &[
    ("d", Scalar::Date, [Some("2024-02-29"), None, Some("1999-12-31"), Some("0044-03-15 BC"), Some("2000-01-01"), Some("infinity")]),
    ("e", Scalar::Date, [Some("2023-01-31"), Some("2020-02-02"), None, Some("1970-01-01"), Some("2000-01-02"), Some("2000-03-01")]),
    ("t", Scalar::Time, [Some("10:11:12.5"), None, Some("00:00"), Some("23:59:59.999999"), Some("12:00"), Some("01:00")]),
    (
        "ts",
        Scalar::Timestamp,
        [
            Some("2024-02-29 13:14:15.678901"),
            Some("1969-12-31 23:59:59.5"),
            None,
            Some("2024-03-10 02:30"),
            Some("0001-01-01 BC"),
            Some("-infinity"),
        ],
    ),
    (
        "tz",
        Scalar::Timestamptz,
        [
            Some("2024-02-29 13:14:15.678901+00"),
            None,
            Some("2024-11-03 05:30+00"),
            Some("1880-01-01+00"),
            Some("2024-07-01+00"),
            Some("infinity"),
        ],
    ),
    (
        "i",
        Scalar::Interval,
        [Some("1 mon 2 days 03:04:05.6"), Some("-1 year"), None, Some("25:00:00"), Some("40 days"), Some("-00:00:00.000001")],
    ),
    ("n", Scalar::Int4, [Some("1"), Some("-30"), None, Some("0"), Some("7"), Some("365")]),
    ("f", Scalar::Float8, [Some("1.5"), Some("-2"), None, Some("0.1"), Some("3"), Some("1e3")]),
    ("u", Scalar::Text, [Some("month"), None, Some("hour"), Some("week"), Some("century"), Some("epoch")]),
    ("z", Scalar::Text, [Some("UTC"), Some("Asia/Tokyo"), None, Some("MSK"), Some("+3"), Some("UTC")]),
];

fn value(text: Option<&str>, ty: SqlType) -> Datum {
    text.map_or(Datum::Null, |text| text_input::parse(text, ty, &settings().format).unwrap())
}

/// An argument: a column by its name, or a text.
fn argument(cx: &ExprContext<'_>, word: &str, row: Option<usize>) -> TypedExpr {
    match (COLUMNS.iter().find(|(name, ..)| *name == word), row) {
        (Some((name, scalar, _)), None) => TypedExpr::new(col(*name), *scalar),
        (Some((_, scalar, rows)), Some(row)) => resolve::literal(&value(rows[row], (*scalar).into()), (*scalar).into()),
        (None, _) => match word.split_once("::") {
            Some((text, ty)) => {
                let ty = text_input::type_by_name(ty).unwrap();
                resolve::cast(cx, resolve::unknown_literal(text.to_owned()), ty, CastContext::Explicit).unwrap()
            }
            None => resolve::unknown_literal(word.to_owned()),
        },
    }
}

fn bind(cx: &ExprContext<'_>, call: &[&str], row: Option<usize>) -> TypedExpr {
    let args: Vec<TypedExpr> = call[1..].iter().map(|word| argument(cx, word, row)).collect();
    match (call[0], args.as_slice()) {
        ("cast", [value, _]) => {
            resolve::cast(cx, value.clone(), text_input::type_by_name(call[2]).unwrap(), CastContext::Explicit).unwrap()
        }
        (op, [left, right]) if !op.starts_with(|c: char| c.is_alphabetic()) => {
            resolve::binary_operator(cx, op, left.clone(), right.clone()).unwrap()
        }
        (name, _) => resolve::call(cx, name, args, false).unwrap(),
    }
}

fn run(expr: &Expr, batch: &RecordBatch) -> Result<ArrayRef, String> {
    let mut config = ConfigOptions::new();
    config.extensions.insert(settings());
    let mut props = ExecutionProps::new();
    props.config_options = Some(Arc::new(config));
    let schema = DFSchema::try_from(batch.schema().as_ref().clone()).unwrap();
    let run = || {
        let physical = create_physical_expr(expr, &schema, &props, &PhysicalPlanningContext::default())?;
        physical.evaluate(batch)?.into_array(batch.num_rows())
    };
    run().map_err(|error: datafusion::error::DataFusionError| error.to_string())
}

#[test]
fn columns_answer_what_constants_answer() {
    let fields: Vec<Field> = COLUMNS.iter().map(|(name, scalar, _)| Field::new(*name, SqlType::from(*scalar).arrow(), true)).collect();
    let arrays: Vec<ArrayRef> = COLUMNS
        .iter()
        .map(|(_, scalar, rows)| {
            let values: Vec<Datum> = rows.iter().map(|text| value(*text, (*scalar).into())).collect();
            array_from((*scalar).into(), &values).unwrap()
        })
        .collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &RecordBatchOptions::new().with_row_count(Some(1)))
        .unwrap();
    let settings = settings();
    let parameters = ParameterTypes::default();
    let cx = ExprContext { settings: &settings, parameters: &parameters };
    let calls = include_str!("datetime_columns.txt").lines().filter(|line| !line.is_empty());
    let mut wrong = Vec::new();
    for line in calls {
        let words: Vec<&str> = line.split(" | ").collect();
        let bound = bind(&cx, &words, None);
        let answer = run(&bound.expr, &batch);
        if let Ok(array) = &answer {
            let same_form = *array.data_type() == bound.arrow() || bound.arrow() == DataType::Null;
            assert!(same_form, "{line}: {:?} is no {:?}", array.data_type(), bound.arrow());
        }
        for row in 0..batch.num_rows() {
            let constant = bind(&cx, &words, Some(row));
            let expected = run(&constant.expr, &one).map(|array| cell(&array, 0, constant.ty).unwrap());
            let found = answer.clone().map(|array| cell(&array, row, bound.ty).unwrap());
            let show = |value: &Result<Datum, String>| match value {
                Ok(value) if value.is_null() => "NULL".to_owned(),
                Ok(value) => text_output::to_text(value, bound.ty, &settings.format),
                Err(error) => error.clone(),
            };
            if show(&expected) != show(&found) {
                wrong.push(format!("{line}, row {row}: {} and not {}", show(&found), show(&expected)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
