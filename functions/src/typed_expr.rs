//! An expression with its SQL type.

use common::types::{Scalar, SqlType};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;

/// The most digits that a Decimal128 holds.
pub const DECIMAL128_DIGITS: u8 = 38;
/// The most digits that a Decimal256 holds.
pub const DECIMAL256_DIGITS: u8 = 76;

/// In the name of a plan's column: what stands before it is the name in SQL, what stands behind makes it unique.
pub const PLAN_NAME_SEPARATOR: char = '\u{1}';

/// Precision and scale of a numeric that travels as an Arrow decimal: Decimal128 up to 38 digits, Decimal256 up to 76.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecimalForm {
    pub precision: u8,
    pub scale: i8,
}

impl DecimalForm {
    /// The form with these digits, if there is one.
    pub fn new(precision: i32, scale: i32) -> Option<Self> {
        let precision = u8::try_from(precision.max(1)).ok().filter(|p| *p <= DECIMAL256_DIGITS)?;
        let scale = i8::try_from(scale).ok().filter(|s| *s >= 0 && s.unsigned_abs() <= precision)?;
        Some(Self { precision, scale })
    }

    /// The form that columns of this type have.
    pub fn of_type(ty: SqlType) -> Option<Self> {
        match ty.arrow() {
            DataType::Decimal128(precision, scale) if !ty.is_array => Some(Self { precision, scale }),
            _ => None,
        }
    }

    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        if self.precision <= DECIMAL128_DIGITS {
            DataType::Decimal128(self.precision, self.scale)
        } else {
            DataType::Decimal256(self.precision, self.scale)
        }
    }

    /// Digits before the point.
    pub fn whole_digits(self) -> i32 {
        i32::from(self.precision) - i32::from(self.scale)
    }

    /// The `numeric(p,s)` of this form.
    pub fn sql_type(self) -> SqlType {
        SqlType::numeric(u16::from(self.precision), i16::from(self.scale))
    }
}

/// A DataFusion expression whose Arrow type is that of `ty` ([`SqlType::arrow`]), with one exception: a numeric without a known precision
/// and scale may be an Arrow decimal, whose digits `decimal` tells; its `ty` is then a numeric without modifier.
///
/// A literal whose type is not decided has type unknown and is a Utf8 literal; a parameter whose type is not decided is a placeholder of
/// type unknown. Casting either of them decides.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedExpr {
    pub expr: Expr,
    pub ty: SqlType,
    /// For a numeric, the decimal form in which it travels; `None` for the sortable byte form.
    pub decimal: Option<DecimalForm>,
}

impl TypedExpr {
    /// An expression with its type, in the type's own Arrow form.
    pub fn new(expr: Expr, ty: impl Into<SqlType>) -> Self {
        let ty = ty.into();
        Self { expr, ty, decimal: DecimalForm::of_type(ty) }
    }

    /// A numeric without modifier that travels as a decimal.
    pub fn decimal(expr: Expr, form: DecimalForm) -> Self {
        Self { expr, ty: Scalar::Numeric.into(), decimal: Some(form) }
    }

    /// The Arrow type that the expression has.
    pub fn arrow(&self) -> DataType {
        match self.decimal {
            Some(form) if !self.ty.is_array => form.arrow(),
            _ => self.ty.arrow(),
        }
    }

    /// Whether the type is still open.
    pub fn is_unknown(&self) -> bool {
        self.ty.scalar == Scalar::Unknown && !self.ty.is_array
    }
}
