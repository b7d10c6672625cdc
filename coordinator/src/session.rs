//! What one client has: settings, prepared statements, a transaction.
//!
//! The wire owns a session and calls it; a session knows nothing of messages. Portals belong to the wire: they are results that have
//! been begun.

use std::collections::HashMap;
use std::sync::Arc;

use catalog::state::CatalogState;
use common::datum::Datum;
use common::error::Report;
use common::ids::Timestamp;
use common::sqlstate::SqlState;
use common::types::SqlType;
use datafusion::physical_plan::ExecutionPlan;
use functions::context::SessionSettings;
use parking_lot::Mutex;
use sql::bound::BoundStatement;
use sql::parse::ParsedStatement;

use crate::coordinator::{ConnectedSession, Coordinator};
use crate::execute::transaction_control;
use crate::prepared::Prepared;
use crate::result::StatementResult;
use crate::schema_changes::SchemaChanges;
use crate::schema_view::SchemaView;
use crate::sequences::SequenceMemory;
use crate::session_locks::SessionLocks;
use crate::settings::Settings;
use crate::transaction::TransactionBlock;

/// Statements that a session may hold prepared.
pub const PREPARED_MAX: usize = 10_000;

/// Where a plan that ran is left for whoever wants to tell of it.
pub type ObservedPlan = Arc<Mutex<Option<Arc<dyn ExecutionPlan>>>>;

/// A client's session.
pub struct Session {
    pub coordinator: Arc<Coordinator>,
    pub connected: Arc<ConnectedSession>,
    pub settings: Settings,
    /// SQL PREPARE and the protocol's Parse share one name space, as in PostgreSQL.
    pub prepared: HashMap<String, Arc<Prepared>>,
    pub transaction: TransactionBlock,
    /// Its advisory locks.
    pub locks: Arc<SessionLocks>,
    /// The newest commit of this session: what `index_freshness = 'session'` must see.
    pub last_commit: Timestamp,
    /// What the wire shall send before the next result: notices, and parameters that changed.
    pub notices: Vec<Report>,
    /// Where a statement that is being analyzed leaves the plan that it ran.
    pub observed_plan: Option<ObservedPlan>,
    /// What it has seen of sequences.
    pub sequences: Arc<SequenceMemory>,
    /// What the open transaction has changed in the schema.
    pub schema_changes: Option<Arc<SchemaChanges>>,
}

impl Session {
    /// A session for a client that was admitted.
    pub fn new(coordinator: Arc<Coordinator>, connected: Arc<ConnectedSession>, settings: Settings) -> Self {
        Self {
            locks: SessionLocks::new(&coordinator, connected.pid),
            coordinator,
            connected,
            settings,
            prepared: HashMap::new(),
            transaction: TransactionBlock::default(),
            last_commit: Timestamp::MIN,
            notices: Vec::new(),
            observed_plan: None,
            sequences: Arc::default(),
            schema_changes: None,
        }
    }

    /// The catalog as this session's statements see it, with all that is computed once for each version.
    pub fn view(&self) -> Arc<SchemaView> {
        self.schema_changes.as_ref().map_or_else(|| self.coordinator.view(), |changes| changes.view())
    }

    /// The catalog as this session's statements see it.
    pub fn state(&self) -> Arc<CatalogState> {
        self.schema_changes.as_ref().map_or_else(|| self.coordinator.state(), |changes| Arc::clone(changes.view().state()))
    }

    /// Schema changes from here on belong to the open transaction.
    pub async fn begin_schema_changes(&mut self) -> Result<(), Report> {
        let coordinator = Arc::clone(&self.coordinator);
        if self.schema_changes.is_none()
            && let Some(transaction) = self.transaction.transaction(&coordinator).await?
        {
            self.schema_changes = Some(Arc::new(SchemaChanges::new(&coordinator, transaction.id())));
        }
        Ok(())
    }

    /// Commits the open transaction, its rows and its schema changes together; the time of the rows' commit, if there were any.
    pub async fn commit(&mut self) -> Result<Option<Timestamp>, Report> {
        let version = self.coordinator.cache.current().version();
        let Some(changes) = self.schema_changes.take() else { return self.transaction.commit(version).await };
        let made = changes.settled(&self.sequences);
        let participants = self.transaction.participants();
        if participants.is_empty() {
            self.transaction.rollback().await;
            changes.publish(made).await?;
            return Ok(None);
        }
        if let Err(error) = changes.prepare(participants, made).await {
            self.transaction.rollback().await;
            changes.discard().await;
            return Err(error);
        }
        match self.transaction.commit(version).await {
            Ok(at) => changes.finish().await.map(|()| at),
            Err(error) if error.sqlstate == SqlState::STATEMENT_COMPLETION_UNKNOWN => {
                changes.leave();
                Err(error)
            }
            Err(error) => {
                changes.discard().await;
                Err(error)
            }
        }
    }

    /// Ends the open transaction without its work.
    pub async fn rollback(&mut self) {
        self.transaction.rollback().await;
        if let Some(changes) = self.schema_changes.take() {
            changes.discard().await;
            self.sequences.forget_own();
        }
    }

    /// The settings that expressions read, for a statement that begins now.
    pub fn expression_settings(&self) -> SessionSettings {
        let now = self.coordinator.clock.unix_micros();
        let transaction_micros = self.transaction.began_micros().unwrap_or(now);
        self.settings.for_expressions(&self.connected, transaction_micros, now)
    }

    /// Binds a statement; `declared` are the parameter types that the client gave.
    pub fn prepare(&self, statement: &ParsedStatement, declared: Vec<Option<SqlType>>) -> Result<Arc<Prepared>, Report> {
        self.refuse_in_failed_block(statement)?;
        self.coordinator.statements.get_or_bind(self, statement, declared)
    }

    /// Runs a bound statement with its parameters' values.
    pub async fn execute(&mut self, prepared: &Arc<Prepared>, parameters: Vec<Datum>) -> Result<StatementResult, Report> {
        self.refuse_in_failed_block(&prepared.statement)?;
        let current = self.refreshed(prepared)?;
        let result = crate::execute::execute(self, &current, parameters).await;
        if result.is_err() {
            self.transaction.statement_failed();
        }
        if matches!(current.bound.statement, BoundStatement::Utility(_)) {
            self.end_transaction_locks().await;
        }
        result
    }

    /// Lets go of the advisory locks of a transaction that has ended.
    pub async fn end_transaction_locks(&mut self) {
        if !self.transaction.is_open()
            && let Err(error) = self.locks.end_transaction().await
        {
            tracing::warn!(%error, "advisory locks of a transaction stay until the session ends");
        }
        self.notices.extend(self.locks.take_warnings());
    }

    /// 25P02 for anything but the end of a block that has failed.
    pub fn refuse_in_failed_block(&self, statement: &ParsedStatement) -> Result<(), Report> {
        if !self.transaction.is_failed() || transaction_control::ends_block(statement) {
            return Ok(());
        }
        Err(Report::new(
            SqlState::IN_FAILED_SQL_TRANSACTION,
            "current transaction is aborted, commands ignored until end of transaction block",
        ))
    }

    /// The statement as the newest catalog version understands it: bound again when the schema has changed since.
    fn refreshed(&self, prepared: &Arc<Prepared>) -> Result<Arc<Prepared>, Report> {
        if prepared.is_current(self) {
            return Ok(Arc::clone(prepared));
        }
        let declared = prepared.bound.parameters.iter().copied().map(Some).collect();
        let fresh = self.prepare(&prepared.statement, declared)?;
        if fresh.columns() != prepared.columns() {
            return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"));
        }
        Ok(fresh)
    }
}
