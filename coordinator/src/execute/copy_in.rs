//! COPY … FROM STDIN: chunks of data become rows of a table.

use std::sync::Arc;

use common::datum::Datum;
use common::error::{Report, SqlError};
use common::sqlstate::SqlState;
use common::types::SqlType;
use functions::context::CatalogLookup;
use sqlparser::ast::{CopySource, CopyTarget, Statement};
use types::copy::{CopyFormat, CopyReader, CopyRow};
use types::error::ValueError;
use types::format_settings::FormatSettings;
use types::{binary, text_input};

use crate::execute::copy_options::copy_options;
use crate::execute::copy_target::CopyTable;
use crate::execute::insert::RowWriter;
use crate::row_expression::RowExpression;
use crate::session::Session;
use crate::system_views::SystemContext;
use crate::target_table::TargetTable;

/// A line is shown in an error's context up to this many bytes, as in PostgreSQL.
const SHOWN_BYTES_MAX: usize = 100;

/// Where a visible column's value comes from.
enum Source {
    Field(usize),
    Default(Option<RowExpression>),
}

/// A COPY that takes data.
pub struct CopyIn {
    reader: CopyReader,
    rows: RowDecoder,
    writer: RowWriter,
}

/// From the fields of the data to visible rows.
struct RowDecoder {
    target: Arc<TargetTable>,
    format: CopyFormat,
    /// For each visible column.
    sources: Vec<Source>,
    /// For each field of the data: the name and type of its column.
    fields: Vec<(String, SqlType)>,
}

/// Checks the statement and makes ready for the data.
pub fn begin(session: &Session, tree: &Statement) -> Result<CopyIn, Report> {
    let Statement::Copy { source, target, options, legacy_options, values, .. } = tree else {
        return Err(Report::internal("COPY FROM without its statement"));
    };
    let CopySource::Table { table_name, columns } = source else {
        return Err(Report::new(SqlState::SYNTAX_ERROR, "COPY query must not be used with FROM"));
    };
    if *target != CopyTarget::Stdin {
        return Err(Report::unsupported("COPY from a file or program on the server"));
    }
    if !values.is_empty() {
        return Err(Report::unsupported("COPY data inside of a statement's text"));
    }
    let table = CopyTable::find(session, table_name, columns)?;
    let settings = session.expression_settings();
    let view = session.view();
    let target = view.target_table(table.relation.oid, &settings)?.ok_or_else(|| Report::internal("the target of a COPY has gone"))?;
    let lookup: Arc<dyn CatalogLookup> = Arc::new(SystemContext::new(session, &view));
    let mut sources = Vec::with_capacity(table.relation.columns.len());
    for (visible, column) in table.relation.columns.iter().enumerate() {
        sources.push(match (table.columns.iter().position(|at| *at == visible), &column.default) {
            (Some(field), _) => Source::Field(field),
            (None, None) => Source::Default(None),
            (None, Some(text)) => {
                let bound = sql::bind_expression(text, &[], column.ty, &settings).map_err(|e| e.report())?;
                Source::Default(Some(RowExpression::compile_here(&bound.expr, column.ty, &settings, Arc::clone(&lookup))?))
            }
        });
    }
    let fields: Vec<(String, SqlType)> =
        table.columns.iter().map(|at| (table.relation.columns[*at].name.clone(), table.relation.columns[*at].ty)).collect();
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    let options = copy_options(options, legacy_options, &names)?;
    let format = options.format;
    let reader = CopyReader::new(options, fields.len());
    let rows = RowDecoder { target: Arc::clone(&target), format, sources, fields };
    Ok(CopyIn { reader, rows, writer: RowWriter::new(target) })
}

impl CopyIn {
    /// The format of the data.
    pub fn format(&self) -> CopyFormat {
        self.rows.format
    }

    /// Columns in the data.
    pub fn columns(&self) -> usize {
        self.rows.fields.len()
    }

    /// Takes the next piece of the data.
    pub async fn push(&mut self, session: &mut Session, chunk: &[u8]) -> Result<(), Report> {
        self.reader.push(chunk);
        self.take_rows(session, false).await
    }

    /// The end of the data: answers how many rows there were.
    pub async fn finish(mut self, session: &mut Session) -> Result<u64, Report> {
        self.take_rows(session, true).await?;
        self.writer.finish(session).await
    }

    async fn take_rows(&mut self, session: &mut Session, at_end: bool) -> Result<(), Report> {
        loop {
            let line = self.reader.line() + 1;
            let row = if at_end { self.reader.finish() } else { self.reader.next_row() };
            let row = match row {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(()),
                Err(error) => return Err(self.rows.with_line(error.report(), line, None)),
            };
            let visible = match self.rows.visible(&row, session.settings.format()) {
                Ok(visible) => visible,
                Err((report, field)) => {
                    let format = self.rows.format;
                    let context = match field {
                        Some(field) => context_of_field(self.rows.fields[field].0.as_str(), row.bytes(field), format),
                        None => context_of_line(row.line(), format),
                    };
                    return Err(self.rows.with_line(report, self.reader.line(), Some(context)));
                }
            };
            if let Err(report) = self.writer.add(session, visible).await {
                let shown = context_of_line(row.line(), self.rows.format);
                return Err(self.rows.with_line(report, self.reader.line(), Some(shown)));
            }
        }
    }
}

fn context_of_field(column: &str, bytes: Option<&[u8]>, format: CopyFormat) -> String {
    match (bytes, format) {
        (Some(bytes), CopyFormat::Text | CopyFormat::Csv) => format!(", column {column}: \"{}\"", shown(bytes)),
        (None, CopyFormat::Text | CopyFormat::Csv) => format!(", column {column}: null input"),
        (_, CopyFormat::Binary) => format!(", column {column}"),
    }
}

fn context_of_line(line: &[u8], format: CopyFormat) -> String {
    if format == CopyFormat::Binary { String::new() } else { format!(": \"{}\"", shown(line)) }
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(SHOWN_BYTES_MAX) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text.into_owned(),
    }
}

impl RowDecoder {
    fn with_line(&self, mut report: Report, line: u64, rest: Option<String>) -> Report {
        if report.context.is_none() {
            report.context = Some(format!("COPY {}, line {line}{}", self.target.table.name, rest.unwrap_or_default()));
        }
        report
    }

    /// The visible row of a row of the data; with an error the field that is at fault.
    fn visible(&self, row: &CopyRow<'_>, settings: &FormatSettings) -> Result<Vec<Datum>, (Report, Option<usize>)> {
        let bad = |message: String| (Report::new(SqlState::BAD_COPY_FILE_FORMAT, message), None);
        if self.format == CopyFormat::Binary && row.len() != self.fields.len() {
            return Err(bad(format!("row field count is {}, expected {}", row.len(), self.fields.len())));
        }
        if row.len() > self.fields.len() {
            return Err(bad("extra data after last expected column".to_owned()));
        }
        if let Some((name, _)) = self.fields.get(row.len()) {
            return Err(bad(format!("missing data for column \"{name}\"")));
        }
        let mut visible = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            visible.push(match source {
                Source::Field(field) => self.value(row, *field, settings).map_err(|error| (error.report(), Some(*field)))?,
                Source::Default(None) => Datum::Null,
                Source::Default(Some(default)) => default.evaluate(&[], &[]).map_err(|report| (report, None))?,
            });
        }
        Ok(visible)
    }

    #[inline]
    fn value(&self, row: &CopyRow<'_>, field: usize, settings: &FormatSettings) -> Result<Datum, ValueError> {
        let ty = self.fields[field].1;
        if self.format == CopyFormat::Binary {
            return row.bytes(field).map_or(Ok(Datum::Null), |bytes| binary::parse(bytes, ty));
        }
        row.text(field)?.map_or(Ok(Datum::Null), |text| text_input::parse(text, ty, settings))
    }
}
