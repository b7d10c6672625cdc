//! Giving a table another key: ADD PRIMARY KEY on a table without one.
//!
//! The table is closed to writers first (its epochs rise and it is marked), then its rows are copied into a new key space, and at last the table's
//! definition changes to the new key space.

use std::sync::Arc;

use bytes::Bytes;
use catalog::changes::Change;
use catalog::objects::{Enforcement, PartitionMethod, Partitioning, Table, UniqueConstraint};
use catalog::placement;
use common::error::Report;
use common::ids::{CatalogVersion, Oid};
use common::sqlstate::SqlState;
use partition::hash::hash_split_points;
use rpc::worker_api::Precondition;

use super::create_index::with_next_epochs;
use super::definition::{UniqueDraft, attnums, bounds_of, key_schema};
use super::own_rows::Pieces;
use super::{ATTEMPTS_MAX, Ids, propose, too_many_attempts};
use crate::session::Session;
use crate::target_table::TargetTable;
use crate::write_set::{Destination, WriteSet};

/// The option that marks a table whose rows are being copied: writers wait.
pub(crate) const REWRITING: &str = "\u{1}rewriting";

/// Makes the named columns the table's primary key.
pub(super) async fn add_primary_key(session: &mut Session, oid: Oid, draft: UniqueDraft) -> Result<(), Report> {
    if let Some(changes) = &session.schema_changes {
        if !changes.has_made(oid) {
            return Err(Report::unsupported("a new primary key for an existing table inside a transaction block"));
        }
        let state = session.state();
        let table = state.table(oid).ok_or_else(|| Report::internal("the table has gone"))?;
        return copied(session, state.version(), &table, draft).await;
    }
    let (version, closed) = close(session, oid, true).await?;
    match copied(session, version, &closed, draft).await {
        Ok(()) => Ok(()),
        Err(error) => {
            close(session, oid, false).await?;
            Err(error)
        }
    }
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

async fn copied(session: &mut Session, version: CatalogVersion, old: &Table, draft: UniqueDraft) -> Result<(), Report> {
    let state = session.state();
    let source = TargetTable::new(&state, &Arc::new(old.clone()), &session.expression_settings())?;
    let columns = attnums(&old.columns, &draft.columns)?;
    let partitions = source.map.partitions.len();
    let mut ids = Ids::take(session, partitions + 4).await?;
    let mut new = old.clone();
    new.options.retain(|(name, _)| name != REWRITING);
    new.storage = ids.relation()?;
    let constraint = ids.oid()?;
    for column in &mut new.columns {
        if columns.contains(&column.attnum) {
            column.not_null = true;
        }
        if column.hidden {
            column.dropped = true;
            column.not_null = false;
        }
    }
    let name = draft.name.unwrap_or_else(|| format!("{}_pkey", old.name));
    let key = key_schema(&new.columns, &columns, columns.len())?;
    new.partitioning = Partitioning {
        method: PartitionMethod::Hash,
        policy: old.partitioning.policy,
        columns: columns.clone(),
        key_columns: columns.clone(),
        key,
    };
    new.uniques.push(UniqueConstraint {
        oid: constraint,
        name: name.clone(),
        is_primary: true,
        columns: columns.clone(),
        enforced_by: Enforcement::TableKey,
    });
    let lowers: Vec<Bytes> = std::iter::once(Bytes::new()).chain(hash_split_points(u32::try_from(partitions).unwrap_or(1))).collect();
    let map = placement::place(&state, new.storage, &lowers, ids.run(lowers.len())?)?;
    // The new key space must be known to its workers before rows go there.
    let base = CatalogVersion(version.0.max(state.version().0));
    let put = [Change::PutPartitionMap(map.clone())];
    let seen = propose(session, base, &put).await?.ok_or_else(too_many_attempts)?;
    let bounds = bounds_of(&map);
    let to = Destination { relation: new.storage, map: &map, bounds: &bounds, constraint: Some(constraint) };
    let copy = Copy { seen, new: &new, to, name: &name };
    let mut pieces = Pieces::new(&source);
    loop {
        let rows = pieces.next(session).await?;
        if rows.is_empty() {
            break;
        }
        copy.rows(session, &source, rows).await?;
    }
    for _ in 0..ATTEMPTS_MAX {
        let state = session.state();
        if propose(session, state.version(), &[Change::AlterTable(new.clone())]).await?.is_some() {
            return Ok(());
        }
    }
    Err(too_many_attempts())
}

struct Copy<'a> {
    seen: CatalogVersion,
    new: &'a Table,
    to: Destination<'a>,
    name: &'a str,
}

impl Copy<'_> {
    async fn rows(&self, session: &mut Session, source: &TargetTable, rows: Vec<(Bytes, Bytes)>) -> Result<(), Report> {
        let mut writes = WriteSet::default();
        for (_, row) in rows {
            let stored = source.decode(&row)?;
            let mut values = Vec::with_capacity(self.new.partitioning.key_columns.len());
            for attnum in &self.new.partitioning.key_columns {
                let value = stored[usize::try_from(attnum - 1).unwrap_or(0)].clone();
                if value.is_null() {
                    let column = self.new.column(*attnum).map_or("", |c| c.name.as_str());
                    let message = format!("column \"{column}\" of relation \"{}\" contains null values", self.new.name);
                    return Err(Report::new(SqlState::NOT_NULL_VIOLATION, message));
                }
                values.push(value);
            }
            let key = self.new.partitioning.key.key(&values).map_err(|e| common::error::SqlError::report(&e))?;
            writes.add(self.to, key.into(), Some(row), Precondition::Absent);
        }
        let wait = session.lock_wait();
        match session.write(self.seen, &mut writes, wait).await? {
            None => Ok(()),
            Some(_) => {
                let message = format!("could not create unique index \"{}\"", self.name);
                Err(Report::new(SqlState::UNIQUE_VIOLATION, message).with_detail("The rows of the table have the same key twice."))
            }
        }
    }
}
