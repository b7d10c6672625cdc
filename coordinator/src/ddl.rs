//! Schema changes.
//!
//! A statement works out a list of catalog changes against the newest state and proposes it; when the catalog has moved on meanwhile, it
//! begins again. What needs data (an index over existing rows, a new primary key) is done between two proposals: the first makes every writer
//! keep the new structure, the second lets readers use it. Inside a transaction, what is proposed is kept with the session ([`crate::schema_changes`]).
//!
//! | file | statements |
//! | --- | --- |
//! | `definition` | what a table definition consists of: columns, keys, constraints, partitions |
//! | `create_table` | CREATE TABLE, CREATE TABLE AS |
//! | `create_index` | CREATE INDEX, and building an index over rows |
//! | `own_rows` | rows of tables that the open transaction has made |
//! | `alter_table`, `alter_column` | ALTER TABLE |
//! | `comment` | COMMENT ON |
//! | `like` | CREATE TABLE … LIKE |
//! | `drop` | DROP, TRUNCATE, and schemas |
//! | `user_types` | CREATE TYPE … AS ENUM, ALTER TYPE |
//! | `domains` | CREATE DOMAIN, ALTER DOMAIN |
//! | `sequence` | CREATE, ALTER and DROP SEQUENCE |
//! | `rename` | RENAME, SET SCHEMA, OWNER TO of everything but tables' parts |
//! | `swap` | giving a table's rows another form |
//! | `view` | CREATE and DROP VIEW |
//! | `stored_expression` | defaults and the like, as the catalog keeps them |

use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::Table;
use catalog::state::CatalogState;
use common::error::Report;
use common::ids::CatalogVersion;
use common::sqlstate::SqlState;
use functions::context::SessionSettings;
use sql::domain_syntax::domain_name;
use sql::object_syntax::ObjectStatement;
use sqlparser::ast::{Ident, ObjectName, Statement};

use crate::prepared::Prepared;
use crate::result::StatementResult;
use crate::session::Session;

mod alter_column;
mod alter_table;
mod comment;
mod create_index;
mod create_table;
mod definition;
mod domains;
mod drop;
mod like;
mod own_rows;
mod rename;
mod sequence;
mod stored_expression;
mod swap;
mod user_types;
mod view;

pub(crate) use swap::REWRITING;

/// How often a statement begins again when the catalog changes under it.
const ATTEMPTS_MAX: usize = 50;

/// Runs a schema change; `None` when the statement is something else.
pub(crate) async fn execute(session: &mut Session, prepared: &Arc<Prepared>, tree: &Statement) -> Result<Option<StatementResult>, Report> {
    let is_ddl = matches!(
        tree,
        Statement::CreateTable(_)
            | Statement::CreateIndex(_)
            | Statement::CreateView(_)
            | Statement::Comment { .. }
            | Statement::CreateSchema { .. }
            | Statement::AlterTable(_)
            | Statement::Drop { .. }
            | Statement::Truncate(_)
            | Statement::CreateType { .. }
            | Statement::AlterType(_)
            | Statement::DropDomain(_)
    );
    if !is_ddl {
        return Ok(None);
    }
    if session.transaction.is_open() {
        if let Statement::Truncate(truncate) = tree {
            return drop::delete_all(session, truncate).await.map(Some);
        }
        session.begin_schema_changes().await?;
    }
    let clause = prepared.statement.partitioning.clone();
    Ok(Some(match tree {
        Statement::CreateTable(create) if let (Some(name), [column]) = (domain_name(&create.name), create.columns.as_slice()) => {
            domains::create(session, &name, column).await?
        }
        Statement::AlterTable(alter) if let Some(name) = domain_name(&alter.name) => {
            domains::alter(session, &name, &alter.operations).await?
        }
        Statement::CreateType { .. } | Statement::AlterType(_) => user_types::execute(session, tree).await?,
        Statement::CreateTable(create) => create_table::execute(session, prepared, create, clause.as_deref()).await?,
        Statement::CreateIndex(create) => create_index::execute(session, create, clause.as_deref()).await?,
        Statement::Comment { .. } => comment::execute(session, tree).await?,
        Statement::CreateView(create) => view::create(session, prepared, create).await?,
        Statement::AlterTable(alter) => alter_table::execute(session, alter).await?,
        Statement::Truncate(truncate) => drop::truncate(session, truncate).await?,
        other => drop::execute(session, other).await?,
    }))
}

/// Runs a statement about an object that the parser does not know.
pub(crate) async fn execute_object(session: &mut Session, statement: &ObjectStatement) -> Result<StatementResult, Report> {
    session.begin_schema_changes().await?;
    match statement {
        ObjectStatement::CreateSequence { if_not_exists, name, options, .. } => {
            sequence::create(session, *if_not_exists, name, options).await
        }
        ObjectStatement::AlterSequence { if_exists, name, options } => sequence::alter(session, *if_exists, name, options).await,
        ObjectStatement::Rename { kind, if_exists, name, to } => {
            rename::execute(session, *kind, *if_exists, name, &rename::To::Name(folded(to))).await
        }
        ObjectStatement::SetSchema { kind, if_exists, name, schema } => {
            rename::execute(session, *kind, *if_exists, name, &rename::To::Schema(folded(schema))).await
        }
        ObjectStatement::OwnerTo { kind, if_exists, name } => rename::execute(session, *kind, *if_exists, name, &rename::To::Owner).await,
        ObjectStatement::DropIdentity { table, column, if_exists } => {
            alter_table::drop_generated(session, table, &folded(column), *if_exists, true).await
        }
        ObjectStatement::DropExpression { table, column, if_exists } => {
            alter_table::drop_generated(session, table, &folded(column), *if_exists, false).await
        }
        ObjectStatement::Refresh { .. } => Err(Report::unsupported("REFRESH MATERIALIZED VIEW")),
    }
}

/// What working out a change looks at.
struct Surroundings {
    state: Arc<CatalogState>,
    settings: SessionSettings,
}

impl Surroundings {
    fn of(session: &Session) -> Self {
        Self { state: session.state(), settings: session.expression_settings() }
    }

    /// Schema and name of something new.
    fn new_name(&self, name: &ObjectName) -> Result<(Arc<catalog::objects::Schema>, String), Report> {
        let (schema, name) = split_name(name)?;
        let schema_name = match schema {
            Some(schema) => schema,
            None => {
                let known = |s: &&String| self.state.schema_named(s).is_some();
                self.settings
                    .search_path
                    .iter()
                    .find(known)
                    .cloned()
                    .ok_or_else(|| Report::new(SqlState::INVALID_SCHEMA_NAME, "no schema has been selected to create in"))?
            }
        };
        let schema = self
            .state
            .schema_named(&schema_name)
            .ok_or_else(|| Report::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema_name}\" does not exist")))?;
        Ok((Arc::clone(schema), name))
    }

    /// An existing table.
    fn table(&self, name: &ObjectName) -> Result<Option<Arc<Table>>, Report> {
        let (schema, name) = split_name(name)?;
        Ok(match schema {
            Some(schema) => self.state.table_named(&schema, &name),
            None => self.settings.search_path.iter().find_map(|schema| self.state.table_named(schema, &name)),
        })
    }

    /// An existing view.
    fn view(&self, name: &ObjectName) -> Result<Option<Arc<catalog::objects::View>>, Report> {
        let (schema, name) = split_name(name)?;
        Ok(match schema {
            Some(schema) => self.state.view_named(&schema, &name),
            None => self.settings.search_path.iter().find_map(|schema| self.state.view_named(schema, &name)),
        })
    }

    /// An existing sequence.
    fn sequence(&self, name: &ObjectName) -> Result<Option<Arc<catalog::objects::Sequence>>, Report> {
        let (schema, name) = split_name(name)?;
        Ok(match schema {
            Some(schema) => self.state.sequence_named(&schema, &name),
            None => self.settings.search_path.iter().find_map(|schema| self.state.sequence_named(schema, &name)),
        })
    }

    /// An existing index.
    fn index(&self, name: &ObjectName) -> Result<Option<Arc<catalog::objects::Index>>, Report> {
        let (schema, name) = split_name(name)?;
        Ok(match schema {
            Some(schema) => self.state.index_named(&schema, &name),
            None => self.settings.search_path.iter().find_map(|schema| self.state.index_named(schema, &name)),
        })
    }
}

fn split_name(name: &ObjectName) -> Result<(Option<String>, String), Report> {
    let mut parts = Vec::with_capacity(name.0.len());
    for part in &name.0 {
        let ident = part.as_ident().ok_or_else(|| Report::unsupported(format!("the name {name}")))?;
        parts.push(folded(ident));
    }
    match (parts.pop(), parts.pop()) {
        (Some(last), schema) if parts.len() <= 1 => Ok((schema, last)),
        _ => Err(Report::new(SqlState::SYNTAX_ERROR, format!("improper qualified name (too many dotted names): {name}"))),
    }
}

/// An identifier as PostgreSQL folds it.
fn folded(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn missing_relation(name: &ObjectName) -> Report {
    Report::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}

/// The notice of IF EXISTS.
fn skipped_relation(name: &ObjectName) -> Report {
    Report::new(SqlState::SUCCESSFUL_COMPLETION, format!("relation \"{name}\" does not exist, skipping"))
}

/// The notice of CASCADE.
fn cascades_to(dependents: &[String]) -> Report {
    match dependents {
        [only] => Report::new(SqlState::SUCCESSFUL_COMPLETION, format!("drop cascades to {only}")),
        many => {
            let lines: Vec<String> = many.iter().map(|d| format!("drop cascades to {d}")).collect();
            Report::new(SqlState::SUCCESSFUL_COMPLETION, format!("drop cascades to {} other objects", many.len()))
                .with_detail(lines.join("\n"))
        }
    }
}

/// Proposes changes, or adds them to those of the open transaction; `None` when the catalog had moved on and the statement must look again.
async fn propose(session: &Session, base: CatalogVersion, changes: &[Change]) -> Result<Option<CatalogVersion>, Report> {
    if let Some(own) = &session.schema_changes {
        return own.add(base, changes).await;
    }
    match session.coordinator.propose(base, changes).await {
        Ok(version) => Ok(Some(version)),
        Err(error) if error.retryable => {
            session.coordinator.cache.wait_for(CatalogVersion(base.0 + 1), crate::coordinator::CATALOG_WAIT).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn too_many_attempts() -> Report {
    Report::new(SqlState::SERIALIZATION_FAILURE, "the schema kept changing while the statement ran")
}

/// Ids for new objects, taken from the catalog in one go.
struct Ids {
    next: u64,
    end: u64,
}

impl Ids {
    async fn take(session: &Session, count: usize) -> Result<Self, Report> {
        let count = u32::try_from(count).map_err(|_| Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many objects at once"))?;
        let next = session.coordinator.catalog.allocate_ids(count).await?;
        Ok(Self { next, end: next + u64::from(count) })
    }

    fn next(&mut self) -> Result<u64, Report> {
        if self.next >= self.end {
            return Err(Report::internal("more ids are needed than were taken"));
        }
        self.next += 1;
        Ok(self.next - 1)
    }

    fn oid(&mut self) -> Result<common::ids::Oid, Report> {
        let id = u32::try_from(self.next()?).map_err(|_| Report::internal("object ids are used up"))?;
        Ok(common::ids::Oid(id))
    }

    fn relation(&mut self) -> Result<common::ids::RelationId, Report> {
        Ok(common::ids::RelationId(self.oid()?.0))
    }

    /// The first of `count` consecutive ids.
    fn run(&mut self, count: usize) -> Result<u64, Report> {
        let first = self.next;
        for _ in 0..count {
            self.next()?;
        }
        Ok(first)
    }
}
