//! What stands for a value when it is compared bytewise: in comparisons, sorting and grouping.
//!
//! Most types compare as Arrow does. The others get a key: floats (zeros are equal, NaNs are equal), numerics in byte form (without the
//! display scale), intervals (their length), character(n) (without trailing blanks), jsonb and arrays (bytes whose order is theirs).

use std::sync::Arc;

use common::columns::cell;
use common::datum::Datum;
use common::interval::Interval;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use common::types::{RangeKind, Scalar, SqlType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Array, Float32Array, Float64Array, StringArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalMonthDayNanoType};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs};
use types::json_parse::{self, Json};
use types::range;

use crate::casts::kernel::on_array;
use crate::context::ExprContext;
use crate::definition::{Args, Call, Definition, columns, columns_typed, row};
use crate::error::{FunctionError, Result, internal, raise, raise_row};
use crate::lifted::LiftedFunction;
use crate::literals::{constant, settle_unknown};
use crate::registry::call_hidden;
use crate::typed_expr::{DECIMAL128_DIGITS, DecimalForm, TypedExpr};

/// Microseconds of a day, to bring intervals into one form.
const DAY: i128 = 86_400_000_000;

pub(crate) fn definitions() -> Vec<Definition> {
    vec![
        columns("float_key(float8) float8", float_key).hidden(),
        columns("float_key(float4) float4", float_key).hidden(),
        columns("numeric_key(numeric) bytea", numeric_key).hidden(),
        columns("bpchar_key(bpchar) text", bpchar_key).hidden(),
        row("range_key(numrange) bytea", |a| Ok(Datum::Bytea(range::key(a.bytes(0)?, RangeKind::Num).into()))).hidden(),
        columns_typed("interval_key(interval) numeric", interval_key, |_| DataType::Decimal128(DECIMAL128_DIGITS, 0)).hidden(),
        columns("jsonb_key(jsonb) bytea", |_, args| byte_key(args, Scalar::Jsonb.into())).hidden(),
        columns("array_key(anyarray) bytea", |call, args| {
            byte_key(args, call.arg_types.first().copied().unwrap_or(SqlType::array_of(Scalar::Text.into())))
        })
        .hidden(),
        row("numeric_normal(numeric) numeric", numeric_normal).hidden(),
        row("interval_normal(interval) interval", interval_normal).hidden(),
        row("jsonb_normal(jsonb) jsonb", jsonb_normal).hidden(),
    ]
}

fn keyed(key: &str, expr: TypedExpr, result: Scalar) -> TypedExpr {
    TypedExpr::new(call_hidden(key, vec![expr.ty.without_typmod()], result.into(), vec![expr.expr]), result)
}

/// What `ORDER BY` sorts by; 42883 for types without an order.
pub fn sort_key_expr(cx: &ExprContext<'_>, expr: TypedExpr) -> Result<TypedExpr> {
    let expr = settle_unknown(cx, expr)?;
    let ty = expr.ty;
    order_key(expr).ok_or_else(|| undefined("an ordering", ty))
}

fn undefined(kind: &str, ty: SqlType) -> FunctionError {
    let message = format!("could not identify {kind} operator for type {}", ty.without_typmod());
    FunctionError::WrongUse { sqlstate: SqlState::UNDEFINED_FUNCTION, message }
}

/// The key of an expression whose type is decided; `None` for types without an order.
pub(crate) fn order_key(expr: TypedExpr) -> Option<TypedExpr> {
    if expr.ty.is_array {
        return match expr.ty.scalar {
            Scalar::Json | Scalar::Jsonpath | Scalar::Record | Scalar::Void => None,
            _ => Some(TypedExpr::new(
                call_hidden("array_key(anyarray) bytea", vec![expr.ty], Scalar::Bytea.into(), vec![expr.expr]),
                Scalar::Bytea,
            )),
        };
    }
    Some(match expr.ty.scalar {
        Scalar::Json | Scalar::Jsonpath | Scalar::Record | Scalar::Void => return None,
        Scalar::Float4 | Scalar::Float8 if is_plain_float(&expr) => expr,
        Scalar::Float4 => keyed("float_key(float4) float4", expr, Scalar::Float4),
        Scalar::Float8 => keyed("float_key(float8) float8", expr, Scalar::Float8),
        Scalar::Numeric if expr.decimal.is_none() => keyed("numeric_key(numeric) bytea", expr, Scalar::Bytea),
        Scalar::Bpchar => keyed("bpchar_key(bpchar) text", expr, Scalar::Text),
        Scalar::Interval => {
            let key = call_hidden("interval_key(interval) numeric", vec![Scalar::Interval.into()], Scalar::Numeric.into(), vec![expr.expr]);
            TypedExpr::decimal(key, DecimalForm { precision: DECIMAL128_DIGITS, scale: 0 })
        }
        Scalar::Jsonb => keyed("jsonb_key(jsonb) bytea", expr, Scalar::Bytea),
        Scalar::Range(RangeKind::Num) => keyed("range_key(numrange) bytea", expr, Scalar::Bytea),
        _ => expr,
    })
}

/// A constant float that is its own key.
fn is_plain_float(expr: &TypedExpr) -> bool {
    match constant(&expr.expr, expr.ty) {
        Some(Datum::Float8(v)) => v != 0.0 && !v.is_nan(),
        Some(Datum::Float4(v)) => v != 0.0 && !v.is_nan(),
        Some(Datum::Null) => true,
        _ => is_float_key(&expr.expr),
    }
}

/// Whether an expression is a float's key already.
fn is_float_key(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name().starts_with("float_key("))
}

/// The expression that a sort key was made of.
pub(crate) fn without_key(key: TypedExpr) -> TypedExpr {
    if let Expr::ScalarFunction(call) = &key.expr
        && let Some(function) = call.func.inner().downcast_ref::<LiftedFunction>()
        && let (true, [ty], [arg]) = (function.is_key(), function.arg_types(), call.args.as_slice())
    {
        return TypedExpr::new(arg.clone(), *ty);
    }
    key
}

/// The value in a form in which equal values are bytewise equal: for GROUP BY, DISTINCT and set operations. The form is a value of the
/// type, as it is also what is shown.
pub fn group_key_expr(cx: &ExprContext<'_>, expr: TypedExpr) -> Result<TypedExpr> {
    let expr = settle_unknown(cx, expr)?;
    let ty = expr.ty;
    if matches!(ty.scalar, Scalar::Json | Scalar::Jsonpath | Scalar::Record | Scalar::Void) {
        return Err(undefined("an equality", ty));
    }
    if ty.is_array {
        return Ok(expr);
    }
    let normal = |key: &str| TypedExpr::new(call_hidden(key, vec![ty.without_typmod()], ty.without_typmod(), vec![expr.expr.clone()]), ty);
    Ok(match ty.scalar {
        Scalar::Float4 | Scalar::Float8 => order_key(expr).ok_or_else(|| undefined("an equality", ty))?,
        Scalar::Numeric if expr.decimal.is_none() => normal("numeric_normal(numeric) numeric"),
        Scalar::Interval => normal("interval_normal(interval) interval"),
        Scalar::Jsonb => normal("jsonb_normal(jsonb) jsonb"),
        _ => expr,
    })
}

fn only(args: &ScalarFunctionArgs) -> DataFusionResult<&ColumnarValue> {
    args.args.first().ok_or_else(|| internal("a key has one argument"))
}

fn float_key(_: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    on_array(only(args)?, |array| {
        Ok(match array.data_type() {
            DataType::Float32 => {
                let keys: Float32Array = array.as_primitive::<Float32Type>().unary(|v| if v.is_nan() { f32::NAN } else { v + 0.0 });
                Arc::new(keys) as ArrayRef
            }
            _ => {
                let keys: Float64Array = array.as_primitive::<Float64Type>().unary(|v| if v.is_nan() { f64::NAN } else { v + 0.0 });
                Arc::new(keys)
            }
        })
    })
}

fn numeric_key(_: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    on_array(only(args)?, |array| {
        let bytes = crate::casts::kernel::to_bytes(array)?;
        let forms = bytes.as_binary::<i32>();
        let mut builder = BinaryBuilder::with_capacity(forms.len(), forms.value_data().len());
        for form in forms {
            builder.append_option(form.map(|form| &form[..Numeric::sortable_prefix_len(form)]));
        }
        Ok(Arc::new(builder.finish()))
    })
}

fn bpchar_key(_: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    on_array(only(args)?, |array| {
        let trimmed: StringArray = array.as_string::<i32>().iter().map(|text| text.map(|t| t.trim_end_matches(' '))).collect();
        Ok(Arc::new(trimmed))
    })
}

fn interval_key(_: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    on_array(only(args)?, |array| {
        let keys: Decimal128Array = array
            .as_primitive::<IntervalMonthDayNanoType>()
            .unary(|v| Interval { months: v.months, days: v.days, micros: v.nanoseconds / 1_000 }.total_micros());
        Ok(Arc::new(keys.with_precision_and_scale(DECIMAL128_DIGITS, 0)?))
    })
}

fn byte_key(args: &ScalarFunctionArgs, ty: SqlType) -> DataFusionResult<ColumnarValue> {
    on_array(only(args)?, |array| {
        let mut builder = BinaryBuilder::with_capacity(array.len(), array.len() * 16);
        let mut key = Vec::new();
        for row in 0..array.len() {
            let value = cell(array, row, ty).map_err(raise_row)?;
            if value.is_null() {
                builder.append_null();
                continue;
            }
            key.clear();
            write_key(&value, ty, &mut key).map_err(raise)?;
            builder.append_value(&key);
        }
        Ok(Arc::new(builder.finish()))
    })
}

/// Appends bytes whose order is the values' order. No key is the beginning of another.
pub(crate) fn write_key(value: &Datum, ty: SqlType, out: &mut Vec<u8>) -> Result<(), types::error::ValueError> {
    match value {
        Datum::Null => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => out.extend_from_slice(&(v.cast_unsigned() ^ (1 << 15)).to_be_bytes()),
        Datum::Int4(v) | Datum::Date(v) => out.extend_from_slice(&(v.cast_unsigned() ^ (1 << 31)).to_be_bytes()),
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) => out.extend_from_slice(&(v.cast_unsigned() ^ (1 << 63)).to_be_bytes()),
        Datum::Float4(v) => write_float(f64::from(*v), out),
        Datum::Float8(v) => write_float(*v, out),
        Datum::Numeric(v) => {
            let form = v.sortable();
            out.extend_from_slice(&form[..Numeric::sortable_prefix_len(&form)]);
        }
        Datum::Text(v) if ty.scalar == Scalar::Jsonb => write_json(&json_parse::parse_jsonb(v)?, out),
        Datum::Text(v) if ty.scalar == Scalar::Bpchar => write_bytes(v.trim_end_matches(' ').as_bytes(), out),
        Datum::Text(v) => write_bytes(v.as_bytes(), out),
        Datum::Bytea(v) if let Scalar::Range(kind) = ty.scalar => write_bytes(&range::key(v, kind), out),
        Datum::Bytea(v) => write_bytes(v, out),
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Interval(v) => out.extend_from_slice(&(v.total_micros().cast_unsigned() ^ (1 << 127)).to_be_bytes()),
        Datum::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Array(elements) => {
            for element in elements.iter() {
                out.push(if element.is_null() { 2 } else { 1 });
                write_key(element, ty.element(), out)?;
            }
            out.push(0);
            out.push(elements.dimensions().len() as u8);
            for dimension in elements.dimensions() {
                out.extend_from_slice(&(dimension.length.cast_unsigned() ^ (1 << 31)).to_be_bytes());
                out.extend_from_slice(&(dimension.lower.cast_unsigned() ^ (1 << 31)).to_be_bytes());
            }
        }
    }
    Ok(())
}

fn write_float(value: f64, out: &mut Vec<u8>) {
    let bits = if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() };
    let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    out.extend_from_slice(&ordered.to_be_bytes());
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

/// A jsonb at the top: a scalar counts as an array of one, which comes before a real array of one.
fn write_json(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Object(_) => {
            out.push(2);
            write_json_part(json, out);
        }
        Json::Array(elements) => {
            out.push(1);
            write_count(elements.len(), out);
            out.push(1);
            elements.iter().for_each(|e| write_json_part(e, out));
        }
        scalar => {
            out.push(1);
            write_count(1, out);
            out.push(0);
            write_json_part(scalar, out);
        }
    }
}

fn write_count(count: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn write_json_part(json: &Json, out: &mut Vec<u8>) {
    match json {
        Json::Null => out.push(0),
        Json::String(text) => {
            out.push(1);
            write_bytes(text.as_bytes(), out);
        }
        Json::Number(_) => {
            out.push(2);
            let form = json.as_numeric().unwrap_or_else(Numeric::zero).sortable();
            out.extend_from_slice(&form[..Numeric::sortable_prefix_len(&form)]);
        }
        Json::Bool(value) => out.extend_from_slice(&[3, u8::from(*value)]),
        Json::Array(elements) => {
            out.push(0x10);
            write_count(elements.len(), out);
            elements.iter().for_each(|e| write_json_part(e, out));
        }
        Json::Object(members) => {
            out.push(0x11);
            write_count(members.len(), out);
            for (key, value) in members {
                write_bytes(key.as_bytes(), out);
                write_json_part(value, out);
            }
        }
    }
}

fn numeric_normal(args: &Args<'_>) -> Result<Datum, types::error::ValueError> {
    Ok(Datum::Numeric(match args.numeric(0)? {
        Numeric::Finite(value) => Numeric::finite(value.normalized()),
        other => other.clone(),
    }))
}

fn interval_normal(args: &Args<'_>) -> Result<Datum, types::error::ValueError> {
    let given = args.interval(0)?;
    let total = given.total_micros();
    let days = total / DAY;
    let months = i32::try_from(days / 30);
    Ok(Datum::Interval(match (months, i32::try_from(days % 30), i64::try_from(total % DAY)) {
        (Ok(months), Ok(days), Ok(micros)) => Interval { months, days, micros },
        _ => given,
    }))
}

fn jsonb_normal(args: &Args<'_>) -> Result<Datum, types::error::ValueError> {
    fn normal(json: &mut Json) {
        match json {
            Json::Number(_) => {
                if let Some(Numeric::Finite(value)) = json.as_numeric() {
                    *json = Json::Number(Numeric::finite(value.normalized()).to_string());
                }
            }
            Json::Array(elements) => elements.iter_mut().for_each(normal),
            Json::Object(members) => members.iter_mut().for_each(|(_, value)| normal(value)),
            Json::Null | Json::Bool(_) | Json::String(_) => {}
        }
    }
    let mut json = json_parse::parse_jsonb(args.text(0)?)?;
    normal(&mut json);
    Ok(Datum::Text(json.to_text()))
}
