//! The extended protocol: Parse, Bind, Describe, Execute, Close. Errors let everything up to the next Sync be passed over.

use std::sync::Arc;

use bytes::Bytes;
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::SqlType;
use common::user_types::UserTypes;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{Bind, BindComplete, CloseComplete, Execute, Parse, ParseComplete};
use sql::parse::ParsedStatement;
use types::{binary, text_input};

use crate::execute::utility;
use crate::prepared::Prepared;
use crate::session::PREPARED_MAX;
use crate::wire::client::Client;
use crate::wire::guard::Failure;
use crate::wire::portal::{Formats, Portal, describe};

/// Portals that a client may have open.
const PORTALS_MAX: usize = 1_000;
/// The oid of `unknown`: a parameter whose type the server shall find out, as 0.
const UNKNOWN: u32 = 705;
/// The kind byte of Sync.
const SYNC: u8 = b'S';

impl Client {
    pub(super) fn parse(&mut self, parse: Parse) -> Result<(), Report> {
        let name = parse.name.unwrap_or_default();
        if !name.is_empty() && self.session.prepared.contains_key(&name) {
            return Err(Report::new(SqlState::DUPLICATE_PREPARED_STATEMENT, format!("prepared statement \"{name}\" already exists")));
        }
        if self.session.prepared.len() >= PREPARED_MAX {
            return Err(Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many prepared statements"));
        }
        let statements = self.session.coordinator.statements.get_or_parse(&parse.query)?;
        let empty;
        let statement = match statements.as_ref() {
            [] => {
                empty = ParsedStatement::empty();
                &empty
            }
            [one] => one,
            _ => return Err(Report::new(SqlState::SYNTAX_ERROR, "cannot insert multiple commands into a prepared statement")),
        };
        let types = Arc::clone(self.session.state().user_types());
        let declared = parse.type_oids.iter().map(|oid| declared_type(*oid, &types)).collect::<Result<_, _>>()?;
        let prepared = self.session.prepare(statement, declared)?;
        self.session.prepared.insert(name, prepared);
        self.put_notices();
        self.connection.put(&PgWireBackendMessage::ParseComplete(ParseComplete::new()));
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<Arc<Prepared>, Report> {
        self.session.prepared.get(name).cloned().ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Report::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
        })
    }

    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Report> {
        let prepared = self.statement(bind.statement_name.as_deref().unwrap_or_default())?;
        self.session.refuse_in_failed_block(&prepared.statement)?;
        let portal = bind.portal_name.unwrap_or_default();
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(Report::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{portal}\" already exists")));
        }
        if self.portals.len() >= PORTALS_MAX {
            return Err(Report::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many open portals"));
        }
        let violation = |message: String| Report::new(SqlState::PROTOCOL_VIOLATION, message);
        let formats = Formats::new(bind.parameter_format_codes)?;
        let (given, types) = (bind.parameters.len(), &prepared.bound.parameters);
        if formats.len() > 1 && formats.len() != given {
            return Err(violation(format!("bind message has {} parameter formats but {given} parameters", formats.len())));
        }
        if given != types.len() {
            let name = bind.statement_name.unwrap_or_default();
            let needed = types.len();
            return Err(violation(format!(
                "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {needed}"
            )));
        }
        let result_formats = Formats::new(bind.result_column_format_codes)?;
        let columns = prepared.columns().len();
        if result_formats.len() > 1 && result_formats.len() != columns {
            return Err(violation(format!("bind message has {} result formats but query has {columns} columns", result_formats.len())));
        }
        let mut values = Vec::with_capacity(given);
        for (at, (bytes, ty)) in bind.parameters.iter().zip(types).enumerate() {
            values.push(self.parameter(at, bytes.as_ref(), *ty, formats.is_binary(at))?);
        }
        self.portals.insert(portal, Portal::new(prepared, values, result_formats));
        self.connection.put(&PgWireBackendMessage::BindComplete(BindComplete::new()));
        Ok(())
    }

    fn parameter(&self, at: usize, bytes: Option<&Bytes>, ty: SqlType, is_binary: bool) -> Result<Datum, Report> {
        let Some(bytes) = bytes else { return Ok(Datum::Null) };
        let value = if is_binary {
            binary::parse(bytes, ty)
        } else {
            binary::read_text(bytes).and_then(|text| text_input::parse(text, ty, self.session.settings.format()))
        };
        value.map_err(|error| {
            let mut report = error.report();
            report.context = Some(format!("unnamed portal parameter ${}", at + 1));
            report
        })
    }

    pub(super) fn describe(&mut self, kind: u8, name: &str) -> Result<(), Report> {
        let (prepared, formats) = match kind {
            b'S' => {
                let prepared = self.statement(name)?;
                let types = prepared.bound.parameters.iter().map(|ty| ty.oid().0).collect();
                self.connection.put(&PgWireBackendMessage::ParameterDescription(ParameterDescription::new(types)));
                (prepared, Formats::default())
            }
            b'P' => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (Arc::clone(&portal.prepared), portal.formats.clone())
            }
            other => return Err(Report::new(SqlState::PROTOCOL_VIOLATION, format!("invalid DESCRIBE message subtype {other}"))),
        };
        let columns = utility::described_columns(&self.session, &prepared);
        if columns.is_empty() && !prepared.returns_rows() {
            self.connection.put(&PgWireBackendMessage::NoData(NoData::new()));
        } else {
            describe(&mut self.connection, &columns, &formats);
        }
        Ok(())
    }

    pub(super) async fn execute(&mut self, execute: Execute) -> Result<(), Failure> {
        let name = execute.name.unwrap_or_default();
        let mut portal = self.portals.remove(&name).ok_or_else(|| no_portal(&name))?;
        // What is sent before the same Sync commits together; a statement that a Sync follows at once needs no block for that.
        if !self.connection.next_is(SYNC) {
            self.session.open_block(true);
        }
        let max_rows = u64::try_from(execute.max_rows).unwrap_or(0);
        let result = Box::pin(self.run_portal(&mut portal, max_rows)).await;
        if result.is_ok() {
            self.portals.insert(name, portal);
        }
        result
    }

    pub(super) fn close(&mut self, kind: u8, name: &str) -> Result<(), Report> {
        match kind {
            b'S' => _ = self.session.prepared.remove(name),
            b'P' => _ = self.portals.remove(name),
            other => return Err(Report::new(SqlState::PROTOCOL_VIOLATION, format!("invalid CLOSE message subtype {other}"))),
        }
        self.connection.put(&PgWireBackendMessage::CloseComplete(CloseComplete::new()));
        Ok(())
    }
}

fn no_portal(name: &str) -> Report {
    Report::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}

/// A parameter's type as the client declared it; `None` leaves it to the statement.
fn declared_type(oid: u32, types: &UserTypes) -> Result<Option<SqlType>, Report> {
    if oid == 0 || oid == UNKNOWN {
        return Ok(None);
    }
    SqlType::from_oid(Oid(oid))
        .or_else(|| types.value_type(Oid(oid)))
        .map(Some)
        .ok_or_else(|| Report::new(SqlState::UNDEFINED_OBJECT, format!("type with OID {oid} is not supported for a parameter")))
}
