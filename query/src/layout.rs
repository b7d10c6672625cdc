//! How the streams of a scatter follow the partitions of a table.
//!
//! A table's partitions are dealt to streams in one way, whatever a statement reads of them: a partition's place on its worker decides its stream.
//! Two hash tables with the same partition-key types, the same ranges and the same workers ([`Layout::lines_up`]) so keep equal partition-column
//! values in the same stream, and joins and groups by these columns need nothing from another stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use catalog::objects::{PartitionMap, PartitionMethod, Table};
use common::ids::WorkerId;
use datafusion::physical_plan::ExecutionPlan;
use partition::key::KeyColumn;

use crate::access::WorkerPieces;
use crate::scan::{ScanColumn, ScanPiece};
use crate::scatter_exec::Target;

/// Streams that one worker is asked for, at most: one for each core of a small machine.
const STREAMS_MAX: usize = 4;
/// A bound of a hash table that is no longer than this cuts between hash values, not within one.
const HASH_PREFIX_BYTES: usize = 2;

/// A stream: a worker and a number there.
pub type Slot = (WorkerId, usize);

/// What a scatter's streams have to do with partition columns.
#[derive(Clone, Debug)]
pub struct Layout {
    cut: Arc<Cut>,
    /// The output columns that hold the partition columns' values.
    pub columns: Vec<usize>,
}

/// How a table is cut.
#[derive(PartialEq, Debug)]
struct Cut {
    key: Vec<KeyColumn>,
    partitions: Vec<(Bytes, WorkerId)>,
}

impl Layout {
    /// The layout of a scan that gives these columns; `None` where partition columns do not decide the stream or are not read.
    pub fn of_scan(table: &Table, map: &PartitionMap, columns: &[ScanColumn]) -> Option<Self> {
        let partitioning = &table.partitioning;
        let is_hash = partitioning.method == PartitionMethod::Hash && partitioning.key.hash_columns == partitioning.columns.len();
        if !is_hash || map.partitions.iter().any(|p| p.lower.len() > HASH_PREFIX_BYTES) {
            return None;
        }
        let place = |attnum: &i16| {
            let stored = usize::try_from(attnum - 1).ok()?;
            columns.iter().position(|c| *c == ScanColumn::Stored(stored))
        };
        let columns = partitioning.columns.iter().map(place).collect::<Option<Vec<usize>>>()?;
        let key = partitioning.key.columns[..partitioning.key.hash_columns].to_vec();
        let partitions = map.partitions.iter().map(|p| (p.lower.clone(), p.worker)).collect();
        Some(Self { cut: Arc::new(Cut { key, partitions }), columns })
    }

    /// Whether equal values of both sides' partition columns are in the same stream.
    pub fn lines_up(&self, other: &Self) -> bool {
        self.cut == other.cut
    }

    /// The same with the partition columns elsewhere in the output; `None` when one is not there any more.
    pub fn moved(&self, to: impl Fn(usize) -> Option<usize>) -> Option<Self> {
        let columns = self.columns.iter().map(|at| to(*at)).collect::<Option<Vec<usize>>>()?;
        Some(Self { cut: Arc::clone(&self.cut), columns })
    }
}

/// Deals each worker's pieces to streams, which run at the same time. The pieces of one stream are in key order.
pub fn streams(workers: &[WorkerPieces], map: &PartitionMap) -> (Vec<Slot>, Vec<Target>, Vec<Vec<ScanPiece>>) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut places = BTreeMap::new();
    let mut counts: BTreeMap<WorkerId, usize> = BTreeMap::new();
    for partition in &map.partitions {
        let count = counts.entry(partition.worker).or_default();
        places.insert(partition.id, *count);
        *count += 1;
    }
    let mut dealt: BTreeMap<Slot, Vec<ScanPiece>> = BTreeMap::new();
    for WorkerPieces { worker, pieces } in workers {
        let count = counts.get(worker).copied().unwrap_or(1).min(cores).clamp(1, STREAMS_MAX);
        for piece in pieces {
            let place = places.get(&piece.partition.id).copied().unwrap_or(0);
            dealt.entry((*worker, place % count)).or_default().push(piece.clone());
        }
    }
    let (mut slots, mut targets, mut streams) = (Vec::new(), Vec::new(), Vec::new());
    for (slot, mut pieces) in dealt {
        pieces.sort_by(|a, b| a.lo.cmp(&b.lo));
        targets.push(Target::new(slot.0, pieces.iter().map(|p| p.partition)));
        slots.push(slot);
        streams.push(pieces);
    }
    (slots, targets, streams)
}

/// The fragment with its scans' streams in the order of `wanted`; a slot that it does not have reads nothing.
pub fn in_slots(fragment: &Arc<dyn ExecutionPlan>, have: &[Slot], wanted: &[Slot]) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    if have == wanted {
        return Ok(Arc::clone(fragment));
    }
    let places: Vec<Option<usize>> = wanted.iter().map(|slot| have.iter().position(|h| h == slot)).collect();
    let moved = Arc::clone(fragment).transform_up(|node| match node.downcast_ref::<crate::scan_exec::ScanExec>() {
        None => Ok(Transformed::no(node)),
        Some(scan) => {
            let streams = places.iter().map(|place| place.map_or_else(Vec::new, |at| scan.spec().streams[at].clone())).collect();
            Ok(Transformed::yes(Arc::new(scan.with_streams(streams)) as Arc<dyn ExecutionPlan>))
        }
    })?;
    Ok(moved.data)
}
