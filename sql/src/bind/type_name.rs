//! Type names of SQL text.

use std::sync::Arc;

use common::sqlstate::SqlState;
use common::types::{SCALARS, Scalar, SqlType};
use common::user_types::UserType;
use functions::context::SessionSettings;
use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

use crate::error::{BindError, Result};

/// The greatest precision and scale of numeric, and the longest varchar.
const NUMERIC_PRECISION_MAX: u64 = 1_000;
const CHARACTERS_MAX: u64 = 10_485_760;
/// The most bits of a bit string.
const BITS_MAX: i32 = 83_886_080;

/// `interval first to last (precision)`; the fields are in lower case.
pub(crate) fn interval(first: Option<&str>, last: Option<&str>, precision: Option<u64>) -> Result<SqlType> {
    /// Digits of a second.
    const PRECISION_MAX: i32 = 6;
    let precision = precision.map(|p| i32::try_from(p).unwrap_or(PRECISION_MAX).min(PRECISION_MAX));
    match types::interval_text::typmod(first, last, precision) {
        Some(typmod) => Ok(SqlType::with_typmod(Scalar::Interval, typmod)),
        None => {
            let near = last.or(first).unwrap_or("interval");
            Err(BindError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{near}\"")))
        }
    }
}

/// What a type name means: the type of its values, and the domain that it is.
#[derive(Clone, Debug)]
pub struct NamedType {
    pub ty: SqlType,
    pub domain: Option<Arc<UserType>>,
}

/// The type that a type name means, among those that the server is born with and those that users made.
pub fn named_type(name: &DataType, settings: &SessionSettings) -> Result<NamedType> {
    match name {
        DataType::Custom(name, modifiers) if modifiers.is_empty() => {
            let parts = super::from_clause::name_parts(name)?;
            let found = match parts.as_slice() {
                [single] if SCALARS.iter().any(|row| row.3 == single) => None,
                [single] => settings.types.found(&settings.search_path, single),
                [schema, single] => settings.types.named(schema, single),
                _ => None,
            };
            match found {
                Some(found) => Ok(NamedType { ty: found.value_type(), domain: found.domain().map(|_| Arc::clone(found)) }),
                None => custom(name, modifiers).map(|ty| NamedType { ty, domain: None }),
            }
        }
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::Qualified(element, _)) => {
            let element = named_type(element, settings)?;
            if element.domain.is_some() {
                return Err(BindError::unsupported("an array of a domain"));
            }
            // Arrays of arrays have the type of arrays.
            Ok(NamedType { ty: SqlType::array_of(element.ty.element()), domain: None })
        }
        other => built_in(other).map(|ty| NamedType { ty, domain: None }),
    }
}

/// The type of the values that a type name means.
pub fn sql_type(name: &DataType, settings: &SessionSettings) -> Result<SqlType> {
    named_type(name, settings).map(|named| named.ty)
}

fn built_in(name: &DataType) -> Result<SqlType> {
    let plain = |scalar: Scalar| Ok(SqlType::from(scalar));
    match name {
        DataType::Bool | DataType::Boolean => plain(Scalar::Bool),
        DataType::Int2(_) | DataType::SmallInt(_) => plain(Scalar::Int2),
        DataType::Int(_) | DataType::Int4(_) | DataType::Integer(_) => plain(Scalar::Int4),
        DataType::Int8(_) | DataType::BigInt(_) => plain(Scalar::Int8),
        DataType::Float4 | DataType::Real => plain(Scalar::Float4),
        DataType::Float8 | DataType::DoublePrecision | DataType::Double(ExactNumberInfo::None) => plain(Scalar::Float8),
        DataType::Float(info) => float(info),
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info),
        DataType::Text => plain(Scalar::Text),
        DataType::Character(length) | DataType::Char(length) => characters(Scalar::Bpchar, length.as_ref(), "char"),
        DataType::CharacterVarying(length) | DataType::CharVarying(length) | DataType::Varchar(length) => {
            characters(Scalar::Varchar, length.as_ref(), "varchar")
        }
        DataType::Bytea => plain(Scalar::Bytea),
        DataType::Uuid => plain(Scalar::Uuid),
        DataType::Date => plain(Scalar::Date),
        DataType::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => seconds(Scalar::Time, *precision),
        DataType::Time(precision, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => seconds(Scalar::Timetz, *precision),
        DataType::Bit(length) => bit_string(Scalar::Bit, length.or(Some(1))),
        DataType::BitVarying(length) | DataType::VarBit(length) => bit_string(Scalar::Varbit, *length),
        DataType::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => seconds(Scalar::Timestamp, *precision),
        DataType::Timestamp(precision, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => seconds(Scalar::Timestamptz, *precision),
        DataType::Interval { fields, precision } => {
            let fields = fields.as_ref().map(|fields| fields.to_string().to_lowercase());
            let (first, last) = match fields.as_deref().map(|fields| fields.split_once(" to ").ok_or(fields)) {
                Some(Ok((first, last))) => (Some(first), Some(last)),
                Some(Err(only)) => (Some(only), None),
                None => (None, None),
            };
            interval(first, last, *precision)
        }
        DataType::JSON => plain(Scalar::Json),
        DataType::JSONB => plain(Scalar::Jsonb),
        DataType::Regclass => plain(Scalar::Regclass),
        DataType::Custom(name, modifiers) => custom(name, modifiers),
        other => Err(unknown(&other.to_string())),
    }
}

fn unknown(name: &str) -> BindError {
    BindError::new(SqlState::UNDEFINED_OBJECT, format!("type \"{}\" does not exist", name.to_lowercase()))
}

fn custom(name: &sqlparser::ast::ObjectName, modifiers: &[String]) -> Result<SqlType> {
    let parts = super::from_clause::name_parts(name)?;
    let last = match parts.as_slice() {
        [single] => single.as_str(),
        [schema, single] if schema == "pg_catalog" => single.as_str(),
        _ => return Err(unknown(&parts.join("."))),
    };
    let ty = SCALARS.iter().find(|row| row.3 == last).map(|row| row.0);
    let modifier = modifiers.first().and_then(|m| m.parse::<u64>().ok());
    match (ty, modifier) {
        (Some(Scalar::Varchar | Scalar::Bpchar), Some(n)) => {
            let scalar = ty.unwrap_or(Scalar::Varchar);
            characters(scalar, Some(&CharacterLength::IntegerLength { length: n, unit: None }), last)
        }
        (Some(scalar @ (Scalar::Timestamp | Scalar::Timestamptz | Scalar::Time | Scalar::Timetz)), precision) => seconds(scalar, precision),
        (Some(scalar @ (Scalar::Bit | Scalar::Varbit)), length) => bit_string(scalar, length),
        (Some(Scalar::Numeric), Some(p)) => {
            let scale = modifiers.get(1).and_then(|m| m.parse().ok()).unwrap_or(0);
            numeric(&ExactNumberInfo::PrecisionAndScale(p, scale))
        }
        (Some(Scalar::Unknown | Scalar::Void | Scalar::Record), _) | (None, _) => Err(unknown(last)),
        (Some(scalar), _) => Ok(scalar.into()),
    }
}

fn float(info: &ExactNumberInfo) -> Result<SqlType> {
    match info {
        ExactNumberInfo::None => Ok(Scalar::Float8.into()),
        ExactNumberInfo::Precision(0) => {
            Err(BindError::new(SqlState::INVALID_PARAMETER_VALUE, "precision for type float must be at least 1 bit"))
        }
        ExactNumberInfo::Precision(1..=24) => Ok(Scalar::Float4.into()),
        ExactNumberInfo::Precision(25..=53) => Ok(Scalar::Float8.into()),
        _ => Err(BindError::new(SqlState::INVALID_PARAMETER_VALUE, "precision for type float must be less than 54 bits")),
    }
}

fn numeric(info: &ExactNumberInfo) -> Result<SqlType> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(Scalar::Numeric.into()),
        ExactNumberInfo::Precision(p) => (p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (p, s),
    };
    if precision == 0 || precision > NUMERIC_PRECISION_MAX {
        let message = format!("NUMERIC precision {precision} must be between 1 and {NUMERIC_PRECISION_MAX}");
        return Err(BindError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    if scale.unsigned_abs() > NUMERIC_PRECISION_MAX {
        let message = format!("NUMERIC scale {scale} must be between -1000 and 1000");
        return Err(BindError::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(SqlType::numeric(u16::try_from(precision).unwrap_or(u16::MAX), i16::try_from(scale).unwrap_or(0)))
}

fn characters(scalar: Scalar, length: Option<&CharacterLength>, name: &str) -> Result<SqlType> {
    let length = match length {
        None if scalar == Scalar::Bpchar => 1,
        None => return Ok(scalar.into()),
        Some(CharacterLength::Max) => return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"max\"")),
        Some(CharacterLength::IntegerLength { length, .. }) => *length,
    };
    if length == 0 {
        return Err(BindError::new(SqlState::INVALID_PARAMETER_VALUE, format!("length for type {name} must be at least 1")));
    }
    if length > CHARACTERS_MAX {
        return Err(BindError::new(SqlState::INVALID_PARAMETER_VALUE, format!("length for type {name} cannot exceed {CHARACTERS_MAX}")));
    }
    Ok(SqlType::with_typmod(scalar, i32::try_from(length).unwrap_or(i32::MAX - 4) + 4))
}

fn bit_string(scalar: Scalar, length: Option<u64>) -> Result<SqlType> {
    let name = if scalar == Scalar::Bit { "bit" } else { "varbit" };
    match length {
        None => Ok(scalar.into()),
        Some(0) => Err(BindError::new(SqlState::INVALID_PARAMETER_VALUE, format!("length for type {name} must be at least 1"))),
        Some(length) => match i32::try_from(length).ok().filter(|n| *n <= BITS_MAX) {
            Some(length) => Ok(SqlType::with_typmod(scalar, length)),
            None => Err(BindError::new(SqlState::INVALID_PARAMETER_VALUE, format!("length for type {name} cannot exceed {BITS_MAX}"))),
        },
    }
}

fn seconds(scalar: Scalar, precision: Option<u64>) -> Result<SqlType> {
    // A higher precision is lowered to six digits, as PostgreSQL does with a warning.
    match precision {
        None => Ok(scalar.into()),
        Some(digits) => Ok(SqlType::with_typmod(scalar, i32::try_from(digits.min(6)).unwrap_or(6))),
    }
}
