//! A sequence as a relation: one row, read when the scan is planned.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use common::ids::Oid;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use query::context::StatementContext;

use super::context::SystemContext;

/// The provider of one sequence's row.
#[derive(Debug)]
pub(super) struct SequenceRow {
    sequence: Oid,
    schema: SchemaRef,
}

impl SequenceRow {
    pub(super) fn new(sequence: Oid) -> Self {
        let field = |name: &str, ty: DataType| Field::new(name, ty, true);
        let fields = vec![field("last_value", DataType::Int64), field("log_cnt", DataType::Int64), field("is_called", DataType::Boolean)];
        Self { sequence, schema: Arc::new(Schema::new(fields)) }
    }
}

#[async_trait]
impl TableProvider for SequenceRow {
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
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let internal = |message: &str| DataFusionError::Internal(message.to_owned());
        let statement = state.config().get_extension::<StatementContext>().ok_or_else(|| internal("no statement reads the sequence"))?;
        let lookup = statement.lookup.as_deref().map(|lookup| lookup as &dyn Any);
        let system = lookup.and_then(|lookup| lookup.downcast_ref::<SystemContext>());
        let system = system.ok_or_else(|| internal("a sequence is read outside of a coordinator"))?;
        let raise = |report| DataFusionError::External(Box::new(report));
        let reader = system.sequence_reader().map_err(raise)?;
        let sequence = statement.catalog.sequence(self.sequence).ok_or_else(|| raise(catalog::sequences::missing(self.sequence)))?;
        let standing = reader.standing(&sequence).await.map_err(raise)?;
        let columns: [ArrayRef; 3] = [
            Arc::new(Int64Array::from(vec![standing.last])),
            Arc::new(Int64Array::from(vec![i64::from(standing.ahead)])),
            Arc::new(BooleanArray::from(vec![standing.is_called])),
        ];
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..columns.len()).collect());
        let schema = Arc::new(self.schema.project(&wanted)?);
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let arrays = wanted.iter().map(|at| Arc::clone(&columns[*at])).collect();
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options)?;
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None)?)
    }
}
