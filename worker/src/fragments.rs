//! Fragments: the part of a plan that runs beside the partitions that it reads.

use std::collections::HashMap;
use std::sync::Arc;

use rpc::worker_api::{BatchStream, FragmentRequest, PartitionRef};

use crate::core::Core;
use crate::error::{Result, WorkerError};
use crate::scan::StorageScan;

impl Core {
    /// See [`rpc::worker_api::WorkerApi::fragment`].
    pub(crate) async fn fragment(self: &Arc<Self>, request: FragmentRequest) -> Result<BatchStream> {
        let state = self.state(request.context.catalog_version).await?;
        // Partition ids are unique in the cluster, so the relation need not be named.
        let mut asked: HashMap<_, &PartitionRef> = request.partitions.iter().map(|p| (p.id, p)).collect();
        for partition in state.partition_maps().flat_map(|map| &map.partitions).filter(|p| p.worker == self.id) {
            let owned = |asked: &&PartitionRef| asked.epoch == partition.epoch && asked.group == partition.group;
            if asked.get(&partition.id).is_some_and(owned) {
                asked.remove(&partition.id);
            }
        }
        if !asked.is_empty() {
            return Err(WorkerError::StaleMap);
        }
        Ok(query::fragment::run(request, Arc::new(StorageScan::new(self)))?)
    }
}
