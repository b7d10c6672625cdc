//! Changes of a table that change its stored rows: another type of a column, a column whose value differs from row to row, a key that goes.
//!
//! The table is closed to writers. A hidden table gets the new definition and is filled by INSERT … SELECT, so that casts, defaults, generated
//! columns, checks and unique indexes are what they always are. Then the two exchange their key spaces, and the hidden one is dropped with the old rows.

use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::{Column, Enforcement, Index, IndexScope, IndexState, Maintenance, PartitionMap, Table};
use catalog::placement;
use catalog::state::CatalogState;
use common::error::Report;
use common::ids::{CatalogVersion, Oid};
use common::sqlstate::SqlState;
use types::quoting::quote_ident;

use super::create_index::with_next_epochs;
use super::definition::key_schema;
use super::{ATTEMPTS_MAX, Ids, propose, too_many_attempts};
use crate::session::Session;

/// The option that marks a table whose rows are being copied: writers wait.
pub(crate) const REWRITING: &str = "\u{1}rewriting";

/// What becomes of a table.
pub(super) struct Rewrite {
    /// The new definition; its storage and its indexes are still the old ones.
    pub(super) table: Table,
    /// SQL over the old row for columns that do not stay as they are, by attnum.
    pub(super) values: Vec<(i16, String)>,
    /// Columns that take their defaults, by attnum.
    pub(super) fresh: Vec<i16>,
    /// Indexes that go.
    pub(super) dropped: Vec<Oid>,
    /// What else changes with it.
    pub(super) more: Vec<Change>,
}

/// The hidden table and its indexes, beside those whose place they take.
struct Hidden {
    table: Table,
    indexes: Vec<(Arc<Index>, Index)>,
    maps: Vec<PartitionMap>,
}

/// Gives a table another definition and its rows another form.
pub(super) async fn rewrite(
    session: &mut Session,
    oid: Oid,
    plan: impl FnOnce(&Arc<CatalogState>, &Table) -> Result<Rewrite, Report>,
) -> Result<(), Report> {
    if session.schema_changes.as_ref().is_some_and(|changes| !changes.has_made(oid)) {
        // Others would write to it until the commit.
        return Err(Report::unsupported("a change of the stored rows of an existing table inside a transaction block"));
    }
    let (_, closed) = close(session, oid, true).await?;
    let state = session.state();
    let done = match plan(&state, &closed) {
        Ok(rewrite) => through_hidden_table(session, &state, &closed, rewrite).await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        close(session, oid, false).await?;
    }
    done
}

/// Closes a table to writers, or opens it again.
async fn close(session: &Session, oid: Oid, closed: bool) -> Result<(CatalogVersion, Table), Report> {
    for _ in 0..ATTEMPTS_MAX {
        let state = session.state();
        let table = state.table(oid).ok_or_else(|| Report::new(SqlState::UNDEFINED_TABLE, "the table was dropped meanwhile"))?;
        let mut table = Table::clone(&table);
        if closed && table.options.iter().any(|(name, _)| name == REWRITING) {
            return Err(Report::new(SqlState::OBJECT_IN_USE, format!("table \"{}\" is being altered by another session", table.name)));
        }
        table.options.retain(|(name, _)| name != REWRITING);
        if closed {
            table.options.push((REWRITING.to_owned(), "true".to_owned()));
        }
        let map = with_next_epochs(&state, &table)?;
        let changes = [Change::AlterTable(table.clone()), Change::PutPartitionMap(map)];
        if let Some(version) = propose(session, state.version(), &changes).await? {
            return Ok((version, table));
        }
    }
    Err(too_many_attempts())
}

async fn through_hidden_table(session: &mut Session, state: &Arc<CatalogState>, old: &Table, rewrite: Rewrite) -> Result<(), Report> {
    let hidden = hidden(session, state, old, &rewrite).await?;
    let mut changes = vec![Change::CreateTable(Table { indexes: Vec::new(), ..hidden.table.clone() })];
    changes.extend(hidden.indexes.iter().map(|(_, index)| Change::CreateIndex(index.clone())));
    changes.extend(hidden.maps.iter().cloned().map(Change::PutPartitionMap));
    propose_now(session, &changes).await?;
    let filled = match fill(session, state, old, &hidden.table, &rewrite).await {
        Ok(()) => propose_now(session, &exchange(old, &hidden, rewrite)).await,
        Err(error) => Err(named_as(error, &hidden, &old.name)),
    };
    if filled.is_err() {
        propose_now(session, &[Change::DropTable(hidden.table.oid)]).await?;
    }
    filled
}

async fn propose_now(session: &Session, changes: &[Change]) -> Result<(), Report> {
    for _ in 0..ATTEMPTS_MAX {
        let base = session.state().version();
        if propose(session, base, changes).await?.is_some() {
            return Ok(());
        }
    }
    Err(too_many_attempts())
}

async fn hidden(session: &Session, state: &CatalogState, old: &Table, rewrite: &Rewrite) -> Result<Hidden, Report> {
    let no_map = || Report::internal("a table has no partition map");
    let map = state.partition_map(old.storage).ok_or_else(no_map)?;
    let kept: Vec<Arc<Index>> = state.indexes_of(old).filter(|i| !rewrite.dropped.contains(&i.oid)).cloned().collect();
    let is_async = |i: &&Arc<Index>| matches!(i.scope, IndexScope::Global { maintenance: Maintenance::Async, .. });
    if kept.iter().any(|i| is_async(&i)) {
        return Err(Report::unsupported("rewriting a table with an asynchronous index"));
    }
    let parts: usize = kept.iter().map(|i| 2 + state.partition_map(i.storage).map_or(0, |m| m.partitions.len())).sum();
    let mut ids = Ids::take(session, 2 + map.partitions.len() + parts).await?;
    let oid = ids.oid()?;
    let storage = ids.relation()?;
    let mut maps = vec![placement::colocate(&map, storage, ids.run(map.partitions.len())?)];
    let name = format!("\u{1}rewrite of {}", old.oid);
    let mut table = Table { oid, storage, name: name.clone(), ..rewrite.table.clone() };
    table.options.retain(|(name, _)| name != REWRITING);
    let mut indexes = Vec::with_capacity(kept.len());
    for (at, index) in kept.into_iter().enumerate() {
        let mut new = retyped(&index, &table.columns)?;
        new.oid = ids.oid()?;
        new.storage = ids.relation()?;
        new.table = oid;
        new.name = format!("{name} {at}");
        new.state = IndexState::Ready;
        if let Some(map) = state.partition_map(index.storage) {
            maps.push(placement::colocate(&map, new.storage, ids.run(map.partitions.len())?));
        }
        for unique in &mut table.uniques {
            if unique.enforced_by == Enforcement::Index(index.oid) {
                unique.enforced_by = Enforcement::Index(new.oid);
            }
        }
        indexes.push((index, new));
    }
    Ok(Hidden { table, indexes, maps })
}

/// The index over columns of these types.
fn retyped(index: &Index, columns: &[Column]) -> Result<Index, Report> {
    let attnums: Vec<i16> = index.columns.iter().map(|c| c.attnum).collect();
    let with_order = |hashed: usize| -> Result<_, Report> {
        let mut key = key_schema(columns, &attnums, hashed)?;
        for (key, column) in key.columns.iter_mut().zip(&index.columns) {
            key.descending = column.descending;
            key.nulls_first = column.nulls_first;
        }
        Ok(key)
    };
    let mut new = index.clone();
    new.key = with_order(0)?;
    if let IndexScope::Global { partitioning, .. } = &mut new.scope {
        partitioning.key = with_order(partitioning.key.hash_columns)?;
    }
    Ok(new)
}

/// INSERT INTO hidden SELECT … FROM old.
async fn fill(session: &mut Session, state: &CatalogState, old: &Table, hidden: &Table, rewrite: &Rewrite) -> Result<(), Report> {
    let schema = state.schema(old.schema).map(|s| s.name.clone()).unwrap_or_default();
    let qualified = |name: &str| format!("{}.\"{}\"", quote_ident(&schema), name.replace('"', "\"\""));
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for column in hidden.visible_columns() {
        let is_stored = column.generated == Some(catalog::objects::Generated::Stored);
        if is_stored || rewrite.fresh.contains(&column.attnum) {
            continue;
        }
        names.push(quote_ident(&column.name));
        let value = rewrite.values.iter().find(|(attnum, _)| *attnum == column.attnum).map(|(_, value)| value.clone());
        let own = old.column(column.attnum).map(|c| quote_ident(&c.name)).unwrap_or_default();
        values.push(value.unwrap_or(own));
    }
    if names.is_empty() {
        return Err(Report::unsupported("rewriting a table without other columns"));
    }
    let text = format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}",
        qualified(&hidden.name),
        names.join(", "),
        values.join(", "),
        qualified(&old.name)
    );
    let parsed = sql::parse::parse_statements(&text)?.into_iter().next().ok_or_else(|| Report::internal("no statement"))?;
    let insert = session.prepare(&parsed, Vec::new())?;
    Box::pin(crate::execute::execute(session, &insert, Vec::new())).await.map(|_| ())
}

/// The two tables exchange their key spaces; the old one takes the new definition.
fn exchange(old: &Table, hidden: &Hidden, rewrite: Rewrite) -> Vec<Change> {
    let pairs = hidden.indexes.iter().map(|(old, new)| (old.oid, new.oid)).collect();
    let mut changes: Vec<Change> = rewrite.dropped.iter().map(|oid| Change::DropIndex(*oid)).collect();
    changes.push(Change::ExchangeStorage { tables: (old.oid, hidden.table.oid), indexes: pairs });
    for (index, new) in &hidden.indexes {
        let taken = Index { oid: index.oid, table: old.oid, name: index.name.clone(), ..new.clone() };
        changes.push(Change::AlterIndex(taken));
    }
    let mut table = Table { storage: hidden.table.storage, ..rewrite.table };
    table.indexes.retain(|oid| !rewrite.dropped.contains(oid));
    table.options.retain(|(name, _)| name != REWRITING);
    changes.push(Change::AlterTable(table));
    changes.push(Change::DropTable(hidden.table.oid));
    changes.extend(rewrite.more);
    changes
}

/// An error of filling the hidden table, as PostgreSQL tells it of a rewrite.
fn named_as(mut report: Report, hidden: &Hidden, name: &str) -> Report {
    let constraint = report.constraint.clone().unwrap_or_default();
    match report.sqlstate {
        SqlState::NOT_NULL_VIOLATION => {
            let column = report.column.clone().unwrap_or_default();
            report.message = format!("column \"{column}\" of relation \"{name}\" contains null values");
            report.detail = None;
        }
        SqlState::CHECK_VIOLATION => {
            report.message = format!("check constraint \"{constraint}\" of relation \"{name}\" is violated by some row");
            report.detail = None;
        }
        SqlState::UNIQUE_VIOLATION => {
            report.message = format!("could not create unique index \"{constraint}\"");
            report.detail = report.detail.map(|d| d.replace("already exists.", "is duplicated."));
        }
        _ => report.message = report.message.replace(&hidden.table.name, name),
    }
    if report.table.is_some() {
        report.table = Some(name.to_owned());
    }
    report
}
