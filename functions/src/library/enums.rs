//! The functions of enums.

use common::array::Array;
use common::datum::Datum;
use common::enums::EnumDefinition;
use common::sqlstate::SqlState;
use common::types::Scalar;
use types::error::ValueError;

use crate::definition::{Args, Definition, fail, row};

pub(crate) fn definitions() -> Vec<Definition> {
    vec![
        row("enum_first(anyenum) anyenum", |a| end(a, definition(a)?.labels.first().map(|l| l.value))).nullable(),
        row("enum_last(anyenum) anyenum", |a| end(a, definition(a)?.labels.last().map(|l| l.value))).nullable(),
        row("enum_range(anyenum) anyarray", range).nullable(),
        row("enum_range(anyenum,anyenum) anyarray", range).nullable(),
        row("enum_larger(anyenum,anyenum) anyenum", |a| Ok(Datum::Int8(a.int8(0)?.max(a.int8(1)?)))),
        row("enum_smaller(anyenum,anyenum) anyenum", |a| Ok(Datum::Int8(a.int8(0)?.min(a.int8(1)?)))),
    ]
}

/// The type of the first argument, whose value does not count.
fn definition(args: &Args<'_>) -> Result<&'static EnumDefinition, ValueError> {
    match args.ty(0).scalar {
        Scalar::Enum(ty) => Ok(ty.definition()),
        _ => fail(SqlState::FEATURE_NOT_SUPPORTED, "could not determine actual enum type"),
    }
}

fn end(args: &Args<'_>, value: Option<i64>) -> Result<Datum, ValueError> {
    match value {
        Some(value) => Ok(Datum::Int8(value)),
        None => fail(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("enum {} contains no values", args.ty(0))),
    }
}

/// All labels, or those from the first argument to the second; NULL leaves an end open.
fn range(args: &Args<'_>) -> Result<Datum, ValueError> {
    let bound = |at: usize| if args.len() < 2 || args.is_null(at) { Ok(None) } else { args.int8(at).map(Some) };
    let (low, high) = (bound(0)?, bound(1)?);
    let within = |value: i64| low.is_none_or(|low| value >= low) && high.is_none_or(|high| value <= high);
    let values = definition(args)?.labels.iter().map(|l| l.value).filter(|v| within(*v));
    Ok(Datum::Array(values.map(Datum::Int8).collect::<Array>()))
}
