//! Functions and operators over text; those with column kernels are in [`super::text_columns`], patterns in [`super::patterns`].

use std::cmp::Ordering;

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use datafusion::logical_expr::expr::BinaryExpr;
use datafusion::logical_expr::{Expr, Operator};
use types::error::ValueError;
use types::format_string::{self, FormatArguments};
use types::text_output::to_text;
use types::{bytes, encodings, quoting, strings};
use unicode_normalization::UnicodeNormalization;

use crate::casts::coerce;
use crate::context::CastContext;
use crate::definition::{Args, Build, Definition, RowFn, build, fail, row, text};
use crate::error::{FunctionError, Result};
use crate::registry::call_hidden;
use crate::typed_expr::TypedExpr;

type Value = Result<Datum, ValueError>;

pub(crate) fn definitions() -> Vec<Definition> {
    [concatenation(), positions(), changes(), codes(), quotes(), lists(), bytewise_orders()].into_iter().flatten().collect()
}

fn concatenation() -> Vec<Definition> {
    vec![
        build("||(text,text) text", joined),
        build("||(text,anynonarray) text", joined),
        build("||(anynonarray,text) text", joined),
        build("textcat(text,text) text", joined),
        build("textanycat(text,anynonarray) text", joined),
        build("anytextcat(anynonarray,text) text", joined),
        row("concat(variadic any) text", |a| Ok(Datum::Text((0..a.len()).filter_map(|i| shown(a, i)).collect()))).nullable().stable(),
        row("concat_ws(text,variadic any) text", concat_ws).nullable().stable(),
        row("format(text) text", formatted).nullable().stable(),
        row("format(text,variadic any) text", formatted).nullable().stable(),
    ]
}

fn positions() -> Vec<Definition> {
    let mut out = vec![
        row("position(text,text) int4", |a| Ok(Datum::Int4(strings::position(a.text(0)?, a.text(1)?)))),
        row("strpos(text,text) int4", |a| Ok(Datum::Int4(strings::position(a.text(0)?, a.text(1)?)))),
        row("textlen(text) int4", |a| Ok(Datum::Int4(strings::length(a.text(0)?)))),
        row("bit_length(text) int4", |a| Ok(Datum::Int4(bytes::length(a.text(0)?.as_bytes()).saturating_mul(8)))),
        row("octet_length(bpchar) int4", |a| Ok(Datum::Int4(bytes::length(a.text(0)?.as_bytes())))),
        row("split_part(text,text,int4) text", |a| text(strings::split_part(a.text(0)?, a.text(1)?, a.int4(2)?)?)),
    ];
    for name in ["starts_with", "^@"] {
        out.push(row(&format!("{name}(text,text) bool"), |a| Ok(Datum::Bool(a.text(0)?.starts_with(a.text(1)?)))));
    }
    out
}

fn changes() -> Vec<Definition> {
    vec![
        row("initcap(text) text", |a| text(strings::initcap(a.text(0)?))),
        row("overlay(text,text,int4) text", |a| text(strings::overlay(a.text(0)?, a.text(1)?, a.int4(2)?, None)?)),
        row("overlay(text,text,int4,int4) text", |a| text(strings::overlay(a.text(0)?, a.text(1)?, a.int4(2)?, Some(a.int4(3)?))?)),
        row("lpad(text,int4) text", |a| text(strings::lpad(a.text(0)?, a.int4(1)?, " ")?)),
        row("lpad(text,int4,text) text", |a| text(strings::lpad(a.text(0)?, a.int4(1)?, a.text(2)?)?)),
        row("rpad(text,int4) text", |a| text(strings::rpad(a.text(0)?, a.int4(1)?, " ")?)),
        row("rpad(text,int4,text) text", |a| text(strings::rpad(a.text(0)?, a.int4(1)?, a.text(2)?)?)),
        row("btrim(text,text) text", |a| text(strings::trim(a.text(0)?, a.text(1)?, true, true))),
        row("ltrim(text,text) text", |a| text(strings::trim(a.text(0)?, a.text(1)?, true, false))),
        row("rtrim(text,text) text", |a| text(strings::trim(a.text(0)?, a.text(1)?, false, true))),
        row("replace(text,text,text) text", |a| text(strings::replace(a.text(0)?, a.text(1)?, a.text(2)?))),
        row("translate(text,text,text) text", |a| text(strings::translate(a.text(0)?, a.text(1)?, a.text(2)?))),
        row("reverse(text) text", |a| Ok(Datum::Text(a.text(0)?.chars().rev().collect()))),
        row("repeat(text,int4) text", |a| text(strings::repeat(a.text(0)?, a.int4(1)?)?)),
        row("unistr(text) text", |a| text(strings::unistr(a.text(0)?)?)),
        row("normalize(text) text", |a| text(normalized(a.text(0)?, "NFC")?)),
        row("normalize(text,text) text", |a| text(normalized(a.text(0)?, a.text(1)?)?)),
        row("is_normalized(text) bool", |a| Ok(Datum::Bool(normalized(a.text(0)?, "NFC")? == a.text(0)?))),
        row("is_normalized(text,text) bool", |a| Ok(Datum::Bool(normalized(a.text(0)?, a.text(1)?)? == a.text(0)?))),
    ]
}

fn codes() -> Vec<Definition> {
    vec![
        row("chr(int4) text", |a| text(strings::chr(a.int4(0)?)?)),
        row("ascii(text) int4", |a| Ok(Datum::Int4(strings::ascii(a.text(0)?)))),
        row("to_hex(int4) text", |a| text(format!("{:x}", a.int4(0)?))),
        row("to_hex(int8) text", |a| text(format!("{:x}", a.int8(0)?))),
        row("decode(text,text) bytea", |a| Ok(Datum::Bytea(encodings::decode(a.text(0)?, a.text(1)?)?.into()))),
        row("encode(bytea,text) text", |a| text(encodings::encode(a.bytes(0)?, a.text(1)?)?)),
        row("convert_from(bytea,name) text", |a| text(encodings::convert_from(a.bytes(0)?, a.text(1)?)?)).stable(),
        row("convert_to(text,name) bytea", |a| Ok(Datum::Bytea(encodings::convert_to(a.text(0)?, a.text(1)?)?.into()))).stable(),
        row("convert(bytea,name,name) bytea", |a| Ok(Datum::Bytea(encodings::convert(a.bytes(0)?, a.text(1)?, a.text(2)?)?.into())))
            .stable(),
    ]
}

fn quotes() -> Vec<Definition> {
    vec![
        row("quote_ident(text) text", |a| text(quoting::quote_ident(a.text(0)?))),
        row("quote_literal(text) text", |a| text(quoting::quote_literal(a.text(0)?))),
        build("quote_literal(anyelement) text", |b, args| of_text(b, args, "quote_literal(text) text")),
        row("quote_nullable(text) text", |a| text(if a.is_null(0) { "NULL".into() } else { quoting::quote_literal(a.text(0)?) }))
            .nullable(),
        build("quote_nullable(anyelement) text", |b, args| of_text(b, args, "quote_nullable(text) text")),
        row("parse_ident(text) text[]", |a| Ok(list(quoting::parse_ident(a.text(0)?, true)?))),
        row("parse_ident(text,bool) text[]", |a| Ok(list(quoting::parse_ident(a.text(0)?, a.bool(1)?)?))),
    ]
}

fn lists() -> Vec<Definition> {
    let mut out = vec![
        row("array_to_string(anyarray,text) text", array_to_string).stable(),
        row("array_to_string(anyarray,text,text) text", array_to_string).nullable().stable(),
    ];
    for name in ["string_to_array", "set_of_string_to_table"] {
        out.push(row(&format!("{name}(text,text) text[]"), string_to_array).nullable());
        out.push(row(&format!("{name}(text,text,text) text[]"), string_to_array).nullable());
    }
    out
}

/// The operators of the pattern operator classes; a character(n) counts without its trailing blanks.
fn bytewise_orders() -> Vec<Definition> {
    let orders: [(&str, &str, RowFn); 4] = [
        ("~<~", "lt", |a| bytewise(a, Ordering::is_lt)),
        ("~<=~", "le", |a| bytewise(a, Ordering::is_le)),
        ("~>~", "gt", |a| bytewise(a, Ordering::is_gt)),
        ("~>=~", "ge", |a| bytewise(a, Ordering::is_ge)),
    ];
    let mut out = Vec::new();
    for ty in ["text", "bpchar"] {
        for (op, function, body) in orders {
            out.push(row(&format!("{op}({ty},{ty}) bool"), body));
            out.push(row(&format!("{ty}_pattern_{function}({ty},{ty}) bool"), body));
        }
    }
    out
}

fn bytewise(args: &Args<'_>, holds: fn(Ordering) -> bool) -> Value {
    let (left, right) = (args.text(0)?, args.text(1)?);
    let order = match args.ty(0).scalar {
        Scalar::Bpchar => left.trim_end_matches(' ').cmp(right.trim_end_matches(' ')),
        _ => left.cmp(right),
    };
    Ok(Datum::Bool(holds(order)))
}

/// A list of texts.
pub(crate) fn list<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Datum {
    Datum::Array(texts.into_iter().map(|t| Datum::Text(t.into())).collect())
}

/// `a || b`, both as text; DataFusion joins them.
fn joined(build: &Build<'_>, args: Vec<TypedExpr>) -> Result<TypedExpr> {
    let cast = |arg| coerce(build.cx, arg, Scalar::Text.into(), CastContext::Explicit);
    let mut cast: Vec<TypedExpr> = args.into_iter().map(cast).collect::<Result<_>>()?;
    let (Some(right), Some(left)) = (cast.pop(), cast.pop()) else {
        return Err(FunctionError::Internal("|| has two operands".into()));
    };
    let expr = BinaryExpr { left: Box::new(left.expr), op: Operator::StringConcat, right: Box::new(right.expr) };
    Ok(TypedExpr::new(Expr::BinaryExpr(expr), Scalar::Text))
}

/// Calls a function of text with the only argument as text.
fn of_text(build: &Build<'_>, mut args: Vec<TypedExpr>, key: &str) -> Result<TypedExpr> {
    let arg = args.pop().ok_or_else(|| FunctionError::Internal("no argument".into()))?;
    let arg = coerce(build.cx, arg, Scalar::Text.into(), CastContext::Explicit)?;
    let ty: SqlType = Scalar::Text.into();
    Ok(TypedExpr::new(call_hidden(key, vec![ty], ty, vec![arg.expr]), ty))
}

/// The output form of an argument; `None` for NULL.
fn shown(args: &Args<'_>, index: usize) -> Option<String> {
    match args.value(index) {
        Datum::Null => None,
        Datum::Text(text) => Some(text.clone()),
        other => Some(to_text(other, args.ty(index), &args.settings().format)),
    }
}

fn concat_ws(args: &Args<'_>) -> Value {
    if args.is_null(0) {
        return Ok(Datum::Null);
    }
    let parts: Vec<String> = (1..args.len()).filter_map(|i| shown(args, i)).collect();
    text(parts.join(args.text(0)?))
}

impl FormatArguments for &Args<'_> {
    fn count(&self) -> usize {
        self.len() - 1
    }

    fn text(&self, index: usize) -> Option<String> {
        shown(self, index + 1)
    }

    fn width(&self, index: usize) -> Result<Option<i32>, ValueError> {
        match self.value(index + 1) {
            Datum::Null => Ok(None),
            Datum::Int2(width) => Ok(Some(i32::from(*width))),
            Datum::Int4(width) => Ok(Some(*width)),
            _ => {
                let text = self.text(index).unwrap_or_default();
                match types::text_input::parse(&text, Scalar::Int4.into(), &self.settings().format)? {
                    Datum::Int4(width) => Ok(Some(width)),
                    _ => Ok(None),
                }
            }
        }
    }
}

fn formatted(args: &Args<'_>) -> Value {
    if args.is_null(0) { Ok(Datum::Null) } else { text(format_string::format(args.text(0)?, &args)?) }
}

fn normalized(value: &str, form: &str) -> Result<String, ValueError> {
    Ok(match form.to_ascii_uppercase().as_str() {
        "NFC" => value.nfc().collect(),
        "NFD" => value.nfd().collect(),
        "NFKC" => value.nfkc().collect(),
        "NFKD" => value.nfkd().collect(),
        _ => return fail(SqlState::INVALID_PARAMETER_VALUE, format!("invalid normalization form: {form}")),
    })
}

fn string_to_array(args: &Args<'_>) -> Value {
    if args.is_null(0) {
        return if args.call.name.starts_with("set_of_") { Ok(Datum::Array(common::array::Array::default())) } else { Ok(Datum::Null) };
    }
    let separator = if args.is_null(1) { None } else { Some(args.text(1)?) };
    let null = if args.is_null(2) { None } else { Some(args.text(2)?) };
    let field = |field: &str| if null == Some(field) { Datum::Null } else { Datum::Text(field.to_owned()) };
    Ok(Datum::Array(strings::fields(args.text(0)?, separator).into_iter().map(field).collect()))
}

fn array_to_string(args: &Args<'_>) -> Value {
    if args.is_null(0) || args.is_null(1) {
        return Ok(Datum::Null);
    }
    let null = if args.is_null(2) { None } else { Some(args.text(2)?.to_owned()) };
    let element = args.ty(0).element();
    let shown = |value: &Datum| match value {
        Datum::Null => null.clone(),
        other => Some(to_text(other, element, &args.settings().format)),
    };
    let parts: Vec<String> = args.array(0)?.iter().filter_map(shown).collect();
    text(parts.join(args.text(1)?))
}
