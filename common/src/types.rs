//! PostgreSQL's types: identifiers, names, modifiers, and the Arrow type that carries each in a batch.
//!
//! | type | Arrow | remark |
//! | --- | --- | --- |
//! | an enum | Int64 | see [`crate::enums`] |
//! | bool, int2/4/8, float4/8 | Boolean, Int16/32/64, Float32/64 | |
//! | numeric(p,s), p <= 38, 0 <= s <= p | Decimal128(p, s) | cannot hold NaN or infinity |
//! | numeric, any other | Binary | [`crate::numeric::Numeric::to_sortable`]: byte order is numeric order |
//! | text, varchar, bpchar, name, "char", json, jsonb, jsonpath, unknown | Utf8 | bpchar is blank-padded; jsonb and jsonpath are canonical text |
//! | bytea | Binary | |
//! | timetz, inet, cidr, macaddr, ranges | Binary | byte order is their order (numrange: but for display scales); see the crate `types` |
//! | bit, varbit | Utf8 | of 0 and 1 |
//! | uuid | FixedSizeBinary(16) | |
//! | date | Date32 | days since 1970-01-01; i32::MIN/MAX are -infinity/infinity |
//! | time | Time64(us) | |
//! | timestamp | Timestamp(us) | since 1970-01-01; i64::MIN/MAX are -infinity/infinity |
//! | timestamptz | Timestamp(us, "UTC") | likewise |
//! | interval | Interval(MonthDayNano) | |
//! | oid, reg* | UInt32 | |
//! | T\[\] | Binary | the form of [`crate::row`], dimensions and all |
//!
//! Arrow types do not tell a text from a json: whoever needs the SQL type keeps it beside the batch.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::enums::EnumType;
use crate::ids::Oid;

/// A scalar type of PostgreSQL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Scalar {
    Bool,
    Bytea,
    /// The one-byte type `"char"`.
    Char,
    Name,
    Int8,
    Int2,
    Int4,
    Text,
    Oid,
    Regproc,
    Regclass,
    Regtype,
    Regnamespace,
    Regrole,
    Json,
    Float4,
    Float8,
    /// A literal whose type is not decided yet.
    Unknown,
    /// `char(n)`.
    Bpchar,
    Varchar,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Numeric,
    Uuid,
    Jsonb,
    Jsonpath,
    /// The result of a function that returns nothing.
    Void,
    /// An anonymous row.
    Record,
    /// `time with time zone`.
    Timetz,
    Inet,
    Cidr,
    Macaddr,
    Bit,
    Varbit,
    Range(RangeKind),
    /// A type of CREATE TYPE … AS ENUM.
    Enum(EnumType),
}

/// The range types.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum RangeKind {
    Int4,
    Int8,
    Num,
    Ts,
    Tstz,
    Date,
}

impl RangeKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Int4, Self::Int8, Self::Num, Self::Ts, Self::Tstz, Self::Date];

    /// The type of the values in a range.
    pub fn element(self) -> Scalar {
        match self {
            Self::Int4 => Scalar::Int4,
            Self::Int8 => Scalar::Int8,
            Self::Num => Scalar::Numeric,
            Self::Ts => Scalar::Timestamp,
            Self::Tstz => Scalar::Timestamptz,
            Self::Date => Scalar::Date,
        }
    }

    /// Whether each value has a next one.
    pub fn is_discrete(self) -> bool {
        matches!(self, Self::Int4 | Self::Int8 | Self::Date)
    }
}

/// A type of a column or an expression: a scalar or an array of it, with PostgreSQL's type modifier (-1 for none).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SqlType {
    pub scalar: Scalar,
    pub is_array: bool,
    /// As in pg_attribute.atttypmod: varchar(n) is n + 4, numeric(p,s) is ((p << 16) | s) + 4, timestamp(n) is n.
    pub typmod: i32,
}

/// (scalar, oid, array oid, name in pg_type, name in SQL, fixed width or -1, category, preferred in its category)
type ScalarRow = (Scalar, u32, u32, &'static str, &'static str, i16, char, bool);

/// PostgreSQL's pg_type, as far as it is here.
pub const SCALARS: &[ScalarRow] = &[
    (Scalar::Bool, 16, 1000, "bool", "boolean", 1, 'B', true),
    (Scalar::Bytea, 17, 1001, "bytea", "bytea", -1, 'U', false),
    (Scalar::Char, 18, 1002, "char", "\"char\"", 1, 'Z', false),
    (Scalar::Name, 19, 1003, "name", "name", 64, 'S', false),
    (Scalar::Int8, 20, 1016, "int8", "bigint", 8, 'N', false),
    (Scalar::Int2, 21, 1005, "int2", "smallint", 2, 'N', false),
    (Scalar::Int4, 23, 1007, "int4", "integer", 4, 'N', false),
    (Scalar::Regproc, 24, 1008, "regproc", "regproc", 4, 'N', false),
    (Scalar::Text, 25, 1009, "text", "text", -1, 'S', true),
    (Scalar::Oid, 26, 1028, "oid", "oid", 4, 'N', true),
    (Scalar::Json, 114, 199, "json", "json", -1, 'U', false),
    (Scalar::Float4, 700, 1021, "float4", "real", 4, 'N', false),
    (Scalar::Float8, 701, 1022, "float8", "double precision", 8, 'N', true),
    (Scalar::Unknown, 705, 0, "unknown", "unknown", -2, 'X', false),
    (Scalar::Bpchar, 1042, 1014, "bpchar", "character", -1, 'S', false),
    (Scalar::Varchar, 1043, 1015, "varchar", "character varying", -1, 'S', false),
    (Scalar::Date, 1082, 1182, "date", "date", 4, 'D', false),
    (Scalar::Time, 1083, 1183, "time", "time without time zone", 8, 'D', false),
    (Scalar::Timestamp, 1114, 1115, "timestamp", "timestamp without time zone", 8, 'D', false),
    (Scalar::Timestamptz, 1184, 1185, "timestamptz", "timestamp with time zone", 8, 'D', true),
    (Scalar::Interval, 1186, 1187, "interval", "interval", 16, 'T', true),
    (Scalar::Numeric, 1700, 1231, "numeric", "numeric", -1, 'N', false),
    (Scalar::Regclass, 2205, 2210, "regclass", "regclass", 4, 'N', false),
    (Scalar::Regtype, 2206, 2211, "regtype", "regtype", 4, 'N', false),
    (Scalar::Record, 2249, 2287, "record", "record", -1, 'P', false),
    (Scalar::Void, 2278, 0, "void", "void", 4, 'P', false),
    (Scalar::Uuid, 2950, 2951, "uuid", "uuid", 16, 'U', false),
    (Scalar::Jsonb, 3802, 3807, "jsonb", "jsonb", -1, 'U', false),
    (Scalar::Jsonpath, 4072, 4073, "jsonpath", "jsonpath", -1, 'U', false),
    (Scalar::Cidr, 650, 651, "cidr", "cidr", -1, 'I', false),
    (Scalar::Macaddr, 829, 1040, "macaddr", "macaddr", 6, 'U', false),
    (Scalar::Inet, 869, 1041, "inet", "inet", -1, 'I', true),
    (Scalar::Timetz, 1266, 1270, "timetz", "time with time zone", 12, 'D', false),
    (Scalar::Bit, 1560, 1561, "bit", "bit", -1, 'V', false),
    (Scalar::Varbit, 1562, 1563, "varbit", "bit varying", -1, 'V', true),
    (Scalar::Range(RangeKind::Int4), 3904, 3905, "int4range", "int4range", -1, 'R', false),
    (Scalar::Range(RangeKind::Num), 3906, 3907, "numrange", "numrange", -1, 'R', false),
    (Scalar::Range(RangeKind::Ts), 3908, 3909, "tsrange", "tsrange", -1, 'R', false),
    (Scalar::Range(RangeKind::Tstz), 3910, 3911, "tstzrange", "tstzrange", -1, 'R', false),
    (Scalar::Range(RangeKind::Date), 3912, 3913, "daterange", "daterange", -1, 'R', false),
    (Scalar::Range(RangeKind::Int8), 3926, 3927, "int8range", "int8range", -1, 'R', false),
    (Scalar::Regnamespace, 4089, 4090, "regnamespace", "regnamespace", 4, 'N', false),
    (Scalar::Regrole, 4096, 4097, "regrole", "regrole", 4, 'N', false),
];

impl Scalar {
    /// What is known of a type that the server is born with.
    fn row(self) -> &'static ScalarRow {
        SCALARS.iter().find(|row| row.0 == self).expect("every scalar has a row in SCALARS; a test checks it")
    }

    /// The type's identifier in pg_type.
    pub fn oid(self) -> Oid {
        if let Self::Enum(ty) = self { ty.definition().oid } else { Oid(self.row().1) }
    }

    /// The identifier of the array type over this type; 0 where there is none.
    pub fn array_oid(self) -> Oid {
        if let Self::Enum(ty) = self { ty.definition().array_oid } else { Oid(self.row().2) }
    }

    /// pg_type.typname.
    pub fn internal_name(self) -> &'static str {
        if let Self::Enum(ty) = self { &ty.definition().name } else { self.row().3 }
    }

    /// pg_type.typlen.
    pub fn width(self) -> i16 {
        if let Self::Enum(_) = self { 4 } else { self.row().5 }
    }

    /// pg_type.typcategory.
    pub fn category(self) -> char {
        if let Self::Enum(_) = self { 'E' } else { self.row().6 }
    }

    /// pg_type.typispreferred.
    pub fn is_preferred(self) -> bool {
        !matches!(self, Self::Enum(_)) && self.row().7
    }
}

impl From<Scalar> for SqlType {
    fn from(scalar: Scalar) -> Self {
        Self { scalar, is_array: false, typmod: -1 }
    }
}

impl SqlType {
    /// The type with a modifier.
    pub fn with_typmod(scalar: Scalar, typmod: i32) -> Self {
        Self { scalar, is_array: false, typmod }
    }

    /// The array type over this type; the modifier is the elements'.
    pub fn array_of(element: Self) -> Self {
        Self { is_array: true, ..element }
    }

    /// The type of an array's elements; the type itself when it is no array.
    pub fn element(self) -> Self {
        Self { is_array: false, ..self }
    }

    /// `numeric(precision, scale)`.
    pub fn numeric(precision: u16, scale: i16) -> Self {
        Self::with_typmod(Scalar::Numeric, ((i32::from(precision) << 16) | (i32::from(scale) & 0x7ff)) + 4)
    }

    /// The identifier in pg_type.
    pub fn oid(self) -> Oid {
        if self.is_array { self.scalar.array_oid() } else { self.scalar.oid() }
    }

    /// The type with that identifier, without a modifier; `None` when it is not here.
    pub fn from_oid(oid: Oid) -> Option<Self> {
        SCALARS.iter().find_map(|row| {
            if row.1 == oid.0 {
                Some(Self::from(row.0))
            } else if row.2 == oid.0 && row.2 != 0 {
                Some(Self::array_of(row.0.into()))
            } else {
                None
            }
        })
    }

    /// The same type without its modifier.
    pub fn without_typmod(self) -> Self {
        Self { typmod: -1, ..self }
    }

    /// Precision and scale of a `numeric(p, s)`; `None` for a bare numeric and any other type.
    pub fn numeric_precision_scale(self) -> Option<(u16, i16)> {
        if self.scalar != Scalar::Numeric || self.typmod < 4 {
            return None;
        }
        let bits = self.typmod - 4;
        let precision = u16::try_from((bits >> 16) & 0xffff).ok()?;
        let scale = i16::try_from(((bits & 0x7ff) ^ 1024) - 1024).ok()?;
        Some((precision, scale))
    }

    /// The declared length of a varchar(n) or char(n); `None` without one.
    pub fn char_length(self) -> Option<usize> {
        match self.scalar {
            Scalar::Varchar | Scalar::Bpchar if self.typmod >= 4 => usize::try_from(self.typmod - 4).ok(),
            _ => None,
        }
    }

    /// Whether values travel as Decimal128.
    pub fn is_decimal128(self) -> bool {
        matches!(self.numeric_precision_scale(), Some((p, s)) if p <= 38 && s >= 0 && s.unsigned_abs() <= p)
    }

    /// The Arrow type that carries this type in a batch.
    pub fn arrow(self) -> DataType {
        if self.is_array {
            return DataType::Binary;
        }
        match self.scalar {
            Scalar::Bool => DataType::Boolean,
            Scalar::Int2 => DataType::Int16,
            Scalar::Int4 => DataType::Int32,
            Scalar::Int8 | Scalar::Enum(_) => DataType::Int64,
            Scalar::Float4 => DataType::Float32,
            Scalar::Float8 => DataType::Float64,
            Scalar::Numeric => match self.numeric_precision_scale() {
                Some((p, s)) if self.is_decimal128() => DataType::Decimal128(u8::try_from(p).unwrap_or(38), i8::try_from(s).unwrap_or(0)),
                _ => DataType::Binary,
            },
            Scalar::Bytea | Scalar::Timetz | Scalar::Inet | Scalar::Cidr | Scalar::Macaddr | Scalar::Range(_) => DataType::Binary,
            Scalar::Uuid => DataType::FixedSizeBinary(16),
            Scalar::Date => DataType::Date32,
            Scalar::Time => DataType::Time64(TimeUnit::Microsecond),
            Scalar::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Scalar::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Scalar::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
            Scalar::Oid | Scalar::Regproc | Scalar::Regclass | Scalar::Regtype | Scalar::Regnamespace | Scalar::Regrole => DataType::UInt32,
            Scalar::Void => DataType::Null,
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
            | Scalar::Record => DataType::Utf8,
        }
    }

    /// The Arrow type of a list of such values: what a set is before its rows are cut out of it.
    pub fn arrow_list(self) -> DataType {
        DataType::List(Arc::new(Field::new("item", self.arrow(), true)))
    }

    /// The name as `format_type` prints it: `character varying(20)`, `numeric(10,2)`, `integer[]`.
    pub fn display_name(self) -> String {
        let base = if let Scalar::Enum(ty) = self.scalar { &ty.definition().display_name } else { self.scalar.row().4 };
        let mut name = match (self.scalar, self.typmod) {
            (Scalar::Varchar | Scalar::Bpchar, n) if n >= 4 => format!("{base}({})", n - 4),
            (Scalar::Bpchar, _) => "bpchar".to_owned(),
            (Scalar::Numeric, n) if n >= 4 => {
                let (p, s) = self.numeric_precision_scale().unwrap_or((0, 0));
                format!("numeric({p},{s})")
            }
            (Scalar::Bit | Scalar::Varbit, n) if n >= 0 => format!("{base}({n})"),
            (Scalar::Bit, _) => "\"bit\"".to_owned(),
            (Scalar::Timestamp | Scalar::Timestamptz | Scalar::Time | Scalar::Timetz, n) if n >= 0 => {
                let (first, rest) = base.split_once(' ').unwrap_or((base, ""));
                format!("{first}({n}) {rest}")
            }
            _ => base.to_owned(),
        };
        if self.is_array {
            name.push_str("[]");
        }
        name
    }
}

impl SqlType {
    /// The name of the type without a modifier, as regtype and messages print it: there `bpchar` is `character`.
    pub fn plain_name(self) -> String {
        match (self.scalar, self.is_array) {
            (Scalar::Bit, false) => "bit".to_owned(),
            (Scalar::Bit, true) => "bit[]".to_owned(),
            (Scalar::Bpchar, false) => "character".to_owned(),
            (Scalar::Bpchar, true) => "character[]".to_owned(),
            _ => self.without_typmod().display_name(),
        }
    }
}

impl std::fmt::Display for SqlType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.display_name())
    }
}
