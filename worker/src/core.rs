//! What all parts of a worker share.

use std::sync::Arc;
use std::time::Duration;

use catalog::client::CatalogCache;
use catalog::objects::{IndexScope, PartitionMap};
use catalog::state::CatalogState;
use common::clock::Clock;
use common::ids::{CatalogVersion, GroupId, PartitionId, RelationId, Timestamp, WorkerId};
use rpc::catalog_api::CatalogApi;
use rpc::directory::WorkerDirectory;
use rpc::worker_api::{PartitionRef, ReadAt, ReadContext};
use storage::Engine;

use crate::advisory::Advisory;
use crate::commit::Pipeline;
use crate::error::{Result, WorkerError};
use crate::feed_source::Feeds;
use crate::feed_target::Marks;
use crate::locks::LockTable;
use crate::participants::Participants;
use crate::sizes::Sizes;
use crate::validation::Validator;
use crate::writers::Writers;

/// How long a request with a newer catalog version waits for the catalog.
const CATALOG_WAIT: Duration = Duration::from_secs(5);

/// One worker's parts.
pub(crate) struct Core {
    pub(crate) id: WorkerId,
    /// How many groups there are.
    pub(crate) groups: u32,
    pub(crate) engine: Arc<Engine>,
    pub(crate) catalog: Arc<dyn CatalogApi>,
    pub(crate) cache: Arc<CatalogCache>,
    pub(crate) directory: Arc<dyn WorkerDirectory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pipeline: Pipeline,
    pub(crate) locks: Arc<LockTable>,
    pub(crate) writers: Arc<Writers>,
    pub(crate) participants: Participants,
    pub(crate) advisory: Advisory,
    pub(crate) validator: Arc<Validator>,
    pub(crate) sizes: Sizes,
    /// What this worker's log feeds.
    pub(crate) feeds: Feeds,
    /// How far the indexes are that others feed here.
    pub(crate) marks: Marks,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Core {
    /// The newest state, at `version` at least.
    pub(crate) async fn state(&self, version: CatalogVersion) -> Result<Arc<CatalogState>> {
        let state = self.cache.current();
        if state.version() >= version { Ok(state) } else { Ok(self.cache.wait_for(version, CATALOG_WAIT).await?) }
    }

    /// Lets a reader in, once everything that it must see is there; answers the timestamp to read at.
    pub(crate) async fn admit_reads(&self, context: &ReadContext, relation: RelationId, partition: PartitionRef) -> Result<Timestamp> {
        let state = self.state(context.catalog_version).await?;
        self.check(&state, relation, partition)?;
        self.settle(context.at).await
    }

    /// Waits until a snapshot is complete here; answers the timestamp to read at.
    pub(crate) async fn settle(&self, at: ReadAt) -> Result<Timestamp> {
        match at {
            ReadAt::Newest => Ok(Timestamp::MAX),
            ReadAt::Snapshot(at) => {
                self.refuse_old(at)?;
                self.pipeline.settle(at).await;
                Ok(at)
            }
        }
    }

    /// A snapshot whose versions may have gone: its coordinator was not heard of for so long that nobody kept them.
    pub(crate) fn refuse_old(&self, at: Timestamp) -> Result<()> {
        if at < self.engine.oldest_snapshot() { Err(WorkerError::SnapshotTooOld) } else { Ok(()) }
    }

    /// Whether the partition is this worker's in that epoch.
    pub(crate) fn check(&self, state: &CatalogState, relation: RelationId, partition: PartitionRef) -> Result<()> {
        let map = map_of(state, relation).ok_or(WorkerError::StaleMap)?;
        let owned = map
            .partitions
            .iter()
            .any(|p| p.id == partition.id && p.epoch == partition.epoch && p.group == partition.group && p.worker == self.id);
        if owned { Ok(()) } else { Err(WorkerError::StaleMap) }
    }

    /// A timestamp above all that were given before.
    pub(crate) async fn timestamp(&self) -> Result<Timestamp> {
        Ok(self.catalog.timestamps(1).await?)
    }

    /// The partitions of a relation that this worker owns, with their ranges.
    pub(crate) fn owned(&self, state: &CatalogState, relation: RelationId) -> Vec<OwnedPartition> {
        let (Some(map), Some(bounds)) = (state.partition_map(relation), state.bounds(relation)) else { return Vec::new() };
        let all = map.partitions.iter().enumerate();
        all.filter(|(_, p)| p.worker == self.id)
            .map(|(at, p)| OwnedPartition { id: p.id, group: p.group, range: bounds.range(at) })
            .collect()
    }
}

/// A partition of this worker.
#[derive(Clone, Debug)]
pub(crate) struct OwnedPartition {
    pub(crate) id: PartitionId,
    pub(crate) group: GroupId,
    pub(crate) range: partition::range::KeyRange,
}

/// How a key space is cut: by its own map, or, for a local index, by its table's.
pub(crate) fn map_of(state: &CatalogState, relation: RelationId) -> Option<Arc<PartitionMap>> {
    state.partition_map(relation).or_else(|| state.partition_map(state.table_of_storage(relation)?.storage))
}

/// Whether the key space is a local index's, so that its keys begin with a partition.
pub(crate) fn is_local_index(state: &CatalogState, relation: RelationId) -> bool {
    let Some(table) = state.table_of_storage(relation) else { return false };
    table.storage != relation && state.indexes_of(&table).any(|index| index.storage == relation && matches!(index.scope, IndexScope::Local))
}
