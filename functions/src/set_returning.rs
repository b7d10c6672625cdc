//! Functions that return sets: an expression gives each row its list, and the query unnests it.

use std::cmp::Ordering;
use std::sync::Arc;

use common::datum::Datum;
use common::interval::Interval;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, AsArray, Int64Builder, ListArray, ListBuilder};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::datetime;
use types::error::ValueError;

use crate::context::ExprContext;
use crate::definition::{Args, Call, Definition, columns_typed, fail, row};
use crate::error::{FunctionError, Result, internal};
use crate::registry;
use crate::resolution::{Selection, apply, select, type_list};
use crate::typed_expr::TypedExpr;

/// No list is longer: a list is one value, and has to fit into memory.
const ELEMENTS_MAX: usize = 50_000_000;

/// A call that answers a set.
#[derive(Debug, Clone)]
pub struct SetReturning {
    /// A list for each row. Where the set's rows are arrays, its SQL type is theirs, and its Arrow type a list of lists.
    pub expr: TypedExpr,
    /// The set's columns. A column without a name takes the function's.
    pub columns: Vec<(String, SqlType)>,
    /// The list's elements are Arrow structs, with a field for each column under the name of its place: `0`, `1`, …
    pub of_records: bool,
}

/// The functions are definitions under this prefix, so that they are no scalar functions.
pub(crate) const PREFIX: &str = "set_of_";

pub(crate) fn definitions() -> Vec<Definition> {
    vec![
        row("set_of_generate_series(int4,int4) int4[]", |a| integers(a, i64::from(a.int4(0)?), i64::from(a.int4(1)?), 1)),
        row("set_of_generate_series(int4,int4,int4) int4[]", |a| {
            integers(a, i64::from(a.int4(0)?), i64::from(a.int4(1)?), i64::from(a.int4(2)?))
        }),
        row("set_of_generate_series(int8,int8) int8[]", |a| integers(a, a.int8(0)?, a.int8(1)?, 1)),
        row("set_of_generate_series(int8,int8,int8) int8[]", |a| integers(a, a.int8(0)?, a.int8(1)?, a.int8(2)?)),
        row("set_of_generate_series(timestamp,timestamp,interval) timestamp[]", timestamps),
        row("set_of_generate_series(timestamptz,timestamptz,interval) timestamptz[]", timestamps).stable(),
        row("set_of_unnest(anyarray) anyarray", |a| Ok(Datum::Array(a.array(0)?.iter().cloned().collect()))),
        columns_typed("numbers_of(variadic any) int8[]", numbers_of, |_| SqlType::from(Scalar::Int8).arrow_list()).nullable().hidden(),
    ]
}

pub(crate) fn zero_step<T>() -> Result<T, ValueError> {
    fail(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero")
}

pub(crate) fn too_long<T>() -> Result<T, ValueError> {
    fail(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("a set of more than {ELEMENTS_MAX} rows from one call is not supported"))
}

/// Collects a series until `next` answers none.
pub(crate) fn series(mut next: impl FnMut() -> Result<Option<Datum>, ValueError>) -> Result<Datum, ValueError> {
    let mut out = Vec::new();
    while let Some(value) = next()? {
        if out.len() >= ELEMENTS_MAX {
            return too_long();
        }
        out.push(value);
    }
    Ok(Datum::Array(out.into()))
}

fn integers(args: &Args<'_>, start: i64, stop: i64, step: i64) -> Result<Datum, ValueError> {
    if step == 0 {
        return zero_step();
    }
    let small = args.call.result.scalar == Scalar::Int4;
    let mut current = Some(start);
    series(|| {
        let Some(value) = current.filter(|v| if step > 0 { *v <= stop } else { *v >= stop }) else { return Ok(None) };
        current = value.checked_add(step);
        Ok(Some(if small { i32::try_from(value).map_or(Datum::Int8(value), Datum::Int4) } else { Datum::Int8(value) }))
    })
}

fn timestamps(args: &Args<'_>) -> Result<Datum, ValueError> {
    let (stop, step) = (args.timestamp(1)?, args.interval(2)?);
    let zone = (args.call.result.scalar == Scalar::Timestamptz).then_some(args.settings().format.time_zone);
    let sign = step.cmp(&Interval::default());
    if sign == Ordering::Equal {
        return zero_step();
    }
    let mut current = args.timestamp(0)?;
    series(|| {
        if current.cmp(&stop) == sign {
            return Ok(None);
        }
        let value = current;
        current = match zone {
            Some(zone) => datetime::add_interval_tz(value, step, zone)?,
            None => datetime::add_interval(value, step)?,
        };
        Ok(Some(Datum::Timestamp(value)))
    })
}

fn named(name: &str) -> &'static [&'static Definition] {
    registry::named(&format!("{PREFIX}{name}"))
}

/// Whether the name is a set-returning function's.
pub fn is_set_returning(name: &str) -> bool {
    !named(name).is_empty() || crate::library::sets::is_record_set(name)
}

/// Resolves a call of a set-returning function.
pub fn set_returning(cx: &ExprContext<'_>, name: &str, args: Vec<TypedExpr>) -> Result<SetReturning> {
    if let Some(records) = crate::library::sets::record_set(cx, name, &args) {
        return records;
    }
    let types: Vec<SqlType> = args.iter().map(|a| a.ty).collect();
    let shown = format!("{name}({})", type_list(&args));
    match select(named(name), &types) {
        Selection::Found(candidate) => {
            let expr = apply(cx, &candidate, args, name)?;
            let ty = row_type(name, expr.ty);
            Ok(SetReturning { expr, columns: vec![(column_name(name).to_owned(), ty)], of_records: false })
        }
        Selection::Nothing => Err(FunctionError::UndefinedFunction(shown)),
        Selection::Ambiguous => Err(FunctionError::AmbiguousFunction(shown)),
    }
}

/// The numbers of the rows that sets beside each other have: WITH ORDINALITY.
pub fn ordinality(sets: &[SetReturning]) -> SetReturning {
    let ty = SqlType::array_of(Scalar::Int8.into());
    let types = sets.iter().map(|set| set.expr.ty.without_typmod()).collect();
    let lists = sets.iter().map(|set| set.expr.expr.clone()).collect();
    let expr = TypedExpr::new(registry::call_hidden("numbers_of(variadic any) int8[]", types, ty, lists), ty);
    SetReturning { expr, columns: vec![("ordinality".into(), Scalar::Int8.into())], of_records: false }
}

/// The lists of one argument, row by row.
fn lists(args: &ScalarFunctionArgs, index: usize) -> DataFusionResult<ListArray> {
    let argument = args.args.get(index).ok_or_else(|| internal("a set has no list"))?;
    Ok(argument.to_array(args.number_rows)?.as_list::<i32>().clone())
}

fn length(list: &ListArray, row: usize) -> usize {
    if list.is_null(row) { 0 } else { usize::try_from(list.value_length(row)).unwrap_or(0) }
}

fn numbers_of(_: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let all = (0..args.args.len()).map(|i| lists(args, i)).collect::<DataFusionResult<Vec<_>>>()?;
    let mut builder = ListBuilder::new(Int64Builder::new());
    for row in 0..args.number_rows {
        let longest = all.iter().map(|list| length(list, row)).max().unwrap_or(0);
        (1_i64..).take(longest).for_each(|number| builder.values().append_value(number));
        builder.append(true);
    }
    Ok(ColumnarValue::Array(Arc::new(builder.finish())))
}

/// The type of a row of a set whose function's result is `result`. Where the rows are arrays, that is `result` itself, as no type is an array
/// of arrays.
pub(crate) fn row_type(name: &str, result: SqlType) -> SqlType {
    if name == "regexp_matches" { result } else { result.element() }
}

/// The name of the only column, where it is not the function's.
fn column_name(name: &str) -> &'static str {
    match name {
        "jsonb_array_elements" | "json_array_elements" | "jsonb_array_elements_text" | "json_array_elements_text" => "value",
        _ => "",
    }
}
