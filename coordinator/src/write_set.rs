//! The rows that a statement writes, sorted by the worker and partition that own them.

use std::collections::BTreeMap;

use bytes::Bytes;
use catalog::objects::PartitionMap;
use common::error::Report;
use common::ids::{Oid, PartitionId, RelationId, WorkerId};
use partition::bounds::Bounds;
use rpc::worker_api::{PartitionRef, PartitionWrites, Precondition, RowWrite};

/// Where a relation's rows go.
#[derive(Clone, Copy)]
pub struct Destination<'a> {
    pub relation: RelationId,
    pub map: &'a PartitionMap,
    pub bounds: &'a Bounds,
    /// What a duplicate is worded with.
    pub constraint: Option<Oid>,
}

impl<'a> Destination<'a> {
    /// The owner of a key.
    pub fn route(&self, key: &[u8]) -> (WorkerId, PartitionRef) {
        let partition = &self.map.partitions[self.bounds.route(key)];
        (partition.worker, PartitionRef { id: partition.id, epoch: partition.epoch, group: partition.group })
    }
}

/// Writes by worker, and within a worker by relation and partition.
#[derive(Debug, Default)]
pub struct WriteSet {
    by_worker: BTreeMap<WorkerId, BTreeMap<(RelationId, PartitionId), PartitionWrites>>,
    bytes: usize,
    rows: usize,
}

impl WriteSet {
    /// Adds one row's change.
    pub fn add(&mut self, to: Destination<'_>, key: Bytes, row: Option<Bytes>, precondition: Precondition) {
        let (worker, partition) = to.route(&key);
        self.bytes += key.len() + row.as_ref().map_or(0, Bytes::len) + PER_WRITE_BYTES;
        self.rows += 1;
        self.by_worker
            .entry(worker)
            .or_default()
            .entry((to.relation, partition.id))
            .or_insert_with(|| PartitionWrites { relation: to.relation, partition, writes: Vec::new(), constraint: to.constraint })
            .writes
            .push(RowWrite { key, row, precondition });
    }

    /// Memory that it takes, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes of rows, index entries included.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The workers that own the rows.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        self.by_worker.keys().copied()
    }

    /// Takes everything out, as requests carry it: many rows in the order of their keys, so that the worker finds each place near the last.
    pub fn take(&mut self) -> Vec<(WorkerId, Vec<PartitionWrites>)> {
        self.bytes = 0;
        self.rows = 0;
        let in_order = |mut part: PartitionWrites| {
            if part.writes.len() >= SORTED_FROM {
                part.writes.sort_by(|a, b| a.key.cmp(&b.key));
            }
            part
        };
        let by_worker = std::mem::take(&mut self.by_worker).into_iter();
        by_worker.map(|(worker, parts)| (worker, parts.into_values().map(in_order).collect())).collect()
    }
}

/// Fewer rows than this are sent as they came.
const SORTED_FROM: usize = 64;
/// What a write takes beside its key and row.
const PER_WRITE_BYTES: usize = 96;

/// A write that a worker refused, found again in the request that was sent.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub relation: RelationId,
    pub key: Bytes,
    pub kind: RefusalKind,
}

/// Why a write was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A row with that key, or in that unique index, exists.
    Duplicate { constraint: Option<Oid>, existing: Bytes },
    /// The row changed since it was read.
    Changed,
}

impl Refusal {
    /// Names the refused write of a request.
    pub fn find(request: &[PartitionWrites], outcome: &rpc::worker_api::WriteOutcome) -> Result<Option<Self>, Report> {
        use rpc::worker_api::WriteOutcome;
        let (at, kind) = match outcome {
            WriteOutcome::Done => return Ok(None),
            WriteOutcome::Duplicate { at, constraint, existing } => {
                (*at, RefusalKind::Duplicate { constraint: *constraint, existing: existing.clone() })
            }
            WriteOutcome::Changed { at } => (*at, RefusalKind::Changed),
        };
        let found = request.get(at.0 as usize).and_then(|p| Some((p.relation, p.writes.get(at.1 as usize)?.key.clone())));
        let (relation, key) = found.ok_or_else(|| Report::internal("a worker refused a write that was not sent"))?;
        Ok(Some(Self { relation, key, kind }))
    }
}
