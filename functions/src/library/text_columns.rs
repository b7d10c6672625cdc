//! Column kernels of the text functions that queries apply to whole tables.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray, StringBuilder};
use datafusion::arrow::datatypes::Int32Type;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::error::ValueError;
use types::strings;

use crate::casts::kernel::on_array;
use crate::definition::{Call, Definition, columns};
use crate::error::{Result, internal, raise};

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        columns("lower(text) text", |_, a| text_to_text(a, strings::to_lower)),
        columns("upper(text) text", |_, a| text_to_text(a, strings::to_upper)),
        columns("btrim(text) text", |_, a| text_to_part(a, |t| t.trim_matches(' '))),
        columns("ltrim(text) text", |_, a| text_to_part(a, |t| t.trim_start_matches(' '))),
        columns("rtrim(text) text", |_, a| text_to_part(a, |t| t.trim_end_matches(' '))),
        columns("octet_length(text) int4", |_, a| text_to_int4(a, octets)),
    ];
    for name in ["length", "char_length", "character_length"] {
        out.push(columns(&format!("{name}(text) int4"), |_, a| text_to_int4(a, strings::length)));
        out.push(columns(&format!("{name}(bpchar) int4"), |_, a| text_to_int4(a, |t| strings::length(t.trim_end_matches(' ')))));
    }
    for name in ["substr", "substring"] {
        out.push(columns(&format!("{name}(text,int4) text"), substring));
        out.push(columns(&format!("{name}(text,int4,int4) text"), substring));
    }
    out.push(columns("left(text,int4) text", |_, a| text_and_int4(a, |t, n| Ok(strings::left(t, n)))));
    out.push(columns("right(text,int4) text", |_, a| text_and_int4(a, |t, n| Ok(strings::right(t, n)))));
    out
}

fn octets(text: &str) -> i32 {
    i32::try_from(text.len()).unwrap_or(i32::MAX)
}

/// A text column; an internal error for any other.
pub(crate) fn texts(array: &ArrayRef) -> DataFusionResult<&StringArray> {
    array.as_string_opt::<i32>().ok_or_else(|| internal(format!("a text has the form {}", array.data_type())))
}

fn only(args: &ScalarFunctionArgs) -> DataFusionResult<&ColumnarValue> {
    args.args.first().ok_or_else(|| internal("no argument"))
}

fn text_to_int4(args: &ScalarFunctionArgs, function: fn(&str) -> i32) -> DataFusionResult<ColumnarValue> {
    on_array(only(args)?, |array| {
        let values: Int32Array = texts(array)?.iter().map(|text| text.map(function)).collect();
        Ok(Arc::new(values))
    })
}

fn text_to_text(args: &ScalarFunctionArgs, function: fn(&str) -> String) -> DataFusionResult<ColumnarValue> {
    on_array(only(args)?, |array| {
        let texts = texts(array)?;
        let mut builder = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        for text in texts {
            builder.append_option(text.map(function));
        }
        Ok(Arc::new(builder.finish()))
    })
}

fn text_to_part(args: &ScalarFunctionArgs, function: fn(&str) -> &str) -> DataFusionResult<ColumnarValue> {
    on_array(only(args)?, |array| {
        let parts: StringArray = texts(array)?.iter().map(|text| text.map(function)).collect();
        Ok(Arc::new(parts))
    })
}

/// Applies a kernel to all arguments as arrays; constants in, constant out.
pub(crate) fn on_arrays(
    args: &ScalarFunctionArgs,
    kernel: impl FnOnce(&[ArrayRef]) -> DataFusionResult<ArrayRef>,
) -> DataFusionResult<ColumnarValue> {
    let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    let result = kernel(&ColumnarValue::values_to_arrays(&args.args)?)?;
    Ok(if constant { ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?) } else { ColumnarValue::Array(result) })
}

fn integers(array: &ArrayRef) -> DataFusionResult<&Int32Array> {
    array.as_primitive_opt::<Int32Type>().ok_or_else(|| internal(format!("an integer has the form {}", array.data_type())))
}

fn text_and_int4(args: &ScalarFunctionArgs, function: fn(&str, i32) -> Result<&str, ValueError>) -> DataFusionResult<ColumnarValue> {
    on_arrays(args, |arrays| {
        let [text, number] = arrays else { return Err(internal("two arguments are expected")) };
        let (text, number) = (texts(text)?, integers(number)?);
        let mut builder = StringBuilder::with_capacity(text.len(), text.value_data().len());
        for (text, number) in text.iter().zip(number) {
            builder.append_option(text.zip(number).map(|(t, n)| function(t, n)).transpose().map_err(raise)?);
        }
        Ok(Arc::new(builder.finish()))
    })
}

fn substring(_: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    if args.args.len() == 2 {
        return text_and_int4(args, |text, start| strings::substring(text, start, None));
    }
    on_arrays(args, |arrays| {
        let [text, start, length] = arrays else { return Err(internal("three arguments are expected")) };
        let (text, start, length) = (texts(text)?, integers(start)?, integers(length)?);
        let mut builder = StringBuilder::with_capacity(text.len(), text.len() * 8);
        for ((text, start), length) in text.iter().zip(start).zip(length) {
            match (text, start, length) {
                (Some(text), Some(start), Some(length)) => {
                    builder.append_value(strings::substring(text, start, Some(length)).map_err(raise)?);
                }
                _ => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    })
}
