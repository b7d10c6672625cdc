//! Comparisons: DataFusion's own, over keys where the type needs one ([`crate::keys`]).

use common::datum::Datum;
use common::types::{Scalar, SqlType};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, Operator};
use types::datetime;

use crate::casts::coerce;
use crate::context::CastContext;
use crate::decimals;
use crate::definition::{Build, Definition, build};
use crate::error::{FunctionError, Result};
use crate::keys::order_key;
use crate::literals::{constant, literal};
use crate::typed_expr::TypedExpr;

/// The comparison operators.
pub(crate) const SYMBOLS: &[&str] = &["=", "<>", "<", "<=", ">", ">="];

/// Pairs of types that compare; a list of one name stands for all pairs in it.
const PAIRS: &[&[&str]] = &[
    &["int2", "int4", "int8"],
    &["float4", "float8"],
    &["date", "timestamp", "timestamptz"],
    &["text", "name"],
    &["numeric"],
    &["bpchar"],
    &["char"],
    &["bool"],
    &["bytea"],
    &["uuid"],
    &["time"],
    &["interval"],
    &["oid"],
    &["jsonb"],
    &["anyarray"],
    &["anyenum"],
    &["timetz"],
    &["inet"],
    &["macaddr"],
    &["bit"],
    &["varbit"],
    &["int4range"],
    &["int8range"],
    &["numrange"],
    &["tsrange"],
    &["tstzrange"],
    &["daterange"],
];

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = Vec::new();
    for symbol in SYMBOLS {
        for group in PAIRS {
            for left in *group {
                for right in *group {
                    out.push(build(&format!("{symbol}({left},{right}) bool"), compare));
                }
            }
        }
    }
    out
}

/// DataFusion's operator for a symbol; also for the two that know NULL.
fn operator(symbol: &str) -> Option<Operator> {
    Some(match symbol {
        "=" => Operator::Eq,
        "<>" | "!=" => Operator::NotEq,
        "<" => Operator::Lt,
        "<=" => Operator::LtEq,
        ">" => Operator::Gt,
        ">=" => Operator::GtEq,
        "IS DISTINCT FROM" => Operator::IsDistinctFrom,
        "IS NOT DISTINCT FROM" => Operator::IsNotDistinctFrom,
        _ => return None,
    })
}

fn compare(build: &Build<'_>, mut args: Vec<TypedExpr>) -> Result<TypedExpr> {
    let op = operator(build.name).ok_or_else(|| FunctionError::UndefinedOperator(build.name.to_owned()))?;
    let (Some(right), Some(left)) = (args.pop(), args.pop()) else {
        return Err(FunctionError::Internal("a comparison has two operands".into()));
    };
    let (left, right) = comparable(build, left, right, op)?;
    let expr = Expr::BinaryExpr(BinaryExpr { left: Box::new(left.expr), op, right: Box::new(right.expr) });
    Ok(TypedExpr::new(expr, Scalar::Bool))
}

/// Both operands in one Arrow type whose order is the values'.
fn comparable(build: &Build<'_>, left: TypedExpr, right: TypedExpr, op: Operator) -> Result<(TypedExpr, TypedExpr)> {
    let (left, right) = same_type(build, left, right)?;
    if left.ty.is_array {
        return keyed(left, right);
    }
    match left.ty.scalar {
        Scalar::Numeric => {
            let (left, right) = decimals::comparable(left, right);
            keyed(left, right)
        }
        Scalar::Bpchar if matches!(op, Operator::Eq | Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) => {
            match padded(&left, &right) {
                Some(pair) => Ok(pair),
                None => keyed(left, right),
            }
        }
        Scalar::Float4 | Scalar::Float8 => {
            // A constant that is no zero needs no key, and then neither does the other side: only zeros and NaNs have two forms, and
            // this crate makes one NaN only.
            let plain = |e: &TypedExpr| match constant(&e.expr, e.ty) {
                Some(Datum::Float8(v)) => v != 0.0,
                Some(Datum::Float4(v)) => v != 0.0,
                _ => false,
            };
            if plain(&left) || plain(&right) { Ok((left, right)) } else { keyed(left, right) }
        }
        _ => keyed(left, right),
    }
}

fn keyed(left: TypedExpr, right: TypedExpr) -> Result<(TypedExpr, TypedExpr)> {
    let ty = left.ty;
    let undefined = || FunctionError::UndefinedOperator(format!("{ty} = {ty}"));
    Ok((order_key(left).ok_or_else(undefined)?, order_key(right).ok_or_else(undefined)?))
}

/// Widens one side of a comparison between types. A constant gives way to the other side where its value allows it, so that a column
/// stays bare and can be looked up.
fn same_type(build: &Build<'_>, left: TypedExpr, right: TypedExpr) -> Result<(TypedExpr, TypedExpr)> {
    if left.ty.without_typmod() == right.ty.without_typmod() || left.ty.is_array {
        return Ok((left, right));
    }
    if let Some(narrow) = narrowed(&right, left.ty) {
        return Ok((left, narrow));
    }
    if let Some(narrow) = narrowed(&left, right.ty) {
        return Ok((narrow, right));
    }
    let wider = if rank(left.ty) > rank(right.ty) { left.ty } else { right.ty }.without_typmod();
    let cast = |e| coerce(build.cx, e, wider, CastContext::Implicit);
    Ok((cast(left)?, cast(right)?))
}

fn rank(ty: SqlType) -> u8 {
    match ty.scalar {
        Scalar::Int4 | Scalar::Float8 | Scalar::Timestamp | Scalar::Text => 1,
        Scalar::Int8 | Scalar::Timestamptz => 2,
        _ => 0,
    }
}

/// A constant of a wider type as one of `ty`, if it is one: an integer in its range, a midnight as a date.
fn narrowed(expr: &TypedExpr, ty: SqlType) -> Option<TypedExpr> {
    let value = match constant(&expr.expr, expr.ty)? {
        Datum::Int2(v) => i64::from(v),
        Datum::Int4(v) => i64::from(v),
        Datum::Int8(v) => v,
        Datum::Timestamp(v) if expr.ty.scalar == Scalar::Timestamp && ty.scalar == Scalar::Date => {
            let date = datetime::timestamp_to_date(v);
            let is_midnight = datetime::date_to_timestamp(date) == Ok(v);
            return is_midnight.then(|| literal(&Datum::Date(date), Scalar::Date.into()));
        }
        _ => return None,
    };
    let narrow = match ty.scalar {
        Scalar::Int2 => Datum::Int2(i16::try_from(value).ok()?),
        Scalar::Int4 => Datum::Int4(i32::try_from(value).ok()?),
        Scalar::Int8 => Datum::Int8(value),
        _ => return None,
    };
    Some(literal(&narrow, ty.without_typmod()))
}

/// A `character(n)` against another of the same length, or against a constant that can be padded to it: then equality is bytewise.
fn padded(left: &TypedExpr, right: &TypedExpr) -> Option<(TypedExpr, TypedExpr)> {
    let (a, b) = (left.ty.char_length(), right.ty.char_length());
    if a.is_some() && a == b {
        return Some((left.clone(), right.clone()));
    }
    let fit = |e: &TypedExpr, length: usize, ty: SqlType| match constant(&e.expr, e.ty)? {
        Datum::Text(text) => {
            let trimmed = text.trim_end_matches(' ');
            let blanks = length.checked_sub(trimmed.chars().count())?;
            Some(literal(&Datum::Text(format!("{trimmed}{}", " ".repeat(blanks))), ty))
        }
        _ => None,
    };
    match (a, b) {
        (Some(length), _) => fit(right, length, left.ty).map(|right| (left.clone(), right)),
        (None, Some(length)) => fit(left, length, right.ty).map(|left| (left, right.clone())),
        (None, None) => None,
    }
}
