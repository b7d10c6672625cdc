//! Numerics that travel as Arrow decimals, and the arithmetic of numerics in either form.
//!
//! The sum, difference, product or remainder of two decimals is a decimal as long as the digits that its type needs fit: then Arrow
//! computes it, exactly and without overflow. Everything else goes through single values.

use std::sync::Arc;

use common::datum::Datum;
use common::numeric::Numeric;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Decimal256Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs};

use crate::casts::{canonical, constant_of};
use crate::definition::{Args, Build, Call, Definition, build, columns_typed, row};
use crate::error::{Result, internal, raise_arrow};
use crate::literals::{constant, decimal_constant, is_null_literal};
use crate::registry::call_hidden;
use crate::typed_expr::{DECIMAL128_DIGITS, DecimalForm, TypedExpr};
use types::decimal;
use types::error::ValueError;

pub(crate) fn definitions() -> Vec<Definition> {
    vec![
        build("+(numeric,numeric) numeric", |b, args| binary(b, args, Op::Add)),
        build("-(numeric,numeric) numeric", |b, args| binary(b, args, Op::Subtract)),
        build("*(numeric,numeric) numeric", |b, args| binary(b, args, Op::Multiply)),
        build("%(numeric,numeric) numeric", |b, args| binary(b, args, Op::Remainder)),
        build("mod(numeric,numeric) numeric", |b, args| binary(b, args, Op::Remainder)),
        row("/(numeric,numeric) numeric", |a| two(a, decimal::div)),
        build("-(numeric) numeric", negated),
        build("+(numeric) numeric", |_, mut args| args.pop().ok_or_else(|| crate::error::FunctionError::Internal("no operand".into()))),
        columns_typed("decimal_add(numeric,numeric) numeric", |_, a| arrow_binary(a, numeric::add), |t| result_type(t, Op::Add)).hidden(),
        columns_typed("decimal_subtract(numeric,numeric) numeric", |_, a| arrow_binary(a, numeric::sub), |t| result_type(t, Op::Subtract))
            .hidden(),
        columns_typed("decimal_multiply(numeric,numeric) numeric", |_, a| arrow_binary(a, numeric::mul), |t| result_type(t, Op::Multiply))
            .hidden(),
        columns_typed(
            "decimal_remainder(numeric,numeric) numeric",
            |_, a| arrow_binary(a, numeric::rem),
            |t| result_type(t, Op::Remainder),
        )
        .hidden(),
        columns_typed("decimal_negate(numeric) numeric", arrow_negate, |t| t.first().cloned().unwrap_or(DataType::Binary)).hidden(),
        row("numeric_add(numeric,numeric) numeric", |a| two(a, decimal::add)).hidden(),
        row("numeric_subtract(numeric,numeric) numeric", |a| two(a, decimal::sub)).hidden(),
        row("numeric_multiply(numeric,numeric) numeric", |a| two(a, decimal::mul)).hidden(),
        row("numeric_remainder(numeric,numeric) numeric", |a| two(a, decimal::rem)).hidden(),
        row("numeric_negate(numeric) numeric", |a| Ok(Datum::Numeric(decimal::neg(a.numeric(0)?)))).hidden(),
    ]
}

/// Applies an operation to two numerics.
pub(crate) fn two(args: &Args<'_>, op: fn(&Numeric, &Numeric) -> Result<Numeric, ValueError>) -> Result<Datum, ValueError> {
    op(args.numeric(0)?, args.numeric(1)?).map(Datum::Numeric)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Subtract,
    Multiply,
    Remainder,
}

/// The digits that the result needs.
fn result_form(op: Op, a: DecimalForm, b: DecimalForm) -> Option<DecimalForm> {
    let (scale_a, scale_b) = (i32::from(a.scale), i32::from(b.scale));
    let scale = scale_a.max(scale_b);
    let whole = a.whole_digits().max(b.whole_digits());
    match op {
        Op::Add | Op::Subtract => DecimalForm::new(whole + scale + 1, scale),
        Op::Multiply => DecimalForm::new(i32::from(a.precision) + i32::from(b.precision), scale_a + scale_b),
        Op::Remainder => DecimalForm::new(whole + scale, scale),
    }
}

fn form_of(ty: &DataType) -> Option<DecimalForm> {
    match ty {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            Some(DecimalForm { precision: *precision, scale: *scale })
        }
        _ => None,
    }
}

fn result_type(args: &[DataType], op: Op) -> DataType {
    match args {
        [a, b] => form_of(a).zip(form_of(b)).and_then(|(a, b)| result_form(op, a, b)).map_or(DataType::Binary, DecimalForm::arrow),
        _ => DataType::Binary,
    }
}

/// The expression as a decimal, if its digits are known to fit one.
pub(crate) fn as_decimal(expr: &TypedExpr) -> Option<TypedExpr> {
    if expr.decimal.is_some() {
        return Some(expr.clone());
    }
    match constant(&expr.expr, expr.ty) {
        Some(Datum::Numeric(value)) => decimal_constant(&value).map(|(expr, form)| TypedExpr::decimal(expr, form)),
        _ => None,
    }
}

fn binary(build: &Build<'_>, args: Vec<TypedExpr>, op: Op) -> Result<TypedExpr> {
    let [left, right] = args.as_slice() else {
        return Err(crate::error::FunctionError::Internal(format!("{} takes two operands", build.name)));
    };
    let numeric: SqlType = Scalar::Numeric.into();
    if let (Some(a), Some(b)) = (as_decimal(left), as_decimal(right))
        && let (Some(form_a), Some(form_b)) = (a.decimal, b.decimal)
        && let Some(form) = result_form(op, form_a, form_b)
    {
        let key = match op {
            Op::Add => "decimal_add(numeric,numeric) numeric",
            Op::Subtract => "decimal_subtract(numeric,numeric) numeric",
            Op::Multiply => "decimal_multiply(numeric,numeric) numeric",
            Op::Remainder => "decimal_remainder(numeric,numeric) numeric",
        };
        let wide = form.precision > DECIMAL128_DIGITS;
        let operands = vec![widened(a.expr, form_a, wide), widened(b.expr, form_b, wide)];
        return Ok(TypedExpr::decimal(call_hidden(key, vec![numeric; 2], numeric, operands), form));
    }
    let key = match op {
        Op::Add => "numeric_add(numeric,numeric) numeric",
        Op::Subtract => "numeric_subtract(numeric,numeric) numeric",
        Op::Multiply => "numeric_multiply(numeric,numeric) numeric",
        Op::Remainder => "numeric_remainder(numeric,numeric) numeric",
    };
    let operands = args.into_iter().map(|a| a.expr).collect();
    Ok(TypedExpr::new(call_hidden(key, vec![numeric; 2], numeric, operands), numeric))
}

/// Both operands of Arrow's kernels have the same width.
fn widened(expr: Expr, form: DecimalForm, wide: bool) -> Expr {
    if wide && form.precision <= DECIMAL128_DIGITS {
        return Expr::Cast(Cast::new(Box::new(expr), DataType::Decimal256(form.precision, form.scale)));
    }
    expr
}

fn negated(_: &Build<'_>, mut args: Vec<TypedExpr>) -> Result<TypedExpr> {
    let operand = args.pop().ok_or_else(|| crate::error::FunctionError::Internal("no operand".into()))?;
    let numeric: SqlType = Scalar::Numeric.into();
    if let Some(Datum::Numeric(value)) = constant(&operand.expr, operand.ty) {
        return Ok(constant_of(&Datum::Numeric(decimal::neg(&value)), numeric));
    }
    let key = if operand.decimal.is_some() { "decimal_negate(numeric) numeric" } else { "numeric_negate(numeric) numeric" };
    Ok(TypedExpr { expr: call_hidden(key, vec![numeric], numeric, vec![operand.expr]), ty: numeric, decimal: operand.decimal })
}

/// The form that holds all of these numerics; `None` when some of them travel as bytes.
pub(crate) fn common_form(exprs: &[TypedExpr]) -> Option<DecimalForm> {
    let mut forms = exprs.iter().filter(|e| !is_null_literal(&e.expr)).map(|e| as_decimal(e).and_then(|d| d.decimal));
    let first = forms.next()??;
    let (whole, scale) = forms.try_fold((first.whole_digits(), i32::from(first.scale)), |(whole, scale), form| {
        form.map(|form| (whole.max(form.whole_digits()), scale.max(i32::from(form.scale))))
    })?;
    DecimalForm::new(whole + scale, scale)
}

/// An expression that has a decimal form, in a form that holds all of its values.
pub(crate) fn in_form(expr: TypedExpr, form: DecimalForm) -> TypedExpr {
    let ty = if DecimalForm::of_type(expr.ty) == Some(form) { expr.ty } else { Scalar::Numeric.into() };
    if is_null_literal(&expr.expr) {
        let null = ScalarValue::try_from(&form.arrow()).unwrap_or(ScalarValue::Null);
        return TypedExpr { expr: Expr::Literal(null, None), ty, decimal: Some(form) };
    }
    if let Some(Datum::Numeric(value)) = constant(&expr.expr, expr.ty)
        && form.precision <= DECIMAL128_DIGITS
        && let Some(unscaled) = value.to_unscaled(form.scale)
    {
        let literal = ScalarValue::Decimal128(Some(unscaled), form.precision, form.scale);
        return TypedExpr { expr: Expr::Literal(literal, None), ty, decimal: Some(form) };
    }
    match as_decimal(&expr) {
        Some(decimal) if decimal.decimal == Some(form) => TypedExpr { ty, ..decimal },
        Some(decimal) => TypedExpr { expr: Expr::Cast(Cast::new(Box::new(decimal.expr), form.arrow())), ty, decimal: Some(form) },
        None => expr,
    }
}

/// Brings two numerics into one form, for comparing them. A constant takes the other's form if that loses nothing.
pub(crate) fn comparable(left: TypedExpr, right: TypedExpr) -> (TypedExpr, TypedExpr) {
    for (one, other) in [(&left, &right), (&right, &left)] {
        if let (Some(form), Some(Datum::Numeric(value))) = (one.decimal, constant(&other.expr, other.ty))
            && form.precision <= DECIMAL128_DIGITS
            && value.to_unscaled(form.scale).is_some_and(|v| v.unsigned_abs() < 10_u128.pow(u32::from(form.precision)))
        {
            return (in_form(left.clone(), form), in_form(right.clone(), form));
        }
    }
    match common_form(&[left.clone(), right.clone()]) {
        Some(form) => (in_form(left, form), in_form(right, form)),
        None => (in_bytes(left), in_bytes(right)),
    }
}

/// A numeric in the sortable byte form.
fn in_bytes(expr: TypedExpr) -> TypedExpr {
    canonical(TypedExpr { ty: Scalar::Numeric.into(), ..expr })
}

type Kernel = fn(&dyn arrow::array::Datum, &dyn arrow::array::Datum) -> Result<ArrayRef, ArrowError>;

fn arrow_binary(args: &ScalarFunctionArgs, kernel: Kernel) -> DataFusionResult<ColumnarValue> {
    let target = args.return_field.data_type();
    let result = crate::operators_arithmetic::on_columns(args, kernel, "numeric")?;
    match result {
        ColumnarValue::Array(array) => Ok(ColumnarValue::Array(relabelled(&array, target)?)),
        ColumnarValue::Scalar(scalar) => {
            let array = relabelled(&scalar.to_array()?, target)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
        }
    }
}

/// The same unscaled values under the precision that the type says.
fn relabelled(array: &ArrayRef, target: &DataType) -> DataFusionResult<ArrayRef> {
    Ok(match (array.data_type(), target) {
        (from, to) if from == to => Arc::clone(array),
        (DataType::Decimal128(_, a), DataType::Decimal128(p, b)) if a == b => {
            Arc::new(array.as_primitive::<Decimal128Type>().clone().with_precision_and_scale(*p, *b)?)
        }
        (DataType::Decimal256(_, a), DataType::Decimal256(p, b)) if a == b => {
            Arc::new(array.as_primitive::<Decimal256Type>().clone().with_precision_and_scale(*p, *b)?)
        }
        (from, to) => return Err(internal(format!("decimal arithmetic gave {from} instead of {to}"))),
    })
}

fn arrow_negate(_: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let operand = args.args.first().ok_or_else(|| internal("negation has one operand"))?;
    crate::casts::kernel::on_array(operand, |array| numeric::neg(array).map_err(|e| raise_arrow(e, "numeric")))
}
