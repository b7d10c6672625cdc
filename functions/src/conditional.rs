//! COALESCE, NULLIF, GREATEST and LEAST: not functions but expressions, as they choose among arguments of one type.

use std::cmp::Ordering;

use common::columns::cell;
use common::datum::Datum;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::interleave;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs};

use crate::common_types::unify;
use crate::context::ExprContext;
use crate::definition::{Call, Definition, columns_typed};
use crate::error::{FunctionError, Result, raise, raise_row};
use crate::keys::write_key;
use crate::literals::{constant, null};
use crate::registry::call_hidden;
use crate::resolve::binary_operator;
use crate::typed_expr::TypedExpr;

pub(crate) fn definitions() -> Vec<Definition> {
    vec![
        columns_typed("greatest(variadic any) any", |call, args| extreme(call, args, Ordering::Greater), first_type).nullable().hidden(),
        columns_typed("least(variadic any) any", |call, args| extreme(call, args, Ordering::Less), first_type).nullable().hidden(),
        columns_typed("coalesce(variadic any) any", first_present, first_type).nullable().hidden(),
    ]
}

fn first_type(args: &[arrow::datatypes::DataType]) -> arrow::datatypes::DataType {
    args.first().cloned().unwrap_or(arrow::datatypes::DataType::Null)
}

/// Builds the expression if the name is one of these.
pub(crate) fn special(cx: &ExprContext<'_>, name: &str, args: &[TypedExpr]) -> Option<Result<TypedExpr>> {
    match name {
        "coalesce" if !args.is_empty() => Some(coalesce(cx, args.to_vec())),
        "nullif" if args.len() == 2 => Some(nullif(cx, &args[0], &args[1])),
        "greatest" | "least" if !args.is_empty() => Some(extreme_of(cx, args.to_vec(), name)),
        _ => crate::library::session_information::type_of_unknown(name, args).map(Ok),
    }
}

fn coalesce(cx: &ExprContext<'_>, args: Vec<TypedExpr>) -> Result<TypedExpr> {
    let (mut args, ty) = unify(cx, args, "COALESCE")?;
    let decimal = crate::common_types::shared_form(&args);
    let Some(last) = args.pop() else { return Err(FunctionError::Internal("COALESCE of nothing".into())) };
    if args.is_empty() {
        return Ok(last);
    }
    if args.iter().any(|a| a.expr.is_volatile()) {
        args.push(last);
        let types = vec![ty; args.len()];
        let expr = call_hidden("coalesce(variadic any) any", types, ty, args.into_iter().map(|a| a.expr).collect());
        return Ok(TypedExpr { expr, ty, decimal });
    }
    let branches = args.into_iter().map(|a| {
        let present = if constant(&a.expr, a.ty).is_some_and(|v| v.is_null()) {
            Expr::Literal(ScalarValue::Boolean(Some(false)), None)
        } else {
            Expr::IsNotNull(Box::new(a.expr.clone()))
        };
        (Box::new(present), Box::new(a.expr))
    });
    let case = Case { expr: None, when_then_expr: branches.collect(), else_expr: Some(Box::new(last.expr)) };
    Ok(TypedExpr { expr: Expr::Case(case), ty, decimal })
}

fn nullif(cx: &ExprContext<'_>, left: &TypedExpr, right: &TypedExpr) -> Result<TypedExpr> {
    let equal = binary_operator(cx, "=", left.clone(), right.clone())?;
    // The result has the left side's type after the comparison's casts; only open ones change by that.
    let left = if left.is_unknown() {
        let ty = if right.is_unknown() { Scalar::Text.into() } else { right.ty.without_typmod() };
        crate::casts::coerce(cx, left.clone(), ty, crate::context::CastContext::Implicit)?
    } else {
        left.clone()
    };
    let none = match left.decimal {
        Some(form) => Expr::Literal(ScalarValue::try_from(&form.arrow()).unwrap_or(ScalarValue::Null), None),
        None => null(left.ty).expr,
    };
    let case = Case { expr: None, when_then_expr: vec![(Box::new(equal.expr), Box::new(none))], else_expr: Some(Box::new(left.expr)) };
    Ok(TypedExpr { expr: Expr::Case(case), ty: left.ty, decimal: left.decimal })
}

fn extreme_of(cx: &ExprContext<'_>, args: Vec<TypedExpr>, name: &str) -> Result<TypedExpr> {
    let (mut args, ty) = unify(cx, args, if name == "greatest" { "GREATEST" } else { "LEAST" })?;
    for arg in &args {
        crate::keys::sort_key_expr(cx, arg.clone())?;
    }
    if args.len() == 1 {
        return args.pop().ok_or_else(|| FunctionError::Internal("no argument".into()));
    }
    let decimal = crate::common_types::shared_form(&args);
    let key = if name == "greatest" { "greatest(variadic any) any" } else { "least(variadic any) any" };
    let expr = call_hidden(key, vec![ty; args.len()], ty, args.into_iter().map(|a| a.expr).collect());
    Ok(TypedExpr { expr, ty, decimal })
}

/// Which argument each row takes; `None` where none has a value.
fn pick(
    args: &ScalarFunctionArgs,
    mut choose: impl FnMut(usize, &[ArrayRef]) -> DataFusionResult<Option<usize>>,
) -> DataFusionResult<ColumnarValue> {
    let mut arrays = args.args.iter().map(|a| a.to_array(args.number_rows)).collect::<DataFusionResult<Vec<_>>>()?;
    let count = arrays.len();
    let nulls = arrow::array::new_null_array(args.return_field.data_type(), 1);
    let mut indices = Vec::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        indices.push(choose(row, &arrays)?.map_or((count, 0), |at| (at, row)));
    }
    arrays.push(nulls);
    let sources: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    Ok(ColumnarValue::Array(interleave(&sources, &indices)?))
}

fn first_present(_: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    pick(args, |row, arrays| Ok(arrays.iter().position(|a| a.is_valid(row))))
}

fn extreme(call: &Call<'_>, args: &ScalarFunctionArgs, wanted: Ordering) -> DataFusionResult<ColumnarValue> {
    let ty = call.result;
    pick(args, |row, arrays| {
        let mut best: Option<(usize, Datum)> = None;
        for (at, array) in arrays.iter().enumerate() {
            if array.is_null(row) {
                continue;
            }
            let value = cell(array, row, ty).map_err(raise_row)?;
            let better = match &best {
                Some((_, before)) => compare(&value, before, ty)? == wanted,
                None => true,
            };
            if better {
                best = Some((at, value));
            }
        }
        Ok(best.map(|(at, _)| at))
    })
}

/// The order of two values of a type.
pub(crate) fn compare(a: &Datum, b: &Datum, ty: SqlType) -> DataFusionResult<Ordering> {
    if !ty.is_array && matches!(ty.scalar, Scalar::Jsonb | Scalar::Bpchar | Scalar::Range(_)) {
        let (mut x, mut y) = (Vec::new(), Vec::new());
        write_key(a, ty, &mut x).map_err(raise)?;
        write_key(b, ty, &mut y).map_err(raise)?;
        return Ok(x.cmp(&y));
    }
    Ok(a.sql_cmp(b))
}
