//! Rows that a statement's plans read and the coordinator has: what its WITH parts returned, and what it is about to write.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use common::columns::array_from;
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::types::SqlType;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use query::context::StatementContext;
use sql::bound::WRITTEN_ROWS;
use sql::given_rows::{fill_in, schema_of};

use crate::execute::query::{collect_rows, run_plan};
use crate::session::Session;

/// Memory that the rows of one plan over given rows may take.
const ROWS_BYTES_MAX: usize = 512 << 20;

/// What the plans of one statement read besides tables: its snapshot, the rows of its parts, its parameters.
pub struct Given<'a> {
    pub context: Arc<StatementContext>,
    pub parameter_types: &'a [SqlType],
    pub parameters: &'a [Datum],
    parts: HashMap<String, Arc<dyn TableSource>>,
}

impl<'a> Given<'a> {
    /// Nothing but the snapshot and the parameters.
    pub fn new(context: Arc<StatementContext>, parameter_types: &'a [SqlType], parameters: &'a [Datum]) -> Self {
        Self { context, parameter_types, parameters, parts: HashMap::new() }
    }

    /// Adds the rows of a part.
    pub fn add(&mut self, name: &str, types: &[SqlType], rows: &[Vec<Datum>]) -> Result<(), Report> {
        self.parts.insert(name.to_owned(), source_of(types, rows)?);
        Ok(())
    }

    /// The plan with the parts' rows in it.
    pub fn fill(&self, plan: &LogicalPlan) -> Result<LogicalPlan, Report> {
        if self.parts.is_empty() {
            return Ok(plan.clone());
        }
        fill_in(plan, &self.parts).map_err(|e| query::errors::report(&e))
    }

    /// All rows of a plan, as values of these types.
    pub async fn rows(&self, session: &Session, plan: &LogicalPlan, types: &[SqlType]) -> Result<Vec<Vec<Datum>>, Report> {
        let plan = self.fill(plan)?;
        let stream = run_plan(session, &self.context, &plan, self.parameter_types, self.parameters).await?;
        collect_rows(stream, types, ROWS_BYTES_MAX).await
    }

    /// The same for a plan over rows that are being written.
    pub async fn over_written(
        &self,
        session: &Session,
        plan: &LogicalPlan,
        written: (&[SqlType], &[Vec<Datum>]),
        types: &[SqlType],
    ) -> Result<Vec<Vec<Datum>>, Report> {
        let source = HashMap::from([(WRITTEN_ROWS.to_owned(), source_of(written.0, written.1)?)]);
        let plan = fill_in(plan, &source).map_err(|e| query::errors::report(&e))?;
        self.rows(session, &plan, types).await
    }
}

fn source_of(types: &[SqlType], rows: &[Vec<Datum>]) -> Result<Arc<dyn TableSource>, Report> {
    let schema = schema_of(types);
    let mut arrays = Vec::with_capacity(types.len());
    for (at, ty) in types.iter().enumerate() {
        arrays.push(array_from(*ty, rows.iter().map(|row| &row[at])).map_err(|e| e.report())?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)
        .map_err(|e| Report::internal(format!("given rows do not fit their types: {e}")))?;
    let table = MemTable::try_new(schema, vec![vec![batch]]).map_err(|e| query::errors::report(&e))?;
    Ok(provider_as_source(Arc::new(table)))
}
