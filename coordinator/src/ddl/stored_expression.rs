//! Expressions as the catalog keeps them: SQL text in which sequences stand by oid, so that they may be renamed.

use std::ops::ControlFlow;

use common::error::Report;
use sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, Value, visit_expressions,
    visit_expressions_mut,
};

use super::Surroundings;

/// The text of a default, a check or a generation expression.
pub(super) fn stored_text(expr: &Expr, around: &Surroundings) -> Result<String, Report> {
    let mut expr = expr.clone();
    let found = visit_expressions_mut(&mut expr, |part| match with_oid(part, around) {
        Ok(()) => ControlFlow::Continue(()),
        Err(report) => ControlFlow::Break(report),
    });
    match found {
        ControlFlow::Break(report) => Err(report),
        // The parser writes types in capitals.
        ControlFlow::Continue(()) => Ok(expr.to_string().replace("'::REGCLASS", "'::regclass")),
    }
}

/// Whether an expression names columns; words that are functions without parentheses are none.
pub(super) fn names_columns(expr: &Expr) -> bool {
    const FUNCTIONS: &[&str] = &[
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
        "current_user",
        "session_user",
        "user",
        "current_role",
        "current_catalog",
        "current_schema",
    ];
    let found = visit_expressions(expr, |part| match part {
        Expr::Identifier(ident) if ident.quote_style.is_some() || !FUNCTIONS.contains(&ident.value.to_ascii_lowercase().as_str()) => {
            ControlFlow::Break(())
        }
        Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Puts sequences' oids in a query in place of their names.
pub(super) fn with_oids(query: &mut Query, around: &Surroundings) -> Result<(), Report> {
    let found = visit_expressions_mut(query, |part| match with_oid(part, around) {
        Ok(()) => ControlFlow::Continue(()),
        Err(report) => ControlFlow::Break(report),
    });
    match found {
        ControlFlow::Break(report) => Err(report),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Puts the oid in place of the name in `nextval('name')` and its relatives.
fn with_oid(part: &mut Expr, around: &Surroundings) -> Result<(), Report> {
    let Expr::Function(call) = part else { return Ok(()) };
    let name = call.name.to_string().to_lowercase();
    if !matches!(name.trim_start_matches("pg_catalog."), "nextval" | "currval" | "setval") {
        return Ok(());
    }
    let FunctionArguments::List(list) = &mut call.args else { return Ok(()) };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = list.args.first_mut() else { return Ok(()) };
    let literal = match &*argument {
        Expr::Cast { expr, data_type: DataType::Regclass, .. } => expr.as_ref(),
        value @ Expr::Value(_) => value,
        _ => return Ok(()),
    };
    let Expr::Value(value) = literal else { return Ok(()) };
    let Value::SingleQuotedString(text) = &value.value else { return Ok(()) };
    let oid = if text.parse::<u32>().is_ok() {
        text.clone()
    } else {
        let parts = crate::system_views::split_name(text)?;
        let name = ObjectName::from(parts.into_iter().map(|part| Ident::with_quote('"', part)).collect::<Vec<_>>());
        match around.sequence(&name)? {
            Some(sequence) => sequence.oid.to_string(),
            // Binding tells what is wrong with it.
            None => return Err(Report::new(common::sqlstate::SqlState::UNDEFINED_TABLE, format!("relation \"{text}\" does not exist"))),
        }
    };
    *argument = Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(Expr::value(Value::SingleQuotedString(oid))),
        data_type: DataType::Regclass,
        format: None,
    };
    Ok(())
}
