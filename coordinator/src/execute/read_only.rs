//! What a read-only transaction refuses: everything that would change what others see.

use common::error::Report;
use common::sqlstate::SqlState;
use sql::bound::{Bound, BoundStatement, RowLockStrength};
use sql::object_syntax::ObjectStatement;
use sqlparser::ast::{ObjectType, Statement};

use crate::session::Session;

/// 25006 for a statement that a read-only transaction must not run.
pub fn check(session: &Session, bound: &Bound) -> Result<(), Report> {
    if !session.modes().read_only {
        return Ok(());
    }
    writing_command(&bound.statement).or_else(|| locking_command(bound)).map_or(Ok(()), |command| Err(refused(&command)))
}

/// What a read-only transaction answers to a command, or to a function, that writes.
pub fn refused(command: &str) -> Report {
    Report::new(SqlState::READ_ONLY_SQL_TRANSACTION, format!("cannot execute {command} in a read-only transaction"))
}

/// The name of the command, if it writes.
fn writing_command(statement: &BoundStatement) -> Option<String> {
    match statement {
        BoundStatement::Insert(_) => Some("INSERT".into()),
        BoundStatement::Update(_) => Some("UPDATE".into()),
        BoundStatement::Delete(_) => Some("DELETE".into()),
        BoundStatement::Merge(_) => Some("MERGE".into()),
        BoundStatement::Parts(bound) => {
            bound.parts.iter().find_map(|part| writing_command(&part.statement)).or_else(|| writing_command(&bound.main))
        }
        BoundStatement::Explain { analyze: true, statement, .. } => writing_command(statement),
        BoundStatement::Utility(tree) => utility_command(tree).map(str::to_owned),
        BoundStatement::Object(object) => Some(object_command(object)),
        _ => None,
    }
}

/// The name of a query that locks rows, if it is one.
fn locking_command(bound: &Bound) -> Option<String> {
    let lock = bound.locking.first()?.locks.first()?;
    if matches!(bound.statement, BoundStatement::Explain { analyze: false, .. }) {
        return None;
    }
    let strength = match lock.strength {
        RowLockStrength::KeyShare => "KEY SHARE",
        RowLockStrength::Share => "SHARE",
        RowLockStrength::NoKeyUpdate => "NO KEY UPDATE",
        RowLockStrength::Update => "UPDATE",
    };
    Some(format!("SELECT FOR {strength}"))
}

fn object_command(statement: &ObjectStatement) -> String {
    match statement {
        ObjectStatement::CreateSequence { .. } => "CREATE SEQUENCE".into(),
        ObjectStatement::AlterSequence { .. } => "ALTER SEQUENCE".into(),
        ObjectStatement::Rename { kind, .. } | ObjectStatement::SetSchema { kind, .. } | ObjectStatement::OwnerTo { kind, .. } => {
            format!("ALTER {}", kind.keyword())
        }
        ObjectStatement::DropIdentity { .. } | ObjectStatement::DropExpression { .. } => "ALTER TABLE".into(),
        ObjectStatement::Refresh { .. } => "REFRESH MATERIALIZED VIEW".into(),
    }
}

fn utility_command(tree: &Statement) -> Option<&'static str> {
    Some(match tree {
        Statement::Copy { to: false, .. } => "COPY FROM",
        Statement::CreateTable(create) if create.query.is_some() => "CREATE TABLE AS",
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::CreateIndex(_) => "CREATE INDEX",
        Statement::CreateSchema { .. } => "CREATE SCHEMA",
        Statement::CreateView { .. } => "CREATE VIEW",
        Statement::CreateSequence { .. } => "CREATE SEQUENCE",
        Statement::CreateExtension(_) => "CREATE EXTENSION",
        Statement::CreateRole { .. } => "CREATE ROLE",
        Statement::AlterTable(_) => "ALTER TABLE",
        Statement::AlterIndex { .. } => "ALTER INDEX",
        Statement::Drop { object_type, .. } => match object_type {
            ObjectType::Table => "DROP TABLE",
            ObjectType::View => "DROP VIEW",
            ObjectType::MaterializedView => "DROP MATERIALIZED VIEW",
            ObjectType::Index => "DROP INDEX",
            ObjectType::Schema => "DROP SCHEMA",
            ObjectType::Sequence => "DROP SEQUENCE",
            ObjectType::Type => "DROP TYPE",
            ObjectType::Role => "DROP ROLE",
            _ => "DROP",
        },
        Statement::Truncate(_) => "TRUNCATE TABLE",
        Statement::Comment { .. } => "COMMENT",
        Statement::Grant(_) => "GRANT",
        Statement::Revoke(_) => "REVOKE",
        _ => return None,
    })
}
