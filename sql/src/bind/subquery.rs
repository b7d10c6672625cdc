//! Subqueries in expressions.
//!
//! A subquery is bound under a *junction*: an environment with the scope of the place where it stands, which collects the references that leave
//! the subquery. DataFusion takes EXISTS and IN as they are inside filters only; elsewhere both are said by counting.

use std::sync::Arc;

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::Scalar;
use datafusion::common::Spans;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Case, Expr, LogicalPlan, Operator, Subquery, lit};
use functions::resolve::{self, AggregateCall};
use functions::typed_expr::TypedExpr;
use sqlparser::ast::Query;

use super::Binder;
use super::environment::Environment;
use super::relation::{Output, Relation, filter};
use crate::error::{BindError, Result};

impl Binder<'_> {
    /// Binds a subquery that stands in `env`; its outward references come with it.
    fn subquery(&self, query: &Query, env: &Environment<'_>) -> Result<(Relation, Vec<Expr>)> {
        let junction = Environment::new(env.scope, env.outer, env.ctes, "subquery");
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

    /// `EXISTS (SELECT …)`.
    pub(crate) fn exists(&self, query: &Query, negated: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        let (relation, references) = self.subquery(query, env)?;
        if env.is_filter {
            let expr = Expr::Exists(Exists::new(sub(relation.plan, references), negated));
            return Ok(TypedExpr::new(expr, Scalar::Bool));
        }
        let count = self.count(relation.plan, references)?;
        let expr = if negated { count.eq(lit(0i64)) } else { count.gt(lit(0i64)) };
        Ok(TypedExpr::new(expr, Scalar::Bool))
    }

    /// `(SELECT count(*) FROM …)`.
    fn count(&self, plan: LogicalPlan, references: Vec<Expr>) -> Result<Expr> {
        let call = AggregateCall {
            name: "count".into(),
            args: Vec::new(),
            star: true,
            distinct: false,
            order_by: Vec::new(),
            filter: None,
            within_group: false,
        };
        let count = resolve::aggregate(&self.cx(), call)?;
        let aggregate = datafusion::logical_expr::Aggregate::try_new(Arc::new(plan), Vec::new(), vec![count.expr.clone()])?;
        let column = super::select::result_column(&count.expr);
        let output = Output { name: "count".into(), value: TypedExpr { expr: Expr::Column(column), ..count }, origin: None };
        let relation = self.project(LogicalPlan::Aggregate(aggregate), vec![output])?;
        Ok(scalar(relation.plan, references))
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
        if let ([value], true) = (left.as_slice(), env.is_filter) {
            let (value, relation) = self.comparable(value.clone(), relation, "=")?;
            let expr = Expr::InSubquery(InSubquery::new(Box::new(value.expr), sub(relation.plan, references), negated));
            return Ok(TypedExpr::new(expr, Scalar::Bool));
        }
        let found = self.in_by_counting(&left, relation, references, env)?;
        let expr = if negated { Expr::Not(Box::new(found)) } else { found };
        Ok(TypedExpr::new(expr, Scalar::Bool))
    }

    /// TRUE when a row is equal, NULL when one might be, FALSE otherwise.
    fn in_by_counting(&self, left: &[TypedExpr], relation: Relation, references: Vec<Expr>, env: &Environment<'_>) -> Result<Expr> {
        let mut equal = lit(true);
        let mut references = references;
        for (value, column) in left.iter().zip(&relation.columns) {
            let inner = self.as_outer(value, env, &mut references)?;
            let same = resolve::binary_operator(&self.cx(), "=", inner, column.value.clone())?.expr;
            equal = if equal == lit(true) { same } else { equal.and(same) };
        }
        let matching = filter(relation.plan.clone(), equal.clone())?;
        let unknown = filter(relation.plan, equal.is_null())?;
        let found = self.count(matching, references.clone())?;
        let open = self.count(unknown, references)?;
        let case = Case {
            expr: None,
            when_then_expr: vec![
                (Box::new(found.gt(lit(0i64))), Box::new(lit(true))),
                (Box::new(open.gt(lit(0i64))), Box::new(Expr::Literal(datafusion::common::ScalarValue::Boolean(None), None))),
            ],
            else_expr: Some(Box::new(lit(false))),
        };
        Ok(Expr::Case(case))
    }

    /// An expression of the outer query as its subquery says it: its columns become outer references.
    fn as_outer(&self, value: &TypedExpr, env: &Environment<'_>, references: &mut Vec<Expr>) -> Result<TypedExpr> {
        use datafusion::common::tree_node::{Transformed, TreeNode};
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
    pub(crate) fn quantified(&self, left: TypedExpr, op: &str, query: &Query, all: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        match (op, all) {
            ("=", false) => return self.in_subquery(vec![left], query, false, env),
            ("<>", true) => return self.in_subquery(vec![left], query, true, env),
            _ => {}
        }
        let operator = match op {
            "=" => Operator::Eq,
            "<>" => Operator::NotEq,
            "<" => Operator::Lt,
            "<=" => Operator::LtEq,
            ">" => Operator::Gt,
            ">=" => Operator::GtEq,
            _ => return Err(BindError::unsupported(format!("the operator {op} before ANY or ALL of a subquery"))),
        };
        if !env.is_filter {
            return Err(BindError::unsupported("ANY or ALL of a subquery outside of WHERE"));
        }
        let (relation, references) = self.subquery(query, env)?;
        let relation = self.settled(relation)?;
        Self::one_column(&relation)?;
        let (left, relation) = self.comparable(left, relation, op)?;
        let quantifier = if all { SetQuantifier::All } else { SetQuantifier::Any };
        let comparison = SetComparison::new(Box::new(left.expr), sub(relation.plan, references), operator, quantifier);
        Ok(TypedExpr::new(Expr::SetComparison(comparison), Scalar::Bool))
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

    /// `ARRAY(SELECT …)`.
    pub(crate) fn array_subquery(&self, query: &Query, env: &Environment<'_>) -> Result<TypedExpr> {
        let (relation, references) = self.subquery(query, env)?;
        let relation = self.settled(relation)?;
        let value = Self::one_column(&relation)?;
        let cx = self.cx();
        let call = AggregateCall {
            name: "array_agg".into(),
            args: vec![value],
            star: false,
            distinct: false,
            order_by: Vec::new(),
            filter: None,
            within_group: false,
        };
        let list = resolve::aggregate(&cx, call)?;
        let aggregate = datafusion::logical_expr::Aggregate::try_new(Arc::new(relation.plan), Vec::new(), vec![list.expr.clone()])?;
        let column = super::select::result_column(&list.expr);
        let ty = list.ty;
        let output = Output { name: "array".into(), value: TypedExpr { expr: Expr::Column(column), ..list }, origin: None };
        let relation = self.project(LogicalPlan::Aggregate(aggregate), vec![output])?;
        let found = TypedExpr::new(scalar(relation.plan, references), ty);
        let empty = resolve::literal(&Datum::Array(Vec::new()), ty);
        Ok(resolve::call(&cx, "coalesce", vec![found, empty], false)?)
    }
}

fn sub(plan: LogicalPlan, outer_ref_columns: Vec<Expr>) -> Subquery {
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Spans::default() }
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
