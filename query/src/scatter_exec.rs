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
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, replace_children_if_necessary};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::LocalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt};
use rpc::worker_api::{FragmentPlan, FragmentRequest, PartitionRef};

use crate::access::Route;
use crate::codec;
use crate::context::StatementContext;
use crate::errors::raise;
use crate::layout::{Layout, Slot, in_slots};
use crate::read_log::ReadLog;
use crate::scan_exec::ScanExec;

/// Who runs one output partition.
#[derive(Clone, Debug)]
pub struct Target {
    pub worker: WorkerId,
    /// The partitions that it reads, for the owner's check.
    pub partitions: Vec<PartitionRef>,
}

impl Target {
    /// A worker and the partitions that it reads, each named once.
    pub fn new(worker: WorkerId, partitions: impl Iterator<Item = PartitionRef>) -> Self {
        let mut named: Vec<PartitionRef> = Vec::new();
        for partition in partitions {
            if !named.contains(&partition) {
                named.push(partition);
            }
        }
        Self { worker, partitions: named }
    }
}

/// A fragment in one process.
pub(crate) struct LocalFragment(pub(crate) Arc<dyn ExecutionPlan>);

/// Two fragments in the same streams.
pub struct Beside {
    pub left: Arc<dyn ExecutionPlan>,
    pub right: Arc<dyn ExecutionPlan>,
    pub places: (Arc<[Slot]>, Arc<[Target]>),
    pub routes: Vec<Arc<Route>>,
}

/// The operator.
#[derive(Debug)]
pub struct ScatterExec {
    fragment: Arc<dyn ExecutionPlan>,
    targets: Arc<[Target]>,
    /// The streams, one for each target.
    slots: Arc<[Slot]>,
    /// What the streams have to do with partition columns, when they have.
    layout: Option<Layout>,
    /// One for each table that is read.
    routes: Vec<Arc<Route>>,
    properties: Arc<PlanProperties>,
    encoded: OnceLock<Bytes>,
}

impl ScatterExec {
    /// Runs `fragment`, whose output partitions are the targets', in order.
    pub fn new(
        fragment: Arc<dyn ExecutionPlan>,
        (slots, targets): (Arc<[Slot]>, Arc<[Target]>),
        layout: Option<Layout>,
        routes: Vec<Arc<Route>>,
    ) -> Self {
        let properties = PlanProperties::new(
            fragment.properties().eq_properties.clone(),
            Partitioning::UnknownPartitioning(targets.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { fragment, targets, slots, layout, routes, properties: Arc::new(properties), encoded: OnceLock::new() }
    }

    /// The same with an operator more in its fragment.
    pub fn with_fragment(&self, fragment: Arc<dyn ExecutionPlan>, layout: Option<Layout>) -> Self {
        Self::new(fragment, (Arc::clone(&self.slots), Arc::clone(&self.targets)), layout, self.routes.clone())
    }

    /// Both fragments in the same streams: the slots of either side, who runs them, and the fragments.
    pub fn beside(&self, other: &Self) -> Result<Beside> {
        let mut slots: Vec<Slot> = self.slots.iter().chain(other.slots.iter()).copied().collect();
        slots.sort_unstable();
        slots.dedup();
        let of = |side: &Self, slot: &Slot| {
            side.slots.iter().position(|s| s == slot).map(|at| side.targets[at].partitions.clone()).unwrap_or_default()
        };
        let targets = slots.iter().map(|slot| Target::new(slot.0, of(self, slot).into_iter().chain(of(other, slot)))).collect();
        let left = in_slots(&self.fragment, &self.slots, &slots)?;
        let right = in_slots(&other.fragment, &other.slots, &slots)?;
        let routes = self.routes.iter().chain(&other.routes).cloned().collect();
        Ok(Beside { left, right, places: (slots.into(), targets), routes })
    }

    /// What runs beside the data.
    pub fn fragment(&self) -> &Arc<dyn ExecutionPlan> {
        &self.fragment
    }

    /// What the streams have to do with partition columns.
    pub fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// What EXPLAIN tells, for each table.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    fn encoded(&self) -> Result<Bytes> {
        if let Some(bytes) = self.encoded.get() {
            return Ok(bytes.clone());
        }
        let bytes = codec::encode(&self.fragment)?;
        Ok(self.encoded.get_or_init(|| bytes).clone())
    }
}

/// Notes what the scans of one stream of a fragment read. A scan that is cut otherwise than the fragment is noted whole.
fn note_reads(fragment: &Arc<dyn ExecutionPlan>, stream: usize, streams: usize, target: &Target, reads: &ReadLog) {
    if let Some(scan) = fragment.downcast_ref::<ScanExec>() {
        let spec = scan.spec();
        let all = spec.streams.iter().enumerate().filter(|(at, _)| *at == stream || spec.streams.len() != streams);
        for piece in all.flat_map(|(_, pieces)| pieces).filter(|piece| target.partitions.contains(&piece.partition)) {
            reads.add_piece(target.worker, spec, piece);
        }
    }
    for child in fragment.children() {
        note_reads(child, stream, streams, target, reads);
    }
}

/// The fragment with its scan the other way round, when nothing above the scan minds.
fn reversed(fragment: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    if let Some(scan) = fragment.downcast_ref::<ScanExec>() {
        return scan.reversed().filter(|_| scan.spec().limit.is_none()).map(|scan| Arc::new(scan) as Arc<dyn ExecutionPlan>);
    }
    let is_transparent =
        fragment.downcast_ref::<FilterExec>().is_some_and(|f| f.fetch().is_none()) || fragment.downcast_ref::<ProjectionExec>().is_some();
    match fragment.children().as_slice() {
        [child] if is_transparent => replace_children_if_necessary(Arc::clone(fragment), vec![reversed(child)?]).ok(),
        _ => None,
    }
}

impl DisplayAs for ScatterExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScatterExec: streams={}", self.targets.len())
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

    fn fetch(&self) -> Option<usize> {
        self.fragment.fetch()
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let fragment = match (self.fragment.with_fetch(limit), limit) {
            (Some(fragment), _) => fragment,
            (None, Some(limit)) => Arc::new(LocalLimitExec::new(Arc::clone(&self.fragment), limit)),
            (None, None) => return None,
        };
        Some(Arc::new(self.with_fragment(fragment, self.layout.clone())))
    }

    fn try_pushdown_sort(&self, order: &[PhysicalSortExpr]) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        let reversed = reversed(&self.fragment);
        let wanted = LexOrdering::new(order.iter().cloned());
        let (Some(fragment), Some(wanted)) = (reversed, wanted) else { return Ok(SortOrderPushdownResult::Unsupported) };
        if !fragment.properties().eq_properties.ordering_satisfy(wanted)? {
            return Ok(SortOrderPushdownResult::Unsupported);
        }
        Ok(SortOrderPushdownResult::Exact { inner: Arc::new(self.with_fragment(fragment, self.layout.clone())) })
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let statement = context
            .session_config()
            .get_extension::<StatementContext>()
            .ok_or_else(|| DataFusionError::Internal("a scatter runs outside of a statement".into()))?;
        let target = &self.targets[partition];
        if let Some(reads) = &statement.reads {
            note_reads(&self.fragment, partition, self.targets.len(), target, reads);
        }
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
