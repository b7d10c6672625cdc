//! The text forms of values, as `SELECT` prints them and as the wire protocol's text format carries them.

use common::array::Dimension;
use common::datum::Datum;
use common::numeric::Numeric;
use common::row::{ArrayReader, Field, stored_element};
use common::types::{Scalar, SqlType};
use num_traits::Signed;

use crate::byte_forms;
use crate::datetime_print::{write_date, write_time, write_timestamp, write_timestamptz};
use crate::format_settings::{ByteaOutput, FormatSettings};
use crate::interval_text;

/// Significant digits that a double and a single float are sure to keep.
const FLOAT8_DIGITS: i32 = 15;
const FLOAT4_DIGITS: i32 = 6;

/// Appends the text of a value; NULL appends nothing.
pub fn write(value: &Datum, ty: SqlType, settings: &FormatSettings, out: &mut Vec<u8>) {
    match value {
        Datum::Null => {}
        Datum::Bool(v) => out.push(if *v { b't' } else { b'f' }),
        Datum::Int2(v) => put_integer(*v, out),
        Datum::Int4(v) => put_integer(*v, out),
        Datum::Int8(v) if let Scalar::Enum(_) = ty.scalar => write_label(*v, ty, out),
        Datum::Int8(v) => put_integer(*v, out),
        Datum::Float4(v) => format_float4(*v, settings.extra_float_digits, out),
        Datum::Float8(v) => format_float8(*v, settings.extra_float_digits, out),
        Datum::Numeric(v) => write_numeric(v, out),
        Datum::Text(v) => out.extend_from_slice(v.as_bytes()),
        Datum::Bytea(v) if byte_forms::write_text(v, ty, settings, out) => {}
        Datum::Bytea(v) => write_bytea(v, settings.bytea_output, out),
        Datum::Uuid(v) => write_uuid(v, out),
        Datum::Date(v) => write_date(*v, settings, out),
        Datum::Time(v) => write_time(*v, out),
        Datum::Timestamp(v) if ty.scalar == Scalar::Timestamptz => write_timestamptz(*v, settings, out),
        Datum::Timestamp(v) => write_timestamp(*v, settings, out),
        Datum::Interval(v) => interval_text::write(*v, settings.interval_style, out),
        Datum::Oid(v) => write_oid(*v, ty, out),
        Datum::Array(array) => write_array(array.dimensions(), array.iter().map(Element::Datum), ty.element(), settings, out),
    }
}

/// Appends the text of a stored column; NULL appends nothing.
#[inline]
pub fn write_field(field: &Field<'_>, ty: SqlType, settings: &FormatSettings, out: &mut Vec<u8>) {
    match field {
        Field::Null => {}
        Field::Bool(v) => out.push(if *v { b't' } else { b'f' }),
        Field::Int2(v) => put_integer(*v, out),
        Field::Int4(v) => put_integer(*v, out),
        Field::Int8(v) if let Scalar::Enum(_) = ty.scalar => write_label(*v, ty, out),
        Field::Int8(v) => put_integer(*v, out),
        Field::Float4(v) => format_float4(*v, settings.extra_float_digits, out),
        Field::Float8(v) => format_float8(*v, settings.extra_float_digits, out),
        Field::Unscaled(v) => {
            let scale = ty.numeric_precision_scale().map_or(0, |(_, scale)| scale);
            put_unscaled(*v, usize::try_from(scale).unwrap_or(0), out);
        }
        Field::Numeric(form) => {
            if let Some((value, _)) = Numeric::from_sortable(form) {
                write_numeric(&value, out);
            }
        }
        Field::Text(v) => out.extend_from_slice(v.as_bytes()),
        Field::Bytea(v) if byte_forms::write_text(v, ty, settings, out) => {}
        Field::Bytea(v) => write_bytea(v, settings.bytea_output, out),
        Field::Uuid(v) => write_uuid(v, out),
        Field::Date(v) => write_date(*v, settings, out),
        Field::Time(v) => write_time(*v, out),
        Field::Timestamp(v) if ty.scalar == Scalar::Timestamptz => write_timestamptz(*v, settings, out),
        Field::Timestamp(v) => write_timestamp(*v, settings, out),
        Field::Interval(v) => interval_text::write(*v, settings.interval_style, out),
        Field::Oid(v) => write_oid(*v, ty, out),
        Field::Array(row) => {
            let Ok(ArrayReader { dimensions, elements: mut reader }) = ArrayReader::new(row) else { return };
            let stored = stored_element(ty);
            let elements = std::iter::from_fn(|| reader.next_field(stored).ok().flatten().map(Element::Field));
            write_array(&dimensions, elements, stored, settings, out);
        }
    }
}

/// The text of a value as a string; empty for NULL.
pub fn to_text(value: &Datum, ty: SqlType, settings: &FormatSettings) -> String {
    if let Datum::Text(text) = value {
        return text.clone();
    }
    let mut out = Vec::new();
    write(value, ty, settings, &mut out);
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The label of an enum's value. A value without a label cannot be; it prints as a number.
pub(crate) fn write_label(value: i64, ty: SqlType, out: &mut Vec<u8>) {
    match ty.scalar {
        Scalar::Enum(ty) if let Some(label) = ty.definition().label(value) => out.extend_from_slice(label.name.as_bytes()),
        _ => put_integer(value, out),
    }
}

fn put_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `unscaled × 10^-scale`.
fn put_unscaled(unscaled: i128, scale: usize, out: &mut Vec<u8>) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(unscaled.unsigned_abs()).as_bytes();
    put_digits(digits, scale, out);
}

/// Digits with a point before the last `scale` of them.
fn put_digits(digits: &[u8], scale: usize, out: &mut Vec<u8>) {
    if scale == 0 {
        return out.extend_from_slice(digits);
    }
    if digits.len() > scale {
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + scale - digits.len(), b'0');
        out.extend_from_slice(digits);
    }
}

/// Appends a numeric with all the digits of its display scale.
pub fn write_numeric(value: &Numeric, out: &mut Vec<u8>) {
    let finite = match value {
        Numeric::NaN => return out.extend_from_slice(b"NaN"),
        Numeric::Infinity => return out.extend_from_slice(b"Infinity"),
        Numeric::NegativeInfinity => return out.extend_from_slice(b"-Infinity"),
        Numeric::Finite(finite) => finite,
    };
    let (unscaled, scale) = finite.as_bigint_and_scale();
    let scale = usize::try_from(scale).unwrap_or(0);
    if let Ok(small) = i128::try_from(unscaled.as_ref()) {
        return put_unscaled(small, scale, out);
    }
    if unscaled.is_negative() {
        out.push(b'-');
    }
    put_digits(unscaled.magnitude().to_str_radix(10).as_bytes(), scale, out);
}

/// Appends a double: the shortest digits that read back as the same value when `extra_float_digits` is above 0, else 15 plus that many.
pub fn format_float8(value: f64, extra_float_digits: i32, out: &mut Vec<u8>) {
    if put_special_float(value, out) {
        return;
    }
    if extra_float_digits > 0 {
        // Whole numbers up to here print as integers do.
        if value.trunc() == value && value.abs() < 1e15 && (value != 0.0 || value.is_sign_positive()) {
            return put_integer(value as i64, out);
        }
        return put_decimal(ryu::Buffer::new().format_finite(value), FLOAT8_DIGITS, out);
    }
    let digits = (FLOAT8_DIGITS + extra_float_digits).max(1);
    put_decimal(&format!("{value:.*e}", (digits - 1) as usize), digits, out);
}

/// Appends a single float in the same way.
pub fn format_float4(value: f32, extra_float_digits: i32, out: &mut Vec<u8>) {
    if put_special_float(f64::from(value), out) {
        return;
    }
    if extra_float_digits > 0 {
        return put_decimal(ryu::Buffer::new().format_finite(value), FLOAT4_DIGITS, out);
    }
    let digits = (FLOAT4_DIGITS + extra_float_digits).max(1);
    put_decimal(&format!("{value:.*e}", (digits - 1) as usize), digits, out);
}

fn put_special_float(value: f64, out: &mut Vec<u8>) -> bool {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else {
        return false;
    }
    true
}

/// Lays out a decimal as C's `%g` does: plain when its exponent is from -4 to `limit` - 1, else with an exponent of two digits.
fn put_decimal(text: &str, limit: i32, out: &mut Vec<u8>) {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if unsigned.len() != text.len() {
        out.push(b'-');
    }
    let (mantissa, exponent) = unsigned.split_once('e').unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    // Where the point is, counted from the first digit.
    let mut point = whole.len() as i32 + exponent.parse::<i32>().unwrap_or(0);
    let zeros = digits.iter().take_while(|d| **d == b'0').count().min(digits.len() - 1);
    digits.drain(..zeros);
    point -= zeros as i32;
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    if digits == b"0" {
        return out.push(b'0');
    }
    let exponent = point - 1;
    if (-4..limit).contains(&exponent) {
        let length = digits.len() as i32;
        if point >= length {
            out.extend_from_slice(&digits);
            out.resize(out.len() + (point - length) as usize, b'0');
        } else {
            put_digits(&digits, (length - point) as usize, out);
        }
        return;
    }
    out.push(digits[0]);
    if digits.len() > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..]);
    }
    out.push(b'e');
    out.push(if exponent < 0 { b'-' } else { b'+' });
    crate::datetime_print::put_padded(i64::from(exponent.abs()), 2, out);
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends bytes in hex (`\x…`) or with octal escapes.
pub fn write_bytea(bytes: &[u8], form: ByteaOutput, out: &mut Vec<u8>) {
    match form {
        ByteaOutput::Hex => {
            out.reserve(2 + bytes.len() * 2);
            out.extend_from_slice(b"\\x");
            for byte in bytes {
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        ByteaOutput::Escape => {
            for &byte in bytes {
                match byte {
                    b'\\' => out.extend_from_slice(b"\\\\"),
                    0x20..=0x7e => out.push(byte),
                    _ => out.extend_from_slice(&[b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]),
                }
            }
        }
    }
}

fn write_uuid(uuid: &[u8; 16], out: &mut Vec<u8>) {
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

/// An identifier. Names of tables, functions and roles are the catalog's; a type's name is known here.
fn write_oid(oid: u32, ty: SqlType, out: &mut Vec<u8>) {
    if oid == 0 && ty.scalar != Scalar::Oid {
        return out.push(b'-');
    }
    match SqlType::from_oid(common::ids::Oid(oid)) {
        Some(named) if ty.scalar == Scalar::Regtype => out.extend_from_slice(named.plain_name().as_bytes()),
        _ => put_integer(oid, out),
    }
}

enum Element<'a> {
    Datum(&'a Datum),
    Field(Field<'a>),
}

fn write_array<'a>(
    dimensions: &[Dimension],
    mut elements: impl Iterator<Item = Element<'a>>,
    ty: SqlType,
    settings: &FormatSettings,
    out: &mut Vec<u8>,
) {
    if dimensions.is_empty() {
        return out.extend_from_slice(b"{}");
    }
    if dimensions.iter().any(|d| d.lower != 1) {
        for dimension in dimensions {
            out.push(b'[');
            put_integer(dimension.lower, out);
            out.push(b':');
            put_integer(dimension.upper(), out);
            out.push(b']');
        }
        out.push(b'=');
    }
    write_dimension(dimensions, &mut elements, ty, settings, out);
}

/// One pair of braces with what it holds.
fn write_dimension<'a>(
    dimensions: &[Dimension],
    elements: &mut impl Iterator<Item = Element<'a>>,
    ty: SqlType,
    settings: &FormatSettings,
    out: &mut Vec<u8>,
) {
    let Some((outer, inner)) = dimensions.split_first() else { return };
    out.push(b'{');
    for at in 0..outer.length {
        if at > 0 {
            out.push(b',');
        }
        if inner.is_empty() {
            let Some(element) = elements.next() else { break };
            write_element(element, ty, settings, out);
        } else {
            write_dimension(inner, elements, ty, settings, out);
        }
    }
    out.push(b'}');
}

fn write_element(element: Element<'_>, ty: SqlType, settings: &FormatSettings, out: &mut Vec<u8>) {
    let start = out.len();
    match element {
        Element::Datum(Datum::Null) | Element::Field(Field::Null) => return out.extend_from_slice(b"NULL"),
        Element::Datum(value) => write(value, ty, settings, out),
        Element::Field(field) => write_field(&field, ty, settings, out),
    }
    if needs_quotes(&out[start..]) {
        quote_tail(out, start);
    }
}

fn needs_quotes(text: &[u8]) -> bool {
    let special = |b: &u8| matches!(b, b'{' | b'}' | b'"' | b',' | b'\\') || crate::datetime_tokens::is_space(*b);
    text.is_empty() || text.eq_ignore_ascii_case(b"null") || text.iter().any(special)
}

/// Puts quotes around what stands from `start` on.
fn quote_tail(out: &mut Vec<u8>, start: usize) {
    let text = out.split_off(start);
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
