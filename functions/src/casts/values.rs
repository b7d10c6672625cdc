//! Casts of single values.

use common::datum::Datum;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use types::error::ValueError;
use types::format_settings::FormatSettings;
use types::json_parse::{self, Json};
use types::{bits, datetime, decimal, text_input, text_output, typmod};

use super::paths;
use crate::context::CatalogLookup;
use crate::definition::{fail, from_report};

/// What a cast reads besides the value.
pub(crate) struct CastEnvironment<'a> {
    pub(crate) format: &'a FormatSettings,
    pub(crate) catalog: Option<&'a dyn CatalogLookup>,
    /// Written by the user: texts that are too long are cut.
    pub(crate) explicit: bool,
}

/// Casts a value and fits it to the target's modifier.
pub(crate) fn cast_value(value: &Datum, from: SqlType, to: SqlType, env: &CastEnvironment<'_>) -> Result<Datum, ValueError> {
    let plain = convert(value, from, to, env)?;
    if to.typmod < 0 { Ok(plain) } else { typmod::apply_typmod(plain, to, env.explicit) }
}

fn convert(value: &Datum, from: SqlType, to: SqlType, env: &CastEnvironment<'_>) -> Result<Datum, ValueError> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    if let (Datum::Array(elements), true, true) = (value, from.is_array, to.is_array) {
        return elements.try_map(|e| cast_value(e, from.element(), to.element(), env)).map(Datum::Array);
    }
    if from.without_typmod() == to.without_typmod() {
        return Ok(value.clone());
    }
    if paths::is_text(to) {
        return to_text(value, from, to, env);
    }
    if let (Datum::Text(text), true) = (value, paths::is_text(from)) {
        return from_text(text, from, to, env);
    }
    if let Some(number) = number_cast(value, from, to)? {
        return Ok(number);
    }
    if let Some(time) = datetime::cast(value, from, to.scalar, env.format) {
        return time;
    }
    match (value, from.scalar, to.scalar) {
        (Datum::Text(text), Scalar::Json, Scalar::Jsonb) => Ok(Datum::Text(json_parse::to_jsonb(text)?)),
        (Datum::Text(text), Scalar::Jsonb, Scalar::Json) => Ok(Datum::Text(text.clone())),
        (Datum::Text(text), Scalar::Jsonb, _) => jsonb_to(text, to, env),
        (Datum::Text(text), Scalar::Char, Scalar::Int4) => Ok(Datum::Int4(text.bytes().next().map_or(0, |b| i32::from(b.cast_signed())))),
        (Datum::Text(bits), Scalar::Bit | Scalar::Varbit, Scalar::Bit | Scalar::Varbit) => Ok(Datum::Text(bits.clone())),
        (Datum::Text(bits), Scalar::Bit, Scalar::Int8) => bits::to_integer(bits, 64, "bigint").map(Datum::Int8),
        (Datum::Text(bits), Scalar::Bit, Scalar::Int4) => {
            let number = bits::to_integer(bits, 32, "integer")?;
            Ok(Datum::Int4(i32::try_from(number).unwrap_or(0)))
        }
        (Datum::Int4(number), _, Scalar::Bit) => Ok(Datum::Text(bits::of_integer(i64::from(*number), bit_length(to)))),
        (Datum::Int8(number), _, Scalar::Bit) => Ok(Datum::Text(bits::of_integer(*number, bit_length(to)))),
        (Datum::Bytea(bytes), Scalar::Inet | Scalar::Cidr, Scalar::Inet | Scalar::Cidr) => {
            Ok(crate::library::networks::cast(bytes, to.scalar).unwrap_or(Datum::Null))
        }
        (Datum::Int4(number), _, Scalar::Char) => match i8::try_from(*number) {
            Ok(0) => Ok(Datum::Text(String::new())),
            Ok(byte) => Ok(Datum::Text(char::from(byte.cast_unsigned()).to_string())),
            Err(_) => Err(ValueError::out_of_range("\"char\"")),
        },
        _ => fail(SqlState::CANNOT_COERCE, format!("cannot cast type {from} to {to}")),
    }
}

/// How many bits a number becomes.
fn bit_length(ty: SqlType) -> usize {
    usize::try_from(ty.typmod).unwrap_or(1)
}

fn to_text(value: &Datum, from: SqlType, to: SqlType, env: &CastEnvironment<'_>) -> Result<Datum, ValueError> {
    let text = match value {
        Datum::Text(text) if from.scalar == Scalar::Bpchar => text.trim_end_matches(' ').to_owned(),
        Datum::Text(text) => text.clone(),
        // An address as a text shows its mask.
        Datum::Bytea(bytes) if matches!(from.scalar, Scalar::Inet | Scalar::Cidr) && !from.is_array => {
            types::network::Inet::from_bytes(bytes).map(|v| v.text(true)).unwrap_or_default()
        }
        Datum::Bool(value) => (if *value { "true" } else { "false" }).to_owned(),
        Datum::Oid(oid) if paths::is_registered(from.scalar) => object_text(*oid, from.scalar, env.catalog),
        _ => text_output::to_text(value, from, env.format),
    };
    Ok(Datum::Text(if to.scalar == Scalar::Name { text_input::truncate_name(&text).to_owned() } else { text }))
}

/// How a reg* value prints.
pub fn object_text(oid: u32, kind: Scalar, catalog: Option<&dyn CatalogLookup>) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    if kind == Scalar::Regtype
        && let Some(ty) = SqlType::from_oid(common::ids::Oid(oid))
    {
        return ty.plain_name();
    }
    catalog.and_then(|c| c.object_name(kind, oid)).unwrap_or_else(|| oid.to_string())
}

fn from_text(text: &str, from: SqlType, to: SqlType, env: &CastEnvironment<'_>) -> Result<Datum, ValueError> {
    let text = if from.scalar == Scalar::Bpchar { text.trim_end_matches(' ') } else { text };
    if paths::is_registered(to.scalar) && !to.is_array {
        return object_by_name(text, to.scalar, env.catalog);
    }
    // The modifier comes later, and then knows whether the cast is explicit.
    let bare = if to.scalar == Scalar::Interval { to } else { to.without_typmod() };
    text_input::parse(text, bare, env.format)
}

fn object_by_name(text: &str, kind: Scalar, catalog: Option<&dyn CatalogLookup>) -> Result<Datum, ValueError> {
    if text == "-" {
        return Ok(Datum::Oid(0));
    }
    if let Ok(oid) = text.parse::<u32>() {
        return Ok(Datum::Oid(oid));
    }
    if kind == Scalar::Regtype
        && let Some(ty) = text_input::type_by_name(text)
    {
        return Ok(Datum::Oid(ty.oid().0));
    }
    let found = match catalog {
        Some(catalog) => catalog.object_by_name(kind, text).map_err(from_report)?,
        None => return fail(SqlState::FEATURE_NOT_SUPPORTED, format!("looking up \"{text}\" outside a coordinator is not supported")),
    };
    found.map(Datum::Oid).ok_or_else(|| undefined_object(text, kind))
}

fn undefined_object(text: &str, kind: Scalar) -> ValueError {
    match kind {
        Scalar::Regclass => ValueError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{text}\" does not exist")),
        Scalar::Regproc => ValueError::new(SqlState::UNDEFINED_FUNCTION, format!("function \"{text}\" does not exist")),
        Scalar::Regnamespace => ValueError::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{text}\" does not exist")),
        Scalar::Regrole => ValueError::new(SqlState::UNDEFINED_OBJECT, format!("role \"{text}\" does not exist")),
        _ => ValueError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{text}\" does not exist")),
    }
}

/// A number of any type into another; `None` when one of them is no number.
fn number_cast(value: &Datum, from: SqlType, to: SqlType) -> Result<Option<Datum>, ValueError> {
    let to = to.scalar;
    Ok(Some(match value {
        Datum::Int2(v) => return integer_to(i64::from(*v), to),
        Datum::Int4(v) => return integer_to(i64::from(*v), to),
        Datum::Int8(v) => return integer_to(*v, to),
        Datum::Oid(v) => return integer_to(i64::from(*v), to),
        Datum::Float4(v) => match to {
            Scalar::Float8 => Datum::Float8(f64::from(*v)),
            Scalar::Numeric => Datum::Numeric(decimal::from_float4(*v)?),
            _ => return float_to_integer(f64::from(*v), to),
        },
        Datum::Float8(v) => match to {
            Scalar::Float4 => Datum::Float4(narrow(*v)?),
            Scalar::Numeric => Datum::Numeric(decimal::from_float8(*v)?),
            _ => return float_to_integer(*v, to),
        },
        Datum::Numeric(v) => return numeric_to(v, to),
        Datum::Bool(v) if from.scalar == Scalar::Bool && to == Scalar::Int4 => Datum::Int4(i32::from(*v)),
        _ => return Ok(None),
    }))
}

fn integer_to(value: i64, to: Scalar) -> Result<Option<Datum>, ValueError> {
    let range = |name: &str| ValueError::out_of_range(name);
    Ok(Some(match to {
        Scalar::Int2 => Datum::Int2(i16::try_from(value).map_err(|_| range("smallint"))?),
        Scalar::Int4 => Datum::Int4(i32::try_from(value).map_err(|_| range("integer"))?),
        Scalar::Int8 => Datum::Int8(value),
        Scalar::Float4 => Datum::Float4(value as f32),
        Scalar::Float8 => Datum::Float8(value as f64),
        Scalar::Numeric => Datum::Numeric(Numeric::from(value)),
        Scalar::Bool => Datum::Bool(value != 0),
        to if paths::is_object(to) => {
            // int4 wraps into an oid, as in PostgreSQL.
            let oid = u32::try_from(value).ok().or_else(|| i32::try_from(value).ok().map(i32::cast_unsigned));
            Datum::Oid(oid.ok_or_else(|| range("OID"))?)
        }
        _ => return Ok(None),
    }))
}

fn narrow(value: f64) -> Result<f32, ValueError> {
    let narrow = value as f32;
    if narrow.is_infinite() && value.is_finite() {
        return fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow");
    }
    if narrow == 0.0 && value != 0.0 {
        return fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow");
    }
    Ok(narrow)
}

fn float_to_integer(value: f64, to: Scalar) -> Result<Option<Datum>, ValueError> {
    let rounded = value.round_ties_even();
    let within = |low: f64, high: f64| rounded >= low && rounded < high;
    let range = |name: &str| Err(ValueError::out_of_range(name));
    Ok(Some(match to {
        Scalar::Int2 if within(-32_768.0, 32_768.0) => Datum::Int2(rounded as i16),
        Scalar::Int2 => return range("smallint"),
        Scalar::Int4 if within(-2_147_483_648.0, 2_147_483_648.0) => Datum::Int4(rounded as i32),
        Scalar::Int4 => return range("integer"),
        Scalar::Int8 if within(-9_223_372_036_854_775_808.0, 9_223_372_036_854_775_808.0) => Datum::Int8(rounded as i64),
        Scalar::Int8 => return range("bigint"),
        _ => return Ok(None),
    }))
}

fn numeric_to(value: &Numeric, to: Scalar) -> Result<Option<Datum>, ValueError> {
    Ok(Some(match to {
        Scalar::Float4 => Datum::Float4(decimal::to_float4(value)?),
        Scalar::Float8 => Datum::Float8(decimal::to_float8(value)?),
        Scalar::Int2 => Datum::Int2(decimal::to_int2(value)?),
        Scalar::Int4 => Datum::Int4(decimal::to_int4(value)?),
        Scalar::Int8 => Datum::Int8(decimal::to_int8(value)?),
        _ => return Ok(None),
    }))
}

fn jsonb_to(text: &str, to: SqlType, env: &CastEnvironment<'_>) -> Result<Datum, ValueError> {
    let json = json_parse::parse_jsonb(text)?;
    let wrong = |kind: &str| fail(SqlState::INVALID_PARAMETER_VALUE, format!("cannot cast jsonb {kind} to type {to}"));
    match (&json, to.scalar) {
        (Json::Bool(value), Scalar::Bool) => return Ok(Datum::Bool(*value)),
        (_, Scalar::Bool) => {}
        _ => {
            if let Some(number) = json.as_numeric() {
                return cast_value(&Datum::Numeric(number), Scalar::Numeric.into(), to, env);
            }
        }
    }
    match json {
        Json::Null => wrong("null"),
        Json::Bool(_) => wrong("boolean"),
        Json::String(_) => wrong("string"),
        Json::Array(_) => wrong("array"),
        Json::Object(_) => wrong("object"),
        Json::Number(_) => wrong("numeric"),
    }
}
