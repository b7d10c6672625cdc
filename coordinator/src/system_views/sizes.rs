//! How big partitions are, asked of their owners.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::state::CatalogState;
use common::ids::{PartitionId, RelationId, WorkerId};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use futures::future::join_all;
use rpc::directory::WorkerDirectory;
use rpc::worker_api::{IndexLag, PartitionSize};

/// How long a worker may take to answer; the answer of a slower one, as of one that is down, is unknown.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// The functions that tell sizes.
const SIZE_FUNCTIONS: &[&str] =
    &["pg_relation_size", "pg_table_size", "pg_indexes_size", "pg_total_relation_size", "pg_database_size", "pg_tablespace_size"];

/// Whether a plan calls a function that tells a size.
pub(super) fn are_asked_for(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarFunction(call) = part {
                    // The name is followed by the signature.
                    let name = call.name().split('(').next().unwrap_or_default();
                    found |= SIZE_FUNCTIONS.contains(&name);
                }
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    walked.is_ok() && found
}

/// The sizes that are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes(HashMap<PartitionId, PartitionSize>);

impl Sizes {
    /// Asks all owners at the same time.
    pub(super) async fn ask(state: &CatalogState, directory: &Arc<dyn WorkerDirectory>) -> Self {
        let mut asked: HashMap<WorkerId, Vec<(RelationId, PartitionId)>> = HashMap::new();
        for map in state.partition_maps() {
            for partition in &map.partitions {
                asked.entry(partition.worker).or_default().push((map.relation, partition.id));
            }
        }
        let answers = asked.into_iter().map(|(worker, partitions)| async move {
            let worker = directory.worker(worker).ok()?;
            let sizes = tokio::time::timeout(ANSWER_WAIT, worker.sizes(partitions.clone())).await.ok()?.ok()?;
            Some(partitions.into_iter().map(|(_, id)| id).zip(sizes).collect::<Vec<_>>())
        });
        Self(join_all(answers).await.into_iter().flatten().flatten().collect())
    }

    /// The size of a partition, if its owner told it.
    pub(super) fn partition(&self, id: PartitionId) -> Option<PartitionSize> {
        self.0.get(&id).copied()
    }

    /// The size of a key space with a partition map; `None` when a part of it is unknown, or it has no map.
    pub(super) fn relation(&self, state: &CatalogState, relation: RelationId) -> Option<PartitionSize> {
        self.sum(state.partition_map(relation)?.partitions.iter().map(|p| p.id))
    }

    /// The size of several partitions; `None` when one is unknown.
    pub(super) fn sum(&self, partitions: impl Iterator<Item = PartitionId>) -> Option<PartitionSize> {
        let mut total = PartitionSize::default();
        for id in partitions {
            let size = self.partition(id)?;
            total.rows += size.rows;
            total.bytes += size.bytes;
        }
        Some(total)
    }
}

/// How far the asynchronous indexes are, from all workers that answer.
pub(super) async fn index_lags(state: &CatalogState, directory: &Arc<dyn WorkerDirectory>) -> Vec<IndexLag> {
    let answers = state.workers().map(|worker| async move {
        let worker = directory.worker(worker.id).ok()?;
        tokio::time::timeout(ANSWER_WAIT, worker.index_lag()).await.ok()?.ok()
    });
    join_all(answers).await.into_iter().flatten().flatten().collect()
}
