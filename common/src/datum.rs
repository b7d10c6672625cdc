//! One SQL value, for the paths that handle a row at a time; batches carry columns instead (see [`crate::columns`]).

use std::cmp::Ordering;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::array::Array;
use crate::interval::Interval;
use crate::numeric::Numeric;

/// A value of some SQL type. The variant tells the representation, not the type: `Text` carries text, varchar, bpchar
/// (blank-padded), name, json and jsonb (canonical); `Timestamp` carries timestamp and timestamptz.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Datum {
    Null,
    Bool(bool),
    Int2(i16),
    Int4(i32),
    Int8(i64),
    Float4(f32),
    Float8(f64),
    Numeric(Numeric),
    Text(String),
    Bytea(Bytes),
    Uuid([u8; 16]),
    /// Days since 1970-01-01; `i32::MIN` and `i32::MAX` are the infinities.
    Date(i32),
    /// Microseconds since midnight; 24:00 is allowed.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00 (UTC for timestamptz); `i64::MIN` and `i64::MAX` are the infinities.
    Timestamp(i64),
    Interval(Interval),
    /// oid and the reg* types.
    Oid(u32),
    Array(Array),
}

impl Datum {
    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The order of two values of one type, as `ORDER BY` sees it; NULL is above everything, NaN above every number.
    pub fn sql_cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Greater,
            (_, Self::Null) => Ordering::Less,
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int2(a), Self::Int2(b)) => a.cmp(b),
            (Self::Int4(a), Self::Int4(b)) => a.cmp(b),
            (Self::Int8(a), Self::Int8(b)) => a.cmp(b),
            (Self::Float4(a), Self::Float4(b)) => float_cmp(f64::from(*a), f64::from(*b)),
            (Self::Float8(a), Self::Float8(b)) => float_cmp(*a, *b),
            (Self::Numeric(a), Self::Numeric(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bytea(a), Self::Bytea(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Time(a), Self::Time(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::Interval(a), Self::Interval(b)) => a.cmp(b),
            (Self::Oid(a), Self::Oid(b)) => a.cmp(b),
            (Self::Array(a), Self::Array(b)) => {
                let by_element = a.iter().zip(b.iter()).map(|(x, y)| x.sql_cmp(y)).find(|o| o.is_ne());
                let shape = |array: &Array| (array.len(), array.dimensions().len());
                by_element.unwrap_or_else(|| shape(a).cmp(&shape(b)).then_with(|| a.dimensions().cmp(b.dimensions())))
            }
            _ => self.variant().cmp(&other.variant()),
        }
    }

    fn variant(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int2(_) => 2,
            Self::Int4(_) => 3,
            Self::Int8(_) => 4,
            Self::Float4(_) => 5,
            Self::Float8(_) => 6,
            Self::Numeric(_) => 7,
            Self::Text(_) => 8,
            Self::Bytea(_) => 9,
            Self::Uuid(_) => 10,
            Self::Date(_) => 11,
            Self::Time(_) => 12,
            Self::Timestamp(_) => 13,
            Self::Interval(_) => 14,
            Self::Oid(_) => 15,
            Self::Array(_) => 16,
        }
    }
}

/// PostgreSQL's order of floats: zeros are equal, NaN equals itself and is above everything.
pub fn float_cmp(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
