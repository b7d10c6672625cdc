//! The type that several expressions have in common: legs of UNION, branches of CASE, elements of ARRAY.

use common::types::{Scalar, SqlType};

use crate::casts::coerce;
use crate::context::{CastContext, ExprContext};
use crate::error::{FunctionError, Result};
use crate::resolution::{casts_implicitly, type_word};
use crate::typed_expr::{DecimalForm, TypedExpr};

/// PostgreSQL's rule: unknown ones do not count; all must be of one category; the first wins unless a later one is preferred and the
/// first casts to it implicitly. All unknown is text. A modifier stays when all have it.
pub fn common_type(cx: &ExprContext<'_>, exprs: &[TypedExpr], what: &str) -> Result<SqlType> {
    let _ = cx;
    let mut known = exprs.iter().filter(|e| !e.is_unknown()).map(|e| e.ty);
    let Some(first) = known.next() else { return Ok(Scalar::Text.into()) };
    if exprs.iter().all(|e| e.ty == first) {
        return Ok(first);
    }
    let mut common = first.without_typmod();
    for ty in known {
        let ty = ty.without_typmod();
        common = step(common, ty).ok_or_else(|| mismatch(what, common, ty))?;
    }
    // The chosen type must be reachable from all.
    if let Some(other) = exprs.iter().find(|e| !casts_implicitly(e.ty, common)) {
        let message = format!("{what} could not convert type {} to {}", type_word(other.ty), type_word(common));
        return Err(FunctionError::WrongUse { sqlstate: common::sqlstate::SqlState::CANNOT_COERCE, message });
    }
    Ok(common)
}

fn mismatch(what: &str, left: SqlType, right: SqlType) -> FunctionError {
    let message = format!("{what} types {} and {} cannot be matched", type_word(left), type_word(right));
    FunctionError::TypeMismatch { message, hint: None }
}

fn category(ty: SqlType) -> char {
    if ty.is_array { 'A' } else { ty.scalar.category() }
}

/// The type so far, or the next if that is better; `None` when they have different categories.
fn step(so_far: SqlType, next: SqlType) -> Option<SqlType> {
    if so_far == next {
        return Some(so_far);
    }
    if category(so_far) != category(next) {
        return None;
    }
    let preferred = !so_far.is_array && so_far.scalar.is_preferred();
    let better = !preferred && casts_implicitly(so_far, next) && !casts_implicitly(next, so_far);
    Some(if better { next } else { so_far })
}

/// The common type of two decided types.
pub(crate) fn of_two(left: SqlType, right: SqlType) -> Option<SqlType> {
    let common = step(left.without_typmod(), right.without_typmod())?;
    (casts_implicitly(left, common) && casts_implicitly(right, common)).then_some(common)
}

/// Casts several expressions to their common type, in one Arrow form: numerics stay decimals where one form holds them all.
pub fn unify(cx: &ExprContext<'_>, exprs: Vec<TypedExpr>, what: &str) -> Result<(Vec<TypedExpr>, SqlType)> {
    let ty = common_type(cx, &exprs, what)?;
    let cast: Vec<TypedExpr> = exprs.into_iter().map(|e| coerce(cx, e, ty, CastContext::Implicit)).collect::<Result<_>>()?;
    Ok((one_form(cast), ty))
}

/// Brings numerics without modifier into one form.
pub(crate) fn one_form(exprs: Vec<TypedExpr>) -> Vec<TypedExpr> {
    if !exprs.iter().any(|e| e.ty.scalar == Scalar::Numeric && !e.ty.is_array) {
        return exprs;
    }
    match crate::decimals::common_form(&exprs) {
        Some(form) => exprs.into_iter().map(|e| crate::decimals::in_form(e, form)).collect(),
        None => exprs.into_iter().map(crate::casts::canonical).collect(),
    }
}

/// The form of one expression for several.
pub(crate) fn shared_form(exprs: &[TypedExpr]) -> Option<DecimalForm> {
    exprs.first().and_then(|e| e.decimal)
}

/// An expression as a condition; 42804 `argument of WHERE must be type boolean, not type integer`.
pub fn to_boolean(cx: &ExprContext<'_>, expr: TypedExpr, what: &str) -> Result<TypedExpr> {
    let from = expr.ty;
    match coerce(cx, expr, Scalar::Bool.into(), CastContext::Assignment) {
        Err(FunctionError::CannotCast { .. }) => Err(FunctionError::TypeMismatch {
            message: format!("argument of {what} must be type boolean, not type {}", type_word(from)),
            hint: None,
        }),
        other => other,
    }
}
