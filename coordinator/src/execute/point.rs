//! The point path: a statement that binds the whole key of one row never builds a plan. One message goes to the row's owner.
//!
//! A template is made once for each prepared statement ([`PointPlan::plan`]); running it evaluates the key, routes it, and calls the owner:
//!
//! - SELECT: one [`WorkerApi::get`](rpc::worker_api::WorkerApi::get) of the newest committed state (outside a block); stored columns go to the wire
//!   as they are.
//! - INSERT of one row: one commit with [`Precondition::Absent`].
//! - UPDATE and DELETE: a lock, which answers the newest row, then a commit: no re-check is needed, the row cannot change in between.
//!
//! What is not as simple as that (ON CONFLICT, RETURNING of expressions over several tables, functions that read the clock) gives no template, and the
//! general path takes it.

use std::sync::Arc;

use bytes::Bytes;
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::ids::Oid;
use common::types::{Scalar, SqlType};
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use functions::context::SessionSettings;
use rpc::worker_api::{FoundRow, GetRequest, LockMode, LockRequest, LockWait, LockedRow, Precondition, ReadContext, WaitLimit};
use sql::bound::{Bound, BoundDelete, BoundInsert, BoundReturning, BoundStatement, BoundUpdate, SimpleSelect};

use crate::execute::returning::Returning;
use crate::isolation::concurrent_change;
use crate::prepared::Prepared;
use crate::result::{Rows, RowsTag, StatementResult, StoredRows};
use crate::row_expression::RowExpression;
use crate::schema_view::SchemaView;
use crate::sequences::SequenceReader;
use crate::session::Session;
use crate::target_table::TargetTable;
use crate::transaction::{Committed, Transaction, commit_statement};
use crate::write_set::{RefusalKind, WriteSet};

/// The function that asks a sequence.
const NEXTVAL: &str = "nextval";

/// A statement that touches one row by its key.
pub enum PointPlan {
    Select(PointSelect),
    Insert(PointInsert),
    Change(PointChange),
}

/// The key of the row, and what else must hold.
struct PointKey {
    target: Arc<TargetTable>,
    /// One expression for each key column.
    key: Vec<RowExpression>,
    /// The whole WHERE condition, unless the key says it all.
    residual: Option<RowExpression>,
}

/// `SELECT … WHERE key = …`.
pub struct PointSelect {
    key: PointKey,
    outputs: Outputs,
}

enum Outputs {
    /// All outputs are columns: places in the stored row.
    Stored(Arc<[usize]>),
    Computed(Vec<RowExpression>),
}

/// `INSERT … VALUES (one row)`.
pub struct PointInsert {
    target: Arc<TargetTable>,
    values: Vec<PointValue>,
    returning: Option<Returning>,
}

/// The value of a column of a new row.
enum PointValue {
    Expression(RowExpression),
    /// The next value of a sequence, and what becomes of it: `t.0` is the value.
    Next {
        sequence: Oid,
        then: RowExpression,
    },
}

/// `UPDATE` or `DELETE … WHERE key = …`.
pub struct PointChange {
    key: PointKey,
    /// `None` deletes. (place in the visible columns, new value)
    assignments: Option<Vec<(usize, RowExpression)>>,
    lock_mode: LockMode,
    returning: Option<Returning>,
}

struct Planner<'a> {
    view: &'a Arc<SchemaView>,
    settings: &'a SessionSettings,
    parameters: &'a [SqlType],
}

impl PointPlan {
    /// The template of a bound statement, if it has that shape.
    pub fn plan(bound: &Bound, view: &Arc<SchemaView>, settings: &SessionSettings) -> Result<Option<Self>, Report> {
        let planner = Planner { view, settings, parameters: &bound.parameters };
        match &bound.statement {
            BoundStatement::Query { simple: Some(select), query } => {
                let types: Vec<SqlType> = query.columns.iter().map(|c| c.ty).collect();
                planner.select(select, &types)
            }
            BoundStatement::Insert(insert) => planner.insert(insert),
            BoundStatement::Update(update) => planner.update(update),
            BoundStatement::Delete(delete) => planner.delete(delete),
            _ => Ok(None),
        }
    }

    /// Runs it; `None` when the general path must take this execution (a key value that is NULL, say).
    pub async fn execute(
        &self,
        session: &mut Session,
        prepared: &Arc<Prepared>,
        parameters: &[Datum],
    ) -> Result<Option<StatementResult>, Report> {
        match self {
            Self::Select(select) => select.execute(session, prepared, parameters).await,
            Self::Insert(insert) => insert.execute(session, prepared, parameters).await,
            Self::Change(change) => change.execute(session, prepared, parameters).await,
        }
    }

    /// The table and how many partitions it has, for EXPLAIN.
    pub fn target(&self) -> &Arc<TargetTable> {
        match self {
            Self::Select(select) => &select.key.target,
            Self::Insert(insert) => &insert.target,
            Self::Change(change) => &change.key.target,
        }
    }
}

impl Planner<'_> {
    fn compile(&self, expr: &Expr, types: &[SqlType], ty: SqlType) -> Result<Option<RowExpression>, Report> {
        if !is_immutable(expr) {
            return Ok(None);
        }
        RowExpression::compile(expr, &[("t", types)], self.parameters, ty, self.settings).map(Some)
    }

    fn visible_types(target: &TargetTable) -> Vec<SqlType> {
        target.visible.iter().map(|&at| target.row_types[at]).collect()
    }

    fn key(&self, target: &Arc<TargetTable>, filter: Option<&Expr>) -> Result<Option<PointKey>, Report> {
        let Some(filter) = filter else { return Ok(None) };
        let types = Self::visible_types(target);
        let conjuncts = split_conjunction(filter);
        let mut key = Vec::with_capacity(target.key_places.len());
        let mut used = 0;
        for &stored in &target.key_places {
            let Some(visible) = target.visible.iter().position(|&at| at == stored) else { return Ok(None) };
            let ty = target.row_types[stored];
            // The encoded key loses nothing of these types, so that equal keys are equal values.
            if matches!(ty.scalar, Scalar::Numeric | Scalar::Bpchar | Scalar::Interval | Scalar::Float4 | Scalar::Float8) {
                return Ok(None);
            }
            let Some(value) = conjuncts.iter().find_map(|c| equals_column(c, visible)) else { return Ok(None) };
            let Some(value) = self.compile(value, &[], ty)? else { return Ok(None) };
            key.push(value);
            used += 1;
        }
        let residual = if used == conjuncts.len() {
            None
        } else {
            match self.compile(filter, &types, Scalar::Bool.into())? {
                Some(residual) => Some(residual),
                None => return Ok(None),
            }
        };
        Ok(Some(PointKey { target: Arc::clone(target), key, residual }))
    }

    fn select(&self, select: &SimpleSelect, types: &[SqlType]) -> Result<Option<PointPlan>, Report> {
        if select.limit.is_some() || select.offset.is_some() {
            return Ok(None);
        }
        let Some(target) = self.view.target_table(select.relation, self.settings)? else { return Ok(None) };
        let Some(key) = self.key(&target, select.filter.as_ref())? else { return Ok(None) };
        let visible = Self::visible_types(&target);
        let mut computed = Vec::with_capacity(select.outputs.len());
        for (expr, ty) in select.outputs.iter().zip(types) {
            let Some(output) = self.compile(expr, &visible, *ty)? else { return Ok(None) };
            computed.push(output);
        }
        let stored: Option<Arc<[usize]>> = computed
            .iter()
            .map(|e| {
                let at = target.visible[e.as_column()?];
                (target.row_types[at] == e.ty()).then_some(at)
            })
            .collect();
        let outputs = stored.map_or(Outputs::Computed(computed), Outputs::Stored);
        Ok(Some(PointPlan::Select(PointSelect { key, outputs })))
    }

    fn insert(&self, insert: &BoundInsert) -> Result<Option<PointPlan>, Report> {
        let (Some([row]), None) = (insert.rows.as_deref(), &insert.on_conflict) else { return Ok(None) };
        let Some(target) = self.view.target_table(insert.target, self.settings)? else { return Ok(None) };
        if target.row_id.is_some() {
            return Ok(None);
        }
        let types = Self::visible_types(&target);
        let mut values = Vec::with_capacity(row.len());
        for (expr, ty) in row.iter().zip(&types) {
            let value = match self.compile(expr, &[], *ty)? {
                Some(expression) => PointValue::Expression(expression),
                None => match self.next_value(expr, *ty)? {
                    Some(next) => next,
                    None => return Ok(None),
                },
            };
            values.push(value);
        }
        let Ok(returning) = self.returning(insert.returning.as_ref(), &types)? else { return Ok(None) };
        Ok(Some(PointPlan::Insert(PointInsert { target, values, returning })))
    }

    /// An expression that asks one sequence once, and is immutable but for that.
    fn next_value(&self, expr: &Expr, ty: SqlType) -> Result<Option<PointValue>, Report> {
        let mut sequences = Vec::new();
        let replaced = expr.clone().transform_down(|e| {
            let Expr::ScalarFunction(call) = &e else { return Ok(Transformed::no(e)) };
            if call.func.name() != NEXTVAL {
                return Ok(Transformed::no(e));
            }
            sequences.extend(call.args.first().cloned());
            Ok(Transformed::new(Expr::Column(Column::new(Some("t"), "0")), true, TreeNodeRecursion::Jump))
        });
        let replaced = replaced.map_err(|e| query::errors::report(&e))?.data;
        let ([sequence], true) = (sequences.as_slice(), is_immutable(&replaced)) else { return Ok(None) };
        let regclass = Scalar::Regclass.into();
        let Ok(sequence) = RowExpression::compile(sequence, &[], &[], regclass, self.settings) else { return Ok(None) };
        let Ok(Datum::Oid(sequence)) = sequence.evaluate(&[], &[]) else { return Ok(None) };
        let then = RowExpression::compile(&replaced, &[("t", &[Scalar::Int8.into()])], self.parameters, ty, self.settings)?;
        Ok(Some(PointValue::Next { sequence: Oid(sequence), then }))
    }

    fn update(&self, update: &BoundUpdate) -> Result<Option<PointPlan>, Report> {
        let Some(simple) = &update.simple else { return Ok(None) };
        let Some(target) = self.view.target_table(update.target, self.settings)? else { return Ok(None) };
        let Some(key) = self.key(&target, simple.filter.as_ref())? else { return Ok(None) };
        let types = Self::visible_types(&target);
        let mut assignments = Vec::with_capacity(simple.assignments.len());
        for (at, expr) in &simple.assignments {
            let Some(value) = self.compile(expr, &types, types[*at])? else { return Ok(None) };
            assignments.push((*at, value));
        }
        let Ok(returning) = self.returning(update.returning.as_ref(), &types)? else { return Ok(None) };
        let lock_mode = target.lock_mode(assignments.iter().map(|(at, _)| *at));
        Ok(Some(PointPlan::Change(PointChange { key, assignments: Some(assignments), lock_mode, returning })))
    }

    fn delete(&self, delete: &BoundDelete) -> Result<Option<PointPlan>, Report> {
        let Some(simple) = &delete.simple else { return Ok(None) };
        let Some(target) = self.view.target_table(delete.target, self.settings)? else { return Ok(None) };
        let Some(key) = self.key(&target, simple.filter.as_ref())? else { return Ok(None) };
        let types = Self::visible_types(&target);
        let Ok(returning) = self.returning(delete.returning.as_ref(), &types)? else { return Ok(None) };
        Ok(Some(PointPlan::Change(PointChange { key, assignments: None, lock_mode: LockMode::ForUpdate, returning })))
    }

    /// `Err(())` inside: the statement's RETURNING is not for the point path.
    fn returning(&self, bound: Option<&BoundReturning>, types: &[SqlType]) -> Result<Result<Option<Returning>, ()>, Report> {
        let Some(bound) = bound else { return Ok(Ok(None)) };
        if !bound.expressions.iter().all(is_immutable) {
            return Ok(Err(()));
        }
        Returning::compile(bound, types, &[], self.parameters, self.settings).map(|r| Ok(Some(r)))
    }
}

/// Whether an expression depends on nothing but its columns and parameters.
fn is_immutable(expr: &Expr) -> bool {
    !expr
        .exists(|e| {
            Ok(match e {
                Expr::ScalarFunction(call) => call.func.signature().volatility != datafusion::logical_expr::Volatility::Immutable,
                Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..) => true,
                _ => false,
            })
        })
        .unwrap_or(true)
}

/// `t.<visible> = value` or the other way round, the value without columns.
fn equals_column(conjunct: &Expr, visible: usize) -> Option<&Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = conjunct else { return None };
    let is_column = |e: &Expr| matches!(e, Expr::Column(c) if c.name.parse() == Ok(visible));
    let value = match (is_column(left), is_column(right)) {
        (true, false) => right,
        (false, true) => left,
        _ => return None,
    };
    value.column_refs().is_empty().then_some(value)
}

impl PointKey {
    /// The encoded key; `None` when a part of it is NULL: then no row matches.
    fn encode(&self, parameters: &[Datum]) -> Result<Option<Bytes>, Report> {
        let mut values = Vec::with_capacity(self.key.len());
        for part in &self.key {
            let value = part.evaluate(&[], parameters)?;
            if value.is_null() {
                return Ok(None);
            }
            values.push(value);
        }
        let mut key = Vec::with_capacity(24);
        self.target.table.partitioning.key.encode(&values, &mut key).map_err(|e| e.report())?;
        Ok(Some(key.into()))
    }

    /// The row, as the block's snapshot or the newest state has it.
    async fn read(&self, session: &Session, key: Bytes) -> Result<Option<FoundRow>, Report> {
        let target = &self.target;
        let (worker, partition) = target.destination().route(&key);
        if let Some(reads) = session.transaction.reads() {
            reads.add_key(worker, partition, target.table.storage, &key);
        }
        let (at, own) = (session.transaction.read_at(), session.transaction.own_writes());
        let context = ReadContext { catalog_version: target.version, at, own };
        let request = GetRequest { context, relation: target.table.storage, partition, keys: vec![key] };
        Ok(session.coordinator.worker(worker)?.get(request).await?.pop().flatten())
    }

    fn accepts(&self, visible: &[Datum], parameters: &[Datum]) -> Result<bool, Report> {
        self.residual.as_ref().map_or(Ok(true), |residual| residual.holds(&[visible], parameters))
    }
}

impl PointSelect {
    async fn execute(&self, session: &mut Session, prepared: &Prepared, parameters: &[Datum]) -> Result<Option<StatementResult>, Report> {
        let mut found = None;
        if let Some(key) = self.key.encode(parameters)? {
            found = self.key.read(session, key).await?;
        }
        let rows = self.rows(found, parameters)?;
        Ok(Some(StatementResult::Rows { columns: Arc::clone(prepared.columns()), rows, tag: RowsTag::Select }))
    }

    fn rows(&self, found: Option<FoundRow>, parameters: &[Datum]) -> Result<Rows, Report> {
        let target = &self.key.target;
        let needs_values = self.key.residual.is_some() || matches!(self.outputs, Outputs::Computed(_));
        let visible = match &found {
            Some(found) if needs_values => Some(target.visible_of(&target.decode(&found.row)?)),
            _ => None,
        };
        let keep = match &visible {
            Some(visible) => self.key.accepts(visible, parameters)?,
            None => true,
        };
        let found = found.filter(|_| keep);
        match &self.outputs {
            Outputs::Stored(outputs) => Ok(Rows::Stored(StoredRows {
                types: Arc::clone(&target.row_types),
                missing: Arc::clone(&target.missing),
                outputs: Arc::clone(outputs),
                rows: found.into_iter().map(|f| f.row).collect(),
            })),
            Outputs::Computed(outputs) => {
                let Some(visible) = visible.filter(|_| found.is_some()) else { return Ok(Rows::Values(Vec::new())) };
                let row: Result<Vec<Datum>, Report> = outputs.iter().map(|o| o.evaluate(&[&visible], parameters)).collect();
                Ok(Rows::Values(vec![row?]))
            }
        }
    }
}

impl PointInsert {
    async fn execute(&self, session: &mut Session, prepared: &Prepared, parameters: &[Datum]) -> Result<Option<StatementResult>, Report> {
        self.target.refuse_closed()?;
        let mut visible = Vec::with_capacity(self.values.len());
        let mut sequences = None;
        for value in &self.values {
            visible.push(match value {
                PointValue::Expression(expression) => expression.evaluate(&[], parameters)?,
                PointValue::Next { sequence, then } => {
                    let reader = sequences.get_or_insert_with(|| SequenceReader::of(session, prepared.view.state()));
                    let next = Datum::Int8(reader.next(*sequence).await?);
                    then.evaluate(&[&[next]], parameters)?
                }
            });
        }
        self.target.generate(&mut visible)?;
        self.target.check(&visible, session.settings.format())?;
        let returned = self.returning.as_ref().map(|r| r.row(&visible, &[], parameters)).transpose()?;
        let stored = self.target.stored(visible, None);
        let key = self.target.key(&stored)?;
        let mut writes = WriteSet::default();
        self.target.add_insert(&mut writes, key, &stored)?;
        let wait = session.lock_wait();
        let refusal = session.write(self.target.version, &mut writes, wait).await?;
        if let Some(refusal) = refusal {
            let state = session.state();
            let report = self.target.duplicate_error(&refusal, &state, session.settings.format());
            return Err(report.unwrap_or_else(|| Report::internal("a new row was refused as changed")));
        }
        Ok(Some(done("INSERT 0 1".to_owned(), prepared, self.returning.is_some(), returned)))
    }
}

impl PointChange {
    async fn execute(&self, session: &mut Session, prepared: &Prepared, parameters: &[Datum]) -> Result<Option<StatementResult>, Report> {
        self.key.target.refuse_closed()?;
        let verb = if self.assignments.is_some() { "UPDATE" } else { "DELETE" };
        let returned = match self.key.encode(parameters)? {
            Some(key) => self.change(session, key, parameters).await?,
            None => None,
        };
        let count = usize::from(returned.is_some());
        let rows = returned.flatten();
        Ok(Some(done(format!("{verb} {count}"), prepared, self.returning.is_some(), rows)))
    }

    /// `None`: no row matched. Otherwise the row that RETURNING shows, if there is one.
    async fn change(&self, session: &mut Session, key: Bytes, parameters: &[Datum]) -> Result<Option<Option<Vec<Datum>>>, Report> {
        if session.transaction.snapshot().is_some() && !self.may_change(session, &key, parameters).await? {
            return Ok(None);
        }
        let coordinator = Arc::clone(&session.coordinator);
        let wait = session.lock_wait();
        let bound = session.transaction.bound();
        let mut own = None;
        let transaction = match session.transaction.transaction(&coordinator).await? {
            Some(transaction) => transaction,
            None => own.insert(Transaction::begin(&coordinator).await?),
        };
        let Some(found) = self.lock(transaction, &key, wait).await? else {
            if !bound.is_none() {
                return Err(concurrent_change(true));
            }
            if let Some(own) = own {
                own.abort().await;
            }
            return Ok(None);
        };
        bound.check(found.version)?;
        let target = &self.key.target;
        let old = target.decode(&found.row)?;
        let visible = target.visible_of(&old);
        if !self.key.accepts(&visible, parameters)? {
            if let Some(own) = own {
                own.abort().await;
            }
            return Ok(None);
        }
        let mut writes = WriteSet::default();
        // The row is locked: it cannot have changed.
        let returned = match &self.assignments {
            None => {
                target.add_delete(&mut writes, key, &old, Precondition::None)?;
                self.returning.as_ref().map(|r| r.row(&visible, &[], parameters)).transpose()?
            }
            Some(assignments) => {
                let mut new = visible.clone();
                for (at, value) in assignments {
                    new[*at] = value.evaluate(&[&visible], parameters)?;
                }
                target.generate(&mut new)?;
                target.check(&new, session.settings.format())?;
                let returned = self.returning.as_ref().map(|r| r.row(&new, &[], parameters)).transpose()?;
                let mut stored = old.clone();
                for (value, &at) in new.into_iter().zip(target.visible.iter()) {
                    stored[at] = value;
                }
                target.add_update(&mut writes, key, &old, &stored, Precondition::None)?;
                returned
            }
        };
        let refusal = match own {
            Some(own) => match own.commit(target.version, &mut writes, wait).await? {
                Committed::At(at) => {
                    session.last_commit = session.last_commit.max(at);
                    None
                }
                Committed::Refused(refusal) => Some(refusal),
            },
            None => session.write(target.version, &mut writes, wait).await?,
        };
        if let Some(refusal) = refusal {
            let report = target.duplicate_error(&refusal, &session.state(), session.settings.format());
            return Err(report.unwrap_or_else(|| Report::internal("a locked row has changed")));
        }
        Ok(Some(returned))
    }

    /// Whether the block's snapshot has the row: if not, there is nothing to change, whatever others have made of it since.
    async fn may_change(&self, session: &Session, key: &Bytes, parameters: &[Datum]) -> Result<bool, Report> {
        let target = &self.key.target;
        match self.key.read(session, key.clone()).await? {
            None => Ok(false),
            Some(found) => self.key.accepts(&target.visible_of(&target.decode(&found.row)?), parameters),
        }
    }

    async fn lock(&self, transaction: &mut Transaction, key: &Bytes, wait: LockWait) -> Result<Option<FoundRow>, Report> {
        let target = &self.key.target;
        let (worker, partition) = target.destination().route(key);
        let known = transaction.touch(worker);
        let request = LockRequest {
            catalog_version: target.version,
            transaction: transaction.id(),
            relation: target.table.storage,
            partition,
            keys: vec![key.clone()],
            mode: self.lock_mode,
            wait,
            rows_max: None,
            is_known: known.get(),
        };
        let locked = transaction.coordinator().worker(worker)?.lock(request).await?.pop();
        known.set();
        Ok(locked.and_then(LockedRow::found))
    }
}

fn done(tag: String, prepared: &Prepared, has_returning: bool, row: Option<Vec<Datum>>) -> StatementResult {
    if has_returning {
        let rows = Rows::Values(row.into_iter().collect());
        StatementResult::Rows { columns: Arc::clone(prepared.columns()), rows, tag: RowsTag::Fixed(tag) }
    } else {
        StatementResult::Command(tag)
    }
}

/// Writes of one statement: provisionally in a block, committed at once outside.
impl Session {
    /// How long this session waits for locks.
    pub fn lock_wait(&self) -> LockWait {
        let millis = |limit: std::time::Duration| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        let timeouts = self.settings.timeouts();
        LockWait {
            limit: timeouts.lock.map_or(WaitLimit::Forever, |limit| WaitLimit::Millis(millis(limit))),
            session: self.connected.pid,
            deadlock_ms: timeouts.deadlock.map_or(LockWait::DEADLOCK_MS, millis),
        }
    }

    /// Writes a statement's rows.
    pub async fn write(
        &mut self,
        version: common::ids::CatalogVersion,
        writes: &mut WriteSet,
        wait: LockWait,
    ) -> Result<Option<crate::write_set::Refusal>, Report> {
        let coordinator = Arc::clone(&self.coordinator);
        if let Some(transaction) = self.transaction.transaction(&coordinator).await? {
            return transaction.write(version, writes, wait).await;
        }
        match commit_statement(&coordinator, version, writes, wait).await? {
            Committed::At(at) => {
                self.last_commit = self.last_commit.max(at);
                Ok(None)
            }
            Committed::Refused(refusal) => Ok(Some(refusal)),
        }
    }
}

/// Whether a refusal says that a row changed since it was read.
pub fn is_changed(refusal: &crate::write_set::Refusal) -> bool {
    refusal.kind == RefusalKind::Changed
}
