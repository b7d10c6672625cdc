//! The loop of one client: a message comes, is carried out, and the next one comes.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use common::error::Report;
use common::sqlstate::SqlState;
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use sql::bound::BoundStatement;

use crate::coordinator::{ConnectedSession, SessionState};
use crate::execute::transaction_control::end_implicit;
use crate::prepared::Prepared;
use crate::session::Session;
use crate::wire::connection::{Connection, ConnectionError, NoticeSeverity};
use crate::wire::guard::{Failure, shut_down};
use crate::wire::portal::Portal;

/// A client and its connection.
pub(super) struct Client {
    pub(super) connection: Connection,
    pub(super) session: Session,
    pub(super) portals: HashMap<String, Portal>,
    /// What the client was told of the settings that it is told of.
    reported: Vec<(&'static str, String)>,
    /// An extended statement has failed: messages up to the next Sync are passed over.
    skipping: bool,
}

impl Client {
    pub(super) fn new(connection: Connection, session: Session) -> Self {
        let reported = session.settings.reported().collect();
        Self { connection, session, portals: HashMap::new(), reported, skipping: false }
    }

    pub(super) fn connected(&self) -> Arc<ConnectedSession> {
        Arc::clone(&self.session.connected)
    }

    /// Serves the client until it goes or has to go.
    pub(super) async fn run(mut self) -> io::Result<()> {
        match self.serve().await {
            Ok(()) => Ok(()),
            Err(ConnectionError::Io(error)) => Err(error),
            Err(ConnectionError::Fatal(report)) => self.connection.farewell(&report).await,
        }
    }

    async fn serve(&mut self) -> Result<(), ConnectionError> {
        loop {
            let Some(message) = self.next_message().await? else { return Ok(()) };
            self.session.take_over_settings();
            match message {
                PgWireFrontendMessage::Terminate(_) => return Ok(()),
                PgWireFrontendMessage::Sync(_) => self.sync().await?,
                _ if self.skipping => {}
                PgWireFrontendMessage::Query(query) => Box::pin(self.simple_query(&query.query)).await?,
                PgWireFrontendMessage::Parse(parse) => {
                    let result = self.parse(parse);
                    self.or_skip(result.map_err(Failure::from))?;
                }
                PgWireFrontendMessage::Bind(bind) => {
                    let result = self.bind(bind);
                    self.or_skip(result.map_err(Failure::from))?;
                }
                PgWireFrontendMessage::Describe(describe) => {
                    let result = self.describe(describe.target_type, describe.name.as_deref().unwrap_or_default());
                    self.or_skip(result.map_err(Failure::from))?;
                }
                PgWireFrontendMessage::Execute(execute) => {
                    let result = self.execute(execute).await;
                    self.or_skip(result)?;
                }
                PgWireFrontendMessage::Close(close) => {
                    let result = self.close(close.target_type, close.name.as_deref().unwrap_or_default());
                    self.or_skip(result.map_err(Failure::from))?;
                }
                PgWireFrontendMessage::Flush(_) => self.connection.flush().await?,
                // What is left of a COPY that has failed.
                PgWireFrontendMessage::CopyData(_) | PgWireFrontendMessage::CopyDone(_) | PgWireFrontendMessage::CopyFail(_) => {}
                PgWireFrontendMessage::SslNegotiation(_)
                | PgWireFrontendMessage::Startup(_)
                | PgWireFrontendMessage::CancelRequest(_)
                | PgWireFrontendMessage::PasswordMessageFamily(_)
                | PgWireFrontendMessage::PortalSuspended(_) => return Err(ConnectionError::violation("unexpected message type")),
            }
        }
    }

    /// The next message, unless the client is idle for too long or its connection is ended.
    async fn next_message(&mut self) -> Result<Option<PgWireFrontendMessage>, ConnectionError> {
        let timeouts = self.session.settings.timeouts();
        let in_block = self.session.transaction.is_explicit();
        let limit = if in_block { timeouts.idle_in_transaction } else { timeouts.idle };
        let too_long = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let report = tokio::select! {
            biased;
            message = self.connection.receive() => return message,
            () = self.session.connected.connection.cancelled() => shut_down(),
            () = too_long => match in_block {
                true => Report::new(SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, "terminating connection due to idle-in-transaction timeout"),
                false => Report::new(SqlState::IDLE_SESSION_TIMEOUT, "terminating connection due to idle-session timeout"),
            },
        };
        Err(ConnectionError::Fatal(Box::new(report)))
    }

    /// Tells a failure of an extended statement; the rest up to Sync is passed over.
    fn or_skip(&mut self, result: Result<(), Failure>) -> Result<(), ConnectionError> {
        match result {
            Ok(()) => Ok(()),
            Err(Failure::Connection(error)) => Err(error),
            Err(Failure::Statement(report)) => {
                self.failed(&report);
                self.skipping = true;
                Ok(())
            }
        }
    }

    /// A statement failed: the client is told, and an open block takes nothing more.
    pub(super) fn failed(&mut self, report: &Report) {
        self.session.transaction.statement_failed();
        self.put_notices();
        self.connection.put_error(report, false);
    }

    async fn sync(&mut self) -> Result<(), ConnectionError> {
        let succeeded = !std::mem::take(&mut self.skipping);
        self.end_statements(succeeded).await;
        Ok(())
    }

    /// The end of a simple query or of a pipeline: what they did together commits, and the client may send the next.
    pub(super) async fn end_statements(&mut self, succeeded: bool) {
        if let Err(report) = Box::pin(end_implicit(&mut self.session, succeeded)).await {
            self.failed(&report);
        }
        self.session.end_transaction_locks().await;
        if !self.session.transaction.is_explicit() {
            self.portals.clear();
        }
        self.put_notices();
        let status = match (self.session.transaction.is_explicit(), self.session.transaction.is_failed()) {
            (true, true) => TransactionStatus::Error,
            (true, false) => TransactionStatus::Transaction,
            (false, _) => TransactionStatus::Idle,
        };
        let began = self.session.transaction.began_micros();
        let state = match status {
            TransactionStatus::Idle => SessionState::Idle,
            TransactionStatus::Transaction => SessionState::IdleInTransaction,
            TransactionStatus::Error => SessionState::IdleInFailedTransaction,
        };
        self.session.connected.activity.lock().rest(state, began, self.session.coordinator.clock.unix_micros());
        self.connection.put(&PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status)));
        self.connection.flush_soon();
    }

    /// Sends the notices that statements have left.
    pub(super) fn put_notices(&mut self) {
        self.session.notices.extend(self.session.locks.take_warnings());
        if self.session.notices.is_empty() {
            return;
        }
        let wanted = self.session.settings.show("client_min_messages").unwrap_or_default();
        for notice in std::mem::take(&mut self.session.notices) {
            let severity = NoticeSeverity::of(&notice);
            if severity.is_wanted(&wanted) {
                self.connection.put_notice(&notice, severity);
            }
        }
    }

    /// Tells the end of a statement, and the settings that it has changed.
    pub(super) fn complete(&mut self, prepared: &Prepared, tag: Option<String>) {
        self.put_notices();
        if matches!(prepared.bound.statement, BoundStatement::Utility(_)) {
            self.put_changed_settings();
        }
        self.connection.put(&match tag {
            Some(tag) => PgWireBackendMessage::CommandComplete(CommandComplete::new(tag)),
            None => PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()),
        });
    }

    fn put_changed_settings(&mut self) {
        let now: Vec<(&'static str, String)> = self.session.settings.reported().collect();
        for (name, value) in now.iter().zip(&self.reported).filter(|(now, before)| now != before).map(|(now, _)| now) {
            self.connection.put(&PgWireBackendMessage::ParameterStatus(ParameterStatus::new((*name).to_owned(), value.clone())));
        }
        self.reported = now;
    }
}
