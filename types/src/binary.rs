//! The binary forms of the wire protocol and of COPY BINARY.
//!
//! All numbers are big-endian; dates and timestamps count from 2000-01-01; a numeric is digits of base 10000.

use bytes::Bytes;
use common::array::{Array, DIMENSIONS_MAX, Dimension, element_count};
use common::datum::Datum;
use common::ids::Oid;
use common::interval::Interval;
use common::numeric::Numeric;
use common::row::{ArrayReader, Field, stored_element};
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};

use crate::byte_forms;
use crate::calendar::{
    DATE_INFINITY, DATE_NEGATIVE_INFINITY, DAY, DAYS_TO_2000, INFINITY, MICROS_TO_2000, NEGATIVE_INFINITY, is_date, is_timestamp,
};
use crate::error::ValueError;
use crate::json_parse;
use crate::network::Inet;
use crate::text_output::write_label;
use crate::timetz::TimeTz;
use crate::typmod::apply_typmod;
use crate::{array, bits, decimal, range, range_text, text_input};

/// Before the text of a jsonb.
const JSONB_VERSION: u8 = 1;
/// Sign words of a numeric.
const NUMERIC_NEGATIVE: u16 = 0x4000;
const NUMERIC_NAN: u16 = 0xc000;
const NUMERIC_INFINITY: u16 = 0xd000;
const NUMERIC_NEGATIVE_INFINITY: u16 = 0xf000;

/// Appends the binary form of a value, without a length; NULL appends nothing.
pub fn write(value: &Datum, ty: SqlType, out: &mut Vec<u8>) {
    match value {
        Datum::Null => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Int4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Int8(v) if let Scalar::Enum(_) = ty.scalar => write_label(*v, ty, out),
        Datum::Int8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Float4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Float8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Numeric(v) => write_numeric(v, out),
        Datum::Text(v) => write_text(v, ty, out),
        Datum::Bytea(v) if byte_forms::write_binary(v, ty, out) => {}
        Datum::Bytea(v) => out.extend_from_slice(v),
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Date(v) => write_date(*v, out),
        Datum::Time(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Timestamp(v) => write_timestamp(*v, out),
        Datum::Interval(v) => write_interval(*v, out),
        Datum::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Array(elements) => {
            let head = begin_array(ty.element(), elements.dimensions(), out);
            for element in elements.iter() {
                if element.is_null() {
                    put_null(head, out);
                } else {
                    let start = begin_element(out);
                    write(element, ty.element(), out);
                    end_element(start, out);
                }
            }
        }
    }
}

/// Appends the binary form of a stored column; NULL appends nothing.
pub fn write_field(field: &Field<'_>, ty: SqlType, out: &mut Vec<u8>) {
    match field {
        Field::Null => {}
        Field::Bool(v) => out.push(u8::from(*v)),
        Field::Int2(v) => out.extend_from_slice(&v.to_be_bytes()),
        Field::Int4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Field::Int8(v) if let Scalar::Enum(_) = ty.scalar => write_label(*v, ty, out),
        Field::Int8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Field::Float4(v) => out.extend_from_slice(&v.to_be_bytes()),
        Field::Float8(v) => out.extend_from_slice(&v.to_be_bytes()),
        Field::Unscaled(v) => {
            let scale = ty.numeric_precision_scale().and_then(|(_, scale)| i8::try_from(scale).ok());
            write_numeric(&Numeric::from_unscaled(*v, scale.unwrap_or(0)), out);
        }
        Field::Numeric(form) => {
            if let Some((value, _)) = Numeric::from_sortable(form) {
                write_numeric(&value, out);
            }
        }
        Field::Text(v) => write_text(v, ty, out),
        Field::Bytea(v) if byte_forms::write_binary(v, ty, out) => {}
        Field::Bytea(v) => out.extend_from_slice(v),
        Field::Uuid(v) => out.extend_from_slice(*v),
        Field::Date(v) => write_date(*v, out),
        Field::Time(v) => out.extend_from_slice(&v.to_be_bytes()),
        Field::Timestamp(v) => write_timestamp(*v, out),
        Field::Interval(v) => write_interval(*v, out),
        Field::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Field::Array(row) => {
            let Ok(mut reader) = ArrayReader::new(row) else { return };
            let head = begin_array(ty.element(), &reader.dimensions, out);
            let stored = stored_element(ty);
            while let Ok(Some(element)) = reader.elements.next_field(stored) {
                if element == Field::Null {
                    put_null(head, out);
                } else {
                    let start = begin_element(out);
                    write_field(&element, stored, out);
                    end_element(start, out);
                }
            }
        }
    }
}

fn write_text(text: &str, ty: SqlType, out: &mut Vec<u8>) {
    match ty.scalar {
        // Both begin with a version, which is 1.
        Scalar::Bit | Scalar::Varbit => return bits::write_binary(text, out),
        Scalar::Jsonb | Scalar::Jsonpath => out.push(JSONB_VERSION),
        // The one-byte type is one byte here even when it is none in text.
        Scalar::Char => match text.as_bytes() {
            [] => return out.push(0),
            [b'\\', digits @ ..] if digits.len() == 3 => {
                return out.push(digits.iter().fold(0_u8, |sum, d| sum.wrapping_mul(8).wrapping_add(d.wrapping_sub(b'0'))));
            }
            _ => {}
        },
        _ => {}
    }
    out.extend_from_slice(text.as_bytes());
}

fn write_date(days: i32, out: &mut Vec<u8>) {
    let shifted = match days {
        DATE_INFINITY | DATE_NEGATIVE_INFINITY => days,
        finite => finite.saturating_sub(DAYS_TO_2000),
    };
    out.extend_from_slice(&shifted.to_be_bytes());
}

fn write_timestamp(micros: i64, out: &mut Vec<u8>) {
    let shifted = match micros {
        INFINITY | NEGATIVE_INFINITY => micros,
        finite => finite.saturating_sub(MICROS_TO_2000),
    };
    out.extend_from_slice(&shifted.to_be_bytes());
}

fn write_interval(value: Interval, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.micros.to_be_bytes());
    out.extend_from_slice(&value.days.to_be_bytes());
    out.extend_from_slice(&value.months.to_be_bytes());
}

fn write_numeric(value: &Numeric, out: &mut Vec<u8>) {
    let (digits, weight, sign, scale) = match value {
        Numeric::NaN => (Vec::new(), 0, NUMERIC_NAN, 0),
        Numeric::Infinity => (Vec::new(), 0, NUMERIC_INFINITY, 0),
        Numeric::NegativeInfinity => (Vec::new(), 0, NUMERIC_NEGATIVE_INFINITY, 0),
        Numeric::Finite(finite) => {
            let form = decimal::to_base_10000(finite);
            (form.digits, form.weight, if form.negative { NUMERIC_NEGATIVE } else { 0 }, finite.fractional_digit_count())
        }
    };
    let scale = u16::try_from(scale).unwrap_or(0);
    out.extend_from_slice(&u16::try_from(digits.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&i16::try_from(weight).unwrap_or(i16::MAX).to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    for digit in digits {
        out.extend_from_slice(&digit.to_be_bytes());
    }
}

/// Appends the header of an array; answers where it is.
fn begin_array(element: SqlType, dimensions: &[Dimension], out: &mut Vec<u8>) -> usize {
    let head = out.len();
    out.extend_from_slice(&[0, 0, 0, dimensions.len() as u8]);
    out.extend_from_slice(&0_i32.to_be_bytes());
    out.extend_from_slice(&element.oid().0.to_be_bytes());
    for dimension in dimensions {
        out.extend_from_slice(&dimension.length.to_be_bytes());
        out.extend_from_slice(&dimension.lower.to_be_bytes());
    }
    head
}

fn put_null(head: usize, out: &mut Vec<u8>) {
    out[head + 7] = 1;
    out.extend_from_slice(&(-1_i32).to_be_bytes());
}

fn begin_element(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

fn end_element(start: usize, out: &mut [u8]) {
    let length = i32::try_from(out.len() - start).unwrap_or(i32::MAX);
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
}

/// 22P03.
fn incorrect(message: &str) -> ValueError {
    ValueError::new(SqlState::INVALID_BINARY_REPRESENTATION, message)
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(insufficient)?;
        self.rest = rest;
        Ok(*head)
    }

    fn i32(&mut self) -> Result<i32, ValueError> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, ValueError> {
        self.take().map(i64::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, ValueError> {
        self.take().map(u16::from_be_bytes)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], ValueError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(insufficient)?;
        self.rest = rest;
        Ok(head)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

fn insufficient() -> ValueError {
    ValueError::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message")
}

/// Reads a value from its binary form, which must be used up, and fits it to the type's modifier as an assignment does.
pub fn parse(bytes: &[u8], ty: SqlType) -> Result<Datum, ValueError> {
    let mut input = Input { rest: bytes };
    let value = if ty.is_array { read_array(&mut input, ty)? } else { read_scalar(&mut input, ty)? };
    if !input.rest.is_empty() {
        return Err(incorrect("incorrect binary data format"));
    }
    apply_typmod(value, ty, false)
}

fn read_scalar(input: &mut Input<'_>, ty: SqlType) -> Result<Datum, ValueError> {
    Ok(match ty.scalar {
        Scalar::Bool => Datum::Bool(input.take::<1>()?[0] != 0),
        Scalar::Int2 => Datum::Int2(i16::from_be_bytes(input.take()?)),
        Scalar::Int4 => Datum::Int4(input.i32()?),
        Scalar::Int8 => Datum::Int8(input.i64()?),
        Scalar::Float4 => Datum::Float4(f32::from_be_bytes(input.take()?)),
        Scalar::Float8 => Datum::Float8(f64::from_be_bytes(input.take()?)),
        Scalar::Numeric => Datum::Numeric(read_numeric(input)?),
        Scalar::Bytea => Datum::Bytea(Bytes::copy_from_slice(input.all())),
        Scalar::Uuid => Datum::Uuid(input.take()?),
        Scalar::Date => Datum::Date(read_date(input.i32()?)?),
        Scalar::Time => {
            let micros = input.i64()?;
            if !(0..=DAY).contains(&micros) {
                return Err(ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, "time out of range"));
            }
            Datum::Time(micros)
        }
        Scalar::Timestamp | Scalar::Timestamptz => Datum::Timestamp(read_timestamp(input.i64()?)?),
        Scalar::Interval => {
            let (micros, days, months) = (input.i64()?, input.i32()?, input.i32()?);
            Datum::Interval(Interval { months, days, micros })
        }
        Scalar::Oid | Scalar::Regproc | Scalar::Regclass | Scalar::Regtype | Scalar::Regnamespace | Scalar::Regrole => {
            Datum::Oid(u32::from_be_bytes(input.take()?))
        }
        Scalar::Char => {
            let [byte] = input.take()?;
            Datum::Text(match byte {
                0 => String::new(),
                1..=0x7f => char::from(byte).to_string(),
                _ => format!("\\{byte:o}"),
            })
        }
        Scalar::Json => {
            let text = read_text(input.all())?;
            json_parse::validate(text)?;
            Datum::Text(text.to_owned())
        }
        Scalar::Jsonb => {
            let [version] = input.take()?;
            if version != JSONB_VERSION {
                return Err(ValueError::new(SqlState::INTERNAL_ERROR, format!("unsupported jsonb version number {version}")));
            }
            Datum::Text(json_parse::to_jsonb(read_text(input.all())?)?)
        }
        Scalar::Jsonpath => {
            let [version] = input.take()?;
            if version != JSONB_VERSION {
                return Err(ValueError::new(SqlState::INTERNAL_ERROR, format!("unsupported jsonpath version number: {version}")));
            }
            Datum::Text(crate::jsonpath::Path::parse(read_text(input.all())?)?.to_string())
        }
        Scalar::Name => Datum::Text(text_input::truncate_name(read_text(input.all())?).to_owned()),
        Scalar::Text | Scalar::Varchar | Scalar::Bpchar | Scalar::Unknown => Datum::Text(read_text(input.all())?.to_owned()),
        Scalar::Timetz => Datum::Bytea(TimeTz::from_binary(input.i64()?, input.i32()?)?.to_bytes().to_vec().into()),
        Scalar::Inet | Scalar::Cidr => Datum::Bytea(Inet::read_binary(input.all(), ty.scalar == Scalar::Cidr)?.to_bytes().into()),
        Scalar::Macaddr => Datum::Bytea(input.take::<6>()?.to_vec().into()),
        Scalar::Range(kind) => Datum::Bytea(range::to_bytes(&range_text::read_binary(input.all(), kind)?).into()),
        Scalar::Bit | Scalar::Varbit => Datum::Text(bits::read_binary(input.all())?),
        Scalar::Enum(ty) => text_input::parse_enum(read_text(input.all())?, ty)?,
        Scalar::Void => Datum::Null,
        Scalar::Record => {
            return Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, "input of anonymous composite types is not implemented"));
        }
    })
}

/// Checks that bytes are a text.
pub fn read_text(bytes: &[u8]) -> Result<&str, ValueError> {
    let bad = |found: &[u8]| {
        let shown: Vec<_> = found.iter().map(|b| format!("0x{b:02x}")).collect();
        ValueError::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")))
    };
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let from = error.valid_up_to();
        // PostgreSQL shows as many bytes as the first of them announces.
        let announced = match bytes[from] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        bad(&bytes[from..bytes.len().min(from + announced)])
    })?;
    if memchr::memchr(0, bytes).is_some() { Err(bad(&[0])) } else { Ok(text) }
}

fn read_date(days: i32) -> Result<i32, ValueError> {
    if days == i32::MAX || days == i32::MIN {
        return Ok(days);
    }
    let shifted = i64::from(days) + i64::from(DAYS_TO_2000);
    i32::try_from(shifted)
        .ok()
        .filter(|_| is_date(shifted))
        .ok_or_else(|| ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range"))
}

fn read_timestamp(micros: i64) -> Result<i64, ValueError> {
    if micros == i64::MAX || micros == i64::MIN {
        return Ok(micros);
    }
    micros
        .checked_add(MICROS_TO_2000)
        .filter(|t| is_timestamp(*t))
        .ok_or_else(|| ValueError::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range"))
}

fn read_numeric(input: &mut Input<'_>) -> Result<Numeric, ValueError> {
    let count = input.u16()?;
    let weight = i16::from_be_bytes(input.take()?);
    let sign = input.u16()?;
    let scale = input.u16()?;
    match sign {
        0 | NUMERIC_NEGATIVE => {}
        NUMERIC_NAN => return Ok(Numeric::NaN),
        NUMERIC_INFINITY => return Ok(Numeric::Infinity),
        NUMERIC_NEGATIVE_INFINITY => return Ok(Numeric::NegativeInfinity),
        _ => return Err(incorrect("invalid sign in external \"numeric\" value")),
    }
    if scale > 0x3fff {
        return Err(incorrect("invalid scale in external \"numeric\" value"));
    }
    let mut digits = Vec::with_capacity(usize::from(count).min(input.rest.len() / 2));
    for _ in 0..count {
        let digit = input.u16()?;
        if digit >= 10_000 {
            return Err(incorrect("invalid digit in external \"numeric\" value"));
        }
        digits.push(digit);
    }
    let form = decimal::Base10000 { digits, weight: i64::from(weight), negative: sign == NUMERIC_NEGATIVE };
    Ok(Numeric::finite(decimal::from_base_10000(&form, i64::from(scale))))
}

fn read_array(input: &mut Input<'_>, ty: SqlType) -> Result<Datum, ValueError> {
    let dimensions = input.i32()?;
    let flags = input.i32()?;
    let element = u32::from_be_bytes(input.take()?);
    let dimension_count = usize::try_from(dimensions).map_err(|_| incorrect(&format!("invalid number of dimensions: {dimensions}")))?;
    if dimension_count > DIMENSIONS_MAX {
        return Err(array::too_many_dimensions(dimension_count));
    }
    if flags != 0 && flags != 1 {
        return Err(incorrect("invalid array flags"));
    }
    if Oid(element) != ty.element().oid() {
        return Err(ValueError::new(
            SqlState::DATATYPE_MISMATCH,
            format!("binary data has array element type {element} instead of expected {}", ty.element().oid().0),
        ));
    }
    let mut shape = Vec::with_capacity(dimension_count);
    for _ in 0..dimension_count {
        shape.push(Dimension { length: input.i32()?, lower: input.i32()? });
    }
    if shape.iter().any(|d| d.length == 0) {
        return Ok(Datum::Array(Array::default()));
    }
    let count = element_count(&shape).ok_or_else(array::too_large)?;
    let mut out = Vec::with_capacity(count.min(input.rest.len() / 4));
    for _ in 0..count {
        let length = input.i32()?;
        if length == -1 {
            out.push(Datum::Null);
            continue;
        }
        let length = usize::try_from(length).map_err(|_| insufficient())?;
        out.push(parse(input.slice(length)?, ty.element().without_typmod())?);
    }
    array::build(shape, out).map(Datum::Array)
}
