//! The operators and functions of json and jsonb, on their texts.
//!
//! Taking parts out works on the text itself, so that a part of a `json` comes out as it was written; a part of a canonical text is
//! canonical. What builds a new jsonb reads the texts into trees and writes the canonical text. The texts are values of their types:
//! they were checked when they were read, so an error here is the answer to a question that makes no sense for the value.

use common::sqlstate::SqlState;

pub use crate::json_change::{
    concat, delete_index, delete_key, delete_keys, delete_path, insert, pretty, set, strip_nulls, strip_nulls_of_json,
};
pub use crate::json_compare::{compare, contains, exists, exists_all, exists_any};
pub use crate::json_parse::{Json, key_order, parse_json, parse_jsonb, to_jsonb, validate, write_string};

use common::array::Dimension;
use common::datum::Datum;
use common::types::{Scalar, SqlType};

use crate::error::ValueError;
use crate::format_settings::{DateFormat, FormatSettings};
use crate::json_parse::Reader;
use crate::text_output;

/// 22023.
pub(crate) fn bad_argument(message: impl Into<String>) -> ValueError {
    ValueError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// The text of the value that a reader stands before.
fn value_text<'a>(text: &'a str, reader: &mut Reader<'_>) -> Result<&'a str, ValueError> {
    reader.skip_space();
    let from = reader.at();
    reader.skip_value(0)?;
    Ok(&text[from..reader.at()])
}

/// `typeof`: object, array, string, number, boolean or null.
pub fn type_of(text: &str) -> &'static str {
    match Reader::new(text, false).peek() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') | None => "null",
        Some(_) => "number",
    }
}

/// The members of an object in order, keys unescaped and values as they are written; `None` when it is no object.
pub fn members(text: &str) -> Result<Option<Vec<(String, &str)>>, ValueError> {
    let mut reader = Reader::new(text, true);
    if reader.peek() != Some(b'{') {
        return Ok(None);
    }
    let mut out = Vec::new();
    reader.each_member(|reader, key| {
        out.push((key, value_text(text, reader)?));
        Ok(())
    })?;
    Ok(Some(out))
}

/// The elements of an array as they are written; `None` when it is no array.
pub fn elements(text: &str) -> Result<Option<Vec<&str>>, ValueError> {
    let mut reader = Reader::new(text, false);
    if reader.peek() != Some(b'[') {
        return Ok(None);
    }
    let mut out = Vec::new();
    reader.each_element(|reader| {
        out.push(value_text(text, reader)?);
        Ok(())
    })?;
    Ok(Some(out))
}

/// `json -> 'key'`; of equal keys the last.
pub fn get_field<'a>(text: &'a str, key: &str) -> Result<Option<&'a str>, ValueError> {
    let mut reader = Reader::new(text, true);
    if reader.peek() != Some(b'{') {
        return Ok(None);
    }
    let mut found = None;
    reader.each_member(|reader, name| {
        let value = value_text(text, reader)?;
        if name == key {
            found = Some(value);
        }
        Ok(())
    })?;
    Ok(found)
}

/// `json -> index`, from the end for a negative one.
pub fn get_element(text: &str, index: i32) -> Result<Option<&str>, ValueError> {
    let Some(all) = elements(text)? else { return Ok(None) };
    Ok(position(index, all.len()).map(|at| all[at]))
}

/// `jsonb -> index`: a scalar counts as an array of itself.
pub fn get_element_of_jsonb(text: &str, index: i32) -> Result<Option<&str>, ValueError> {
    match type_of(text) {
        "object" => Ok(None),
        "array" => get_element(text, index),
        _ => Ok(matches!(index, 0 | -1).then_some(text)),
    }
}

fn position(index: i32, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let at = if index < 0 { length + i64::from(index) } else { i64::from(index) };
    usize::try_from(at).ok().filter(|_| at < length)
}

/// `json #> path`; a NULL in the path finds nothing.
pub fn get_path<'a>(text: &'a str, path: &[Option<&str>]) -> Result<Option<&'a str>, ValueError> {
    let mut at = trimmed(text);
    for step in path {
        let Some(step) = step else { return Ok(None) };
        let next = match type_of(at) {
            "object" => get_field(at, step)?,
            "array" => match path_index(step) {
                Some(index) => get_element(at, index)?,
                None => None,
            },
            _ => None,
        };
        let Some(next) = next else { return Ok(None) };
        at = next;
    }
    Ok(Some(at))
}

/// A path's step as an index, as C's strtol reads it.
pub(crate) fn path_index(step: &str) -> Option<i32> {
    step.trim_start_matches(|c: char| c.is_ascii_whitespace()).parse().ok()
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// A part as text, for `->>` and `#>>`: strings without quotes, NULL for null.
pub fn as_text(part: &str) -> Result<Option<String>, ValueError> {
    let part = trimmed(part);
    match type_of(part) {
        "null" => Ok(None),
        "string" => Reader::new(part, true).string().map(Some),
        _ => Ok(Some(part.to_owned())),
    }
}

/// `json_array_length`, `jsonb_array_length`.
pub fn array_length(text: &str) -> Result<i32, ValueError> {
    match elements(text)? {
        Some(all) => i32::try_from(all.len()).map_err(|_| ValueError::out_of_range("integer")),
        None if type_of(text) == "object" => Err(bad_argument("cannot get array length of a non-array")),
        None => Err(bad_argument("cannot get array length of a scalar")),
    }
}

/// `json_object_keys` and `jsonb_object_keys`, by the name of the function.
pub fn object_keys(text: &str, function: &str) -> Result<Vec<String>, ValueError> {
    match members(text)? {
        Some(all) => Ok(all.into_iter().map(|(key, _)| key).collect()),
        None if type_of(text) == "array" => Err(bad_argument(format!("cannot call {function} on an array"))),
        None => Err(bad_argument(format!("cannot call {function} on a scalar"))),
    }
}

/// `json_each` and its relatives, by the name of the function; the values as they are written.
pub fn each<'a>(text: &'a str, function: &str) -> Result<Vec<(String, &'a str)>, ValueError> {
    match members(text)? {
        Some(all) => Ok(all),
        None if function.starts_with("jsonb") => Err(bad_argument(format!("cannot call {function} on a non-object"))),
        None if type_of(text) == "array" => Err(bad_argument("cannot deconstruct an array as an object")),
        None => Err(bad_argument("cannot deconstruct a scalar")),
    }
}

/// `json_array_elements` and its relatives, by the name of the function; the values as they are written.
pub fn array_elements<'a>(text: &'a str, function: &str) -> Result<Vec<&'a str>, ValueError> {
    let is_object = type_of(text) == "object";
    match elements(text)? {
        Some(all) => Ok(all),
        None if function.starts_with("jsonb") => {
            Err(bad_argument(if is_object { "cannot extract elements from an object" } else { "cannot extract elements from a scalar" }))
        }
        None if is_object => Err(bad_argument(format!("cannot call {function} on a non-array"))),
        None => Err(bad_argument(format!("cannot call {function} on a scalar"))),
    }
}

/// A string as JSON.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

/// `to_json`: any value as a `json`. [`to_jsonb`] of it is `to_jsonb` of the value.
pub fn from_datum(value: &Datum, ty: SqlType, settings: &FormatSettings) -> String {
    let mut out = String::new();
    write_datum(value, ty, settings, &mut out);
    out
}

fn write_datum(value: &Datum, ty: SqlType, settings: &FormatSettings, out: &mut String) {
    match value {
        Datum::Null => out.push_str("null"),
        Datum::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Datum::Array(elements) => {
            write_array(elements.dimensions(), &mut elements.iter(), ty.element(), settings, out);
        }
        // A row travels as its document.
        Datum::Text(text) if matches!(ty.scalar, Scalar::Json | Scalar::Jsonb | Scalar::Record) => out.push_str(text),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Float4(_) | Datum::Float8(_) | Datum::Numeric(_)
            if !matches!(ty.scalar, Scalar::Enum(_)) =>
        {
            let text = text_output::to_text(value, ty, settings);
            // NaN and the infinities are no JSON numbers.
            if text.ends_with(|c: char| c.is_ascii_digit()) { out.push_str(&text) } else { write_string(&text, out) }
        }
        Datum::Date(_) | Datum::Timestamp(_) => {
            let iso = FormatSettings { date_format: DateFormat::Iso, ..*settings };
            let mut text = text_output::to_text(value, ty, &iso);
            if let (Some(blank), false) = (text.find(' '), ty.scalar == Scalar::Date) {
                text.replace_range(blank..=blank, "T");
            }
            if ty.scalar == Scalar::Timestamptz {
                complete_offset(&mut text);
            }
            write_string(&text, out);
        }
        other => write_string(&text_output::to_text(other, ty, settings), out),
    }
}

fn write_array<'a>(
    dimensions: &[Dimension],
    elements: &mut impl Iterator<Item = &'a Datum>,
    ty: SqlType,
    settings: &FormatSettings,
    out: &mut String,
) {
    out.push('[');
    if let Some((outer, inner)) = dimensions.split_first() {
        for at in 0..outer.length {
            if at > 0 {
                out.push(',');
            }
            if inner.is_empty() {
                write_datum(elements.next().unwrap_or(&Datum::Null), ty, settings, out);
            } else {
                write_array(inner, elements, ty, settings, out);
            }
        }
    }
    out.push(']');
}

/// ISO 8601 wants minutes in an offset: `+02` becomes `+02:00`.
fn complete_offset(text: &mut String) {
    let Some(clock) = text.find('T') else { return };
    let Some(sign) = text[clock..].find(['+', '-']).map(|at| clock + at) else { return };
    let end = text[sign..].find(' ').map_or(text.len(), |at| sign + at);
    if end - sign == 3 {
        text.insert_str(end, ":00");
    }
}
