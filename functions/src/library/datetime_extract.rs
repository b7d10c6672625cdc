//! Fields of dates and times (`extract`, `date_part`) and cutting them (`date_trunc`, `date_bin`).
//!
//! A field by a constant name is found once. Where all its values have few digits, the numeric that `extract` answers travels as a
//! decimal; a year and its like may be infinite, and take the byte form of numerics.

use std::sync::Arc;

use common::datum::Datum;
use common::numeric::Numeric;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{ArrayRef, AsArray, BinaryBuilder, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::datetime::{self, FieldReader, Truncation, ZoneName};
use types::error::ValueError;
use types::format_settings::TimeZone;
use types::zone;

use crate::casts::kernel::on_array;
use crate::definition::{Args, ArrowTypeFn, Build, Call, Definition, build, columns, columns_typed, row};
use crate::error::{FunctionError, Result, internal};
use crate::literals::{constant, fold, scalar_datum};
use crate::primitive_columns::{interval_of, unary, unary_optional};
use crate::registry::call_hidden;
use crate::typed_expr::{DecimalForm, TypedExpr};

/// The types that have fields.
const TYPES: [&str; 6] = ["date", "time", "timetz", "timestamp", "timestamptz", "interval"];

/// Digits of a field that travels as a decimal: an interval's hours have ten.
const DIGITS: u8 = 10;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = Vec::new();
    for ty in TYPES {
        let by_zone = |d: Definition| if ty == "timestamptz" { d.stable() } else { d };
        out.push(by_zone(build(&format!("extract(text,{ty}) numeric"), extract)));
        out.push(by_zone(row(&format!("extract_any(text,{ty}) numeric"), extract_any).hidden()));
        out.push(by_zone(columns(&format!("extract_growing(text,{ty}) numeric"), extract_growing).hidden()));
        let decimals: [(i8, ArrowTypeFn); 3] =
            [(0, |_| DataType::Decimal128(DIGITS, 0)), (3, |_| DataType::Decimal128(DIGITS, 3)), (6, |_| DataType::Decimal128(DIGITS, 6))];
        for (digits, form) in decimals {
            out.push(by_zone(columns_typed(&format!("extract_{digits}(text,{ty}) numeric"), extract_decimal, form).hidden()));
        }
        out.push(by_zone(build(&format!("date_part(text,{ty}) float8"), date_part)));
        out.push(by_zone(row(&format!("date_part_any(text,{ty}) float8"), date_part_any).hidden()));
        out.push(by_zone(columns(&format!("date_part_of(text,{ty}) float8"), date_part_of).hidden()));
    }
    out.extend([
        columns("date_trunc(text,timestamp) timestamp", date_trunc),
        columns("date_trunc(text,timestamptz) timestamptz", date_trunc).stable(),
        row("date_trunc(text,timestamptz,text) timestamptz", date_trunc_in_zone).stable(),
        row("date_trunc(text,interval) interval", |a| datetime::date_trunc_interval(a.text(0)?, a.interval(1)?).map(Datum::Interval)),
        row("date_bin(interval,timestamp,timestamp) timestamp", date_bin),
        row("date_bin(interval,timestamptz,timestamptz) timestamptz", date_bin),
    ]);
    out
}

fn two(args: Vec<TypedExpr>) -> Result<[TypedExpr; 2]> {
    args.try_into().map_err(|_| FunctionError::Internal("a field of a value has two arguments".into()))
}

/// The field, if its name is a constant and a field of the type.
fn constant_field(name: &TypedExpr, ty: SqlType) -> Option<FieldReader> {
    match constant(&name.expr, name.ty)? {
        Datum::Text(name) => FieldReader::new(&name, ty.scalar),
        _ => None,
    }
}

fn extract(_: &Build<'_>, args: Vec<TypedExpr>) -> Result<TypedExpr> {
    let [name, value] = two(args)?;
    let ty = value.ty.without_typmod();
    let word = ty.scalar.internal_name();
    let reader = constant_field(&name, ty);
    let types = vec![Scalar::Text.into(), ty];
    let call = |key: &str| call_hidden(key, types, Scalar::Numeric.into(), vec![name.expr, value.expr]);
    Ok(match reader.map(|r| (r.digits(), r.grows())) {
        Some((Some(digits), false)) => {
            let form = DecimalForm { precision: DIGITS, scale: digits };
            fold(TypedExpr::decimal(call(&format!("extract_{digits}(text,{word}) numeric")), form))
        }
        Some((Some(0), true)) => TypedExpr::new(call(&format!("extract_growing(text,{word}) numeric")), Scalar::Numeric),
        _ => TypedExpr::new(call(&format!("extract_any(text,{word}) numeric")), Scalar::Numeric),
    })
}

fn date_part(_: &Build<'_>, args: Vec<TypedExpr>) -> Result<TypedExpr> {
    let [name, value] = two(args)?;
    let ty = value.ty.without_typmod();
    let kind = if constant_field(&name, ty).and_then(FieldReader::digits).is_some() { "of" } else { "any" };
    let key = format!("date_part_{kind}(text,{}) float8", ty.scalar.internal_name());
    let call = call_hidden(&key, vec![Scalar::Text.into(), ty], Scalar::Float8.into(), vec![name.expr, value.expr]);
    Ok(TypedExpr::new(call, Scalar::Float8))
}

fn extract_any(args: &Args<'_>) -> Result<Datum, ValueError> {
    let found = datetime::extract(args.text(0)?, args.value(1), args.ty(1), &args.settings().format)?;
    Ok(found.map_or(Datum::Null, Datum::Numeric))
}

fn date_part_any(args: &Args<'_>) -> Result<Datum, ValueError> {
    let found = datetime::date_part(args.text(0)?, args.value(1), args.ty(1), &args.settings().format)?;
    Ok(found.map_or(Datum::Null, Datum::Float8))
}

/// The text of a constant argument.
fn constant_text(arg: &ColumnarValue) -> Option<String> {
    match arg {
        ColumnarValue::Scalar(value) => match scalar_datum(value, Scalar::Text.into())? {
            Datum::Text(text) => Some(text),
            _ => None,
        },
        ColumnarValue::Array(_) => None,
    }
}

/// The field that a call was built for, and the value's type.
fn field_of(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<(FieldReader, Scalar)> {
    let name = args.args.first().and_then(constant_text);
    let ty = call.arg_types.get(1).map_or(Scalar::Unknown, |ty| ty.scalar);
    let reader = name.and_then(|name| FieldReader::new(&name, ty)).ok_or_else(|| internal(format!("{} without its field", call.name)))?;
    Ok((reader, ty))
}

fn value_of(args: &ScalarFunctionArgs) -> DataFusionResult<&ColumnarValue> {
    args.args.get(1).ok_or_else(|| internal("a field without a value"))
}

/// Reads a field as scaled integers; infinite values give what `infinite` answers for their sign.
fn read<R: ArrowPrimitiveType>(
    call: &Call<'_>,
    args: &ScalarFunctionArgs,
    result: DataType,
    convert: impl Fn(FieldReader, i64) -> R::Native,
    infinite: impl Fn(FieldReader, bool) -> Option<R::Native>,
) -> DataFusionResult<ColumnarValue> {
    let (reader, ty) = field_of(call, args)?;
    let value = value_of(args)?;
    let zone = if ty == Scalar::Timestamptz { call.settings.format.time_zone } else { TimeZone::Fixed(0) };
    let convert = |scaled: i64| convert(reader, scaled);
    match ty {
        Scalar::Date => unary_optional::<Date32Type, R>(value, result, |days| {
            if datetime::is_finite_date(days) { reader.of_date(days).map(convert) } else { infinite(reader, days > 0) }
        }),
        Scalar::Time => unary_optional::<Time64MicrosecondType, R>(value, result, |t| reader.of_time(t).map(convert)),
        Scalar::Interval => {
            unary_optional::<IntervalMonthDayNanoType, R>(value, result, |span| reader.of_interval(interval_of(span)).map(convert))
        }
        _ => unary_optional::<TimestampMicrosecondType, R>(value, result, |t| {
            if datetime::is_finite_timestamp(t) {
                reader.of_timestamp(t, zone::offset_at(zone, t)).map(convert)
            } else {
                infinite(reader, t > 0)
            }
        }),
    }
}

fn extract_decimal(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let result = args.return_field.data_type().clone();
    read::<Decimal128Type>(call, args, result, |_, scaled| i128::from(scaled), |_, _| None)
}

fn date_part_of(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let infinity = |reader: FieldReader, positive: bool| reader.grows().then_some(if positive { f64::INFINITY } else { f64::NEG_INFINITY });
    read::<Float64Type>(call, args, DataType::Float64, FieldReader::float_of_scaled, infinity)
}

/// Years and their like, which infinite values have too. Neighbours often share one.
fn extract_growing(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    /// Stand for the infinities; no year comes near.
    const FUTURE: i64 = i64::MAX;
    const PAST: i64 = i64::MIN;
    let infinity = |_, positive| Some(if positive { FUTURE } else { PAST });
    let years = read::<Int64Type>(call, args, DataType::Int64, |_, year| year, infinity)?;
    on_array(&years, |years: &ArrayRef| {
        let years = years.as_primitive::<Int64Type>();
        let mut builder = BinaryBuilder::with_capacity(years.len(), years.len() * 4);
        let mut bytes = Vec::new();
        let mut written = None;
        for year in years {
            let Some(year) = year else {
                builder.append_null();
                continue;
            };
            if written != Some(year) {
                written = Some(year);
                bytes.clear();
                let number = match year {
                    FUTURE => Numeric::Infinity,
                    PAST => Numeric::NegativeInfinity,
                    year => Numeric::from(year),
                };
                number.to_sortable(&mut bytes);
            }
            builder.append_value(&bytes);
        }
        Ok(Arc::new(builder.finish()))
    })
}

fn date_trunc(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let ty = call.result.scalar;
    let zone = (ty == Scalar::Timestamptz).then_some(call.settings.format.time_zone);
    let cut = |to: &Result<Truncation, ValueError>, t: i64| match (to, zone) {
        (_, _) if !datetime::is_finite_timestamp(t) => Ok(t),
        (Ok(to), None) => to.timestamp(t),
        (Ok(to), Some(zone)) => to.timestamptz(t, zone),
        (Err(error), _) => Err(error.clone()),
    };
    let result = call.result.arrow();
    let value = value_of(args)?;
    match args.args.first() {
        Some(ColumnarValue::Scalar(name)) if name.is_null() => super::datetime_zone::null_like(value, &result),
        Some(name @ ColumnarValue::Scalar(_)) => {
            let to = Truncation::new(&constant_text(name).unwrap_or_default(), ty);
            unary::<TimestampMicrosecondType, TimestampMicrosecondType>(value, result, |t| cut(&to, t))
        }
        _ => {
            let arrays = ColumnarValue::values_to_arrays(&args.args)?;
            let [names, values] = arrays.as_slice() else { return Err(internal("date_trunc has two arguments")) };
            let rows = names.as_string::<i32>().iter().zip(values.as_primitive::<TimestampMicrosecondType>());
            let cut = rows.map(|(name, t)| match (name, t) {
                (Some(name), Some(t)) => cut(&Truncation::new(name, ty), t).map(Some),
                _ => Ok(None),
            });
            let cut: TimestampMicrosecondArray = cut.collect::<Result<_, ValueError>>().map_err(crate::error::raise)?;
            Ok(ColumnarValue::Array(Arc::new(cut.with_data_type(result))))
        }
    }
}

fn date_trunc_in_zone(args: &Args<'_>) -> Result<Datum, ValueError> {
    let instant = args.timestamp(1)?;
    if !datetime::is_finite_timestamp(instant) {
        return Ok(Datum::Timestamp(instant));
    }
    let zone = match datetime::zone_name(args.text(2)?)? {
        ZoneName::Zone(zone) => zone,
        ZoneName::Abbreviation(zone, _) => TimeZone::Named(zone),
    };
    datetime::date_trunc_tz(args.text(0)?, instant, zone).map(Datum::Timestamp)
}

fn date_bin(args: &Args<'_>) -> Result<Datum, ValueError> {
    datetime::date_bin(args.interval(0)?, args.timestamp(1)?, args.timestamp(2)?).map(Datum::Timestamp)
}
