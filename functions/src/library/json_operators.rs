//! Operators on json and jsonb and the functions that take documents apart or change them.

use common::datum::Datum;
use common::sqlstate::SqlState;
use types::error::ValueError;
use types::json;

use crate::definition::{Args, Definition, RowFn, fail, row, text};

pub(crate) fn definitions() -> Vec<Definition> {
    [access(), changes(), tests(), others()].into_iter().flatten().collect()
}

/// One definition for each name.
fn all(out: &mut Vec<Definition>, names: &[&str], signature: &str, body: RowFn) {
    out.extend(names.iter().map(|name| row(&format!("{name}{signature}"), body)));
}

fn access() -> Vec<Definition> {
    let mut out = Vec::new();
    all(&mut out, &["->", "json_object_field"], "(json,text) json", |a| part(json::get_field(a.text(0)?, a.text(1)?)));
    all(&mut out, &["->", "jsonb_object_field"], "(jsonb,text) jsonb", |a| part(json::get_field(a.text(0)?, a.text(1)?)));
    all(&mut out, &["->", "json_array_element"], "(json,int4) json", |a| part(json::get_element(a.text(0)?, a.int4(1)?)));
    all(&mut out, &["->", "jsonb_array_element"], "(jsonb,int4) jsonb", |a| part(json::get_element_of_jsonb(a.text(0)?, a.int4(1)?)));
    all(&mut out, &["->>", "json_object_field_text"], "(json,text) text", |a| part_text(json::get_field(a.text(0)?, a.text(1)?)));
    all(&mut out, &["->>", "jsonb_object_field_text"], "(jsonb,text) text", |a| part_text(json::get_field(a.text(0)?, a.text(1)?)));
    all(&mut out, &["->>", "json_array_element_text"], "(json,int4) text", |a| part_text(json::get_element(a.text(0)?, a.int4(1)?)));
    all(&mut out, &["->>", "jsonb_array_element_text"], "(jsonb,int4) text", |a| {
        part_text(json::get_element_of_jsonb(a.text(0)?, a.int4(1)?))
    });
    for ty in ["json", "jsonb"] {
        out.push(row(&format!("#>({ty},text[]) {ty}"), |a| part(json::get_path(a.text(0)?, &path(a.array(1)?)))));
        out.push(row(&format!("#>>({ty},text[]) text"), |a| part_text(json::get_path(a.text(0)?, &path(a.array(1)?)))));
        out.push(row(&format!("{ty}_extract_path({ty},variadic text) {ty}"), |a| part(json::get_path(a.text(0)?, &path(&a.values[1..])))));
        out.push(row(&format!("{ty}_extract_path_text({ty},variadic text) text"), |a| {
            part_text(json::get_path(a.text(0)?, &path(&a.values[1..])))
        }));
    }
    out
}

fn part(found: Result<Option<&str>, ValueError>) -> Result<Datum, ValueError> {
    Ok(found?.map_or(Datum::Null, |part| Datum::Text(part.to_owned())))
}

fn part_text(found: Result<Option<&str>, ValueError>) -> Result<Datum, ValueError> {
    match found? {
        Some(part) => Ok(json::as_text(part)?.map_or(Datum::Null, Datum::Text)),
        None => Ok(Datum::Null),
    }
}

/// The steps of a path, NULLs included.
fn path(steps: &[Datum]) -> Vec<Option<&str>> {
    steps.iter().map(step).collect()
}

fn step(value: &Datum) -> Option<&str> {
    if let Datum::Text(text) = value { Some(text) } else { None }
}

/// The keys of an array argument without its NULLs.
fn keys<'a>(args: &Args<'a>) -> Result<Vec<&'a str>, ValueError> {
    Ok(args.array(1)?.iter().filter_map(step).collect())
}

fn tests() -> Vec<Definition> {
    let mut out = Vec::new();
    all(&mut out, &["@>", "jsonb_contains"], "(jsonb,jsonb) bool", |a| json::contains(a.text(0)?, a.text(1)?).map(Datum::Bool));
    all(&mut out, &["<@", "jsonb_contained"], "(jsonb,jsonb) bool", |a| json::contains(a.text(1)?, a.text(0)?).map(Datum::Bool));
    all(&mut out, &["?", "jsonb_exists"], "(jsonb,text) bool", |a| json::exists(a.text(0)?, a.text(1)?).map(Datum::Bool));
    all(&mut out, &["?|", "jsonb_exists_any"], "(jsonb,text[]) bool", |a| json::exists_any(a.text(0)?, &keys(a)?).map(Datum::Bool));
    all(&mut out, &["?&", "jsonb_exists_all"], "(jsonb,text[]) bool", |a| json::exists_all(a.text(0)?, &keys(a)?).map(Datum::Bool));
    out
}

fn changes() -> Vec<Definition> {
    let mut out = Vec::new();
    all(&mut out, &["||", "jsonb_concat"], "(jsonb,jsonb) jsonb", |a| json::concat(a.text(0)?, a.text(1)?).map(Datum::Text));
    all(&mut out, &["-", "jsonb_delete"], "(jsonb,text) jsonb", |a| json::delete_key(a.text(0)?, a.text(1)?).map(Datum::Text));
    all(&mut out, &["-", "jsonb_delete"], "(jsonb,int4) jsonb", |a| json::delete_index(a.text(0)?, a.int4(1)?).map(Datum::Text));
    all(&mut out, &["-", "jsonb_delete"], "(jsonb,text[]) jsonb", |a| json::delete_keys(a.text(0)?, &keys(a)?).map(Datum::Text));
    all(&mut out, &["#-", "jsonb_delete_path"], "(jsonb,text[]) jsonb", |a| {
        json::delete_path(a.text(0)?, &path(a.array(1)?)).map(Datum::Text)
    });
    out.extend([
        row("jsonb_set(jsonb,text[],jsonb) jsonb", |a| set(a, true)),
        row("jsonb_set(jsonb,text[],jsonb,bool) jsonb", |a| set(a, a.bool(3)?)),
        row("jsonb_set_lax(jsonb,text[],jsonb) jsonb", set_lax).nullable(),
        row("jsonb_set_lax(jsonb,text[],jsonb,bool) jsonb", set_lax).nullable(),
        row("jsonb_set_lax(jsonb,text[],jsonb,bool,text) jsonb", set_lax).nullable(),
        row("jsonb_insert(jsonb,text[],jsonb) jsonb", |a| insert(a, false)),
        row("jsonb_insert(jsonb,text[],jsonb,bool) jsonb", |a| insert(a, a.bool(3)?)),
    ]);
    out
}

fn set(args: &Args<'_>, create: bool) -> Result<Datum, ValueError> {
    json::set(args.text(0)?, &path(args.array(1)?), args.text(2)?, create).map(Datum::Text)
}

fn insert(args: &Args<'_>, after: bool) -> Result<Datum, ValueError> {
    json::insert(args.text(0)?, &path(args.array(1)?), args.text(2)?, after).map(Datum::Text)
}

/// `jsonb_set`, which also says what a NULL for the new value means.
fn set_lax(args: &Args<'_>) -> Result<Datum, ValueError> {
    if args.is_null(0) || args.is_null(1) || args.len() > 3 && args.is_null(3) {
        return Ok(Datum::Null);
    }
    let create = if args.len() > 3 { args.bool(3)? } else { true };
    let treatment = match args.len() {
        5 if args.is_null(4) => "",
        5 => args.text(4)?,
        _ => "use_json_null",
    };
    if !args.is_null(2) && !treatment.is_empty() {
        return set(args, create);
    }
    let target = args.text(0)?;
    let steps = path(args.array(1)?);
    match treatment {
        "raise_exception" => Err(ValueError::Other {
            sqlstate: SqlState::NULL_VALUE_NOT_ALLOWED,
            message: "JSON value must not be null".to_owned(),
            detail: Some("Exception was raised because null_value_treatment is \"raise_exception\".".to_owned()),
            hint: Some("To avoid, either change the null_value_treatment argument or ensure that an SQL NULL is not passed.".to_owned()),
        }),
        "use_json_null" => json::set(target, &steps, "null", create).map(Datum::Text),
        "delete_key" => json::delete_path(target, &steps).map(Datum::Text),
        "return_target" => text(target),
        _ => fail(
            SqlState::INVALID_PARAMETER_VALUE,
            "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"",
        ),
    }
}

fn others() -> Vec<Definition> {
    let mut out = Vec::new();
    for ty in ["json", "jsonb"] {
        out.push(row(&format!("{ty}_array_length({ty}) int4"), |a| json::array_length(a.text(0)?).map(Datum::Int4)));
        out.push(row(&format!("{ty}_typeof({ty}) text"), |a| text(json::type_of(a.text(0)?))));
    }
    out.push(row("json_strip_nulls(json) json", |a| json::strip_nulls_of_json(a.text(0)?).map(Datum::Text)));
    out.push(row("jsonb_strip_nulls(jsonb) jsonb", |a| json::strip_nulls(a.text(0)?).map(Datum::Text)));
    out.push(row("jsonb_pretty(jsonb) text", |a| json::pretty(a.text(0)?).map(Datum::Text)));
    out
}
