//! Rows as DataRow messages, from whichever form they were found in.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use common::columns::{self, cell_field};
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::row::{Field, RowReader};
use common::types::SqlType;
use functions::context::CatalogLookup;
use functions::resolve::{is_registered, object_text};
use futures::StreamExt;
use sql::bound::OutputColumn;
use types::format_settings::FormatSettings;
use types::{binary, text_output};

use crate::result::{ResultStream, Rows, StoredRows};
use crate::session::Session;
use crate::system_views::SystemContext;
use crate::wire::connection::{Connection, FLUSH_BYTES};
use crate::wire::guard::{Failure, Guard};
use crate::wire::portal::Formats;

/// Before a value that is NULL.
const NULL_LENGTH: [u8; 4] = (-1_i32).to_be_bytes();

/// Whether values of a type are oids that are shown by name.
fn names_objects(ty: SqlType) -> bool {
    !ty.is_array && is_registered(ty.scalar)
}

enum Source {
    Stored { rows: StoredRows, next: usize },
    Values(std::vec::IntoIter<Vec<Datum>>),
    Batches { stream: ResultStream, batch: Option<RecordBatch>, next: usize },
}

/// How each value is written.
pub(super) struct ValueWriter {
    types: Vec<SqlType>,
    binary: Vec<bool>,
    settings: FormatSettings,
    /// Who knows the names of objects; only when a column's values are such.
    names: Option<SystemContext>,
}

/// A result and how far it was sent.
pub(super) struct RowCursor {
    source: Source,
    writer: ValueWriter,
}

impl RowCursor {
    pub(super) fn new(rows: Rows, columns: Arc<[OutputColumn]>, formats: &Formats, session: &Session) -> Self {
        let source = match rows {
            Rows::Stored(rows) => Source::Stored { rows, next: 0 },
            Rows::Values(rows) => Source::Values(rows.into_iter()),
            Rows::Batches(stream) => Source::Batches { stream, batch: None, next: 0 },
        };
        let binary = (0..columns.len()).map(|at| formats.is_binary(at)).collect();
        Self { source, writer: ValueWriter::new(columns.iter().map(|c| c.ty).collect(), binary, session) }
    }

    /// Sends at most `limit` rows; answers how many, and whether there may be more.
    pub(super) async fn send(&mut self, connection: &mut Connection, guard: &Guard, limit: u64) -> Result<(u64, bool), Failure> {
        let mut sent = 0;
        while sent < limit {
            match &mut self.source {
                Source::Stored { rows, next } => {
                    let Some(row) = rows.rows.get(*next) else { return Ok((sent, false)) };
                    self.writer.put_stored(connection, rows, row)?;
                    *next += 1;
                    sent += 1;
                }
                Source::Values(values) => {
                    let Some(row) = values.next() else { return Ok((sent, false)) };
                    self.writer.put_values(connection, &row);
                    sent += 1;
                }
                Source::Batches { stream, batch, next } => {
                    let Some(current) = batch else {
                        let arrived = guard.run(connection, async { stream.next().await.transpose() }).await?;
                        if arrived.is_none() {
                            return Ok((sent, false));
                        }
                        (*batch, *next) = (arrived, 0);
                        continue;
                    };
                    let rows = (current.num_rows() - *next).min(usize::try_from(limit - sent).unwrap_or(usize::MAX));
                    let done = self.writer.put_batch(connection, current, *next, rows)?;
                    *next += done;
                    sent += done as u64;
                    if *next >= current.num_rows() {
                        *batch = None;
                    }
                }
            }
            guard.flush_if_much(connection).await?;
        }
        let more = match &self.source {
            Source::Stored { rows, next } => *next < rows.rows.len(),
            Source::Values(values) => values.len() > 0,
            Source::Batches { .. } => true,
        };
        // PostgreSQL suspends a portal that has reached its limit, whether or not there is more.
        Ok((sent, more || limit != u64::MAX))
    }
}

impl ValueWriter {
    pub(super) fn new(types: Vec<SqlType>, binary: Vec<bool>, session: &Session) -> Self {
        let named = types.iter().zip(&binary).any(|(ty, binary)| !binary && names_objects(*ty));
        let names = named.then(|| SystemContext::new(session, &session.view()));
        Self { types, binary, settings: *session.settings.format(), names }
    }

    fn put_row(&self, connection: &mut Connection, body: impl FnOnce(&mut Vec<u8>) -> Result<(), Report>) -> Result<(), Report> {
        let mut result = Ok(());
        connection.put_raw(b'D', |out| {
            out.extend_from_slice(&u16::try_from(self.types.len()).unwrap_or(u16::MAX).to_be_bytes());
            result = body(out);
        });
        result
    }

    fn put_stored(&self, connection: &mut Connection, rows: &StoredRows, row: &[u8]) -> Result<(), Report> {
        // A row's columns are read in their order in the row; the result may show them in another.
        let last = rows.outputs.iter().max().map_or(0, |c| c + 1);
        let mut reader = RowReader::new(row).map_err(|e| e.report())?;
        let mut fields: smallvec::SmallVec<[Option<Field<'_>>; 16]> = smallvec::SmallVec::new();
        for ty in &rows.types[..last] {
            fields.push(reader.next_field(*ty).map_err(|e| e.report())?);
        }
        self.put_row(connection, |out| {
            for (column, &stored) in rows.outputs.iter().enumerate() {
                match &fields[stored] {
                    Some(field) => self.field(field, column, out),
                    None => self.datum(rows.missing.get(stored).unwrap_or(&Datum::Null), column, out),
                }
            }
            Ok(())
        })
    }

    fn put_values(&self, connection: &mut Connection, row: &[Datum]) {
        // Writing values cannot fail.
        let _ = self.put_row(connection, |out| {
            for (column, value) in row.iter().enumerate() {
                self.datum(value, column, out);
            }
            Ok(())
        });
    }

    /// Writes rows of a batch until there is much to send; answers how many.
    fn put_batch(&self, connection: &mut Connection, batch: &RecordBatch, from: usize, rows: usize) -> Result<usize, Report> {
        let mut bytes = 0;
        for done in 0..rows {
            self.put_row(connection, |out| {
                let start = out.len();
                for (column, array) in batch.columns().iter().enumerate() {
                    self.cell(array, from + done, column, out)?;
                }
                bytes += out.len() - start;
                Ok(())
            })?;
            if bytes >= FLUSH_BYTES {
                return Ok(done + 1);
            }
        }
        Ok(rows)
    }

    fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        write(out);
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn field(&self, field: &Field<'_>, column: usize, out: &mut Vec<u8>) {
        if matches!(field, Field::Null) {
            return out.extend_from_slice(&NULL_LENGTH);
        }
        Self::with_length(out, |out| self.write_field(field, self.types[column], column, out));
    }

    fn write_field(&self, field: &Field<'_>, ty: SqlType, column: usize, out: &mut Vec<u8>) {
        if self.binary[column] {
            binary::write_field(field, ty, out);
        } else if let Field::Oid(oid) = field
            && names_objects(ty)
        {
            self.write_name(*oid, ty, out);
        } else {
            text_output::write_field(field, ty, &self.settings, out);
        }
    }

    fn datum(&self, value: &Datum, column: usize, out: &mut Vec<u8>) {
        if value.is_null() {
            return out.extend_from_slice(&NULL_LENGTH);
        }
        Self::with_length(out, |out| self.write_datum(value, column, out));
    }

    fn write_datum(&self, value: &Datum, column: usize, out: &mut Vec<u8>) {
        if self.binary[column] {
            binary::write(value, self.types[column], out);
        } else if let Datum::Oid(oid) = value
            && names_objects(self.types[column])
        {
            self.write_name(*oid, self.types[column], out);
        } else {
            text_output::write(value, self.types[column], &self.settings, out);
        }
    }

    fn write_name(&self, oid: u32, ty: SqlType, out: &mut Vec<u8>) {
        let names = self.names.as_ref().map(|names| names as &dyn CatalogLookup);
        out.extend_from_slice(object_text(oid, ty.scalar, names).as_bytes());
    }

    fn cell(&self, array: &ArrayRef, row: usize, column: usize, out: &mut Vec<u8>) -> Result<(), Report> {
        if array.is_null(row) {
            out.extend_from_slice(&NULL_LENGTH);
            return Ok(());
        }
        let mut result = Ok(());
        Self::with_length(out, |out| result = self.write_cell(array, row, column, out));
        result
    }

    /// Appends the form of a value that is not NULL, without its length.
    pub(super) fn write_cell(&self, array: &ArrayRef, row: usize, column: usize, out: &mut Vec<u8>) -> Result<(), Report> {
        match cell_field(array.as_ref(), row, self.types[column]) {
            Some((field, ty)) => self.write_field(&field, ty, column, out),
            None => {
                let value = columns::cell(array.as_ref(), row, self.types[column]).map_err(|e| e.report())?;
                self.write_datum(&value, column, out);
            }
        }
        Ok(())
    }
}
