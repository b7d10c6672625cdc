//! Operators that multiply rows give way to others between batches.
//!
//! DataFusion makes the leaves of a plan count what a task does at a time. A join whose inputs have been read makes batch after batch without asking a leaf,
//! and an operator above that takes them all would hold its thread to the end: nothing could cancel it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// Puts an operator that gives way above each that multiplies rows.
#[derive(Debug)]
pub(crate) struct YieldBetweenBatches;

/// The operators, by name.
const MULTIPLYING: [&str; 7] = [
    "CrossJoinExec",
    "NestedLoopJoinExec",
    "HashJoinExec",
    "SortMergeJoinExec",
    "PiecewiseMergeJoinExec",
    "UnnestExec",
    "RecursiveQueryExec",
];

impl PhysicalOptimizerRule for YieldBetweenBatches {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|node| {
            if !MULTIPLYING.contains(&node.name()) {
                return Ok(Transformed::no(node));
            }
            Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>))
        })?;
        Ok(wrapped.data)
    }

    fn name(&self) -> &str {
        "yield_between_batches"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
