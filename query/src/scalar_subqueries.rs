//! Correlated scalar subqueries, and LATERAL ones, that DataFusion does not take apart itself.
//!
//! DataFusion turns a correlated subquery into a join when it is an aggregate and is tied to the outer query by equalities in filters. Any other one
//! is rewritten here before DataFusion looks at it, in the way of "Unnesting Arbitrary Queries" (Neumann, Kemper 2015): the distinct values of the
//! outer columns that the subquery names are a relation (the *domain*), the subquery is computed for all of them at once, and the outer rows are
//! joined to its answers. For `SELECT (SELECT name FROM b WHERE b.id > a.x) FROM a` that is
//!
//! ```text
//! a LEFT JOIN (SELECT d.x, single_value(name) FROM (SELECT DISTINCT x FROM a) d, b WHERE b.id > d.x GROUP BY d.x) s
//!     ON s.x IS NOT DISTINCT FROM a.x
//! ```
//!
//! [`SingleValue`] fails when a group has two rows. Subqueries that look at more than the query around them, and those with operators that
//! [`Domain::attach`] does not know, are left as they are.

use std::cell::Cell;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use common::error::Report;
use common::sqlstate::SqlState;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Signature,
    Subquery, Volatility, binary_expr, lit,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

use crate::errors::raise;

/// The rule.
#[derive(Debug, Default)]
pub(crate) struct JoinScalarSubqueries;

impl AnalyzerRule for JoinScalarSubqueries {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let numbers = Cell::new(0);
        Ok(plan.transform_up_with_subqueries(|node| rewrite(node, &numbers))?.data)
    }

    fn name(&self) -> &'static str {
        "join_scalar_subqueries"
    }
}

fn rewrite(node: LogicalPlan, numbers: &Cell<u32>) -> Result<Transformed<LogicalPlan>> {
    let input = match &node {
        LogicalPlan::Projection(projection) => &projection.input,
        LogicalPlan::Filter(filter) => &filter.input,
        LogicalPlan::Join(join) => {
            return Ok(match lateral(join, numbers)? {
                Some(plan) => Transformed::yes(plan),
                None => Transformed::no(node),
            });
        }
        _ => return Ok(Transformed::no(node)),
    };
    let subqueries = open_subqueries(&node, input)?;
    if subqueries.is_empty() {
        return Ok(Transformed::no(node));
    }
    let before: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut current = input.as_ref().clone();
    let mut values = Vec::with_capacity(subqueries.len());
    for subquery in &subqueries {
        numbers.set(numbers.get() + 1);
        match join(current, input, subquery, numbers.get())? {
            Some((joined, value)) => {
                current = joined;
                values.push(value);
            }
            None => return Ok(Transformed::no(node)),
        }
    }
    let names = NamePreserver::new(&node);
    let mut exprs = Vec::with_capacity(node.expressions().len());
    for expr in node.expressions() {
        let name = names.save(&expr);
        exprs.push(name.restore(replaced(expr, &subqueries, &values)?));
    }
    let is_filter = matches!(node, LogicalPlan::Filter(_));
    let rewritten = node.with_new_exprs(exprs, vec![current])?;
    let plan = if is_filter { LogicalPlanBuilder::from(rewritten).project(before)?.build()? } else { rewritten };
    Ok(Transformed::yes(plan))
}

/// The subqueries of a node that this rule is for, each once.
fn open_subqueries(node: &LogicalPlan, input: &LogicalPlan) -> Result<Vec<Subquery>> {
    let mut found: Vec<Subquery> = Vec::new();
    node.apply_expressions(|expr| {
        expr.apply(|part| {
            if let Expr::ScalarSubquery(subquery) = part
                && !found.contains(subquery)
                && is_open(subquery, input)?
            {
                found.push(subquery.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// Whether a subquery looks at the plan around it alone, and DataFusion would not manage.
fn is_open(subquery: &Subquery, input: &LogicalPlan) -> Result<bool> {
    let references = &subquery.outer_ref_columns;
    let near = |e: &Expr| matches!(e, Expr::OuterReferenceColumn(_, column) if input.schema().has_column(column));
    if references.is_empty() || !references.iter().all(near) {
        return Ok(false);
    }
    Ok(subquery.subquery.max_rows() != Some(1) || !is_managed(subquery)?)
}

/// Whether DataFusion can move the conditions of a subquery into a join. With a sort in it, whether it can depends on the rest of the query.
fn is_managed(subquery: &Subquery) -> Result<bool> {
    if subquery.subquery.exists(|node| Ok(matches!(node, LogicalPlan::Sort(_))))? {
        return Ok(false);
    }
    let mut pulled = PullUpCorrelatedExpr::new().with_need_handle_count_bug(true);
    match subquery.subquery.as_ref().clone().rewrite(&mut pulled) {
        Ok(inner) => Ok(pulled.can_pull_up && !has_references(&inner.data)?),
        Err(_) => Ok(false),
    }
}

/// A join with a LATERAL subquery that DataFusion does not manage: with the subquery's rows for all members of the domain.
fn lateral(join: &Join, numbers: &Cell<u32>) -> Result<Option<LogicalPlan>> {
    let (LogicalPlan::Subquery(subquery), JoinType::Inner | JoinType::Left) = (join.right.as_ref(), join.join_type) else {
        return Ok(None);
    };
    let near = |e: &Expr| matches!(e, Expr::OuterReferenceColumn(_, column) if join.left.schema().has_column(column));
    if subquery.outer_ref_columns.is_empty() || !subquery.outer_ref_columns.iter().all(near) || is_managed(subquery)? {
        return Ok(None);
    }
    numbers.set(numbers.get() + 1);
    let domain = Domain::new(&join.left, subquery, numbers.get())?;
    let Some(answers) = domain.attach(&subquery.subquery)? else { return Ok(None) };
    if has_references(&answers)? {
        return Ok(None);
    }
    let equal = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
    let same = domain.same_as(domain.references.iter().cloned().map(Expr::Column));
    let conditions: Vec<Expr> = equal.chain(join.filter.clone()).chain([same]).collect();
    let columns: Vec<Expr> = join.schema.columns().into_iter().map(Expr::Column).collect();
    let joined = LogicalPlanBuilder::from(join.left.as_ref().clone()).join_on(answers, join.join_type, conditions)?;
    joined.project(columns)?.build().map(Some)
}

/// Whether a plan, or a subquery in it, names columns of an outer query.
fn has_references(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.contains_outer();
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// `outer` with the subquery's value for each row at its end. `None` when the subquery has an operator that is not known here. `source` is where the
/// outer columns come from.
fn join(outer: LogicalPlan, source: &LogicalPlan, subquery: &Subquery, number: u32) -> Result<Option<(LogicalPlan, Expr)>> {
    let domain = Domain::new(source, subquery, number)?;
    let Some(answers) = domain.attach(&subquery.subquery)? else { return Ok(None) };
    let Some(value) = subquery.subquery.schema().columns().into_iter().next() else { return Ok(None) };
    if has_references(&answers)? || !answers.schema().has_column(&value) {
        return Ok(None);
    }
    let (answers, value) = if subquery.subquery.max_rows() == Some(1) {
        (answers, value)
    } else {
        let single = AggregateUDF::new_from_impl(SingleValue::default()).call(vec![Expr::Column(value)]);
        let column = Column::from_name(single.schema_name().to_string());
        (LogicalPlanBuilder::from(answers).aggregate(domain.columns(), [single])?.build()?, column)
    };
    let value_name = Column::new(Some(domain.alias.clone()), "value");
    let projected = domain.columns().into_iter().chain([Expr::Column(value).alias_qualified(value_name.relation.clone(), "value")]);
    let answers = LogicalPlanBuilder::from(answers).project(projected)?.build()?;
    let condition = domain.same_as(domain.references.iter().cloned().map(Expr::Column));
    let joined = LogicalPlanBuilder::from(outer).join_on(answers, JoinType::Left, [condition])?.build()?;
    Ok(Some((joined, Expr::Column(value_name))))
}

/// The distinct values of the outer columns that a subquery names, as columns `<alias>.<i>`.
struct Domain {
    alias: TableReference,
    references: Vec<Column>,
    plan: LogicalPlan,
}

impl Domain {
    fn new(source: &LogicalPlan, subquery: &Subquery, number: u32) -> Result<Self> {
        let mut references: Vec<Column> = Vec::new();
        for reference in &subquery.outer_ref_columns {
            if let Expr::OuterReferenceColumn(_, column) = reference
                && !references.contains(column)
            {
                references.push(column.clone());
            }
        }
        let alias = TableReference::bare(format!("domain {number}"));
        let columns = references
            .iter()
            .enumerate()
            .map(|(at, column)| Expr::Column(column.clone()).alias_qualified(Some(alias.clone()), at.to_string()));
        let plan = LogicalPlanBuilder::from(source.clone()).project(columns)?.distinct()?.build()?;
        Ok(Self { alias, references, plan })
    }

    fn column(&self, at: usize) -> Expr {
        Expr::Column(Column::new(Some(self.alias.clone()), at.to_string()))
    }

    fn columns(&self) -> Vec<Expr> {
        (0..self.references.len()).map(|at| self.column(at)).collect()
    }

    /// The condition that each column is the same as one of `others`; NULL is the same as NULL.
    fn same_as(&self, others: impl Iterator<Item = Expr>) -> Expr {
        let same = self.columns().into_iter().zip(others).map(|(mine, other)| binary_expr(mine, Operator::IsNotDistinctFrom, other));
        conjunction(same).unwrap_or_else(|| lit(true))
    }

    /// The expression over the domain's columns in place of the outer ones.
    fn placed(&self, expr: &Expr) -> Result<Expr> {
        let place = |part: Expr| match &part {
            Expr::OuterReferenceColumn(_, column) => match self.references.iter().position(|r| r == column) {
                Some(at) => Ok(Transformed::yes(self.column(at))),
                None => Ok(Transformed::no(part)),
            },
            _ => Ok(Transformed::no(part)),
        };
        Ok(expr.clone().transform_down(place)?.data)
    }

    fn placed_all(&self, exprs: &[Expr]) -> Result<Vec<Expr>> {
        exprs.iter().map(|expr| self.placed(expr)).collect()
    }

    /// The rows of `plan` for each member of the domain, with the member's columns. `None` for an operator that is not known here.
    fn attach(&self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        if !has_references(plan)? {
            return self.crossed(plan).map(Some);
        }
        Ok(match plan {
            LogicalPlan::Projection(projection) => match self.attach(&projection.input)? {
                Some(input) => {
                    let exprs = self.columns().into_iter().chain(self.placed_all(&projection.expr)?);
                    Some(LogicalPlanBuilder::from(input).project(exprs)?.build()?)
                }
                None => None,
            },
            LogicalPlan::Filter(filter) => match self.attach(&filter.input)? {
                Some(input) => Some(LogicalPlanBuilder::from(input).filter(self.placed(&filter.predicate)?)?.build()?),
                None => None,
            },
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => match self.attach(&sort.input)? {
                Some(input) => {
                    let keys = sort.expr.iter().map(|key| Ok(key.with_expr(self.placed(&key.expr)?))).collect::<Result<Vec<_>>>()?;
                    Some(LogicalPlanBuilder::from(input).sort(keys)?.build()?)
                }
                None => None,
            },
            LogicalPlan::Unnest(unnest) => match self.attach(&unnest.input)? {
                Some(input) => {
                    let options = unnest.options.clone();
                    Some(LogicalPlanBuilder::from(input).unnest_columns_with_options(unnest.exec_columns.clone(), options)?.build()?)
                }
                None => None,
            },
            LogicalPlan::Join(join) => self.joined(join)?,
            LogicalPlan::Aggregate(aggregate) => self.aggregated(aggregate)?,
            _ => None,
        })
    }

    /// What does not depend on the domain is the same for each member.
    fn crossed(&self, plan: &LogicalPlan) -> Result<LogicalPlan> {
        if matches!(plan, LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && empty.schema.fields().is_empty()) {
            return Ok(self.plan.clone());
        }
        LogicalPlanBuilder::from(self.plan.clone()).cross_join(plan.clone())?.build()
    }

    /// A join of which one side at most depends on the domain.
    fn joined(&self, join: &Join) -> Result<Option<LogicalPlan>> {
        let (left, right) = (has_references(&join.left)?, has_references(&join.right)?);
        let sides = match (left, right, join.join_type) {
            (_, false, JoinType::Inner | JoinType::Left) => (self.attach(&join.left)?, Some(join.right.as_ref().clone())),
            (false, true, JoinType::Inner) => (Some(join.left.as_ref().clone()), self.attach(&join.right)?),
            _ => (None, None),
        };
        let (Some(left), Some(right)) = sides else { return Ok(None) };
        let equal = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
        let conditions = equal.chain(join.filter.clone()).map(|expr| self.placed(&expr)).collect::<Result<Vec<_>>>()?;
        let conditions = if conditions.is_empty() { vec![lit(true)] } else { conditions };
        Ok(Some(LogicalPlanBuilder::from(left).join_on(right, join.join_type, conditions)?.build()?))
    }

    /// Groups within each member. Without GROUP BY a member without rows has a group too: of no rows.
    fn aggregated(&self, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
        let Some(input) = self.attach(&aggregate.input)? else { return Ok(None) };
        let groups = self.columns().into_iter().chain(self.placed_all(&aggregate.group_expr)?);
        let grouped = LogicalPlanBuilder::from(input).aggregate(groups, self.placed_all(&aggregate.aggr_expr)?)?.build()?;
        if !aggregate.group_expr.is_empty() {
            return Ok(Some(grouped));
        }
        let all = TableReference::bare(format!("all of {}", self.alias));
        let members = (0..self.references.len()).map(|at| self.column(at).alias_qualified(Some(all.clone()), at.to_string()));
        let members = LogicalPlanBuilder::from(self.plan.clone()).project(members)?;
        let member = |at: usize| Expr::Column(Column::new(Some(all.clone()), at.to_string()));
        let condition = self.same_as((0..self.references.len()).map(member));
        let joined = members.join_on(grouped, JoinType::Left, [condition])?;
        let columns = (0..self.references.len()).map(|at| member(at).alias_qualified(Some(self.alias.clone()), at.to_string()));
        let results = aggregate.aggr_expr.iter().map(|expr| {
            let name = expr.schema_name().to_string();
            let result = Expr::Column(Column::from_name(name.clone()));
            let is_count = matches!(expr.clone().unalias(), Expr::AggregateFunction(call) if call.func.name() == "count");
            if is_count { coalesce(vec![result, lit(0_i64)]).alias(name) } else { result }
        });
        Ok(Some(joined.project(columns.chain(results))?.build()?))
    }
}

fn replaced(expr: Expr, subqueries: &[Subquery], values: &[Expr]) -> Result<Expr> {
    let replace = |part: Expr| {
        let Expr::ScalarSubquery(subquery) = &part else { return Ok(Transformed::no(part)) };
        match subqueries.iter().position(|s| s == subquery) {
            Some(at) => Ok(Transformed::yes(values[at].clone())),
            None => Ok(Transformed::no(part)),
        }
    };
    Ok(expr.transform_down(replace)?.data)
}

/// The value of the only row of a group; 21000 when there are more.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SingleValue {
    signature: Signature,
}

impl Default for SingleValue {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &'static str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.first().cloned().ok_or_else(|| DataFusionError::Internal("single_value has one argument".into()))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Single { value: ScalarValue::try_from(args.return_field.data_type())?, is_taken: false }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let value = Field::new("value", args.return_field.data_type().clone(), true);
        Ok(vec![value.into(), Field::new("is_taken", DataType::Boolean, false).into()])
    }
}

#[derive(Debug)]
struct Single {
    value: ScalarValue,
    is_taken: bool,
}

impl Single {
    fn take(&mut self, value: ScalarValue) -> Result<()> {
        if self.is_taken {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(raise(Report::new(SqlState::CARDINALITY_VIOLATION, message)));
        }
        (self.value, self.is_taken) = (value, true);
        Ok(())
    }
}

impl Accumulator for Single {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in 0..values[0].len() {
            self.take(ScalarValue::try_from_array(&values[0], row)?)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() - size_of_val(&self.value)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Boolean(Some(self.is_taken))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            if ScalarValue::try_from_array(&states[1], row)? == ScalarValue::Boolean(Some(true)) {
                self.take(ScalarValue::try_from_array(&states[0], row)?)?;
            }
        }
        Ok(())
    }
}
