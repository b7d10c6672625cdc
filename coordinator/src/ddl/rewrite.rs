//! Giving a table another key: ADD PRIMARY KEY on a table without one.
//!
//! The table is closed to writers first (its epochs rise and it is marked), then its rows are copied into a new key space, and at last the table's
//! definition changes to the new key space.

use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::{Enforcement, PartitionMethod, Partitioning, Table, UniqueConstraint};
use catalog::placement;
use common::error::Report;
use common::ids::{CatalogVersion, Oid};
use common::sqlstate::SqlState;
use partition::hash::hash_split_points;
use rpc::worker_api::{Precondition, RangeRequest, ReadAt, ReadContext};

use super::create_index::with_next_epochs;
use super::definition::{UniqueDraft, attnums, bounds_of, key_schema};
use super::{ATTEMPTS_MAX, Ids, propose, too_many_attempts};
use crate::session::Session;
use crate::target_table::TargetTable;
use crate::transaction::{Committed, Transaction};
use crate::write_set::{Destination, WriteSet};

/// Rows that are read at a time.
const ROWS_AT_ONCE: u32 = 5_000;

/// The option that marks a table whose rows are being copied: writers wait.
pub(crate) const REWRITING: &str = "\u{1}rewriting";

/// Makes the named columns the table's primary key.
pub(super) async fn add_primary_key(session: &mut Session, oid: Oid, draft: UniqueDraft) -> Result<(), Report> {
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
pub(super) async fn close(session: &Session, oid: Oid, closed: bool) -> Result<(CatalogVersion, Table), Report> {
    for _ in 0..ATTEMPTS_MAX {
        let state = session.coordinator.state();
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
    let state = session.coordinator.state();
    let source = TargetTable::new(&state, &Arc::new(old.clone()), &session.expression_settings())?;
    let columns = attnums(&old.columns, &draft.columns, true)?;
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
    let lowers: Vec<bytes::Bytes> =
        std::iter::once(bytes::Bytes::new()).chain(hash_split_points(u32::try_from(partitions).unwrap_or(1))).collect();
    let map = placement::place(&state, new.storage, &lowers, ids.run(lowers.len())?)?;
    // The new key space must be known to its workers before rows go there.
    let base = CatalogVersion(version.0.max(state.version().0));
    let seen = session.coordinator.propose(base, &[Change::PutPartitionMap(map.clone())]).await?;
    let bounds = bounds_of(&map);
    let to = Destination { relation: new.storage, map: &map, bounds: &bounds, constraint: Some(constraint) };
    let mut copy = Copy { session, seen, new: &new, to, name: &name };
    for partition in &source.map.partitions {
        copy.partition(&source, partition).await?;
    }
    for _ in 0..ATTEMPTS_MAX {
        let state = session.coordinator.state();
        if propose(session, state.version(), &[Change::AlterTable(new.clone())]).await?.is_some() {
            return Ok(());
        }
    }
    Err(too_many_attempts())
}

struct Copy<'a> {
    session: &'a Session,
    seen: CatalogVersion,
    new: &'a Table,
    to: Destination<'a>,
    name: &'a str,
}

impl Copy<'_> {
    async fn partition(&mut self, source: &TargetTable, partition: &catalog::objects::Partition) -> Result<(), Report> {
        let mut lo = bytes::Bytes::new();
        loop {
            let request = RangeRequest {
                context: ReadContext { catalog_version: self.seen, at: ReadAt::Newest, own: None },
                relation: source.table.storage,
                partition: query::access::partition_ref(partition),
                lo: lo.clone(),
                hi: None,
                reverse: false,
                limit: ROWS_AT_ONCE,
            };
            let found = self.session.coordinator.worker(partition.worker)?.range(request).await?;
            let Some((last, _)) = found.rows.last() else { return Ok(()) };
            let mut next = last.to_vec();
            next.push(0);
            lo = next.into();
            self.rows(source, found.rows.iter().map(|(_, row)| &row.row)).await?;
            if !found.more {
                return Ok(());
            }
        }
    }

    async fn rows(&self, source: &TargetTable, rows: impl Iterator<Item = &bytes::Bytes>) -> Result<(), Report> {
        let mut writes = WriteSet::default();
        for row in rows {
            let stored = source.decode(row)?;
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
            writes.add(self.to, key.into(), Some(row.clone()), Precondition::Absent);
        }
        let wait = self.session.lock_wait();
        let own = Transaction::begin(&self.session.coordinator).await?;
        match own.commit(self.seen, &mut writes, wait).await? {
            Committed::At(_) => Ok(()),
            Committed::Refused(_) => {
                let message = format!("could not create unique index \"{}\"", self.name);
                Err(Report::new(SqlState::UNIQUE_VIOLATION, message).with_detail("The rows of the table have the same key twice."))
            }
        }
    }
}
