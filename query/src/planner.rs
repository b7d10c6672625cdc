//! A coordinator's way from a bound plan to batches.

use std::sync::Arc;

use common::datum::Datum;
use common::error::{Report, SqlError};
use common::types::SqlType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::eliminate_filter::EliminateFilter;
use datafusion::optimizer::eliminate_limit::EliminateLimit;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use functions::context::CatalogExtension;
use functions::resolve;
use futures::StreamExt;
use rpc::worker_api::BatchStream;

use crate::apply::seal;
use crate::apply_exec::QueryPlanner;
use crate::context::StatementContext;
use crate::correlation::{self, ApplyTheRest, Tolerant};
use crate::errors::report;
use crate::scatter_rule::{Colocate, PushIntoScatter};
use crate::yielding::YieldBetweenBatches;

/// Bytes that a merge of ordered streams may read ahead.
const READ_AHEAD_BYTES: usize = 4 << 20;

/// One shared, trimmed session state, and the memory that statements share.
#[derive(Debug)]
pub struct Planner {
    state: SessionState,
    runtime: Arc<RuntimeEnv>,
    analyzer: Analyzer,
    /// The rules for a plan that is optimised but for its parameters.
    simplifier: Arc<Optimizer>,
}

impl Planner {
    /// A planner whose statements use `memory_bytes_max` together; what is more goes to temporary files.
    pub fn new(memory_bytes_max: usize) -> Result<Self, Report> {
        let pool = Arc::new(FairSpillPool::new(memory_bytes_max));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().map_err(|e| report(&e))?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut config = SessionConfig::new().with_target_partitions(cores.max(2)).with_information_schema(false);
        let options = config.options_mut();
        // A scan's streams are as many as its workers have cores; dealing them round again would only part the operators from the data.
        options.optimizer.enable_round_robin_repartition = false;
        options.optimizer.skip_failed_rules = false;
        // In place of a sort that is not needed, at most this much is read ahead.
        options.execution.sort_pushdown_buffer_capacity = READ_AHEAD_BYTES;
        // The binder has cast everything already.
        let analyzer = Analyzer::with_rules(vec![Arc::new(ResolveGroupingFunction) as Arc<dyn AnalyzerRule + Send + Sync>]);
        let simplifier = Optimizer::with_rules(vec![
            Arc::new(SimplifyExpressions::new()),
            Arc::new(EliminateFilter::new()),
            Arc::new(EliminateLimit::new()),
        ]);
        let simplifier = Arc::new(simplifier);
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&runtime))
            .with_analyzer_rules(Vec::new())
            .with_optimizer_rules(logical_rules())
            .with_query_planner(Arc::new(QueryPlanner::new(Arc::clone(&simplifier))))
            .with_physical_optimizer_rules(physical_rules())
            .build();
        Ok(Self { state, runtime, analyzer, simplifier })
    }

    fn state_for(&self, context: &Arc<StatementContext>) -> SessionState {
        let mut state = self.state.clone();
        *state.config_mut() = self.config_for(context);
        // Functions read their settings from here once they are in operators.
        state.mark_start_execution();
        state
    }

    fn config_for(&self, context: &Arc<StatementContext>) -> SessionConfig {
        let mut config = self.state.config().clone().with_extension(Arc::clone(context));
        let extensions = &mut config.options_mut().extensions;
        extensions.insert(context.settings.clone());
        if let Some(lookup) = &context.lookup {
            extensions.insert(CatalogExtension(Arc::clone(lookup)));
        }
        config
    }

    /// The plan with all logical rules applied. It may keep placeholders. A plan that [`is_cacheable`] says yes to serves other statements too.
    pub fn optimise(&self, plan: &LogicalPlan, context: &Arc<StatementContext>) -> Result<LogicalPlan, Report> {
        let state = self.state_for(context);
        let plan = correlation::prepare(plan.clone())
            .and_then(|plan| self.analyzer.execute_and_check(plan, state.config_options(), |_, _| {}))
            .and_then(|plan| state.optimizer().optimize(plan, &state, |_, _| {}));
        plan.map_err(|e| report(&e))
    }

    /// The plan with values in place of its placeholders.
    ///
    /// Conditions that the values decide are simplified again, so that they choose partitions.
    pub fn bind_parameters(
        &self,
        plan: LogicalPlan,
        types: &[SqlType],
        values: &[Datum],
        context: &Arc<StatementContext>,
    ) -> Result<LogicalPlan, Report> {
        let scalars: Result<Vec<ScalarValue>, Report> =
            types.iter().zip(values).map(|(ty, value)| resolve::scalar_value(value, *ty).map_err(|e| e.report())).collect();
        let bound = plan.with_param_values(ParamValues::from(scalars?)).map_err(|e| report(&e))?;
        let state = self.state_for(context);
        self.simplifier.optimize(bound, &state, |_, _| {}).map_err(|e| report(&e))
    }

    /// The operators.
    pub async fn physical(&self, plan: &LogicalPlan, context: &Arc<StatementContext>) -> Result<Arc<dyn ExecutionPlan>, Report> {
        let state = self.state_for(context);
        let plan = seal(plan.clone()).map_err(|e| report(&e))?;
        state.query_planner().create_physical_plan(&plan, &state).await.map_err(|e| report(&e))
    }

    /// Starts the operators; batches come as they are asked for.
    pub fn execute(&self, plan: Arc<dyn ExecutionPlan>, context: &Arc<StatementContext>) -> Result<BatchStream, Report> {
        let task = TaskContext::default().with_session_config(self.config_for(context)).with_runtime(Arc::clone(&self.runtime));
        let stream = execute_stream(plan, Arc::new(task)).map_err(|e| report(&e))?;
        Ok(stream.map(|batch| batch.map_err(|e| report(&e))).boxed())
    }
}

/// DataFusion's rules; those that turn subqueries into joins are followed by the one that makes applies of what they left.
fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    for rule in Optimizer::new().rules {
        match rule.name() {
            "decorrelate_predicate_subquery" => rules.push(Arc::new(Tolerant(DecorrelatePredicateSubquery::new()))),
            "scalar_subquery_to_join" => rules.push(Arc::new(Tolerant(ScalarSubqueryToJoin::new()))),
            "decorrelate_lateral_join" => {
                rules.push(Arc::new(Tolerant(DecorrelateLateralJoin::new())));
                rules.push(Arc::new(ApplyTheRest));
            }
            _ => rules.push(rule),
        }
    }
    rules
}

/// DataFusion's rules; before the first, what is cut alike is put together, and what may run beside the data goes there when the exchanges are placed.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = vec![Arc::new(Colocate)];
    for rule in PhysicalOptimizer::new().rules {
        let is_last = rule.name() == "EnsureCooperative";
        if is_last {
            rules.push(Arc::new(PushIntoScatter));
        }
        rules.push(rule);
        if is_last {
            rules.push(Arc::new(YieldBetweenBatches));
        }
    }
    rules
}

/// Whether an optimised plan means the same at another time: optimising computes functions such as now().
pub fn is_cacheable(plan: &LogicalPlan) -> bool {
    let mut stable = false;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                stable |= matches!(part, Expr::ScalarFunction(call) if call.func.signature().volatility == Volatility::Stable);
                Ok(if stable { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    walked.is_ok() && !stable
}
