//! ALTER TABLE: one proposal for each action.

use catalog::changes::Change;
use catalog::objects::{Column, Enforcement, Generated, Index, IndexState, Table};
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use sqlparser::ast::{AlterTable, AlterTableOperation, DropBehavior, ObjectName, RenameTableNameKind, TableConstraint};

use super::create_index::{build, with_next_epochs};
use super::definition::{Definer, NewTable, PartitionWish, TableDraft, UniqueDraft};
use super::sequence::OwnedSequence;
use super::{ATTEMPTS_MAX, Ids, Surroundings, alter_column, folded, missing_relation, propose, split_name, swap, too_many_attempts};
use crate::result::StatementResult;
use crate::row_expression::RowExpression;
use crate::session::Session;

pub(super) async fn execute(session: &mut Session, alter: &AlterTable) -> Result<StatementResult, Report> {
    let around = Surroundings::of(session);
    let Some(table) = around.table(&alter.name)? else {
        if alter.if_exists {
            let message = format!("relation \"{}\" does not exist, skipping", alter.name);
            session.notices.push(Report::new(SqlState::SUCCESSFUL_COMPLETION, message));
            return Ok(StatementResult::Command("ALTER TABLE".into()));
        }
        return Err(missing_relation(&alter.name));
    };
    for operation in &alter.operations {
        action(session, table.oid, operation).await?;
    }
    Ok(StatementResult::Command("ALTER TABLE".into()))
}

/// DROP IDENTITY, and DROP EXPRESSION: the values that are there stay.
pub(super) async fn drop_generated(
    session: &mut Session,
    name: &ObjectName,
    column: &str,
    if_exists: bool,
    identity: bool,
) -> Result<StatementResult, Report> {
    let table = Surroundings::of(session).table(name)?.ok_or_else(|| missing_relation(name))?;
    let mut notice = None;
    redefine(session, table.oid, |table, around| {
        let at = place(table, column)?;
        let is_it = table.columns[at].generated.is_some_and(|g| g.is_identity() == identity);
        if !is_it {
            let what = if identity { "an identity column" } else { "a stored generated column" };
            let message = format!("column \"{column}\" of relation \"{}\" is not {what}", table.name);
            if if_exists {
                notice = Some(Report::new(SqlState::SUCCESSFUL_COMPLETION, format!("{message}, skipping")));
                return Ok(Vec::new());
            }
            return Err(Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message));
        }
        table.columns[at].generated = None;
        table.columns[at].default = None;
        let attnum = table.columns[at].attnum;
        let owned = around.state.sequences_of(table.oid).filter(|s| s.owner.is_some_and(|o| o.attnum == attnum && o.is_identity));
        Ok(owned.map(|s| Change::DropSequence(s.oid)).collect())
    })
    .await?;
    session.notices.extend(notice);
    Ok(StatementResult::Command("ALTER TABLE".into()))
}

async fn action(session: &mut Session, table: Oid, operation: &AlterTableOperation) -> Result<(), Report> {
    match operation {
        AlterTableOperation::AddConstraint { constraint, .. } => add_constraint(session, table, constraint).await,
        AlterTableOperation::AddColumn { column_def, if_not_exists, .. } => {
            let if_not_exists = *if_not_exists;
            let name = folded(&column_def.name);
            let exists = session.state().table(table).is_some_and(|t| t.column_named(&name).is_some());
            if exists && if_not_exists {
                let table = session.state().table(table).map(|t| t.name.clone()).unwrap_or_default();
                let message = format!("column \"{name}\" of relation \"{table}\" already exists, skipping");
                session.notices.push(Report::new(SqlState::DUPLICATE_COLUMN, message));
                return Ok(());
            }
            let mut draft = TableDraft::default();
            add_column(session, table, column_def, &mut draft).await?;
            for unique in draft.uniques {
                add_unique(session, table, unique).await?;
            }
            for (name, text) in draft.checks {
                add_check(session, table, name, text).await?;
            }
            Ok(())
        }
        AlterTableOperation::AlterColumn { column_name, op } => alter_column::alter(session, table, &folded(column_name), op).await,
        AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
            for name in column_names {
                alter_column::drop(session, table, &folded(name), *if_exists, cascade).await?;
            }
            Ok(())
        }
        AlterTableOperation::DropConstraint { name, if_exists, .. } => drop_constraint(session, table, &folded(name), *if_exists).await,
        AlterTableOperation::OwnerTo { .. }
        | AlterTableOperation::SetOptionsParens { .. }
        | AlterTableOperation::ReplicaIdentity { .. } => Ok(()),
        other => {
            let other = other.clone();
            redefine(session, table, move |table, around| simple(table, around, &other)).await
        }
    }
}

/// Changes a table's definition; the whole step again when the catalog has moved on.
pub(super) async fn redefine(
    session: &Session,
    oid: Oid,
    mut step: impl FnMut(&mut Table, &Surroundings) -> Result<Vec<Change>, Report>,
) -> Result<(), Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let table = around.state.table(oid).ok_or_else(|| Report::new(SqlState::UNDEFINED_TABLE, "the table was dropped meanwhile"))?;
        let mut table = Table::clone(&table);
        let more = step(&mut table, &around)?;
        let epochs = with_next_epochs(&around.state, &table)?;
        let mut changes = vec![Change::AlterTable(table), Change::PutPartitionMap(epochs)];
        changes.extend(more);
        if propose(session, around.state.version(), &changes).await?.is_some() {
            return Ok(());
        }
    }
    Err(too_many_attempts())
}

fn missing_column(table: &Table, name: &str) -> Report {
    Report::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" of relation \"{}\" does not exist", table.name))
}

pub(super) fn place(table: &Table, name: &str) -> Result<usize, Report> {
    table.columns.iter().position(|c| c.name == name && !c.dropped && !c.hidden).ok_or_else(|| missing_column(table, name))
}

fn simple(table: &mut Table, around: &Surroundings, operation: &AlterTableOperation) -> Result<Vec<Change>, Report> {
    match operation {
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            alter_column::rename(table, &folded(old_column_name), &folded(new_column_name))?;
        }
        AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(name) | RenameTableNameKind::As(name) } => {
            let name = split_name(name)?.1;
            super::rename::refuse_taken(around, table.schema, &name)?;
            table.name = name;
        }
        AlterTableOperation::RenameConstraint { old_name, new_name } => {
            let (old, new) = (folded(old_name), folded(new_name));
            return rename_constraint(table, around, &old, new);
        }
        other => return Err(Report::unsupported(format!("ALTER TABLE … {other}"))),
    }
    Ok(Vec::new())
}

/// A unique constraint and its index have one name.
fn rename_constraint(table: &mut Table, around: &Surroundings, old: &str, new: String) -> Result<Vec<Change>, Report> {
    if table.checks.iter().any(|c| c.name == new) || table.uniques.iter().any(|u| u.name == new) {
        let message = format!("constraint \"{new}\" for relation \"{}\" already exists", table.name);
        return Err(Report::new(SqlState::DUPLICATE_OBJECT, message));
    }
    if let Some(check) = table.checks.iter_mut().find(|c| c.name == old) {
        check.name = new;
        return Ok(Vec::new());
    }
    let schema = table.schema;
    let Some(unique) = table.uniques.iter_mut().find(|u| u.name == old) else { return Err(missing_constraint(table, old)) };
    super::rename::refuse_taken(around, schema, &new)?;
    unique.name.clone_from(&new);
    Ok(match unique.enforced_by {
        Enforcement::TableKey => Vec::new(),
        Enforcement::Index(oid) => {
            let index = around.state.index(oid).map(|i| Index { name: new, ..Index::clone(&i) });
            index.into_iter().map(Change::AlterIndex).collect()
        }
    })
}

fn missing_constraint(table: &Table, name: &str) -> Report {
    Report::new(SqlState::UNDEFINED_OBJECT, format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name))
}

async fn drop_constraint(session: &mut Session, oid: Oid, name: &str, if_exists: bool) -> Result<(), Report> {
    let mut notice = None;
    let mut is_key = false;
    redefine(session, oid, |table, _| {
        if let Some(at) = table.checks.iter().position(|c| c.name == name) {
            table.checks.remove(at);
            return Ok(Vec::new());
        }
        match table.uniques.iter().position(|u| u.name == name).map(|at| (at, table.uniques[at].enforced_by)) {
            Some((_, Enforcement::TableKey)) => is_key = true,
            Some((at, Enforcement::Index(index))) => {
                table.uniques.remove(at);
                return Ok(vec![Change::DropIndex(index)]);
            }
            None if if_exists => {
                let message = format!("{}, skipping", missing_constraint(table, name).message);
                notice = Some(Report::new(SqlState::SUCCESSFUL_COMPLETION, message));
            }
            None => return Err(missing_constraint(table, name)),
        }
        Ok(Vec::new())
    })
    .await?;
    session.notices.extend(notice);
    if is_key { alter_column::drop_key(session, oid, None).await } else { Ok(()) }
}

async fn add_column(session: &mut Session, table: Oid, tree: &sqlparser::ast::ColumnDef, out: &mut TableDraft) -> Result<(), Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let table = around.state.table(table).ok_or_else(|| Report::new(SqlState::UNDEFINED_TABLE, "the table was dropped meanwhile"))?;
        let mut table = Table::clone(&table);
        let mut draft = TableDraft { columns: table.columns.clone(), ..TableDraft::default() };
        draft.add_column(tree, &table.name, &around).map_err(|e| match e.sqlstate {
            SqlState::DUPLICATE_COLUMN if e.message.ends_with("specified more than once") => {
                let message = format!("column \"{}\" of relation \"{}\" already exists", folded(&tree.name), table.name);
                Report { message, ..e }
            }
            _ => e,
        })?;
        let mut column = draft.columns.pop().ok_or_else(|| Report::internal("the new column has gone"))?;
        let is_computed = !draft.sequences.is_empty() || column.generated.is_some() || is_volatile(&column, &around)?;
        if is_computed {
            add_computed(session, &table, column, &draft.sequences, &around).await?;
            out.uniques = draft.uniques;
            out.checks = draft.checks;
            return Ok(());
        }
        column.missing = default_now(&column.default, column.ty, &around)?;
        if column.not_null && column.missing.is_null() {
            refuse_rows(session, &around, &table, &column.name).await?;
        }
        table.columns.push(column);
        let epochs = with_next_epochs(&around.state, &table)?;
        let changes = [Change::AlterTable(table), Change::PutPartitionMap(epochs)];
        if propose(session, around.state.version(), &changes).await?.is_some() {
            out.uniques = draft.uniques;
            out.checks = draft.checks;
            return Ok(());
        }
    }
    Err(too_many_attempts())
}

fn is_volatile(column: &Column, around: &Surroundings) -> Result<bool, Report> {
    let Some(text) = &column.default else { return Ok(false) };
    let bound = sql::bind_expression(text, &[], column.ty, &around.settings).map_err(|e| e.report())?;
    Ok(bound.expr.is_volatile())
}

/// A column whose value differs from row to row: the rows are written anew.
async fn add_computed(
    session: &mut Session,
    table: &Table,
    column: Column,
    sequences: &[OwnedSequence],
    around: &Surroundings,
) -> Result<(), Report> {
    let mut ids = Ids::take(session, sequences.len().max(1)).await?;
    let attnum = column.attnum;
    let mut new = table.clone();
    new.columns.push(column);
    let mut definer = Definer::of(around, table, &mut ids);
    let made = sequences.iter().map(|owned| definer.owned_sequence(&mut new, owned)).collect::<Result<Vec<_>, _>>()?;
    super::definition::check_generated(&new.columns, &around.settings)?;
    // The sequence is there before the rows ask it.
    if !made.is_empty() {
        let changes: Vec<Change> = made.iter().cloned().map(Change::PutSequence).collect();
        if propose(session, session.state().version(), &changes).await?.is_none() {
            return Err(too_many_attempts());
        }
    }
    let column = new.columns.pop().ok_or_else(|| Report::internal("the new column has gone"))?;
    let done = swap::rewrite(session, table.oid, |_, closed| {
        let mut table = closed.clone();
        if table.columns.len() + 1 != usize::try_from(attnum).unwrap_or(0) {
            return Err(too_many_attempts());
        }
        let fresh = if column.generated == Some(Generated::Stored) { Vec::new() } else { vec![attnum] };
        table.columns.push(column);
        Ok(swap::Rewrite { table, values: Vec::new(), fresh, dropped: Vec::new(), more: Vec::new() })
    })
    .await;
    if done.is_err() {
        let changes: Vec<Change> = made.iter().map(|s| Change::DropSequence(s.oid)).collect();
        if !changes.is_empty() {
            propose(session, session.state().version(), &changes).await?;
        }
    }
    done
}

/// What rows that are there already read in a new column.
fn default_now(default: &Option<String>, ty: SqlType, around: &Surroundings) -> Result<Datum, Report> {
    match default {
        None => Ok(Datum::Null),
        Some(text) => {
            let bound = sql::bind_expression(text, &[], ty, &around.settings).map_err(|e| e.report())?;
            if bound.expr.is_volatile() {
                return Err(Report::unsupported("ADD COLUMN with a volatile default"));
            }
            RowExpression::compile(&bound.expr, &[], &[], ty, &around.settings)?.evaluate(&[], &[])
        }
    }
}

async fn refuse_rows(session: &Session, around: &Surroundings, table: &Table, column: &str) -> Result<(), Report> {
    let map = around.state.partition_map(table.storage).ok_or_else(|| Report::internal("a table has no partition map"))?;
    for partition in &map.partitions {
        let request = rpc::worker_api::RangeRequest {
            context: rpc::worker_api::ReadContext {
                catalog_version: around.state.version(),
                at: rpc::worker_api::ReadAt::Newest,
                own: None,
            },
            relation: table.storage,
            partition: query::access::partition_ref(partition),
            lo: bytes::Bytes::new(),
            hi: None,
            reverse: false,
            limit: 1,
        };
        if !session.coordinator.worker(partition.worker)?.range(request).await?.rows.is_empty() {
            let message = format!("column \"{column}\" of relation \"{}\" contains null values", table.name);
            return Err(Report::new(SqlState::NOT_NULL_VIOLATION, message));
        }
    }
    Ok(())
}

async fn add_constraint(session: &mut Session, table: Oid, tree: &TableConstraint) -> Result<(), Report> {
    let mut draft = TableDraft::default();
    draft.add_constraint(tree)?;
    for unique in std::mem::take(&mut draft.uniques) {
        add_unique(session, table, unique).await?;
    }
    for (name, text) in std::mem::take(&mut draft.checks) {
        add_check(session, table, name, text).await?;
    }
    Ok(())
}

async fn add_unique(session: &mut Session, table: Oid, unique: UniqueDraft) -> Result<(), Report> {
    let around = Surroundings::of(session);
    let found = around.state.table(table).ok_or_else(|| Report::new(SqlState::UNDEFINED_TABLE, "the table was dropped meanwhile"))?;
    if unique.is_primary {
        if found.primary_key().is_some() {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", found.name);
            return Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, message));
        }
        return alter_column::add_key(session, table, unique).await;
    }
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let Some(found) = around.state.table(table) else { return Err(too_many_attempts()) };
        let partitions = around.state.partition_map(found.storage).map_or(1, |m| m.partitions.len());
        let mut ids = Ids::take(session, 8 + partitions).await?;
        let mut definer = Definer {
            state: &around.state,
            settings: &around.settings,
            schema: found.schema,
            name: &found.name,
            ids: &mut ids,
            wish: PartitionWish::default(),
            taken: Vec::new(),
        };
        let mut new = NewTable { table: Table::clone(&found), indexes: Vec::new(), maps: Vec::new(), sequences: Vec::new() };
        definer.unique(&mut new, unique.clone(), IndexState::Building)?;
        let Some(index) = new.indexes.pop() else { return Err(Report::unsupported("this unique constraint on a table with rows")) };
        let oid = index.oid;
        new.table.indexes.retain(|i| *i != oid);
        let epochs = with_next_epochs(&around.state, &found)?;
        let mut changes = vec![Change::AlterTable(new.table), Change::CreateIndex(index)];
        changes.extend(new.maps.into_iter().map(Change::PutPartitionMap));
        changes.push(Change::PutPartitionMap(epochs));
        if let Some(version) = propose(session, around.state.version(), &changes).await? {
            let built = build(session, version, oid).await;
            if built.is_err() {
                redefine(session, table, |table, _| {
                    table.uniques.retain(|u| u.enforced_by != Enforcement::Index(oid));
                    Ok(Vec::new())
                })
                .await?;
            }
            return built;
        }
    }
    Err(too_many_attempts())
}

/// A CHECK constraint holds for all rows before it is there: rows written meanwhile are checked by the writers, which see the new definition first.
async fn add_check(session: &mut Session, table: Oid, name: Option<String>, text: String) -> Result<(), Report> {
    let around = Surroundings::of(session);
    let found = around.state.table(table).ok_or_else(|| Report::new(SqlState::UNDEFINED_TABLE, "the table was dropped meanwhile"))?;
    let mut ids = Ids::take(session, 1).await?;
    let check = Definer {
        state: &around.state,
        settings: &around.settings,
        schema: found.schema,
        name: &found.name,
        ids: &mut ids,
        wish: PartitionWish::default(),
        taken: Vec::new(),
    }
    .check(&found, name, text.clone())?;
    let schema = around.state.schema(found.schema).map(|s| s.name.clone()).unwrap_or_default();
    redefine(session, table, |table, _| {
        table.checks.push(check.clone());
        Ok(Vec::new())
    })
    .await?;
    let probe = format!("SELECT 1 FROM \"{schema}\".\"{}\" WHERE NOT ({text}) LIMIT 1", found.name);
    if has_row(session, &probe).await? {
        redefine(session, table, |table, _| {
            table.checks.retain(|c| c.oid != check.oid);
            Ok(Vec::new())
        })
        .await?;
        let message = format!("check constraint \"{}\" of relation \"{}\" is violated by some row", check.name, found.name);
        return Err(Report::new(SqlState::CHECK_VIOLATION, message));
    }
    Ok(())
}

/// Whether a query has a row.
pub(super) async fn has_row(session: &mut Session, text: &str) -> Result<bool, Report> {
    Ok(!rows_of(session, text, Scalar::Int4.into()).await?.is_empty())
}

/// The text in a query's first row.
pub(super) async fn first_text(session: &mut Session, text: &str) -> Result<Option<String>, Report> {
    let row = rows_of(session, text, Scalar::Text.into()).await?.into_iter().next();
    Ok(row.and_then(|row| row.into_iter().next()).and_then(|value| if let Datum::Text(text) = value { Some(text) } else { None }))
}

async fn rows_of(session: &mut Session, text: &str, ty: SqlType) -> Result<Vec<Vec<Datum>>, Report> {
    let parsed = sql::parse::parse_statements(text)?.into_iter().next().ok_or_else(|| Report::internal("no statement"))?;
    let prepared = session.prepare(&parsed, Vec::new())?;
    match Box::pin(crate::execute::execute(session, &prepared, Vec::new())).await? {
        StatementResult::Rows { rows: crate::result::Rows::Batches(stream), .. } => {
            crate::execute::query::collect_rows(stream, &[ty], 1 << 20).await
        }
        StatementResult::Rows { rows: crate::result::Rows::Values(rows), .. } => Ok(rows),
        _ => Ok(Vec::new()),
    }
}
