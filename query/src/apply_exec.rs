//! Runs an [`Apply`]: the dependent plan once for each set of outer values.
//!
//! The values of the input's rows are looked up among the answers that are there; for new ones the outer columns of the dependent plan become
//! constants, so that its scans read only the partitions that these leave, and several run at the same time. Answers are kept while there is memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use common::error::Report;
use common::sqlstate::SqlState;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array, new_null_array};
use datafusion::arrow::compute::{concat_batches, take};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery, UserDefinedLogicalNode};
use datafusion::optimizer::Optimizer;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, execute_stream};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt};

use crate::apply::{Apply, ApplyKind, seal};
use crate::errors::raise;

/// Dependent plans that run at the same time.
const RUNNING_MAX: usize = 8;
/// Rows of one batch that the operator gives, about.
const BATCH_ROWS: usize = 8_192;

/// Makes operators of applies.
pub(crate) struct ApplyPlanner {
    pub(crate) simplifier: Arc<Optimizer>,
}

#[async_trait::async_trait]
impl ExtensionPlanner for ApplyPlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _: &datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(apply) = node.as_any().downcast_ref::<Apply>() else { return Ok(None) };
        let [input] = inputs else { return Err(DataFusionError::Internal("an apply that is not sealed".into())) };
        let session = session
            .as_any()
            .downcast_ref::<SessionState>()
            .ok_or_else(|| DataFusionError::Internal("an apply is planned by a foreign session".into()))?;
        let dependent = Dependent {
            plan: Arc::clone(&apply.dependent),
            columns: apply.outer_columns()?,
            session: Arc::new(session.clone()),
            simplifier: Arc::clone(&self.simplifier),
        };
        let schema = Arc::clone(apply_schema(apply).inner());
        let guard = match &apply.guard {
            Some(guard) => Some(session.create_physical_expr(guard.clone(), apply.input.schema())?),
            None => None,
        };
        Ok(Some(Arc::new(ApplyExec::new(Arc::clone(input), Arc::new(dependent), apply.kind, guard, schema))))
    }
}

fn apply_schema(apply: &Apply) -> &datafusion::common::DFSchemaRef {
    UserDefinedLogicalNode::schema(apply)
}

/// The dependent plan.
pub(crate) struct Dependent {
    plan: Arc<LogicalPlan>,
    /// The input's columns that it names.
    columns: Vec<(Column, usize)>,
    session: Arc<SessionState>,
    simplifier: Arc<Optimizer>,
}

impl fmt::Debug for Dependent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependent").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Dependent {
    /// Starts it with these values.
    async fn start(&self, values: &[ScalarValue], task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let by_column = self.columns.iter().map(|(column, _)| column).zip(values).collect();
        let plan = with_values(LogicalPlan::clone(&self.plan), &by_column)?;
        let plan = self.simplifier.optimize(plan, self.session.as_ref(), |_, _| {})?;
        let plan = self.session.query_planner().create_physical_plan(&seal(plan)?, self.session.as_ref()).await?;
        execute_stream(plan, task)
    }
}

/// The plan with outer columns as constants.
fn with_values(plan: LogicalPlan, values: &HashMap<&Column, &ScalarValue>) -> Result<LogicalPlan> {
    let is_known = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(_, column) if values.contains_key(column));
    let without = |subquery: Subquery| Subquery {
        outer_ref_columns: subquery.outer_ref_columns.into_iter().filter(|e| !is_known(e)).collect(),
        ..subquery
    };
    let constant = |expr: Expr| {
        Ok(match expr {
            Expr::OuterReferenceColumn(_, column) if values.contains_key(&column) => {
                Transformed::yes(Expr::Literal(values[&column].clone(), None))
            }
            Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(without(subquery))),
            Expr::Exists(mut exists) => {
                exists.subquery = without(exists.subquery);
                Transformed::yes(Expr::Exists(exists))
            }
            Expr::InSubquery(mut within) => {
                within.subquery = without(within.subquery);
                Transformed::yes(Expr::InSubquery(within))
            }
            other => Transformed::no(other),
        })
    };
    let replaced = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(constant)?.update_data(|expr| name.restore(expr)))
        })?;
        if changed.transformed { changed.map_data(LogicalPlan::recompute_schema) } else { Ok(changed) }
    })?;
    Ok(replaced.data)
}

/// The operator.
#[derive(Debug)]
pub(crate) struct ApplyExec {
    input: Arc<dyn ExecutionPlan>,
    dependent: Arc<Dependent>,
    kind: ApplyKind,
    guard: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl ApplyExec {
    fn new(
        input: Arc<dyn ExecutionPlan>,
        dependent: Arc<Dependent>,
        kind: ApplyKind,
        guard: Option<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Self {
        let order = input.output_ordering().cloned();
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(Arc::clone(&schema), order),
            datafusion::physical_plan::Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, dependent, kind, guard, schema, properties: Arc::new(properties) }
    }

    /// The dependent plan, for EXPLAIN.
    pub(crate) fn dependent(&self) -> &LogicalPlan {
        &self.dependent.plan
    }

    /// The outer columns that it depends on.
    pub(crate) fn outer_names(&self) -> impl Iterator<Item = String> {
        self.dependent.columns.iter().map(|(column, _)| column.name.clone())
    }

    pub(crate) fn kind(&self) -> ApplyKind {
        self.kind
    }
}

impl DisplayAs for ApplyExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApplyExec: {:?}", self.kind)
    }
}

impl ExecutionPlan for ApplyExec {
    fn name(&self) -> &'static str {
        "ApplyExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("an apply has an input".into()))?;
        Ok(Arc::new(Self::new(input, Arc::clone(&self.dependent), self.kind, self.guard.clone(), Arc::clone(&self.schema))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let memory = MemoryConsumer::new("Apply").register(context.memory_pool());
        let running = Running {
            dependent: Arc::clone(&self.dependent),
            kind: self.kind,
            guard: self.guard.clone(),
            schema: Arc::clone(&self.schema),
            task: context,
            answers: HashMap::new(),
            memory,
        };
        let rows = futures::stream::try_unfold((input, running), |(mut input, mut running)| async move {
            match input.try_next().await? {
                None => Ok(None),
                Some(batch) => {
                    let batches = running.answer(&batch).await?;
                    Ok::<_, DataFusionError>(Some((futures::stream::iter(batches.into_iter().map(Ok)), (input, running))))
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.try_flatten().boxed())))
    }
}

/// What the dependent plan said to some values.
#[derive(Clone)]
enum Answer {
    Value(ScalarValue),
    Exists(bool),
    Rows(RecordBatch),
}

impl Answer {
    fn bytes(&self) -> usize {
        match self {
            Self::Value(value) => value.size(),
            Self::Exists(_) => 1,
            Self::Rows(batch) => batch.get_array_memory_size(),
        }
    }
}

/// One output partition at work.
struct Running {
    dependent: Arc<Dependent>,
    kind: ApplyKind,
    guard: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    task: Arc<TaskContext>,
    answers: HashMap<Vec<ScalarValue>, Arc<Answer>>,
    memory: MemoryReservation,
}

impl Running {
    async fn answer(&mut self, batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
        let is_asked = self.asked(batch)?;
        let mut keys = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let columns = self.dependent.columns.iter();
            let key = columns.map(|(_, at)| ScalarValue::try_from_array(batch.column(*at), row)).collect::<Result<Vec<_>>>()?;
            keys.push(is_asked.as_ref().is_none_or(|asked| asked.is_valid(row) && asked.value(row)).then_some(key));
        }
        let mut known: HashMap<&[ScalarValue], Arc<Answer>> = HashMap::new();
        let mut asked: Vec<Vec<ScalarValue>> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for key in keys.iter().flatten() {
            match self.answers.get(key) {
                Some(answer) => {
                    known.insert(key, Arc::clone(answer));
                }
                None if seen.insert(key.as_slice()) => asked.push(key.clone()),
                None => {}
            }
        }
        let (dependent, kind, task) = (&self.dependent, self.kind, &self.task);
        let calls = asked.into_iter().map(|key| async move {
            let rows = dependent.start(&key, Arc::clone(task)).await?;
            Ok::<_, DataFusionError>((key, Arc::new(collect(kind, rows).await?)))
        });
        let new: Vec<(Vec<ScalarValue>, Arc<Answer>)> = futures::stream::iter(calls).buffered(RUNNING_MAX).try_collect().await?;
        for (key, answer) in &new {
            known.insert(key, Arc::clone(answer));
        }
        let unasked = self.unasked()?;
        let answer = |key: &Option<Vec<ScalarValue>>| match key {
            Some(key) => known.get(key.as_slice()).cloned(),
            None => Some(Arc::clone(&unasked)),
        };
        let answers: Option<Vec<Arc<Answer>>> = keys.iter().map(answer).collect();
        let answers = answers.ok_or_else(|| DataFusionError::Internal("a row of an apply has no answer".into()))?;
        drop(known);
        self.keep(new);
        self.output(batch, &answers)
    }

    /// Which rows need an answer; `None`: all.
    fn asked(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let Some(guard) = &self.guard else { return Ok(None) };
        let holds = guard.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(Some(holds.as_boolean().clone()))
    }

    /// The answer of the other rows.
    fn unasked(&self) -> Result<Arc<Answer>> {
        let last = self.schema.fields().last().map(|field| field.data_type());
        Ok(Arc::new(match (self.kind, last) {
            (ApplyKind::Value, Some(ty)) => Answer::Value(ScalarValue::try_from(ty)?),
            _ => Answer::Exists(false),
        }))
    }

    /// Keeps answers for rows to come; without memory for them, drops all that were kept.
    fn keep(&mut self, new: Vec<(Vec<ScalarValue>, Arc<Answer>)>) {
        let bytes: usize = new.iter().map(|(key, answer)| answer.bytes() + key.iter().map(ScalarValue::size).sum::<usize>() + 64).sum();
        if self.memory.try_grow(bytes).is_ok() {
            self.answers.extend(new);
        } else {
            self.answers.clear();
            self.memory.free();
        }
    }

    fn output(&self, batch: &RecordBatch, answers: &[Arc<Answer>]) -> Result<Vec<RecordBatch>> {
        let mut columns = batch.columns().to_vec();
        match self.kind {
            ApplyKind::Value => {
                let values: Vec<ScalarValue> = answers
                    .iter()
                    .filter_map(|answer| if let Answer::Value(value) = answer.as_ref() { Some(value.clone()) } else { None })
                    .collect();
                if values.is_empty() {
                    return Ok(Vec::new());
                }
                columns.push(ScalarValue::iter_to_array(values)?);
            }
            ApplyKind::Exists => {
                let found: BooleanArray = answers.iter().map(|answer| Some(matches!(answer.as_ref(), Answer::Exists(true)))).collect();
                columns.push(Arc::new(found));
            }
            ApplyKind::Inner | ApplyKind::Left => return self.joined(batch, answers),
        }
        Ok(vec![RecordBatch::try_new(Arc::clone(&self.schema), columns)?])
    }

    /// Each row beside its answer's rows.
    fn joined(&self, batch: &RecordBatch, answers: &[Arc<Answer>]) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let (mut places, mut rights) = (Vec::new(), Vec::new());
        for (row, answer) in (0_u64..).zip(answers) {
            let Answer::Rows(right) = answer.as_ref() else { continue };
            if right.num_rows() > 0 {
                places.extend(std::iter::repeat_n(row, right.num_rows()));
                rights.push(right.clone());
            } else if self.kind == ApplyKind::Left {
                places.push(row);
                let nulls: Vec<ArrayRef> = right.schema().fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
                rights.push(RecordBatch::try_new_with_options(
                    nullable(&right.schema()),
                    nulls,
                    &RecordBatchOptions::new().with_row_count(Some(1)),
                )?);
            }
            if places.len() >= BATCH_ROWS {
                batches.push(self.beside(batch, std::mem::take(&mut places), &std::mem::take(&mut rights))?);
            }
        }
        if !places.is_empty() {
            batches.push(self.beside(batch, places, &rights)?);
        }
        Ok(batches)
    }

    fn beside(&self, batch: &RecordBatch, places: Vec<u64>, rights: &[RecordBatch]) -> Result<RecordBatch> {
        let count = places.len();
        let places = UInt64Array::from(places);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for column in batch.columns() {
            columns.push(take(column.as_ref(), &places, None)?);
        }
        let right_schema = nullable(&rights[0].schema());
        columns.extend(concat_batches(&right_schema, rights)?.columns().iter().cloned());
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    use datafusion::arrow::datatypes::{Field, Schema};
    Arc::new(Schema::new(schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<Field>>()))
}

/// Reads as much of the rows as the kind needs.
async fn collect(kind: ApplyKind, mut rows: SendableRecordBatchStream) -> Result<Answer> {
    let schema = rows.schema();
    match kind {
        ApplyKind::Exists => {
            while let Some(batch) = rows.try_next().await? {
                if batch.num_rows() > 0 {
                    return Ok(Answer::Exists(true));
                }
            }
            Ok(Answer::Exists(false))
        }
        ApplyKind::Value => {
            let mut value = None;
            while let Some(batch) = rows.try_next().await? {
                if batch.num_rows() > 1 || (batch.num_rows() == 1 && value.is_some()) {
                    let message = "more than one row returned by a subquery used as an expression";
                    return Err(raise(Report::new(SqlState::CARDINALITY_VIOLATION, message)));
                }
                if batch.num_rows() == 1 {
                    value = Some(ScalarValue::try_from_array(batch.column(0), 0)?);
                }
            }
            let empty = || ScalarValue::try_from(schema.field(0).data_type());
            Ok(Answer::Value(value.map_or_else(empty, Ok)?))
        }
        ApplyKind::Inner | ApplyKind::Left => {
            let batches: Vec<RecordBatch> = rows.try_collect().await?;
            Ok(Answer::Rows(concat_batches(&schema, &batches)?))
        }
    }
}

/// The planner that knows applies.
pub(crate) struct QueryPlanner {
    planner: DefaultPhysicalPlanner,
}

impl QueryPlanner {
    pub(crate) fn new(simplifier: Arc<Optimizer>) -> Self {
        Self { planner: DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(ApplyPlanner { simplifier })]) }
    }
}

impl fmt::Debug for QueryPlanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryPlanner").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl datafusion::execution::context::QueryPlanner for QueryPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        self.planner.create_physical_plan(plan, session).await
    }
}
