//! Functions and operators on arrays.

use std::borrow::Cow;

use common::array::{Array, Dimension};
use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use types::error::ValueError;
use types::{array, json};

use crate::conditional::compare;
use crate::definition::{Args, Definition, fail, row, text};
use crate::set_returning::series;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = Vec::new();
    for name in ["array_append", "||"] {
        out.push(row(&format!("{name}(anycompatiblearray,anycompatible) anycompatiblearray"), append).nullable());
    }
    for name in ["array_prepend", "||"] {
        out.push(row(&format!("{name}(anycompatible,anycompatiblearray) anycompatiblearray"), prepend).nullable());
    }
    for name in ["array_cat", "||"] {
        out.push(row(&format!("{name}(anycompatiblearray,anycompatiblearray) anycompatiblearray"), cat).nullable());
    }
    for name in ["@>", "arraycontains"] {
        out.push(row(&format!("{name}(anyarray,anyarray) bool"), |a| contains(a, 0, 1)));
    }
    for name in ["<@", "arraycontained"] {
        out.push(row(&format!("{name}(anyarray,anyarray) bool"), |a| contains(a, 1, 0)));
    }
    for name in ["&&", "arrayoverlap"] {
        out.push(row(&format!("{name}(anyarray,anyarray) bool"), overlap));
    }
    out.extend([
        row("array_length(anyarray,int4) int4", |a| Ok(dimension(a)?.map_or(Datum::Null, |d| Datum::Int4(d.length)))),
        row("array_upper(anyarray,int4) int4", |a| Ok(dimension(a)?.map_or(Datum::Null, |d| Datum::Int4(d.upper())))),
        row("array_lower(anyarray,int4) int4", |a| Ok(dimension(a)?.map_or(Datum::Null, |d| Datum::Int4(d.lower)))),
        row("cardinality(anyarray) int4", |a| Ok(Datum::Int4(a.array(0)?.len() as i32))),
        row("array_ndims(anyarray) int4", |a| match a.array(0)?.dimensions().len() {
            0 => Ok(Datum::Null),
            count => Ok(Datum::Int4(count as i32)),
        }),
        row("array_dims(anyarray) text", |a| Ok(array::dimensions_text(a.array(0)?).map_or(Datum::Null, Datum::Text))),
        row("array_position(anycompatiblearray,anycompatible) int4", position).nullable(),
        row("array_position(anycompatiblearray,anycompatible,int4) int4", position).nullable(),
        row("array_positions(anycompatiblearray,anycompatible) int4[]", positions).nullable(),
        row("array_remove(anycompatiblearray,anycompatible) anycompatiblearray", remove).nullable(),
        row("array_replace(anycompatiblearray,anycompatible,anycompatible) anycompatiblearray", replace).nullable(),
        row("array_fill(anyelement,int4[]) anyarray", fill).nullable(),
        row("array_fill(anyelement,int4[],int4[]) anyarray", fill).nullable(),
        row("trim_array(anyarray,int4) anyarray", |a| array::trim(a.array(0)?, a.int4(1)?).map(Datum::Array)),
        row("array_larger(anyarray,anyarray) anyarray", |a| extreme(a, true)),
        row("array_smaller(anyarray,anyarray) anyarray", |a| extreme(a, false)),
        row("array_to_json(anyarray) json", |a| to_json(a, false)).stable(),
        row("array_to_json(anyarray,bool) json", |a| to_json(a, a.bool(1)?)).stable(),
        row("set_of_generate_subscripts(anyarray,int4) int4[]", |a| subscripts(a, false)),
        row("set_of_generate_subscripts(anyarray,int4,bool) int4[]", |a| subscripts(a, a.bool(2)?)),
    ]);
    out
}

/// An array argument; empty for NULL.
fn present<'a>(args: &Args<'a>, index: usize) -> Result<Cow<'a, Array>, ValueError> {
    if args.is_null(index) { Ok(Cow::Owned(Array::default())) } else { args.array(index).map(Cow::Borrowed) }
}

fn append(args: &Args<'_>) -> Result<Datum, ValueError> {
    array::extend(&*present(args, 0)?, args.value(1).clone(), true).map(Datum::Array)
}

fn prepend(args: &Args<'_>) -> Result<Datum, ValueError> {
    array::extend(&*present(args, 1)?, args.value(0).clone(), false).map(Datum::Array)
}

fn cat(args: &Args<'_>) -> Result<Datum, ValueError> {
    match (args.is_null(0), args.is_null(1)) {
        (true, _) => Ok(args.value(1).clone()),
        (_, true) => Ok(args.value(0).clone()),
        _ => array::concatenate(args.array(0)?, args.array(1)?).map(Datum::Array),
    }
}

/// The dimension that the second argument counts; `None` when the array has it not.
fn dimension(args: &Args<'_>) -> Result<Option<Dimension>, ValueError> {
    let at = usize::try_from(args.int4(1)?).ok().and_then(|n| n.checked_sub(1));
    Ok(at.and_then(|at| args.array(0).ok()?.dimensions().get(at)).copied())
}

/// 0A000 for what only goes through arrays of one dimension.
fn flat<'a>(args: &Args<'a>, message: &str) -> Result<&'a Array, ValueError> {
    let array = args.array(0)?;
    if array.dimensions().len() > 1 { fail(SqlState::FEATURE_NOT_SUPPORTED, message) } else { Ok(array) }
}

/// The subscripts of an array of one dimension.
fn subscripts_of(array: &Array) -> impl Iterator<Item = i32> {
    array.dimensions().first().map_or(1, |d| d.lower)..
}

/// Whether two elements are equal, NULLs as well.
fn same(a: &Datum, b: &Datum, ty: SqlType) -> Result<bool, ValueError> {
    match (a.is_null(), b.is_null()) {
        (true, true) => Ok(true),
        (false, false) => {
            let order = compare(a, b, ty).map_err(|e| ValueError::new(SqlState::INTERNAL_ERROR, e.to_string()))?;
            Ok(order.is_eq())
        }
        _ => Ok(false),
    }
}

/// The type of an array argument's elements, which must have an equality.
fn comparable(args: &Args<'_>, index: usize) -> Result<SqlType, ValueError> {
    let element = args.ty(index).element();
    if matches!(element.scalar, Scalar::Json | Scalar::Jsonpath | Scalar::Record) {
        return fail(SqlState::UNDEFINED_FUNCTION, format!("could not identify an equality operator for type {element}"));
    }
    Ok(element)
}

/// Whether the elements of the argument `whole` include all of `part`'s. NULLs are equal to nothing.
fn contains(args: &Args<'_>, whole: usize, part: usize) -> Result<Datum, ValueError> {
    let ty = comparable(args, whole)?;
    let whole = args.array(whole)?;
    for wanted in args.array(part)?.iter() {
        if !includes(whole, wanted, ty)? {
            return Ok(Datum::Bool(false));
        }
    }
    Ok(Datum::Bool(true))
}

fn overlap(args: &Args<'_>) -> Result<Datum, ValueError> {
    let ty = comparable(args, 0)?;
    let other = args.array(1)?;
    for element in args.array(0)?.iter() {
        if includes(other, element, ty)? {
            return Ok(Datum::Bool(true));
        }
    }
    Ok(Datum::Bool(false))
}

fn includes(elements: &[Datum], wanted: &Datum, ty: SqlType) -> Result<bool, ValueError> {
    if wanted.is_null() {
        return Ok(false);
    }
    for element in elements {
        if same(element, wanted, ty)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn position(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(0) {
        return Ok(Datum::Null);
    }
    let ty = comparable(args, 0)?;
    let array = flat(args, "searching for elements in multidimensional arrays is not supported")?;
    let start = match args.len() {
        2 => i32::MIN,
        _ if args.is_null(2) => return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "initial position must not be null"),
        _ => args.int4(2)?,
    };
    for (element, at) in array.iter().zip(subscripts_of(array)) {
        if at >= start && same(element, args.value(1), ty)? {
            return Ok(Datum::Int4(at));
        }
    }
    Ok(Datum::Null)
}

fn positions(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(0) {
        return Ok(Datum::Null);
    }
    let ty = comparable(args, 0)?;
    let array = flat(args, "searching for elements in multidimensional arrays is not supported")?;
    let mut out = Vec::new();
    for (element, at) in array.iter().zip(subscripts_of(array)) {
        if same(element, args.value(1), ty)? {
            out.push(Datum::Int4(at));
        }
    }
    Ok(Datum::Array(out.into()))
}

fn remove(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(0) {
        return Ok(Datum::Null);
    }
    let ty = comparable(args, 0)?;
    let array = flat(args, "removing elements from multidimensional arrays is not supported")?;
    let mut out = Vec::new();
    for element in array.iter() {
        if !same(element, args.value(1), ty)? {
            out.push(element.clone());
        }
    }
    let dimensions = array.dimensions().iter().map(|d| Dimension { length: out.len() as i32, ..*d }).collect();
    array::build(dimensions, out).map(Datum::Array)
}

fn replace(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(0) {
        return Ok(Datum::Null);
    }
    let ty = comparable(args, 0)?;
    let replaced = |element: &Datum| Ok(if same(element, args.value(1), ty)? { args.value(2).clone() } else { element.clone() });
    args.array(0)?.try_map(replaced).map(Datum::Array)
}

fn fill(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(1) || args.len() > 2 && args.is_null(2) {
        return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension array or low bound array cannot be null");
    }
    let dimensions = args.array(1)?;
    let bounds = if args.len() > 2 { Some(args.array(2)?) } else { None };
    let wrong = |detail: &str| {
        Err(ValueError::Other {
            sqlstate: SqlState::ARRAY_SUBSCRIPT_ERROR,
            message: "wrong number of array subscripts".to_owned(),
            detail: Some(detail.to_owned()),
            hint: None,
        })
    };
    if dimensions.dimensions().len() > 1 || bounds.is_some_and(|b| b.dimensions().len() > 1) {
        return wrong("Dimension array must be one dimensional.");
    }
    if dimensions.iter().chain(bounds.into_iter().flat_map(|b| b.iter())).any(Datum::is_null) {
        return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension values cannot be null");
    }
    if bounds.is_some_and(|bounds| bounds.len() != dimensions.len()) {
        return wrong("Low bound array has different size than dimensions array.");
    }
    let numbers = |array: &Array| array.iter().map(|v| if let Datum::Int4(v) = v { *v } else { 0 }).collect::<Vec<i32>>();
    array::fill(args.value(0), &numbers(dimensions), bounds.map(numbers).as_deref()).map(Datum::Array)
}

fn extreme(args: &Args<'_>, larger: bool) -> Result<Datum, ValueError> {
    let order = compare(args.value(0), args.value(1), args.ty(0));
    let order = order.map_err(|e| ValueError::new(SqlState::INTERNAL_ERROR, e.to_string()))?;
    let first = if larger { order.is_gt() } else { order.is_lt() };
    Ok(args.value(usize::from(!first)).clone())
}

fn to_json(args: &Args<'_>, line_feeds: bool) -> Result<Datum, ValueError> {
    let format = &args.settings().format;
    if !line_feeds {
        return text(json::from_datum(args.value(0), args.ty(0), format));
    }
    let array = args.array(0)?;
    // Only the outer dimension is broken into lines.
    let rows = match array.dimensions() {
        [] => Vec::new(),
        [_] => array.iter().map(|element| json::from_datum(element, args.ty(0).element(), format)).collect(),
        [outer, inner @ ..] => {
            let rows = array.chunks(array.len() / (outer.length as usize).max(1));
            let row = |row: &[Datum]| Ok(json::from_datum(&Datum::Array(array::build(inner.to_vec(), row.to_vec())?), args.ty(0), format));
            rows.map(row).collect::<Result<_, ValueError>>()?
        }
    };
    text(format!("[{}]", rows.join(",\n ")))
}

fn subscripts(args: &Args<'_>, reverse: bool) -> Result<Datum, ValueError> {
    let Some(dimension) = dimension(args)? else { return Ok(Datum::Array(Array::default())) };
    let (mut next, last) = (dimension.lower - 1, dimension.upper());
    series(|| {
        next += 1;
        Ok((next <= last).then(|| Datum::Int4(if reverse { last - (next - dimension.lower) } else { next })))
    })
}
