//! Casts of columns: Arrow's own kernels where they agree with PostgreSQL, one value at a time elsewhere.

use std::sync::Arc;

use bigdecimal::ToPrimitive;
use common::columns::{array_from, cell};
use common::numeric::Numeric;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Float64Array, PrimitiveArray, StringBuilder};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Date32Type, Decimal128Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::error::ValueError;
use types::{datetime, decimal, text_output};

use super::paths;
use super::values::{CastEnvironment, cast_value};
use crate::context::catalog_of;
use crate::definition::{Call, Definition, columns};
use crate::error::{internal, raise, raise_row};

/// The casts as functions of this crate's own expressions.
pub(crate) fn definitions() -> Vec<Definition> {
    vec![
        columns("cast(any) any", |call, args| run(call, args, true)).hidden(),
        columns("cast_by_settings(any) any", |call, args| run(call, args, true)).stable().hidden(),
        columns("assign(any) any", |call, args| run(call, args, false)).hidden(),
        columns("assign_by_settings(any) any", |call, args| run(call, args, false)).stable().hidden(),
        columns("numeric_bytes(numeric) numeric", numeric_bytes).hidden(),
    ]
}

/// Applies a kernel over arrays to a single argument, constant or not.
pub(crate) fn on_array(
    arg: &ColumnarValue,
    kernel: impl FnOnce(&ArrayRef) -> DataFusionResult<ArrayRef>,
) -> DataFusionResult<ColumnarValue> {
    match arg {
        ColumnarValue::Array(array) => kernel(array).map(ColumnarValue::Array),
        ColumnarValue::Scalar(scalar) => {
            let result = kernel(&scalar.to_array()?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
        }
    }
}

fn first(args: &ScalarFunctionArgs) -> DataFusionResult<&ColumnarValue> {
    args.args.first().ok_or_else(|| internal("a cast has one argument"))
}

fn run(call: &Call<'_>, args: &ScalarFunctionArgs, explicit: bool) -> DataFusionResult<ColumnarValue> {
    let from = call.arg_types.first().copied().unwrap_or(SqlType::from(Scalar::Text));
    on_array(first(args)?, |array| {
        if let Some(done) = fast(call, array, from, call.result) {
            return Ok(done);
        }
        let catalog = catalog_of(call.config);
        let env = CastEnvironment { format: &call.settings.format, catalog: catalog.as_deref(), explicit };
        let mut values = Vec::with_capacity(array.len());
        for row in 0..array.len() {
            let value = cell(array, row, from).map_err(raise_row)?;
            values.push(cast_value(&value, from, call.result, &env).map_err(raise)?);
        }
        array_from(call.result, &values).map_err(raise_row)
    })
}

/// The kernels for whole arrays; `None` leaves it to the values one by one, also to tell which value is wrong.
fn fast(call: &Call<'_>, array: &ArrayRef, from: SqlType, to: SqlType) -> Option<ArrayRef> {
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    match (array.data_type(), to.arrow()) {
        (DataType::Int16 | DataType::Int32 | DataType::Int64, target @ (DataType::Int16 | DataType::Int32))
        | (DataType::Int16 | DataType::Int32 | DataType::Int64, target @ DataType::Decimal128(..))
        | (DataType::Decimal128(..), target @ DataType::Decimal128(..)) => cast_with_options(array, &target, &exact).ok(),
        (DataType::Date32 | DataType::Timestamp(..), DataType::Date32 | DataType::Timestamp(..)) if to.typmod < 0 => {
            dates(call, array, from, to)
        }
        (DataType::Decimal128(_, scale), DataType::Float64) => Some(decimal_to_float8(array, *scale)),
        (_, DataType::Utf8) if paths::is_text(to) && to.typmod < 0 && to.scalar != Scalar::Name && prints_by_itself(from) => {
            print(call, array, from)
        }
        _ => None,
    }
}

/// Dates and timestamps into one another.
fn dates(call: &Call<'_>, array: &ArrayRef, from: SqlType, to: SqlType) -> Option<ArrayRef> {
    type Days = Date32Type;
    type Micros = TimestampMicrosecondType;
    let zone = call.settings.format.time_zone;
    let days = |op: &dyn Fn(i32) -> Result<i64, ValueError>| -> Option<ArrayRef> {
        let cast: PrimitiveArray<Micros> = array.as_primitive_opt::<Days>()?.try_unary(op).ok()?;
        Some(Arc::new(cast.with_data_type(to.arrow())))
    };
    let micros = |op: &dyn Fn(i64) -> Result<i64, ValueError>| -> Option<ArrayRef> {
        let cast: PrimitiveArray<Micros> = array.as_primitive_opt::<Micros>()?.try_unary(op).ok()?;
        Some(Arc::new(cast.with_data_type(to.arrow())))
    };
    let to_days = |op: &dyn Fn(i64) -> i32| -> Option<ArrayRef> {
        let cast: PrimitiveArray<Days> = array.as_primitive_opt::<Micros>()?.unary(op);
        Some(Arc::new(cast))
    };
    match (from.scalar, to.scalar) {
        (Scalar::Date, Scalar::Timestamp) => days(&datetime::date_to_timestamp),
        (Scalar::Date, Scalar::Timestamptz) => days(&|d| datetime::date_to_timestamptz(d, zone)),
        (Scalar::Timestamp, Scalar::Timestamptz) => micros(&|t| datetime::timestamp_to_timestamptz(t, zone)),
        (Scalar::Timestamptz, Scalar::Timestamp) => micros(&|t| Ok(datetime::timestamptz_to_timestamp(t, zone))),
        (Scalar::Timestamp, Scalar::Date) => to_days(&datetime::timestamp_to_date),
        (Scalar::Timestamptz, Scalar::Date) => to_days(&|t| datetime::timestamptz_to_date(t, zone)),
        _ => None,
    }
}

/// Whether the text of a value is just its output form.
fn prints_by_itself(ty: SqlType) -> bool {
    ty.is_array
        || matches!(
            ty.scalar,
            Scalar::Int2
                | Scalar::Int4
                | Scalar::Int8
                | Scalar::Float4
                | Scalar::Float8
                | Scalar::Numeric
                | Scalar::Date
                | Scalar::Time
                | Scalar::Timestamp
                | Scalar::Timestamptz
                | Scalar::Interval
                | Scalar::Uuid
                | Scalar::Bytea
        )
}

fn print(call: &Call<'_>, array: &ArrayRef, from: SqlType) -> Option<ArrayRef> {
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut text = Vec::new();
    for row in 0..array.len() {
        let value = cell(array, row, from).ok()?;
        if value.is_null() {
            builder.append_null();
            continue;
        }
        text.clear();
        text_output::write(&value, from, &call.settings.format, &mut text);
        builder.append_value(std::str::from_utf8(&text).ok()?);
    }
    Some(Arc::new(builder.finish()))
}

fn decimal_to_float8(array: &ArrayRef, scale: i8) -> ArrayRef {
    // Both numbers are exact doubles within these bounds, so that their quotient is rounded once.
    const EXACT: i128 = 1 << 53;
    let divisor = if (0..=22).contains(&scale) { 10_f64.powi(i32::from(scale)) } else { f64::NAN };
    let decimals = array.as_primitive::<Decimal128Type>();
    let result: Float64Array = decimals.unary(|unscaled| match unscaled.to_f64() {
        Some(float) if unscaled.abs() <= EXACT && !divisor.is_nan() => float / divisor,
        _ => decimal::to_float8(&Numeric::from_unscaled(unscaled, scale)).unwrap_or(f64::NAN),
    });
    Arc::new(result)
}

/// Any numeric in the sortable byte form.
fn numeric_bytes(_: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    on_array(first(args)?, to_bytes)
}

/// A column of any numeric form in the sortable byte form.
pub(crate) fn to_bytes(array: &ArrayRef) -> DataFusionResult<ArrayRef> {
    if array.data_type() == &DataType::Binary {
        return Ok(Arc::clone(array));
    }
    let mut builder = BinaryBuilder::with_capacity(array.len(), array.len() * 16);
    let mut bytes = Vec::new();
    for row in 0..array.len() {
        match numeric_at(array, row)? {
            Some(value) => {
                bytes.clear();
                value.to_sortable(&mut bytes);
                builder.append_value(&bytes);
            }
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

/// One cell of a column of any numeric form.
pub(crate) fn numeric_at(array: &dyn Array, row: usize) -> DataFusionResult<Option<Numeric>> {
    match cell(array, row, Scalar::Numeric.into()).map_err(raise_row)? {
        common::datum::Datum::Numeric(value) => Ok(Some(value)),
        _ => Ok(None),
    }
}
