//! An expression with its SQL type.

use common::types::SqlType;
use datafusion::logical_expr::Expr;

/// A DataFusion expression whose Arrow type is that of `ty` ([`SqlType::arrow`]), with one exception: a numeric without a known precision and
/// scale may be any decimal type that arithmetic left it in, or Binary (see `decimal` in this crate); its `ty` is then a numeric without
/// modifier.
///
/// A literal whose type is not decided has type unknown and is a Utf8 literal; a parameter whose type is not decided is a placeholder of
/// type unknown. Casting either of them decides.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedExpr {
    pub expr: Expr,
    pub ty: SqlType,
}

impl TypedExpr {
    /// An expression with its type.
    pub fn new(expr: Expr, ty: impl Into<SqlType>) -> Self {
        Self { expr, ty: ty.into() }
    }
}
