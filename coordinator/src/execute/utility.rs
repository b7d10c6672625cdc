//! Statements that are neither queries nor changes of rows: settings, prepared statements, COPY, DDL, and what is accepted without effect.

use std::sync::Arc;

use common::datum::Datum;
use common::error::{Report, SqlError};
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use functions::resolve;
use sql::bind::type_name::sql_type;
use sql::bound::{BoundStatement, OutputColumn};
use sqlparser::ast::{ContextModifier, Expr, Ident, ObjectName, Reset, Set, Statement, Value};

use crate::execute::{copy_in, copy_out, lock_table, transaction_control};
use crate::prepared::Prepared;
use crate::result::{Rows, RowsTag, StatementResult};
use crate::row_expression::RowExpression;
use crate::session::{PREPARED_MAX, Session};

/// The result columns of statements that are no queries.
pub fn result_columns(statement: &BoundStatement) -> Vec<OutputColumn> {
    let text = |name: &str| OutputColumn { name: name.to_owned(), ty: Scalar::Text.into(), origin: None };
    match statement {
        BoundStatement::Explain { .. } => crate::execute::explain::columns(),
        BoundStatement::Utility(tree) => match tree.as_ref() {
            Statement::ShowVariable { variable } => match shown_name(variable).as_str() {
                "all" => vec![text("name"), text("setting"), text("description")],
                name => vec![text(crate::settings::Settings::reported_name(name).unwrap_or(name))],
            },
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The columns that a statement's result will have: EXECUTE has those of what it executes.
pub fn described_columns(session: &Session, prepared: &Prepared) -> Arc<[OutputColumn]> {
    if let BoundStatement::Utility(tree) = &prepared.bound.statement
        && let Statement::Execute { name: Some(name), .. } = tree.as_ref()
        && let Some(executed) = session.prepared.get(&prepared_name(name))
    {
        return Arc::clone(executed.columns());
    }
    Arc::clone(prepared.columns())
}

fn prepared_name(name: &ObjectName) -> String {
    name.0.last().and_then(|p| p.as_ident()).map(name_of).unwrap_or_default()
}

/// Runs one.
pub async fn execute(session: &mut Session, prepared: &Arc<Prepared>, tree: &Statement) -> Result<StatementResult, Report> {
    if let Some(result) = transaction_control::execute(session, prepared, tree).await? {
        return Ok(result);
    }
    if let Some(result) = Box::pin(crate::ddl::execute(session, prepared, tree)).await? {
        return Ok(result);
    }
    let done = |tag: &str| Ok(StatementResult::Command(tag.to_owned()));
    match tree {
        Statement::Set(set) => apply_set(session, prepared, set),
        Statement::Reset(reset) => {
            match &reset.reset {
                Reset::ALL => session.change_settings(false, |settings| {
                    settings.reset_all();
                    Ok(())
                })?,
                // There is one role, which every session has.
                Reset::SessionAuthorization => {}
                Reset::ConfigurationParameter(name) => {
                    let name = setting_name(name);
                    session.change_settings(false, |settings| settings.reset(&name))?;
                }
            }
            done("RESET")
        }
        Statement::ShowVariable { variable } => show(session, prepared, variable),
        Statement::Discard { .. } => {
            if session.transaction.is_begun() {
                let message = "DISCARD ALL cannot run inside a transaction block";
                return Err(Report::new(SqlState::ACTIVE_SQL_TRANSACTION, message));
            }
            session.locks.call("pg_advisory_unlock_all", &[], session.lock_wait()).await?;
            session.prepared.clear();
            session.settings.reset_all();
            done("DISCARD ALL")
        }
        Statement::Prepare { name, data_types, statement } => prepare(session, prepared, name, data_types, statement),
        Statement::Execute { name: Some(name), parameters, .. } => execute_prepared(session, name, parameters).await,
        Statement::Deallocate { name, .. } => deallocate(session, name),
        Statement::Copy { to: false, .. } => Ok(StatementResult::CopyIn(Box::new(copy_in::begin(session, tree)?))),
        Statement::Copy { to: true, .. } => Ok(StatementResult::CopyOut(copy_out::begin(session, prepared, tree).await?)),
        Statement::Lock(lock) => lock_table::execute(session, prepared, lock).await,
        Statement::Grant(_) => done("GRANT"),
        Statement::Revoke(_) => done("REVOKE"),
        Statement::CreateExtension(extension) if extension.name.value == "plpgsql" => done("CREATE EXTENSION"),
        other => Err(Report::unsupported(kind(other))),
    }
}

/// The first words of a statement, for messages.
fn kind(tree: &Statement) -> String {
    let text = tree.to_string();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    format!("the statement {}", words.join(" "))
}

fn setting_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name.0.iter().map(|p| p.as_ident().map_or_else(|| p.to_string(), |i| i.value.to_lowercase())).collect();
    parts.join(".")
}

fn apply_set(session: &mut Session, prepared: &Prepared, set: &Set) -> Result<StatementResult, Report> {
    match set {
        Set::SingleAssignment { scope, variable, values, .. } => {
            let local = matches!(scope, Some(ContextModifier::Local));
            if local && !session.transaction.is_begun() {
                session.notices.push(Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "SET LOCAL can only be used in transaction blocks"));
                return Ok(StatementResult::Command("SET".into()));
            }
            let name = setting_name(variable);
            if let [Expr::Identifier(only)] = values.as_slice()
                && only.quote_style.is_none()
                && only.value.eq_ignore_ascii_case("default")
            {
                session.change_settings(local, |settings| settings.reset(&name))?;
            } else {
                let text = values.iter().map(value_text).collect::<Vec<String>>().join(", ");
                match transaction_control::set_mode_by_name(session, &name, &text) {
                    Some(result) => result?,
                    None => session.change_settings(local, |settings| settings.set(&name, &text))?,
                }
            }
        }
        Set::SetTimeZone { local, value } => {
            if *local && !session.transaction.is_begun() {
                session.notices.push(Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "SET LOCAL can only be used in transaction blocks"));
                return Ok(StatementResult::Command("SET".into()));
            }
            let text = value_text(value);
            if text.eq_ignore_ascii_case("local") || text.eq_ignore_ascii_case("default") {
                session.change_settings(*local, |settings| settings.reset("timezone"))?;
            } else {
                session.change_settings(*local, |settings| settings.set("timezone", &text))?;
            }
        }
        Set::SetNames { charset_name, .. } => {
            session.change_settings(false, |settings| settings.set("client_encoding", &charset_name.value))?;
        }
        Set::SetNamesDefault {} => session.change_settings(false, |settings| settings.reset("client_encoding"))?,
        Set::SetTransaction { snapshot: Some(_), .. } => return Err(Report::unsupported("SET TRANSACTION SNAPSHOT")),
        Set::SetTransaction { modes, session: for_session, .. } => {
            transaction_control::set_modes(session, modes, prepared.statement.deferrable, *for_session)?;
        }
        Set::SetRole { .. } | Set::SetSessionAuthorization(_) => {}
        other => return Err(Report::unsupported(format!("{other}"))),
    }
    Ok(StatementResult::Command("SET".into()))
}

fn value_text(value: &Expr) -> String {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text.clone(),
            other => other.to_string(),
        },
        Expr::Identifier(ident) => ident.value.clone(),
        other => other.to_string(),
    }
}

fn shown_name(variable: &[Ident]) -> String {
    let words: Vec<String> = variable.iter().map(|i| i.value.to_lowercase()).collect();
    match words.join(" ").as_str() {
        "time zone" => "timezone".into(),
        "transaction isolation level" => "transaction_isolation".into(),
        "session authorization" => "session_authorization".into(),
        _ => words.join("."),
    }
}

fn show(session: &Session, prepared: &Arc<Prepared>, variable: &[Ident]) -> Result<StatementResult, Report> {
    let rows = match shown_name(variable).as_str() {
        "all" => {
            let row = |(name, value, description): (&str, String, &str)| {
                vec![Datum::Text(name.to_owned()), Datum::Text(value), Datum::Text(description.to_owned())]
            };
            session.settings.all().map(row).collect()
        }
        name => vec![vec![Datum::Text(session.show(name)?)]],
    };
    Ok(StatementResult::Rows { columns: Arc::clone(prepared.columns()), rows: Rows::Values(rows), tag: RowsTag::Fixed("SHOW".into()) })
}

fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn prepare(
    session: &mut Session,
    outer: &Prepared,
    name: &Ident,
    types: &[sqlparser::ast::DataType],
    statement: &Statement,
) -> Result<StatementResult, Report> {
    let name = name_of(name);
    if session.prepared.contains_key(&name) {
        return Err(Report::new(SqlState::DUPLICATE_PREPARED_STATEMENT, format!("prepared statement \"{name}\" already exists")));
    }
    if session.prepared.len() >= PREPARED_MAX {
        return Err(Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many prepared statements"));
    }
    let settings = session.expression_settings();
    let declared: Result<Vec<Option<SqlType>>, Report> =
        types.iter().map(|t| sql_type(t, &settings).map(Some).map_err(|e| e.report())).collect();
    let parsed = outer.statement.with_statement(statement.clone());
    let bound = session.prepare(&parsed, declared?)?;
    session.prepared.insert(name, bound);
    Ok(StatementResult::Command("PREPARE".into()))
}

async fn execute_prepared(session: &mut Session, name: &ObjectName, arguments: &[Expr]) -> Result<StatementResult, Report> {
    let name = prepared_name(name);
    let missing = || Report::new(SqlState::INVALID_SQL_STATEMENT_NAME, format!("prepared statement \"{name}\" does not exist"));
    let prepared = Arc::clone(session.prepared.get(&name).ok_or_else(missing)?);
    let types = prepared.bound.parameters.clone();
    if types.len() != arguments.len() {
        return Err(Report::new(SqlState::SYNTAX_ERROR, format!("wrong number of parameters for prepared statement \"{name}\""))
            .with_detail(format!("Expected {} parameters but got {}.", types.len(), arguments.len())));
    }
    let settings = session.expression_settings();
    let mut values = Vec::with_capacity(types.len());
    for (tree, ty) in arguments.iter().zip(&types) {
        let bound = sql::bind_expression(&tree.to_string(), &[], *ty, &settings).map_err(|e| e.report())?;
        values.push(match resolve::constant(&bound.expr, *ty) {
            Some(value) => value,
            None => RowExpression::compile(&bound.expr, &[], &[], *ty, &settings)?.evaluate(&[], &[])?,
        });
    }
    Box::pin(session.execute(&prepared, values)).await
}

fn deallocate(session: &mut Session, name: &Ident) -> Result<StatementResult, Report> {
    if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all") {
        session.prepared.clear();
        return Ok(StatementResult::Command("DEALLOCATE ALL".into()));
    }
    let name = name_of(name);
    match session.prepared.remove(&name) {
        Some(_) => Ok(StatementResult::Command("DEALLOCATE".into())),
        None => Err(Report::new(SqlState::INVALID_SQL_STATEMENT_NAME, format!("prepared statement \"{name}\" does not exist"))),
    }
}
