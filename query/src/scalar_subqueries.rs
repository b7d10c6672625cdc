//! Correlated scalar subqueries that are no aggregates: `(SELECT name FROM b WHERE b.id = a.b_id)`.
//!
//! DataFusion turns a correlated scalar subquery into a join when it is an aggregate, so that no row of the outer query can meet two of its rows. Any
//! other one is rewritten here before DataFusion looks at it: the rows of the outer query are numbered and joined to the subquery's rows (LEFT JOIN,
//! on whatever the subquery's conditions say of both), and each number's rows are brought together again by [`SingleValue`], which fails when there
//! are two. Subqueries that look at more than the query around them are left as they are.

use std::cell::Cell;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use common::error::Report;
use common::sqlstate::SqlState;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, JoinType, LogicalPlan, LogicalPlanBuilder, Signature, Subquery, Volatility, lit,
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
        _ => return Ok(Transformed::no(node)),
    };
    let subqueries = open_subqueries(&node, input)?;
    if subqueries.is_empty() {
        return Ok(Transformed::no(node));
    }
    let before: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    numbers.set(numbers.get() + 1);
    let mut current = numbered(input.as_ref().clone(), format!("row {}", numbers.get()))?;
    let mut values = Vec::with_capacity(subqueries.len());
    for subquery in &subqueries {
        match join(current, subquery)? {
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
    let is_ours = |subquery: &Subquery| {
        let references = &subquery.outer_ref_columns;
        let near = |e: &Expr| matches!(e, Expr::OuterReferenceColumn(_, column) if input.schema().has_column(column));
        !references.is_empty() && subquery.subquery.max_rows() != Some(1) && references.iter().all(near)
    };
    node.apply_expressions(|expr| {
        expr.apply(|part| {
            if let Expr::ScalarSubquery(subquery) = part
                && is_ours(subquery)
                && !found.contains(subquery)
            {
                found.push(subquery.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The plan with a column that numbers its rows.
fn numbered(input: LogicalPlan, name: String) -> Result<LogicalPlan> {
    let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let number = row_number();
    columns.push(Expr::Column(Column::from_name(number.schema_name().to_string())).alias(name));
    LogicalPlanBuilder::from(input).window([number])?.project(columns)?.build()
}

/// The plan with one more column at its end: the subquery's value for each row. `None` when its conditions cannot be moved into a join.
fn join(outer: LogicalPlan, subquery: &Subquery) -> Result<Option<(LogicalPlan, Expr)>> {
    let mut pulled = PullUpCorrelatedExpr::new();
    let inner = subquery.subquery.as_ref().clone().rewrite(&mut pulled)?.data;
    let Some(value) = subquery.subquery.schema().columns().into_iter().next() else { return Ok(None) };
    if !pulled.can_pull_up || inner.contains_outer_reference() || !inner.schema().has_column(&value) {
        return Ok(None);
    }
    let rows: Vec<Expr> = outer.schema().columns().into_iter().map(Expr::Column).collect();
    let condition = conjunction(pulled.join_filters).unwrap_or_else(|| lit(true));
    let single = AggregateUDF::new_from_impl(SingleValue::default()).call(vec![Expr::Column(value)]);
    let column = Expr::Column(Column::from_name(single.schema_name().to_string()));
    let joined = LogicalPlanBuilder::from(outer).join_on(inner, JoinType::Left, [condition])?.aggregate(rows, [single])?.build()?;
    Ok(Some((joined, column)))
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
