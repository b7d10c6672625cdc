//! The functions and operators of ranges, for each of the six types.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{RangeKind, Scalar, SqlType};
use types::error::ValueError;
use types::range::{self, Bound, Range};

use crate::definition::{Args, Definition, RowFn, fail, row};

type Value = Result<Datum, ValueError>;

/// Names of operators over two ranges, as symbol and function.
const PREDICATES: [(&str, &str, RowFn); 8] = [
    ("@>", "range_contains", |a| Ok(Datum::Bool(range::contains(&of(a, 0)?, &of(a, 1)?)))),
    ("<@", "range_contained_by", |a| Ok(Datum::Bool(range::contains(&of(a, 1)?, &of(a, 0)?)))),
    ("&&", "range_overlaps", |a| Ok(Datum::Bool(range::overlaps(&of(a, 0)?, &of(a, 1)?)))),
    ("<<", "range_before", |a| Ok(Datum::Bool(range::is_before(&of(a, 0)?, &of(a, 1)?)))),
    (">>", "range_after", |a| Ok(Datum::Bool(range::is_before(&of(a, 1)?, &of(a, 0)?)))),
    ("&<", "range_overleft", |a| Ok(Datum::Bool(range::ends_no_later(&of(a, 0)?, &of(a, 1)?)))),
    ("&>", "range_overright", |a| Ok(Datum::Bool(range::begins_no_earlier(&of(a, 0)?, &of(a, 1)?)))),
    ("-|-", "range_adjacent", |a| Ok(Datum::Bool(range::is_adjacent(&of(a, 0)?, &of(a, 1)?, kind(a, 0)?)))),
];

const SETS: [(&str, &str, RowFn); 3] = [
    ("+", "range_union", |a| datum(&range::union(&of(a, 0)?, &of(a, 1)?, kind(a, 0)?, false)?)),
    ("*", "range_intersect", |a| datum(&range::intersection(&of(a, 0)?, &of(a, 1)?, kind(a, 0)?)?)),
    ("-", "range_minus", |a| datum(&range::difference(&of(a, 0)?, &of(a, 1)?, kind(a, 0)?)?)),
];

/// What is asked of an end: its name, and the answer.
const QUESTIONS: [(&str, fn(&Range) -> bool); 5] = [
    ("isempty", |r| r.is_none()),
    ("lower_inc", |r| r.as_ref().is_some_and(|(lower, _)| lower.inclusive)),
    ("upper_inc", |r| r.as_ref().is_some_and(|(_, upper)| upper.inclusive)),
    ("lower_inf", |r| r.as_ref().is_some_and(|(lower, _)| lower.value.is_none())),
    ("upper_inf", |r| r.as_ref().is_some_and(|(_, upper)| upper.value.is_none())),
];

pub(crate) fn definitions() -> Vec<Definition> {
    RangeKind::ALL.into_iter().flat_map(of_kind).collect()
}

fn of_kind(kind: RangeKind) -> Vec<Definition> {
    let name = Scalar::Range(kind).internal_name();
    let element = kind.element().internal_name();
    let mut out = vec![
        row(&format!("{name}({element},{element}) {name}"), construct).nullable(),
        row(&format!("{name}({element},{element},text) {name}"), construct).nullable(),
        row(&format!("range_merge({name},{name}) {name}"), |a| datum(&range::union(&of(a, 0)?, &of(a, 1)?, self::kind(a, 0)?, true)?)),
        row(&format!("lower({name}) {element}"), |a| Ok(of(a, 0)?.and_then(|(lower, _)| lower.value).unwrap_or(Datum::Null))),
        row(&format!("upper({name}) {element}"), |a| Ok(of(a, 0)?.and_then(|(_, upper)| upper.value).unwrap_or(Datum::Null))),
    ];
    for (symbol, function, body) in PREDICATES {
        out.extend([symbol, function].map(|n| row(&format!("{n}({name},{name}) bool"), body)));
    }
    for (symbol, function, body) in SETS {
        out.extend([symbol, function].map(|n| row(&format!("{n}({name},{name}) {name}"), body)));
    }
    for n in ["@>", "range_contains_elem"] {
        out.push(row(&format!("{n}({name},{element}) bool"), |a| Ok(Datum::Bool(range::contains_value(&of(a, 0)?, a.value(1))))));
    }
    for n in ["<@", "elem_contained_by_range"] {
        out.push(row(&format!("{n}({element},{name}) bool"), |a| Ok(Datum::Bool(range::contains_value(&of(a, 1)?, a.value(0))))));
    }
    let question = |(question, _): (&str, fn(&Range) -> bool)| row(&format!("{question}({name}) bool"), ask);
    out.extend(QUESTIONS.map(question));
    out
}

fn ask(args: &Args<'_>) -> Value {
    let range = of(args, 0)?;
    let answer = QUESTIONS.iter().find(|(name, _)| *name == args.call.name).is_some_and(|(_, answer)| answer(&range));
    Ok(Datum::Bool(answer))
}

fn kind_of(ty: SqlType) -> Result<RangeKind, ValueError> {
    match ty.scalar {
        Scalar::Range(kind) => Ok(kind),
        _ => fail(SqlState::INTERNAL_ERROR, format!("{ty} is no range")),
    }
}

fn kind(args: &Args<'_>, index: usize) -> Result<RangeKind, ValueError> {
    kind_of(args.ty(index))
}

/// A range argument.
fn of(args: &Args<'_>, index: usize) -> Result<Range, ValueError> {
    match range::from_bytes(args.bytes(index)?, kind(args, index)?) {
        Some(range) => Ok(range),
        None => fail(SqlState::DATA_CORRUPTED, "a range is malformed"),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "it ends row functions, which answer a Result")]
fn datum(range: &Range) -> Value {
    Ok(Datum::Bytea(range::to_bytes(range).into()))
}

/// `int4range(1, 5, '[]')`; NULL for an end that is not there.
fn construct(args: &Args<'_>) -> Value {
    let flags = match args.len() {
        2 => "[)",
        _ if args.is_null(2) => return fail(SqlState::DATA_EXCEPTION, "range constructor flags argument must not be null"),
        _ => args.text(2)?,
    };
    let (lower_inclusive, upper_inclusive) = match flags {
        "[]" => (true, true),
        "[)" => (true, false),
        "(]" => (false, true),
        "()" => (false, false),
        _ => {
            return Err(ValueError::Other {
                sqlstate: SqlState::SYNTAX_ERROR,
                message: "invalid range bound flags".to_owned(),
                detail: None,
                hint: Some("Valid values are \"[]\", \"[)\", \"(]\", and \"()\".".to_owned()),
            });
        }
    };
    let value = |index: usize| (!args.is_null(index)).then(|| args.value(index).clone());
    let (lower, upper) = (Bound::new(value(0), lower_inclusive, true), Bound::new(value(1), upper_inclusive, false));
    datum(&range::make(lower, upper, kind_of(args.call.result)?)?)
}
