//! How a row is stored: the value half of a key-value pair.
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 1 | format version, [`VERSION`] |
//! | 2 | number of columns n, little-endian |
//! | ⌈n/8⌉ | NULL bitmap: bit i % 8 of byte i / 8 is set when column i is NULL |
//! | … | the columns that are not NULL, one after the other |
//!
//! bool 1 byte; int2, int4, int8, enums (as int8), float4, float8, date, time, timestamp, oid little-endian at their width; uuid 16; interval
//! months, days (4 each), micros (8); numeric(p,s) with p <= 38 a length byte and the little-endian two's complement of the unscaled
//! value without needless high bytes; any other numeric, text and bytea a length as LEB128 and the bytes (numeric: its sortable
//! form); arrays a length in bytes as LEB128, then the array's form:
//!
//! | bytes | meaning |
//! | --- | --- |
//! | 1 | number of dimensions d; 0 for an empty array, and then nothing follows |
//! | 8 d | for each dimension its length and its lower bound, 4 bytes each, little-endian |
//! | ⌈n/8⌉ | NULL bitmap of the n elements, n being the product of the lengths |
//! | … | the elements that are not NULL, as columns of the type without a modifier |
//!
//!
//! A row may have fewer columns than its table: columns that were added later and are missing here read as the table's
//! "missing value" for them, which the caller supplies.

use bytes::Bytes;

use crate::array::{Array, DIMENSIONS_MAX, Dimension, element_count};
use crate::datum::Datum;
use crate::error::SqlError;
use crate::interval::Interval;
use crate::numeric::Numeric;
use crate::sqlstate::SqlState;
use crate::types::{Scalar, SqlType};

/// The hidden column with a row's encoded key, in the schema of a table as plans see it.
pub const ROW_KEY: &str = "\u{1}row_key";
/// The hidden column with a row's version.
pub const ROW_VERSION: &str = "\u{1}row_version";

/// The version of the format that is written.
pub const VERSION: u8 = 1;

/// What can be wrong with a stored row or with values that shall become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("stored row is malformed: {0}")]
    Malformed(&'static str),
    #[error("value does not have the type {0} of its column")]
    WrongType(SqlType),
    #[error("row has more than 65535 columns")]
    TooManyColumns,
}

impl SqlError for RowError {
    fn sqlstate(&self) -> SqlState {
        match self {
            Self::Malformed(_) => SqlState::DATA_CORRUPTED,
            Self::WrongType(_) => SqlState::INTERNAL_ERROR,
            Self::TooManyColumns => SqlState::PROGRAM_LIMIT_EXCEEDED,
        }
    }
}

/// Appends a row of `values`, one for each of `types`.
pub fn encode_row(types: &[SqlType], values: &[Datum], out: &mut Vec<u8>) -> Result<(), RowError> {
    debug_assert_eq!(types.len(), values.len());
    let count = u16::try_from(values.len()).map_err(|_| RowError::TooManyColumns)?;
    out.push(VERSION);
    out.extend_from_slice(&count.to_le_bytes());
    encode_values(types.iter().copied(), values, out)
}

/// Appends the NULL bitmap and the values that are not NULL.
fn encode_values(types: impl Iterator<Item = SqlType>, values: &[Datum], out: &mut Vec<u8>) -> Result<(), RowError> {
    let bitmap = out.len();
    out.resize(bitmap + values.len().div_ceil(8), 0);
    for (i, (ty, value)) in types.zip(values).enumerate() {
        if value.is_null() {
            out[bitmap + i / 8] |= 1 << (i % 8);
        } else {
            encode_value(ty, value, out)?;
        }
    }
    Ok(())
}

/// Appends the form of an array whose elements are of type `element`.
pub fn encode_array(element: SqlType, array: &Array, out: &mut Vec<u8>) -> Result<(), RowError> {
    out.push(array.dimensions().len() as u8);
    for dimension in array.dimensions() {
        out.extend_from_slice(&dimension.length.to_le_bytes());
        out.extend_from_slice(&dimension.lower.to_le_bytes());
    }
    encode_values(std::iter::repeat(element), array, out)
}

/// The type that the elements of an array are stored with: their modifier does not change their form.
pub fn stored_element(ty: SqlType) -> SqlType {
    ty.element().without_typmod()
}

/// Reads what [`encode_array`] wrote.
pub fn decode_array(element: SqlType, bytes: &[u8]) -> Result<Array, RowError> {
    let mut reader = ArrayReader::new(bytes)?;
    let mut elements = Vec::with_capacity(reader.elements.column_count().min(bytes.len()));
    while let Some(field) = reader.elements.next_field(element)? {
        elements.push(field.to_datum(element)?);
    }
    Array::new(reader.dimensions, elements).ok_or(RowError::Malformed("array shape"))
}

fn encode_value(ty: SqlType, value: &Datum, out: &mut Vec<u8>) -> Result<(), RowError> {
    match value {
        Datum::Null => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Int4(v) | Datum::Date(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Float4(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Float8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Oid(v) => out.extend_from_slice(&v.to_le_bytes()),
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Interval(v) => {
            out.extend_from_slice(&v.months.to_le_bytes());
            out.extend_from_slice(&v.days.to_le_bytes());
            out.extend_from_slice(&v.micros.to_le_bytes());
        }
        Datum::Numeric(v) => encode_numeric(ty, v, out)?,
        Datum::Text(v) => put_bytes(v.as_bytes(), out),
        Datum::Bytea(v) => put_bytes(v, out),
        Datum::Array(array) => {
            let mut inner = Vec::new();
            encode_array(stored_element(ty), array, &mut inner)?;
            put_bytes(&inner, out);
        }
    }
    Ok(())
}

fn encode_numeric(ty: SqlType, value: &Numeric, out: &mut Vec<u8>) -> Result<(), RowError> {
    match ty.numeric_precision_scale() {
        Some((_, scale)) if ty.is_decimal128() => {
            let scale = i8::try_from(scale).map_err(|_| RowError::WrongType(ty))?;
            let unscaled = value.to_unscaled(scale).ok_or(RowError::WrongType(ty))?;
            put_unscaled(unscaled, out);
        }
        _ => put_bytes(&value.sortable(), out),
    }
    Ok(())
}

fn put_unscaled(unscaled: i128, out: &mut Vec<u8>) {
    let bytes = unscaled.to_le_bytes();
    let sign = if unscaled < 0 { 0xff } else { 0 };
    let mut len = bytes.len();
    while len > 1 && bytes[len - 1] == sign && (bytes[len - 2] ^ sign) & 0x80 == 0 {
        len -= 1;
    }
    out.push(u8::try_from(len).unwrap_or(16));
    out.extend_from_slice(&bytes[..len]);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut len = bytes.len();
    while len >= 0x80 {
        out.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(bytes);
}

/// One column of a stored row, borrowed from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Float4(f32),
    Float8(f64),
    /// The unscaled value of a numeric(p,s) that travels as Decimal128.
    Unscaled(i128),
    /// The sortable form of any other numeric.
    Numeric(&'a [u8]),
    Text(&'a str),
    Bytea(&'a [u8]),
    Uuid(&'a [u8; 16]),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    Interval(Interval),
    Oid(u32),
    /// An array's form; see [`ArrayReader`].
    Array(&'a [u8]),
}

/// Reads the columns of a stored row in order, without a copy.
#[derive(Clone, Debug)]
pub struct RowReader<'a> {
    bitmap: &'a [u8],
    rest: &'a [u8],
    count: usize,
    next: usize,
}

impl<'a> RowReader<'a> {
    /// Opens a stored row.
    pub fn new(row: &'a [u8]) -> Result<Self, RowError> {
        let (&[version, low, high], rest) = row.split_first_chunk::<3>().ok_or(RowError::Malformed("short header"))?;
        if version != VERSION {
            return Err(RowError::Malformed("unknown version"));
        }
        let count = usize::from(u16::from_le_bytes([low, high]));
        let (bitmap, rest) = rest.split_at_checked(count.div_ceil(8)).ok_or(RowError::Malformed("short bitmap"))?;
        Ok(Self { bitmap, rest, count, next: 0 })
    }

    /// How many columns the row has.
    pub fn column_count(&self) -> usize {
        self.count
    }

    /// The next column, of type `ty`; `Ok(None)` past the last one.
    #[inline]
    pub fn next_field(&mut self, ty: SqlType) -> Result<Option<Field<'a>>, RowError> {
        if self.next >= self.count {
            return Ok(None);
        }
        let i = self.next;
        self.next += 1;
        if self.bitmap[i / 8] & (1 << (i % 8)) != 0 {
            return Ok(Some(Field::Null));
        }
        self.read(ty).map(Some)
    }

    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], RowError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(RowError::Malformed("short column"))?;
        self.rest = rest;
        Ok(head)
    }

    fn take_slice(&mut self, len: usize) -> Result<&'a [u8], RowError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(RowError::Malformed("short column"))?;
        self.rest = rest;
        Ok(head)
    }

    fn take_bytes(&mut self) -> Result<&'a [u8], RowError> {
        let (mut len, mut shift) = (0_usize, 0);
        loop {
            let [byte] = *self.take::<1>()?;
            len |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
            if shift > 42 {
                return Err(RowError::Malformed("length too long"));
            }
        }
        self.take_slice(len)
    }

    fn read(&mut self, ty: SqlType) -> Result<Field<'a>, RowError> {
        if ty.is_array {
            return Ok(Field::Array(self.take_bytes()?));
        }
        Ok(match ty.scalar {
            Scalar::Bool => Field::Bool(self.take::<1>()?[0] != 0),
            Scalar::Int2 => Field::Int2(i16::from_le_bytes(*self.take()?)),
            Scalar::Int4 => Field::Int4(i32::from_le_bytes(*self.take()?)),
            Scalar::Int8 | Scalar::Enum(_) => Field::Int8(i64::from_le_bytes(*self.take()?)),
            Scalar::Float4 => Field::Float4(f32::from_le_bytes(*self.take()?)),
            Scalar::Float8 => Field::Float8(f64::from_le_bytes(*self.take()?)),
            Scalar::Date => Field::Date(i32::from_le_bytes(*self.take()?)),
            Scalar::Time => Field::Time(i64::from_le_bytes(*self.take()?)),
            Scalar::Timestamp | Scalar::Timestamptz => Field::Timestamp(i64::from_le_bytes(*self.take()?)),
            Scalar::Uuid => Field::Uuid(self.take()?),
            Scalar::Interval => Field::Interval(Interval {
                months: i32::from_le_bytes(*self.take()?),
                days: i32::from_le_bytes(*self.take()?),
                micros: i64::from_le_bytes(*self.take()?),
            }),
            Scalar::Oid | Scalar::Regproc | Scalar::Regclass | Scalar::Regtype | Scalar::Regnamespace | Scalar::Regrole => {
                Field::Oid(u32::from_le_bytes(*self.take()?))
            }
            Scalar::Numeric if ty.is_decimal128() => {
                let len = usize::from(self.take::<1>()?[0]);
                Field::Unscaled(unscaled_from(self.take_slice(len)?)?)
            }
            Scalar::Numeric => Field::Numeric(self.take_bytes()?),
            Scalar::Bytea | Scalar::Timetz | Scalar::Inet | Scalar::Cidr | Scalar::Macaddr | Scalar::Range(_) => {
                Field::Bytea(self.take_bytes()?)
            }
            Scalar::Void => Field::Null,
            Scalar::Text
            | Scalar::Varchar
            | Scalar::Bpchar
            | Scalar::Name
            | Scalar::Char
            | Scalar::Json
            | Scalar::Jsonb
            | Scalar::Jsonpath
            | Scalar::Unknown
            | Scalar::Bit
            | Scalar::Varbit
            | Scalar::Record => {
                let bytes = self.take_bytes()?;
                Field::Text(std::str::from_utf8(bytes).map_err(|_| RowError::Malformed("text is not UTF-8"))?)
            }
        })
    }
}

/// An array's form, opened.
#[derive(Clone, Debug)]
pub struct ArrayReader<'a> {
    /// The dimensions, the outermost first.
    pub dimensions: Vec<Dimension>,
    /// The elements as columns.
    pub elements: RowReader<'a>,
}

impl<'a> ArrayReader<'a> {
    /// Opens an array's form.
    pub fn new(bytes: &'a [u8]) -> Result<Self, RowError> {
        let (&count, mut rest) = bytes.split_first().ok_or(RowError::Malformed("short array"))?;
        if usize::from(count) > DIMENSIONS_MAX {
            return Err(RowError::Malformed("array dimensions"));
        }
        let mut dimensions = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (&[a, b, c, d, e, f, g, h], tail) = rest.split_first_chunk::<8>().ok_or(RowError::Malformed("short array"))?;
            dimensions.push(Dimension { length: i32::from_le_bytes([a, b, c, d]), lower: i32::from_le_bytes([e, f, g, h]) });
            rest = tail;
        }
        let count = element_count(&dimensions).ok_or(RowError::Malformed("array dimensions"))?;
        let (bitmap, rest) = rest.split_at_checked(count.div_ceil(8)).ok_or(RowError::Malformed("short bitmap"))?;
        Ok(Self { dimensions, elements: RowReader { bitmap, rest, count, next: 0 } })
    }
}

fn unscaled_from(bytes: &[u8]) -> Result<i128, RowError> {
    let last = *bytes.last().ok_or(RowError::Malformed("empty numeric"))?;
    let mut full = [if last & 0x80 == 0 { 0 } else { 0xff }; 16];
    full.get_mut(..bytes.len()).ok_or(RowError::Malformed("long numeric"))?.copy_from_slice(bytes);
    Ok(i128::from_le_bytes(full))
}

impl Field<'_> {
    /// The value on its own; `ty` is the type that the field was read with.
    pub fn to_datum(self, ty: SqlType) -> Result<Datum, RowError> {
        Ok(match self {
            Self::Null => Datum::Null,
            Self::Bool(v) => Datum::Bool(v),
            Self::Int2(v) => Datum::Int2(v),
            Self::Int4(v) => Datum::Int4(v),
            Self::Int8(v) => Datum::Int8(v),
            Self::Float4(v) => Datum::Float4(v),
            Self::Float8(v) => Datum::Float8(v),
            Self::Unscaled(v) => {
                let (_, scale) = ty.numeric_precision_scale().ok_or(RowError::WrongType(ty))?;
                Datum::Numeric(Numeric::from_unscaled(v, i8::try_from(scale).map_err(|_| RowError::WrongType(ty))?))
            }
            Self::Numeric(form) => Datum::Numeric(Numeric::from_sortable(form).ok_or(RowError::Malformed("numeric"))?.0),
            Self::Text(v) => Datum::Text(v.to_owned()),
            Self::Bytea(v) => Datum::Bytea(Bytes::copy_from_slice(v)),
            Self::Uuid(v) => Datum::Uuid(*v),
            Self::Date(v) => Datum::Date(v),
            Self::Time(v) => Datum::Time(v),
            Self::Timestamp(v) => Datum::Timestamp(v),
            Self::Interval(v) => Datum::Interval(v),
            Self::Oid(v) => Datum::Oid(v),
            Self::Array(bytes) => Datum::Array(decode_array(stored_element(ty), bytes)?),
        })
    }
}

/// Decodes a whole row: one value for each of `types`. `missing[i]`, where there is one, stands for a column that the row is too
/// short to have; without one it reads as NULL.
pub fn decode_row(types: &[SqlType], missing: &[Datum], row: &[u8]) -> Result<Vec<Datum>, RowError> {
    let mut reader = RowReader::new(row)?;
    let mut out = Vec::with_capacity(types.len());
    for (i, &ty) in types.iter().enumerate() {
        out.push(match reader.next_field(ty)? {
            Some(field) => field.to_datum(ty)?,
            None => missing.get(i).cloned().unwrap_or(Datum::Null),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_comes_back() {
        let types = [
            Scalar::Bool.into(),
            Scalar::Int8.into(),
            SqlType::numeric(12, 2),
            Scalar::Numeric.into(),
            Scalar::Text.into(),
            Scalar::Bytea.into(),
            Scalar::Interval.into(),
            SqlType::array_of(Scalar::Int4.into()),
            Scalar::Float8.into(),
            Scalar::Uuid.into(),
        ];
        let values = [
            Datum::Bool(true),
            Datum::Int8(i64::MIN),
            Datum::Numeric("-1234567.89".parse().unwrap()),
            Datum::Numeric("NaN".parse().unwrap()),
            Datum::Text("é".repeat(100)),
            Datum::Bytea(Bytes::from_static(b"\0\xff")),
            Datum::Interval(Interval { months: -1, days: 2, micros: -3 }),
            Datum::Array(vec![Datum::Int4(1), Datum::Null].into()),
            Datum::Null,
            Datum::Uuid([7; 16]),
        ];
        let mut row = Vec::new();
        encode_row(&types, &values, &mut row).unwrap();
        assert_eq!(decode_row(&types, &[], &row).unwrap(), values);
        let mut longer = types.to_vec();
        longer.push(Scalar::Int4.into());
        let missing: Vec<_> = std::iter::repeat_n(Datum::Null, 10).chain([Datum::Int4(7)]).collect();
        assert_eq!(decode_row(&longer, &missing, &row).unwrap().last(), Some(&Datum::Int4(7)));
        for cut in 0..row.len() {
            assert!(decode_row(&types, &[], &row[..cut]).is_err(), "a row cut at {cut} is refused");
        }
    }

    #[test]
    fn unscaled_values_take_as_few_bytes_as_they_need() {
        for value in [0, 1, -1, 127, 128, -128, -129, 255, 256, i128::MAX, i128::MIN, 99_999_999] {
            let mut out = Vec::new();
            put_unscaled(value, &mut out);
            assert_eq!(unscaled_from(&out[1..]).unwrap(), value);
        }
    }
}
