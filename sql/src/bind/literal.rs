//! Constants.

use std::str::FromStr;

use common::datum::Datum;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use common::types::Scalar;
use functions::context::CastContext;
use functions::error::FunctionError;
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{DateTimeField, Interval, TypedString, Value};

use super::Binder;
use crate::error::{BindError, Result};

impl Binder<'_> {
    pub(crate) fn literal(&self, value: &Value) -> Result<TypedExpr> {
        Ok(match value {
            Value::Number(digits, _) => number(digits, false)?,
            Value::Boolean(value) => resolve::literal(&Datum::Bool(*value), Scalar::Bool.into()),
            Value::Null => resolve::literal(&Datum::Null, Scalar::Unknown.into()),
            Value::Placeholder(name) => return self.parameter(name),
            Value::HexStringLiteral(digits) => bit_string(&format!("x{digits}"))?,
            Value::SingleQuotedByteStringLiteral(digits) => bit_string(&format!("b{digits}"))?,
            other => match string(other) {
                Some(text) => resolve::unknown_literal(text),
                None => return Err(BindError::unsupported(format!("the literal {other}"))),
            },
        })
    }

    fn parameter(&self, name: &str) -> Result<TypedExpr> {
        /// The protocol counts parameters in 16 bits.
        const PARAMETERS_MAX: usize = 65_535;
        let index = name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()).filter(|n| (1..=PARAMETERS_MAX).contains(n));
        match index {
            Some(index) => Ok(resolve::parameter(&self.cx(), index)),
            None => Err(BindError::new(SqlState::UNDEFINED_PARAMETER, format!("there is no parameter {name}"))),
        }
    }

    /// `date '2024-01-01'`: the type's input function, at once.
    pub(crate) fn typed_string(&self, typed: &TypedString) -> Result<TypedExpr> {
        let named = super::type_name::named_type(&typed.data_type, self.settings)?;
        let text = string(&typed.value.value).ok_or_else(|| BindError::unsupported(format!("the literal {typed}")))?;
        let value = resolve::cast(&self.cx(), resolve::unknown_literal(text), named.ty, CastContext::Explicit)?;
        self.in_domain(value, named.domain.as_deref())
    }

    /// `interval '1' day`, `interval '1-2' year to month`.
    pub(crate) fn interval(&self, interval: &Interval) -> Result<TypedExpr> {
        let sqlparser::ast::Expr::Value(value) = interval.value.as_ref() else {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{}\"", interval.value)));
        };
        let Some(text) = string(&value.value) else {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{value}\"")));
        };
        let word = |unit: &Option<DateTimeField>| unit.as_ref().map(|unit| unit.to_string().to_lowercase());
        let (first, last) = (word(&interval.leading_field), word(&interval.last_field));
        let precision = interval.fractional_seconds_precision.or(interval.leading_precision);
        let ty = super::type_name::interval(first.as_deref(), last.as_deref(), precision)?;
        Ok(resolve::cast(&self.cx(), resolve::unknown_literal(text), ty, CastContext::Explicit)?)
    }
}

/// A number: the smallest of integer, bigint and numeric that holds it. `negative`: a sign stood before it.
pub(crate) fn number(digits: &str, negative: bool) -> Result<TypedExpr> {
    let digits = digits.replace('_', "");
    let signed = if negative { format!("-{digits}") } else { digits.clone() };
    if let Ok(value) = signed.parse::<i32>() {
        return Ok(resolve::literal(&Datum::Int4(value), Scalar::Int4.into()));
    }
    if let Ok(value) = signed.parse::<i64>() {
        return Ok(resolve::literal(&Datum::Int8(value), Scalar::Int8.into()));
    }
    match types::text_input::parse_numeric(&signed) {
        Ok(value) => Ok(resolve::literal(&Datum::Numeric(value), Scalar::Numeric.into())),
        Err(error) if Numeric::from_str(&signed).is_ok() => Err(FunctionError::Value(error).into()),
        Err(_) => Err(BindError::new(SqlState::SYNTAX_ERROR, format!("trailing junk after numeric literal at or near \"{digits}\""))),
    }
}

/// `B'101'`, `X'1F'`.
fn bit_string(text: &str) -> Result<TypedExpr> {
    let bits = types::bits::parse(text).map_err(FunctionError::Value)?;
    Ok(resolve::literal(&Datum::Text(bits), Scalar::Bit.into()))
}

/// The text of a string literal.
pub(crate) fn string(value: &Value) -> Option<String> {
    match value {
        Value::SingleQuotedString(text)
        | Value::EscapedStringLiteral(text)
        | Value::UnicodeStringLiteral(text)
        | Value::NationalStringLiteral(text) => Some(text.clone()),
        Value::DollarQuotedString(dollar) => Some(dollar.value.clone()),
        _ => None,
    }
}
