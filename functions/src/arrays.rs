//! Arrays as the syntax knows them: `ARRAY[…]`, subscripts, `= ANY`, `<> ALL`, and the keyword VARIADIC.

use std::borrow::Cow;

use common::array::Array;
use common::datum::Datum;
use common::types::{Scalar, SqlType};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::InList;
use types::array;
use types::error::ValueError;

use crate::casts::{canonical, coerce};
use crate::common_types::{common_type, of_two};
use crate::conditional::compare;
use crate::context::{CastContext, ExprContext};
use crate::definition::{Args, Definition, fail, row};
use crate::error::{FunctionError, Result};
use crate::literals::{constant, fold, literal};
use crate::registry::call_hidden;
use crate::resolution::type_word;
use crate::resolve::binary_operator;
use crate::typed_expr::TypedExpr;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        row("array_of(variadic any) any", |a| Ok(Datum::Array(a.values.to_vec().into()))).nullable().hidden(),
        row("array_of_arrays(variadic any) any", nested).nullable().hidden(),
        row(ELEMENT, element).hidden(),
        row(SLICE, slice).hidden(),
        row(ASSIGN_ELEMENT, assign_element).nullable().hidden(),
        row(ASSIGN_SLICE, assign_slice).nullable().hidden(),
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

const ELEMENT: &str = "array_element(anyarray,variadic int4) anyelement";
/// The text tells which bounds are open: a letter for each, `o` for open. The numbers are the bounds in pairs.
const SLICE: &str = "array_slice(anyarray,text,variadic int4) anyarray";
const ASSIGN_ELEMENT: &str = "array_assign_element(anyarray,anyelement,variadic int4) anyarray";
const ASSIGN_SLICE: &str = "array_assign_slice(anyarray,anyarray,text,variadic int4) anyarray";

/// What stands in one pair of brackets.
#[derive(Clone, Debug)]
pub enum Subscript {
    /// `[index]`
    Index(TypedExpr),
    /// `[low:high]`; an open bound is the array's own.
    Slice(Option<TypedExpr>, Option<TypedExpr>),
}

/// `ARRAY[…]`; arrays are the rows of an array of one dimension more.
pub fn array_constructor(cx: &ExprContext<'_>, elements: Vec<TypedExpr>) -> Result<TypedExpr> {
    if elements.is_empty() {
        return Err(FunctionError::Value(ValueError::Other {
            sqlstate: common::sqlstate::SqlState::INDETERMINATE_DATATYPE,
            message: "cannot determine type of empty array".to_owned(),
            detail: None,
            hint: Some("Explicitly cast to the desired type, for example ARRAY[]::integer[].".to_owned()),
        }));
    }
    let element = common_type(cx, &elements, "ARRAY")?;
    let (ty, key) = if element.is_array {
        (element, "array_of_arrays(variadic any) any")
    } else {
        (SqlType::array_of(element), "array_of(variadic any) any")
    };
    let cast: Vec<TypedExpr> =
        elements.into_iter().map(|e| coerce(cx, e, element, CastContext::Implicit).map(canonical)).collect::<Result<_>>()?;
    let types = vec![element; cast.len()];
    Ok(fold(TypedExpr::new(call_hidden(key, types, ty, cast.into_iter().map(|e| e.expr).collect()), ty)))
}

fn nested(args: &Args<'_>) -> Result<Datum, ValueError> {
    let parts: Vec<Option<&Array>> = args.values.iter().map(|v| if let Datum::Array(array) = v { Some(array) } else { None }).collect();
    array::nest(&parts).map(Datum::Array)
}

/// `array[i]`, `array[i][j]`, `array[l:u]`; `json[key]` is `->`.
pub fn subscript(cx: &ExprContext<'_>, value: TypedExpr, subscripts: Vec<Subscript>) -> Result<TypedExpr> {
    if value.ty.scalar == Scalar::Jsonb && !value.ty.is_array {
        return subscripts.into_iter().try_fold(value, |value, subscript| match subscript {
            Subscript::Index(index) => binary_operator(cx, "->", value, index),
            Subscript::Slice(..) => {
                let message = "jsonb subscript does not support slices".to_owned();
                Err(FunctionError::TypeMismatch { message, hint: None })
            }
        });
    }
    let array = subscriptable(value)?;
    let ty = array.ty;
    if let Some(indexes) = indexes(&subscripts) {
        let element = ty.element();
        let (types, args) = with_numbers(cx, vec![array], indexes)?;
        return Ok(TypedExpr::new(call_hidden(ELEMENT, types, element, args), element));
    }
    let (open, bounds) = bounds(subscripts);
    let (types, args) = with_numbers(cx, vec![array, open], bounds)?;
    Ok(TypedExpr::new(call_hidden(SLICE, types, ty, args), ty))
}

/// The array after `array[subscripts] = value`.
pub fn assign_subscript(
    cx: &ExprContext<'_>,
    array: TypedExpr,
    subscripts: Vec<Subscript>,
    value: TypedExpr,
    column: &str,
) -> Result<TypedExpr> {
    let array = subscriptable(array)?;
    let ty = array.ty;
    let part = if indexes(&subscripts).is_some() { ty.element() } else { ty };
    let from = value.ty;
    let value = coerce(cx, value, part, CastContext::Assignment).map_err(|error| match error {
        FunctionError::CannotCast { .. } => FunctionError::TypeMismatch {
            message: format!(
                "subscripted assignment to \"{column}\" requires type {} but expression is of type {}",
                type_word(part),
                type_word(from)
            ),
            hint: Some("You will need to rewrite or cast the expression.".to_owned()),
        },
        other => other,
    })?;
    let value = canonical(value);
    let (key, (types, args)) = match indexes(&subscripts) {
        Some(indexes) => (ASSIGN_ELEMENT, with_numbers(cx, vec![array, value], indexes)?),
        None => {
            let (open, bounds) = bounds(subscripts);
            (ASSIGN_SLICE, with_numbers(cx, vec![array, value, open], bounds)?)
        }
    };
    Ok(TypedExpr::new(call_hidden(key, types, ty, args), ty))
}

fn subscriptable(value: TypedExpr) -> Result<TypedExpr> {
    if value.ty.is_array {
        return Ok(value);
    }
    let message = format!("cannot subscript type {} because it does not support subscripting", type_word(value.ty));
    Err(FunctionError::TypeMismatch { message, hint: None })
}

/// The subscripts when none is a slice.
fn indexes(subscripts: &[Subscript]) -> Option<Vec<TypedExpr>> {
    subscripts.iter().map(|s| if let Subscript::Index(index) = s { Some(index.clone()) } else { None }).collect()
}

/// Which bounds are open, and the bounds in pairs. Among slices, a plain index is the end of a slice from 1.
fn bounds(subscripts: Vec<Subscript>) -> (TypedExpr, Vec<TypedExpr>) {
    let number = |value| literal(&Datum::Int4(value), Scalar::Int4.into());
    let (mut open, mut all) = (String::new(), Vec::new());
    for subscript in subscripts {
        let pair = match subscript {
            Subscript::Index(index) => [Some(number(1)), Some(index)],
            Subscript::Slice(low, high) => [low, high],
        };
        for bound in pair {
            open.push(if bound.is_none() { 'o' } else { '-' });
            all.push(bound.unwrap_or_else(|| number(0)));
        }
    }
    (literal(&Datum::Text(open), Scalar::Text.into()), all)
}

/// The types and expressions of a call: first these, then the numbers as integers.
fn with_numbers(cx: &ExprContext<'_>, first: Vec<TypedExpr>, numbers: Vec<TypedExpr>) -> Result<(Vec<SqlType>, Vec<Expr>)> {
    let mut all = first;
    for number in numbers {
        let number = coerce(cx, number, Scalar::Int4.into(), CastContext::Assignment).map_err(|error| match error {
            FunctionError::CannotCast { .. } => {
                FunctionError::TypeMismatch { message: "array subscript must have type integer".into(), hint: None }
            }
            other => other,
        })?;
        all.push(number);
    }
    Ok((all.iter().map(|e| e.ty.without_typmod()).collect(), all.into_iter().map(|e| e.expr).collect()))
}

fn numbers(args: &Args<'_>, from: usize) -> Result<Vec<i32>, ValueError> {
    (from..args.len()).map(|at| args.int4(at)).collect()
}

fn element(args: &Args<'_>) -> Result<Datum, ValueError> {
    let array = args.array(0)?;
    Ok(array.place(&numbers(args, 1)?).map_or(Datum::Null, |place| array[place].clone()))
}

/// The bounds behind the text that tells which are open.
fn bounds_of(args: &Args<'_>, text: usize) -> Result<Vec<array::Bounds>, ValueError> {
    let mut bounds = args.text(text)?.chars().zip(numbers(args, text + 1)?).map(|(open, bound)| (open != 'o').then_some(bound));
    let mut out = Vec::new();
    while let (Some(low), Some(high)) = (bounds.next(), bounds.next()) {
        out.push((low, high));
    }
    Ok(out)
}

fn slice(args: &Args<'_>) -> Result<Datum, ValueError> {
    Ok(Datum::Array(array::slice(args.array(0)?, &bounds_of(args, 1)?)))
}

/// An array that is NULL is empty before an assignment.
fn assigned<'a>(args: &Args<'a>, from: usize) -> Result<Cow<'a, Array>, ValueError> {
    if (from..args.len()).any(|at| args.is_null(at)) {
        return fail(common::sqlstate::SqlState::NULL_VALUE_NOT_ALLOWED, "array subscript in assignment must not be null");
    }
    if args.is_null(0) { Ok(Cow::Owned(Array::default())) } else { args.array(0).map(Cow::Borrowed) }
}

fn assign_element(args: &Args<'_>) -> Result<Datum, ValueError> {
    let array = assigned(args, 2)?;
    array::assign_element(&array, &numbers(args, 2)?, args.value(1).clone()).map(Datum::Array)
}

fn assign_slice(args: &Args<'_>) -> Result<Datum, ValueError> {
    let array = assigned(args, 3)?;
    if args.is_null(1) {
        return Ok(args.value(0).clone());
    }
    array::assign_slice(&array, &bounds_of(args, 2)?, args.array(1)?).map(Datum::Array)
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
    for element in args.array(1)?.iter() {
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
