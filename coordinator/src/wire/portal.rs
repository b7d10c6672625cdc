//! A portal: a statement with its parameters' values, and its result as far as it was sent.

use std::sync::Arc;

use common::datum::Datum;
use common::error::Report;
use common::sqlstate::SqlState;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::extendedquery::PortalSuspended;
use sql::bound::{BoundStatement, OutputColumn};

use crate::prepared::Prepared;
use crate::result::{RowsTag, StatementResult};
use crate::wire::client::Client;
use crate::wire::connection::Connection;
use crate::wire::guard::{Failure, Guard};
use crate::wire::rows::RowCursor;

/// Which columns go out in binary: none, all (one code), or each by its own code.
#[derive(Clone, Debug, Default)]
pub(super) struct Formats(Vec<i16>);

impl Formats {
    /// 22023 for a code that is neither text (0) nor binary (1).
    pub(super) fn new(codes: Vec<i16>) -> Result<Self, Report> {
        match codes.iter().find(|code| !matches!(code, 0 | 1)) {
            Some(code) => Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, format!("unsupported format code: {code}"))),
            None => Ok(Self(codes)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_binary(&self, column: usize) -> bool {
        let code = if self.0.len() == 1 { self.0.first() } else { self.0.get(column) };
        code == Some(&1)
    }
}

enum State {
    Ready(Vec<Datum>),
    Started(Box<StatementResult>),
    Rows { cursor: Box<RowCursor>, tag: RowsTag },
    Done { was_query: bool },
}

/// A portal.
pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    pub(super) formats: Formats,
    guard: Option<Guard>,
    state: State,
}

impl Portal {
    pub(super) fn new(prepared: Arc<Prepared>, parameters: Vec<Datum>, formats: Formats) -> Self {
        Self { prepared, formats, guard: None, state: State::Ready(parameters) }
    }

    /// The columns of the result that was started, if it has rows.
    pub(super) fn row_columns(&self) -> Option<&Arc<[OutputColumn]>> {
        match &self.state {
            State::Started(result) => match result.as_ref() {
                StatementResult::Rows { columns, .. } => Some(columns),
                _ => None,
            },
            State::Ready(_) | State::Rows { .. } | State::Done { .. } => None,
        }
    }
}

/// Whether a statement may change something that outlives it.
fn writes(prepared: &Prepared) -> bool {
    !prepared.bound.locking.is_empty() || !matches!(prepared.bound.statement, BoundStatement::Query { .. } | BoundStatement::Explain { .. })
}

/// Adds a RowDescription.
pub(super) fn describe(connection: &mut Connection, columns: &[OutputColumn], formats: &Formats) {
    let fields = columns.iter().enumerate().map(|(at, column)| {
        let (table, attnum) = column.origin.map_or((0, 0), |(oid, attnum)| (oid.0.cast_signed(), attnum));
        let width = if column.ty.is_array { -1 } else { column.ty.scalar.width() };
        let format = i16::from(formats.is_binary(at));
        FieldDescription::new(column.name.clone(), table, attnum, column.ty.oid().0, width, column.ty.typmod, format)
    });
    connection.put(&PgWireBackendMessage::RowDescription(RowDescription::new(fields.collect())));
}

impl Client {
    /// Runs a portal's statement up to its first result.
    pub(super) async fn start_portal(&mut self, portal: &mut Portal) -> Result<(), Failure> {
        let State::Ready(parameters) = &mut portal.state else { return Ok(()) };
        let parameters = std::mem::take(parameters);
        let guard = Guard::new(&self.session, writes(&portal.prepared));
        let (began, now) = (self.session.transaction.began_micros(), self.session.coordinator.clock.unix_micros());
        self.session.connected.activity.lock().begin(portal.prepared.statement.shared_text(), began, now);
        let work = self.session.execute(&portal.prepared, parameters);
        let result = guard.run(&mut self.connection, work).await?;
        portal.guard = Some(guard);
        portal.state = State::Started(Box::new(result));
        Ok(())
    }

    /// Sends what a started portal has: at most `max_rows` rows (0: all), then the end or the mark that there is more.
    pub(super) async fn run_portal(&mut self, portal: &mut Portal, max_rows: u64) -> Result<(), Failure> {
        self.start_portal(portal).await?;
        let state = std::mem::replace(&mut portal.state, State::Done { was_query: false });
        let (mut cursor, tag) = match state {
            State::Started(result) => match *result {
                StatementResult::Rows { columns, rows, tag } => {
                    (Box::new(RowCursor::new(rows, columns, &portal.formats, &self.session)), tag)
                }
                StatementResult::Command(tag) => {
                    self.complete(&portal.prepared, Some(tag));
                    return Ok(());
                }
                StatementResult::Empty => {
                    self.complete(&portal.prepared, None);
                    return Ok(());
                }
                StatementResult::CopyIn(copy) => return self.copy_in(&Arc::clone(&portal.prepared), *copy).await,
                StatementResult::CopyOut(copy) => return self.copy_out(&Arc::clone(&portal.prepared), copy).await,
            },
            State::Rows { cursor, tag } => (cursor, tag),
            State::Done { was_query: true } => {
                portal.state = State::Done { was_query: true };
                self.complete(&portal.prepared, Some("SELECT 0".to_owned()));
                return Ok(());
            }
            State::Done { was_query: false } | State::Ready(_) => {
                return Err(Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "portal cannot be run anymore").into());
            }
        };
        let guard = match portal.guard.take() {
            Some(guard) => guard,
            None => Guard::new(&self.session, false),
        };
        let limit = if max_rows == 0 { u64::MAX } else { max_rows };
        let (sent, more) = cursor.send(&mut self.connection, &guard, limit).await?;
        if more {
            portal.state = State::Rows { cursor, tag };
            self.put_notices();
            self.connection.put(&PgWireBackendMessage::PortalSuspended(PortalSuspended::new()));
            return Ok(());
        }
        portal.state = State::Done { was_query: tag == RowsTag::Select };
        let tag = match tag {
            RowsTag::Select => format!("SELECT {sent}"),
            RowsTag::Verb(verb) => format!("{verb} {sent}"),
            RowsTag::Fixed(tag) => tag,
        };
        self.complete(&portal.prepared, Some(tag));
        Ok(())
    }
}
