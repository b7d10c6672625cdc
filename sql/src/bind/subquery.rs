//! Subqueries in expressions.
//!
//! A subquery is bound under a *junction*: an environment with the scope of the place where it stands, which collects the references that leave
//! the subquery. EXISTS and IN stay as they are in filters where NULL counts as FALSE ([`Truth`]), and become joins; elsewhere both are said by
//! counting.

use std::sync::Arc;

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::Scalar;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Spans};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Case, Expr, LogicalPlan, LogicalPlanBuilder, Subquery, lit};
use functions::resolve::{self, AggregateCall, SortKey};
use functions::typed_expr::TypedExpr;
use sqlparser::ast::Query;

use super::Binder;
use super::environment::{Environment, Truth};
use super::relation::{Output, Relation, filter};
use crate::error::{BindError, Result};

impl Binder<'_> {
    /// Binds a subquery that stands in `env`; its outward references come with it.
    fn subquery(&self, query: &Query, env: &Environment<'_>) -> Result<(Relation, Vec<Expr>)> {
        let junction = Environment {
            collected: env.collected,
            aggregates_allowed: env.aggregates_allowed,
            ..Environment::new(env.scope, env.outer, env.ctes, "subquery")
        };
        let relation = self.query(query, Some(&junction), env.ctes)?;
        let references = junction.outer_references.borrow().clone();
        self.pass_on(&references, env);
        Ok((relation, references))
    }

    /// Gives `env` the references that go beyond its own scope.
    pub(crate) fn pass_on(&self, references: &[Expr], env: &Environment<'_>) {
        let is_ours = |reference: &Expr| match reference {
            Expr::OuterReferenceColumn(_, column) => {
                let column = Expr::Column(column.clone());
                env.scope.columns().any(|c| c.value.expr == column)
            }
            _ => false,
        };
        env.note_references(references.iter().filter(|r| !is_ours(r)).cloned());
    }

    fn one_column(relation: &Relation) -> Result<TypedExpr> {
        match relation.columns.as_slice() {
            [column] => Ok(column.value.clone()),
            _ => Err(BindError::new(SqlState::SYNTAX_ERROR, "subquery must return only one column")),
        }
    }

    /// `(SELECT …)` as a value.
    pub(crate) fn scalar_subquery(&self, query: &Query, env: &Environment<'_>) -> Result<TypedExpr> {
        let (relation, references) = self.subquery(query, env)?;
        let relation = self.settled(relation)?;
        let value = Self::one_column(&relation)?;
        Ok(TypedExpr { expr: scalar(relation.plan, references), ..value })
    }

    /// `(SELECT …)` as a row of so many values.
    pub(crate) fn row_subquery(&self, query: &Query, width: usize, env: &Environment<'_>) -> Result<Vec<TypedExpr>> {
        let (relation, references) = self.subquery(query, env)?;
        let relation = self.settled(relation)?;
        if relation.columns.len() != width {
            let few = relation.columns.len() < width;
            let message = if few { "subquery has too few columns" } else { "subquery has too many columns" };
            return Err(BindError::new(SqlState::SYNTAX_ERROR, message));
        }
        let mut values = Vec::with_capacity(width);
        for column in relation.columns {
            let single = self.project(relation.plan.clone(), vec![column])?;
            let value = Self::one_column(&single)?;
            values.push(TypedExpr { expr: scalar(single.plan, references.clone()), ..value });
        }
        Ok(values)
    }

    /// `EXISTS (SELECT …)`.
    pub(crate) fn exists(&self, query: &Query, negated: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        let (relation, references) = self.subquery(query, env)?;
        if env.truth.get() != Truth::Value {
            return Ok(exists(relation.plan, references, negated));
        }
        let some = self.some(relation.plan, references)?;
        let expr = if negated { Expr::Not(Box::new(some)) } else { some };
        Ok(TypedExpr::new(expr, Scalar::Bool))
    }

    /// Whether a plan has a row, as a value: by counting.
    fn some(&self, plan: LogicalPlan, references: Vec<Expr>) -> Result<Expr> {
        let plan = if references.is_empty() { LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()? } else { plan };
        Ok(self.count(plan, references)?.gt(lit(0i64)))
    }

    /// `(SELECT count(*) FROM …)`.
    fn count(&self, plan: LogicalPlan, references: Vec<Expr>) -> Result<Expr> {
        let count = resolve::aggregate(&self.cx(), AggregateCall { star: true, ..AggregateCall::plain("count", Vec::new()) })?;
        Ok(self.aggregated(plan, count, references)?.expr)
    }

    /// `x IN (SELECT …)`, also of a row.
    pub(crate) fn in_subquery(&self, left: Vec<TypedExpr>, query: &Query, negated: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        let (relation, references) = self.subquery(query, env)?;
        let relation = self.settled(relation)?;
        if relation.columns.len() != left.len() {
            let few = relation.columns.len() < left.len();
            let message = if few { "subquery has too few columns" } else { "subquery has too many columns" };
            return Err(BindError::new(SqlState::SYNTAX_ERROR, message));
        }
        let is_join = match env.truth.get() {
            Truth::Value => false,
            Truth::Positive => !negated,
            // Only this form knows NULLs without looking at each pair of rows, and only without correlation.
            Truth::Conjunct => !negated || references.is_empty(),
        };
        if let ([value], true) = (left.as_slice(), is_join) {
            let (value, relation) = self.comparable(value.clone(), relation, "=")?;
            let expr = Expr::InSubquery(InSubquery::new(Box::new(value.expr), sub(relation.plan, references), negated));
            return Ok(TypedExpr::new(expr, Scalar::Bool));
        }
        self.any(&left, "=", relation, references, negated, env)
    }

    /// `left op ANY (…)`, or its opposite: TRUE when the operator says so for a row, NULL when it might for one, FALSE otherwise.
    fn any(
        &self,
        left: &[TypedExpr],
        op: &str,
        relation: Relation,
        references: Vec<Expr>,
        negated: bool,
        env: &Environment<'_>,
    ) -> Result<TypedExpr> {
        let mut inner_references = references.clone();
        let mut matches: Option<Expr> = None;
        for (value, column) in left.iter().zip(&relation.columns) {
            let inner = self.as_outer(value, env, &mut inner_references)?;
            let one = resolve::binary_operator(&self.cx(), op, inner, column.value.clone())?;
            let one = resolve::to_boolean(&self.cx(), one, op)?.expr;
            matches = Some(match matches {
                Some(before) => before.and(one),
                None => one,
            });
        }
        let matches = matches.unwrap_or_else(|| lit(true));
        if env.truth.get() != Truth::Value {
            // Where NULL counts as FALSE, existence says it all.
            let condition = if negated { Expr::IsNotFalse(Box::new(matches)) } else { matches };
            return Ok(exists(filter(relation.plan, condition)?, inner_references, negated));
        }
        let found = match self.found_by_bounds(left, op, &relation, &references)? {
            Some(found) => found,
            None => self.some(filter(relation.plan.clone(), matches.clone())?, inner_references.clone())?,
        };
        let open = self.open(left, &relation, references, filter(relation.plan.clone(), matches.is_null())?, inner_references)?;
        let null = Expr::Literal(datafusion::common::ScalarValue::Boolean(None), None);
        let case = Case {
            expr: None,
            when_then_expr: vec![(Box::new(found), Box::new(lit(!negated))), (Box::new(open), Box::new(null))],
            else_expr: Some(Box::new(lit(negated))),
        };
        Ok(TypedExpr::new(Expr::Case(case), Scalar::Bool))
    }

    /// Whether the operator gives NULL for a row. A comparison of one value does so for NULLs alone, and then no pair of rows need be looked at.
    fn open(
        &self,
        left: &[TypedExpr],
        relation: &Relation,
        references: Vec<Expr>,
        unknown: LogicalPlan,
        unknown_references: Vec<Expr>,
    ) -> Result<Expr> {
        let ([value], [column], true) = (left, relation.columns.as_slice(), references.is_empty()) else {
            return self.some(unknown, unknown_references);
        };
        if value.ty.is_array || column.value.ty.is_array {
            return self.some(unknown, unknown_references);
        }
        let nulls = self.some(filter(relation.plan.clone(), column.value.expr.clone().is_null())?, Vec::new())?;
        let any = self.some(relation.plan.clone(), Vec::new())?;
        Ok(nulls.or(resolve::settle_unknown(&self.cx(), value.clone())?.expr.is_null().and(any)))
    }

    /// `x < ANY (…)` is `x < max(…)`; the like for the other orders. Only where the bound is the same for all rows.
    fn found_by_bounds(&self, left: &[TypedExpr], op: &str, relation: &Relation, references: &[Expr]) -> Result<Option<Expr>> {
        let bound = match op {
            "<" | "<=" => "max",
            ">" | ">=" => "min",
            _ => return Ok(None),
        };
        let ([value], [column], true) = (left, relation.columns.as_slice(), references.is_empty()) else { return Ok(None) };
        let Ok(bound) = resolve::aggregate(&self.cx(), AggregateCall::plain(bound, vec![column.value.clone()])) else { return Ok(None) };
        let bound = self.aggregated(relation.plan.clone(), bound, Vec::new())?;
        Ok(Some(Expr::IsTrue(Box::new(resolve::binary_operator(&self.cx(), op, value.clone(), bound)?.expr))))
    }

    /// One aggregate over a plan as a value.
    fn aggregated(&self, plan: LogicalPlan, aggregate: TypedExpr, references: Vec<Expr>) -> Result<TypedExpr> {
        let list = std::cell::RefCell::default();
        let expr = super::call::take_aggregates(aggregate.expr.clone(), &list)?;
        let node = datafusion::logical_expr::Aggregate::try_new(Arc::new(plan), Vec::new(), list.into_inner())?;
        let output = Output { name: String::new(), value: TypedExpr { expr, ..aggregate }, origin: None };
        let relation = self.project(LogicalPlan::Aggregate(node), vec![output])?;
        let value = Self::one_column(&relation)?;
        Ok(TypedExpr { expr: scalar(relation.plan, references), ..value })
    }

    /// An expression of the outer query as its subquery says it: its columns become outer references.
    fn as_outer(&self, value: &TypedExpr, env: &Environment<'_>, references: &mut Vec<Expr>) -> Result<TypedExpr> {
        let expr = value.expr.clone().transform_down(|e| {
            let Some(found) = env.scope.columns().find(|c| c.value.expr == e) else { return Ok(Transformed::no(e)) };
            let reference = outer_reference(found);
            if !references.contains(&reference) {
                references.push(reference.clone());
            }
            Ok(Transformed::yes(reference))
        })?;
        Ok(TypedExpr { expr: expr.data, ..value.clone() })
    }

    /// `x op ANY (SELECT …)` and `x op ALL (SELECT …)`.
    pub(crate) fn quantified(&self, left: Vec<TypedExpr>, op: &str, query: &Query, all: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        match (op, all) {
            ("=", false) => return self.in_subquery(left, query, false, env),
            ("<>", true) => return self.in_subquery(left, query, true, env),
            _ if left.len() > 1 => return Err(BindError::unsupported("ANY or ALL of rows but for equality")),
            _ => {}
        }
        let (relation, references) = self.subquery(query, env)?;
        let relation = self.settled(relation)?;
        Self::one_column(&relation)?;
        // For all rows: for none does the opposite hold, or might it.
        let opposite = match op {
            "=" => "<>",
            "<>" => "=",
            "<" => ">=",
            "<=" => ">",
            ">" => "<=",
            ">=" => "<",
            "~~" => "!~~",
            "!~~" => "~~",
            "~~*" => "!~~*",
            "!~~*" => "~~*",
            "~" => "!~",
            "!~" => "~",
            "~*" => "!~*",
            "!~*" => "~*",
            _ if all => return Err(BindError::unsupported(format!("the operator {op} before ALL of a subquery"))),
            _ => op,
        };
        self.any(&left, if all { opposite } else { op }, relation, references, all, env)
    }

    /// Both sides in the types in which the operator compares them.
    fn comparable(&self, left: TypedExpr, relation: Relation, op: &str) -> Result<(TypedExpr, Relation)> {
        let cx = self.cx();
        let right = Self::one_column(&relation)?;
        // Resolution refuses what cannot be compared, in PostgreSQL's words.
        resolve::binary_operator(&cx, op, left.clone(), right.clone())?;
        let ty = resolve::common_type(&cx, &[left.clone(), right.clone()], "IN")?;
        let implicit = functions::context::CastContext::Implicit;
        let left = resolve::group_key_expr(&cx, resolve::cast(&cx, left, ty.without_typmod(), implicit)?)?;
        let right = resolve::group_key_expr(&cx, resolve::cast(&cx, right, ty.without_typmod(), implicit)?)?;
        let column = Output { name: String::new(), value: right, origin: None };
        Ok((left, self.project(relation.plan, vec![column])?))
    }

    /// A plan, a value over it, and the order of its rows: an aggregate follows no order but its own.
    fn in_order(&self, plan: LogicalPlan, value: TypedExpr) -> Result<(LogicalPlan, TypedExpr, Vec<SortKey>)> {
        let Some((plan, expr, order)) = at_sort(&plan, &value.expr) else { return Ok((plan, value, Vec::new())) };
        let key = |key: datafusion::logical_expr::SortExpr| SortKey {
            expr: TypedExpr::new(key.expr, Scalar::Bytea),
            descending: !key.asc,
            nulls_first: key.nulls_first,
        };
        let value = Output { name: String::new(), value: TypedExpr { expr, ..value }, origin: None };
        let number = self.row_number(Vec::new(), order.into_iter().map(key).collect())?;
        let relation = self.with_window(Relation { plan, columns: vec![value] }, number)?;
        let [value, number] = relation.columns.as_slice() else { return Err(BindError::unsupported("an array of several columns")) };
        let order = SortKey { expr: number.value.clone(), descending: false, nulls_first: false };
        Ok((relation.plan, value.value.clone(), vec![order]))
    }

    /// `ARRAY(SELECT …)`.
    pub(crate) fn array_subquery(&self, query: &Query, env: &Environment<'_>) -> Result<TypedExpr> {
        let (relation, references) = self.subquery(query, env)?;
        let relation = self.settled(relation)?;
        let value = Self::one_column(&relation)?;
        let cx = self.cx();
        let (plan, value, order_by) = self.in_order(relation.plan, value)?;
        let list = resolve::aggregate(&cx, AggregateCall { order_by, ..AggregateCall::plain("array_agg", vec![value]) })?;
        let ty = list.ty;
        let found = self.aggregated(plan, list, references)?;
        let empty = resolve::literal(&Datum::Array(common::array::Array::default()), ty);
        Ok(resolve::call(&cx, "coalesce", vec![found, empty], false)?)
    }
}

/// A subquery whose outer columns have other places.
pub(crate) fn with_outer_columns(expr: Expr, moved: &[(Column, Column)]) -> datafusion::error::Result<Expr> {
    let after = |e: Expr| {
        let found = match &e {
            Expr::OuterReferenceColumn(field, column) => {
                moved.iter().find(|(before, _)| before == column).map(|(_, to)| (Arc::clone(field), to.clone()))
            }
            _ => None,
        };
        Ok(match found {
            Some((field, to)) => Transformed::yes(Expr::OuterReferenceColumn(field, to)),
            None => Transformed::no(e),
        })
    };
    let of_subquery = |subquery: Subquery| -> datafusion::error::Result<Subquery> {
        let plan = Arc::unwrap_or_clone(subquery.subquery).transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|e| {
                let name = names.save(&e);
                Ok(e.transform_up(after)?.update_data(|e| name.restore(e)))
            })
        })?;
        let outer_ref_columns =
            subquery.outer_ref_columns.into_iter().map(|e| Ok(after(e)?.data)).collect::<datafusion::error::Result<_>>()?;
        Ok(Subquery { subquery: Arc::new(plan.data), outer_ref_columns, spans: subquery.spans })
    };
    Ok(match expr {
        Expr::ScalarSubquery(subquery) => Expr::ScalarSubquery(of_subquery(subquery)?),
        Expr::Exists(mut exists) => {
            exists.subquery = of_subquery(exists.subquery)?;
            Expr::Exists(exists)
        }
        Expr::InSubquery(mut within) => {
            within.subquery = of_subquery(within.subquery)?;
            Expr::InSubquery(within)
        }
        other => other,
    })
}

/// The sort that ends a plan, below a limit and a projection, and a value over the rows there.
pub(crate) fn at_sort(plan: &LogicalPlan, value: &Expr) -> Option<(LogicalPlan, Expr, Vec<datafusion::logical_expr::SortExpr>)> {
    match plan {
        LogicalPlan::Sort(sort) => Some((plan.clone(), value.clone(), sort.expr.clone())),
        LogicalPlan::Projection(projection) => {
            let Expr::Column(column) = value else { return None };
            let at = projection.schema.index_of_column(column).ok()?;
            at_sort(&projection.input, &projection.expr[at].clone().unalias())
        }
        LogicalPlan::Limit(limit) => {
            let (below, value, order) = at_sort(&limit.input, value)?;
            let limited = datafusion::logical_expr::Limit { input: Arc::new(below), ..limit.clone() };
            Some((LogicalPlan::Limit(limited), value, order))
        }
        _ => None,
    }
}

fn sub(plan: LogicalPlan, outer_ref_columns: Vec<Expr>) -> Subquery {
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::default() }
}

fn exists(plan: LogicalPlan, references: Vec<Expr>, negated: bool) -> TypedExpr {
    TypedExpr::new(Expr::Exists(Exists::new(sub(plan, references), negated)), Scalar::Bool)
}

fn scalar(plan: LogicalPlan, references: Vec<Expr>) -> Expr {
    Expr::ScalarSubquery(sub(plan, references))
}

/// A column of an enclosing query as a subquery refers to it.
pub(crate) fn outer_reference(column: &super::scope::ScopeColumn) -> Expr {
    use datafusion::arrow::datatypes::Field;
    let Expr::Column(place) = &column.value.expr else { return column.value.expr.clone() };
    Expr::OuterReferenceColumn(Arc::new(Field::new(place.name.clone(), column.arrow.clone(), true)), place.clone())
}
