//! What may end a statement before its time: a cancel request, a time limit, the end of the connection or of the node.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::error::Report;
use common::sqlstate::SqlState;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::coordinator::Coordinator;
use crate::session::Session;
use crate::wire::connection::{Connection, ConnectionError};

/// A statement that writes is given this long to end by itself: it may be committing, and its client must be told what became of it.
const WRITE_GRACE: Duration = Duration::from_millis(500);

/// Why a statement did not end well.
#[derive(Debug)]
pub(super) enum Failure {
    /// The statement failed; the connection goes on.
    Statement(Box<Report>),
    /// The connection ends.
    Connection(ConnectionError),
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Statement(Box::new(report))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Connection(error.into())
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

/// A running statement's limits.
pub(super) struct Guard {
    cancel: CancellationToken,
    end: CancellationToken,
    deadline: Option<Instant>,
    writes: bool,
    coordinator: Arc<Coordinator>,
    session: i32,
}

impl Guard {
    /// For a statement that begins now. A cancel request that came before has no effect, as in PostgreSQL.
    pub(super) fn new(session: &Session, writes: bool) -> Self {
        let cancel = {
            let mut token = session.connected.statement.lock();
            if token.is_cancelled() {
                *token = CancellationToken::new();
            }
            token.clone()
        };
        let deadline = session.settings.timeouts().statement.map(|limit| Instant::now() + limit);
        Self {
            cancel,
            end: session.connected.connection.clone(),
            deadline,
            writes,
            coordinator: Arc::clone(&session.coordinator),
            session: session.connected.pid,
        }
    }

    /// Runs a step of the statement to its end, or to the first thing that ends it. The connection is watched meanwhile.
    pub(super) async fn run<T>(&self, connection: &mut Connection, work: impl Future<Output = Result<T, Report>>) -> Result<T, Failure> {
        tokio::pin!(work);
        let report = tokio::select! {
            biased;
            result = &mut work => return result.map_err(Failure::from),
            // A statement that computes uses up what tokio lets a task do at a time; what ends it must be looked at all the same.
            report = tokio::task::unconstrained(self.ended()) => report,
            () = tokio::task::unconstrained(connection.closed()) => return Err(gone()),
        };
        if !self.writes {
            return Err(self.failure(report));
        }
        // One that waits for a lock commits nothing: its wait ends at once.
        let waits_end = self.coordinator.cancel_waits(self.session);
        let ending = async { tokio::join!(work, waits_end).0 };
        match tokio::time::timeout(WRITE_GRACE, ending).await {
            Ok(Err(error)) if error.sqlstate == SqlState::QUERY_CANCELED => Err(self.failure(report)),
            Ok(result) => result.map_err(Failure::from),
            Err(_) => Err(self.failure(report)),
        }
    }

    /// Sends what is in the output, as long as the statement may run.
    pub(super) async fn flush_if_much(&self, connection: &mut Connection) -> Result<(), Failure> {
        let report = tokio::select! {
            biased;
            sent = connection.flush_if_much() => return Ok(sent?),
            report = self.ended() => report,
        };
        Err(self.failure(report))
    }

    fn failure(&self, report: Report) -> Failure {
        if self.end.is_cancelled() { ConnectionError::Fatal(Box::new(report)).into() } else { report.into() }
    }

    async fn ended(&self) -> Report {
        let too_late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.end.cancelled() => shut_down(),
            () = self.cancel.cancelled() => Report::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"),
            () = too_late => Report::new(SqlState::QUERY_CANCELED, "canceling statement due to statement timeout"),
        }
    }
}

/// What a client is told when its connection is ended from this side.
pub(super) fn shut_down() -> Report {
    Report::new(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command")
}

fn gone() -> Failure {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the client has gone while its statement ran").into()
}
