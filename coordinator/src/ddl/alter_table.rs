//! ALTER TABLE: one proposal for each action.

use catalog::changes::Change;
use catalog::objects::{Enforcement, IndexState, Table};
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use sqlparser::ast::{AlterColumnOperation, AlterTable, AlterTableOperation, ObjectName, RenameTableNameKind, TableConstraint};

use super::create_index::{build, with_next_epochs};
use super::definition::{Definer, NewTable, PartitionWish, TableDraft, UniqueDraft, default_text};
use super::{ATTEMPTS_MAX, Ids, Surroundings, folded, missing_relation, propose, rewrite, split_name, too_many_attempts};
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
                return Ok(());
            }
            let mut draft = TableDraft::default();
            add_column(session, table, column_def, &mut draft).await?;
            for unique in draft.uniques {
                add_unique(session, table, unique).await?;
            }
            Ok(())
        }
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
async fn redefine(
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

fn place(table: &Table, name: &str) -> Result<usize, Report> {
    table.columns.iter().position(|c| c.name == name && !c.dropped && !c.hidden).ok_or_else(|| missing_column(table, name))
}

fn simple(table: &mut Table, around: &Surroundings, operation: &AlterTableOperation) -> Result<Vec<Change>, Report> {
    match operation {
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            let (old, new) = (folded(old_column_name), folded(new_column_name));
            let at = place(table, &old)?;
            if table.column_named(&new).is_some() {
                let message = format!("column \"{new}\" of relation \"{}\" already exists", table.name);
                return Err(Report::new(SqlState::DUPLICATE_COLUMN, message));
            }
            if !table.checks.is_empty() {
                return Err(Report::unsupported("renaming a column of a table with CHECK constraints"));
            }
            table.columns[at].name = new;
        }
        AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(name) | RenameTableNameKind::As(name) } => {
            table.name = split_name(name)?.1;
        }
        AlterTableOperation::RenameConstraint { old_name, new_name } => {
            let (old, new) = (folded(old_name), folded(new_name));
            let unique = table.uniques.iter_mut().find(|u| u.name == old).map(|u| &mut u.name);
            let check = table.checks.iter_mut().find(|c| c.name == old).map(|c| &mut c.name);
            match unique.or(check) {
                Some(name) => *name = new,
                None => return Err(missing_constraint(table, &old)),
            }
        }
        AlterTableOperation::DropColumn { column_names, if_exists, .. } => {
            for name in column_names {
                drop_column(table, around, &folded(name), *if_exists)?;
            }
        }
        AlterTableOperation::DropConstraint { name, if_exists, .. } => return drop_constraint(table, &folded(name), *if_exists),
        AlterTableOperation::AlterColumn { column_name, op } => alter_column(table, around, &folded(column_name), op)?,
        other => return Err(Report::unsupported(format!("ALTER TABLE … {other}"))),
    }
    Ok(Vec::new())
}

fn missing_constraint(table: &Table, name: &str) -> Report {
    Report::new(SqlState::UNDEFINED_OBJECT, format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name))
}

fn drop_column(table: &mut Table, around: &Surroundings, name: &str, if_exists: bool) -> Result<(), Report> {
    let at = match place(table, name) {
        Ok(at) => at,
        Err(_) if if_exists => return Ok(()),
        Err(error) => return Err(error),
    };
    let attnum = table.columns[at].attnum;
    let indexed = around.state.indexes_of(table).any(|i| i.columns.iter().any(|c| c.attnum == attnum) || i.include.contains(&attnum));
    if indexed || table.partitioning.key_columns.contains(&attnum) || !table.checks.is_empty() {
        return Err(Report::unsupported("dropping a column that a key, an index or a CHECK constraint may name"));
    }
    let column = &mut table.columns[at];
    column.dropped = true;
    column.not_null = false;
    column.default = None;
    column.name = format!("........pg.dropped.{attnum}........");
    Ok(())
}

fn drop_constraint(table: &mut Table, name: &str, if_exists: bool) -> Result<Vec<Change>, Report> {
    if let Some(at) = table.checks.iter().position(|c| c.name == name) {
        table.checks.remove(at);
        return Ok(Vec::new());
    }
    match table.uniques.iter().position(|u| u.name == name) {
        Some(at) => match table.uniques[at].enforced_by {
            Enforcement::TableKey => Err(Report::unsupported("dropping the primary key")),
            Enforcement::Index(index) => {
                table.uniques.remove(at);
                Ok(vec![Change::DropIndex(index)])
            }
        },
        None if if_exists => Ok(Vec::new()),
        None => Err(missing_constraint(table, name)),
    }
}

fn alter_column(table: &mut Table, around: &Surroundings, name: &str, op: &AlterColumnOperation) -> Result<(), Report> {
    let at = place(table, name)?;
    match op {
        AlterColumnOperation::DropNotNull => {
            if table.primary_key().is_some_and(|k| k.columns.contains(&table.columns[at].attnum)) {
                return Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, format!("column \"{name}\" is in a primary key")));
            }
            table.columns[at].not_null = false;
        }
        AlterColumnOperation::SetDefault { value } => {
            let text = default_text(value, &table.columns[at], around)?;
            table.columns[at].default = Some(text);
        }
        AlterColumnOperation::DropDefault => table.columns[at].default = None,
        AlterColumnOperation::SetNotNull => return Err(Report::unsupported("ALTER COLUMN … SET NOT NULL")),
        other => return Err(Report::unsupported(format!("ALTER COLUMN … {other}"))),
    }
    Ok(())
}

async fn add_column(session: &Session, table: Oid, tree: &sqlparser::ast::ColumnDef, out: &mut TableDraft) -> Result<(), Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let table = around.state.table(table).ok_or_else(|| Report::new(SqlState::UNDEFINED_TABLE, "the table was dropped meanwhile"))?;
        let mut table = Table::clone(&table);
        let mut draft = TableDraft { columns: table.columns.clone(), ..TableDraft::default() };
        draft.add_column(tree, &table.name, &around).map_err(|e| match e.sqlstate {
            SqlState::DUPLICATE_COLUMN => {
                let message = format!("column \"{}\" of relation \"{}\" already exists", folded(&tree.name), table.name);
                Report { message, ..e }
            }
            _ => e,
        })?;
        let mut column = draft.columns.pop().ok_or_else(|| Report::internal("the new column has gone"))?;
        column.missing = default_now(&column.default, column.ty, &around)?;
        if column.not_null && column.missing.is_null() {
            refuse_rows(session, &around, &table, &column.name).await?;
        }
        if !draft.checks.is_empty() {
            return Err(Report::unsupported("ADD COLUMN with CHECK"));
        }
        table.columns.push(column);
        let epochs = with_next_epochs(&around.state, &table)?;
        let changes = [Change::AlterTable(table), Change::PutPartitionMap(epochs)];
        if propose(session, around.state.version(), &changes).await?.is_some() {
            out.uniques = draft.uniques;
            return Ok(());
        }
    }
    Err(too_many_attempts())
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
        if found.columns.iter().any(|c| c.hidden && !c.dropped) && found.indexes.is_empty() {
            return rewrite::add_primary_key(session, table, unique).await;
        }
        return Err(Report::unsupported("ADD PRIMARY KEY to a table with indexes"));
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

async fn has_row(session: &mut Session, text: &str) -> Result<bool, Report> {
    let parsed = sql::parse::parse_statements(text)?.into_iter().next().ok_or_else(|| Report::internal("no statement"))?;
    let prepared = session.prepare(&parsed, Vec::new())?;
    match Box::pin(crate::execute::execute(session, &prepared, Vec::new())).await? {
        StatementResult::Rows { rows: crate::result::Rows::Batches(stream), .. } => {
            let rows = crate::execute::query::collect_rows(stream, &[Scalar::Int4.into()], 1 << 20).await?;
            Ok(!rows.is_empty())
        }
        StatementResult::Rows { rows: crate::result::Rows::Values(rows), .. } => Ok(!rows.is_empty()),
        _ => Ok(false),
    }
}
