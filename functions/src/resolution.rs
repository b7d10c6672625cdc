//! Which definition a call means: PostgreSQL's rules for functions and operators.
//!
//! An exact match wins. Else the candidates that the arguments cast to implicitly are narrowed down, by the number of exact matches, then
//! of preferred types; open arguments then count for strings, or for the type category that all candidates agree on, or for the type of
//! the arguments that are decided.

use common::types::{Scalar, SqlType};

use crate::casts::{coerce, paths};
use crate::common_types;
use crate::context::{CastContext, ExprContext};
use crate::definition::{ArgType, Body, Build, Definition};
use crate::error::{FunctionError, Result};
use crate::lifted::call_expr;
use crate::literals::settle_unknown;
use crate::typed_expr::TypedExpr;

/// A definition with its signature spread over the actual arguments.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) definition: &'static Definition,
    args: Vec<ArgType>,
}

/// What selection answers.
pub(crate) enum Selection {
    Found(Candidate),
    Nothing,
    Ambiguous,
}

/// Selects among the definitions of one name.
pub(crate) fn select(definitions: &'static [&'static Definition], inputs: &[SqlType]) -> Selection {
    let inputs: Vec<SqlType> = inputs.iter().map(|ty| ty.without_typmod()).collect();
    let spread: Vec<Candidate> = definitions.iter().filter_map(|d| spread(d, inputs.len())).collect();
    if let Some(exact) = spread.iter().find(|c| c.args.iter().zip(&inputs).all(|(a, i)| *a == ArgType::Exact(*i))) {
        return Selection::Found(exact.clone());
    }
    let fitting: Vec<Candidate> = spread.into_iter().filter(|c| fits(&c.args, &inputs)).collect();
    choose(fitting, &inputs)
}

/// As [`select`], for an operator: an open operand is first taken to be of the other's type.
pub(crate) fn select_operator(definitions: &'static [&'static Definition], inputs: &[SqlType]) -> Selection {
    let open = |ty: &SqlType| is_open(*ty);
    if let [left, right] = inputs
        && open(left) != open(right)
    {
        let known = if open(left) { *right } else { *left }.without_typmod();
        let exact = |d: &&&'static Definition| d.args.len() == 2 && d.args.iter().all(|a| *a == ArgType::Exact(known));
        if let Some(definition) = definitions.iter().find(exact) {
            return Selection::Found(Candidate { definition, args: definition.args.clone() });
        }
    }
    select(definitions, inputs)
}

fn is_open(ty: SqlType) -> bool {
    ty.scalar == Scalar::Unknown && !ty.is_array
}

/// The signature for that many arguments, if it takes as many.
fn spread(definition: &'static Definition, count: usize) -> Option<Candidate> {
    let mut args = definition.args.clone();
    if definition.variadic {
        let last = *args.last()?;
        if count < args.len() {
            return None;
        }
        args.resize(count, last);
    }
    (args.len() == count).then_some(Candidate { definition, args })
}

fn fits(args: &[ArgType], inputs: &[SqlType]) -> bool {
    args.iter().zip(inputs).all(|(arg, input)| match arg {
        ArgType::Exact(ty) => casts_implicitly(*input, *ty),
        ArgType::AnyArray | ArgType::AnyCompatibleArray => input.is_array || is_open(*input),
        ArgType::AnyEnum => matches!(input.scalar, Scalar::Enum(_)) && !input.is_array || is_open(*input),
        ArgType::AnyNonArray | ArgType::AnyCompatibleNonArray => !input.is_array,
        ArgType::AnyElement | ArgType::AnyCompatible | ArgType::Any => true,
    }) && element_of(args, inputs).is_ok()
}

/// Whether the cast needs not be written.
pub(crate) fn casts_implicitly(from: SqlType, to: SqlType) -> bool {
    is_open(from) || paths::find(from, to).is_some_and(|(context, _)| context == CastContext::Implicit)
}

fn choose(mut candidates: Vec<Candidate>, inputs: &[SqlType]) -> Selection {
    match candidates.len() {
        0 => return Selection::Nothing,
        1 => return Selection::Found(candidates.remove(0)),
        _ => {}
    }
    let exact = |c: &Candidate| score(c, inputs, |arg, input| arg == ArgType::Exact(input));
    keep_best(&mut candidates, exact);
    if candidates.len() > 1 {
        let preferred = |c: &Candidate| {
            score(c, inputs, |arg, input| {
                arg == ArgType::Exact(input) || category(arg) == category(ArgType::Exact(input)) && is_preferred(arg)
            })
        };
        keep_best(&mut candidates, preferred);
    }
    let opens: Vec<usize> = (0..inputs.len()).filter(|i| is_open(inputs[*i])).collect();
    if candidates.len() > 1 && !opens.is_empty() {
        keep_by_category(&mut candidates, &opens);
    }
    if candidates.len() > 1 && !opens.is_empty() && opens.len() < inputs.len() {
        keep_by_known_type(&mut candidates, inputs);
    }
    if candidates.len() == 1 { Selection::Found(candidates.remove(0)) } else { Selection::Ambiguous }
}

fn score(candidate: &Candidate, inputs: &[SqlType], counts: impl Fn(ArgType, SqlType) -> bool) -> usize {
    candidate.args.iter().zip(inputs).filter(|(arg, input)| !is_open(**input) && counts(**arg, **input)).count()
}

fn keep_best(candidates: &mut Vec<Candidate>, score: impl Fn(&Candidate) -> usize) {
    let best = candidates.iter().map(&score).max().unwrap_or(0);
    candidates.retain(|c| score(c) == best);
}

fn category(arg: ArgType) -> char {
    match arg {
        ArgType::Exact(ty) if ty.is_array => 'A',
        ArgType::Exact(ty) => ty.scalar.category(),
        _ => 'P',
    }
}

fn is_preferred(arg: ArgType) -> bool {
    matches!(arg, ArgType::Exact(ty) if !ty.is_array && ty.scalar.is_preferred())
}

/// Open arguments are strings if any candidate takes a string there, else of the category on which all agree.
fn keep_by_category(candidates: &mut Vec<Candidate>, opens: &[usize]) {
    let mut slots = Vec::with_capacity(opens.len());
    for &at in opens {
        let first = category(candidates[0].args[at]);
        let string = candidates.iter().any(|c| category(c.args[at]) == 'S');
        if !string && candidates.iter().any(|c| category(c.args[at]) != first) {
            return;
        }
        let wanted = if string { 'S' } else { first };
        let preferred = candidates.iter().any(|c| category(c.args[at]) == wanted && is_preferred(c.args[at]));
        slots.push((at, wanted, preferred));
    }
    let keeps = |c: &Candidate| {
        slots.iter().all(|(at, wanted, preferred)| category(c.args[*at]) == *wanted && (!preferred || is_preferred(c.args[*at])))
    };
    if candidates.iter().any(keeps) {
        candidates.retain(keeps);
    }
}

/// If all decided arguments have one type, the open ones are taken to have it too.
fn keep_by_known_type(candidates: &mut Vec<Candidate>, inputs: &[SqlType]) {
    let mut known = inputs.iter().copied().filter(|ty| !is_open(*ty));
    let Some(first) = known.next() else { return };
    if known.any(|ty| ty != first) {
        return;
    }
    let all = vec![first; inputs.len()];
    let mut fitting = candidates.iter().filter(|c| fits(&c.args, &all));
    if let (Some(only), None) = (fitting.next(), fitting.next()) {
        *candidates = vec![only.clone()];
    }
}

/// The element type that the polymorphic arguments agree on; `None` when nothing tells.
fn element_of(args: &[ArgType], inputs: &[SqlType]) -> Result<Option<SqlType>, ()> {
    let mut element: Option<SqlType> = None;
    let mut compatible: Option<SqlType> = None;
    for (arg, input) in args.iter().zip(inputs).filter(|(_, input)| !is_open(**input)) {
        let input = input.without_typmod();
        match arg {
            ArgType::AnyElement | ArgType::AnyNonArray | ArgType::AnyEnum => agree(&mut element, input)?,
            ArgType::AnyArray => agree(&mut element, input.element())?,
            ArgType::AnyCompatible | ArgType::AnyCompatibleNonArray => widen(&mut compatible, input)?,
            ArgType::AnyCompatibleArray => widen(&mut compatible, input.element())?,
            ArgType::Any | ArgType::Exact(_) => {}
        }
    }
    Ok(element.or(compatible))
}

fn agree(slot: &mut Option<SqlType>, ty: SqlType) -> Result<(), ()> {
    match slot {
        Some(before) if *before != ty => Err(()),
        _ => {
            *slot = Some(ty);
            Ok(())
        }
    }
}

fn widen(slot: &mut Option<SqlType>, ty: SqlType) -> Result<(), ()> {
    *slot = Some(match *slot {
        Some(before) => common_types::of_two(before, ty).ok_or(())?,
        None => ty,
    });
    Ok(())
}

/// Casts the arguments to the candidate's types; answers them and the type of the result.
pub(crate) fn cast_arguments(cx: &ExprContext<'_>, candidate: &Candidate, args: Vec<TypedExpr>) -> Result<(Vec<TypedExpr>, SqlType)> {
    let inputs: Vec<SqlType> = args.iter().map(|a| a.ty).collect();
    let element = element_of(&candidate.args, &inputs).unwrap_or(None);
    let polymorphic = |arg: ArgType| -> Result<SqlType> {
        // Nothing but open arguments: `anycompatible` is text then, as the common type of open expressions is.
        let element = if arg.is_compatible() { element.or(Some(Scalar::Text.into())) } else { element };
        of_element(arg, element).ok_or(FunctionError::UndecidedPolymorphic)
    };
    let mut cast = Vec::with_capacity(args.len());
    for (arg, signature) in args.into_iter().zip(&candidate.args) {
        let target = match signature {
            ArgType::Any => {
                cast.push(settle_unknown(cx, arg)?);
                continue;
            }
            other => polymorphic(*other)?,
        };
        // The modifier stays on: rules may use it.
        cast.push(if arg.ty.without_typmod() == target { arg } else { coerce(cx, arg, target, CastContext::Implicit)? });
    }
    Ok((cast, polymorphic(candidate.definition.result)?))
}

/// Casts the arguments to the candidate's types and makes the call.
pub(crate) fn apply(cx: &ExprContext<'_>, candidate: &Candidate, args: Vec<TypedExpr>, name: &str) -> Result<TypedExpr> {
    let definition = candidate.definition;
    let (cast, result) = cast_arguments(cx, candidate, args)?;
    if let Body::Build(rule) = definition.body {
        return rule(&Build { cx, name, result }, cast);
    }
    let types = cast.iter().map(|a| a.ty.without_typmod()).collect();
    Ok(TypedExpr::new(call_expr(definition, types, result, cast.into_iter().map(|a| a.expr).collect()), result))
}

fn of_element(arg: ArgType, element: Option<SqlType>) -> Option<SqlType> {
    match arg {
        ArgType::Exact(ty) => Some(ty),
        ArgType::AnyArray | ArgType::AnyCompatibleArray => element.map(SqlType::array_of),
        _ => element,
    }
}

/// The types of arguments as error messages list them.
pub(crate) fn type_list(args: &[TypedExpr]) -> String {
    args.iter().map(|a| type_word(a.ty)).collect::<Vec<_>>().join(", ")
}

/// A type as error messages name it.
pub(crate) fn type_word(ty: SqlType) -> String {
    ty.plain_name()
}
