//! BEGIN, COMMIT, ROLLBACK.

use common::error::Report;
use common::sqlstate::SqlState;
use sql::parse::{ParsedStatement, Syntax};
use sqlparser::ast::{Statement, TransactionIsolationLevel, TransactionMode};

use crate::result::StatementResult;
use crate::session::Session;

/// Whether a failed block takes a statement: what ends the block, and nothing at all.
pub fn ends_block(statement: &ParsedStatement) -> bool {
    match &statement.syntax {
        Syntax::Statement(tree) => matches!(tree.as_ref(), Statement::Commit { .. } | Statement::Rollback { .. }),
        Syntax::Empty => true,
        Syntax::Maintenance(_) | Syntax::Object(_) => false,
    }
}

/// Runs one of these; `None` when the statement is something else.
pub async fn execute(session: &mut Session, tree: &Statement) -> Result<Option<StatementResult>, Report> {
    match tree {
        Statement::StartTransaction { modes, .. } => begin(session, modes).map(Some),
        Statement::Commit { chain, .. } => end(session, true, *chain).await.map(Some),
        Statement::Rollback { chain, savepoint: None } => end(session, false, *chain).await.map(Some),
        Statement::Rollback { savepoint: Some(_), .. } | Statement::Savepoint { .. } | Statement::ReleaseSavepoint { .. } => {
            Err(Report::unsupported("SAVEPOINT"))
        }
        _ => Ok(None),
    }
}

fn begin(session: &mut Session, modes: &[TransactionMode]) -> Result<StatementResult, Report> {
    for mode in modes {
        if let TransactionMode::IsolationLevel(
            level @ (TransactionIsolationLevel::RepeatableRead
            | TransactionIsolationLevel::Serializable
            | TransactionIsolationLevel::Snapshot),
        ) = mode
        {
            return Err(Report::unsupported(format!("isolation level {level}")));
        }
    }
    if session.transaction.is_explicit() {
        session.notices.push(Report::new(SqlState::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress"));
    }
    let now = session.coordinator.clock.unix_micros();
    session.transaction.open(now, false);
    session.transaction.make_explicit();
    Ok(StatementResult::Command("BEGIN".into()))
}

async fn end(session: &mut Session, commit: bool, chain: bool) -> Result<StatementResult, Report> {
    let name = if commit { "COMMIT" } else { "ROLLBACK" };
    if chain {
        return Err(Report::unsupported(format!("{name} AND CHAIN")));
    }
    if !session.transaction.is_explicit() {
        session.notices.push(Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"));
    }
    if !commit || session.transaction.is_failed() {
        session.rollback().await;
        return Ok(StatementResult::Command("ROLLBACK".into()));
    }
    if let Some(at) = session.commit().await? {
        session.last_commit = session.last_commit.max(at);
    }
    Ok(StatementResult::Command("COMMIT".into()))
}

/// Ends the implicit block of a simple query or a pipeline.
pub async fn end_implicit(session: &mut Session, succeeded: bool) -> Result<(), Report> {
    if session.transaction.is_explicit() {
        return Ok(());
    }
    if !succeeded || session.transaction.is_failed() {
        session.rollback().await;
        return Ok(());
    }
    if let Some(at) = session.commit().await? {
        session.last_commit = session.last_commit.max(at);
    }
    Ok(())
}
