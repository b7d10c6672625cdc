//! A system relation in a plan: its rows are computed when the scan is planned, from the statement's own catalog state.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use common::columns::array_from;
use common::datum::Datum;
use common::error::SqlError;
use common::types::{Scalar, SqlType};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use query::context::StatementContext;
use sql::schema::TABLE_OID;

use super::context::SystemContext;
use super::definitions::SystemRelation;
use super::rows::{Reading, Row, RowSource};

/// The provider of one system relation.
pub(super) struct SystemView {
    relation: &'static SystemRelation,
    schema: SchemaRef,
}

impl SystemView {
    pub(super) fn new(relation: &'static SystemRelation) -> Self {
        let mut fields: Vec<Field> = relation.columns.iter().map(|c| Field::new(c.name, c.ty.arrow(), true)).collect();
        fields.push(Field::new(TABLE_OID, SqlType::from(Scalar::Oid).arrow(), false));
        Self { relation, schema: Arc::new(Schema::new(fields)) }
    }
}

impl std::fmt::Debug for SystemView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SystemView({}.{})", self.relation.schema.name, self.relation.name)
    }
}

#[async_trait]
impl TableProvider for SystemView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let statement = state.config().get_extension::<StatementContext>();
        let statement = statement.ok_or_else(|| DataFusionError::Internal("a system view is planned outside of a statement".into()))?;
        let lookup = statement.lookup.as_deref().map(|lookup| lookup as &dyn Any);
        let system = lookup.and_then(|lookup| lookup.downcast_ref::<SystemContext>());
        let system = system.ok_or_else(|| DataFusionError::Internal("a system view is read outside of a coordinator".into()))?;
        let reading = Reading { catalog: &statement.catalog, system };
        let mut rows = match self.relation.rows {
            RowSource::Empty => Vec::new(),
            RowSource::Computed(rows) => rows(&reading),
            RowSource::Asked(rows) => rows(reading).await,
        };
        rows.truncate(limit.unwrap_or(usize::MAX));
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let batch = batch(self.relation, &self.schema, &wanted, &rows)?;
        let schema = batch.schema();
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?)
    }
}

/// Rows as columns: those that are wanted.
pub(super) fn batch(relation: &SystemRelation, schema: &SchemaRef, wanted: &[usize], rows: &[Row]) -> Result<RecordBatch> {
    let column = |at: &usize| -> Result<ArrayRef> {
        let Some(column) = relation.columns.get(*at) else {
            return Ok(Arc::new(UInt32Array::from(vec![relation.oid.0; rows.len()])));
        };
        let values = rows.iter().map(|row| row.get(*at).unwrap_or(&Datum::Null));
        array_from(column.ty, values)
            .map_err(|e| DataFusionError::Internal(format!("column {} of {}: {}", column.name, relation.name, e.report().message)))
    };
    let arrays = wanted.iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema.project(wanted)?), arrays, &options)?)
}
