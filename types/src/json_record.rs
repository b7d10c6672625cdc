//! Documents as values of SQL types: what `json_to_record` makes of a member.

use common::array::Array;
use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};

use crate::error::ValueError;
use crate::format_settings::FormatSettings;
use crate::{json, text_input, typmod};

/// A part of a document as a value of `ty`: null is NULL, a string is read as a literal of the type is, an array becomes an array, and
/// anything else is read as it is written.
pub fn value_of(part: &str, ty: SqlType, settings: &FormatSettings) -> Result<Datum, ValueError> {
    let kind = json::type_of(part);
    if kind == "null" {
        return Ok(Datum::Null);
    }
    if ty.is_array && kind != "string" {
        let elements =
            json::elements(part)?.ok_or_else(|| ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, "expected JSON array"))?;
        let values = elements.into_iter().map(|element| value_of(element, ty.element(), settings));
        return values.collect::<Result<Array, _>>().map(Datum::Array);
    }
    match (ty.scalar, ty.is_array) {
        (Scalar::Json, false) => return Ok(Datum::Text(part.to_owned())),
        (Scalar::Jsonb, false) => return json::to_jsonb(part).map(Datum::Text),
        _ => {}
    }
    let text = json::as_text(part)?.unwrap_or_default();
    let bare = if ty.scalar == Scalar::Interval { ty } else { ty.without_typmod() };
    typmod::apply_typmod(text_input::parse(&text, bare, settings)?, ty, false)
}

/// The values of an object's members by name; NULL for a column without a member; `None` when it is no object.
pub fn record_of(document: &str, columns: &[(&str, SqlType)], settings: &FormatSettings) -> Result<Option<Vec<Datum>>, ValueError> {
    let Some(members) = json::members(document)? else { return Ok(None) };
    let value = |(name, ty): &(&str, SqlType)| match members.iter().rev().find(|(key, _)| key == name) {
        Some((_, part)) => value_of(part, *ty, settings),
        None => Ok(Datum::Null),
    };
    columns.iter().map(value).collect::<Result<_, _>>().map(Some)
}
