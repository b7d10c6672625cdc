//! The data of COPY: chunks from the client into a table, rows of a query to the client.

use arrow::array::Array;
use common::error::Report;
use common::sqlstate::SqlState;
use futures::StreamExt;
use pgwire::messages::copy::{CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use types::copy::{CopyFormat, CopyWriter};

use crate::execute::copy_in::CopyIn;
use crate::execute::copy_out::CopyOut;
use crate::prepared::Prepared;
use crate::wire::client::Client;
use crate::wire::connection::{ConnectionError, FLUSH_BYTES};
use crate::wire::guard::{Failure, Guard, shut_down};
use crate::wire::rows::ValueWriter;

/// Overall format, number of columns and their formats, as the messages that begin a COPY tell them.
fn shape(format: CopyFormat, columns: usize) -> (i8, i16, Vec<i16>) {
    let code = i8::from(format == CopyFormat::Binary);
    let count = i16::try_from(columns).unwrap_or(i16::MAX);
    (code, count, vec![i16::from(code); columns])
}

impl Client {
    /// COPY … FROM STDIN.
    pub(super) async fn copy_in(&mut self, prepared: &Prepared, mut copy: CopyIn) -> Result<(), Failure> {
        let (format, count, formats) = shape(copy.format(), copy.columns());
        self.connection.put(&PgWireBackendMessage::CopyInResponse(CopyInResponse::new(format, count, formats)));
        self.connection.flush().await?;
        let guard = Guard::new(&self.session, true);
        loop {
            match self.next_of_copy().await? {
                PgWireFrontendMessage::CopyData(data) => {
                    guard.run(&mut self.connection, copy.push(&mut self.session, &data.data)).await?;
                }
                PgWireFrontendMessage::CopyDone(_) => break,
                PgWireFrontendMessage::CopyFail(failure) => {
                    return Err(Report::new(SqlState::QUERY_CANCELED, format!("COPY from stdin failed: {}", failure.message)).into());
                }
                PgWireFrontendMessage::Flush(_) | PgWireFrontendMessage::Sync(_) => {}
                _ => return Err(ConnectionError::violation("unexpected message type during COPY from stdin").into()),
            }
        }
        let count = guard.run(&mut self.connection, Box::pin(copy.finish(&mut self.session))).await?;
        self.complete(prepared, Some(format!("COPY {count}")));
        Ok(())
    }

    async fn next_of_copy(&mut self) -> Result<PgWireFrontendMessage, Failure> {
        let cancelled = {
            let token = self.session.connected.statement.lock();
            token.clone()
        };
        let message = tokio::select! {
            biased;
            message = self.connection.receive() => message?,
            () = self.session.connected.connection.cancelled() => return Err(ConnectionError::Fatal(Box::new(shut_down())).into()),
            () = cancelled.cancelled() => {
                return Err(Report::new(SqlState::QUERY_CANCELED, "canceling statement due to user request").into());
            }
        };
        message.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
    }

    /// COPY … TO STDOUT.
    pub(super) async fn copy_out(&mut self, prepared: &Prepared, copy: CopyOut) -> Result<(), Failure> {
        let CopyOut { options, columns, mut rows } = copy;
        let (format, count, formats) = shape(options.format, columns.len());
        self.connection.put(&PgWireBackendMessage::CopyOutResponse(CopyOutResponse::new(format, count, formats)));
        let guard = Guard::new(&self.session, false);
        let is_binary = options.format == CopyFormat::Binary;
        let types = columns.iter().map(|c| c.ty).collect();
        let values = ValueWriter::new(types, vec![is_binary; columns.len()], &self.session);
        let mut writer = CopyWriter::new(options);
        self.copy_data(|out| writer.header(columns.iter().map(|c| c.name.as_str()), out));
        let (mut count, mut scratch, mut spans) = (0_u64, Vec::new(), Vec::new());
        while let Some(batch) = guard.run(&mut self.connection, async { rows.next().await.transpose() }).await? {
            for row in 0..batch.num_rows() {
                scratch.clear();
                spans.clear();
                for (column, array) in batch.columns().iter().enumerate() {
                    let start = scratch.len();
                    if array.is_null(row) {
                        spans.push(None);
                        continue;
                    }
                    values.write_cell(array, row, column, &mut scratch)?;
                    spans.push(Some(start..scratch.len()));
                }
                let fields = spans.iter().map(|span| span.clone().map(|s| &scratch[s]));
                self.copy_data(|out| writer.row(fields, out));
                count += 1;
                if self.connection.pending() >= FLUSH_BYTES {
                    guard.flush_if_much(&mut self.connection).await?;
                }
            }
        }
        self.copy_data(|out| writer.trailer(out));
        self.connection.put(&PgWireBackendMessage::CopyDone(CopyDone::new()));
        self.complete(prepared, Some(format!("COPY {count}")));
        Ok(())
    }

    /// Adds a CopyData message, unless `write` appends nothing.
    fn copy_data(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.connection.put_raw_unless_empty(b'd', write);
    }
}
