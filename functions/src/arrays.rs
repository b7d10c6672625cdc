//! Arrays as the syntax knows them: `ARRAY[…]`, subscripts, `= ANY`, `<> ALL`, and the keyword VARIADIC.

use std::sync::Arc;

use common::datum::Datum;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, ArrayRef, ListArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs};
use types::error::ValueError;

use crate::casts::{canonical, coerce};
use crate::common_types::{common_type, of_two};
use crate::conditional::compare;
use crate::context::{CastContext, ExprContext};
use crate::definition::{Args, Call, Definition, columns, fail, row};
use crate::error::{FunctionError, Result};
use crate::literals::{constant, literal};
use crate::registry::call_hidden;
use crate::resolution::type_word;
use crate::resolve::binary_operator;
use crate::typed_expr::TypedExpr;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        columns("array_of(variadic any) any", array_of).nullable().hidden(),
        row("array_element(anyarray,int4) anyelement", element).hidden(),
        row("array_slice(anyarray,int4,int4) anyarray", slice).hidden(),
    ];
    for op in ELEMENT_OPERATORS {
        for quantifier in ["any", "all"] {
            let signature = format!("{quantifier} {op}(any,anyarray) bool");
            out.push(row(&signature, quantified).hidden());
        }
    }
    out
}

/// The operators that ANY and ALL apply to elements one at a time.
const ELEMENT_OPERATORS: &[&str] = &["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~", "~*", "!~*"];

/// `ARRAY[…]`.
pub fn array_constructor(cx: &ExprContext<'_>, elements: Vec<TypedExpr>) -> Result<TypedExpr> {
    if elements.is_empty() {
        let message = "cannot determine type of empty array".to_owned();
        return Err(FunctionError::WrongUse { sqlstate: common::sqlstate::SqlState::INDETERMINATE_DATATYPE, message });
    }
    let element = common_type(cx, &elements, "ARRAY")?;
    if element.is_array {
        return Err(FunctionError::Unsupported("an array of more than one dimension".into()));
    }
    let cast: Vec<TypedExpr> =
        elements.into_iter().map(|e| coerce(cx, e, element, CastContext::Implicit).map(canonical)).collect::<Result<_>>()?;
    let ty = SqlType::array_of(element);
    let values: Option<Vec<Datum>> = cast.iter().map(|e| constant(&e.expr, e.ty)).collect();
    if let Some(values) = values {
        return Ok(literal(&Datum::Array(values), ty));
    }
    let types = vec![element; cast.len()];
    Ok(TypedExpr::new(call_hidden("array_of(variadic any) any", types, ty, cast.into_iter().map(|e| e.expr).collect()), ty))
}

fn array_of(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    let rows = if constant { 1 } else { args.number_rows };
    let columns = args.args.iter().map(|a| a.to_array(rows)).collect::<DataFusionResult<Vec<ArrayRef>>>()?;
    let sources: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    let indices: Vec<(usize, usize)> = (0..rows).flat_map(|row| (0..columns.len()).map(move |column| (column, row))).collect();
    let elements = interleave(&sources, &indices)?;
    let field = match call.result.arrow() {
        DataType::List(field) => field,
        other => Arc::new(Field::new("item", other, true)),
    };
    let lengths = std::iter::repeat_n(columns.len(), rows);
    let list: ArrayRef = Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), elements, None)?);
    Ok(if constant { ColumnarValue::Scalar(ScalarValue::try_from_array(&list, 0)?) } else { ColumnarValue::Array(list) })
}

/// `array[index]`; `json[key]` is `->`.
pub fn subscript(cx: &ExprContext<'_>, array: TypedExpr, index: TypedExpr) -> Result<TypedExpr> {
    if array.ty.scalar == Scalar::Jsonb && !array.ty.is_array {
        return binary_operator(cx, "->", array, index);
    }
    if !array.ty.is_array {
        let message = format!("cannot subscript type {} because it does not support subscripting", type_word(array.ty));
        return Err(FunctionError::TypeMismatch { message, hint: None });
    }
    let index = coerce(cx, index, Scalar::Int4.into(), CastContext::Assignment).map_err(|error| match error {
        FunctionError::CannotCast { .. } => {
            FunctionError::TypeMismatch { message: "array subscript must have type integer".into(), hint: None }
        }
        other => other,
    })?;
    let element = array.ty.element();
    let types = vec![array.ty, Scalar::Int4.into()];
    Ok(TypedExpr::new(call_hidden("array_element(anyarray,int4) anyelement", types, element, vec![array.expr, index.expr]), element))
}

/// `array[low:high]`; an open bound is the array's own.
pub fn slice_of(cx: &ExprContext<'_>, array: TypedExpr, low: Option<TypedExpr>, high: Option<TypedExpr>) -> Result<TypedExpr> {
    if !array.ty.is_array {
        let message = format!("cannot subscript type {} because it does not support subscripting", type_word(array.ty));
        return Err(FunctionError::TypeMismatch { message, hint: None });
    }
    let bound = |bound: Option<TypedExpr>, open: i32| match bound {
        Some(expr) => coerce(cx, expr, Scalar::Int4.into(), CastContext::Assignment),
        None => Ok(literal(&Datum::Int4(open), Scalar::Int4.into())),
    };
    let (low, high) = (bound(low, 1)?, bound(high, i32::MAX)?);
    let types = vec![array.ty, Scalar::Int4.into(), Scalar::Int4.into()];
    let expr = call_hidden("array_slice(anyarray,int4,int4) anyarray", types, array.ty, vec![array.expr, low.expr, high.expr]);
    Ok(TypedExpr::new(expr, array.ty))
}

fn element(args: &Args<'_>) -> Result<Datum, ValueError> {
    let at = usize::try_from(args.int4(1)?).ok().and_then(|n| n.checked_sub(1));
    Ok(at.and_then(|at| args.array(0).ok()?.get(at).cloned()).unwrap_or(Datum::Null))
}

fn slice(args: &Args<'_>) -> Result<Datum, ValueError> {
    let elements = args.array(0)?;
    let low = usize::try_from(args.int4(1)?.max(1)).unwrap_or(1);
    let high = usize::try_from(args.int4(2)?.max(0)).unwrap_or(0).min(elements.len());
    Ok(Datum::Array(elements.get(low - 1..high).unwrap_or_default().to_vec()))
}

/// `left op ANY (array)`, or `ALL`.
pub fn any_all(cx: &ExprContext<'_>, left: TypedExpr, op: &str, array: TypedExpr, all: bool) -> Result<TypedExpr> {
    let op = if op == "!=" { "<>" } else { op };
    if !ELEMENT_OPERATORS.contains(&op) {
        return Err(FunctionError::Unsupported(format!("{op} {}", if all { "ALL" } else { "ANY" })));
    }
    let array = if array.is_unknown() {
        let element = if left.is_unknown() { Scalar::Text.into() } else { left.ty.without_typmod() };
        coerce(cx, array, SqlType::array_of(element), CastContext::Implicit)?
    } else {
        array
    };
    if !array.ty.is_array {
        let message = "op ANY/ALL (array) requires array on right side".to_owned();
        return Err(FunctionError::WrongUse { sqlstate: common::sqlstate::SqlState::WRONG_OBJECT_TYPE, message });
    }
    if let Some(list) = as_list(cx, &left, op, &array, all)? {
        return Ok(list);
    }
    let element = array.ty.element();
    let common = if left.is_unknown() { Some(element.without_typmod()) } else { of_two(left.ty, element) };
    let undefined = || FunctionError::UndefinedOperator(format!("{} {op} {}", type_word(left.ty), type_word(element)));
    let common = common.ok_or_else(undefined)?;
    // The operator must exist for the elements.
    binary_operator(cx, op, crate::literals::null(common), crate::literals::null(common))?;
    let left = canonical(coerce(cx, left, common, CastContext::Implicit)?);
    let array_type = SqlType::array_of(common);
    let array = if array.ty.without_typmod() == array_type { array } else { coerce(cx, array, array_type, CastContext::Implicit)? };
    let quantifier = if all { "all" } else { "any" };
    let key = format!("{quantifier} {op}(any,anyarray) bool");
    let expr = call_hidden(&key, vec![common, array_type], Scalar::Bool.into(), vec![left.expr, array.expr]);
    Ok(TypedExpr::new(expr, Scalar::Bool))
}

/// `= ANY` and `<> ALL` of constants as an IN list, whose comparisons may be looked up.
fn as_list(cx: &ExprContext<'_>, left: &TypedExpr, op: &str, array: &TypedExpr, all: bool) -> Result<Option<TypedExpr>> {
    const LIST_MAX: usize = 1000;
    if !matches!((op, all), ("=", false) | ("<>", true)) {
        return Ok(None);
    }
    let Some(Datum::Array(values)) = constant(&array.expr, array.ty) else { return Ok(None) };
    if values.is_empty() || values.len() > LIST_MAX {
        return Ok(None);
    }
    let elements = values.iter().map(|value| literal(value, array.ty.element())).collect();
    in_list(cx, left, elements, all)
}

/// `left IN (elements)` as DataFusion's list, when all elements compare with one form of the left side; `None` otherwise.
pub fn in_list(cx: &ExprContext<'_>, left: &TypedExpr, elements: Vec<TypedExpr>, negated: bool) -> Result<Option<TypedExpr>> {
    let mut side: Option<Expr> = None;
    let mut list = Vec::with_capacity(elements.len());
    for element in elements {
        let compared = binary_operator(cx, "=", left.clone(), element)?;
        let Expr::BinaryExpr(comparison) = compared.expr else { return Ok(None) };
        if side.as_ref().is_some_and(|before| *before != *comparison.left) {
            return Ok(None);
        }
        side = Some(*comparison.left);
        list.push(*comparison.right);
    }
    let Some(side) = side else { return Ok(None) };
    Ok(Some(TypedExpr::new(Expr::InList(InList { expr: Box::new(side), list, negated }), Scalar::Bool)))
}

/// Applies the operator to each element: true or false as soon as one decides, NULL if a NULL could have.
fn quantified(args: &Args<'_>) -> Result<Datum, ValueError> {
    let (quantifier, op) = args.call.name.split_once(' ').unwrap_or(("any", args.call.name));
    let deciding = quantifier == "any";
    let element_type = args.ty(0);
    let mut unknown = false;
    for element in args.array(1)? {
        if element.is_null() {
            unknown = true;
        } else if holds(op, args.value(0), element, element_type)? == deciding {
            return Ok(Datum::Bool(deciding));
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(!deciding) })
}

fn holds(op: &str, left: &Datum, right: &Datum, ty: SqlType) -> Result<bool, ValueError> {
    if let (Datum::Text(text), Datum::Text(pattern), true) = (left, right, op.contains('~')) {
        return crate::library::patterns::matches(op, text, pattern);
    }
    let order = compare(left, right, ty).map_err(|e| ValueError::new(common::sqlstate::SqlState::INTERNAL_ERROR, e.to_string()))?;
    Ok(match op {
        "=" => order.is_eq(),
        "<>" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        _ => return fail(common::sqlstate::SqlState::INTERNAL_ERROR, format!("{op} is not applied to elements")),
    })
}

/// `f(a, VARIADIC array)`: a constant array is spread over the arguments; one that is not constant only goes where the function takes an
/// array itself.
pub(crate) fn spread_variadic(cx: &ExprContext<'_>, name: &str, mut args: Vec<TypedExpr>) -> Result<Vec<TypedExpr>> {
    let Some(last) = args.pop() else { return Ok(args) };
    if !last.ty.is_array {
        let message = "VARIADIC argument must be an array".to_owned();
        return Err(FunctionError::TypeMismatch { message, hint: None });
    }
    let element = last.ty.element();
    match (constant(&last.expr, last.ty), &last.expr) {
        (Some(Datum::Array(values)), _) => args.extend(values.iter().map(|value| literal(value, element))),
        (_, Expr::ScalarFunction(call)) if call.func.name().starts_with("array_of(") => {
            args.extend(call.args.iter().map(|arg| TypedExpr::new(arg.clone(), element)));
        }
        _ => return Err(FunctionError::Unsupported(format!("{name} with a VARIADIC argument that is no array constructor"))),
    }
    let _ = cx;
    Ok(args)
}
