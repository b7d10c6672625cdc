//! Plans as text, for EXPLAIN.

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::buffer::BufferExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, Partitioning, displayable};

use crate::access::{Route, RouteKind};
use crate::apply::ApplyKind;
use crate::apply_exec::ApplyExec;
use crate::index_lookup::IndexLookupExec;
use crate::scan_exec::ScanExec;
use crate::scatter_exec::ScatterExec;

mod expressions;

use expressions::{aggregate, logical, name, outputs, sort_keys, text, texts};

/// The line that EXPLAIN begins with: the widest of the plan's routes.
pub fn route_line(plan: &Arc<dyn ExecutionPlan>) -> String {
    let mut routes = Vec::new();
    collect(plan, &mut routes);
    let widest = routes.into_iter().max_by_key(|r| (r.kind, r.read));
    match widest {
        None => "Route: none (no table is read)".to_owned(),
        Some(route) => route_text(&route),
    }
}

/// A route in EXPLAIN's words.
pub fn route_text(route: &Route) -> String {
    let Route { kind, read, total, workers, .. } = route;
    match kind {
        RouteKind::Point => format!("Route: point ({read} of {total} partitions)"),
        RouteKind::Range => format!("Route: range ({read} of {total} partitions)"),
        RouteKind::Scatter => {
            let plural = if *workers == 1 { "worker" } else { "workers" };
            format!("Route: scatter ({read} of {total} partitions, {workers} {plural})")
        }
    }
}

fn collect(plan: &Arc<dyn ExecutionPlan>, routes: &mut Vec<Route>) {
    if let Some(scatter) = plan.downcast_ref::<ScatterExec>() {
        routes.extend(scatter.routes().iter().map(|r| Route::clone(r)));
    }
    for child in plan.children() {
        collect(child, routes);
    }
}

/// All lines of a plan; `analyzed`: with what its operators measured.
pub fn lines(plan: &Arc<dyn ExecutionPlan>, analyzed: bool) -> Vec<String> {
    let mut lines = vec![route_line(plan)];
    write(plan, 0, analyzed, &mut Vec::new(), &mut lines);
    lines
}

/// Writes an operator and what is below it. `routes` are those of the scans to come, the next one last.
fn write(plan: &Arc<dyn ExecutionPlan>, depth: usize, analyzed: bool, routes: &mut Vec<Arc<Route>>, lines: &mut Vec<String>) {
    let is_hidden = plan.downcast_ref::<CooperativeExec>().is_some() || plan.downcast_ref::<BufferExec>().is_some();
    if let (true, [child]) = (is_hidden, plan.children().as_slice()) {
        return write(child, depth, analyzed, routes, lines);
    }
    let shown = match plan.downcast_ref::<ScanExec>() {
        Some(scan) => scan_text(scan, routes.pop().as_deref()),
        None => operator(plan),
    };
    let metrics = match plan.metrics() {
        Some(metrics) if analyzed => {
            let rows = metrics.output_rows().map(|rows| format!(" rows={rows}")).unwrap_or_default();
            let time = metrics.elapsed_compute().map(|nanos| format!(" compute={:.3} ms", to_ms(nanos))).unwrap_or_default();
            format!(" (actual{rows}{time})")
        }
        _ => String::new(),
    };
    let arrow = if depth == 0 { "" } else { "->  " };
    lines.push(format!("{}{arrow}{shown}{metrics}", "  ".repeat(depth)));
    if let Some(scatter) = plan.downcast_ref::<ScatterExec>() {
        let mut routes: Vec<Arc<Route>> = scatter.routes().iter().rev().cloned().collect();
        write(scatter.fragment(), depth + 1, analyzed, &mut routes, lines);
    }
    for child in plan.children() {
        write(child, depth + 1, analyzed, routes, lines);
    }
    if let Some(apply) = plan.downcast_ref::<ApplyExec>() {
        write_dependent(apply.dependent(), depth + 1, lines);
    }
}

/// Writes a dependent plan, which has no operators yet.
fn write_dependent(plan: &LogicalPlan, depth: usize, lines: &mut Vec<String>) {
    let shown = match plan {
        LogicalPlan::TableScan(scan) => {
            let filters = scan.filters.iter().map(|f| logical(&f.to_string())).collect::<Vec<_>>().join(", ");
            let condition = if filters.is_empty() { String::new() } else { format!(", partitions by {filters}") };
            format!("Scan: {}{condition}", crate::table::name_of(scan))
        }
        LogicalPlan::Projection(projection) => {
            let exprs = projection.expr.iter().map(|e| logical(&e.clone().unalias().to_string())).collect::<Vec<_>>().join(", ");
            format!("Project: {exprs}")
        }
        other => logical(&other.display().to_string()),
    };
    lines.push(format!("{}->  {shown}", "  ".repeat(depth)));
    for input in plan.inputs() {
        write_dependent(input, depth + 1, lines);
    }
}

fn scan_text(scan: &ScanExec, route: Option<&Route>) -> String {
    let spec = scan.spec();
    let mut shown = match route {
        Some(Route { read, total, what, why, .. }) => format!("Scan: {what}, {read} of {total} partitions ({why})"),
        None => format!("Scan: table {}", spec.table),
    };
    if let Some(order) = scan.order() {
        shown.push_str(&format!(", in order of {}", sort_keys(order)));
    }
    if let Some(limit) = spec.limit {
        shown.push_str(&format!(", limit {limit}"));
    }
    shown
}

/// An operator in words.
fn operator(plan: &Arc<dyn ExecutionPlan>) -> String {
    if let Some(scatter) = plan.downcast_ref::<ScatterExec>() {
        let streams = plan.properties().partitioning.partition_count();
        let workers = scatter.routes().iter().map(|r| r.workers).max().unwrap_or(0);
        let plural = |count: usize, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
        return format!("Scatter: {} on {}", plural(streams, "stream"), plural(workers, "worker"));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return format!("Filter: {}{}", text(filter.predicate()), first(filter.fetch()));
    }
    if let Some(project) = plan.downcast_ref::<ProjectionExec>() {
        return format!("Project: {}", outputs(project.expr()));
    }
    if let Some(node) = plan.downcast_ref::<AggregateExec>() {
        return aggregate_text(node);
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        return format!("Sort: {}{}", sort_keys(sort.expr()), first(sort.fetch()));
    }
    if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
        return format!("Merge: {}{}", sort_keys(merge.expr()), first(merge.fetch()));
    }
    if let Some(gather) = plan.downcast_ref::<CoalescePartitionsExec>() {
        return format!("Gather{}", first(gather.fetch()));
    }
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        let skip = if limit.skip() > 0 { format!(", after {}", limit.skip()) } else { String::new() };
        return format!("Limit{}{skip}", first(limit.fetch()));
    }
    if let Some(limit) = plan.downcast_ref::<LocalLimitExec>() {
        return format!("Limit{}", first(Some(limit.fetch())));
    }
    if let Some(lookup) = plan.downcast_ref::<IndexLookupExec>() {
        return format!("IndexLookup: rows of {} by key", lookup.table_name());
    }
    rarer_operator(plan)
}

fn rarer_operator(plan: &Arc<dyn ExecutionPlan>) -> String {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let on = join.on().iter().map(|(l, r)| format!("{} = {}", text(l), text(r))).collect::<Vec<_>>().join(" AND ");
        let filter = join.filter().map(|f| format!(" AND {}", text(f.expression()))).unwrap_or_default();
        return format!("HashJoin ({}): {on}{filter}", join.join_type().to_string().to_lowercase());
    }
    if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        let filter = join.filter().map(|f| format!(": {}", text(f.expression()))).unwrap_or_default();
        return format!("NestedLoopJoin ({}){filter}", join.join_type().to_string().to_lowercase());
    }
    if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
        return match repartition.partitioning() {
            Partitioning::Hash(keys, count) => format!("Repartition: by hash of {} into {count}", texts(keys)),
            other => format!("Repartition: into {}", other.partition_count()),
        };
    }
    let windows = plan
        .downcast_ref::<WindowAggExec>()
        .map(WindowAggExec::window_expr)
        .or_else(|| plan.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr));
    if let Some(windows) = windows {
        return format!("Window: {}", windows.iter().map(|w| name(w.name())).collect::<Vec<_>>().join(", "));
    }
    if let Some(apply) = plan.downcast_ref::<ApplyExec>() {
        let kind = match apply.kind() {
            ApplyKind::Value => "value",
            ApplyKind::Exists => "exists",
            ApplyKind::Inner => "inner",
            ApplyKind::Left => "left",
        };
        return format!("Apply ({kind}): for each {}", apply.outer_names().map(|n| name(&n)).collect::<Vec<_>>().join(", "));
    }
    if plan.downcast_ref::<PlaceholderRowExec>().is_some() {
        return "Result: one row".to_owned();
    }
    let shown = displayable(plan.as_ref()).one_line().to_string();
    let (operator, rest) = shown.trim_end().split_once(':').unwrap_or((shown.trim_end(), ""));
    let operator = operator.strip_suffix("Exec").unwrap_or(operator);
    if rest.is_empty() { operator.to_owned() } else { format!("{operator}:{}", rest.split(' ').map(name).collect::<Vec<_>>().join(" ")) }
}

fn aggregate_text(node: &AggregateExec) -> String {
    let part = match node.mode() {
        AggregateMode::Partial => " (partial)",
        AggregateMode::Final | AggregateMode::FinalPartitioned => " (final)",
        _ => "",
    };
    let calls = node.aggr_expr().iter().map(|call| aggregate(call)).collect::<Vec<_>>().join(", ");
    let keys = texts(node.group_expr().expr().iter().map(|(expr, _)| expr));
    match (calls.is_empty(), keys.is_empty()) {
        (_, true) => format!("Aggregate{part}: {calls}"),
        (true, false) => format!("Aggregate{part}: by {keys}"),
        (false, false) => format!("Aggregate{part}: {calls} by {keys}"),
    }
}

fn first(fetch: Option<usize>) -> String {
    fetch.map(|count| format!(", first {count}")).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "a duration for people to read")]
fn to_ms(nanos: usize) -> f64 {
    nanos as f64 / 1e6
}
