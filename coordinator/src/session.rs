//! What one client has: settings, prepared statements, a transaction.
//!
//! The wire owns a session and calls it; a session knows nothing of messages. Portals belong to the wire: they are results that have
//! been begun.

use std::collections::HashMap;
use std::sync::Arc;

use catalog::state::CatalogState;
use common::datum::Datum;
use common::error::Report;
use common::ids::{CatalogVersion, Timestamp};
use common::sqlstate::SqlState;
use common::types::SqlType;
use datafusion::physical_plan::ExecutionPlan;
use functions::context::SessionSettings;
use parking_lot::Mutex;
use sql::parse::ParsedStatement;

use crate::coordinator::{ConnectedSession, Coordinator};
use crate::execute::{read_only, transaction_control};
use crate::isolation::Modes;
use crate::prepared::Prepared;
use crate::result::StatementResult;
use crate::schema_changes::SchemaChanges;
use crate::schema_view::SchemaView;
use crate::sequences::SequenceMemory;
use crate::session_locks::SessionLocks;
use crate::settings::Settings;
use crate::settings_scope::SettingsScope;
use crate::transaction_block::TransactionBlock;

/// Statements that a session may hold prepared.
pub const PREPARED_MAX: usize = 10_000;

/// Where a plan that ran is left for whoever wants to tell of it.
pub type ObservedPlan = Arc<Mutex<Option<Arc<dyn ExecutionPlan>>>>;

/// A client's session.
pub struct Session {
    pub coordinator: Arc<Coordinator>,
    pub connected: Arc<ConnectedSession>,
    pub settings: Settings,
    /// What `set_config` has set while a statement ran; the session takes it over before it does anything else.
    pub set_by_functions: Arc<Mutex<Vec<(String, String)>>>,
    /// SQL PREPARE and the protocol's Parse share one name space, as in PostgreSQL.
    pub prepared: HashMap<String, Arc<Prepared>>,
    pub transaction: TransactionBlock,
    /// Its advisory locks.
    pub locks: Arc<SessionLocks>,
    /// What the end of the block, or of a savepoint, does to the settings.
    pub settings_scope: SettingsScope,
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
    /// For each savepoint, how many of these changes came before it.
    pub schema_marks: Vec<usize>,
}

impl Session {
    /// A session for a client that was admitted.
    pub fn new(coordinator: Arc<Coordinator>, connected: Arc<ConnectedSession>, settings: Settings) -> Self {
        Self {
            locks: SessionLocks::new(&coordinator, connected.pid),
            coordinator,
            connected,
            settings,
            set_by_functions: Arc::default(),
            prepared: HashMap::new(),
            transaction: TransactionBlock::default(),
            settings_scope: SettingsScope::default(),
            last_commit: Timestamp::MIN,
            notices: Vec::new(),
            observed_plan: None,
            sequences: Arc::default(),
            schema_changes: None,
            schema_marks: Vec::new(),
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
        self.schema_marks.clear();
        match self.schema_changes.take() {
            None => self.transaction.commit(version).await,
            Some(changes) => Box::pin(self.commit_with(&changes, version)).await,
        }
    }

    async fn commit_with(&mut self, changes: &SchemaChanges, version: CatalogVersion) -> Result<Option<Timestamp>, Report> {
        let made = changes.settled(&self.sequences);
        let participants = self.transaction.voters();
        if participants.is_empty() {
            // What was locked for the changes stays locked until they are there.
            let published = changes.publish(made).await;
            self.transaction.rollback().await;
            return published.map(|()| None);
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

    /// A savepoint: schema changes from here on can be undone alone.
    pub fn mark_schema(&mut self) {
        self.schema_marks.push(self.schema_changes.as_ref().map_or(0, |changes| changes.len()));
    }

    /// Undoes the schema changes that came after a savepoint, which stays.
    pub async fn roll_back_schema_to(&mut self, place: usize) -> Result<(), Report> {
        self.schema_marks.truncate(place + 1);
        match (&self.schema_changes, self.schema_marks.last()) {
            (Some(changes), Some(length)) => Box::pin(changes.back_to(*length)).await,
            _ => Ok(()),
        }
    }

    /// Ends the open transaction without its work.
    pub async fn rollback(&mut self) {
        self.schema_marks.clear();
        self.transaction.rollback().await;
        if let Some(changes) = self.schema_changes.take() {
            Box::pin(changes.discard()).await;
            self.sequences.forget_own();
        }
    }

    /// The settings that expressions read, for a statement that begins now.
    pub fn expression_settings(&self) -> SessionSettings {
        let now = self.coordinator.clock.unix_micros();
        let transaction_micros = self.transaction.began_micros().unwrap_or(now);
        let settings = self.settings.for_expressions(&self.connected, transaction_micros, now);
        SessionSettings { types: Arc::clone(self.state().user_types()), ..settings }
    }

    /// Binds a statement; `declared` are the parameter types that the client gave.
    pub fn prepare(&self, statement: &ParsedStatement, declared: Vec<Option<SqlType>>) -> Result<Arc<Prepared>, Report> {
        self.refuse_in_failed_block(statement)?;
        self.coordinator.statements.get_or_bind(self, statement, declared)
    }

    /// Takes over what functions have set.
    pub fn take_over_settings(&mut self) {
        for (name, value) in std::mem::take(&mut *self.set_by_functions.lock()) {
            // The function has checked it.
            if let Err(report) = self.settings.set(&name, &value) {
                self.notices.push(report);
            }
        }
    }

    /// Runs a bound statement with its parameters' values.
    pub async fn execute(&mut self, prepared: &Arc<Prepared>, parameters: Vec<Datum>) -> Result<StatementResult, Report> {
        self.take_over_settings();
        self.refuse_in_failed_block(&prepared.statement)?;
        let current = self.refreshed(prepared)?;
        let kind = transaction_control::StatementKind::of(&current.bound.statement);
        // A statement by itself that keeps a snapshot, or whose reads are validated, is a block of one statement.
        let is_alone = kind.queries() && self.settings.default_modes().isolation.keeps_snapshot() && self.open_block(true);
        let result = match read_only::check(self, &current.bound) {
            Ok(()) => self.run(&current, parameters, kind).await,
            Err(refused) => Err(refused),
        };
        match result {
            Ok(result) if is_alone && !result.goes_on() => {
                transaction_control::end_implicit(self, true).await?;
                Ok(result)
            }
            Ok(result) => Ok(result),
            Err(error) => {
                self.transaction.statement_failed();
                Err(error)
            }
        }
    }

    async fn run(
        &mut self,
        prepared: &Arc<Prepared>,
        parameters: Vec<Datum>,
        kind: transaction_control::StatementKind,
    ) -> Result<StatementResult, Report> {
        if kind.queries() {
            let coordinator = Arc::clone(&self.coordinator);
            self.transaction.begin_query(&coordinator).await?;
        }
        crate::execute::execute(self, prepared, parameters).await
    }

    /// Opens a block, unless there is one; answers whether it did.
    pub fn open_block(&mut self, implicit: bool) -> bool {
        let now = self.coordinator.clock.unix_micros();
        let opened = self.transaction.open(now, implicit, self.settings.default_modes());
        if opened {
            self.settings_scope.begin();
        }
        opened
    }

    /// The modes of the transaction, or those that the next one will have.
    pub fn modes(&self) -> Modes {
        self.transaction.modes().unwrap_or_else(|| self.settings.default_modes())
    }

    /// The settings with those that follow the transaction.
    pub fn shown_settings(&self) -> Settings {
        let mut settings = self.settings.clone();
        if self.modes() == Modes::default() {
            return settings;
        }
        for name in ["transaction_isolation", "transaction_read_only", "transaction_deferrable"] {
            // A value that is shown is one that can be set.
            let _ = self.show(name).and_then(|value| settings.set(name, &value));
        }
        settings
    }

    /// Changes settings, for the session or (`local`) for what is left of the block.
    pub fn change_settings(&mut self, local: bool, change: impl Fn(&mut Settings) -> Result<(), Report>) -> Result<(), Report> {
        self.settings_scope.change(&mut self.settings, local, change)
    }

    /// The value that SHOW prints.
    pub fn show(&self, name: &str) -> Result<String, Report> {
        let modes = self.modes();
        let on_off = |on: bool| Ok(if on { "on" } else { "off" }.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "transaction_isolation" => Ok(modes.isolation.name().to_owned()),
            "transaction_read_only" => on_off(modes.read_only),
            "transaction_deferrable" => on_off(modes.deferrable),
            _ => self.settings.show(name),
        }
    }

    /// Lets go of the advisory locks of a transaction that has ended.
    pub async fn end_transaction_locks(&mut self) {
        if !self.transaction.keeps_locks()
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
