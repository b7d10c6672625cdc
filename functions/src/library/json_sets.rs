//! Sets of one column out of documents: keys and elements.

use common::datum::Datum;
use types::error::ValueError;
use types::json;

use crate::definition::{Args, Definition, row};

pub(crate) fn definitions() -> Vec<Definition> {
    let mut out = Vec::new();
    for ty in ["json", "jsonb"] {
        out.push(row(&format!("set_of_{ty}_object_keys({ty}) text[]"), keys));
        out.push(row(&format!("set_of_{ty}_array_elements({ty}) {ty}[]"), |a| elements(a, |e| Ok(Some(e.to_owned())))));
        out.push(row(&format!("set_of_{ty}_array_elements_text({ty}) text[]"), |a| elements(a, json::as_text)));
    }
    out
}

/// The name that errors speak of.
fn function<'a>(args: &Args<'a>) -> &'a str {
    args.call.name.trim_start_matches(crate::set_returning::PREFIX)
}

fn keys(args: &Args<'_>) -> Result<Datum, ValueError> {
    let keys = json::object_keys(args.text(0)?, function(args))?;
    Ok(Datum::Array(keys.into_iter().map(Datum::Text).collect()))
}

fn elements(args: &Args<'_>, convert: fn(&str) -> Result<Option<String>, ValueError>) -> Result<Datum, ValueError> {
    let elements = json::array_elements(args.text(0)?, function(args))?;
    let values = elements.into_iter().map(|element| Ok(convert(element)?.map_or(Datum::Null, Datum::Text)));
    values.collect::<Result<common::array::Array, ValueError>>().map(Datum::Array)
}
