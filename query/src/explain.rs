//! Plans as text, for EXPLAIN.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};

use crate::access::{Route, RouteKind};
use crate::scatter_exec::ScatterExec;

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
    write(plan, 0, analyzed, &mut lines);
    lines
}

fn write(plan: &Arc<dyn ExecutionPlan>, depth: usize, analyzed: bool, lines: &mut Vec<String>) {
    let text = displayable(plan.as_ref()).one_line().to_string();
    let metrics = match plan.metrics() {
        Some(metrics) if analyzed => {
            let rows = metrics.output_rows().map(|rows| format!(" rows={rows}")).unwrap_or_default();
            let time = metrics.elapsed_compute().map(|nanos| format!(" compute={:.3} ms", to_ms(nanos))).unwrap_or_default();
            format!(" (actual{rows}{time})")
        }
        _ => String::new(),
    };
    let arrow = if depth == 0 { "" } else { "->  " };
    lines.push(format!("{}{arrow}{}{metrics}", "  ".repeat(depth), text.trim_end()));
    if let Some(scatter) = plan.downcast_ref::<ScatterExec>() {
        write(scatter.fragment(), depth + 1, analyzed, lines);
    }
    for child in plan.children() {
        write(child, depth + 1, analyzed, lines);
    }
}

#[allow(clippy::cast_precision_loss, reason = "a duration for people to read")]
fn to_ms(nanos: usize) -> f64 {
    nanos as f64 / 1e6
}
