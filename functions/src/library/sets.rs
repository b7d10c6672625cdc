//! Sets of more than one column: their lists hold Arrow structs.

use std::sync::Arc;

use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray, StructArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::error::ValueError;
use types::json;

use crate::casts::coerce;
use crate::context::{CastContext, ExprContext};
use crate::definition::{Call, Definition, columns_typed};
use crate::error::{FunctionError, Result, internal, raise};
use crate::registry::call_hidden;
use crate::resolution::type_list;
use crate::set_returning::SetReturning;
use crate::typed_expr::TypedExpr;

/// The functions over documents, with the types of the argument and of the values.
const EACH: &[(&str, Scalar, Scalar)] = &[
    ("json_each", Scalar::Json, Scalar::Json),
    ("jsonb_each", Scalar::Jsonb, Scalar::Jsonb),
    ("json_each_text", Scalar::Json, Scalar::Text),
    ("jsonb_each_text", Scalar::Jsonb, Scalar::Text),
];

pub(crate) fn definitions() -> Vec<Definition> {
    EACH.iter().map(|(name, argument, _)| columns_typed(&key(name, *argument), each, |_| list_of_pairs()).hidden()).collect()
}

fn key(name: &str, argument: Scalar) -> String {
    format!("records_of_{name}({}) record[]", argument.internal_name())
}

/// Whether the function answers records.
pub(crate) fn is_record_set(name: &str) -> bool {
    EACH.iter().any(|(each, ..)| *each == name)
}

/// The call of a function that answers records; `None` for other names.
pub(crate) fn record_set(cx: &ExprContext<'_>, name: &str, args: &[TypedExpr]) -> Option<Result<SetReturning>> {
    let (name, argument, value) = EACH.iter().find(|(each, ..)| *each == name)?;
    Some(each_call(cx, name, *argument, *value, args))
}

fn each_call(cx: &ExprContext<'_>, name: &str, argument: Scalar, value: Scalar, args: &[TypedExpr]) -> Result<SetReturning> {
    let undefined = || FunctionError::UndefinedFunction(format!("{name}({})", type_list(args)));
    let [document] = args else { return Err(undefined()) };
    let ty: SqlType = argument.into();
    if !document.is_unknown() && document.ty != ty {
        return Err(undefined());
    }
    let document = coerce(cx, document.clone(), ty, CastContext::Implicit)?;
    let result = SqlType::array_of(Scalar::Record.into());
    let expr = TypedExpr::new(call_hidden(&key(name, argument), vec![ty], result, vec![document.expr]), result);
    Ok(SetReturning { expr, columns: vec![("key".into(), Scalar::Text.into()), ("value".into(), value.into())] })
}

fn pair_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Utf8, true)])
}

fn list_of_pairs() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(pair_fields()), true)))
}

/// The members of objects as pairs of texts.
fn each(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let function = call.name.trim_start_matches("records_of_");
    let as_text = function.ends_with("_text");
    let argument = args.args.first().ok_or_else(|| internal("a set over a document has one argument"))?;
    let constant = matches!(argument, ColumnarValue::Scalar(_));
    let documents = argument.to_array(if constant { 1 } else { args.number_rows })?;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let mut lengths = Vec::with_capacity(documents.len());
    for document in documents.as_string::<i32>() {
        let before = keys.len();
        for (key, value) in document.map(|d| json::each(d, function)).transpose().map_err(raise)?.unwrap_or_default() {
            keys.push(key);
            values.push(value_of(value, as_text).map_err(raise)?);
        }
        lengths.push(keys.len() - before);
    }
    let pairs = StructArray::try_new(
        pair_fields(),
        vec![Arc::new(StringArray::from(keys)) as ArrayRef, Arc::new(StringArray::from(values))],
        None,
    )?;
    let nulls: Option<NullBuffer> = documents.nulls().cloned();
    let item = Arc::new(Field::new("item", DataType::Struct(pair_fields()), true));
    let lists: ArrayRef = Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(pairs), nulls)?);
    Ok(if constant { ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?) } else { ColumnarValue::Array(lists) })
}

fn value_of(value: &str, as_text: bool) -> Result<Option<String>, ValueError> {
    if as_text { json::as_text(value) } else { Ok(Some(value.to_owned())) }
}
