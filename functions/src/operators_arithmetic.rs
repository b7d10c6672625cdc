//! Arithmetic of integers and floats, with PostgreSQL's errors for overflow and division by zero, and the operators on bits.

use std::cell::RefCell;
use std::sync::Arc;

use common::datum::Datum;
use common::types::Scalar;
use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum as ArrowDatum, PrimitiveArray};
use datafusion::arrow::compute::kernels::{arity, numeric};
use datafusion::arrow::datatypes::{Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use num_traits::Float;
use types::error::ValueError;

use crate::casts::coerce;
use crate::context::CastContext;
use crate::definition::{Build, Definition, build, columns, row};
use crate::error::{FunctionError, Result, internal, raise, raise_arrow};
use crate::resolution;
use crate::typed_expr::TypedExpr;

type ArrowKernel = fn(&dyn ArrowDatum, &dyn ArrowDatum) -> Result<ArrayRef, ArrowError>;

/// Applies one of Arrow's checked kernels to two arguments, constant or not; `type_name` is for the error.
pub(crate) fn on_columns(args: &ScalarFunctionArgs, kernel: ArrowKernel, type_name: &str) -> DataFusionResult<ColumnarValue> {
    let [left, right] = args.args.as_slice() else { return Err(internal("an operator has two operands")) };
    let raise = |error| raise_arrow(error, type_name);
    Ok(match (left, right) {
        (ColumnarValue::Array(l), ColumnarValue::Array(r)) => ColumnarValue::Array(kernel(l, r).map_err(raise)?),
        (ColumnarValue::Array(l), ColumnarValue::Scalar(r)) => ColumnarValue::Array(kernel(l, &r.to_scalar()?).map_err(raise)?),
        (ColumnarValue::Scalar(l), ColumnarValue::Array(r)) => ColumnarValue::Array(kernel(&l.to_scalar()?, r).map_err(raise)?),
        (ColumnarValue::Scalar(l), ColumnarValue::Scalar(r)) => {
            let array = kernel(&l.to_array()?, &r.to_array()?).map_err(raise)?;
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        }
    })
}

macro_rules! integers {
    ($out:ident: $($ty:literal $name:literal $variant:ident $reader:ident;)*) => {$(
        $out.push(columns(concat!("+(", $ty, ",", $ty, ") ", $ty), |_, a| on_columns(a, numeric::add, $name)));
        $out.push(columns(concat!("-(", $ty, ",", $ty, ") ", $ty), |_, a| on_columns(a, numeric::sub, $name)));
        $out.push(columns(concat!("*(", $ty, ",", $ty, ") ", $ty), |_, a| on_columns(a, numeric::mul, $name)));
        $out.push(columns(concat!("/(", $ty, ",", $ty, ") ", $ty), |_, a| on_columns(a, numeric::div, $name)));
        $out.push(columns(concat!("%(", $ty, ",", $ty, ") ", $ty), |_, a| on_columns(a, numeric::rem, $name)));
        $out.push(columns(concat!("mod(", $ty, ",", $ty, ") ", $ty), |_, a| on_columns(a, numeric::rem, $name)));
        $out.push(columns(concat!("-(", $ty, ") ", $ty), |_, a| negate(a, $name)));
        $out.push(build(concat!("+(", $ty, ") ", $ty), same));
        for name in ["@", "abs"] {
            $out.push(row(&format!("{name}({0}) {0}", $ty), |a| {
                a.$reader(0)?.checked_abs().map(Datum::$variant).ok_or_else(|| ValueError::out_of_range($name))
            }));
        }
        $out.push(row(concat!("&(", $ty, ",", $ty, ") ", $ty), |a| Ok(Datum::$variant(a.$reader(0)? & a.$reader(1)?))));
        $out.push(row(concat!("|(", $ty, ",", $ty, ") ", $ty), |a| Ok(Datum::$variant(a.$reader(0)? | a.$reader(1)?))));
        $out.push(row(concat!("#(", $ty, ",", $ty, ") ", $ty), |a| Ok(Datum::$variant(a.$reader(0)? ^ a.$reader(1)?))));
        $out.push(row(concat!("~(", $ty, ") ", $ty), |a| Ok(Datum::$variant(!a.$reader(0)?))));
        $out.push(row(concat!("<<(", $ty, ",int4) ", $ty), |a| {
            Ok(Datum::$variant(a.$reader(0)?.wrapping_shl(a.int4(1)?.cast_unsigned())))
        }));
        $out.push(row(concat!(">>(", $ty, ",int4) ", $ty), |a| {
            Ok(Datum::$variant(a.$reader(0)?.wrapping_shr(a.int4(1)?.cast_unsigned())))
        }));
    )*};
}

macro_rules! floats {
    ($out:ident: $($ty:literal $arrow:ident $variant:ident $reader:ident;)*) => {$(
        $out.push(columns(concat!("+(", $ty, ",", $ty, ") ", $ty), |_, a| float_op::<$arrow>(a, |x, y| checked(x + y, x, y))));
        $out.push(columns(concat!("-(", $ty, ",", $ty, ") ", $ty), |_, a| float_op::<$arrow>(a, |x, y| checked(x - y, x, y))));
        $out.push(columns(concat!("*(", $ty, ",", $ty, ") ", $ty), |_, a| float_op::<$arrow>(a, |x, y| product(x, y))));
        $out.push(columns(concat!("/(", $ty, ",", $ty, ") ", $ty), |_, a| float_op::<$arrow>(a, |x, y| quotient(x, y))));
        $out.push(columns(concat!("-(", $ty, ") ", $ty), |_, a| negate(a, $ty)));
        $out.push(build(concat!("+(", $ty, ") ", $ty), same));
        for name in ["@", "abs"] {
            $out.push(row(&format!("{name}({0}) {0}", $ty), |a| Ok(Datum::$variant(a.$reader(0)?.abs()))));
        }
    )*};
}

pub(crate) fn definitions() -> Vec<Definition> {
    let mixed = ["+", "-", "*", "/"].iter().flat_map(|op| {
        [build(&format!("{op}(float4,float8) float8"), as_doubles), build(&format!("{op}(float8,float4) float8"), as_doubles)]
    });
    let mut out: Vec<Definition> = mixed.collect();
    integers! { out:
        "int2" "smallint" Int2 int2;
        "int4" "integer" Int4 int4;
        "int8" "bigint" Int8 int8;
    }
    floats! { out:
        "float4" Float32Type Float4 float4;
        "float8" Float64Type Float8 float8;
    }
    out
}

fn same(_: &Build<'_>, mut args: Vec<TypedExpr>) -> Result<TypedExpr> {
    args.pop().ok_or_else(|| FunctionError::Internal("no operand".into()))
}

/// A mixed operation of floats is one of doubles.
fn as_doubles(build: &Build<'_>, args: Vec<TypedExpr>) -> Result<TypedExpr> {
    let cast = args.into_iter().map(|a| coerce(build.cx, a, Scalar::Float8.into(), CastContext::Implicit));
    let cast: Vec<TypedExpr> = cast.collect::<Result<_>>()?;
    let types: Vec<_> = cast.iter().map(|a| a.ty).collect();
    match resolution::select_operator(crate::registry::named(build.name), &types) {
        resolution::Selection::Found(candidate) => resolution::apply(build.cx, &candidate, cast, build.name),
        _ => Err(FunctionError::Internal(format!("no {} of doubles", build.name))),
    }
}

fn negate(args: &ScalarFunctionArgs, type_name: &str) -> DataFusionResult<ColumnarValue> {
    let operand = args.args.first().ok_or_else(|| internal("negation has one operand"))?;
    crate::casts::kernel::on_array(operand, |array| numeric::neg(array).map_err(|e| raise_arrow(e, type_name)))
}

fn float_error<T>(message: &str) -> Result<T, ValueError> {
    crate::definition::fail(common::sqlstate::SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
}

/// A result that must not become infinite by itself.
pub(crate) fn checked<F: Float>(result: F, x: F, y: F) -> Result<F, ValueError> {
    if result.is_infinite() && !x.is_infinite() && !y.is_infinite() {
        return float_error("value out of range: overflow");
    }
    Ok(if result.is_nan() { F::nan() } else { result })
}

fn product<F: Float>(x: F, y: F) -> Result<F, ValueError> {
    let result = x * y;
    if result.is_zero() && !x.is_zero() && !y.is_zero() {
        return float_error("value out of range: underflow");
    }
    checked(result, x, y)
}

fn quotient<F: Float>(x: F, y: F) -> Result<F, ValueError> {
    if y.is_zero() && !x.is_nan() {
        return Err(ValueError::division_by_zero());
    }
    let result = x / y;
    if result.is_zero() && !x.is_zero() && !y.is_infinite() {
        return float_error("value out of range: underflow");
    }
    checked(result, x, y)
}

fn float_op<T: ArrowPrimitiveType>(
    args: &ScalarFunctionArgs,
    op: impl Fn(T::Native, T::Native) -> Result<T::Native, ValueError>,
) -> DataFusionResult<ColumnarValue> {
    let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    let arrays = ColumnarValue::values_to_arrays(&args.args)?;
    let [left, right] = arrays.as_slice() else { return Err(internal("an operator has two operands")) };
    let failure = RefCell::new(None);
    let result: Result<PrimitiveArray<T>, ArrowError> = arity::try_binary(left.as_primitive::<T>(), right.as_primitive::<T>(), |x, y| {
        op(x, y).map_err(|error| {
            failure.replace(Some(error));
            ArrowError::ComputeError(String::new())
        })
    });
    let array = match (result, failure.into_inner()) {
        (_, Some(error)) => return Err(raise(error)),
        (result, None) => Arc::new(result?) as ArrayRef,
    };
    if constant && array.len() == 1 {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
    }
    Ok(ColumnarValue::Array(array))
}
