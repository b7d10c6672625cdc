//! Sets of more than one column.

use crate::context::ExprContext;
use crate::definition::Definition;
use crate::error::Result;
use crate::set_returning::SetReturning;
use crate::typed_expr::TypedExpr;

pub(crate) fn definitions() -> Vec<Definition> {
    Vec::new()
}

/// Whether the function answers records.
pub(crate) fn is_record_set(_: &str) -> bool {
    false
}

/// The call of a function that answers records; `None` for other names.
pub(crate) fn record_set(_: &ExprContext<'_>, _: &str, _: &[TypedExpr]) -> Option<Result<SetReturning>> {
    None
}
