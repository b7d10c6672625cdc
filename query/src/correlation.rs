//! Which correlated subqueries DataFusion may turn into joins; all others become [`Apply`]s.
//!
//! DataFusion's rules pull a subquery's correlated conditions up through everything that stands above them. That keeps the meaning for filters,
//! projections, inner joins, and for one aggregate without groups when each condition is `inner column = outer expression`. It does not for outer
//! joins, windows, limits and set operations, so only subqueries of those shapes are left to it ([`Shape`]); and where it gives one up after all,
//! [`ApplyTheRest`] makes an apply of it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Filter, Join, LogicalPlan, Operator, Projection, Subquery, lit};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use crate::apply::{Apply, ApplyKind, visit_outer};

/// Makes applies of what DataFusion must not turn into joins.
pub(crate) fn prepare(plan: LogicalPlan) -> Result<LogicalPlan> {
    if !has_correlation(&plan)? {
        return Ok(plan);
    }
    Applier { next: 0, prefix: "apply", trusts: true, guard: None }.plan(plan)
}

/// Makes applies of the correlated subqueries that are left.
#[derive(Debug)]
pub(crate) struct ApplyTheRest;

impl OptimizerRule for ApplyTheRest {
    fn name(&self) -> &str {
        "apply_the_rest"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        None
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if !has_correlation(&plan)? {
            return Ok(Transformed::no(plan));
        }
        Ok(Transformed::yes(Applier { next: 0, prefix: "rest", trusts: false, guard: None }.plan(plan)?))
    }
}

/// A rule of DataFusion's whose failure leaves the plan as it is.
#[derive(Debug)]
pub(crate) struct Tolerant<R>(pub(crate) R);

impl<R: OptimizerRule> OptimizerRule for Tolerant<R> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let is_candidate = match &plan {
            LogicalPlan::Filter(_) | LogicalPlan::Projection(_) => has_subquery(&plan)?,
            LogicalPlan::Join(join) => matches!(join.right.as_ref(), LogicalPlan::Subquery(_)),
            _ => false,
        };
        if !is_candidate {
            return Ok(Transformed::no(plan));
        }
        let before = plan.clone();
        Ok(self.0.rewrite(plan, config).unwrap_or_else(|_| Transformed::no(before)))
    }
}

/// Whether a node's own expressions hold subqueries.
fn has_subquery(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|part| Ok(subquery_of(part).is_some()))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Whether a plan holds a subquery that depends on its surroundings, or one that only a join or an apply can answer.
fn has_correlation(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Subquery(_));
        node.apply_expressions(|expr| {
            found |= expr.exists(|part| {
                Ok(subquery_of(part).is_some_and(|s| !s.outer_ref_columns.is_empty() || !matches!(part, Expr::ScalarSubquery(_))))
            })?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery) => Some(subquery),
        Expr::Exists(exists) => Some(&exists.subquery),
        Expr::InSubquery(within) => Some(&within.subquery),
        Expr::SetComparison(comparison) => Some(&comparison.subquery),
        _ => None,
    }
}

/// Rewrites a plan from its leaves up.
struct Applier {
    next: usize,
    prefix: &'static str,
    /// Whether a subquery of a shape that DataFusion turns into a join is left to it.
    trusts: bool,
    /// Where the expression that is being rewritten counts: inside of a branch of CASE, its condition.
    guard: Option<Expr>,
}

impl Applier {
    fn name(&mut self) -> String {
        self.next += 1;
        format!("{}{}", self.prefix, self.next)
    }

    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = plan.map_children(|child| Ok(Transformed::yes(self.plan(child)?)))?.data;
        match plan {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Join(join) => self.join(join),
            other if has_subquery(&other)? => self.node(other),
            other => Ok(other),
        }
    }

    /// The inner plan of a subquery, rewritten.
    fn inside(&mut self, subquery: Subquery) -> Result<Subquery> {
        let guard = self.guard.take();
        let inner = self.plan(Arc::unwrap_or_clone(subquery.subquery))?;
        self.guard = guard;
        Ok(Subquery { subquery: Arc::new(inner), ..subquery })
    }

    /// Replaces the subqueries of an expression that have to be applied by columns of applies on `input`.
    fn expression(&mut self, expr: Expr, input: &mut Arc<LogicalPlan>, in_filter: bool, in_projection: bool) -> Result<Expr> {
        let rewritten = expr.transform_down(|part| {
            let done = |expr| Ok(Transformed::new(expr, true, TreeNodeRecursion::Jump));
            match part {
                Expr::Case(case) if case.expr.is_none() && holds_subquery(&case) => {
                    done(self.case(case, input, in_filter, in_projection)?)
                }
                Expr::ScalarSubquery(subquery) => {
                    let subquery = self.inside(subquery)?;
                    let trusted = (in_filter || in_projection) && self.trusts && Shape::Aggregate.fits(&subquery, input.schema())?;
                    if subquery.outer_ref_columns.is_empty() || trusted {
                        return done(Expr::ScalarSubquery(subquery));
                    }
                    done(self.apply(input, subquery.subquery, ApplyKind::Value)?)
                }
                Expr::Exists(Exists { subquery, negated }) => {
                    let subquery = self.inside(subquery)?;
                    let trusted = in_filter && self.trusts && Shape::Rows.fits(&subquery, input.schema())?;
                    if trusted {
                        return done(Expr::Exists(Exists { subquery, negated }));
                    }
                    let found = self.apply(input, subquery.subquery, ApplyKind::Exists)?;
                    done(if negated { Expr::Not(Box::new(found)) } else { found })
                }
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    let subquery = self.inside(subquery)?;
                    let trusted = in_filter && self.trusts && Shape::Rows.fits(&subquery, input.schema())?;
                    if trusted {
                        return done(Expr::InSubquery(InSubquery { expr, subquery, negated }));
                    }
                    // The binder leaves IN as it is only where NULL means the same as FALSE.
                    let column = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
                    let equal = to_outer(*expr, input.schema())?.eq(column);
                    let condition = if negated { Expr::IsNotFalse(Box::new(equal)) } else { equal };
                    let matching = LogicalPlan::Filter(Filter::try_new(condition, subquery.subquery)?);
                    let found = self.apply(input, Arc::new(matching), ApplyKind::Exists)?;
                    done(if negated { Expr::Not(Box::new(found)) } else { found })
                }
                other => Ok(Transformed::no(other)),
            }
        })?;
        Ok(rewritten.data)
    }

    /// The subqueries of a branch are asked for the rows that take it alone.
    fn case(&mut self, case: Case, input: &mut Arc<LogicalPlan>, in_filter: bool, in_projection: bool) -> Result<Expr> {
        let around = self.guard.take();
        // The conditions so far, and which of them is to hold: as a CASE, so that none is computed where an earlier one holds. Its values are numbers:
        // one of truth values would be simplified to AND and OR, which compute all of it.
        let number = |holds: bool| lit(i32::from(holds));
        let guard = |conditions: &[Expr], wanted: Option<usize>| -> Expr {
            let when = |(at, condition): (usize, &Expr)| (Box::new(condition.clone()), Box::new(number(wanted == Some(at))));
            let when_then_expr: Vec<_> = conditions.iter().enumerate().map(when).collect();
            let within = match when_then_expr.is_empty() {
                true => lit(true),
                false => {
                    Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(number(wanted.is_none()))) }).eq(number(true))
                }
            };
            match &around {
                Some(around) => {
                    let inner = Expr::Case(Case {
                        expr: None,
                        when_then_expr: vec![(Box::new(within), Box::new(number(true)))],
                        else_expr: Some(Box::new(number(false))),
                    });
                    let when_then_expr = vec![(Box::new(around.clone()), Box::new(inner))];
                    Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(number(false))) }).eq(number(true))
                }
                None => within,
            }
        };
        let mut conditions = Vec::with_capacity(case.when_then_expr.len());
        let mut when_then_expr = Vec::with_capacity(case.when_then_expr.len());
        for (when, then) in case.when_then_expr {
            self.guard = Some(guard(&conditions, None));
            let when = self.expression(*when, input, in_filter, in_projection)?;
            // A condition that still holds a subquery is known only later.
            if !when.exists(|part| Ok(subquery_of(part).is_some()))? {
                conditions.push(when.clone());
                self.guard = Some(guard(&conditions, Some(conditions.len() - 1)));
            }
            let then = self.expression(*then, input, in_filter, in_projection)?;
            when_then_expr.push((Box::new(when), Box::new(then)));
        }
        self.guard = Some(guard(&conditions, None));
        let else_expr = match case.else_expr {
            Some(otherwise) => Some(Box::new(self.expression(*otherwise, input, in_filter, in_projection)?)),
            None => None,
        };
        self.guard = around;
        Ok(Expr::Case(Case { expr: None, when_then_expr, else_expr }))
    }

    fn apply(&mut self, input: &mut Arc<LogicalPlan>, dependent: Arc<LogicalPlan>, kind: ApplyKind) -> Result<Expr> {
        let apply = Apply::new(Arc::clone(input), dependent, kind, self.name())?.guarded(self.guard.clone());
        let result = apply.result();
        *input = Arc::new(apply.into_plan());
        Ok(result)
    }

    /// Conditions that need no apply go below those that do.
    fn filter(&mut self, filter: Filter) -> Result<LogicalPlan> {
        let columns = filter.input.schema().columns();
        let (mut below, mut above) = (Vec::new(), Vec::new());
        let mut applied = Arc::clone(&filter.input);
        let (plain, subqueries): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(filter.predicate)
            .into_iter()
            .partition(|e| !e.exists(|part| Ok(subquery_of(part).is_some())).unwrap_or(true));
        below.extend(plain);
        let mut untrusted = Vec::new();
        for condition in subqueries {
            let before = Arc::clone(&applied);
            let rewritten = self.expression(condition.clone(), &mut applied, true, false)?;
            if Arc::ptr_eq(&before, &applied) {
                below.push(rewritten);
            } else {
                applied = before;
                untrusted.push(condition);
            }
        }
        let mut input = filter.input;
        if let Some(condition) = conjunction(below) {
            input = Arc::new(LogicalPlan::Filter(Filter::try_new(condition, input)?));
        }
        if untrusted.is_empty() {
            return Ok(Arc::unwrap_or_clone(input));
        }
        for condition in untrusted {
            above.push(self.expression(condition, &mut input, false, false)?);
        }
        if let Some(condition) = conjunction(above) {
            input = Arc::new(LogicalPlan::Filter(Filter::try_new(condition, input)?));
        }
        restore(input, columns)
    }

    /// A node of one input.
    fn node(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        let inputs = node.inputs();
        let [input] = inputs.as_slice() else { return self.leaf(node) };
        let before = Arc::new(LogicalPlan::clone(input));
        let mut input = Arc::clone(&before);
        let columns = node.schema().columns();
        let in_projection = matches!(node, LogicalPlan::Projection(_));
        let names = NamePreserver::new(&node);
        let mut exprs = Vec::new();
        for expr in node.expressions() {
            let name = names.save(&expr);
            exprs.push(name.restore(self.expression(expr, &mut input, false, in_projection)?));
        }
        let is_applied = !Arc::ptr_eq(&before, &input);
        let rewritten = node.with_new_exprs(exprs, vec![Arc::unwrap_or_clone(input)])?;
        if is_applied && rewritten.schema().fields().len() != columns.len() {
            return restore(Arc::new(rewritten), columns);
        }
        Ok(rewritten)
    }

    /// A node without an input, or with several: only the plans inside its subqueries are rewritten.
    fn leaf(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        Ok(node.map_subqueries(|inner| Ok(Transformed::yes(self.plan(inner)?)))?.data)
    }

    fn join(&mut self, join: Join) -> Result<LogicalPlan> {
        if let LogicalPlan::Subquery(subquery) = join.right.as_ref() {
            let trusted =
                self.trusts && (Shape::Rows.fits(subquery, join.left.schema())? || Shape::Aggregate.fits(subquery, join.left.schema())?);
            let plain = !join.filter.as_ref().is_some_and(|f| f.exists(|part| Ok(subquery_of(part).is_some())).unwrap_or(true));
            if trusted && plain && join.join_type == JoinType::Inner {
                return Ok(LogicalPlan::Join(join));
            }
            let dependent = Arc::clone(&subquery.subquery);
            return self.lateral(join, dependent);
        }
        let node = LogicalPlan::Join(join.clone());
        if !has_subquery(&node)? {
            return Ok(node);
        }
        let needs_apply = join.filter.as_ref().is_some_and(|filter| {
            let is_one = |part: &Expr| {
                subquery_of(part).is_some_and(|s| !s.outer_ref_columns.is_empty() || !matches!(part, Expr::ScalarSubquery(_)))
            };
            filter.exists(|part| Ok(is_one(part))).unwrap_or(true)
        });
        if !needs_apply {
            return self.leaf(node);
        }
        match join.join_type {
            JoinType::Inner | JoinType::Left => {
                let dependent = Arc::clone(&join.right);
                self.lateral(join, dependent)
            }
            JoinType::Right => {
                let columns = join.schema.columns();
                let dependent = Arc::clone(&join.left);
                let swapped = Join { left: Arc::clone(&join.right), join_type: JoinType::Left, ..join };
                let plan = self.lateral(swapped, dependent)?;
                restore(Arc::new(plan), columns)
            }
            _ => Err(crate::errors::raise(common::error::Report::new(
                common::sqlstate::SqlState::FEATURE_NOT_SUPPORTED,
                "FULL JOIN is only supported with merge-joinable or hash-joinable join conditions",
            ))),
        }
    }

    /// A join whose right side, or whose condition, is computed for each row of the left side.
    fn lateral(&mut self, join: Join, dependent: Arc<LogicalPlan>) -> Result<LogicalPlan> {
        let mut conditions: Vec<Expr> = join.on.iter().map(|(l, r)| l.clone().eq(r.clone())).collect();
        conditions.extend(join.filter);
        let condition = conjunction(conditions).filter(|c| *c != lit(true));
        let left = Arc::clone(&join.left);
        match join.join_type {
            JoinType::Left => {
                let mut dependent = dependent;
                if let Some(condition) = condition {
                    let condition = to_outer(condition, left.schema())?;
                    dependent = Arc::new(self.filter(Filter::try_new(condition, dependent)?)?);
                }
                Ok(Apply::new(left, dependent, ApplyKind::Left, self.name())?.into_plan())
            }
            _ => {
                let applied = Apply::new(left, dependent, ApplyKind::Inner, self.name())?.into_plan();
                match condition {
                    Some(condition) => self.filter(Filter::try_new(condition, Arc::new(applied))?),
                    None => Ok(applied),
                }
            }
        }
    }
}

fn holds_subquery(case: &Case) -> bool {
    let in_branch = |expr: &Expr| expr.exists(|part| Ok(subquery_of(part).is_some())).unwrap_or(false);
    case.when_then_expr.iter().any(|(when, then)| in_branch(when) || in_branch(then)) || case.else_expr.as_deref().is_some_and(in_branch)
}

fn restore(input: Arc<LogicalPlan>, columns: Vec<Column>) -> Result<LogicalPlan> {
    if input.schema().columns() == columns {
        return Ok(Arc::unwrap_or_clone(input));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(columns.into_iter().map(Expr::Column).collect(), input)?))
}

/// An expression over a row as the row's dependent plan says it. Subqueries in it name these columns as outer ones already.
fn to_outer(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let outer = expr.transform_up(|part| match part {
        Expr::Column(column) if schema.has_column(&column) => {
            let field = schema.qualified_field_from_column(&column)?.1;
            Ok::<_, DataFusionError>(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(outer.data)
}

/// Subqueries that DataFusion's rules turn into joins of the same meaning.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Any rows, of which only the existence counts, or each of which is joined.
    Rows,
    /// One aggregate without groups.
    Aggregate,
}

impl Shape {
    fn fits(self, subquery: &Subquery, around: &DFSchema) -> Result<bool> {
        // All outer references mean the query right around.
        let mut near = true;
        visit_outer(&subquery.subquery, &mut |column| near &= around.has_column(column))?;
        if !near {
            return Ok(false);
        }
        match self {
            Self::Rows => path(&subquery.subquery, false, around),
            Self::Aggregate => aggregate(&subquery.subquery, around),
        }
    }
}

fn names_outer(expr: &Expr, around: &DFSchema) -> bool {
    let named = |part: &Expr| match part {
        Expr::OuterReferenceColumn(_, column) => around.has_column(column),
        _ => subquery_of(part).is_some_and(|s| plan_names_outer(&s.subquery, around)),
    };
    expr.exists(|part| Ok(named(part))).unwrap_or(true)
}

fn plan_names_outer(plan: &LogicalPlan, around: &DFSchema) -> bool {
    let mut found = false;
    visit_outer(plan, &mut |column| found |= around.has_column(column)).is_err() || found
}

fn aggregate(plan: &LogicalPlan, around: &DFSchema) -> Result<bool> {
    match plan {
        LogicalPlan::Projection(projection) if !projection.expr.iter().any(|e| names_outer(e, around)) => {
            aggregate(&projection.input, around)
        }
        LogicalPlan::Aggregate(node) => {
            let plain = node.group_expr.is_empty() && !node.aggr_expr.iter().any(|e| names_outer(e, around));
            Ok(plain && path(&node.input, true, around)?)
        }
        _ => Ok(false),
    }
}

/// Whether all outer references stand in filters below nothing but filters, projections and inner joins.
fn path(plan: &LogicalPlan, equalities_only: bool, around: &DFSchema) -> Result<bool> {
    match plan {
        LogicalPlan::Filter(filter) => {
            for condition in split_conjunction_owned(filter.predicate.clone()) {
                if !names_outer(&condition, around) {
                    continue;
                }
                let in_subquery = condition.exists(|part| Ok(subquery_of(part).is_some()))?;
                if in_subquery || (equalities_only && !is_equality(&condition)) {
                    return Ok(false);
                }
            }
            path(&filter.input, equalities_only, around)
        }
        LogicalPlan::Projection(projection) => {
            Ok(!projection.expr.iter().any(|e| names_outer(e, around)) && path(&projection.input, equalities_only, around)?)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let mut own = join.on.iter().flat_map(|(l, r)| [l, r]).chain(&join.filter);
            Ok(!own.any(|e| names_outer(e, around))
                && path(&join.left, equalities_only, around)?
                && path(&join.right, equalities_only, around)?)
        }
        other => Ok(!plan_names_outer(other, around)),
    }
}

/// `inner column = outer expression`.
fn is_equality(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    let is_pair = |inner: &Expr, outer: &Expr| matches!(inner, Expr::Column(_)) && !outer.any_column_refs();
    is_pair(left, right) || is_pair(right, left)
}
