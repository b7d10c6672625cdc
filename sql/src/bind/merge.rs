//! MERGE: the source's rows beside the target's, for each the first WHEN clause that holds, and the values that this one gives.
//!
//! The number of the clause becomes a column first, so that each clause's condition is computed once, and only the chosen clause's values are computed.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::Scalar;
use datafusion::logical_expr::{Case, Expr, JoinType, lit};
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{
    JoinConstraint, Merge, MergeAction as ActionTree, MergeClause, MergeClauseKind, MergeInsertKind, MergeUpdateKind, TableFactor,
    TableWithJoins,
};

use super::Binder;
use super::ctes::Ctes;
use super::environment::Environment;
use super::from_clause::Source;
use super::insert::{check_width, is_default};
use super::relation::Output;
use super::scope::Scope;
use crate::bound::{BoundMerge, MergeAction};
use crate::error::{BindError, Result};
use crate::schema::RelationInfo;

/// What one WHEN clause does: its values are those of all visible columns.
struct Branch {
    action: MergeAction,
    condition: Expr,
    values: Option<Vec<Expr>>,
}

/// What the expressions of the clauses may name.
struct Scopes {
    both: Scope,
    source: Scope,
}

impl Binder<'_> {
    pub(crate) fn merge(&self, merge: &Merge, ctes: Option<&Ctes<'_>>) -> Result<BoundMerge> {
        let TableFactor::Table { name, alias, .. } = &merge.table else {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{}\"", merge.table)));
        };
        check_reachable(&merge.clauses)?;
        let info = self.target(name)?;
        let (plan, own, identity) = self.target_scan(&info, alias.as_ref())?;
        let old = own.columns.clone();
        let target = Source { plan, scope: Scope { tables: vec![own], merged: Vec::new() } };
        let source = self.sources(&[TableWithJoins { relation: merge.source.clone(), joins: Vec::new() }], None, ctes)?;
        let source_scope = source.scope.clone();
        let inserts = merge.clauses.iter().any(|clause| clause.clause_kind != MergeClauseKind::Matched);
        let kind = if inserts { JoinType::Left } else { JoinType::Inner };
        let joined = self.join(source, target, kind, &JoinConstraint::On(merge.on.as_ref().clone()), None, ctes)?;
        let scopes = Scopes { both: joined.scope, source: source_scope };
        let mut branches = Vec::with_capacity(merge.clauses.len());
        for clause in &merge.clauses {
            branches.push(self.branch(clause, &info, &scopes, &identity[0].expr, ctes)?);
        }
        let chosen = branches.iter().zip(1..).map(|(branch, number)| (branch.condition.clone(), lit(number)));
        let (plan, chosen) = self.extend(joined.plan, TypedExpr::new(case(chosen, lit(0)), Scalar::Int4))?;
        let when = |number: i32| chosen.expr.clone().eq(lit(number));
        let actions = branches.iter().zip(1..).map(|(branch, number)| (when(number), lit(branch.action as i32)));
        let action = TypedExpr::new(case(actions, lit(0)), Scalar::Int4);
        let output = |value: TypedExpr| Output { name: String::new(), value, origin: None };
        let [key, version] = identity;
        // The version as a number that SQL has.
        let version = datafusion::logical_expr::cast(version.expr, arrow::datatypes::DataType::Int64);
        let mut outputs = vec![output(key), output(TypedExpr::new(version, Scalar::Int8))];
        outputs.extend(old.into_iter().map(|column| output(column.value)));
        outputs.push(output(action));
        for (at, column) in info.columns.iter().enumerate() {
            let of_branches = branches.iter().zip(1..);
            let values = of_branches.filter_map(|(branch, number)| Some((when(number), branch.values.as_ref()?[at].clone())));
            let null = resolve::literal(&Datum::Null, column.ty).expr;
            outputs.push(output(TypedExpr::new(case(values, null), column.ty)));
        }
        Ok(BoundMerge { target: info.oid, source: self.project(plan, outputs)?.plan })
    }

    fn branch(&self, clause: &MergeClause, info: &RelationInfo, scopes: &Scopes, key: &Expr, ctes: Option<&Ctes<'_>>) -> Result<Branch> {
        let (is_matched, scope) = match clause.clause_kind {
            MergeClauseKind::Matched => (key.clone().is_not_null(), &scopes.both),
            MergeClauseKind::NotMatched => (key.clone().is_null(), &scopes.source),
            MergeClauseKind::NotMatchedByTarget | MergeClauseKind::NotMatchedBySource => {
                return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"BY\""));
            }
        };
        let condition = match &clause.predicate {
            None => is_matched,
            Some(tree) => {
                let bound = self.expression(tree, &Environment::new(scope, None, ctes, "MERGE WHEN conditions"))?;
                is_matched.and(resolve::to_boolean(&self.cx(), bound, "WHEN")?.expr)
            }
        };
        let env = Environment::new(scope, None, ctes, "MERGE");
        let (action, values) = match &clause.action {
            ActionTree::DoNothing { .. } => (MergeAction::Nothing, None),
            ActionTree::Delete { .. } => (MergeAction::Delete, None),
            ActionTree::Update(update) => {
                let MergeUpdateKind::Set(assignments) = &update.kind else {
                    return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"*\""));
                };
                let assigned = self.assignments(info, assignments, &env)?;
                // The target stands behind the source.
                let own = scopes.both.tables.last().map(|t| t.columns.as_slice()).unwrap_or_default();
                let mut values: Vec<Expr> = own.iter().map(|column| column.value.expr.clone()).collect();
                for (at, value) in assigned {
                    values[at] = value;
                }
                (MergeAction::Update, Some(values))
            }
            ActionTree::Insert(insert) => {
                let MergeInsertKind::Values(rows) = &insert.kind else {
                    return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"ROW\""));
                };
                let places = self.insert_columns(info, &insert.columns)?;
                let row = rows.rows.first().map(|row| row.content.as_slice()).unwrap_or_default();
                check_width(row.len(), places.len(), !insert.columns.is_empty())?;
                let mut given = Vec::with_capacity(row.len());
                for tree in row {
                    given.push(if is_default(tree) { None } else { Some(self.expression(tree, &env)?) });
                }
                (MergeAction::Insert, Some(self.completed(info, &places, given, None)?))
            }
        };
        Ok(Branch { action, condition, values })
    }
}

/// CASE of conditions and their values.
fn case(branches: impl Iterator<Item = (Expr, Expr)>, otherwise: Expr) -> Expr {
    let when_then_expr: Vec<_> = branches.map(|(condition, value)| (Box::new(condition), Box::new(value))).collect();
    if when_then_expr.is_empty() {
        return otherwise;
    }
    Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(otherwise)) })
}

/// A clause behind one of its kind that always holds is never reached.
fn check_reachable(clauses: &[MergeClause]) -> Result<()> {
    for kind in [MergeClauseKind::Matched, MergeClauseKind::NotMatched] {
        let of_kind: Vec<&MergeClause> = clauses.iter().filter(|clause| clause.clause_kind == kind).collect();
        let always = of_kind.iter().position(|clause| clause.predicate.is_none());
        if always.is_some_and(|at| at + 1 < of_kind.len()) {
            let message = "unreachable WHEN clause specified after unconditional WHEN clause";
            return Err(BindError::new(SqlState::SYNTAX_ERROR, message));
        }
    }
    Ok(())
}
