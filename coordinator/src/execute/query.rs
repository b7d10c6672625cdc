//! SELECT through a plan: one snapshot, fragments at the owners, the rest here.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use common::columns;
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::types::SqlType;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use query::context::StatementContext;
use query::planner::is_cacheable;
use rpc::worker_api::{ReadAt, ReadContext};
use sql::bound::BoundQuery;

use crate::prepared::Prepared;
use crate::result::{ResultStream, Rows, RowsTag, StatementResult};
use crate::schema_view::SchemaView;
use crate::session::Session;
use crate::system_views::SystemContext;

/// Runs a query; rows come as the client takes them.
pub async fn execute(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    bound: &BoundQuery,
    parameters: &[Datum],
) -> Result<StatementResult, Report> {
    let context = statement_context(session, &prepared.view).await?;
    let optimised = match prepared.optimised.get() {
        Some(plan) => plan.clone(),
        None => {
            let cacheable = is_cacheable(&bound.plan);
            if !cacheable {
                SystemContext::prepare(&bound.plan, &context).await;
            }
            let plan = session.coordinator.planner.optimise(&bound.plan, &context)?;
            if cacheable { prepared.optimised.get_or_init(|| plan).clone() } else { plan }
        }
    };
    let stream = run_optimised(session, &context, optimised, &prepared.bound.parameters, parameters).await?;
    Ok(StatementResult::Rows { columns: Arc::clone(prepared.columns()), rows: Rows::Batches(stream), tag: RowsTag::Select })
}

/// What the plans of one statement share: a snapshot (the block's, or a new one), the catalog state, the settings.
pub async fn statement_context(session: &Session, view: &Arc<SchemaView>) -> Result<Arc<StatementContext>, Report> {
    let coordinator = &session.coordinator;
    let snapshot = match session.transaction.snapshot() {
        Some(kept) => Arc::clone(kept),
        None => coordinator.snapshots.keep(coordinator.timestamp().await?),
    };
    let at = ReadAt::Snapshot(snapshot.at());
    let read = ReadContext { catalog_version: view.state().version(), at, own: session.transaction.own_writes() };
    Ok(Arc::new(StatementContext {
        catalog: Arc::clone(view.state()),
        directory: Arc::clone(&coordinator.directory),
        read,
        settings: session.expression_settings(),
        reads: session.transaction.reads().cloned(),
        kept: Some(snapshot),
        freshness: session.settings.index_freshness(session.last_commit),
        lookup: Some(Arc::new(SystemContext::new(session, view))),
    }))
}

/// Optimises and runs a plan in a statement's context.
pub async fn run_plan(
    session: &Session,
    context: &Arc<StatementContext>,
    plan: &LogicalPlan,
    types: &[SqlType],
    parameters: &[Datum],
) -> Result<ResultStream, Report> {
    let optimised = session.coordinator.planner.optimise(plan, context)?;
    run_optimised(session, context, optimised, types, parameters).await
}

async fn run_optimised(
    session: &Session,
    context: &Arc<StatementContext>,
    optimised: LogicalPlan,
    types: &[SqlType],
    parameters: &[Datum],
) -> Result<ResultStream, Report> {
    let planner = &session.coordinator.planner;
    let plan = if types.is_empty() { optimised } else { planner.bind_parameters(optimised, types, parameters, context)? };
    let physical = planner.physical(&plan, context).await?;
    if let Some(slot) = &session.observed_plan {
        *slot.lock() = Some(Arc::clone(&physical));
    }
    // The snapshot is kept as long as somebody reads.
    let kept = Arc::clone(context);
    let batches = planner.execute(physical, context)?;
    Ok(Box::pin(batches.inspect(move |_| _ = &kept)))
}

/// All rows of a stream, as values of these types; an error when they take more than `bytes_max`.
pub async fn collect_rows(mut stream: ResultStream, types: &[SqlType], bytes_max: usize) -> Result<Vec<Vec<Datum>>, Report> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        bytes += batch.get_array_memory_size();
        if bytes > bytes_max {
            return Err(Report::new(common::sqlstate::SqlState::OUT_OF_MEMORY, "out of memory")
                .with_detail(format!("The rows of the statement take more than {bytes_max} bytes.")));
        }
        batch_rows(&batch, types, &mut rows)?;
    }
    Ok(rows)
}

/// Appends a batch's rows as values.
pub fn batch_rows(batch: &RecordBatch, types: &[SqlType], rows: &mut Vec<Vec<Datum>>) -> Result<(), Report> {
    rows.reserve(batch.num_rows());
    for row in 0..batch.num_rows() {
        let values = batch.columns().iter().zip(types).map(|(array, ty)| columns::cell(array, row, *ty).map_err(|e| e.report()));
        rows.push(values.collect::<Result<_, _>>()?);
    }
    Ok(())
}
