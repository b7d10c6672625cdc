//! Pushes operators from above a scatter into its fragment, so that they run beside the data.
//!
//! An operator goes in when its output partition i depends on its input partition i alone, and when its expressions mean the same on a worker: filters,
//! projections, partial aggregates, sorts and limits of each partition ([`PushIntoScatter`], once DataFusion has placed its exchanges). Joins and
//! groups by the partition columns go in as a whole ([`Colocate`], before it does).

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;

use crate::codec;
use crate::layout::Layout;
use crate::scatter_exec::ScatterExec;

/// Pushes what stands right above scatters.
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

/// Makes one scatter of joins between tables that are cut alike, and of groups, by the partition columns.
#[derive(Debug)]
pub struct Colocate;

impl PhysicalOptimizerRule for Colocate {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let moved = plan.transform_up(|node| {
            if let Some(join) = node.downcast_ref::<HashJoinExec>() {
                return Ok(changed(joined(join)?, &node));
            }
            if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
                return Ok(changed(grouped(aggregate)?, &node));
            }
            let is_plain = node.downcast_ref::<FilterExec>().is_some() || node.downcast_ref::<ProjectionExec>().is_some();
            if is_plain { push(node) } else { Ok(Transformed::no(node)) }
        })?;
        Ok(moved.data)
    }

    fn name(&self) -> &'static str {
        "colocate"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn changed(new: Option<ScatterExec>, old: &Arc<dyn ExecutionPlan>) -> Transformed<Arc<dyn ExecutionPlan>> {
    match new {
        Some(scatter) => Transformed::yes(Arc::new(scatter)),
        None => Transformed::no(Arc::clone(old)),
    }
}

/// A join of two scatters whose streams line up, as one scatter.
fn joined(join: &HashJoinExec) -> Result<Option<ScatterExec>> {
    let (Some(left), Some(right)) = (join.left().downcast_ref::<ScatterExec>(), join.right().downcast_ref::<ScatterExec>()) else {
        return Ok(None);
    };
    let (Some(l), Some(r)) = (left.layout(), right.layout()) else { return Ok(None) };
    let column = |expr: &Arc<dyn PhysicalExpr>| expr.downcast_ref::<Column>().map(Column::index);
    let on: Vec<_> = join.on().iter().map(|(l, r)| (column(l), column(r))).collect();
    let is_joined = |(l, r): (&usize, &usize)| on.contains(&(Some(*l), Some(*r)));
    let node: Arc<dyn ExecutionPlan> = Arc::new(join.builder().build()?);
    // What a NULL in one stream says of all rows is not known in another.
    if join.null_aware || !l.lines_up(r) || !l.columns.iter().zip(&r.columns).all(is_joined) || needs_coordinator(&node)? {
        return Ok(None);
    }
    let layout = joined_layout(join, l, r);
    let beside = left.beside(right)?;
    let inside = HashJoinExec::try_new(
        beside.left,
        beside.right,
        join.on().to_vec(),
        join.filter().cloned(),
        join.join_type(),
        join.projection.as_ref().map(|p| p.to_vec()),
        PartitionMode::Partitioned,
        join.null_equality(),
        false,
    )?;
    Ok(Some(ScatterExec::new(Arc::new(inside), beside.places, layout, beside.routes)))
}

/// Where the partition columns are behind a join, on a side whose rows all stay what they are.
fn joined_layout(join: &HashJoinExec, left: &Layout, right: &Layout) -> Option<Layout> {
    let width = join.left().schema().fields().len();
    let at = |place: usize| match &join.projection {
        Some(projection) => projection.iter().position(|p| *p == place),
        None => Some(place),
    };
    match join.join_type() {
        JoinType::Inner => left.moved(at).or_else(|| right.moved(|place| at(place + width))),
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left.moved(at),
        JoinType::Right => right.moved(|place| at(place + width)),
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right.moved(at),
        JoinType::Full => None,
    }
}

/// Groups that no two streams share, as one scatter.
fn grouped(whole: &AggregateExec) -> Result<Option<ScatterExec>> {
    let is_final = matches!(whole.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
    let Some(partial) = whole.input().downcast_ref::<AggregateExec>().filter(|p| is_final && *p.mode() == AggregateMode::Partial) else {
        return Ok(None);
    };
    let Some(scatter) = partial.input().downcast_ref::<ScatterExec>() else { return Ok(None) };
    let Some(layout) = scatter.layout().filter(|_| partial.group_expr().is_single()) else { return Ok(None) };
    let groups = partial.group_expr().expr();
    let group_of = |place: usize| groups.iter().position(|(expr, _)| expr.downcast_ref::<Column>().is_some_and(|c| c.index() == place));
    let Some(layout) = layout.moved(group_of) else { return Ok(None) };
    let node: Arc<dyn ExecutionPlan> = Arc::new(partial.clone());
    if needs_coordinator(&node)? {
        return Ok(None);
    }
    let inside = AggregateExec::try_new(
        AggregateMode::SinglePartitioned,
        partial.group_expr().clone(),
        partial.aggr_expr().to_vec(),
        partial.filter_expr().to_vec(),
        Arc::clone(scatter.fragment()),
        partial.input_schema(),
    )?;
    if inside.schema() != whole.schema() {
        return Ok(None);
    }
    Ok(Some(scatter.with_fragment(Arc::new(inside), Some(layout))))
}

fn push(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let pushed = match plan.children().as_slice() {
        [child] => match child.downcast_ref::<ScatterExec>() {
            Some(scatter) if may_go(&plan, scatter)? => {
                let inside = replace_children_if_necessary(Arc::clone(&plan), vec![Arc::clone(scatter.fragment())])?;
                let layout = scatter.layout().and_then(|layout| layout_above(&plan, layout));
                Some(Arc::new(scatter.with_fragment(inside, layout)) as Arc<dyn ExecutionPlan>)
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

/// Where the partition columns are behind an operator.
fn layout_above(plan: &Arc<dyn ExecutionPlan>, layout: &Layout) -> Option<Layout> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let exprs = projection.expr();
        return layout.moved(|place| exprs.iter().position(|p| p.expr.downcast_ref::<Column>().is_some_and(|c| c.index() == place)));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return match filter.projection() {
            Some(projection) => layout.moved(|place| projection.iter().position(|p| *p == place)),
            None => Some(layout.clone()),
        };
    }
    let keeps_columns = plan.downcast_ref::<SortExec>().is_some() || plan.downcast_ref::<LocalLimitExec>().is_some();
    keeps_columns.then(|| layout.clone())
}

fn may_go(plan: &Arc<dyn ExecutionPlan>, scatter: &ScatterExec) -> Result<bool> {
    let single = scatter.properties().partitioning.partition_count() == 1;
    let of_each_partition = if plan.downcast_ref::<FilterExec>().is_some()
        || plan.downcast_ref::<ProjectionExec>().is_some()
        || plan.downcast_ref::<LocalLimitExec>().is_some()
    {
        true
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        match aggregate.mode() {
            AggregateMode::Partial => true,
            AggregateMode::Single | AggregateMode::SinglePartitioned => single,
            _ => false,
        }
    } else if let Some(sort) = plan.downcast_ref::<SortExec>() {
        sort.preserve_partitioning() || single
    } else {
        single && plan.downcast_ref::<GlobalLimitExec>().is_some()
    };
    Ok(of_each_partition && !needs_coordinator(plan)?)
}

/// Whether an expression of the operator can be computed by the coordinator only.
fn needs_coordinator(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut found = match plan.downcast_ref::<AggregateExec>() {
        Some(aggregate) => !aggregate.aggr_expr().iter().all(|call| codec::knows_aggregate(call.fun().name())),
        None => false,
    };
    plan.apply_expressions(&mut |expr| {
        expr.apply(|part: &Arc<dyn PhysicalExpr>| {
            let is_bound_here = part.downcast_ref::<ScalarSubqueryExpr>().is_some()
                || part.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| {
                    let name = call.fun().name();
                    reads_session(name) || !codec::knows_scalar(name)
                });
            found |= is_bound_here;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// Functions that ask the catalog or the session.
fn reads_session(name: &str) -> bool {
    [
        "pg_",
        "reg",
        "has_",
        "obj_description",
        "col_description",
        "current_setting",
        "set_config",
        "format_type",
        "nextval",
        "currval",
        "lastval",
        "setval",
    ]
    .iter()
    .any(|part| name.contains(part))
}
