//! The letters of column types.

use sqllogictest::ColumnType;

/// A column's type, as far as a logic test tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Boolean,
    Smallint,
    Integer,
    Bigint,
    Real,
    Double,
    Numeric,
    Text,
    Varchar,
    Char,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Bytea,
    Uuid,
    Json,
    Jsonb,
    /// An array of any type.
    Array,
    /// Any other.
    Other,
}

use ColumnKind::{
    Array, Bigint, Boolean, Bytea, Char, Date, Double, Integer, Interval, Json, Jsonb, Numeric, Other, Real, Smallint, Text, Time,
    Timestamp, Timestamptz, Uuid, Varchar,
};

/// Each kind's letter and the oid of its type in PostgreSQL's catalog; 0 for those that have many.
const KINDS: [(ColumnKind, char, u32); 21] = [
    (Boolean, 'B', 16),
    (Smallint, 'S', 21),
    (Integer, 'I', 23),
    (Bigint, 'L', 20),
    (Real, 'F', 700),
    (Double, 'R', 701),
    (Numeric, 'N', 1700),
    (Text, 'T', 25),
    (Varchar, 'V', 1043),
    (Char, 'C', 1042),
    (Date, 'D', 1082),
    (Time, 'H', 1083),
    (Timestamp, 'P', 1114),
    (Timestamptz, 'Z', 1184),
    (Interval, 'E', 1186),
    (Bytea, 'Y', 17),
    (Uuid, 'U', 2950),
    (Json, 'O', 114),
    (Jsonb, 'J', 3802),
    (Array, 'A', 0),
    (Other, '?', 0),
];

/// The oids of the arrays of the types above.
const ARRAYS: [u32; 19] = [1000, 1005, 1007, 1016, 1021, 1022, 1231, 1009, 1015, 1014, 1182, 1183, 1115, 1185, 1187, 1001, 2951, 199, 3807];

impl ColumnKind {
    /// The kind of a type, by its oid.
    pub fn of(type_oid: u32) -> Self {
        if ARRAYS.contains(&type_oid) {
            return Array;
        }
        KINDS.iter().find(|(_, _, oid)| *oid == type_oid && type_oid != 0).map_or(Other, |(kind, _, _)| *kind)
    }
}

impl ColumnType for ColumnKind {
    fn from_char(value: char) -> Option<Self> {
        KINDS.iter().find(|(_, letter, _)| *letter == value).map(|(kind, _, _)| *kind)
    }

    fn to_char(&self) -> char {
        KINDS.iter().find(|(kind, _, _)| kind == self).map_or('?', |(_, letter, _)| *letter)
    }
}
