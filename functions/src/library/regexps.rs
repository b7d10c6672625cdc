//! The functions of regular expressions, and SIMILAR TO's patterns.

use std::sync::Arc;

use common::datum::Datum;
use common::sqlstate::SqlState;
use types::error::ValueError;
use types::like::similar_to_regexp;
use types::regexp::{Flags, Match, Regexp};
use types::regexp_functions as regexps;

use super::strings::list;
use crate::definition::{Args, Definition, row, text};
use crate::error::Result;

type Value = Result<Datum, ValueError>;

pub(crate) fn definitions() -> Vec<Definition> {
    [similar(), replacing(), testing(), searching(), splitting()].into_iter().flatten().collect()
}

fn similar() -> Vec<Definition> {
    vec![
        row("similar_to_escape(text) text", |a| text(similar_to_regexp(a.text(0)?, "\\")?)),
        row("similar_to_escape(text,text) text", |a| text(similar_to_regexp(a.text(0)?, a.text(1)?)?)),
        row("similar_escape(text,text) text", |a| {
            if a.is_null(0) {
                return Ok(Datum::Null);
            }
            text(similar_to_regexp(a.text(0)?, if a.is_null(1) { "\\" } else { a.text(1)? })?)
        })
        .nullable(),
        row("substring(text,text) text", |a| optional(regexps::first_part(&*Regexp::cached(a.text(1)?, Flags::default())?, a.text(0)?)?)),
        row("substring(text,text,text) text", |a| {
            let pattern = similar_to_regexp(a.text(1)?, a.text(2)?)?;
            optional(regexps::first_part(&*Regexp::cached(&pattern, Flags::default())?, a.text(0)?)?)
        }),
    ]
}

#[allow(clippy::unnecessary_wraps, reason = "it ends row functions, which answer a Result")]
fn optional(value: Option<&str>) -> Value {
    Ok(value.map_or(Datum::Null, |value| Datum::Text(value.to_owned())))
}

fn replacing() -> Vec<Definition> {
    vec![
        row("regexp_replace(text,text,text) text", |a| replaced(a, Flags::default(), 1, 1)),
        row("regexp_replace(text,text,text,text) text", |a| {
            let flags = replace_flags(a.text(3)?)?;
            replaced(a, flags, 1, i32::from(!flags.global))
        }),
        row("regexp_replace(text,text,text,int4) text", |a| replaced(a, Flags::default(), a.int4(3)?, 1)),
        row("regexp_replace(text,text,text,int4,int4) text", |a| replaced(a, Flags::default(), a.int4(3)?, a.int4(4)?)),
        row("regexp_replace(text,text,text,int4,int4,text) text", |a| replaced(a, Flags::parse(a.text(5)?)?, a.int4(3)?, a.int4(4)?)),
    ]
}

/// The flags of `regexp_replace`; a number there is probably meant as a position.
fn replace_flags(letters: &str) -> Result<Flags, ValueError> {
    Flags::parse(letters).map_err(|error| match error {
        ValueError::Other { sqlstate, message, detail, hint: None } if letters.starts_with(|c: char| c.is_ascii_digit()) => {
            let hint =
                "If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly.".to_owned();
            ValueError::Other { sqlstate, message, detail, hint: Some(hint) }
        }
        other => other,
    })
}

fn replaced(args: &Args<'_>, flags: Flags, start: i32, n: i32) -> Value {
    text(regexps::replace(&*Regexp::cached(args.text(1)?, flags)?, args.text(0)?, args.text(2)?, start, n)?)
}

/// The flags in an argument, if it is there, for a function that does not take "g".
fn flags_without_global(args: &Args<'_>, index: usize) -> Result<Flags, ValueError> {
    if index >= args.len() {
        return Ok(Flags::default());
    }
    let flags = Flags::parse(args.text(index)?)?;
    if flags.global {
        let name = args.call.name.trim_start_matches("set_of_");
        return Err(ValueError::Other {
            sqlstate: SqlState::INVALID_PARAMETER_VALUE,
            message: format!("{name}() does not support the \"global\" option"),
            detail: None,
            hint: (name == "regexp_match").then(|| "Use the regexp_matches function instead.".to_owned()),
        });
    }
    Ok(flags)
}

/// The expression in argument 1 with the flags in another argument.
fn expression(args: &Args<'_>, flags: usize) -> Result<Arc<Regexp>, ValueError> {
    Regexp::cached(args.text(1)?, flags_without_global(args, flags)?)
}

/// An integer argument, or what it is when it is not there.
fn integer(args: &Args<'_>, index: usize, default: i32) -> Result<i32, ValueError> {
    if index < args.len() { args.int4(index) } else { Ok(default) }
}

fn testing() -> Vec<Definition> {
    let mut out = Vec::new();
    for signature in ["regexp_like(text,text) bool", "regexp_like(text,text,text) bool"] {
        out.push(row(signature, |a| expression(a, 2)?.is_match(a.text(0)?).map(Datum::Bool)));
    }
    for signature in ["regexp_match(text,text) text[]", "regexp_match(text,text,text) text[]"] {
        out.push(row(signature, |a| {
            let value = a.text(0)?;
            Ok(match expression(a, 2)?.find_at(value, 0)? {
                None => Datum::Null,
                Some(found) => parts_of(value, &found),
            })
        }));
    }
    out
}

/// The definitions of a function whose last arguments may be left out, down to `least` of them.
fn with_defaults(out: &mut Vec<Definition>, name: &str, args: &[&str], least: usize, result: &str, body: crate::definition::RowFn) {
    for count in least..=args.len() {
        out.push(row(&format!("{name}({}) {result}", args[..count].join(",")), body));
    }
}

fn searching() -> Vec<Definition> {
    let mut out = Vec::new();
    with_defaults(&mut out, "regexp_count", &["text", "text", "int4", "text"], 2, "int4", |a| {
        regexps::count(&*expression(a, 3)?, a.text(0)?, integer(a, 2, 1)?).map(Datum::Int4)
    });
    with_defaults(&mut out, "regexp_instr", &["text", "text", "int4", "int4", "int4", "text", "int4"], 2, "int4", |a| {
        let (start, n, behind) = (integer(a, 2, 1)?, integer(a, 3, 1)?, integer(a, 4, 0)?);
        if !matches!(behind, 0 | 1) {
            return Err(regexps::bad_parameter("endoption", behind));
        }
        let regexp = expression(a, 5)?;
        regexps::instr(&regexp, a.text(0)?, start, n, behind == 1, integer(a, 6, 0)?).map(Datum::Int4)
    });
    with_defaults(&mut out, "regexp_substr", &["text", "text", "int4", "int4", "text", "int4"], 2, "text", |a| {
        let regexp = expression(a, 4)?;
        optional(regexps::substr(&regexp, a.text(0)?, integer(a, 2, 1)?, integer(a, 3, 1)?, integer(a, 5, 0)?)?)
    });
    out
}

fn splitting() -> Vec<Definition> {
    let mut out = Vec::new();
    for name in ["regexp_split_to_array", "set_of_regexp_split_to_table"] {
        with_defaults(&mut out, name, &["text", "text", "text"], 2, "text[]", |a| {
            Ok(list(regexps::split(&*expression(a, 2)?, a.text(0)?)?))
        });
    }
    for signature in ["set_of_regexp_matches(text,text) text[]", "set_of_regexp_matches(text,text,text) text[]"] {
        out.push(row(signature, regexp_matches));
    }
    out
}

/// The rows that `regexp_matches` answers, each a text array.
fn regexp_matches(args: &Args<'_>) -> Value {
    let flags = Flags::parse(if args.len() > 2 { args.text(2)? } else { "" })?;
    let value = args.text(0)?;
    let found = regexps::matches(&*Regexp::cached(args.text(1)?, flags)?, value, flags.global)?;
    Ok(Datum::Array(found.iter().map(|found| parts_of(value, found)).collect()))
}

/// The parts that a match caught.
fn parts_of(text: &str, found: &Match) -> Datum {
    let part = |part: Option<&str>| part.map_or(Datum::Null, |part| Datum::Text(part.to_owned()));
    Datum::Array(regexps::matched(text, found).into_iter().map(part).collect())
}
