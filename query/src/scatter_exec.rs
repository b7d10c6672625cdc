//! Sends a fragment to each owner of its data and gathers the batches.
//!
//! Output partition i is output partition i of the fragment, run by the worker that owns what it reads. In one process the fragment and its
//! batches pass without a copy; otherwise the fragment travels as bytes, encoded once.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use common::ids::WorkerId;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use rpc::worker_api::{FragmentPlan, FragmentRequest, PartitionRef};

use crate::access::Route;
use crate::codec;
use crate::context::StatementContext;
use crate::errors::raise;

/// Who runs one output partition.
#[derive(Clone, Debug)]
pub struct Target {
    pub worker: WorkerId,
    /// The partitions that it reads, for the owner's check.
    pub partitions: Vec<PartitionRef>,
}

/// A fragment in one process.
pub(crate) struct LocalFragment(pub(crate) Arc<dyn ExecutionPlan>);

/// The operator.
#[derive(Debug)]
pub struct ScatterExec {
    fragment: Arc<dyn ExecutionPlan>,
    targets: Arc<[Target]>,
    route: Arc<Route>,
    properties: Arc<PlanProperties>,
    encoded: OnceLock<Bytes>,
}

impl ScatterExec {
    /// Runs `fragment`, whose output partitions are the targets', in order.
    pub fn new(fragment: Arc<dyn ExecutionPlan>, targets: Arc<[Target]>, route: Arc<Route>) -> Self {
        let properties = PlanProperties::new(
            fragment.properties().eq_properties.clone(),
            Partitioning::UnknownPartitioning(targets.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { fragment, targets, route, properties: Arc::new(properties), encoded: OnceLock::new() }
    }

    /// The same with an operator more in its fragment.
    pub fn with_fragment(&self, fragment: Arc<dyn ExecutionPlan>) -> Self {
        Self::new(fragment, Arc::clone(&self.targets), Arc::clone(&self.route))
    }

    /// What runs beside the data.
    pub fn fragment(&self) -> &Arc<dyn ExecutionPlan> {
        &self.fragment
    }

    /// What EXPLAIN tells.
    pub fn route(&self) -> &Route {
        &self.route
    }

    fn encoded(&self) -> Result<Bytes> {
        if let Some(bytes) = self.encoded.get() {
            return Ok(bytes.clone());
        }
        let bytes = codec::encode(&self.fragment)?;
        Ok(self.encoded.get_or_init(|| bytes).clone())
    }
}

impl DisplayAs for ScatterExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { read, total, workers, what, why, .. } = self.route.as_ref();
        write!(f, "ScatterExec: {what}, {read} of {total} partitions, workers={workers} ({why})")
    }
}

impl ExecutionPlan for ScatterExec {
    fn name(&self) -> &'static str {
        "ScatterExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    // The fragment is no child: rules for the coordinator's part of the plan must not look into it.
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let statement = context
            .session_config()
            .get_extension::<StatementContext>()
            .ok_or_else(|| DataFusionError::Internal("a scatter runs outside of a statement".into()))?;
        let target = &self.targets[partition];
        let plan = if statement.directory.is_local(target.worker) {
            FragmentPlan::Local(Arc::new(LocalFragment(Arc::clone(&self.fragment))) as Arc<dyn Any + Send + Sync>)
        } else {
            FragmentPlan::Encoded(self.encoded()?)
        };
        let request = FragmentRequest {
            context: statement.read,
            plan,
            partitions: target.partitions.clone(),
            output: u32::try_from(partition).unwrap_or(u32::MAX),
            settings: statement.settings.to_bytes().into(),
        };
        let worker = statement.directory.worker(target.worker).map_err(raise)?;
        let stream = futures::stream::once(async move { worker.fragment(request).await.map_err(raise) })
            .map_ok(|batches| batches.map_err(raise))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream.boxed())))
    }
}
