//! Pushes operators from above a scatter into its fragment, so that they run beside the data.
//!
//! An operator goes in when its output partition i depends on its input partition i alone, and when its expressions mean the same on a worker: filters,
//! projections, partial aggregates, sorts and limits of each partition.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;

use crate::scatter_exec::ScatterExec;

/// The rule.
#[derive(Debug)]
pub struct PushIntoScatter;

impl PhysicalOptimizerRule for PushIntoScatter {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(plan.transform_up(push)?.data)
    }

    fn name(&self) -> &'static str {
        "push_into_scatter"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn push(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let pushed = match plan.children().as_slice() {
        [child] => match child.downcast_ref::<ScatterExec>() {
            Some(scatter) if may_go(&plan, scatter)? => {
                let inside = replace_children_if_necessary(Arc::clone(&plan), vec![Arc::clone(scatter.fragment())])?;
                Some(Arc::new(scatter.with_fragment(inside)) as Arc<dyn ExecutionPlan>)
            }
            _ => None,
        },
        _ => None,
    };
    Ok(match pushed {
        Some(scatter) => Transformed::yes(scatter),
        None => Transformed::no(plan),
    })
}

fn may_go(plan: &Arc<dyn ExecutionPlan>, scatter: &ScatterExec) -> Result<bool> {
    let single = scatter.properties().partitioning.partition_count() == 1;
    let of_each_partition = if plan.downcast_ref::<FilterExec>().is_some()
        || plan.downcast_ref::<ProjectionExec>().is_some()
        || plan.downcast_ref::<LocalLimitExec>().is_some()
    {
        true
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        *aggregate.mode() == AggregateMode::Partial
    } else if let Some(sort) = plan.downcast_ref::<SortExec>() {
        sort.preserve_partitioning() || single
    } else {
        false
    };
    Ok(of_each_partition && !needs_coordinator(plan)?)
}

/// Whether an expression of the operator can be computed by the coordinator only.
fn needs_coordinator(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(&mut |expr| {
        expr.apply(|part: &Arc<dyn PhysicalExpr>| {
            let is_bound_here = part.downcast_ref::<ScalarSubqueryExpr>().is_some()
                || part.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| reads_session(call.fun().name()));
            found |= is_bound_here;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// Functions that ask the catalog or the session.
fn reads_session(name: &str) -> bool {
    ["pg_", "reg", "has_", "obj_description", "col_description", "current_setting", "set_config", "format_type", "nextval", "currval"]
        .iter()
        .any(|part| name.contains(part))
}
