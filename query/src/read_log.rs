//! What a serializable transaction has read, for its commit: see `worker::validation`.
//!
//! Reads are noted as the ranges of keys that are looked at, where they are sent to their owners. A range is noted before the answer is known, so a
//! condition that finds nothing leaves a trace too.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::ids::{PartitionId, RelationId, WorkerId};
use parking_lot::Mutex;
use partition::range::KeyRange;
use partition::range_set::RangeSet;
use rpc::worker_api::{PartitionReads, PartitionRef};

use crate::scan::{AccessPath, ScanPiece, ScanSpec};

#[derive(Debug)]
struct Part {
    partition: PartitionRef,
    rows_of: Option<RelationId>,
    ranges: RangeSet,
}

/// The reads so far: bounded for each partition, however many there are.
#[derive(Debug, Default)]
pub struct ReadLog(Mutex<BTreeMap<(WorkerId, PartitionId, RelationId), Part>>);

impl ReadLog {
    /// Notes that a row was looked for.
    pub fn add_key(&self, worker: WorkerId, partition: PartitionRef, relation: RelationId, key: &[u8]) {
        let KeyRange { lo, hi } = KeyRange::point(key);
        self.add(worker, partition, relation, None, lo, hi);
    }

    /// Notes that a scan reads a piece.
    pub fn add_piece(&self, worker: WorkerId, spec: &ScanSpec, piece: &ScanPiece) {
        let (relation, rows_of) = match spec.access {
            AccessPath::Table => (spec.storage, None),
            AccessPath::LocalIndex { storage, .. } => (storage, Some(spec.storage)),
        };
        self.add(worker, piece.partition, relation, rows_of, piece.lo.clone(), piece.hi.clone());
    }

    fn add(
        &self,
        worker: WorkerId,
        partition: PartitionRef,
        relation: RelationId,
        rows_of: Option<RelationId>,
        lo: Bytes,
        hi: Option<Bytes>,
    ) {
        let mut parts = self.0.lock();
        let new = || Part { partition, rows_of, ranges: RangeSet::default() };
        parts.entry((worker, partition.id, relation)).or_insert_with(new).ranges.add(lo, hi);
    }

    /// All reads, by the worker that must validate them.
    pub fn by_worker(&self) -> BTreeMap<WorkerId, Vec<PartitionReads>> {
        let mut out: BTreeMap<WorkerId, Vec<PartitionReads>> = BTreeMap::new();
        for ((worker, _, relation), part) in self.0.lock().iter() {
            let ranges = part.ranges.iter().map(|(lo, hi)| (lo.clone(), hi.cloned())).collect();
            let reads = PartitionReads { partition: part.partition, relation: *relation, rows_of: part.rows_of, ranges };
            out.entry(*worker).or_default().push(reads);
        }
        out
    }
}
