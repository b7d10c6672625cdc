//! Functions and operators on arrays, which have one dimension and begin at 1.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use types::error::ValueError;
use types::json;

use crate::conditional::compare;
use crate::definition::{Args, Definition, fail, row, text};
use crate::set_returning::series;

/// `array_fill` makes no longer array.
const ELEMENTS_MAX: usize = 10_000_000;

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
        row("array_length(anyarray,int4) int4", length),
        row("array_upper(anyarray,int4) int4", length),
        row("array_lower(anyarray,int4) int4", |a| Ok(if length(a)?.is_null() { Datum::Null } else { Datum::Int4(1) })),
        row("cardinality(anyarray) int4", |a| count(a.array(0)?).map(Datum::Int4)),
        row("array_ndims(anyarray) int4", |a| Ok(if a.array(0)?.is_empty() { Datum::Null } else { Datum::Int4(1) })),
        row("array_dims(anyarray) text", |a| match a.array(0)?.len() {
            0 => Ok(Datum::Null),
            length => text(format!("[1:{length}]")),
        }),
        row("array_position(anycompatiblearray,anycompatible) int4", position).nullable(),
        row("array_position(anycompatiblearray,anycompatible,int4) int4", position).nullable(),
        row("array_positions(anycompatiblearray,anycompatible) int4[]", positions).nullable(),
        row("array_remove(anycompatiblearray,anycompatible) anycompatiblearray", remove).nullable(),
        row("array_replace(anycompatiblearray,anycompatible,anycompatible) anycompatiblearray", replace).nullable(),
        row("array_fill(anyelement,int4[]) anyarray", fill).nullable(),
        row("array_fill(anyelement,int4[],int4[]) anyarray", fill).nullable(),
        row("trim_array(anyarray,int4) anyarray", trim),
        row("array_larger(anyarray,anyarray) anyarray", |a| extreme(a, true)),
        row("array_smaller(anyarray,anyarray) anyarray", |a| extreme(a, false)),
        row("array_to_json(anyarray) json", |a| to_json(a, false)).stable(),
        row("array_to_json(anyarray,bool) json", |a| to_json(a, a.bool(1)?)).stable(),
        row("set_of_generate_subscripts(anyarray,int4) int4[]", |a| subscripts(a, false)),
        row("set_of_generate_subscripts(anyarray,int4,bool) int4[]", |a| subscripts(a, a.bool(2)?)),
    ]);
    out
}

/// The elements of an argument; none for NULL.
fn elements<'a>(args: &Args<'a>, index: usize) -> Result<&'a [Datum], ValueError> {
    if args.is_null(index) { Ok(&[]) } else { args.array(index) }
}

fn append(args: &Args<'_>) -> Result<Datum, ValueError> {
    let mut out = elements(args, 0)?.to_vec();
    out.push(args.value(1).clone());
    Ok(Datum::Array(out))
}

fn prepend(args: &Args<'_>) -> Result<Datum, ValueError> {
    let rest = elements(args, 1)?;
    let mut out = Vec::with_capacity(rest.len() + 1);
    out.push(args.value(0).clone());
    out.extend_from_slice(rest);
    Ok(Datum::Array(out))
}

fn cat(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(0) && args.is_null(1) {
        return Ok(Datum::Null);
    }
    Ok(Datum::Array([elements(args, 0)?, elements(args, 1)?].concat()))
}

fn count(elements: &[Datum]) -> Result<i32, ValueError> {
    i32::try_from(elements.len()).map_err(|_| ValueError::out_of_range("integer"))
}

/// NULL for an empty array and for a dimension that the array has not.
fn length(args: &Args<'_>) -> Result<Datum, ValueError> {
    let elements = args.array(0)?;
    if elements.is_empty() || args.int4(1)? != 1 { Ok(Datum::Null) } else { count(elements).map(Datum::Int4) }
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
    for wanted in args.array(part)? {
        if !includes(whole, wanted, ty)? {
            return Ok(Datum::Bool(false));
        }
    }
    Ok(Datum::Bool(true))
}

fn overlap(args: &Args<'_>) -> Result<Datum, ValueError> {
    let ty = comparable(args, 0)?;
    let other = args.array(1)?;
    for element in args.array(0)? {
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
    let start = match args.len() {
        2 => 1,
        _ if args.is_null(2) => return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "initial position must not be null"),
        _ => args.int4(2)?.max(1),
    };
    for (element, at) in args.array(0)?.iter().zip(1_i32..) {
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
    let mut out = Vec::new();
    for (element, at) in args.array(0)?.iter().zip(1_i32..) {
        if same(element, args.value(1), ty)? {
            out.push(Datum::Int4(at));
        }
    }
    Ok(Datum::Array(out))
}

fn remove(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(0) {
        return Ok(Datum::Null);
    }
    let ty = comparable(args, 0)?;
    let mut out = Vec::new();
    for element in args.array(0)? {
        if !same(element, args.value(1), ty)? {
            out.push(element.clone());
        }
    }
    Ok(Datum::Array(out))
}

fn replace(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(0) {
        return Ok(Datum::Null);
    }
    let ty = comparable(args, 0)?;
    let mut out = args.array(0)?.to_vec();
    for element in &mut out {
        if same(element, args.value(1), ty)? {
            *element = args.value(2).clone();
        }
    }
    Ok(Datum::Array(out))
}

fn fill(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(1) || args.len() > 2 && args.is_null(2) {
        return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension array or low bound array cannot be null");
    }
    let dimensions = args.array(1)?;
    let bounds = if args.len() > 2 { Some(args.array(2)?) } else { None };
    if dimensions.iter().chain(bounds.unwrap_or_default()).any(Datum::is_null) {
        return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension values cannot be null");
    }
    if bounds.is_some_and(|bounds| bounds.len() != dimensions.len()) {
        return Err(ValueError::Other {
            sqlstate: SqlState::ARRAY_SUBSCRIPT_ERROR,
            message: "wrong number of array subscripts".to_owned(),
            detail: Some("Low bound array has different size than dimensions array.".to_owned()),
            hint: None,
        });
    }
    let length = match dimensions {
        [] => return Ok(Datum::Array(Vec::new())),
        [Datum::Int4(length)] => *length,
        _ => return fail(SqlState::FEATURE_NOT_SUPPORTED, "an array of more than one dimension is not supported"),
    };
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= ELEMENTS_MAX) else {
        return fail(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})"));
    };
    if length > 0 && bounds.is_some_and(|bounds| *bounds != [Datum::Int4(1)]) {
        return fail(SqlState::FEATURE_NOT_SUPPORTED, "an array that does not begin at 1 is not supported");
    }
    Ok(Datum::Array(vec![args.value(0).clone(); length]))
}

fn trim(args: &Args<'_>) -> Result<Datum, ValueError> {
    let elements = args.array(0)?;
    match usize::try_from(args.int4(1)?).ok().and_then(|n| elements.len().checked_sub(n)) {
        Some(kept) => Ok(Datum::Array(elements[..kept].to_vec())),
        None => {
            let message = format!("number of elements to trim must be between 0 and {}", elements.len());
            fail(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
        }
    }
}

fn extreme(args: &Args<'_>, larger: bool) -> Result<Datum, ValueError> {
    let order = compare(args.value(0), args.value(1), args.ty(0));
    let order = order.map_err(|e| ValueError::new(SqlState::INTERNAL_ERROR, e.to_string()))?;
    let first = if larger { order.is_gt() } else { order.is_lt() };
    Ok(args.value(usize::from(!first)).clone())
}

fn to_json(args: &Args<'_>, line_feeds: bool) -> Result<Datum, ValueError> {
    let ty = args.ty(0).element();
    let format = &args.settings().format;
    let documents: Vec<String> = args.array(0)?.iter().map(|element| json::from_datum(element, ty, format)).collect();
    text(format!("[{}]", documents.join(if line_feeds { ",\n " } else { "," })))
}

fn subscripts(args: &Args<'_>, reverse: bool) -> Result<Datum, ValueError> {
    let last = if args.int4(1)? == 1 { count(args.array(0)?)? } else { 0 };
    let mut next = 0;
    series(|| {
        next += 1;
        Ok((next <= last).then(|| Datum::Int4(if reverse { last + 1 - next } else { next })))
    })
}
