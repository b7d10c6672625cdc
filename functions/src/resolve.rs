//! What binding calls: operators, functions, casts and aggregates by name, with PostgreSQL's types and errors.

use common::types::{Scalar, SqlType};
use datafusion::logical_expr::Expr;

pub use crate::aggregates::{AggregateCall, SortKey, aggregate, is_aggregate};
pub use crate::arrays::{Subscript, any_all, array_constructor, assign_subscript, in_list, subscript};
pub use crate::casts::paths::is_registered;
pub use crate::casts::values::object_text;
pub use crate::casts::{assignment_cast, cast};
pub use crate::common_types::{common_type, to_boolean, unify};
pub use crate::keys::{group_key_expr, sort_key_expr};
pub use crate::library::domains::{domain_check, domain_not_null};
pub use crate::library::json_building::row_value;
pub use crate::library::sets::{defined_record_set, is_defined_record_set};
pub use crate::literals::{constant, literal, parameter, scalar_value, settle_unknown, unknown_literal};
pub use crate::named_arguments::arrange as arrange_named_arguments;
pub use crate::set_returning::{SetReturning, is_set_returning, ordinality, set_returning};
pub use crate::windows::{WindowCall, is_window, window};

use crate::casts::{coerce, paths};
use crate::conditional;
use crate::context::{CastContext, ExprContext};
use crate::error::{FunctionError, Result};
use crate::registry;
use crate::resolution::{Selection, apply, select, select_operator, type_list, type_word};
use crate::typed_expr::TypedExpr;

/// `left op right`.
pub fn binary_operator(cx: &ExprContext<'_>, op: &str, left: TypedExpr, right: TypedExpr) -> Result<TypedExpr> {
    // What PostgreSQL's grammar turns into other operators.
    let symbol = match op {
        "!=" => "<>",
        "IS DISTINCT FROM" | "IS NOT DISTINCT FROM" => "=",
        other => other,
    };
    let types = [left.ty, right.ty];
    let shown = if symbol == "=" { "=" } else { op };
    match select_operator(registry::named(symbol), &types) {
        Selection::Found(candidate) => apply(cx, &candidate, vec![left, right], op),
        Selection::Nothing => Err(FunctionError::UndefinedOperator(format!("{} {shown} {}", type_word(types[0]), type_word(types[1])))),
        Selection::Ambiguous => Err(FunctionError::AmbiguousOperator(format!("{} {shown} {}", type_word(types[0]), type_word(types[1])))),
    }
}

/// `op operand`.
pub fn unary_operator(cx: &ExprContext<'_>, op: &str, operand: TypedExpr) -> Result<TypedExpr> {
    let ty = operand.ty;
    if op == "-"
        && let Some(negative) = negative_constant(&operand)
    {
        return Ok(negative);
    }
    match select_operator(registry::named(op), &[ty]) {
        Selection::Found(candidate) => apply(cx, &candidate, vec![operand], op),
        Selection::Nothing => Err(FunctionError::UndefinedOperator(format!("{op} {}", type_word(ty)))),
        Selection::Ambiguous => Err(FunctionError::AmbiguousOperator(format!("{op} {}", type_word(ty)))),
    }
}

/// The opposite of a constant number, as a constant. The smallest bigint is written as the opposite of a numeric.
fn negative_constant(operand: &TypedExpr) -> Option<TypedExpr> {
    use common::datum::Datum;
    let value = match constant(&operand.expr, operand.ty)? {
        Datum::Int2(v) => Datum::Int2(v.checked_neg()?),
        Datum::Int4(v) => Datum::Int4(v.checked_neg()?),
        Datum::Int8(v) => Datum::Int8(v.checked_neg()?),
        Datum::Float4(v) => Datum::Float4(-v),
        Datum::Float8(v) => Datum::Float8(-v),
        _ => return None,
    };
    Some(literal(&value, operand.ty))
}

/// A call of a scalar function. `variadic` is the keyword before the last argument.
pub fn call(cx: &ExprContext<'_>, name: &str, args: Vec<TypedExpr>, variadic: bool) -> Result<TypedExpr> {
    let args = if variadic { crate::arrays::spread_variadic(cx, name, args)? } else { args };
    if let Some(special) = conditional::special(cx, name, &args) {
        return special;
    }
    let types: Vec<SqlType> = args.iter().map(|a| a.ty).collect();
    let definitions: &'static [&'static crate::definition::Definition] =
        if registry::is_operator_symbol(name) { &[] } else { registry::named(name) };
    match select(definitions, &types) {
        Selection::Found(candidate) => apply(cx, &candidate, args, name),
        Selection::Ambiguous => Err(FunctionError::AmbiguousFunction(format!("{name}({})", type_list(&args)))),
        Selection::Nothing => match cast_by_name(cx, name, &args) {
            Some(cast) => cast,
            None => Err(FunctionError::UndefinedFunction(format!("{name}({})", type_list(&args)))),
        },
    }
}

/// `type_name(x)` is a cast where no function of the name takes the argument and the cast is one of names or through text.
fn cast_by_name(cx: &ExprContext<'_>, name: &str, args: &[TypedExpr]) -> Option<Result<TypedExpr>> {
    let [arg] = args else { return None };
    let row = common::types::SCALARS.iter().find(|row| row.3 == name)?;
    if matches!(row.0, Scalar::Unknown | Scalar::Void | Scalar::Record) {
        return None;
    }
    let to: SqlType = row.0.into();
    if !arg.is_unknown() {
        paths::find(arg.ty, to)?;
    }
    Some(coerce(cx, arg.clone(), to, CastContext::Explicit))
}

/// Whether any function (not an aggregate, not a window function) has that name.
pub fn function_exists(name: &str) -> bool {
    (!registry::is_operator_symbol(name) && !registry::named(name).is_empty())
        || is_set_returning(name)
        || matches!(name, "coalesce" | "nullif" | "greatest" | "least")
}

/// Whether any operator has that symbol.
pub fn operator_exists(symbol: &str) -> bool {
    registry::is_operator_symbol(symbol) && !registry::named(symbol).is_empty()
}

/// Whether an expression answers something else each time.
pub fn is_volatile(expr: &Expr) -> bool {
    expr.is_volatile()
}
