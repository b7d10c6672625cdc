//! SQL/JSON path expressions over jsonb: `@?`, `@@`, `jsonb_path_query` and its relatives.

use std::cell::RefCell;
use std::rc::Rc;

use common::datum::Datum;
use types::error::ValueError;
use types::jsonpath::{self, Options, Path};

use crate::definition::{Args, Definition, RowFn, row, text};

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = Vec::new();
    for name in ["@?", "jsonb_path_exists_opr"] {
        out.push(row(&format!("{name}(jsonb,jsonpath) bool"), |a| truth(jsonpath::exists(path(a)?.as_ref(), a.text(0)?, SILENT))));
    }
    for name in ["@@", "jsonb_path_match_opr"] {
        out.push(row(&format!("{name}(jsonb,jsonpath) bool"), |a| truth(jsonpath::test(path(a)?.as_ref(), a.text(0)?, SILENT))));
    }
    of_all_lengths(&mut out, "jsonb_path_exists", "bool", |a| truth(jsonpath::exists(path(a)?.as_ref(), a.text(0)?, options(a)?)));
    of_all_lengths(&mut out, "jsonb_path_match", "bool", |a| truth(jsonpath::test(path(a)?.as_ref(), a.text(0)?, options(a)?)));
    of_all_lengths(&mut out, "set_of_jsonb_path_query", "jsonb[]", |a| Ok(Datum::Array(found(a)?.into_iter().map(Datum::Text).collect())));
    of_all_lengths(&mut out, "jsonb_path_query_array", "jsonb", |a| text(format!("[{}]", found(a)?.join(", "))));
    of_all_lengths(&mut out, "jsonb_path_query_first", "jsonb", |a| Ok(found(a)?.into_iter().next().map_or(Datum::Null, Datum::Text)));
    out
}

/// The function with and without variables and silence.
fn of_all_lengths(out: &mut Vec<Definition>, name: &str, result: &str, body: RowFn) {
    for more in ["", ",jsonb", ",jsonb,bool"] {
        out.push(row(&format!("{name}(jsonb,jsonpath{more}) {result}"), body));
    }
}

const SILENT: Options<'static> = Options { variables: "{}", silent: true };

fn options<'a>(args: &Args<'a>) -> Result<Options<'a>, ValueError> {
    let variables = if args.len() > 2 { args.text(2)? } else { "{}" };
    let silent = if args.len() > 3 { args.bool(3)? } else { false };
    Ok(Options { variables, silent })
}

/// The path of a call. Mostly it is the same for all rows, so the last one is kept.
fn path(args: &Args<'_>) -> Result<Rc<Path>, ValueError> {
    thread_local! {
        static LAST: RefCell<Option<(String, Rc<Path>)>> = const { RefCell::new(None) };
    }
    let wanted = args.text(1)?;
    let kept = LAST.with_borrow(|last| last.as_ref().filter(|(text, _)| text == wanted).map(|(_, path)| Rc::clone(path)));
    if let Some(path) = kept {
        return Ok(path);
    }
    let path = Rc::new(Path::parse(wanted)?);
    LAST.set(Some((wanted.to_owned(), Rc::clone(&path))));
    Ok(path)
}

fn truth(answer: Result<Option<bool>, ValueError>) -> Result<Datum, ValueError> {
    Ok(answer?.map_or(Datum::Null, Datum::Bool))
}

fn found(args: &Args<'_>) -> Result<Vec<String>, ValueError> {
    jsonpath::query(path(args)?.as_ref(), args.text(0)?, options(args)?)
}
