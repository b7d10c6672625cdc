//! Reading values from text: literals, parameters in text format, fields of COPY.

use bytes::Bytes;
use common::datum::Datum;
use common::enums::EnumType;
use common::numeric::{MAX_DISPLAY_SCALE, Numeric};
use common::sqlstate::SqlState;
use common::types::{SCALARS, Scalar, SqlType};

use crate::datetime_parse;
use crate::datetime_tokens::is_space;
use crate::error::ValueError;
use crate::format_settings::FormatSettings;
use crate::interval_text;
use crate::json_parse;
use crate::jsonpath::Path;
use crate::typmod::apply_typmod;
use crate::{bits, byte_forms};

/// The most digits that a numeric has before the point.
const NUMERIC_WHOLE_DIGITS_MAX: usize = 131_072;
/// The most bytes of a value of type name.
const NAME_BYTES_MAX: usize = 63;

/// Reads a value of a type from its text form and fits it to the type's modifier as an assignment does.
pub fn parse(text: &str, ty: SqlType, settings: &FormatSettings) -> Result<Datum, ValueError> {
    if ty.is_array {
        return crate::array_text::parse(text, ty, settings);
    }
    let value = parse_scalar(text, ty, settings)?;
    if ty.typmod < 0 || ty.scalar == Scalar::Interval {
        return Ok(value);
    }
    apply_typmod(value, ty, false)
}

fn parse_scalar(text: &str, ty: SqlType, settings: &FormatSettings) -> Result<Datum, ValueError> {
    Ok(match ty.scalar {
        Scalar::Bool => Datum::Bool(parse_bool(text)?),
        Scalar::Int2 => Datum::Int2(parse_integer(text, "smallint")?),
        Scalar::Int4 => Datum::Int4(parse_integer(text, "integer")?),
        Scalar::Int8 => Datum::Int8(parse_integer(text, "bigint")?),
        Scalar::Float4 => Datum::Float4(parse_float4(text)?),
        Scalar::Float8 => Datum::Float8(parse_float8(text)?),
        Scalar::Numeric => Datum::Numeric(parse_numeric(text)?),
        Scalar::Text | Scalar::Varchar | Scalar::Bpchar | Scalar::Unknown => Datum::Text(text.to_owned()),
        Scalar::Name => Datum::Text(truncate_name(text).to_owned()),
        Scalar::Char => Datum::Text(parse_char(text)),
        Scalar::Bytea => Datum::Bytea(parse_bytea(text)?),
        Scalar::Uuid => Datum::Uuid(parse_uuid(text).ok_or_else(|| ValueError::syntax("uuid", text))?),
        Scalar::Date => Datum::Date(datetime_parse::parse_date(text, settings)?),
        Scalar::Time => Datum::Time(datetime_parse::parse_time(text, settings)?),
        Scalar::Timestamp => Datum::Timestamp(datetime_parse::parse_timestamp(text, settings)?),
        Scalar::Timestamptz => Datum::Timestamp(datetime_parse::parse_timestamptz(text, settings)?),
        Scalar::Interval => Datum::Interval(interval_text::parse(text, ty.typmod, settings.interval_style)?),
        Scalar::Json => {
            json_parse::validate(text)?;
            Datum::Text(text.to_owned())
        }
        Scalar::Jsonb => Datum::Text(json_parse::to_jsonb(text)?),
        Scalar::Jsonpath => Datum::Text(Path::parse(text)?.to_string()),
        Scalar::Oid => Datum::Oid(parse_oid(text)?),
        Scalar::Regproc | Scalar::Regclass | Scalar::Regtype | Scalar::Regnamespace | Scalar::Regrole => {
            Datum::Oid(parse_reg(text, ty.scalar)?)
        }
        Scalar::Bit | Scalar::Varbit => Datum::Text(bits::parse(text)?),
        Scalar::Timetz | Scalar::Inet | Scalar::Cidr | Scalar::Macaddr | Scalar::Range(_) => {
            byte_forms::parse(text, ty.scalar, settings)?.unwrap_or(Datum::Null)
        }
        Scalar::Enum(ty) => parse_enum(text, ty)?,
        Scalar::Void => Datum::Null,
        Scalar::Record => {
            return Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, "input of anonymous composite types is not implemented"));
        }
    })
}

/// A label of an enum.
pub fn parse_enum(text: &str, ty: EnumType) -> Result<Datum, ValueError> {
    let definition = ty.definition();
    definition.label_named(text).map(|label| Datum::Int8(label.value)).ok_or_else(|| {
        let message = format!("invalid input value for enum {}: \"{text}\"", definition.display_name);
        ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    })
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii() && is_space(c as u8))
}

/// `true`, `yes`, `on`, `1` and their opposites, also shortened as long as that is clear.
pub fn parse_bool(text: &str) -> Result<bool, ValueError> {
    let word = trim(text).to_ascii_lowercase();
    let is_prefix = |full: &str| !word.is_empty() && full.starts_with(&word);
    if is_prefix("true") || is_prefix("yes") || word == "on" || word == "1" {
        Ok(true)
    } else if is_prefix("false") || is_prefix("no") || word == "of" || word == "off" || word == "0" {
        Ok(false)
    } else {
        Err(ValueError::syntax("boolean", text))
    }
}

/// A whole number of a type by its name.
pub fn parse_integer<T: TryFrom<i64>>(text: &str, type_name: &str) -> Result<T, ValueError> {
    let digits = trim(text);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ValueError::syntax(type_name, text));
    }
    let value = digits.parse::<i64>().ok().and_then(|v| T::try_from(v).ok());
    value.ok_or_else(|| {
        ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type {type_name}"))
    })
}

fn parse_oid(text: &str) -> Result<u32, ValueError> {
    let value: i64 = parse_integer(text, "oid")?;
    // A negative number means the same bits, as in C.
    u32::try_from(value)
        .ok()
        .or_else(|| i32::try_from(value).ok().map(i32::cast_unsigned))
        .ok_or_else(|| ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type oid")))
}

/// What the catalog must resolve is refused with the words for a name that does not exist; types are known here.
fn parse_reg(text: &str, scalar: Scalar) -> Result<u32, ValueError> {
    if text == "-" {
        return Ok(0);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return parse_oid(text);
    }
    let (sqlstate, kind) = match scalar {
        Scalar::Regclass => (SqlState::UNDEFINED_TABLE, "relation"),
        Scalar::Regproc => (SqlState::UNDEFINED_FUNCTION, "function"),
        Scalar::Regnamespace => (SqlState::INVALID_SCHEMA_NAME, "schema"),
        Scalar::Regrole => (SqlState::UNDEFINED_OBJECT, "role"),
        _ => {
            if let Some(ty) = type_by_name(text) {
                return Ok(ty.oid().0);
            }
            (SqlState::UNDEFINED_OBJECT, "type")
        }
    };
    Err(ValueError::new(sqlstate, format!("{kind} \"{text}\" does not exist")))
}

/// The type that a plain name (either pg_type's or SQL's, with `[]` for the array) stands for, without a modifier.
pub fn type_by_name(name: &str) -> Option<SqlType> {
    let name = trim(name).to_ascii_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    let (base, is_array) = match name.strip_suffix("[]") {
        Some(base) => (trim(base), true),
        None => (name, false),
    };
    let base = match base {
        "int" => "integer",
        "decimal" => "numeric",
        "float" => "double precision",
        "char" => "character",
        other => other,
    };
    let row = SCALARS.iter().find(|row| row.4 == base).or_else(|| SCALARS.iter().find(|row| row.3 == base))?;
    Some(SqlType { scalar: row.0, is_array, typmod: -1 })
}

fn float_out_of_range(text: &str, type_name: &str) -> ValueError {
    ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{text}\" is out of range for type {type_name}"))
}

/// Whether a text is a number in the decimal form, and not only a word that Rust takes for one.
fn is_decimal(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    rest.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

/// Whether a decimal has a digit other than zero before its exponent.
fn is_nonzero(text: &str) -> bool {
    text.bytes().take_while(|b| !b.eq_ignore_ascii_case(&b'e')).any(|b| matches!(b, b'1'..=b'9'))
}

/// A double.
pub fn parse_float8(text: &str) -> Result<f64, ValueError> {
    let number = trim(text);
    if !is_decimal(number) {
        return special_float(number).ok_or_else(|| ValueError::syntax("double precision", text));
    }
    let value: f64 = number.parse().map_err(|_| ValueError::syntax("double precision", text))?;
    if value.is_infinite() || value == 0.0 && is_nonzero(number) {
        return Err(float_out_of_range(number, "double precision"));
    }
    Ok(value)
}

/// A single float.
pub fn parse_float4(text: &str) -> Result<f32, ValueError> {
    let number = trim(text);
    if !is_decimal(number) {
        return special_float(number).map(|v| v as f32).ok_or_else(|| ValueError::syntax("real", text));
    }
    let value: f32 = number.parse().map_err(|_| ValueError::syntax("real", text))?;
    if value.is_infinite() || value == 0.0 && is_nonzero(number) {
        return Err(float_out_of_range(number, "real"));
    }
    Ok(value)
}

fn special_float(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "infinity" | "+infinity" | "inf" | "+inf" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A numeric without a modifier.
pub fn parse_numeric(text: &str) -> Result<Numeric, ValueError> {
    let number = trim(text);
    let overflows = || ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format");
    let value: Numeric = match number.parse() {
        Ok(value) => value,
        Err(_) if has_huge_exponent(number) => return Err(overflows()),
        Err(_) => return Err(ValueError::syntax("numeric", text)),
    };
    if let Numeric::Finite(finite) = &value {
        let scale = finite.fractional_digit_count();
        if scale > i64::from(MAX_DISPLAY_SCALE) || crate::decimal::whole_digits(finite) > NUMERIC_WHOLE_DIGITS_MAX as i64 {
            return Err(overflows());
        }
    }
    Ok(value)
}

/// Whether a text would be a number if its exponent were smaller.
fn has_huge_exponent(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else { return false };
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    mantissa.parse::<Numeric>().is_ok() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// The part of a text that fits into a name.
pub fn truncate_name(text: &str) -> &str {
    let mut cut = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    &text[..cut]
}

/// The one-byte type: a byte, or `\ooo` for one that is no ASCII.
fn parse_char(text: &str) -> String {
    let bytes = text.as_bytes();
    if let [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7'] = bytes {
        let byte = (high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0');
        return if byte.is_ascii() && byte != 0 {
            char::from(byte).to_string()
        } else if byte == 0 {
            String::new()
        } else {
            text.to_owned()
        };
    }
    match bytes.first() {
        None => String::new(),
        Some(byte) if byte.is_ascii() => char::from(*byte).to_string(),
        Some(byte) => format!("\\{byte:o}"),
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Bytes in hex (`\x…`, blanks allowed between pairs) or with octal escapes.
pub fn parse_bytea(text: &str) -> Result<Bytes, ValueError> {
    let bad = |message: String| ValueError::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() / 2);
    if let Some(hex) = text.strip_prefix("\\x") {
        let mut high = None;
        for c in hex.chars() {
            if high.is_none() && matches!(c, ' ' | '\n' | '\t' | '\r') {
                continue;
            }
            let digit = c.is_ascii().then(|| hex_digit(c as u8)).flatten();
            let digit = digit.ok_or_else(|| bad(format!("invalid hexadecimal digit: \"{c}\"")))?;
            match high.take() {
                None => high = Some(digit),
                Some(first) => out.push(first << 4 | digit),
            }
        }
        if high.is_some() {
            return Err(bad("invalid hexadecimal data: odd number of digits".to_owned()));
        }
        return Ok(out.into());
    }
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return Ok(out.into()),
            [b'\\', b'\\', tail @ ..] => {
                out.push(b'\\');
                tail
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            [b'\\', ..] => {
                return Err(ValueError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea"));
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}

/// 32 hexadecimal digits, with hyphens after any group of four, and braces around if one likes.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut rest = text.as_bytes();
    let braced = rest.first() == Some(&b'{');
    if braced {
        rest = &rest[1..];
    }
    let mut out = [0; 16];
    for (i, byte) in out.iter_mut().enumerate() {
        let (&[high, low], tail) = rest.split_first_chunk::<2>()?;
        *byte = hex_digit(high)? << 4 | hex_digit(low)?;
        rest = tail;
        if i % 2 == 1 && i < 15 && rest.first() == Some(&b'-') {
            rest = &rest[1..];
        }
    }
    if braced {
        rest = rest.strip_prefix(b"}")?;
    }
    rest.is_empty().then_some(out)
}
