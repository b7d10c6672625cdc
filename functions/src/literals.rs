//! Constants and parameters as expressions.

use std::sync::{Arc, LazyLock};

use common::columns::{array_from, cell};
use common::datum::Datum;
use common::numeric::Numeric;
use common::types::{Scalar, SqlType};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, Volatility};

use crate::context::{CastContext, ExprContext};
use crate::error::{FunctionError, Result};
use crate::typed_expr::{DECIMAL128_DIGITS, DecimalForm, TypedExpr};

/// A constant as DataFusion carries it, in the Arrow form of `ty`; for binding parameters.
pub fn scalar_value(value: &Datum, ty: SqlType) -> Result<ScalarValue> {
    let array = array_from(ty, [value]).map_err(|_| FunctionError::Internal(format!("a value is no {ty}")))?;
    ScalarValue::try_from_array(&array, 0).map_err(|e| FunctionError::Internal(e.to_string()))
}

/// A constant in the Arrow form of its type. A value that is none of the type becomes NULL.
pub fn literal(value: &Datum, ty: SqlType) -> TypedExpr {
    let null = || ScalarValue::try_from(&ty.arrow()).unwrap_or(ScalarValue::Null);
    TypedExpr::new(Expr::Literal(scalar_value(value, ty).unwrap_or_else(|_| null()), None), ty)
}

/// NULL of a type.
pub(crate) fn null(ty: SqlType) -> TypedExpr {
    literal(&Datum::Null, ty)
}

/// The value of a constant; `None` for anything but a literal.
pub fn constant(expr: &Expr, ty: SqlType) -> Option<Datum> {
    match expr {
        Expr::Literal(value, _) => scalar_datum(value, ty),
        Expr::Alias(alias) => constant(&alias.expr, ty),
        _ => None,
    }
}

/// A scalar of DataFusion as a value.
pub(crate) fn scalar_datum(value: &ScalarValue, ty: SqlType) -> Option<Datum> {
    let array = value.to_array().ok()?;
    cell(&array, 0, ty).ok()
}

/// A call of an immutable function on constants as the constant that it answers; any other expression, and a call that fails (it must
/// fail only when it is evaluated), as it is.
pub(crate) fn fold(call: TypedExpr) -> TypedExpr {
    static CONFIG: LazyLock<Arc<ConfigOptions>> = LazyLock::new(|| Arc::new(ConfigOptions::new()));
    let Expr::ScalarFunction(function) = &call.expr else { return call };
    if function.func.signature().volatility != Volatility::Immutable {
        return call;
    }
    let constant = |arg: &Expr| if let Expr::Literal(value, _) = arg { Some(value.clone()) } else { None };
    let Some(values) = function.args.iter().map(constant).collect::<Option<Vec<_>>>() else { return call };
    let arg_fields = values.iter().map(|v| Arc::new(Field::new("", v.data_type(), true))).collect();
    let answer = function.func.invoke_with_args(ScalarFunctionArgs {
        args: values.into_iter().map(ColumnarValue::Scalar).collect(),
        arg_fields,
        number_rows: 1,
        return_field: Arc::new(Field::new("", call.arrow(), true)),
        config_options: Arc::clone(&CONFIG),
    });
    match answer {
        Ok(ColumnarValue::Scalar(value)) => TypedExpr { expr: Expr::Literal(value, None), ..call },
        _ => call,
    }
}

/// A literal whose type the context decides.
pub fn unknown_literal(text: String) -> TypedExpr {
    TypedExpr::new(Expr::Literal(ScalarValue::Utf8(Some(text)), None), Scalar::Unknown)
}

/// `$index`, of the type that is decided for it or of type unknown.
pub fn parameter(cx: &ExprContext<'_>, index: usize) -> TypedExpr {
    placeholder(index, cx.parameters.note(index, None).unwrap_or(Scalar::Unknown.into()))
}

fn placeholder(index: usize, ty: SqlType) -> TypedExpr {
    let field = (ty.scalar != Scalar::Unknown).then(|| Arc::new(Field::new("", ty.arrow(), true)));
    TypedExpr::new(Expr::Placeholder(Placeholder::new_with_field(format!("${index}"), field)), ty)
}

/// The number of a parameter whose type is open.
fn open_parameter(expr: &TypedExpr) -> Option<usize> {
    match &expr.expr {
        Expr::Placeholder(placeholder) if expr.is_unknown() => placeholder.id.strip_prefix('$')?.parse().ok(),
        _ => None,
    }
}

/// Decides the type of an open parameter; `None` when the expression is something else.
pub(crate) fn decide_parameter(cx: &ExprContext<'_>, expr: &TypedExpr, ty: SqlType) -> Result<Option<TypedExpr>> {
    let Some(index) = open_parameter(expr) else { return Ok(None) };
    let wanted = ty.without_typmod();
    match cx.parameters.note(index, Some(wanted)) {
        Some(first) if first.without_typmod() != wanted => Err(FunctionError::InconsistentParameter { index, first, second: wanted }),
        _ => Ok(Some(placeholder(index, wanted))),
    }
}

/// An expression of type unknown becomes text: output columns, legs of a set operation.
pub fn settle_unknown(cx: &ExprContext<'_>, expr: TypedExpr) -> Result<TypedExpr> {
    if expr.is_unknown() { crate::casts::cast(cx, expr, Scalar::Text.into(), CastContext::Implicit) } else { Ok(expr) }
}

/// A numeric constant in the smallest decimal form that holds it exactly; `None` when none does.
pub(crate) fn decimal_constant(value: &Numeric) -> Option<(Expr, DecimalForm)> {
    let scale = i32::try_from(value.display_scale()).ok()?;
    let form_scale = i8::try_from(scale).ok()?;
    let unscaled = value.to_unscaled(form_scale)?;
    let digits = if unscaled == 0 { 1 } else { i32::try_from(unscaled.unsigned_abs().ilog10()).ok()? + 1 };
    let form = DecimalForm::new(digits.max(scale), scale).filter(|f| f.precision <= DECIMAL128_DIGITS)?;
    let literal = ScalarValue::Decimal128(Some(unscaled), form.precision, form.scale);
    Some((Expr::Literal(literal, None), form))
}

/// The Arrow type of a literal that is no literal of a SQL type yet.
pub(crate) fn is_null_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null() || value.data_type() == DataType::Null)
}
