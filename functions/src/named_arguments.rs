//! Calls with named arguments: `make_interval(days => 3)`.
//!
//! Only some functions' parameters have names, and a few of those have defaults. Named arguments are brought into their places; the
//! places before the last that is given are filled with defaults, those after it are left to the definitions with fewer arguments.

use common::sqlstate::SqlState;

use crate::error::{FunctionError, Result};
use crate::literals::unknown_literal;
use crate::resolution::{type_list, type_word};
use crate::typed_expr::TypedExpr;

/// The name of a parameter and its default as text.
type Parameter = (&'static str, Option<&'static str>);

/// The default of a last parameter that another definition does without.
const OMITTED: Option<&str> = Some("");

const JSON_PATH: &[Parameter] = &[("target", None), ("path", None), ("vars", Some("{}")), ("silent", Some("false"))];
const TIMESTAMP: &[Parameter] = &[("year", None), ("month", None), ("mday", None), ("hour", None), ("min", None), ("sec", None)];

/// The functions whose parameters have names, as pg_proc tells them.
const FUNCTIONS: &[(&str, &[Parameter])] = &[
    ("json_extract_path", &[("from_json", None), ("path_elems", None)]),
    ("json_extract_path_text", &[("from_json", None), ("path_elems", None)]),
    ("jsonb_extract_path", &[("from_json", None), ("path_elems", None)]),
    ("jsonb_extract_path_text", &[("from_json", None), ("path_elems", None)]),
    ("jsonb_insert", &[("jsonb_in", None), ("path", None), ("replacement", None), ("insert_after", Some("false"))]),
    ("jsonb_path_exists", JSON_PATH),
    ("jsonb_path_match", JSON_PATH),
    ("jsonb_path_query", JSON_PATH),
    ("jsonb_path_query_array", JSON_PATH),
    ("jsonb_path_query_first", JSON_PATH),
    ("jsonb_set", &[("jsonb_in", None), ("path", None), ("replacement", None), ("create_if_missing", Some("true"))]),
    (
        "jsonb_set_lax",
        &[
            ("jsonb_in", None),
            ("path", None),
            ("replacement", None),
            ("create_if_missing", Some("true")),
            ("null_value_treatment", Some("use_json_null")),
        ],
    ),
    ("make_date", &[("year", None), ("month", None), ("day", None)]),
    (
        "make_interval",
        &[
            ("years", Some("0")),
            ("months", Some("0")),
            ("weeks", Some("0")),
            ("days", Some("0")),
            ("hours", Some("0")),
            ("mins", Some("0")),
            ("secs", Some("0.0")),
        ],
    ),
    ("make_time", &[("hour", None), ("min", None), ("sec", None)]),
    ("make_timestamp", TIMESTAMP),
    (
        "make_timestamptz",
        &[("year", None), ("month", None), ("mday", None), ("hour", None), ("min", None), ("sec", None), ("timezone", OMITTED)],
    ),
    ("parse_ident", &[("str", None), ("strict", Some("true"))]),
    ("pg_terminate_backend", &[("pid", None), ("timeout", Some("0"))]),
];

/// The arguments in the order of the parameters.
pub fn arrange(name: &str, positional: Vec<TypedExpr>, named: Vec<(String, TypedExpr)>) -> Result<Vec<TypedExpr>> {
    if let Some(twice) = named.iter().enumerate().find(|(at, (n, _))| named[..*at].iter().any(|(before, _)| before == n)) {
        let message = format!("argument name \"{}\" used more than once", twice.1.0);
        return Err(FunctionError::WrongUse { sqlstate: SqlState::SYNTAX_ERROR, message });
    }
    let shown = || {
        let mut list: Vec<String> = if positional.is_empty() { Vec::new() } else { vec![type_list(&positional)] };
        list.extend(named.iter().map(|(name, value)| format!("{name} => {}", type_word(value.ty))));
        FunctionError::UndefinedFunction(format!("{name}({})", list.join(", ")))
    };
    let (_, parameters) = FUNCTIONS.iter().find(|(function, _)| *function == name).ok_or_else(shown)?;
    let place = |name: &str| parameters.iter().position(|(p, _)| *p == name).filter(|at| *at >= positional.len());
    let mut places: Vec<Option<&TypedExpr>> = vec![None; parameters.len()];
    for (name, value) in &named {
        places[place(name).ok_or_else(shown)?] = Some(value);
    }
    let count = places.iter().rposition(Option::is_some).map_or(positional.len(), |last| last + 1);
    if parameters[count..].iter().any(|(_, default)| default.is_none()) {
        return Err(shown());
    }
    let mut out = positional.clone();
    for at in positional.len()..count {
        let filled = places[at].cloned().or_else(|| parameters[at].1.map(|default| unknown_literal(default.to_owned())));
        out.push(filled.ok_or_else(shown)?);
    }
    Ok(out)
}
