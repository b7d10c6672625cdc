//! INSERT … ON CONFLICT.
//!
//! When the table's own key is the only thing that can collide, all proposed keys are locked first: the owners answer which rows exist, and nobody can add or
//! remove one before the commit. With further unique indexes each row is tried in turn, and what refuses it decides.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use common::datum::Datum;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use datafusion::logical_expr::LogicalPlan;
use functions::context::SessionSettings;
use rpc::worker_api::{LockMode, Precondition};
use sql::bound::{ConflictAction, OnConflict};

use crate::execute::given::Given;
use crate::execute::insert::RowWriter;
use crate::execute::lock_rows::{lock_keys, lock_rows};
use crate::row_expression::RowExpression;
use crate::session::Session;
use crate::target_table::TargetTable;
use crate::transaction::{Committed, Transaction};
use crate::write_set::{Refusal, RefusalKind, WriteSet};

/// How often a row is tried when the row that it collides with comes and goes.
const ATTEMPTS_MAX: u32 = 100;

/// What is proposed.
pub struct Proposed<'a> {
    pub target: Arc<TargetTable>,
    pub on_conflict: &'a OnConflict,
    /// Types of the visible columns.
    pub types: &'a [SqlType],
    pub given: &'a Given<'a>,
    pub settings: &'a SessionSettings,
}

struct Update {
    assignments: Vec<(usize, RowExpression)>,
    filter: Option<RowExpression>,
    /// The same as a plan, where there are subqueries in it.
    plan: Option<Box<LogicalPlan>>,
}

/// Inserts the visible rows; answers the rows that were inserted or updated, as they are now.
pub async fn insert(session: &mut Session, proposed: &Proposed<'_>, rows: Vec<Vec<Datum>>) -> Result<Vec<Vec<Datum>>, Report> {
    let coordinator = Arc::clone(&session.coordinator);
    let update = proposed.compile()?;
    let mut own = None;
    if !session.transaction.is_open() {
        own = Some(Transaction::begin(&coordinator).await?);
    }
    let mut writes = WriteSet::default();
    let result = proposed.write(session, own.as_mut(), update.as_ref(), rows, &mut writes).await;
    let version = proposed.target.version;
    let wait = session.lock_wait();
    let refusal = match (result, own) {
        (Ok(written), Some(own)) => match own.commit(version, &mut writes, wait).await? {
            Committed::At(at) => {
                session.last_commit = session.last_commit.max(at);
                return Ok(written);
            }
            Committed::Refused(refusal) => refusal,
        },
        (Ok(written), None) => match session.write(version, &mut writes, wait).await? {
            None => return Ok(written),
            Some(refusal) => refusal,
        },
        (Err(error), own) => {
            if let Some(own) = own {
                own.abort().await;
            }
            return Err(error);
        }
    };
    let report = proposed.target.duplicate_error(&refusal, &session.state(), session.settings.format());
    Err(report.unwrap_or_else(|| Report::internal("a locked row has changed")))
}

impl Proposed<'_> {
    fn compile(&self) -> Result<Option<Update>, Report> {
        let ConflictAction::Update { assignments, filter, plan } = &self.on_conflict.action else { return Ok(None) };
        if plan.is_some() {
            return Ok(Some(Update { assignments: Vec::new(), filter: None, plan: plan.clone() }));
        }
        let rows: [(&str, &[SqlType]); 2] = [("t", self.types), ("excluded", self.types)];
        let compile = |expr, ty| RowExpression::compile(expr, &rows, self.given.parameter_types, ty, self.settings);
        let assignments = assignments.iter().map(|(at, expr)| Ok((*at, compile(expr, self.types[*at])?)));
        Ok(Some(Update {
            assignments: assignments.collect::<Result<_, Report>>()?,
            filter: filter.as_ref().map(|f| compile(f, Scalar::Bool.into())).transpose()?,
            plan: None,
        }))
    }

    /// Whether nothing but the table's own key can collide.
    fn only_the_key_is_unique(&self, session: &Session) -> bool {
        let state = session.state();
        let other = self.target.table.indexes.iter().filter_map(|oid| state.index(*oid)).any(|index| index.unique);
        !other && self.target.row_id.is_none()
    }

    /// Locks what the rows collide with, and adds what is to be written to `writes`.
    pub async fn add(
        &self,
        session: &mut Session,
        own: Option<&mut Transaction>,
        rows: Vec<Vec<Datum>>,
        writes: &mut WriteSet,
    ) -> Result<Vec<Vec<Datum>>, Report> {
        let update = self.compile()?;
        self.write(session, own, update.as_ref(), rows, writes).await
    }

    async fn write(
        &self,
        session: &mut Session,
        mut own: Option<&mut Transaction>,
        update: Option<&Update>,
        rows: Vec<Vec<Datum>>,
        writes: &mut WriteSet,
    ) -> Result<Vec<Vec<Datum>>, Report> {
        let mut keyed = Vec::with_capacity(rows.len());
        let mut row_ids = RowWriter::new(Arc::clone(&self.target));
        for mut visible in rows {
            self.target.generate(&mut visible)?;
            self.target.check(&visible, session.settings.format())?;
            let (key, stored) = row_ids.stored(session, visible).await?;
            keyed.push((key, stored));
        }
        if self.only_the_key_is_unique(session) {
            return self.write_locked(session, own, update, keyed, writes).await;
        }
        let mut written = Vec::new();
        let mut touched = HashSet::new();
        for (key, stored) in keyed {
            written.extend(self.try_one(session, own.as_deref_mut(), update, key, stored, &mut touched).await?);
        }
        Ok(written)
    }

    async fn write_locked(
        &self,
        session: &mut Session,
        own: Option<&mut Transaction>,
        update: Option<&Update>,
        rows: Vec<(Bytes, Vec<Datum>)>,
        writes: &mut WriteSet,
    ) -> Result<Vec<Vec<Datum>>, Report> {
        let wait = session.lock_wait();
        let keys = rows.iter().map(|(key, _)| key.clone()).collect();
        let existing = lock_rows(transaction_of(session, own).await?, &self.target, keys, LockMode::ForUpdate, wait).await?;
        let bound = session.transaction.bound();
        let (mut written, mut touched) = (Vec::new(), HashSet::new());
        for ((key, stored), existing) in rows.into_iter().zip(existing) {
            let is_first = touched.insert(key.clone());
            if let Some(existing) = &existing {
                bound.check(existing.version)?;
            }
            match (existing, update) {
                (None, _) if is_first => {
                    written.push(self.target.visible_of(&stored));
                    self.target.add_insert(writes, key, &stored)?;
                }
                (_, None) => {}
                (_, Some(_)) if !is_first => return Err(second_time()),
                (Some(found), Some(update)) => {
                    let old = self.target.decode(&found.row)?;
                    if let Some(new) = self.updated(session, update, &old, &stored).await? {
                        written.push(self.target.visible_of(&new));
                        self.target.add_update(writes, key, &old, &new, Precondition::None)?;
                    }
                }
                (None, Some(_)) => return Err(second_time()),
            }
        }
        Ok(written)
    }

    /// The existing row as DO UPDATE makes it; `None` when its WHERE does not hold.
    async fn updated(&self, session: &Session, update: &Update, old: &[Datum], excluded: &[Datum]) -> Result<Option<Vec<Datum>>, Report> {
        let (existing, excluded) = (self.target.visible_of(old), self.target.visible_of(excluded));
        let rows: [&[Datum]; 2] = [&existing, &excluded];
        if let Some(filter) = &update.filter
            && !filter.holds(&rows, self.given.parameters)?
        {
            return Ok(None);
        }
        let mut new = existing.clone();
        for (at, value) in &update.assignments {
            new[*at] = value.evaluate(&rows, self.given.parameters)?;
        }
        if let Some(plan) = &update.plan {
            let Some(values) = self.planned(session, plan, [&existing, &excluded].into_iter().flatten().cloned().collect()).await? else {
                return Ok(None);
            };
            for (at, value) in values {
                new[at] = value;
            }
        }
        self.target.generate(&mut new)?;
        self.target.check(&new, session.settings.format())?;
        let mut stored = old.to_vec();
        for (value, &at) in new.into_iter().zip(self.target.visible.iter()) {
            stored[at] = value;
        }
        Ok(Some(stored))
    }

    /// The assigned values as a plan gives them; `None` when its filter does not hold.
    async fn planned(&self, session: &Session, plan: &LogicalPlan, pair: Vec<Datum>) -> Result<Option<Vec<(usize, Datum)>>, Report> {
        let ConflictAction::Update { assignments, .. } = &self.on_conflict.action else { return Ok(None) };
        let inputs: Vec<SqlType> = self.types.iter().chain(self.types).copied().collect();
        let assigned = assignments.iter().map(|(at, _)| self.types[*at]);
        let outputs: Vec<SqlType> = assigned.chain([Scalar::Bool.into()]).collect();
        let mut rows = self.given.over_written(session, plan, (&inputs, &[pair]), &outputs).await?;
        let mut values = rows.pop().ok_or_else(|| Report::internal("the plan of ON CONFLICT gives no row"))?;
        let holds = values.pop() == Some(Datum::Bool(true));
        Ok(holds.then(|| assignments.iter().map(|(at, _)| *at).zip(values).collect()))
    }

    async fn try_one(
        &self,
        session: &mut Session,
        mut own: Option<&mut Transaction>,
        update: Option<&Update>,
        key: Bytes,
        stored: Vec<Datum>,
        touched: &mut HashSet<Bytes>,
    ) -> Result<Option<Vec<Datum>>, Report> {
        let (version, wait) = (self.target.version, session.lock_wait());
        for _ in 0..ATTEMPTS_MAX {
            let refusal = match self.conflict_of(session, own.as_deref_mut(), &key, &stored).await? {
                Some(conflict) => conflict,
                None => {
                    let mut writes = WriteSet::default();
                    self.target.add_insert(&mut writes, key.clone(), &stored)?;
                    let transaction = transaction_of(session, own.as_deref_mut()).await?;
                    let before = transaction.mark();
                    let Some(refusal) = transaction.write(version, &mut writes, wait).await? else {
                        touched.insert(key);
                        return Ok(Some(self.target.visible_of(&stored)));
                    };
                    // Other workers may have taken their entries of the row.
                    transaction.undo(before).await?;
                    refusal
                }
            };
            let RefusalKind::Duplicate { constraint, existing } = &refusal.kind else { continue };
            if !self.is_arbiter(*constraint, refusal.relation) {
                let report = self.target.duplicate_error(&refusal, &session.state(), session.settings.format());
                return Err(report.unwrap_or_else(|| Report::internal("a new row was refused as changed")));
            }
            let bound = session.transaction.bound();
            if update.is_none() && bound.is_none() {
                return Ok(None);
            }
            if update.is_some() && touched.contains(existing) {
                return Err(second_time());
            }
            let transaction = transaction_of(session, own.as_deref_mut()).await?;
            let locked = lock_rows(transaction, &self.target, vec![existing.clone()], LockMode::ForUpdate, wait).await?;
            // Gone meanwhile: the row may be inserted after all.
            let Some(found) = locked.into_iter().next().flatten() else { continue };
            bound.check(found.version)?;
            let Some(update) = update else { return Ok(None) };
            touched.insert(existing.clone());
            let old = self.target.decode(&found.row)?;
            let Some(new) = self.updated(session, update, &old, &stored).await? else { return Ok(None) };
            let mut writes = WriteSet::default();
            self.target.add_update(&mut writes, existing.clone(), &old, &new, Precondition::None)?;
            let refusal = match own.as_deref_mut() {
                Some(own) => own.write(version, &mut writes, wait).await?,
                None => session.write(version, &mut writes, wait).await?,
            };
            if let Some(refusal) = refusal {
                let report = self.target.duplicate_error(&refusal, &session.state(), session.settings.format());
                return Err(report.unwrap_or_else(|| Report::internal("a locked row has changed")));
            }
            return Ok(Some(self.target.visible_of(&new)));
        }
        Err(Report::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update"))
    }

    /// What a proposed row collides with: its own key, or an entry of a unique global index. All of them stay locked. Nothing is written before
    /// this is known, as a row that is not inserted must leave no entry at another worker.
    async fn conflict_of(
        &self,
        session: &mut Session,
        own: Option<&mut Transaction>,
        key: &Bytes,
        stored: &[Datum],
    ) -> Result<Option<Refusal>, Report> {
        let (version, wait) = (self.target.version, session.lock_wait());
        let transaction = transaction_of(session, own).await?;
        let duplicate = |relation, key: &Bytes, constraint, existing| Refusal {
            relation,
            key: key.clone(),
            kind: RefusalKind::Duplicate { constraint, existing },
        };
        if self.target.row_id.is_none() {
            let found = lock_keys(transaction, version, self.target.destination(), vec![key.clone()], LockMode::ForUpdate, wait).await?;
            if found.iter().any(Option::is_some) {
                return Ok(Some(duplicate(self.target.table.storage, key, self.target.key_constraint, key.clone())));
            }
        }
        for index in &self.target.sync_indexes {
            if index.precondition(stored) != Precondition::Absent {
                continue;
            }
            let (entry, _) = index.entry(stored, key)?;
            let found = lock_keys(transaction, version, index.destination(), vec![entry.clone()], LockMode::ForUpdate, wait).await?;
            if let Some(found) = found.into_iter().next().flatten() {
                let existing = index.table_key(&found.row)?;
                return Ok(Some(duplicate(index.index.storage, &entry, Some(index.index.oid), existing)));
            }
        }
        Ok(None)
    }

    fn is_arbiter(&self, constraint: Option<Oid>, relation: common::ids::RelationId) -> bool {
        let Some(arbiter) = self.on_conflict.arbiter else { return true };
        let by_index = self.target.sync_indexes.iter().find(|i| i.index.storage == relation).map(|i| i.index.oid);
        by_index.or(constraint).or(self.target.key_constraint) == Some(arbiter)
    }
}

/// The statement's own transaction, or the block's.
async fn transaction_of<'a>(session: &'a mut Session, own: Option<&'a mut Transaction>) -> Result<&'a mut Transaction, Report> {
    if let Some(own) = own {
        return Ok(own);
    }
    let coordinator = Arc::clone(&session.coordinator);
    let block = session.transaction.transaction(&coordinator).await?;
    block.ok_or_else(|| Report::internal("no transaction to insert in"))
}

fn second_time() -> Report {
    Report::new(SqlState::CARDINALITY_VIOLATION, "ON CONFLICT DO UPDATE command cannot affect row a second time")
        .with_hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
}
