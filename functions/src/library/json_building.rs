//! Documents from values: `to_json`, `json_build_object`, `json_object` and their relatives for jsonb.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use types::error::ValueError;
use types::json;

use crate::definition::{Args, Definition, fail, row, text};
use crate::literals::literal;
use crate::registry::call_hidden;
use crate::typed_expr::TypedExpr;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        row("to_json(anyelement) json", |a| text(document(a, 0))).stable(),
        row("to_jsonb(anyelement) jsonb", |a| json::to_jsonb(&document(a, 0)).map(Datum::Text)).stable(),
        row("row_to_json(record) json", |a| text(document(a, 0))).stable(),
        row("row_to_json(record,bool) json", |a| row_to_json(a, a.bool(1)?)).stable(),
        row(ROW_OF, row_of).nullable().stable().hidden(),
        row(ON_A_LINE, |a| text(format!("{LINE}{}", a.text(0)?))).hidden(),
    ];
    for ty in ["json", "jsonb"] {
        for args in ["", "variadic any"] {
            out.push(row(&format!("{ty}_build_array({args}) {ty}"), build_array).nullable().stable());
            out.push(row(&format!("{ty}_build_object({args}) {ty}"), build_object).nullable().stable());
        }
        out.push(row(&format!("{ty}_object(text[]) {ty}"), object_of_pairs));
        out.push(row(&format!("{ty}_object(text[],text[]) {ty}"), object_of_two));
    }
    out
}

/// Makes a row of names and values by turns.
const ROW_OF: &str = "row_of(variadic any) record";
/// Puts a document on a line of its own.
const ON_A_LINE: &str = "on_a_line(json) json";
/// How a document that `json_agg` puts on a line of its own begins.
pub(crate) const LINE: &str = "\n ";

/// A row as a value. It travels as its JSON document, which is all that functions want of a row; a row whose columns are all NULL is
/// NULL, as the row that an outer join adds is.
pub fn row_value(fields: Vec<(String, TypedExpr)>) -> TypedExpr {
    let mut args = Vec::with_capacity(2 * fields.len());
    let mut types = Vec::with_capacity(2 * fields.len());
    for (name, value) in fields {
        args.push(literal(&Datum::Text(name), Scalar::Text.into()).expr);
        types.extend([Scalar::Text.into(), value.ty.without_typmod()]);
        args.push(value.expr);
    }
    TypedExpr::new(call_hidden(ROW_OF, types, Scalar::Record.into(), args), Scalar::Record)
}

/// `json_agg` begins a line for each array and each row.
pub(crate) fn on_a_line(document: TypedExpr) -> TypedExpr {
    TypedExpr::new(call_hidden(ON_A_LINE, vec![document.ty], document.ty, vec![document.expr]), document.ty)
}

fn row_of(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.values.chunks_exact(2).all(|field| field[1].is_null()) && args.len() > 0 {
        return Ok(Datum::Null);
    }
    let mut members = Vec::with_capacity(args.len() / 2);
    for at in (0..args.len()).step_by(2) {
        members.push(format!("{}:{}", json::quote(args.text(at)?), document(args, at + 1)));
    }
    text(format!("{{{}}}", members.join(",")))
}

fn row_to_json(args: &Args<'_>, line_feeds: bool) -> Result<Datum, ValueError> {
    let written = document(args, 0);
    if !line_feeds {
        return text(written);
    }
    let members = json::members(&written)?.unwrap_or_default();
    let members: Vec<String> = members.into_iter().map(|(key, value)| format!("{}:{value}", json::quote(&key))).collect();
    text(format!("{{{}}}", members.join(",\n ")))
}

/// An argument as a `json`.
fn document(args: &Args<'_>, index: usize) -> String {
    json::from_datum(args.value(index), args.ty(index), &args.settings().format)
}

/// A text in JSON as a value of the result's type.
fn finish(args: &Args<'_>, document: String) -> Result<Datum, ValueError> {
    Ok(Datum::Text(if args.call.result.scalar == Scalar::Jsonb { json::to_jsonb(&document)? } else { document }))
}

fn build_array(args: &Args<'_>) -> Result<Datum, ValueError> {
    let elements: Vec<String> = (0..args.len()).map(|at| document(args, at)).collect();
    finish(args, format!("[{}]", elements.join(", ")))
}

fn build_object(args: &Args<'_>) -> Result<Datum, ValueError> {
    if !args.len().is_multiple_of(2) {
        return Err(ValueError::Other {
            sqlstate: SqlState::INVALID_PARAMETER_VALUE,
            message: "argument list must have even number of elements".to_owned(),
            detail: None,
            hint: Some(format!("The arguments of {}() must consist of alternating keys and values.", args.call.name)),
        });
    }
    let mut members = Vec::with_capacity(args.len() / 2);
    for at in (0..args.len()).step_by(2) {
        members.push(format!("{} : {}", key(args, at)?, document(args, at + 1)));
    }
    finish(args, format!("{{{}}}", members.join(", ")))
}

/// An argument as the key of an object.
fn key(args: &Args<'_>, index: usize) -> Result<String, ValueError> {
    let ty: SqlType = args.ty(index);
    if args.is_null(index) {
        let number = index + 1;
        return Err(if args.call.result.scalar == Scalar::Jsonb {
            ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("argument {number}: key must not be null"))
        } else {
            ValueError::Other {
                sqlstate: SqlState::INVALID_PARAMETER_VALUE,
                message: format!("argument {number} cannot be null"),
                detail: None,
                hint: Some("Object keys should be text.".to_owned()),
            }
        });
    }
    if ty.is_array || matches!(ty.scalar, Scalar::Json | Scalar::Jsonb | Scalar::Record) {
        return fail(SqlState::INVALID_PARAMETER_VALUE, "key value must be scalar, not array, composite, or json");
    }
    let written = document(args, index);
    Ok(if written.starts_with('"') { written } else { json::quote(&written) })
}

/// `json_object('{key, value, …}')`.
fn object_of_pairs(args: &Args<'_>) -> Result<Datum, ValueError> {
    let entries = args.array(0)?;
    if !entries.len().is_multiple_of(2) {
        return fail(SqlState::ARRAY_SUBSCRIPT_ERROR, "array must have even number of elements");
    }
    object(args, entries.chunks_exact(2).map(|pair| (&pair[0], &pair[1])))
}

/// `json_object(keys, values)`.
fn object_of_two(args: &Args<'_>) -> Result<Datum, ValueError> {
    let (keys, values) = (args.array(0)?, args.array(1)?);
    if keys.len() != values.len() {
        return fail(SqlState::ARRAY_SUBSCRIPT_ERROR, "mismatched array dimensions");
    }
    object(args, keys.iter().zip(values))
}

fn object<'a>(args: &Args<'_>, members: impl Iterator<Item = (&'a Datum, &'a Datum)>) -> Result<Datum, ValueError> {
    let mut written = Vec::new();
    for (key, value) in members {
        let Datum::Text(key) = key else {
            return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key");
        };
        let value = if let Datum::Text(value) = value { json::quote(value) } else { "null".to_owned() };
        written.push(format!("{} : {value}", json::quote(key)));
    }
    finish(args, format!("{{{}}}", written.join(", ")))
}
