//! Documents from values: `to_json`, `json_build_object`, `json_object` and their relatives for jsonb.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use types::error::ValueError;
use types::json;

use crate::definition::{Args, Definition, fail, row, text};

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        row("to_json(anyelement) json", |a| text(document(a, 0))).stable(),
        row("to_jsonb(anyelement) jsonb", |a| json::to_jsonb(&document(a, 0)).map(Datum::Text)).stable(),
    ];
    for ty in ["json", "jsonb"] {
        out.push(row(&format!("{ty}_build_array(variadic any) {ty}"), build_array).nullable().stable());
        out.push(row(&format!("{ty}_build_object(variadic any) {ty}"), build_object).nullable().stable());
        out.push(row(&format!("{ty}_object(text[]) {ty}"), object_of_pairs));
        out.push(row(&format!("{ty}_object(text[],text[]) {ty}"), object_of_two));
    }
    out
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
    if args.len() % 2 != 0 {
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
    if entries.len() % 2 != 0 {
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
