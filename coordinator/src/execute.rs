//! Executing bound statements: one file for each kind.

use std::sync::Arc;

use common::datum::Datum;
use common::error::Report;
use sql::bound::BoundStatement;

use crate::prepared::Prepared;
use crate::result::StatementResult;
use crate::session::Session;

pub mod change;
pub mod conflict;
pub mod copy_in;
pub mod copy_options;
pub mod copy_out;
mod copy_target;
pub mod explain;
pub mod given;
pub mod insert;
pub mod lock_rows;
pub mod lock_table;
pub mod locking;
pub mod merge;
pub mod parts;
pub mod point;
pub mod query;
pub mod read_only;
pub mod returning;
pub mod transaction_control;
pub mod utility;

/// How often a statement by itself is planned again after a worker said that its partition map is stale.
const STALE_ATTEMPTS: u32 = 20;
/// Before the next attempt.
const STALE_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Runs a statement. One whose plan met a stale partition map, which no worker carried out, runs again with a newer one.
pub async fn execute(session: &mut Session, prepared: &Arc<Prepared>, parameters: Vec<Datum>) -> Result<StatementResult, Report> {
    let mut current = Arc::clone(prepared);
    let before = session.transaction.mark();
    for _ in 0..STALE_ATTEMPTS {
        match execute_once(session, &current, &parameters).await {
            Err(error) if error.retryable && error.sqlstate == common::sqlstate::SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {
                tokio::time::sleep(STALE_PAUSE).await;
                // One worker may have carried out its part where another refused.
                session.transaction.undo(before).await?;
                let declared = current.bound.parameters.iter().copied().map(Some).collect();
                current = session.prepare(&current.statement, declared)?;
            }
            other => return other,
        }
    }
    execute_once(session, &current, &parameters).await
}

async fn execute_once(session: &mut Session, prepared: &Arc<Prepared>, parameters: &[Datum]) -> Result<StatementResult, Report> {
    if !prepared.bound.locking.is_empty() {
        return locking::execute(session, prepared, parameters).await;
    }
    execute_bound(session, prepared, parameters).await
}

/// Runs a statement whose locking queries have run.
async fn execute_bound(session: &mut Session, prepared: &Arc<Prepared>, parameters: &[Datum]) -> Result<StatementResult, Report> {
    if let Some(point) = &prepared.point
        && let Some(result) = point.execute(session, prepared, parameters).await?
    {
        return Ok(result);
    }
    execute_by_plan(session, prepared, &prepared.bound.statement, parameters).await
}

/// Runs a statement the general way.
async fn execute_by_plan(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    statement: &BoundStatement,
    parameters: &[Datum],
) -> Result<StatementResult, Report> {
    match statement {
        BoundStatement::Query { query: bound, .. } => query::execute(session, prepared, bound, parameters).await,
        BoundStatement::Insert(bound) => Box::pin(insert::execute(session, prepared, bound, parameters)).await,
        BoundStatement::Update(bound) => change::update(session, prepared, bound, parameters).await,
        BoundStatement::Delete(bound) => change::delete(session, prepared, bound, parameters).await,
        BoundStatement::Merge(_) => Box::pin(parts::execute(session, prepared, &[], statement, parameters)).await,
        BoundStatement::Parts(bound) => Box::pin(parts::execute(session, prepared, &bound.parts, &bound.main, parameters)).await,
        BoundStatement::Explain { analyze, statement, .. } => {
            Box::pin(explain::execute(session, prepared, *analyze, statement, parameters)).await
        }
        BoundStatement::Maintenance(tag) => Ok(StatementResult::Command((*tag).to_owned())),
        BoundStatement::Object(object) => Box::pin(crate::ddl::execute_object(session, object)).await,
        BoundStatement::Utility(tree) => utility::execute(session, prepared, tree).await,
        BoundStatement::Empty => Ok(StatementResult::Empty),
    }
}
