//! Sets of more than one column: their lists hold Arrow structs, whose fields are named by position.
//!
//! The members of objects are pairs; `json_to_record` and its relatives answer the columns that the query names in a column definition
//! list: these travel as arguments, names as constants and types as NULLs.

use std::sync::Arc;

use common::columns::array_from;
use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray, StructArray};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};
use types::error::ValueError;
use types::format_settings::FormatSettings;
use types::{json, json_record};

use crate::casts::coerce;
use crate::context::{CastContext, ExprContext};
use crate::definition::{Call, Definition, columns_typed, fail};
use crate::error::{FunctionError, Result, internal, raise, raise_row};
use crate::literals::{literal, null};
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

/// The functions over documents whose columns the query defines, with the type of the argument.
const RECORDS: &[(&str, Scalar)] = &[
    ("json_to_record", Scalar::Json),
    ("jsonb_to_record", Scalar::Jsonb),
    ("json_to_recordset", Scalar::Json),
    ("jsonb_to_recordset", Scalar::Jsonb),
];

/// Functions that want the type of a table's rows.
const OF_ROW_TYPES: &[&str] = &["json_populate_record", "jsonb_populate_record", "json_populate_recordset", "jsonb_populate_recordset"];

pub(crate) fn definitions() -> Vec<Definition> {
    let pairs = EACH.iter().map(|(name, argument, _)| {
        columns_typed(&key(name, *argument), each, |_| list_of(&fields_of(&[DataType::Utf8, DataType::Utf8]))).hidden()
    });
    let records = RECORDS.iter().map(|(name, _)| {
        columns_typed(&defined_key(name), defined_records, |args| list_of(&fields_of_definitions(args))).nullable().stable().hidden()
    });
    pairs.chain(records).collect()
}

fn defined_key(name: &str) -> String {
    format!("records_of_{name}(variadic any) record[]")
}

fn key(name: &str, argument: Scalar) -> String {
    format!("records_of_{name}({}) record[]", argument.internal_name())
}

/// Whether the function answers records.
pub(crate) fn is_record_set(name: &str) -> bool {
    EACH.iter().any(|(each, ..)| *each == name) || is_defined_record_set(name) || OF_ROW_TYPES.contains(&name)
}

/// Whether the function needs a column definition list.
pub fn is_defined_record_set(name: &str) -> bool {
    RECORDS.iter().any(|(record, _)| *record == name)
}

/// The call of a function that answers records; `None` for other names.
pub(crate) fn record_set(cx: &ExprContext<'_>, name: &str, args: &[TypedExpr]) -> Option<Result<SetReturning>> {
    if is_defined_record_set(name) {
        let message = "a column definition list is required for functions returning \"record\"".to_owned();
        return Some(Err(FunctionError::WrongUse { sqlstate: SqlState::SYNTAX_ERROR, message }));
    }
    if OF_ROW_TYPES.contains(&name) {
        return Some(Err(FunctionError::Unsupported(name.to_owned())));
    }
    let (name, argument, value) = EACH.iter().find(|(each, ..)| *each == name)?;
    Some(each_call(cx, name, *argument, *value, args))
}

/// The call of a function with the columns that the query defines.
pub fn defined_record_set(cx: &ExprContext<'_>, name: &str, args: &[TypedExpr], columns: Vec<(String, SqlType)>) -> Result<SetReturning> {
    let argument = RECORDS.iter().find(|(record, _)| *record == name).map_or(Scalar::Json, |(_, argument)| *argument);
    let document = only_document(cx, name, args, argument)?;
    let mut types = vec![document.ty];
    let mut all = vec![document.expr];
    for (column, ty) in &columns {
        types.extend([Scalar::Text.into(), *ty]);
        all.extend([literal(&Datum::Text(column.clone()), Scalar::Text.into()).expr, null(*ty).expr]);
    }
    let result = SqlType::array_of(Scalar::Record.into());
    Ok(SetReturning { expr: TypedExpr::new(call_hidden(&defined_key(name), types, result, all), result), columns, of_records: true })
}

/// The document that such a function takes.
fn only_document(cx: &ExprContext<'_>, name: &str, args: &[TypedExpr], argument: Scalar) -> Result<TypedExpr> {
    let undefined = || FunctionError::UndefinedFunction(format!("{name}({})", type_list(args)));
    let [document] = args else { return Err(undefined()) };
    let ty: SqlType = argument.into();
    if !document.is_unknown() && document.ty != ty {
        return Err(undefined());
    }
    coerce(cx, document.clone(), ty, CastContext::Implicit)
}

fn each_call(cx: &ExprContext<'_>, name: &str, argument: Scalar, value: Scalar, args: &[TypedExpr]) -> Result<SetReturning> {
    let document = only_document(cx, name, args, argument)?;
    let result = SqlType::array_of(Scalar::Record.into());
    let expr = TypedExpr::new(call_hidden(&key(name, argument), vec![document.ty], result, vec![document.expr]), result);
    let columns = vec![("key".into(), Scalar::Text.into()), ("value".into(), value.into())];
    Ok(SetReturning { expr, columns, of_records: true })
}

fn fields_of(types: &[DataType]) -> Fields {
    types.iter().enumerate().map(|(at, ty)| Field::new(at.to_string(), ty.clone(), true)).collect()
}

/// The fields that a definition list in the arguments tells: a document, then names and types by turns.
fn fields_of_definitions(args: &[DataType]) -> Fields {
    let types: Vec<DataType> = args.iter().skip(2).step_by(2).cloned().collect();
    fields_of(&types)
}

fn list_of(fields: &Fields) -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(fields.clone()), true)))
}

/// Lists of records out of their columns and the lists' lengths.
fn lists(fields: Fields, columns: Vec<ArrayRef>, lengths: Vec<usize>, nulls: Option<NullBuffer>) -> DataFusionResult<ArrayRef> {
    let item = Arc::new(Field::new("item", DataType::Struct(fields.clone()), true));
    let records = Arc::new(StructArray::try_new(fields, columns, None)?);
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), records, nulls)?))
}

/// The documents of a call, and whether they are one constant.
fn documents(args: &ScalarFunctionArgs) -> DataFusionResult<(ArrayRef, bool)> {
    let argument = args.args.first().ok_or_else(|| internal("a set over a document has an argument"))?;
    let constant = matches!(argument, ColumnarValue::Scalar(_));
    Ok((argument.to_array(if constant { 1 } else { args.number_rows })?, constant))
}

fn answer(lists: ArrayRef, constant: bool) -> DataFusionResult<ColumnarValue> {
    Ok(if constant { ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?) } else { ColumnarValue::Array(lists) })
}

/// The records that a definition list describes.
fn defined_records(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let function = call.name.trim_start_matches("records_of_");
    let (given, constant) = documents(args)?;
    let mut names = Vec::new();
    for name in args.args.iter().skip(1).step_by(2) {
        let ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))) = name else { return Err(internal("a column's name is a constant")) };
        names.push(name.as_str());
    }
    let types: Vec<SqlType> = call.arg_types.iter().skip(2).step_by(2).copied().collect();
    let columns: Vec<(&str, SqlType)> = names.into_iter().zip(types.iter().copied()).collect();
    let mut values: Vec<Vec<Datum>> = vec![Vec::new(); columns.len()];
    let mut lengths = Vec::with_capacity(given.len());
    for document in given.as_string::<i32>() {
        let records = records(document, function, &columns, &call.settings.format).map_err(raise)?;
        lengths.push(records.len());
        for record in records {
            for (column, value) in values.iter_mut().zip(record) {
                column.push(value);
            }
        }
    }
    let arrays = types.iter().zip(&values).map(|(ty, column)| array_from(*ty, column).map_err(raise_row));
    let arrays = arrays.collect::<DataFusionResult<Vec<_>>>()?;
    let arrow: Vec<DataType> = arrays.iter().map(|array| array.data_type().clone()).collect();
    answer(lists(fields_of(&arrow), arrays, lengths, None)?, constant)
}

fn records(
    document: Option<&str>,
    function: &str,
    columns: &[(&str, SqlType)],
    format: &FormatSettings,
) -> Result<Vec<Vec<Datum>>, ValueError> {
    let nothing = vec![Datum::Null; columns.len()];
    let wrong = |message: String| fail(SqlState::INVALID_PARAMETER_VALUE, message);
    let is_set = function.ends_with("set");
    let Some(document) = document else { return Ok(if is_set { Vec::new() } else { vec![nothing] }) };
    if !is_set {
        return match json_record::record_of(document, columns, format)? {
            Some(record) => Ok(vec![record]),
            None if json::type_of(document) == "array" => wrong("cannot call populate_composite on an array".to_owned()),
            None => wrong("cannot call populate_composite on a scalar".to_owned()),
        };
    }
    let Some(elements) = json::elements(document)? else {
        return match json::type_of(document) {
            _ if function.starts_with("jsonb") => wrong(format!("cannot call {function} on a non-array")),
            "object" => wrong(format!("cannot call {function} on an object")),
            _ => wrong(format!("cannot call {function} on a scalar")),
        };
    };
    let mut out = Vec::with_capacity(elements.len());
    for element in elements {
        match json_record::record_of(element, columns, format)? {
            Some(record) => out.push(record),
            None => return wrong(format!("argument of {function} must be an array of objects")),
        }
    }
    Ok(out)
}

/// The members of objects as pairs of texts.
fn each(call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
    let function = call.name.trim_start_matches("records_of_");
    let as_text = function.ends_with("_text");
    let (documents, constant) = documents(args)?;
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
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(keys)), Arc::new(StringArray::from(values))];
    let nulls = documents.nulls().cloned();
    answer(lists(fields_of(&[DataType::Utf8, DataType::Utf8]), columns, lengths, nulls)?, constant)
}

fn value_of(value: &str, as_text: bool) -> Result<Option<String>, ValueError> {
    if as_text { json::as_text(value) } else { Ok(Some(value.to_owned())) }
}
