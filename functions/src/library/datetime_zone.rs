//! `AT TIME ZONE`, which PostgreSQL calls `timezone(zone, time)`.

use std::sync::Arc;

use common::datum::Datum;
use common::interval::Interval;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, AsArray, TimestampMicrosecondArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::datetime::{self, ZoneName};
use types::error::ValueError;

use crate::definition::{Call, Definition, columns};
use crate::error::{internal, raise, raise_row};
use crate::primitive_columns::unary;

pub(crate) fn definitions() -> Vec<Definition> {
    vec![
        columns("timezone(text,timestamp) timestamptz", timezone),
        columns("timezone(text,timestamptz) timestamp", timezone),
        columns("timezone(interval,timestamp) timestamptz", timezone),
        columns("timezone(interval,timestamptz) timestamp", timezone),
    ]
}

fn zone_of(zone: &Datum) -> Result<Option<ZoneName>, ValueError> {
    match zone {
        Datum::Text(name) => datetime::zone_name(name).map(Some),
        Datum::Interval(offset) => datetime::zone_of_interval(*offset).map(Some),
        _ => Ok(None),
    }
}

fn timezone(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let (zone_type, from) = match call.arg_types {
        [zone, time] => (*zone, time.scalar),
        _ => return Err(internal("timezone has two arguments")),
    };
    let convert = move |zone: &Result<ZoneName, ValueError>, time: i64| match zone {
        _ if !datetime::is_finite_timestamp(time) => Ok(time),
        Ok(zone) if from == Scalar::Timestamp => datetime::timestamp_at_zone(time, *zone),
        Ok(zone) => datetime::timestamptz_at_zone(time, *zone),
        Err(error) => Err(error.clone()),
    };
    let result = call.result.arrow();
    let [zone, time] = args.args.as_slice() else { return Err(internal("timezone has two arguments")) };
    if let ColumnarValue::Scalar(zone) = zone {
        let zone = common::columns::cell(&zone.to_array()?, 0, zone_type).map_err(raise_row)?;
        return match zone_of(&zone).transpose() {
            Some(zone) => unary::<TimestampMicrosecondType, TimestampMicrosecondType>(time, result, |t| convert(&zone, t)),
            None => null_like(time, &result),
        };
    }
    by_row(args, zone_type, result, convert)
}

/// A zone for each row; neighbours often share one.
fn by_row(
    args: &ScalarFunctionArgs,
    zone_type: SqlType,
    result: DataType,
    convert: impl Fn(&Result<ZoneName, ValueError>, i64) -> Result<i64, ValueError>,
) -> DataFusionResult<ColumnarValue> {
    let arrays = ColumnarValue::values_to_arrays(&args.args)?;
    let [zones, times] = arrays.as_slice() else { return Err(internal("timezone has two arguments")) };
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let mut last: (Datum, Option<Result<ZoneName, ValueError>>) = (Datum::Null, None);
    let mut out = Vec::with_capacity(times.len());
    for (row, time) in times.iter().enumerate() {
        let zone = common::columns::cell(zones, row, zone_type).map_err(raise_row)?;
        if !is_same(&zone, &last.0) {
            let found = zone_of(&zone).transpose();
            last = (zone, found);
        }
        out.push(match (&last.1, time) {
            (Some(zone), Some(time)) => Some(convert(zone, time).map_err(raise)?),
            _ => None,
        });
    }
    Ok(ColumnarValue::Array(Arc::new(TimestampMicrosecondArray::from(out).with_data_type(result))))
}

/// Intervals that are equal may differ as zones.
fn is_same(a: &Datum, b: &Datum) -> bool {
    let parts = |i: &Interval| (i.months, i.days, i.micros);
    match (a, b) {
        (Datum::Interval(a), Datum::Interval(b)) => parts(a) == parts(b),
        (a, b) => a == b,
    }
}

/// NULLs, as many as there are values.
pub(super) fn null_like(value: &ColumnarValue, result: &DataType) -> DataFusionResult<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(new_null_array(result, array.len())),
        ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from(result)?),
    })
}
