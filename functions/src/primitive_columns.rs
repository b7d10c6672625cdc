//! Kernels over columns of fixed-size values, for operations that may fail. Constants are read once; NULL in, NULL out.

use std::cell::RefCell;
use std::sync::Arc;

use common::interval::Interval;
use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, new_null_array};
use datafusion::arrow::compute::kernels::arity;
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::error::ValueError;

use crate::error::{Result, internal, raise};

/// Nanoseconds in a microsecond: Arrow's intervals count the former.
const NANOS: i64 = 1_000;

/// An interval of a column.
pub(crate) fn interval_of(value: IntervalMonthDayNano) -> Interval {
    Interval { months: value.months, days: value.days, micros: value.nanoseconds / NANOS }
}

/// An interval for a column; an error where its time is longer than 292 years, which a column cannot hold.
pub(crate) fn interval_for(value: Interval) -> Result<IntervalMonthDayNano, ValueError> {
    let nanos = value.micros.checked_mul(NANOS);
    let nanos = nanos.ok_or_else(|| ValueError::new(common::sqlstate::SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))?;
    Ok(IntervalMonthDayNano::new(value.months, value.days, nanos))
}

/// The value of a constant; `None` for NULL.
fn single<T: ArrowPrimitiveType>(scalar: &ScalarValue) -> DataFusionResult<Option<T::Native>> {
    if scalar.is_null() {
        return Ok(None);
    }
    let array = scalar.to_array()?;
    let values = array.as_primitive_opt::<T>().ok_or_else(|| internal(format!("a constant is no {:?}", T::DATA_TYPE)))?;
    Ok(Some(values.value(0)))
}

/// The values of a column.
fn values<T: ArrowPrimitiveType>(array: &ArrayRef) -> DataFusionResult<&PrimitiveArray<T>> {
    array.as_primitive_opt::<T>().ok_or_else(|| internal(format!("{:?} is no {:?}", array.data_type(), T::DATA_TYPE)))
}

/// One argument. The result has the Arrow type `result`, whose values are `R`'s.
pub(crate) fn unary<A: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    arg: &ColumnarValue,
    result: DataType,
    op: impl Fn(A::Native) -> Result<R::Native, ValueError>,
) -> DataFusionResult<ColumnarValue> {
    match arg {
        ColumnarValue::Array(array) => {
            let computed: PrimitiveArray<R> = values::<A>(array)?.try_unary(op).map_err(raise)?;
            Ok(ColumnarValue::Array(Arc::new(computed.with_data_type(result))))
        }
        ColumnarValue::Scalar(scalar) => match single::<A>(scalar)? {
            Some(value) => constant::<R>(op(value).map_err(raise)?, result),
            None => null(&result),
        },
    }
}

/// One argument, where the result may be NULL.
pub(crate) fn unary_optional<A: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    arg: &ColumnarValue,
    result: DataType,
    op: impl Fn(A::Native) -> Option<R::Native>,
) -> DataFusionResult<ColumnarValue> {
    match arg {
        ColumnarValue::Array(array) => {
            let computed: PrimitiveArray<R> = values::<A>(array)?.unary_opt(op);
            Ok(ColumnarValue::Array(Arc::new(computed.with_data_type(result))))
        }
        ColumnarValue::Scalar(scalar) => match single::<A>(scalar)?.and_then(op) {
            Some(value) => constant::<R>(value, result),
            None => null(&result),
        },
    }
}

/// Two arguments.
pub(crate) fn binary<A: ArrowPrimitiveType, B: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    args: &ScalarFunctionArgs,
    result: DataType,
    op: impl Fn(A::Native, B::Native) -> Result<R::Native, ValueError>,
) -> DataFusionResult<ColumnarValue> {
    let [left, right] = args.args.as_slice() else { return Err(internal("an operator has two operands")) };
    let computed: PrimitiveArray<R> = match (left, right) {
        (ColumnarValue::Array(left), ColumnarValue::Array(right)) => both(values::<A>(left)?, values::<B>(right)?, op)?,
        (ColumnarValue::Array(left), ColumnarValue::Scalar(right)) => match single::<B>(right)? {
            Some(right) => values::<A>(left)?.try_unary(|left| op(left, right)).map_err(raise)?,
            None => return Ok(nulls(&result, left.len())),
        },
        (ColumnarValue::Scalar(left), ColumnarValue::Array(right)) => match single::<A>(left)? {
            Some(left) => values::<B>(right)?.try_unary(|right| op(left, right)).map_err(raise)?,
            None => return Ok(nulls(&result, right.len())),
        },
        (ColumnarValue::Scalar(left), ColumnarValue::Scalar(right)) => {
            return match (single::<A>(left)?, single::<B>(right)?) {
                (Some(left), Some(right)) => constant::<R>(op(left, right).map_err(raise)?, result),
                _ => null(&result),
            };
        }
    };
    Ok(ColumnarValue::Array(Arc::new(computed.with_data_type(result))))
}

fn both<A: ArrowPrimitiveType, B: ArrowPrimitiveType, R: ArrowPrimitiveType>(
    left: &PrimitiveArray<A>,
    right: &PrimitiveArray<B>,
    op: impl Fn(A::Native, B::Native) -> Result<R::Native, ValueError>,
) -> DataFusionResult<PrimitiveArray<R>> {
    // Arrow's kernel carries its own errors only.
    let failure = RefCell::new(None);
    let computed: Result<PrimitiveArray<R>, ArrowError> = arity::try_binary(left, right, |a, b| {
        op(a, b).map_err(|error| {
            failure.replace(Some(error));
            ArrowError::ComputeError(String::new())
        })
    });
    match failure.into_inner() {
        Some(error) => Err(raise(error)),
        None => Ok(computed?),
    }
}

fn constant<R: ArrowPrimitiveType>(value: R::Native, result: DataType) -> DataFusionResult<ColumnarValue> {
    let array = PrimitiveArray::<R>::from_value(value, 1).with_data_type(result);
    Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
}

fn null(result: &DataType) -> DataFusionResult<ColumnarValue> {
    Ok(ColumnarValue::Scalar(ScalarValue::try_from(result)?))
}

fn nulls(result: &DataType, rows: usize) -> ColumnarValue {
    ColumnarValue::Array(new_null_array(result, rows))
}
