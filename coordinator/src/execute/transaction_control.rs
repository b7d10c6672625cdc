//! BEGIN, COMMIT, ROLLBACK, SAVEPOINT, and what SET says of transactions.

use common::error::Report;
use common::sqlstate::SqlState;
use sql::bound::BoundStatement;
use sql::parse::{ParsedStatement, Syntax};
use sqlparser::ast::{Ident, Statement, TransactionAccessMode, TransactionIsolationLevel, TransactionMode};

use crate::isolation::{Isolation, Modes, NewModes};
use crate::prepared::Prepared;
use crate::result::StatementResult;
use crate::session::Session;

/// What a statement is to the transaction that it runs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatementKind {
    /// It reads or writes.
    Query,
    /// It concerns the session or the transaction alone.
    Control,
}

impl StatementKind {
    /// The kind of a statement.
    pub fn of(statement: &BoundStatement) -> Self {
        let BoundStatement::Utility(tree) = statement else {
            return if matches!(statement, BoundStatement::Empty) { Self::Control } else { Self::Query };
        };
        match tree.as_ref() {
            Statement::StartTransaction { .. }
            | Statement::Commit { .. }
            | Statement::Rollback { .. }
            | Statement::Savepoint { .. }
            | Statement::ReleaseSavepoint { .. }
            | Statement::Set(_)
            | Statement::Reset(_)
            | Statement::ShowVariable { .. }
            | Statement::Discard { .. }
            | Statement::Prepare { .. }
            | Statement::Deallocate { .. }
            // A snapshot that is taken behind it sees what it has waited for.
            | Statement::Lock(_)
            // What it executes counts.
            | Statement::Execute { .. } => Self::Control,
            _ => Self::Query,
        }
    }

    /// Whether it reads or writes.
    pub fn queries(self) -> bool {
        self == Self::Query
    }
}

/// Whether a failed block takes a statement: what ends the block or goes back to a savepoint, and nothing at all.
pub fn ends_block(statement: &ParsedStatement) -> bool {
    match &statement.syntax {
        Syntax::Statement(tree) => matches!(tree.as_ref(), Statement::Commit { .. } | Statement::Rollback { .. }),
        Syntax::Empty => true,
        Syntax::Maintenance(_) | Syntax::Object(_) => false,
    }
}

/// Runs one of these; `None` when the statement is something else.
pub async fn execute(session: &mut Session, prepared: &Prepared, tree: &Statement) -> Result<Option<StatementResult>, Report> {
    let deferrable = prepared.statement.deferrable;
    match tree {
        Statement::StartTransaction { modes, begin: is_begin, .. } => begin(session, new_modes(modes, deferrable)?, *is_begin).map(Some),
        Statement::Commit { chain, .. } => end(session, true, *chain).await.map(Some),
        Statement::Rollback { chain, savepoint: None } => end(session, false, *chain).await.map(Some),
        Statement::Rollback { savepoint: Some(name), .. } => {
            require_block(session, "ROLLBACK TO SAVEPOINT")?;
            let place = session.transaction.savepoint(&name_of(name))?;
            session.transaction.roll_back_to(place).await?;
            session.roll_back_schema_to(place).await?;
            session.settings_scope.roll_back_to(place, &mut session.settings);
            command("ROLLBACK")
        }
        Statement::Savepoint { name } => {
            require_block(session, "SAVEPOINT")?;
            session.transaction.set_savepoint(name_of(name));
            session.mark_schema();
            session.settings_scope.begin();
            command("SAVEPOINT")
        }
        Statement::ReleaseSavepoint { name } => {
            require_block(session, "RELEASE SAVEPOINT")?;
            let place = session.transaction.savepoint(&name_of(name))?;
            session.transaction.release(place);
            session.schema_marks.truncate(place);
            session.settings_scope.release(place);
            command("RELEASE")
        }
        _ => Ok(None),
    }
}

fn command(tag: &str) -> Result<Option<StatementResult>, Report> {
    Ok(Some(StatementResult::Command(tag.to_owned())))
}

fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn require_block(session: &Session, what: &str) -> Result<(), Report> {
    if session.transaction.is_explicit() {
        return Ok(());
    }
    Err(Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, format!("{what} can only be used in transaction blocks")))
}

/// The modes that a list names; of several of a kind, the last one.
fn new_modes(modes: &[TransactionMode], deferrable: Option<bool>) -> Result<NewModes, Report> {
    let mut new = NewModes { deferrable, ..NewModes::default() };
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(access) => new.read_only = Some(*access == TransactionAccessMode::ReadOnly),
            TransactionMode::IsolationLevel(level) => {
                new.isolation = Some(match level {
                    TransactionIsolationLevel::ReadUncommitted => Isolation::ReadUncommitted,
                    TransactionIsolationLevel::ReadCommitted => Isolation::ReadCommitted,
                    TransactionIsolationLevel::RepeatableRead => Isolation::RepeatableRead,
                    TransactionIsolationLevel::Serializable => Isolation::Serializable,
                    TransactionIsolationLevel::Snapshot => return Err(Report::unsupported("isolation level SNAPSHOT")),
                });
            }
        }
    }
    Ok(new)
}

fn begin(session: &mut Session, modes: NewModes, is_begin: bool) -> Result<StatementResult, Report> {
    if session.transaction.is_explicit() {
        session.notices.push(Report::new(SqlState::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress"));
    }
    session.open_block(false);
    session.transaction.make_explicit();
    session.transaction.set_modes(modes)?;
    Ok(StatementResult::Command(if is_begin { "BEGIN" } else { "START TRANSACTION" }.into()))
}

/// SET TRANSACTION, and SET SESSION CHARACTERISTICS AS TRANSACTION.
pub fn set_modes(session: &mut Session, modes: &[TransactionMode], deferrable: Option<bool>, for_session: bool) -> Result<(), Report> {
    let new = new_modes(modes, deferrable)?;
    if !for_session {
        if !session.transaction.is_begun() {
            session
                .notices
                .push(Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "SET TRANSACTION can only be used in transaction blocks"));
            return Ok(());
        }
        return session.transaction.set_modes(new);
    }
    let on_off = |on: bool| if on { "on" } else { "off" };
    session.change_settings(false, |settings| {
        if let Some(isolation) = new.isolation {
            settings.set("default_transaction_isolation", isolation.name())?;
        }
        if let Some(read_only) = new.read_only {
            settings.set("default_transaction_read_only", on_off(read_only))?;
        }
        if let Some(deferrable) = new.deferrable {
            settings.set("default_transaction_deferrable", on_off(deferrable))?;
        }
        Ok(())
    })
}

/// SET of one of the settings that are the transaction's modes; `None` for any other.
pub fn set_mode_by_name(session: &mut Session, name: &str, value: &str) -> Option<Result<(), Report>> {
    let mut new = NewModes::default();
    // The value is checked as any setting's.
    let mut checked = session.settings.clone();
    let value = match name {
        "transaction_isolation" | "transaction_read_only" | "transaction_deferrable" => match checked.set(name, value) {
            Ok(()) => checked.show(name).unwrap_or_default(),
            Err(error) => return Some(Err(error)),
        },
        _ => return None,
    };
    match name {
        "transaction_isolation" => new.isolation = Isolation::named(&value),
        "transaction_read_only" => new.read_only = Some(value == "on"),
        _ => new.deferrable = Some(value == "on"),
    }
    Some(session.transaction.set_modes(new))
}

async fn end(session: &mut Session, commit: bool, chain: bool) -> Result<StatementResult, Report> {
    let name = if commit { "COMMIT" } else { "ROLLBACK" };
    if chain {
        require_block(session, &format!("{name} AND CHAIN"))?;
    } else if !session.transaction.is_explicit() {
        session.notices.push(Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"));
    }
    // A block that has failed has lost its modes, as in PostgreSQL.
    let modes = if session.transaction.is_failed() { session.settings.default_modes() } else { session.modes() };
    let committed = end_block(session, commit).await?;
    if chain {
        chain_block(session, modes)?;
    }
    Ok(StatementResult::Command(if committed { "COMMIT" } else { "ROLLBACK" }.into()))
}

/// The next block of AND CHAIN, with the modes of the last.
fn chain_block(session: &mut Session, modes: Modes) -> Result<(), Report> {
    session.open_block(false);
    let Modes { isolation, read_only, deferrable } = modes;
    session.transaction.set_modes(NewModes { isolation: Some(isolation), read_only: Some(read_only), deferrable: Some(deferrable) })
}

/// Ends the block; answers whether its work is committed.
async fn end_block(session: &mut Session, commit: bool) -> Result<bool, Report> {
    let commit = commit && !session.transaction.is_failed();
    let result = if commit {
        session.commit().await
    } else {
        session.rollback().await;
        Ok(None)
    };
    session.settings_scope.end(commit && result.is_ok(), &mut session.settings);
    session.end_transaction_locks().await;
    if let Some(at) = result? {
        session.last_commit = session.last_commit.max(at);
    }
    Ok(commit)
}

/// Ends the implicit block of a simple query, a pipeline or a statement.
pub async fn end_implicit(session: &mut Session, succeeded: bool) -> Result<(), Report> {
    if !session.transaction.is_explicit() && session.transaction.is_begun() {
        end_block(session, succeeded).await?;
    }
    Ok(())
}
