//! Partition maps for new relations.

use bytes::Bytes;
use common::ids::{Epoch, GroupId, PartitionId, RelationId, WorkerId};

use crate::error::CatalogError;
use crate::objects::{Partition, PartitionMap};
use crate::state::CatalogState;

/// The epoch of a partition that nobody has owned before.
pub const FIRST_EPOCH: Epoch = Epoch(1);

/// A map for a new relation whose partitions begin at `lowers` (the first one empty): spread over the live workers, and over each worker's groups.
/// `first_id` is the first of as many reserved ids.
pub fn place(state: &CatalogState, relation: RelationId, lowers: &[Bytes], first_id: u64) -> Result<PartitionMap, CatalogError> {
    let workers: Vec<_> = state.live_workers().collect();
    if workers.is_empty() {
        return Err(CatalogError::NoWorkers);
    }
    let held = |id: WorkerId| state.partition_maps().flat_map(|m| &m.partitions).filter(|p| p.worker == id).count();
    let mut loads: Vec<usize> = workers.iter().map(|w| held(w.id)).collect();
    let owners = partition::balance::place(lowers.len(), &loads);
    let partitions = lowers.iter().zip(owners).zip(first_id..).map(|((lower, owner), id)| {
        let worker = workers[owner];
        let group = u32::try_from(loads[owner]).unwrap_or(0) % worker.groups.max(1);
        loads[owner] += 1;
        Partition { id: PartitionId(id), lower: lower.clone(), epoch: FIRST_EPOCH, worker: worker.id, group: GroupId(group) }
    });
    Ok(PartitionMap { relation, partitions: partitions.collect() })
}

/// A map for a new relation with the ranges, workers and groups of another.
pub fn colocate(map: &PartitionMap, relation: RelationId, first_id: u64) -> PartitionMap {
    let partitions = map.partitions.iter().zip(first_id..);
    let partitions = partitions.map(|(p, id)| Partition { id: PartitionId(id), epoch: FIRST_EPOCH, ..p.clone() });
    PartitionMap { relation, partitions: partitions.collect() }
}
