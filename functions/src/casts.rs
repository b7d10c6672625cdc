//! Casts between types, and what decides the type of unknown literals and open parameters.
//!
//! A cast that only changes the type's name costs nothing; one that cannot fail is Arrow's; the others are functions of this crate
//! ([`kernel`]), which differ for explicit casts and assignments (a text that is too long is cut or refused) and for casts whose result
//! depends on the session's settings (those are not computed before execution).

pub(crate) mod kernel;
pub(crate) mod paths;
pub(crate) mod values;

use common::datum::Datum;
use common::types::{Scalar, SqlType};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Cast;
use types::{text_input, typmod};

use crate::context::{CastContext, ExprContext};
use crate::error::{FunctionError, Result};
use crate::literals::{constant, decide_parameter, decimal_constant, literal, null};
use crate::registry;
use crate::typed_expr::{DecimalForm, TypedExpr};
use paths::Path;
use values::{CastEnvironment, cast_value};

/// Casts an expression; 42846 where there is no such cast in this context. Unless the cast is explicit, a numeric without modifier
/// comes out in the byte form, so that expressions cast to one type have one Arrow type.
pub fn cast(cx: &ExprContext<'_>, expr: TypedExpr, to: SqlType, context: CastContext) -> Result<TypedExpr> {
    let cast = coerce(cx, expr, to, context)?;
    Ok(if context == CastContext::Explicit { cast } else { canonical(cast) })
}

/// A numeric without modifier in the byte form; any other expression as it is.
pub(crate) fn canonical(expr: TypedExpr) -> TypedExpr {
    if expr.ty.scalar != Scalar::Numeric || expr.ty.is_array || expr.decimal == DecimalForm::of_type(expr.ty) {
        return expr;
    }
    let ty = expr.ty;
    if let Some(value) = constant(&expr.expr, ty) {
        return literal(&value, ty);
    }
    TypedExpr::new(registry::call_hidden("numeric_bytes(numeric) numeric", vec![ty], ty, vec![expr.expr]), ty)
}

/// Casts an expression; a numeric without modifier may come out in any form.
pub(crate) fn coerce(cx: &ExprContext<'_>, expr: TypedExpr, to: SqlType, context: CastContext) -> Result<TypedExpr> {
    if expr.is_unknown() {
        return decide(cx, expr, to, context);
    }
    if expr.ty == to {
        return Ok(expr);
    }
    let from = expr.ty;
    let refused = || FunctionError::CannotCast { from: from.without_typmod(), to: to.without_typmod() };
    let (weakest, path) = paths::find(from, to).ok_or_else(refused)?;
    if weakest > context {
        return Err(refused());
    }
    if !matches!(path, Path::Settings | Path::Catalog)
        && let Some(value) = constant(&expr.expr, from)
    {
        let env = CastEnvironment { format: &cx.settings.format, catalog: None, explicit: context == CastContext::Explicit };
        return Ok(constant_of(&cast_value(&value, from, to, &env)?, to));
    }
    Ok(match path {
        Path::Relabel if keeps_values(from, to) => {
            let decimal = if to.scalar == Scalar::Numeric && !to.is_array { expr.decimal } else { None };
            TypedExpr { expr: expr.expr, ty: to, decimal }
        }
        Path::Widen => native(expr.expr, to.arrow(), to),
        Path::Value if to.scalar == Scalar::Numeric && to.typmod < 0 && integer_digits(from).is_some() => {
            let form = DecimalForm { precision: integer_digits(from).unwrap_or(19), scale: 0 };
            TypedExpr::decimal(Expr::Cast(Cast::new(Box::new(expr.expr), form.arrow())), form)
        }
        _ => by_function(expr.expr, from, to, path, context),
    })
}

/// A constant; a numeric without modifier in the smallest decimal form.
pub(crate) fn constant_of(value: &Datum, ty: SqlType) -> TypedExpr {
    if let (Datum::Numeric(number), -1) = (value, ty.typmod)
        && let Some((expr, form)) = decimal_constant(number)
    {
        return TypedExpr::decimal(expr, form);
    }
    literal(value, ty)
}

fn native(expr: Expr, arrow: DataType, ty: SqlType) -> TypedExpr {
    TypedExpr::new(Expr::Cast(Cast::new(Box::new(expr), arrow)), ty)
}

/// The decimal digits that hold every value of an integer type.
pub(crate) fn integer_digits(ty: SqlType) -> Option<u8> {
    match ty.scalar {
        _ if ty.is_array => None,
        Scalar::Int2 => Some(5),
        Scalar::Int4 => Some(10),
        Scalar::Int8 => Some(19),
        _ => None,
    }
}

/// Whether a relabelling leaves every value as it is.
fn keeps_values(from: SqlType, to: SqlType) -> bool {
    if to.typmod < 0 {
        return true;
    }
    if from.scalar == Scalar::Varchar && to.scalar == Scalar::Varchar {
        return matches!((from.char_length(), to.char_length()), (Some(from), Some(to)) if from <= to);
    }
    from.scalar == to.scalar && from.typmod == to.typmod
}

fn by_function(expr: Expr, from: SqlType, to: SqlType, path: Path, context: CastContext) -> TypedExpr {
    let key = match (context == CastContext::Explicit, matches!(path, Path::Settings | Path::Catalog)) {
        (true, false) => "cast(any) any",
        (true, true) => "cast_by_settings(any) any",
        (false, false) => "assign(any) any",
        (false, true) => "assign_by_settings(any) any",
    };
    TypedExpr::new(registry::call_hidden(key, vec![from], to, vec![expr]), to)
}

/// Decides an expression of type unknown.
fn decide(cx: &ExprContext<'_>, expr: TypedExpr, to: SqlType, context: CastContext) -> Result<TypedExpr> {
    if to.scalar == Scalar::Unknown {
        return Ok(expr);
    }
    if matches!(to.scalar, Scalar::Void | Scalar::Record) && !matches!(&expr.expr, Expr::Literal(v, _) if v.is_null()) {
        return Err(FunctionError::CannotCast { from: expr.ty, to });
    }
    if let Some(decided) = decide_parameter(cx, &expr, to)? {
        return coerce(cx, decided, to, context);
    }
    match constant(&expr.expr, expr.ty) {
        Some(Datum::Null) => Ok(null(to)),
        Some(Datum::Text(text)) => {
            if needs_catalog(&text, to) {
                return Ok(by_function(expr.expr, Scalar::Text.into(), to, Path::Catalog, context));
            }
            let bare = if to.scalar == Scalar::Interval { to } else { to.without_typmod() };
            let value = text_input::parse(&text, bare, &cx.settings.format)?;
            let explicit = context == CastContext::Explicit;
            Ok(constant_of(&typmod::apply_typmod(value, to, explicit)?, to))
        }
        _ => coerce(cx, TypedExpr::new(expr.expr, Scalar::Text), to, context.max(CastContext::Explicit)),
    }
}

fn needs_catalog(text: &str, to: SqlType) -> bool {
    paths::is_registered(to.scalar)
        && !to.is_array
        && text != "-"
        && text.parse::<u32>().is_err()
        && !(to.scalar == Scalar::Regtype && text_input::type_by_name(text).is_some())
}

/// Casts as an assignment to a column does.
pub fn assignment_cast(cx: &ExprContext<'_>, expr: TypedExpr, to: SqlType, column: &str) -> Result<TypedExpr> {
    let from = expr.ty;
    match cast(cx, expr, to, CastContext::Assignment) {
        Err(FunctionError::CannotCast { .. }) => Err(FunctionError::TypeMismatch {
            message: format!("column \"{column}\" is of type {} but expression is of type {}", to.without_typmod(), from.without_typmod()),
            hint: Some("You will need to rewrite or cast the expression.".to_owned()),
        }),
        other => other,
    }
}
