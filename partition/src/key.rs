//! Values to keys whose byte order is SQL order.
//!
//! A key is `[hash prefix] ++ column ++ column …`. Each column is one marker byte and, unless it is NULL, the value:
//!
//! | marker | meaning |
//! | --- | --- |
//! | 1 | NULL, ordered first |
//! | 2 | a value follows |
//! | 3 | NULL, ordered last |
//!
//! | type | value bytes |
//! | --- | --- |
//! | bool | 1 byte |
//! | integers, enums (as bigint), date, time, timestamps | big endian, sign bit flipped |
//! | oid, reg* | big endian |
//! | floats | IEEE bits made monotonic; -0 as 0, every NaN as one above infinity |
//! | numeric | the sortable form without its display scale |
//! | text family, bit strings | the bytes and a 0 (text holds no 0); char(n) without trailing blanks |
//! | bytea, and what travels as bytes | 0 escaped as 0 255, ended by 0 0 |
//! | uuid | 16 bytes |
//! | interval | its length in microseconds, 16 bytes |
//! | arrays | each element as a column, ended by 0; then the number of dimensions and, for each, length and lower bound |
//!
//! The value bytes (not the marker) of a descending column are inverted.

use common::array::{Array, Dimension};
use common::datum::Datum;
use common::interval::Interval;
use common::numeric::Numeric;
use common::types::{RangeKind, Scalar, SqlType};
use serde::{Deserialize, Serialize};

use crate::error::{KEY_BYTES_MAX, KeyError};
use crate::hash::{HASH_PREFIX_LEN, hash_prefix};

pub(crate) const NULL_FIRST: u8 = 1;
pub(crate) const VALUE: u8 = 2;
pub(crate) const NULL_LAST: u8 = 3;
const MICROS_PER_DAY: i128 = 86_400_000_000;

/// How one column of a key is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyColumn {
    pub ty: SqlType,
    pub descending: bool,
    pub nulls_first: bool,
}

impl KeyColumn {
    /// An ascending column, NULLs last.
    pub fn ascending(ty: SqlType) -> Self {
        Self { ty, descending: false, nulls_first: false }
    }

    pub(crate) fn null_marker(self) -> u8 {
        if self.nulls_first { NULL_FIRST } else { NULL_LAST }
    }

    /// Whether values of this type have an order that keys keep.
    pub fn is_ordered(self) -> bool {
        // The bytes of a numrange have display scales in them.
        !matches!(
            self.ty.scalar,
            Scalar::Range(RangeKind::Num)
                | Scalar::Json
                | Scalar::Jsonb
                | Scalar::Jsonpath
                | Scalar::Record
                | Scalar::Void
                | Scalar::Unknown
        )
    }

    /// Appends one value, marker included.
    pub fn encode(self, value: &Datum, out: &mut Vec<u8>) -> Result<(), KeyError> {
        if value.is_null() {
            out.push(self.null_marker());
            return Ok(());
        }
        out.push(VALUE);
        let start = out.len();
        encode_value(self.ty, value, out)?;
        if self.descending {
            for byte in &mut out[start..] {
                *byte = !*byte;
            }
        }
        Ok(())
    }

    fn decode(self, bytes: &[u8]) -> Option<(Datum, usize)> {
        match *bytes.first()? {
            NULL_FIRST | NULL_LAST => Some((Datum::Null, 1)),
            VALUE if self.descending => {
                let flipped: Vec<u8> = bytes[1..].iter().map(|b| !b).collect();
                decode_value(self.ty, &flipped).map(|(value, used)| (value, used + 1))
            }
            VALUE => decode_value(self.ty, &bytes[1..]).map(|(value, used)| (value, used + 1)),
            _ => None,
        }
    }
}

/// How a relation's keys are made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeySchema {
    pub columns: Vec<KeyColumn>,
    /// How many of the first columns the hash prefix is made of; 0: no prefix.
    pub hash_columns: usize,
}

impl KeySchema {
    /// Appends the key of `values`: one for each of the first columns; all of them for a row's key.
    ///
    /// With a hash prefix there must be values for all hashed columns.
    pub fn encode(&self, values: &[Datum], out: &mut Vec<u8>) -> Result<(), KeyError> {
        if values.len() > self.columns.len() {
            return Err(KeyError::TooManyValues { columns: self.columns.len(), values: values.len() });
        }
        let start = out.len();
        if self.hash_columns > 0 {
            out.extend_from_slice(&[0; HASH_PREFIX_LEN]);
        }
        let body = out.len();
        for (at, (column, value)) in self.columns.iter().zip(values).enumerate() {
            column.encode(value, out)?;
            if at + 1 == self.hash_columns {
                let prefix = hash_prefix(&out[body..]);
                out[start..body].copy_from_slice(&prefix);
            }
        }
        let size = out.len() - start;
        if size > KEY_BYTES_MAX { Err(KeyError::TooLong { size }) } else { Ok(()) }
    }

    /// The key of `values` as a new vector.
    pub fn key(&self, values: &[Datum]) -> Result<Vec<u8>, KeyError> {
        let mut out = Vec::with_capacity(HASH_PREFIX_LEN + 10 * values.len());
        self.encode(values, &mut out)?;
        Ok(out)
    }

    /// Reads the values of a key, as many as are whole; a partition's bound may be the beginning of a key. Answers how many bytes
    /// they took (hash prefix included).
    pub fn decode(&self, key: &[u8]) -> (Vec<Datum>, usize) {
        let mut at = if self.hash_columns > 0 { HASH_PREFIX_LEN } else { 0 };
        let mut values = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let Some((value, used)) = key.get(at..).and_then(|rest| column.decode(rest)) else { break };
            values.push(value);
            at += used;
        }
        (values, at.min(key.len()))
    }
}

fn encode_value(ty: SqlType, value: &Datum, out: &mut Vec<u8>) -> Result<(), KeyError> {
    if let (true, Datum::Array(array)) = (ty.is_array, value) {
        let element = KeyColumn::ascending(ty.element());
        for value in array.iter() {
            element.encode(value, out)?;
        }
        out.push(0);
        out.push(array.dimensions().len() as u8);
        for dimension in array.dimensions() {
            out.extend_from_slice(&(dimension.length.cast_unsigned() ^ (1 << 31)).to_be_bytes());
            out.extend_from_slice(&(dimension.lower.cast_unsigned() ^ (1 << 31)).to_be_bytes());
        }
        return Ok(());
    }
    match value {
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Int2(v) => out.extend_from_slice(&(v.cast_unsigned() ^ (1 << 15)).to_be_bytes()),
        Datum::Int4(v) | Datum::Date(v) => out.extend_from_slice(&(v.cast_unsigned() ^ (1 << 31)).to_be_bytes()),
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) => out.extend_from_slice(&(v.cast_unsigned() ^ (1 << 63)).to_be_bytes()),
        Datum::Float4(v) => out.extend_from_slice(&float4_bits(*v).to_be_bytes()),
        Datum::Float8(v) => out.extend_from_slice(&float8_bits(*v).to_be_bytes()),
        Datum::Numeric(v) => {
            let form = v.sortable();
            out.extend_from_slice(&form[..Numeric::sortable_prefix_len(&form)]);
        }
        Datum::Text(v) if matches!(ty.scalar, Scalar::Json | Scalar::Jsonb | Scalar::Jsonpath) || v.as_bytes().contains(&0) => {
            return Err(KeyError::NotOrdered(ty));
        }
        Datum::Text(v) => {
            let text = if ty.scalar == Scalar::Bpchar { v.trim_end_matches(' ') } else { v };
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        Datum::Bytea(v) => {
            for &byte in v {
                out.push(byte);
                if byte == 0 {
                    out.push(u8::MAX);
                }
            }
            out.extend_from_slice(&[0, 0]);
        }
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Interval(v) => out.extend_from_slice(&(v.total_micros().cast_unsigned() ^ (1 << 127)).to_be_bytes()),
        Datum::Oid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Datum::Array(_) | Datum::Null => return Err(KeyError::WrongValue(ty)),
    }
    Ok(())
}

fn float4_bits(value: f32) -> u32 {
    let value = if value.is_nan() { f32::NAN } else { value + 0.0 };
    let bits = value.to_bits();
    if value.is_sign_negative() && !value.is_nan() { !bits } else { bits | (1 << 31) }
}

fn float8_bits(value: f64) -> u64 {
    let value = if value.is_nan() { f64::NAN } else { value + 0.0 };
    let bits = value.to_bits();
    if value.is_sign_negative() && !value.is_nan() { !bits } else { bits | (1 << 63) }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.get(..N)?.try_into().ok()
}

fn decode_value(ty: SqlType, bytes: &[u8]) -> Option<(Datum, usize)> {
    if ty.is_array {
        return decode_array(ty, bytes);
    }
    let int4 = |bytes| fixed(bytes).map(|b| (u32::from_be_bytes(b) ^ (1 << 31)).cast_signed());
    let int8 = |bytes| fixed(bytes).map(|b| (u64::from_be_bytes(b) ^ (1 << 63)).cast_signed());
    Some(match ty.scalar {
        Scalar::Bool => (Datum::Bool(*bytes.first()? != 0), 1),
        Scalar::Int2 => (Datum::Int2((u16::from_be_bytes(fixed(bytes)?) ^ (1 << 15)).cast_signed()), 2),
        Scalar::Int4 => (Datum::Int4(int4(bytes)?), 4),
        Scalar::Date => (Datum::Date(int4(bytes)?), 4),
        Scalar::Int8 | Scalar::Enum(_) => (Datum::Int8(int8(bytes)?), 8),
        Scalar::Time => (Datum::Time(int8(bytes)?), 8),
        Scalar::Timestamp | Scalar::Timestamptz => (Datum::Timestamp(int8(bytes)?), 8),
        Scalar::Float4 => {
            let bits = u32::from_be_bytes(fixed(bytes)?);
            (Datum::Float4(f32::from_bits(if bits >> 31 == 1 { bits ^ (1 << 31) } else { !bits })), 4)
        }
        Scalar::Float8 => {
            let bits = u64::from_be_bytes(fixed(bytes)?);
            (Datum::Float8(f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits })), 8)
        }
        Scalar::Numeric => decode_numeric(bytes)?,
        Scalar::Bytea | Scalar::Timetz | Scalar::Inet | Scalar::Cidr | Scalar::Macaddr | Scalar::Range(_) => decode_bytea(bytes)?,
        Scalar::Uuid => (Datum::Uuid(fixed(bytes)?), 16),
        Scalar::Interval => {
            let micros = (u128::from_be_bytes(fixed(bytes)?) ^ (1 << 127)).cast_signed();
            (Datum::Interval(interval_of(micros)), 16)
        }
        Scalar::Oid | Scalar::Regproc | Scalar::Regclass | Scalar::Regtype | Scalar::Regnamespace | Scalar::Regrole => {
            (Datum::Oid(u32::from_be_bytes(fixed(bytes)?)), 4)
        }
        Scalar::Char | Scalar::Name | Scalar::Text | Scalar::Bpchar | Scalar::Varchar | Scalar::Bit | Scalar::Varbit => {
            let end = bytes.iter().position(|&b| b == 0)?;
            (Datum::Text(std::str::from_utf8(&bytes[..end]).ok()?.to_owned()), end + 1)
        }
        Scalar::Json | Scalar::Jsonb | Scalar::Jsonpath | Scalar::Unknown | Scalar::Void | Scalar::Record => return None,
    })
}

fn decode_array(ty: SqlType, bytes: &[u8]) -> Option<(Datum, usize)> {
    let element = KeyColumn::ascending(ty.element());
    let (mut values, mut at) = (Vec::new(), 0);
    while *bytes.get(at)? != 0 {
        let (value, used) = element.decode(&bytes[at..])?;
        values.push(value);
        at += used;
    }
    let count = usize::from(*bytes.get(at + 1)?);
    at += 2;
    let mut numbers =
        bytes.get(at..at + 8 * count)?.chunks_exact(4).map(|b| (u32::from_be_bytes([b[0], b[1], b[2], b[3]]) ^ (1 << 31)).cast_signed());
    let mut dimensions = Vec::with_capacity(count);
    while let (Some(length), Some(lower)) = (numbers.next(), numbers.next()) {
        dimensions.push(Dimension { length, lower });
    }
    Some((Datum::Array(Array::new(dimensions, values)?), at + 8 * count))
}

fn decode_bytea(bytes: &[u8]) -> Option<(Datum, usize)> {
    let (mut value, mut at) = (Vec::new(), 0);
    loop {
        match (*bytes.get(at)?, bytes.get(at + 1)) {
            (0, Some(0)) => return Some((Datum::Bytea(value.into()), at + 2)),
            (0, Some(_)) => {
                value.push(0);
                at += 2;
            }
            (0, None) => return None,
            (byte, _) => {
                value.push(byte);
                at += 1;
            }
        }
    }
}

/// The sortable form without its scale: the scale that shows all digits is put behind it.
fn decode_numeric(bytes: &[u8]) -> Option<(Datum, usize)> {
    let class = *bytes.first()?;
    let (len, scale) = match class {
        1 | 3 => {
            let flip = if class == 1 { u8::MAX } else { 0 };
            let digits = bytes.get(5..)?.iter().position(|&b| b == flip)?;
            let mut exponent = fixed::<4>(bytes.get(1..)?)?;
            for byte in &mut exponent {
                *byte ^= flip;
            }
            let exponent = i64::from((u32::from_be_bytes(exponent) ^ (1 << 31)).cast_signed());
            let odd = bytes[5..5 + digits].last().is_some_and(|pair| (pair ^ flip) % 10 == 1);
            let count = i64::try_from(digits * 2).ok()? - i64::from(odd);
            (6 + digits, u16::try_from((count - exponent).max(0)).ok()?)
        }
        _ => (1, 0),
    };
    let mut form = bytes.get(..len)?.to_vec();
    form.extend_from_slice(&scale.to_be_bytes());
    let (value, _) = Numeric::from_sortable(&form)?;
    Some((Datum::Numeric(value), len))
}

fn interval_of(micros: i128) -> Interval {
    let days = micros / MICROS_PER_DAY;
    let rest = i64::try_from(micros % MICROS_PER_DAY).unwrap_or(0);
    Interval { months: 0, days: i32::try_from(days).unwrap_or(i32::MAX), micros: rest }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    fn column(ty: impl Into<SqlType>, descending: bool, nulls_first: bool) -> KeyColumn {
        KeyColumn { ty: ty.into(), descending, nulls_first }
    }

    fn arbitrary() -> impl Strategy<Value = (SqlType, Datum, Datum)> {
        fn pair<S: Strategy<Value = Datum> + Clone + 'static>(ty: Scalar, value: S) -> BoxedStrategy<(SqlType, Datum, Datum)> {
            let nullable = prop_oneof![4 => value, 1 => Just(Datum::Null)];
            (nullable.clone(), nullable).prop_map(move |(a, b)| (ty.into(), a, b)).boxed()
        }
        let numeric =
            (any::<i64>(), 0i8..12).prop_map(|(unscaled, scale)| Datum::Numeric(Numeric::from_unscaled(i128::from(unscaled), scale)));
        prop_oneof![
            pair(Scalar::Bool, any::<bool>().prop_map(Datum::Bool)),
            pair(Scalar::Int2, any::<i16>().prop_map(Datum::Int2)),
            pair(Scalar::Int4, any::<i32>().prop_map(Datum::Int4)),
            pair(Scalar::Int8, any::<i64>().prop_map(Datum::Int8)),
            pair(Scalar::Float8, any::<f64>().prop_map(Datum::Float8)),
            pair(Scalar::Float4, any::<f32>().prop_map(Datum::Float4)),
            pair(Scalar::Numeric, numeric),
            pair(Scalar::Text, "[a-c\u{e9}]{0,4}".prop_map(Datum::Text)),
            pair(Scalar::Bytea, proptest::collection::vec(0u8..3, 0..5).prop_map(|b| Datum::Bytea(b.into()))),
            pair(Scalar::Uuid, any::<[u8; 16]>().prop_map(Datum::Uuid)),
            pair(Scalar::Timestamptz, any::<i64>().prop_map(Datum::Timestamp)),
            pair(Scalar::Date, any::<i32>().prop_map(Datum::Date)),
        ]
    }

    proptest! {
        #[test]
        fn byte_order_is_sql_order((ty, a, b) in arbitrary(), descending: bool, nulls_first: bool, rest: i32) {
            let schema = KeySchema {
                columns: vec![column(ty, descending, nulls_first), KeyColumn::ascending(Scalar::Int4.into())],
                hash_columns: 0,
            };
            let key = |value: &Datum, rest: i32| schema.key(&[value.clone(), Datum::Int4(rest)]).unwrap();
            let expected = match (a.is_null(), b.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) => if nulls_first { Ordering::Less } else { Ordering::Greater },
                (false, true) => if nulls_first { Ordering::Greater } else { Ordering::Less },
                (false, false) if descending => b.sql_cmp(&a),
                (false, false) => a.sql_cmp(&b),
            };
            prop_assert_eq!(key(&a, rest).cmp(&key(&b, rest)), expected);
        }

        #[test]
        fn decoding_gives_the_values_back((ty, a, b) in arbitrary(), descending: bool, hashed: bool) {
            let schema = KeySchema { columns: vec![column(ty, descending, false); 2], hash_columns: usize::from(hashed) };
            let key = schema.key(&[a.clone(), b.clone()]).unwrap();
            let (values, used) = schema.decode(&key);
            prop_assert_eq!(used, key.len());
            prop_assert_eq!(values[0].sql_cmp(&a), Ordering::Equal);
            prop_assert_eq!(values[1].sql_cmp(&b), Ordering::Equal);
        }

        #[test]
        fn decoding_never_panics(bytes: Vec<u8>, (ty, _, _) in arbitrary(), descending: bool) {
            KeySchema { columns: vec![column(ty, descending, true); 3], hash_columns: 1 }.decode(&bytes);
        }
    }

    #[test]
    fn trailing_blanks_of_char_are_no_difference() {
        let schema = KeySchema { columns: vec![KeyColumn::ascending(Scalar::Bpchar.into())], hash_columns: 1 };
        assert_eq!(schema.key(&[Datum::Text("a  ".into())]), schema.key(&[Datum::Text("a".into())]));
    }

    #[test]
    fn a_long_key_is_refused() {
        let schema = KeySchema { columns: vec![KeyColumn::ascending(Scalar::Text.into())], hash_columns: 0 };
        assert!(matches!(schema.key(&[Datum::Text("x".repeat(9_000))]), Err(KeyError::TooLong { .. })));
    }
}
