//! INSERT: rows come from a plan (or a list of expressions), are checked, keyed, routed, and committed in one go; large ones flow to their owners as
//! provisional writes and are committed at the end.

use std::sync::Arc;

use common::datum::Datum;
use common::error::Report;
use common::sqlstate::SqlState;
use common::types::SqlType;
use futures::StreamExt;
use sql::bound::BoundInsert;

use crate::execute::conflict::{self, Proposed};
use crate::execute::query::{batch_rows, run_plan, statement_context};
use crate::execute::returning::Returning;
use crate::prepared::Prepared;
use crate::result::{Rows, RowsTag, StatementResult};
use crate::session::Session;
use crate::target_table::TargetTable;
use crate::transaction::{Committed, Transaction, WriteInFlight, commit_statement};
use crate::write_set::{Refusal, WriteSet};

/// Writes that are kept before they flow to their owners.
pub const WRITE_SET_BYTES_MAX: usize = 8 << 20;
/// Row ids are taken from the oracle this many at a time.
const ROW_IDS_AT_ONCE: u32 = 4_096;

/// The writing half of a statement that adds rows: INSERT and COPY.
pub struct RowWriter {
    target: Arc<TargetTable>,
    writes: WriteSet,
    /// The statement's own transaction, once it has needed one outside a block.
    own: Option<Transaction>,
    /// What was sent last, while the next rows are made.
    in_flight: Option<WriteInFlight>,
    row_ids: std::ops::Range<u64>,
    /// Rows taken.
    pub count: u64,
}

impl RowWriter {
    /// A writer to a table.
    pub fn new(target: Arc<TargetTable>) -> Self {
        Self { target, writes: WriteSet::default(), own: None, in_flight: None, row_ids: 0..0, count: 0 }
    }

    /// Checks a visible row and adds it; sends what has come together when it is much.
    pub async fn add(&mut self, session: &mut Session, mut visible: Vec<Datum>) -> Result<(), Report> {
        self.target.generate(&mut visible)?;
        self.target.check(&visible, session.settings.format())?;
        let (key, stored) = self.stored(session, visible).await?;
        self.target.add_insert(&mut self.writes, key, &stored)?;
        self.count += 1;
        if self.writes.bytes() >= WRITE_SET_BYTES_MAX {
            self.send(session).await?;
        }
        Ok(())
    }

    /// The stored form and key of a visible row, with its row id where the table has one.
    pub async fn stored(&mut self, session: &Session, visible: Vec<Datum>) -> Result<(bytes::Bytes, Vec<Datum>), Report> {
        let row_id = match self.target.row_id {
            Some(_) => Some(self.next_row_id(session).await?),
            None => None,
        };
        let stored = self.target.stored(visible, row_id);
        let key = self.target.key(&stored)?;
        Ok((key, stored))
    }

    async fn next_row_id(&mut self, session: &Session) -> Result<i64, Report> {
        if self.row_ids.is_empty() {
            // A statement of one row takes one; one that goes on takes many.
            let count = if self.row_ids.start == 0 { 1 } else { ROW_IDS_AT_ONCE };
            let first = session.coordinator.catalog.timestamps(count).await?.0;
            self.row_ids = first..first + u64::from(count);
        }
        let id = self.row_ids.next().ok_or_else(|| Report::internal("no row id was given"))?;
        i64::try_from(id).map_err(|_| Report::internal("row ids are used up"))
    }

    /// Waits for what was sent last.
    async fn settle(&mut self, session: &Session) -> Result<(), Report> {
        let Some(mut in_flight) = self.in_flight.take() else { return Ok(()) };
        let refusal = in_flight.answer().await?;
        self.refused(session, refusal)
    }

    async fn send(&mut self, session: &mut Session) -> Result<(), Report> {
        self.settle(session).await?;
        let (version, wait) = (self.target.version, session.lock_wait());
        let coordinator = Arc::clone(&session.coordinator);
        let transaction = match session.transaction.transaction(&coordinator).await? {
            Some(transaction) => transaction,
            None => {
                if self.own.is_none() {
                    self.own = Some(Transaction::begin(&coordinator).await?);
                }
                self.own.as_mut().expect("it was set above")
            }
        };
        self.in_flight = Some(transaction.begin_write(version, &mut self.writes, wait));
        Ok(())
    }

    fn refused(&self, session: &Session, refusal: Option<Refusal>) -> Result<(), Report> {
        let Some(refusal) = refusal else { return Ok(()) };
        let report = self.target.duplicate_error(&refusal, &session.state(), session.settings.format());
        Err(report.unwrap_or_else(|| Report::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")))
    }

    /// Commits (outside a block) what was added.
    pub async fn finish(mut self, session: &mut Session) -> Result<u64, Report> {
        let (version, wait) = (self.target.version, session.lock_wait());
        if session.transaction.is_open() {
            self.send(session).await?;
            self.settle(session).await?;
            return Ok(self.count);
        }
        self.settle(session).await?;
        let committed = match self.own.take() {
            Some(own) => own.commit(version, &mut self.writes, wait).await?,
            None => commit_statement(&session.coordinator, version, &mut self.writes, wait).await?,
        };
        match committed {
            Committed::At(at) => session.last_commit = session.last_commit.max(at),
            Committed::Refused(refusal) => self.refused(session, Some(refusal))?,
        }
        Ok(self.count)
    }
}

/// Runs an INSERT.
pub async fn execute(
    session: &mut Session,
    prepared: &Arc<Prepared>,
    bound: &BoundInsert,
    parameters: &[Datum],
) -> Result<StatementResult, Report> {
    let settings = session.expression_settings();
    let target =
        prepared.view.target_table(bound.target, &settings)?.ok_or_else(|| Report::internal("the target of an INSERT has gone"))?;
    target.refuse_closed()?;
    let types: Vec<SqlType> = target.visible.iter().map(|&at| target.row_types[at]).collect();
    let parameter_types = &prepared.bound.parameters;
    let returning = bound.returning.as_ref().map(|r| Returning::compile(r, &types, &[], parameter_types, &settings)).transpose()?;
    let context = statement_context(session, &prepared.view).await?;
    let mut source = run_plan(session, &context, &bound.source, parameter_types, parameters).await?;
    let mut returned = Vec::new();
    let count;
    if let Some(on_conflict) = &bound.on_conflict {
        let mut rows = Vec::new();
        while let Some(batch) = source.next().await {
            batch_rows(&batch?, &types, &mut rows)?;
        }
        let proposed = Proposed { target, on_conflict, types: &types, parameter_types, parameters, settings: &settings };
        let written = conflict::insert(session, &proposed, rows).await?;
        count = written.len() as u64;
        if let Some(returning) = &returning {
            for visible in &written {
                returned.push(returning.row(visible, &[], parameters)?);
            }
        }
    } else {
        let mut writer = RowWriter::new(target);
        while let Some(batch) = source.next().await {
            let mut rows = Vec::new();
            batch_rows(&batch?, &types, &mut rows)?;
            for mut visible in rows {
                writer.target.generate(&mut visible)?;
                if let Some(returning) = &returning {
                    returned.push(returning.row(&visible, &[], parameters)?);
                }
                writer.add(session, visible).await?;
            }
        }
        count = writer.finish(session).await?;
    }
    Ok(finished(format!("INSERT 0 {count}"), prepared, returning.is_some(), returned))
}

/// The result of a change: its tag, or the rows of RETURNING under that tag.
pub fn finished(tag: String, prepared: &Prepared, has_returning: bool, rows: Vec<Vec<Datum>>) -> StatementResult {
    if has_returning {
        StatementResult::Rows { columns: Arc::clone(prepared.columns()), rows: Rows::Values(rows), tag: RowsTag::Fixed(tag) }
    } else {
        StatementResult::Command(tag)
    }
}
