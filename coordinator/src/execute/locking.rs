//! Queries that lock rows: SELECT … FOR UPDATE, alone or inside of another statement.
//!
//! Each locking query of a statement ([`BoundLocking`]) is carried out before the statement, innermost first, and its rows take the place of the
//! scan that stands for them. One pass over a query's rows, in their order: lock the row at its owner, and compare its newest version
//! with the one that the plan saw. The same: the row counts. Gone: it does not. Another one: it may no longer match the condition, or stand
//! elsewhere in the order, so the pass is made again at a new snapshot, with the locks kept: what is locked cannot change any
//! more, so this ends. With SKIP LOCKED a changed row is left out as long as there are others, and what somebody else has is
//! never waited for. A block that keeps its snapshot cannot look again: there a row that has changed or gone fails the statement (40001).
//!
//! Outside of a block the statement runs in a transaction of its own, which holds the locks until it ends.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, UInt64Type};
use bytes::Bytes;
use common::datum::Datum;
use common::error::Report;
use common::ids::Timestamp;
use common::sqlstate::SqlState;
use common::types::Scalar;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScanBuilder};
use futures::StreamExt;
use rpc::worker_api::{LockMode, LockedRow, WaitLimit};
use sql::LockedRows;
use sql::bound::{BoundLocking, BoundRowLock, BoundStatement, LockPolicy, RowLockStrength};

use crate::execute::lock_rows::try_lock_keys;
use crate::execute::query::{run_plan, statement_context};
use crate::execute::transaction_control::end_implicit;
use crate::isolation::concurrent_change;
use crate::prepared::Prepared;
use crate::result::{ResultStream, Rows, StatementResult};
use crate::row_expression::RowExpression;
use crate::session::Session;
use crate::target_table::TargetTable;

/// How often a query follows rows that others change before it gives up.
const ATTEMPTS_MAX: u32 = 100;
/// Rows that are locked together when there is no limit.
const ROWS_AT_ONCE: usize = 10_000;
/// Memory that the rows of one locking query may take.
const ROWS_BYTES_MAX: usize = 512 << 20;
/// With SKIP LOCKED so many rows are looked at, beside those that are wanted, before the rest is.
const SKIPPED_FIRST: usize = 128;

/// Runs a statement that has locking queries.
pub async fn execute(session: &mut Session, prepared: &Arc<Prepared>, parameters: &[Datum]) -> Result<StatementResult, Report> {
    if let BoundStatement::Explain { analyze: false, .. } = prepared.bound.statement {
        return explain(session, prepared, parameters).await;
    }
    if session.transaction.is_open() {
        return run(session, prepared, parameters).await;
    }
    session.open_block(true);
    let result = match run(session, prepared, parameters).await {
        Ok(result) => whole(result).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(result) => {
            Box::pin(end_implicit(session, true)).await?;
            Ok(result)
        }
        Err(error) => {
            Box::pin(end_implicit(session, false)).await?;
            Err(error)
        }
    }
}

/// EXPLAIN locks nothing: it shows the plan that finds the rows, or the one around them.
async fn explain(session: &mut Session, prepared: &Arc<Prepared>, parameters: &[Datum]) -> Result<StatementResult, Report> {
    let mut results: Vec<Arc<MemTable>> = Vec::with_capacity(prepared.bound.locking.len());
    let mut statement = prepared.bound.statement.clone();
    for locking in &prepared.bound.locking {
        let plan = filled(locking.plan.clone(), &results)?;
        results.push(Arc::new(result_table(&plan, locking.types.len(), Vec::new())?));
        for shown in plans_of(&mut statement) {
            if is_scan_of(shown, results.len() - 1) {
                *shown = plan.clone();
            }
        }
    }
    for plan in plans_of(&mut statement) {
        *plan = filled(std::mem::take(plan), &results)?;
    }
    let filled = Arc::new(prepared.with_statement(statement));
    Box::pin(super::execute_bound(session, &filled, parameters)).await
}

fn is_scan_of(plan: &LogicalPlan, number: usize) -> bool {
    let LogicalPlan::TableScan(scan) = plan else { return false };
    let source: &dyn std::any::Any = scan.source.as_ref();
    source.downcast_ref::<LockedRows>().is_some_and(|rows| rows.number == number)
}

/// A result all of whose rows are here.
async fn whole(result: StatementResult) -> Result<StatementResult, Report> {
    let StatementResult::Rows { columns, rows: Rows::Batches(mut stream), tag } = result else { return Ok(result) };
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        add_bytes(&mut bytes, &batch)?;
        batches.push(Ok(batch));
    }
    let stream: ResultStream = Box::pin(futures::stream::iter(batches));
    Ok(StatementResult::Rows { columns, rows: Rows::Batches(stream), tag })
}

fn add_bytes(bytes: &mut usize, batch: &RecordBatch) -> Result<(), Report> {
    *bytes += batch.get_array_memory_size();
    if *bytes > ROWS_BYTES_MAX {
        return Err(Report::new(SqlState::OUT_OF_MEMORY, "out of memory")
            .with_detail(format!("The rows that the statement locks take more than {ROWS_BYTES_MAX} bytes.")));
    }
    Ok(())
}

async fn run(session: &mut Session, prepared: &Arc<Prepared>, parameters: &[Datum]) -> Result<StatementResult, Report> {
    let mut results: Vec<Arc<MemTable>> = Vec::with_capacity(prepared.bound.locking.len());
    for locking in &prepared.bound.locking {
        let plan = filled(locking.plan.clone(), &results)?;
        let batches = Box::pin(Locking::new(session, prepared, locking, parameters)?.run(session, prepared, &plan, parameters)).await?;
        results.push(Arc::new(result_table(&plan, locking.types.len(), batches)?));
    }
    let mut statement = prepared.bound.statement.clone();
    for plan in plans_of(&mut statement) {
        *plan = filled(std::mem::take(plan), &results)?;
    }
    let filled = Arc::new(prepared.with_statement(statement));
    Box::pin(super::execute_bound(session, &filled, parameters)).await
}

fn plans_of(statement: &mut BoundStatement) -> Vec<&mut LogicalPlan> {
    match statement {
        BoundStatement::Query { query, .. } => vec![&mut query.plan],
        BoundStatement::Insert(insert) => vec![&mut insert.source],
        BoundStatement::Update(update) => vec![&mut update.source],
        BoundStatement::Delete(delete) => vec![&mut delete.source],
        BoundStatement::Merge(merge) => vec![&mut merge.source],
        BoundStatement::Parts(bound) => {
            let parts = bound.parts.iter_mut().flat_map(|part| plans_of(&mut part.statement));
            parts.chain(plans_of(&mut bound.main)).collect()
        }
        BoundStatement::Explain { statement, .. } => plans_of(statement),
        BoundStatement::Maintenance(_) | BoundStatement::Object(_) | BoundStatement::Utility(_) | BoundStatement::Empty => Vec::new(),
    }
}

/// The plan with the rows of the locking queries that have run in their places.
fn filled(plan: LogicalPlan, results: &[Arc<MemTable>]) -> Result<LogicalPlan, Report> {
    let fill = |node: LogicalPlan| -> Result<Transformed<LogicalPlan>, DataFusionError> {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let source: &dyn std::any::Any = scan.source.as_ref();
        let Some(rows) = source.downcast_ref::<LockedRows>().and_then(|rows| results.get(rows.number)) else {
            return Ok(Transformed::no(node));
        };
        let table = provider_as_source(Arc::clone(rows) as Arc<dyn datafusion::catalog::TableProvider>);
        let scan = TableScanBuilder::new(scan.table_name.clone(), table).build()?;
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    };
    Ok(plan.transform_down_with_subqueries(fill).map_err(|e| query::errors::report(&e))?.data)
}

/// The first `width` columns of a plan's rows, as a table.
fn result_table(plan: &LogicalPlan, width: usize, batches: Vec<RecordBatch>) -> Result<MemTable, Report> {
    let fields = plan.schema().fields().iter().take(width).map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let narrow = |batch: RecordBatch| {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&schema), batch.columns()[..width].to_vec(), &options)
    };
    let batches: Result<Vec<_>, _> = batches.into_iter().map(narrow).collect();
    let batches = batches.map_err(|e| Report::internal(format!("locked rows have another form: {e}")))?;
    MemTable::try_new(Arc::clone(&schema), vec![batches]).map_err(|e| query::errors::report(&e))
}

/// One locking query that is carried out.
struct Locking<'a> {
    locks: Vec<(&'a BoundRowLock, Arc<TargetTable>)>,
    /// Where the first key is among the plan's columns.
    width: usize,
    /// So many rows are passed over, and so many wanted.
    offset: usize,
    wanted: Option<usize>,
}

/// What a pass has found.
struct Pass {
    batches: Vec<RecordBatch>,
    count: usize,
    /// A row was locked that is not as the plan saw it.
    has_changed: bool,
    /// So many rows the plan has given.
    seen: usize,
}

impl<'a> Locking<'a> {
    fn new(session: &Session, prepared: &Prepared, bound: &'a BoundLocking, parameters: &[Datum]) -> Result<Self, Report> {
        let settings = session.expression_settings();
        let target = |lock: &'a BoundRowLock| {
            let target = prepared.view.target_table(lock.relation, &settings)?;
            let target = target.ok_or_else(|| Report::internal("a table whose rows are locked has gone"))?;
            target.refuse_closed()?;
            Ok((lock, target))
        };
        let count = |expr: &Option<Expr>, what: &str, state: SqlState| -> Result<Option<usize>, Report> {
            let Some(expr) = expr else { return Ok(None) };
            let compiled = RowExpression::compile(expr, &[], &prepared.bound.parameters, Scalar::Int8.into(), &settings)?;
            match compiled.evaluate(&[], parameters)? {
                Datum::Int8(count) => match usize::try_from(count) {
                    Ok(count) => Ok(Some(count)),
                    Err(_) => Err(Report::new(state, format!("{what} must not be negative"))),
                },
                _ => Ok(None),
            }
        };
        let offset = count(&bound.offset, "OFFSET", SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE)?.unwrap_or(0);
        let wanted = count(&bound.limit, "LIMIT", SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE)?;
        let locks = bound.locks.iter().map(target).collect::<Result<_, Report>>()?;
        Ok(Self { locks, width: bound.types.len(), offset, wanted })
    }

    /// Locks rows until there are enough; they are in the batches, with the identities behind them.
    async fn run(
        &self,
        session: &mut Session,
        prepared: &Arc<Prepared>,
        plan: &LogicalPlan,
        parameters: &[Datum],
    ) -> Result<Vec<RecordBatch>, Report> {
        let total = self.wanted.map_or(usize::MAX, |wanted| wanted.saturating_add(self.offset));
        let skips = self.locks.iter().any(|(lock, _)| lock.policy == LockPolicy::SkipLocked);
        let mut fetch = self.wanted.map(|_| total.saturating_add(if skips { SKIPPED_FIRST } else { 0 }));
        for _ in 0..ATTEMPTS_MAX {
            let limited = match fetch {
                Some(fetch) => limited(plan, fetch),
                None => plan.clone(),
            };
            let pass = self.pass(session, prepared, &limited, parameters, total).await?;
            if pass.has_changed && (!skips || pass.count < total) {
                continue;
            }
            // The rows that the plan was allowed to give were not enough: others may be free.
            if pass.count < total && fetch == Some(pass.seen) {
                fetch = None;
                continue;
            }
            return Ok(without_first(pass.batches, self.offset));
        }
        Err(concurrent_change(false))
    }

    async fn pass(
        &self,
        session: &mut Session,
        prepared: &Arc<Prepared>,
        plan: &LogicalPlan,
        parameters: &[Datum],
        total: usize,
    ) -> Result<Pass, Report> {
        let context = statement_context(session, &prepared.view).await?;
        let mut stream = run_plan(session, &context, plan, &prepared.bound.parameters, parameters).await?;
        let mut pass = Pass { batches: Vec::new(), count: 0, has_changed: false, seen: 0 };
        let mut bytes = 0;
        while pass.count < total {
            let Some(batch) = stream.next().await.transpose()? else { return Ok(pass) };
            pass.seen += batch.num_rows();
            let mut at = 0;
            while at < batch.num_rows() && pass.count < total {
                let length = (total - pass.count).min(ROWS_AT_ONCE).min(batch.num_rows() - at);
                let chunk = batch.slice(at, length);
                at += length;
                let keep = self.lock(session, &chunk, &mut pass.has_changed).await?;
                pass.count += keep.true_count();
                let kept = filter_record_batch(&chunk, &keep).map_err(|e| Report::internal(format!("locked rows cannot be kept: {e}")))?;
                add_bytes(&mut bytes, &kept)?;
                pass.batches.push(kept);
            }
        }
        Ok(pass)
    }

    /// Locks the rows of a chunk; tells which ones count.
    async fn lock(&self, session: &mut Session, chunk: &RecordBatch, has_changed: &mut bool) -> Result<BooleanArray, Report> {
        let mut keep = vec![true; chunk.num_rows()];
        let (wait, keeps_snapshot) = (session.lock_wait(), session.transaction.snapshot().is_some());
        let coordinator = Arc::clone(&session.coordinator);
        for (at, (lock, target)) in self.locks.iter().enumerate() {
            let (keys, versions) = (chunk.column(self.width + 2 * at), chunk.column(self.width + 2 * at + 1));
            let keys = keys.as_binary_opt::<i32>().ok_or_else(|| Report::internal("a locking query gives no row keys"))?;
            let versions =
                versions.as_primitive_opt::<UInt64Type>().ok_or_else(|| Report::internal("a locking query gives no row versions"))?;
            let places: Vec<usize> = (0..chunk.num_rows()).filter(|row| keep[*row] && !keys.is_null(*row)).collect();
            let wanted: Vec<Bytes> = places.iter().map(|row| Bytes::copy_from_slice(keys.value(*row))).collect();
            let transaction = session.transaction.transaction(&coordinator).await?;
            let transaction = transaction.ok_or_else(|| Report::internal("rows are locked outside of a transaction"))?;
            let wait = match lock.policy {
                LockPolicy::Wait => wait,
                LockPolicy::SkipLocked => wait.with_limit(WaitLimit::Skip),
                LockPolicy::NoWait => wait.with_limit(WaitLimit::No),
            };
            let locked = try_lock_keys(transaction, target.version, target.destination(), &wanted, mode_of(lock.strength), wait).await?;
            for (row, locked) in places.into_iter().zip(locked) {
                let version = Timestamp(versions.value(row));
                keep[row] = matches!(&locked, LockedRow::Found(found) if found.version == version);
                if keeps_snapshot && !keep[row] && locked != LockedRow::Skipped {
                    return Err(concurrent_change(false));
                }
                // A row that has gone may be in another place now, unless nobody waits for it.
                *has_changed |= match locked {
                    LockedRow::Found(found) => found.version != version,
                    LockedRow::Missing => lock.policy != LockPolicy::SkipLocked,
                    LockedRow::Skipped => false,
                };
            }
        }
        Ok(keep.into())
    }
}

fn mode_of(strength: RowLockStrength) -> LockMode {
    match strength {
        RowLockStrength::KeyShare => LockMode::ForKeyShare,
        RowLockStrength::Share => LockMode::ForShare,
        RowLockStrength::NoKeyUpdate => LockMode::ForNoKeyUpdate,
        RowLockStrength::Update => LockMode::ForUpdate,
    }
}

fn limited(plan: &LogicalPlan, fetch: usize) -> LogicalPlan {
    let fetch = Expr::Literal(datafusion::common::ScalarValue::Int64(i64::try_from(fetch).ok()), None);
    LogicalPlan::Limit(datafusion::logical_expr::Limit { skip: None, fetch: Some(Box::new(fetch)), input: Arc::new(plan.clone()) })
}

/// The rows but the first `offset`.
fn without_first(batches: Vec<RecordBatch>, mut offset: usize) -> Vec<RecordBatch> {
    let rest = batches.into_iter().filter_map(|batch| {
        let skipped = offset.min(batch.num_rows());
        offset -= skipped;
        (skipped < batch.num_rows()).then(|| batch.slice(skipped, batch.num_rows() - skipped))
    });
    rest.collect()
}
