//! Functions, operators and casts, under PostgreSQL's oids: of PostgreSQL's lists those whose names exist here.

use std::collections::HashMap;
use std::sync::LazyLock;

use common::datum::Datum;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::SqlType;
use functions::resolve::{function_exists, is_aggregate, is_window, operator_exists};

use super::super::names;
use super::super::pg_type;
use super::super::roles::OWNER_OID;
use super::relations::in_pg_catalog;
use super::types::INTERNAL_LANGUAGE;
use super::{FALSE, NONE, NULL, Reading, Row, count, oid, text};

/// A function as PostgreSQL's pg_proc has it.
struct Function {
    oid: Oid,
    name: &'static str,
    /// f: function, a: aggregate, w: window function.
    kind: &'static str,
    volatility: &'static str,
    strict: bool,
    returns_set: bool,
    variadic: u32,
    result: u32,
    arguments: Vec<u32>,
}

const WELL_FORMED: &str = "the lists are a part of the program, and a test reads them";

static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| {
    let of_types: Vec<u32> = pg_type::all().iter().flat_map(|ty| ty.functions).collect();
    let exists = |f: &Function| {
        let called = match f.kind {
            "a" => is_aggregate(f.name),
            "w" => is_window(f.name),
            _ => function_exists(f.name),
        };
        called || of_types.contains(&f.oid.0)
    };
    lines(include_str!("../pg_proc.txt")).map(read).filter(exists).collect()
});
static BY_OID: LazyLock<HashMap<Oid, usize>> = LazyLock::new(|| FUNCTIONS.iter().enumerate().map(|(at, f)| (f.oid, at)).collect());

fn lines(list: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    list.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').collect())
}

fn number(word: &str) -> u32 {
    word.parse().expect(WELL_FORMED)
}

fn read(words: Vec<&'static str>) -> Function {
    let [oid, name, kind, volatility, strict, returns_set, variadic, result, arguments] = words[..] else { unreachable!("{WELL_FORMED}") };
    Function {
        oid: Oid(number(oid)),
        name,
        kind,
        volatility,
        strict: strict == "t",
        returns_set: returns_set == "t",
        variadic: number(variadic),
        result: number(result),
        arguments: if arguments == "-" { Vec::new() } else { arguments.split(',').map(number).collect() },
    }
}

fn function(oid: Oid) -> Option<&'static Function> {
    BY_OID.get(&oid).map(|at| &FUNCTIONS[*at])
}

/// A function's name.
pub(in super::super) fn name(oid: Oid) -> Option<&'static str> {
    function(oid).map(|f| f.name)
}

/// The function of that name; 42725 when there are several.
pub(in super::super) fn by_name(text: &str) -> Result<Option<Oid>, Report> {
    let parts = names::split(text)?;
    let name = match parts.as_slice() {
        [name] => name,
        [schema, name] if schema == "pg_catalog" => name,
        _ => return Ok(None),
    };
    let mut found = FUNCTIONS.iter().filter(|f| f.name == name);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(Report::new(SqlState::AMBIGUOUS_FUNCTION, format!("more than one function named \"{text}\""))),
        (first, _) => Ok(first.map(|f| f.oid)),
    }
}

/// The argument types of a function, as `pg_get_function_arguments` answers.
pub(in super::super) fn arguments(oid: Oid) -> Option<String> {
    let function = function(oid)?;
    let last = function.arguments.len().saturating_sub(1);
    let shown = function.arguments.iter().enumerate().map(|(at, ty)| {
        let prefix = if function.variadic != 0 && at == last { "VARIADIC " } else { "" };
        format!("{prefix}{}", type_name(Oid(*ty)))
    });
    Some(shown.collect::<Vec<_>>().join(", "))
}

/// The type of a function's result, as `pg_get_function_result` answers.
pub(in super::super) fn result(oid: Oid) -> Option<String> {
    let function = function(oid)?;
    let set = if function.returns_set { "SETOF " } else { "" };
    Some(format!("{set}{}", type_name(Oid(function.result))))
}

/// The name of a type as `format_type` prints it, pseudo-types included.
pub(in super::super) fn type_name(oid: Oid) -> String {
    match (SqlType::from_oid(oid), pg_type::by_oid(oid)) {
        (Some(ty), _) => ty.display_name(),
        (None, Some(pseudo)) => names::quoted(pseudo.name),
        (None, None) => "???".to_owned(),
    }
}

pub(super) fn pg_proc(_: &Reading<'_>) -> Vec<Row> {
    FUNCTIONS.iter().map(function_row).collect()
}

fn function_row(f: &Function) -> Row {
    vec![
        oid(f.oid),
        text(f.name),
        in_pg_catalog(),
        oid(OWNER_OID),
        oid(INTERNAL_LANGUAGE),
        Datum::Float4(1.0),
        Datum::Float4(if f.returns_set { 1000.0 } else { 0.0 }),
        Datum::Oid(f.variadic),
        NONE, // prosupport
        text(f.kind),
        FALSE, // prosecdef
        FALSE, // proleakproof
        Datum::Bool(f.strict),
        Datum::Bool(f.returns_set),
        text(f.volatility),
        text("s"),
        count(f.arguments.len()),
        count(0), // pronargdefaults
        Datum::Oid(f.result),
        Datum::Array(f.arguments.iter().map(|ty| Datum::Oid(*ty)).collect()),
        NULL, // proallargtypes
        NULL, // proargmodes
        NULL, // proargnames
        NULL, // proargdefaults
        NULL, // protrftypes
        text(f.name),
    ]
}

/// Aggregates are not made of functions here, so that only what kind they are can be told.
pub(super) fn pg_aggregate(_: &Reading<'_>) -> Vec<Row> {
    let aggregates = FUNCTIONS.iter().filter(|f| f.kind == "a");
    let row = |f: &Function| {
        let ordered = matches!(f.name, "mode" | "percentile_cont" | "percentile_disc");
        let kind = if ordered { "o" } else { "n" };
        let direct = Datum::Int2(i16::from(ordered && f.name != "mode"));
        let mut row = vec![oid(f.oid), text(kind), direct];
        row.extend(std::iter::repeat_n(NONE, 8));
        row.extend([FALSE, FALSE, text("r"), text("r"), NONE, NONE, Datum::Int4(0), NONE, Datum::Int4(0)]);
        row
    };
    aggregates.map(row).collect()
}

static OPERATORS: LazyLock<Vec<Vec<&'static str>>> =
    LazyLock::new(|| lines(include_str!("../pg_operator.txt")).filter(|words| operator_exists(words[1])).collect());

/// Whether an operator has that oid.
pub(super) fn is_operator(oid: u32) -> bool {
    OPERATORS.iter().any(|words| number(words[0]) == oid)
}

pub(super) fn pg_operator(_: &Reading<'_>) -> Vec<Row> {
    let row = |words: &Vec<&'static str>| {
        let [number_, name, kind, merges, hashes, left, right, result, commutator, negator, code] = words[..] else {
            unreachable!("{WELL_FORMED}")
        };
        let reference = |word: &str| Datum::Oid(number(word));
        let mut row = vec![reference(number_), text(name), in_pg_catalog(), oid(OWNER_OID), text(kind)];
        row.extend([Datum::Bool(merges == "t"), Datum::Bool(hashes == "t")]);
        row.extend([left, right, result, commutator, negator, code].map(reference));
        row.extend([NONE, NONE]);
        row
    };
    OPERATORS.iter().map(row).collect()
}

pub(super) fn pg_cast(_: &Reading<'_>) -> Vec<Row> {
    let row = |words: Vec<&'static str>| {
        let [number_, source, target, function, context, method] = words[..] else { unreachable!("{WELL_FORMED}") };
        let mut row: Row = [number_, source, target, function].map(|word| Datum::Oid(number(word))).into();
        row.extend([text(context), text(method)]);
        row
    };
    lines(include_str!("../pg_cast.txt")).map(row).collect()
}
