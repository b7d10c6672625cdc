//! UPDATE and DELETE through a plan.
//!
//! The plan finds the rows at a snapshot: key, version, old and (for UPDATE) new columns. Then all keys are locked; the owners answer the newest rows. When
//! every row still has the version that the plan saw, the changes are written and committed. When one does not, the locks are kept and the
//! plan runs again at a new snapshot: rows already locked cannot change any more, so this ends, and the statement as a whole sees one
//! snapshot.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use bytes::Bytes;
use common::columns;
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::ids::Timestamp;
use common::sqlstate::SqlState;
use common::types::SqlType;
use datafusion::logical_expr::LogicalPlan;
use futures::StreamExt;
use rpc::worker_api::{FoundRow, LockMode, Precondition};
use sql::bound::{BoundDelete, BoundReturning, BoundUpdate};

use crate::execute::given::Given;
use crate::execute::insert::{WRITE_SET_BYTES_MAX, finished};
use crate::execute::lock_rows::lock_rows;
use crate::execute::query::{run_plan, statement_context};
use crate::execute::returning::Returning;
use crate::isolation::concurrent_change;
use crate::prepared::Prepared;
use crate::result::StatementResult;
use crate::session::Session;
use crate::target_table::TargetTable;
use crate::transaction::{Committed, Transaction};
use crate::write_set::{Refusal, WriteSet};

/// How often a statement follows rows that others change before it gives up.
const ATTEMPTS_MAX: u32 = 100;
/// Memory that the rows of one UPDATE or DELETE may take.
const ROWS_BYTES_MAX: usize = 512 << 20;

/// A row that the plan found.
pub struct Found {
    pub key: Bytes,
    pub version: Timestamp,
    /// New visible columns; empty for DELETE.
    new: Vec<Datum>,
    /// Columns of FROM or USING items that RETURNING names.
    from: Vec<Datum>,
}

/// An UPDATE or DELETE of one table.
pub struct Change<'a> {
    pub target: Arc<TargetTable>,
    source: &'a LogicalPlan,
    is_update: bool,
    pub lock_mode: LockMode,
    visible: Vec<SqlType>,
    from: Vec<SqlType>,
    pub returning: Option<Returning>,
}

/// Runs an UPDATE.
pub async fn update(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    bound: &BoundUpdate,
    parameters: &[Datum],
) -> Result<StatementResult, Report> {
    let change = Change::new(session, prepared, bound.target, &bound.source, Some(&bound.assigned), bound.returning.as_ref())?;
    change.run(session, prepared, parameters).await
}

/// Runs a DELETE.
pub async fn delete(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    bound: &BoundDelete,
    parameters: &[Datum],
) -> Result<StatementResult, Report> {
    let change = Change::new(session, prepared, bound.target, &bound.source, None, bound.returning.as_ref())?;
    change.run(session, prepared, parameters).await
}

impl<'a> Change<'a> {
    /// What it takes to carry it out.
    pub fn new(
        session: &Session,
        prepared: &Prepared,
        target: common::ids::Oid,
        source: &'a LogicalPlan,
        assigned: Option<&[usize]>,
        returning: Option<&BoundReturning>,
    ) -> Result<Self, Report> {
        let settings = session.expression_settings();
        let target = prepared.view.target_table(target, &settings)?.ok_or_else(|| Report::internal("the target of a change has gone"))?;
        let visible: Vec<SqlType> = target.visible.iter().map(|&at| target.row_types[at]).collect();
        let from = returning.map(|r| r.from_types.clone()).unwrap_or_default();
        let returning = returning.map(|r| Returning::compile(r, &visible, &from, &prepared.bound.parameters, &settings)).transpose()?;
        let lock_mode = assigned.map_or(LockMode::ForUpdate, |places| target.lock_mode(places.iter().copied()));
        Ok(Self { target, source, is_update: assigned.is_some(), lock_mode, visible, from, returning })
    }

    async fn run(&self, session: &mut Session, prepared: &Arc<Prepared>, parameters: &[Datum]) -> Result<StatementResult, Report> {
        let verb = if self.is_update { "UPDATE" } else { "DELETE" };
        self.target.refuse_closed()?;
        let coordinator = Arc::clone(&session.coordinator);
        let mut own: Option<Transaction> = None;
        for _ in 0..ATTEMPTS_MAX {
            let mut context = statement_context(session, &prepared.view).await?;
            if let Some(own) = &own {
                Arc::make_mut(&mut context).read.own = Some(own.own_writes());
            }
            let rows = self.find(session, prepared, &context, parameters).await?;
            if rows.is_empty() {
                if let Some(own) = own {
                    own.abort().await;
                }
                return Ok(finished(format!("{verb} 0"), prepared, self.returning.is_some(), Vec::new()));
            }
            let wait = session.lock_wait();
            let keeps_snapshot = session.transaction.snapshot().is_some();
            let transaction = match session.transaction.transaction(&coordinator).await? {
                Some(transaction) => transaction,
                None => {
                    if own.is_none() {
                        own = Some(Transaction::begin(&coordinator).await?);
                    }
                    own.as_mut().expect("it was set above")
                }
            };
            let keys = rows.iter().map(|r| r.key.clone()).collect();
            let locked = lock_rows(transaction, &self.target, keys, self.lock_mode, wait).await?;
            let is_changed = |(row, found): &(&Found, &Option<FoundRow>)| found.as_ref().is_none_or(|f| f.version != row.version);
            match rows.iter().zip(&locked).find(is_changed) {
                Some((_, found)) if keeps_snapshot => return Err(concurrent_change(found.is_none())),
                Some(_) => continue,
                None => {}
            }
            let count = rows.len();
            let mut writes = WriteSet::default();
            let mut returned = self.write(session, own.as_mut(), rows, locked, parameters, &mut writes).await?;
            if let Some(returning) = &self.returning {
                let given = Given::new(context, &prepared.bound.parameters, parameters);
                returned = returning.finish(session, &given, returned).await?;
            }
            self.commit(session, own, &mut writes).await?;
            return Ok(finished(format!("{verb} {count}"), prepared, self.returning.is_some(), returned));
        }
        Err(concurrent_change(false))
    }

    /// The rows that it changes.
    pub async fn find(
        &self,
        session: &Session,
        prepared: &Prepared,
        context: &Arc<query::context::StatementContext>,
        parameters: &[Datum],
    ) -> Result<Vec<Found>, Report> {
        let mut stream = run_plan(session, context, self.source, &prepared.bound.parameters, parameters).await?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            bytes += batch.get_array_memory_size();
            if bytes > ROWS_BYTES_MAX {
                return Err(Report::new(SqlState::OUT_OF_MEMORY, "out of memory")
                    .with_detail(format!("The rows that the statement changes take more than {ROWS_BYTES_MAX} bytes.")));
            }
            self.read(&batch, &mut rows)?;
        }
        Ok(rows)
    }

    fn read(&self, batch: &RecordBatch, rows: &mut Vec<Found>) -> Result<(), Report> {
        let keys = batch.column(0).as_binary_opt::<i32>().ok_or_else(|| Report::internal("a change's plan gives no row keys"))?;
        let versions =
            batch.column(1).as_primitive_opt::<UInt64Type>().ok_or_else(|| Report::internal("a change's plan gives no row versions"))?;
        let width = self.visible.len();
        let new_at = 2 + width;
        let from_at = if self.is_update { new_at + width } else { new_at };
        let cells = |start: usize, types: &[SqlType], row: usize| -> Result<Vec<Datum>, Report> {
            let one = |(i, ty): (usize, &SqlType)| columns::cell(batch.column(start + i), row, *ty).map_err(|e| e.report());
            types.iter().enumerate().map(one).collect()
        };
        for row in 0..batch.num_rows() {
            // An outer join may give rows without a target.
            if keys.is_null(row) {
                continue;
            }
            rows.push(Found {
                key: Bytes::copy_from_slice(keys.value(row)),
                version: Timestamp(versions.value(row)),
                new: if self.is_update { cells(new_at, &self.visible, row)? } else { Vec::new() },
                from: cells(from_at, &self.from, row)?,
            });
        }
        Ok(())
    }

    async fn write(
        &self,
        session: &mut Session,
        mut own: Option<&mut Transaction>,
        rows: Vec<Found>,
        locked: Vec<Option<FoundRow>>,
        parameters: &[Datum],
        writes: &mut WriteSet,
    ) -> Result<Vec<Vec<Datum>>, Report> {
        let mut returned = Vec::new();
        for (row, found) in rows.into_iter().zip(locked) {
            let found = found.ok_or_else(|| Report::internal("a locked row has gone"))?;
            returned.extend(self.add(session, row, &found, parameters, writes)?);
            if writes.bytes() >= WRITE_SET_BYTES_MAX {
                let wait = session.lock_wait();
                let refusal = match own.as_deref_mut() {
                    Some(own) => own.write(self.target.version, writes, wait).await?,
                    None => session.write(self.target.version, writes, wait).await?,
                };
                self.refused(session, refusal)?;
            }
        }
        Ok(returned)
    }

    /// Adds the change of one locked row; gives its row of RETURNING.
    pub fn add(
        &self,
        session: &Session,
        mut row: Found,
        found: &FoundRow,
        parameters: &[Datum],
        writes: &mut WriteSet,
    ) -> Result<Option<Vec<Datum>>, Report> {
        let old = self.target.decode(&found.row)?;
        let shown = if self.is_update {
            add_new_row(&self.target, session, row.key, &old, &mut row.new, writes)?;
            row.new
        } else {
            self.target.add_delete(writes, row.key, &old, Precondition::None)?;
            self.target.visible_of(&old)
        };
        self.returning.as_ref().map(|returning| returning.row(&shown, &row.from, parameters)).transpose()
    }

    async fn commit(&self, session: &mut Session, own: Option<Transaction>, writes: &mut WriteSet) -> Result<(), Report> {
        let wait = session.lock_wait();
        let refusal = match own {
            Some(own) => match own.commit(self.target.version, writes, wait).await? {
                Committed::At(at) => {
                    session.last_commit = session.last_commit.max(at);
                    None
                }
                Committed::Refused(refusal) => Some(refusal),
            },
            None => session.write(self.target.version, writes, wait).await?,
        };
        self.refused(session, refusal)
    }

    fn refused(&self, session: &Session, refusal: Option<Refusal>) -> Result<(), Report> {
        let Some(refusal) = refusal else { return Ok(()) };
        let report = self.target.duplicate_error(&refusal, &session.state(), session.settings.format());
        Err(report.unwrap_or_else(|| Report::internal("a locked row has changed")))
    }
}

/// Checks and adds new visible values of a row.
pub fn add_new_row(
    target: &TargetTable,
    session: &Session,
    key: Bytes,
    old: &[Datum],
    new: &mut [Datum],
    writes: &mut WriteSet,
) -> Result<(), Report> {
    target.generate(new)?;
    target.check(new, session.settings.format())?;
    let mut stored = old.to_vec();
    for (value, &at) in new.iter().zip(target.visible.iter()) {
        stored[at] = value.clone();
    }
    target.add_update(writes, key, old, &stored, Precondition::None)
}
