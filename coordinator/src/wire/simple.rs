//! The simple protocol: a text of statements, run one after the other, rows as text.

use std::sync::Arc;

use common::datum::Datum;
use common::error::Report;
use common::sqlstate::SqlState;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::EmptyQueryResponse;

use crate::prepared::Prepared;
use crate::wire::client::Client;
use crate::wire::connection::ConnectionError;
use crate::wire::guard::Failure;
use crate::wire::portal::{Formats, Portal, describe};

impl Client {
    /// Runs a text of statements. Several commit together, unless they say otherwise.
    pub(super) async fn simple_query(&mut self, text: &str) -> Result<(), ConnectionError> {
        self.session.prepared.remove("");
        self.portals.remove("");
        let succeeded = match self.run_statements(text).await {
            Ok(()) => true,
            Err(Failure::Connection(error)) => return Err(error),
            Err(Failure::Statement(report)) => {
                self.failed(&report);
                false
            }
        };
        self.end_statements(succeeded).await;
        Ok(())
    }

    async fn run_statements(&mut self, text: &str) -> Result<(), Failure> {
        if !self.session.transaction.is_failed()
            && let Some((prepared, values)) = self.session.coordinator.statements.get_or_lift(&self.session, text)
        {
            return self.run_whole(prepared, values).await;
        }
        let statements = self.session.coordinator.statements.get_or_parse(text)?;
        if statements.is_empty() {
            self.connection.put(&PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()));
        }
        for statement in statements.iter() {
            if statements.len() > 1 {
                self.session.open_block(true);
            }
            let prepared = self.session.prepare(statement, Vec::new())?;
            if !prepared.bound.parameters.is_empty() {
                return Err(Report::new(SqlState::UNDEFINED_PARAMETER, "there is no parameter $1").into());
            }
            self.run_whole(prepared, Vec::new()).await?;
        }
        Ok(())
    }

    async fn run_whole(&mut self, prepared: Arc<Prepared>, parameters: Vec<Datum>) -> Result<(), Failure> {
        let mut portal = Portal::new(prepared, parameters, Formats::default());
        self.start_portal(&mut portal).await?;
        if let Some(columns) = portal.row_columns() {
            describe(&mut self.connection, columns, &Formats::default());
        }
        self.run_portal(&mut portal, 0).await?;
        Ok(())
    }
}
