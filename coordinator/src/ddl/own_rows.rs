//! The rows of a table that the open transaction has made itself: nobody else sees them, and so they are changed within the transaction.

use std::sync::Arc;

use bytes::Bytes;
use catalog::objects::{Index, Table};
use catalog::state::CatalogState;
use common::error::Report;
use common::sqlstate::SqlState;
use rpc::worker_api::{Precondition, RangeRequest, ReadAt, ReadContext};

use crate::session::Session;
use crate::target_table::TargetTable;
use crate::write_set::{Refusal, WriteSet};

/// Rows that are read and written at a time.
const ROWS_AT_ONCE: u32 = 2_000;

/// A table's rows as the transaction sees them, piece by piece.
pub(super) struct Pieces<'a> {
    target: &'a TargetTable,
    /// The partition that is read, and from which key on.
    at: (usize, Option<Bytes>),
}

impl<'a> Pieces<'a> {
    /// From the first row.
    pub(super) fn new(target: &'a TargetTable) -> Self {
        Self { target, at: (0, None) }
    }

    /// The next rows, by key; none at the end.
    pub(super) async fn next(&mut self, session: &Session) -> Result<Vec<(Bytes, Bytes)>, Report> {
        while let Some(partition) = self.target.map.partitions.get(self.at.0) {
            let range = self.target.bounds.range(self.at.0);
            let request = RangeRequest {
                context: ReadContext { catalog_version: self.target.version, at: ReadAt::Newest, own: session.transaction.own_writes() },
                relation: self.target.table.storage,
                partition: query::access::partition_ref(partition),
                lo: self.at.1.take().unwrap_or(range.lo),
                hi: range.hi,
                reverse: false,
                limit: ROWS_AT_ONCE,
            };
            let found = session.coordinator.worker(partition.worker)?.range(request).await?;
            match found.rows.last() {
                Some((last, _)) if found.more => {
                    let mut next = last.to_vec();
                    next.push(0);
                    self.at.1 = Some(next.into());
                }
                _ => self.at = (self.at.0 + 1, None),
            }
            if !found.rows.is_empty() {
                return Ok(found.rows.into_iter().map(|(key, row)| (key, row.row)).collect());
            }
        }
        Ok(Vec::new())
    }
}

/// Writes all rows of a table anew, so that they get their entries in a new index.
pub(super) async fn write_again(session: &mut Session, state: &CatalogState, table: &Arc<Table>, index: &Index) -> Result<(), Report> {
    let target = TargetTable::new(state, table, &session.expression_settings())?;
    let wait = session.lock_wait();
    let mut pieces = Pieces::new(&target);
    loop {
        let rows = pieces.next(session).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let (mut removals, mut rows_again) = (WriteSet::default(), WriteSet::default());
        for (key, row) in rows {
            let stored = target.decode(&row)?;
            target.add_delete(&mut removals, key.clone(), &stored, Precondition::None)?;
            target.add_insert(&mut rows_again, key, &stored)?;
        }
        for writes in [&mut removals, &mut rows_again] {
            if let Some(refusal) = session.write(target.version, writes, wait).await? {
                return Err(not_unique(session, state, &target, &refusal, &index.name));
            }
        }
    }
}

/// The error of a key that is there twice.
pub(super) fn not_unique(session: &Session, state: &CatalogState, target: &TargetTable, refusal: &Refusal, name: &str) -> Report {
    let detail = target.duplicate_error(refusal, state, session.settings.format()).and_then(|report| report.detail);
    let mut report = Report::new(SqlState::UNIQUE_VIOLATION, format!("could not create unique index \"{name}\""));
    report.detail = detail.map(|detail| detail.replace(" already exists.", " is duplicated."));
    report.constraint = Some(name.to_owned());
    report
}
