//! The leaf beside the data: reads what a [`ScanSpec`] says from the worker that runs it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use rpc::worker_api::ReadContext;

use crate::scan::{ScanPiece, ScanSource, ScanSpec};

/// What a fragment finds on its worker, as an extension of the task's session config.
#[derive(Clone, Debug)]
pub struct FragmentContext {
    pub read: ReadContext,
    pub source: Arc<dyn ScanSource>,
}

/// The leaf. One output partition for each stream of the spec.
#[derive(Debug)]
pub struct ScanExec {
    spec: Arc<ScanSpec>,
    schema: SchemaRef,
    /// The order of each stream.
    order: Option<LexOrdering>,
    properties: Arc<PlanProperties>,
}

impl ScanExec {
    /// A leaf that gives batches of `schema`.
    pub fn new(spec: Arc<ScanSpec>, schema: SchemaRef) -> Self {
        Self::in_order(spec, schema, None)
    }

    /// A leaf each of whose streams is in that order.
    pub fn in_order(spec: Arc<ScanSpec>, schema: SchemaRef, order: Option<LexOrdering>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(Arc::clone(&schema), order.clone()),
            Partitioning::UnknownPartitioning(spec.streams.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { spec, schema, order, properties: Arc::new(properties) }
    }

    /// The order of each stream.
    pub fn order(&self) -> Option<&LexOrdering> {
        self.order.as_ref()
    }

    /// The same with other streams, each in the same order.
    pub fn with_streams(&self, streams: Vec<Vec<ScanPiece>>) -> Self {
        let spec = ScanSpec { streams, ..ScanSpec::clone(&self.spec) };
        Self::in_order(Arc::new(spec), Arc::clone(&self.schema), self.order.clone())
    }

    /// The same the other way round, when it has an order.
    pub fn reversed(&self) -> Option<Self> {
        let order = self.order.as_ref()?.iter().map(|key| PhysicalSortExpr::new(Arc::clone(&key.expr), !key.options));
        let spec = ScanSpec { reverse: !self.spec.reverse, ..ScanSpec::clone(&self.spec) };
        Some(Self::in_order(Arc::new(spec), Arc::clone(&self.schema), LexOrdering::new(order)))
    }

    /// What it reads.
    pub fn spec(&self) -> &Arc<ScanSpec> {
        &self.spec
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanExec: table={}, streams={}", self.spec.table, self.spec.streams.len())?;
        match self.spec.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn fetch(&self) -> Option<usize> {
        self.spec.limit
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let spec = ScanSpec { limit, ..ScanSpec::clone(&self.spec) };
        Some(Arc::new(Self::in_order(Arc::new(spec), Arc::clone(&self.schema), self.order.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let fragment = context
            .session_config()
            .get_extension::<FragmentContext>()
            .ok_or_else(|| DataFusionError::Internal("a scan runs outside of a worker".into()))?;
        fragment.source.open(&self.spec, partition, fragment.read, Arc::clone(&self.schema), &context)
    }
}
