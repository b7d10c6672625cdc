//! LIKE and the operators of regular expressions; the functions of regular expressions are in [`super::regexps`].

use std::sync::Arc;

use common::datum::Datum;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs};
use types::error::ValueError;
use types::like;
use types::regexp::{Flags, Regexp};

use super::text_columns::{on_arrays, texts};
use crate::casts::kernel::on_array;
use crate::definition::{BuildFn, ColumnFn, Definition, RowFn, build, columns, row, text};
use crate::error::{FunctionError, Result, internal, raise};
use crate::literals::constant;
use crate::registry::call_hidden;
use crate::typed_expr::TypedExpr;

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = vec![
        row("like_rows(text,text) bool", |a| like::like(a.text(0)?, a.text(1)?).map(Datum::Bool)).hidden(),
        row("ilike_rows(text,text) bool", |a| like::ilike(a.text(0)?, a.text(1)?).map(Datum::Bool)).hidden(),
        row("like_escape(text,text) text", |a| text(like::like_escape(a.text(0)?, a.text(1)?)?)),
        row("like_escape(bytea,bytea) bytea", |a| Ok(Datum::Bytea(like::like_escape_bytes(a.bytes(0)?, a.bytes(1)?)?.into()))),
    ];
    let likes: [(&str, &str, BuildFn); 4] = [
        ("~~", "like", |_, args| like_of(args, false, false)),
        ("!~~", "nlike", |_, args| like_of(args, true, false)),
        ("~~*", "iclike", |_, args| like_of(args, false, true)),
        ("!~~*", "icnlike", |_, args| like_of(args, true, true)),
    ];
    let regexps: [(&str, &str, ColumnFn); 4] = [
        ("~", "regexeq", |_, a| regexp_test(a, false, false)),
        ("!~", "regexne", |_, a| regexp_test(a, false, true)),
        ("~*", "icregexeq", |_, a| regexp_test(a, true, false)),
        ("!~*", "icregexne", |_, a| regexp_test(a, true, true)),
    ];
    for left in ["text", "name", "bpchar"] {
        for (op, function, body) in likes {
            out.push(build(&format!("{op}({left},text) bool"), body));
            out.push(build(&format!("{left}{function}({left},text) bool"), body));
        }
        for (op, function, body) in regexps {
            out.push(columns(&format!("{op}({left},text) bool"), body));
            out.push(columns(&format!("{left}{function}({left},text) bool"), body));
        }
    }
    for left in ["text", "name"] {
        out.push(build(&format!("like({left},text) bool"), likes[0].2));
        out.push(build(&format!("notlike({left},text) bool"), likes[1].2));
    }
    let of_bytes: [(&[&str], RowFn); 2] = [
        (&["~~", "like", "bytealike"], |a| like::like_bytes(a.bytes(0)?, a.bytes(1)?).map(Datum::Bool)),
        (&["!~~", "notlike", "byteanlike"], |a| Ok(Datum::Bool(!like::like_bytes(a.bytes(0)?, a.bytes(1)?)?))),
    ];
    for (names, body) in of_bytes {
        out.extend(names.iter().map(|name| row(&format!("{name}(bytea,bytea) bool"), body)));
    }
    out
}

/// DataFusion's LIKE for patterns that are known to be whole; PostgreSQL's refuses those that end in an escape character.
fn like_of(mut args: Vec<TypedExpr>, negated: bool, case_insensitive: bool) -> Result<TypedExpr> {
    let (Some(pattern), Some(text)) = (args.pop(), args.pop()) else {
        return Err(FunctionError::Internal("LIKE has two operands".into()));
    };
    let whole = match constant(&pattern.expr, pattern.ty) {
        Some(Datum::Text(pattern)) => pattern.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0,
        Some(Datum::Null) => true,
        _ => false,
    };
    if whole {
        let like = Like { negated, expr: Box::new(text.expr), pattern: Box::new(pattern.expr), escape_char: None, case_insensitive };
        return Ok(TypedExpr::new(Expr::Like(like), Scalar::Bool));
    }
    let key = if case_insensitive { "ilike_rows(text,text) bool" } else { "like_rows(text,text) bool" };
    let ty: SqlType = Scalar::Text.into();
    let matches = call_hidden(key, vec![ty, ty], Scalar::Bool.into(), vec![text.expr, pattern.expr]);
    Ok(TypedExpr::new(if negated { Expr::Not(Box::new(matches)) } else { matches }, Scalar::Bool))
}

/// `text ~ pattern` and the like over columns.
fn regexp_test(args: &ScalarFunctionArgs, ignores_case: bool, negated: bool) -> DataFusionResult<ColumnarValue> {
    let flags = if ignores_case { Flags::ignoring_case() } else { Flags::default() };
    let [text, pattern] = args.args.as_slice() else { return Err(internal("an operator has two operands")) };
    if let ColumnarValue::Scalar(ScalarValue::Utf8(Some(pattern))) = pattern {
        let regexp = Regexp::cached(pattern, flags).map_err(raise)?;
        return on_array(text, |array| {
            let test = |text: Option<&str>| text.map(|t| Ok(regexp.is_match(t)? != negated)).transpose();
            booleans(texts(array)?.iter().map(test))
        });
    }
    on_arrays(args, |arrays| {
        let [text, pattern] = arrays else { return Err(internal("an operator has two operands")) };
        let test = |(text, pattern): (Option<&str>, Option<&str>)| match (text, pattern) {
            (Some(text), Some(pattern)) => Ok(Some(Regexp::cached(pattern, flags)?.is_match(text)? != negated)),
            _ => Ok(None),
        };
        booleans(texts(text)?.iter().zip(texts(pattern)?).map(test))
    })
}

fn booleans(values: impl Iterator<Item = Result<Option<bool>, ValueError>>) -> DataFusionResult<ArrayRef> {
    let array: BooleanArray = values.collect::<Result<_, ValueError>>().map_err(raise)?;
    Ok(Arc::new(array))
}

/// Whether a pattern operator holds.
pub(crate) fn matches(op: &str, text: &str, pattern: &str) -> Result<bool, ValueError> {
    let (symbol, negated) = op.strip_prefix('!').map_or((op, false), |symbol| (symbol, true));
    let holds = match symbol {
        "~~" => like::like(text, pattern)?,
        "~~*" => like::ilike(text, pattern)?,
        "~*" => Regexp::cached(pattern, Flags::ignoring_case())?.is_match(text)?,
        _ => Regexp::cached(pattern, Flags::default())?.is_match(text)?,
    };
    Ok(holds != negated)
}
