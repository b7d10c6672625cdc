//! LIKE and regular expressions.

use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Like;
use types::error::ValueError;

use crate::definition::{Build, Definition, build, fail};
use crate::error::{FunctionError, Result};
use crate::typed_expr::TypedExpr;
use common::types::Scalar;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = Vec::new();
    for (op, function) in [("~~", "like"), ("!~~", "notlike"), ("~~*", "ilike"), ("!~~*", "notilike")] {
        for name in [op, function] {
            out.push(build(&format!("{name}(text,text) bool"), like));
        }
        out.push(build(&format!("{op}(name,text) bool"), like));
        out.push(build(&format!("{op}(bpchar,text) bool"), like));
    }
    out
}

fn like(build: &Build<'_>, mut args: Vec<TypedExpr>) -> Result<TypedExpr> {
    let (Some(pattern), Some(text)) = (args.pop(), args.pop()) else {
        return Err(FunctionError::Internal("LIKE has two operands".into()));
    };
    let negated = build.name.starts_with('!') || build.name.starts_with("not");
    let case_insensitive = build.name.ends_with('*') || build.name.ends_with("ilike");
    let like = Like { negated, expr: Box::new(text.expr), pattern: Box::new(pattern.expr), escape_char: None, case_insensitive };
    Ok(TypedExpr::new(Expr::Like(like), Scalar::Bool))
}

/// Whether a pattern operator holds.
pub(crate) fn matches(op: &str, _: &str, _: &str) -> Result<bool, ValueError> {
    fail(common::sqlstate::SqlState::FEATURE_NOT_SUPPORTED, format!("{op} over the elements of an array is not supported"))
}
