//! Statements of several parts: changes of rows in WITH before a statement, queries in WITH that must run once, and MERGE, which changes rows in
//! several ways.
//!
//! All parts read one snapshot, and none sees what another writes; what they tell each other are the rows that they return. So each part in turn finds its
//! rows, locks them, and keeps what it is about to write; when all is known, the result too, the writes are sent in the parts' order, and the
//! statement commits. A row that a part finds changed since the snapshot starts everything anew, at a new snapshot, with the locks kept.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use common::datum::Datum;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::SqlType;
use query::context::StatementContext;
use rpc::worker_api::{FoundRow, LockMode};
use sql::bound::{BoundInsert, BoundMerge, BoundPart, BoundReturning, BoundStatement, OutputColumn};

use crate::execute::change::Change;
use crate::execute::conflict::Proposed;
use crate::execute::given::Given;
use crate::execute::insert::{RowWriter, finished};
use crate::execute::lock_rows::lock_rows;
use crate::execute::merge::Merge;
use crate::execute::query::statement_context;
use crate::execute::returning::Returning;
use crate::isolation::concurrent_change;
use crate::prepared::Prepared;
use crate::result::{Rows, RowsTag, StatementResult};
use crate::session::Session;
use crate::target_table::TargetTable;
use crate::transaction::{Committed, Transaction};
use crate::write_set::{Refusal, WriteSet};

/// How often a statement follows rows that others change before it gives up.
const ATTEMPTS_MAX: u32 = 100;

/// One attempt at the statement.
pub struct Attempt<'a> {
    prepared: &'a Arc<Prepared>,
    pub given: Given<'a>,
    /// What the parts will write, in their order.
    writes: Vec<(Arc<TargetTable>, WriteSet)>,
    /// Rows that a part has changed already: no other part changes them again.
    touched: HashSet<(Oid, Bytes)>,
}

/// A row that was locked has changed since the snapshot.
pub struct Stale;

/// What a part gives.
struct Outcome {
    count: usize,
    rows: Vec<Vec<Datum>>,
}

/// Runs a statement of several parts.
pub async fn execute(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    parts: &[BoundPart],
    main: &BoundStatement,
    parameters: &[Datum],
) -> Result<StatementResult, Report> {
    let mut own = None;
    let is_change = |statement: &BoundStatement| !matches!(statement, BoundStatement::Query { .. });
    if !session.transaction.is_open() && (is_change(main) || parts.iter().any(|part| is_change(&part.statement))) {
        own = Some(Transaction::begin(&session.coordinator).await?);
    }
    for _ in 0..ATTEMPTS_MAX {
        let mut context = statement_context(session, &prepared.view).await?;
        if let Some(own) = &own {
            Arc::make_mut(&mut context).read.own = Some(own.own_writes());
        }
        match attempt(session, &mut own, prepared, (parts, main), (context, parameters)).await {
            Ok(Err(Stale)) if session.transaction.snapshot().is_some() => {
                if let Some(own) = own {
                    own.abort().await;
                }
                return Err(concurrent_change(false));
            }
            Ok(Err(Stale)) => {}
            Ok(Ok((result, writes))) => {
                write(session, own, writes).await?;
                return Ok(result);
            }
            Err(error) => {
                if let Some(own) = own {
                    own.abort().await;
                }
                return Err(error);
            }
        }
    }
    Err(concurrent_change(false))
}

type Done = (StatementResult, Vec<(Arc<TargetTable>, WriteSet)>);

async fn attempt(
    session: &mut Session,
    own: &mut Option<Transaction>,
    prepared: &Arc<Prepared>,
    (parts, main): (&[BoundPart], &BoundStatement),
    (context, parameters): (Arc<StatementContext>, &[Datum]),
) -> Result<Result<Done, Stale>, Report> {
    let given = Given::new(context, &prepared.bound.parameters, parameters);
    let mut attempt = Attempt { prepared, given, writes: Vec::new(), touched: HashSet::new() };
    for part in parts {
        match attempt.run(session, own, &part.statement).await? {
            Ok(outcome) => attempt.given.add(&part.rows, &part.types, &outcome.rows)?,
            Err(Stale) => return Ok(Err(Stale)),
        }
    }
    let outcome = match attempt.run(session, own, main).await? {
        Ok(outcome) => outcome,
        Err(Stale) => return Ok(Err(Stale)),
    };
    let count = outcome.count;
    let tag = match main {
        BoundStatement::Insert(_) => format!("INSERT 0 {count}"),
        BoundStatement::Update(_) => format!("UPDATE {count}"),
        BoundStatement::Delete(_) => format!("DELETE {count}"),
        BoundStatement::Merge(_) => format!("MERGE {count}"),
        _ => {
            let columns = Arc::clone(prepared.columns());
            return Ok(Ok((StatementResult::Rows { columns, rows: Rows::Values(outcome.rows), tag: RowsTag::Select }, attempt.writes)));
        }
    };
    Ok(Ok((finished(tag, prepared, !prepared.columns().is_empty(), outcome.rows), attempt.writes)))
}

impl Attempt<'_> {
    async fn run(
        &mut self,
        session: &mut Session,
        own: &mut Option<Transaction>,
        statement: &BoundStatement,
    ) -> Result<Result<Outcome, Stale>, Report> {
        match statement {
            BoundStatement::Query { query, .. } => {
                let types: Vec<SqlType> = query.columns.iter().map(|c: &OutputColumn| c.ty).collect();
                let rows = self.given.rows(session, &query.plan, &types).await?;
                Ok(Ok(Outcome { count: rows.len(), rows }))
            }
            BoundStatement::Insert(insert) => Ok(Ok(self.insert(session, own, insert).await?)),
            BoundStatement::Update(update) => {
                let source = self.given.fill(&update.source)?;
                let change =
                    Change::new(session, self.prepared, update.target, &source, Some(&update.assigned), update.returning.as_ref())?;
                self.change(session, own, &change).await
            }
            BoundStatement::Delete(delete) => {
                let source = self.given.fill(&delete.source)?;
                let change = Change::new(session, self.prepared, delete.target, &source, None, delete.returning.as_ref())?;
                self.change(session, own, &change).await
            }
            BoundStatement::Merge(merge) => self.merge(session, own, merge).await,
            _ => Err(Report::internal("a part of a statement is neither a query nor a change")),
        }
    }

    async fn change(
        &mut self,
        session: &mut Session,
        own: &mut Option<Transaction>,
        change: &Change<'_>,
    ) -> Result<Result<Outcome, Stale>, Report> {
        change.target.refuse_closed()?;
        let mut rows = change.find(session, self.prepared, &self.given.context, self.given.parameters).await?;
        rows.retain(|row| self.touch(&change.target, &row.key));
        let keys = rows.iter().map(|row| row.key.clone()).collect();
        let locked = lock(session, own, &change.target, keys, change.lock_mode).await?;
        let mut writes = WriteSet::default();
        let (count, mut returned) = (rows.len(), Vec::new());
        for (row, found) in rows.into_iter().zip(locked) {
            let Some(found) = found.filter(|found| found.version == row.version) else { return Ok(Err(Stale)) };
            returned.extend(change.add(session, row, &found, self.given.parameters, &mut writes)?);
        }
        if let Some(returning) = &change.returning {
            returned = returning.finish(session, &self.given, returned).await?;
        }
        self.writes.push((Arc::clone(&change.target), writes));
        Ok(Ok(Outcome { count, rows: returned }))
    }

    async fn insert(&mut self, session: &mut Session, own: &mut Option<Transaction>, insert: &BoundInsert) -> Result<Outcome, Report> {
        let target = self.target(session, insert.target)?;
        let types = visible_types(&target);
        let returning = self.returning(session, insert.returning.as_ref(), &types)?;
        let mut rows = self.given.rows(session, &insert.source, &types).await?;
        rows.iter_mut().try_for_each(|row| target.generate(row))?;
        let mut writes = WriteSet::default();
        let written = match &insert.on_conflict {
            Some(on_conflict) => {
                let settings = session.expression_settings();
                let proposed =
                    Proposed { target: Arc::clone(&target), on_conflict, types: &types, given: &self.given, settings: &settings };
                proposed.add(session, own.as_mut(), rows, &mut writes).await?
            }
            None => {
                self.insert_rows(session, &target, rows.clone(), &mut writes).await?;
                rows
            }
        };
        let mut returned = Vec::new();
        if let Some(returning) = &returning {
            for row in &written {
                returned.push(returning.row(row, &[], self.given.parameters)?);
            }
            returned = returning.finish(session, &self.given, returned).await?;
        }
        self.writes.push((target, writes));
        Ok(Outcome { count: written.len(), rows: returned })
    }

    /// Adds new rows.
    pub async fn insert_rows(
        &self,
        session: &Session,
        target: &Arc<TargetTable>,
        rows: Vec<Vec<Datum>>,
        writes: &mut WriteSet,
    ) -> Result<(), Report> {
        let mut row_ids = RowWriter::new(Arc::clone(target));
        for mut visible in rows {
            target.generate(&mut visible)?;
            target.check(&visible, session.settings.format())?;
            let (key, stored) = row_ids.stored(session, visible).await?;
            target.add_insert(writes, key, &stored)?;
        }
        Ok(())
    }

    async fn merge(
        &mut self,
        session: &mut Session,
        own: &mut Option<Transaction>,
        bound: &BoundMerge,
    ) -> Result<Result<Outcome, Stale>, Report> {
        let target = self.target(session, bound.target)?;
        let merge = Merge::find(session, &self.given, &target, &bound.source).await?;
        for key in merge.keys() {
            if !self.touch(&target, key) {
                return Err(Report::new(SqlState::CARDINALITY_VIOLATION, "MERGE command cannot affect row a second time")
                    .with_hint("Ensure that not more than one source row matches any one target row."));
            }
        }
        let locked = lock(session, own, &target, merge.keys().cloned().collect(), LockMode::ForUpdate).await?;
        let count = merge.count();
        let mut writes = WriteSet::default();
        let Ok(new) = merge.add(session, &target, locked, &mut writes)? else { return Ok(Err(Stale)) };
        self.insert_rows(session, &target, new, &mut writes).await?;
        self.writes.push((target, writes));
        Ok(Ok(Outcome { count, rows: Vec::new() }))
    }

    /// Whether a row is changed for the first time.
    fn touch(&mut self, target: &TargetTable, key: &Bytes) -> bool {
        self.touched.insert((target.table.oid, key.clone()))
    }

    fn target(&self, session: &Session, oid: Oid) -> Result<Arc<TargetTable>, Report> {
        let found = self.prepared.view.target_table(oid, &session.expression_settings())?;
        let target = found.ok_or_else(|| Report::internal("the target of a change has gone"))?;
        target.refuse_closed()?;
        Ok(target)
    }

    fn returning(&self, session: &Session, bound: Option<&BoundReturning>, types: &[SqlType]) -> Result<Option<Returning>, Report> {
        let settings = session.expression_settings();
        bound.map(|r| Returning::compile(r, types, &[], self.given.parameter_types, &settings)).transpose()
    }
}

/// Types of a table's visible columns.
pub fn visible_types(target: &TargetTable) -> Vec<SqlType> {
    target.visible.iter().map(|&at| target.row_types[at]).collect()
}

async fn lock(
    session: &mut Session,
    own: &mut Option<Transaction>,
    target: &TargetTable,
    keys: Vec<Bytes>,
    mode: LockMode,
) -> Result<Vec<Option<FoundRow>>, Report> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let wait = session.lock_wait();
    let coordinator = Arc::clone(&session.coordinator);
    match own.as_mut() {
        Some(own) => lock_rows(own, target, keys, mode, wait).await,
        None => {
            let block = session.transaction.transaction(&coordinator).await?;
            lock_rows(block.ok_or_else(|| Report::internal("no transaction to lock rows in"))?, target, keys, mode, wait).await
        }
    }
}

/// Sends the writes in order, and commits outside a block.
async fn write(session: &mut Session, mut own: Option<Transaction>, mut parts: Vec<(Arc<TargetTable>, WriteSet)>) -> Result<(), Report> {
    parts.retain(|(_, writes)| !writes.is_empty());
    let last = parts.pop();
    let wait = session.lock_wait();
    for (target, mut writes) in parts {
        let refusal = match own.as_mut() {
            Some(own) => own.write(target.version, &mut writes, wait).await?,
            None => session.write(target.version, &mut writes, wait).await?,
        };
        if let Some(refusal) = refusal {
            if let Some(own) = own {
                own.abort().await;
            }
            return Err(refused(session, &target, &refusal));
        }
    }
    let Some((target, mut writes)) = last else {
        if let Some(own) = own {
            own.abort().await;
        }
        return Ok(());
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
    refusal.map_or(Ok(()), |refusal| Err(refused(session, &target, &refusal)))
}

fn refused(session: &Session, target: &TargetTable, refusal: &Refusal) -> Report {
    let report = target.duplicate_error(refusal, &session.state(), session.settings.format());
    report.unwrap_or_else(|| Report::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update"))
}
