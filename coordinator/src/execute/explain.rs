//! EXPLAIN and EXPLAIN ANALYZE.

use std::sync::Arc;
use std::time::Duration;

use common::datum::Datum;
use common::error::Report;
use common::types::Scalar;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use query::access::{Route, RouteKind};
use query::explain::{lines, route_text};
use sql::bound::{BoundStatement, OutputColumn};

use crate::execute::point::PointPlan;
use crate::execute::query::statement_context;
use crate::prepared::Prepared;
use crate::result::{Rows, RowsTag, StatementResult};
use crate::session::Session;

/// The column of the result.
pub fn columns() -> Vec<OutputColumn> {
    vec![OutputColumn { name: "QUERY PLAN".into(), ty: Scalar::Text.into(), origin: None }]
}

/// Explains a statement; with `analyze`, by carrying it out.
pub async fn execute(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    analyze: bool,
    statement: &BoundStatement,
    parameters: &[Datum],
) -> Result<StatementResult, Report> {
    if matches!(statement, BoundStatement::Parts(_)) {
        return Err(Report::unsupported("EXPLAIN of a statement whose WITH list is carried out part by part"));
    }
    let bound = sql::bound::Bound {
        statement: statement.clone(),
        locking: prepared.bound.locking.clone(),
        parameters: prepared.bound.parameters.clone(),
        notices: Vec::new(),
    };
    let point = PointPlan::plan(&bound, &prepared.view, &session.expression_settings())?;
    let text = match (point, source(statement)) {
        (point, _) if analyze && verb(statement).is_some() => analyze_change(session, prepared, point, statement, parameters).await?,
        (Some(point), _) if !analyze => point_lines(&point, statement),
        (_, Some(plan)) => plan_lines(session, prepared, plan, analyze, parameters, statement).await?,
        _ => vec!["Utility statement".to_owned()],
    };
    let rows = text.into_iter().map(|line| vec![Datum::Text(line)]).collect();
    Ok(StatementResult::Rows { columns: columns().into(), rows: Rows::Values(rows), tag: RowsTag::Fixed("EXPLAIN".into()) })
}

/// Changes rows, and tells how they were found and how many they were.
async fn analyze_change(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    point: Option<PointPlan>,
    statement: &BoundStatement,
    parameters: &[Datum],
) -> Result<Vec<String>, Report> {
    let start = session.coordinator.clock.monotonic();
    let by_key = match &point {
        Some(point) => point.execute(session, prepared, parameters).await?.map(|result| (point_lines(point, statement), result)),
        None => None,
    };
    let (mut text, result) = match by_key {
        Some(done) => done,
        None => {
            session.observed_plan = Some(Arc::default());
            let result = super::execute_by_plan(session, prepared, statement, parameters).await;
            let plan = session.observed_plan.take().and_then(|slot| slot.lock().take());
            let mut text = plan.map(|plan| lines(&plan, true)).unwrap_or_default();
            text.insert(text.len().min(1), verb(statement).unwrap_or_default().to_owned());
            (text, result?)
        }
    };
    let rows = match &result {
        StatementResult::Rows { tag: RowsTag::Fixed(tag), .. } | StatementResult::Command(tag) => {
            tag.rsplit(' ').next().unwrap_or_default().to_owned()
        }
        _ => return Err(Report::internal("a change of rows gave an unexpected result")),
    };
    push_totals(&mut text, &rows, session.coordinator.clock.monotonic().saturating_sub(start));
    Ok(text)
}

fn push_totals(text: &mut Vec<String>, rows: &str, took: Duration) {
    text.push(format!("Rows: {rows}"));
    text.push(format!("Execution Time: {:.3} ms", took.as_secs_f64() * 1e3));
}

/// The plan that finds a statement's rows.
fn source(statement: &BoundStatement) -> Option<&LogicalPlan> {
    match statement {
        BoundStatement::Query { query, .. } => Some(&query.plan),
        BoundStatement::Insert(insert) => Some(&insert.source),
        BoundStatement::Update(update) => Some(&update.source),
        BoundStatement::Delete(delete) => Some(&delete.source),
        BoundStatement::Merge(merge) => Some(&merge.source),
        _ => None,
    }
}

fn verb(statement: &BoundStatement) -> Option<&'static str> {
    match statement {
        BoundStatement::Insert(_) => Some("Insert"),
        BoundStatement::Update(_) => Some("Update"),
        BoundStatement::Delete(_) => Some("Delete"),
        BoundStatement::Merge(_) => Some("Merge"),
        _ => None,
    }
}

fn point_lines(point: &PointPlan, statement: &BoundStatement) -> Vec<String> {
    let target = point.target();
    let route = Route {
        kind: RouteKind::Point,
        read: 1,
        total: target.map.partitions.len(),
        workers: 1,
        what: target.table.name.clone(),
        why: "the whole key is bound".into(),
    };
    let operator = match statement {
        BoundStatement::Query { .. } => "Get",
        other => verb(other).unwrap_or("Get"),
    };
    let others = if route.total > 1 { "; the others were pruned by the condition on the key" } else { "" };
    vec![route_text(&route), format!("{operator}: {}, 1 of {} partitions by key{others}", target.table.name, route.total)]
}

async fn plan_lines(
    session: &Session,
    prepared: &Arc<Prepared>,
    plan: &LogicalPlan,
    analyze: bool,
    parameters: &[Datum],
    statement: &BoundStatement,
) -> Result<Vec<String>, Report> {
    let context = statement_context(session, &prepared.view).await?;
    let planner = &session.coordinator.planner;
    let types = &prepared.bound.parameters;
    let mut optimised = planner.optimise(plan, &context)?;
    if !types.is_empty() && parameters.len() == types.len() {
        optimised = planner.bind_parameters(optimised, types, parameters, &context)?;
    }
    let physical = planner.physical(&optimised, &context).await?;
    let mut took = None;
    let mut rows = 0;
    if analyze {
        let start = session.coordinator.clock.monotonic();
        let mut stream = planner.execute(Arc::clone(&physical), &context)?;
        while let Some(batch) = stream.next().await {
            rows += batch?.num_rows();
        }
        took = Some(session.coordinator.clock.monotonic().saturating_sub(start));
    }
    let mut text = lines(&physical, analyze);
    if let Some(verb) = verb(statement) {
        text.insert(1, verb.to_owned());
    }
    if let Some(took) = took {
        push_totals(&mut text, &rows.to_string(), took);
    }
    Ok(text)
}
