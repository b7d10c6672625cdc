//! Queries that lock the rows that they give: SELECT … FOR UPDATE.
//!
//! Such a query is carried out before the statement that it stands in ([`BoundLocking`]), wherever it stands: its plan gives the rows in order,
//! with key and version of each table's row; whoever executes it locks them one after the other, until there are as many as LIMIT wants. In
//! the statement's own plan a scan of [`LockedRows`] stands for the result.

use std::sync::Arc;

use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScanBuilder, TableSource};
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{
    Distinct, GroupByExpr, Ident, JoinOperator, LimitClause, LockClause, NonBlock, ObjectName, Query, Select, SetExpr, TableAlias,
    TableFactor, TableWithJoins,
};

use super::Binder;
use super::ctes::Ctes;
use super::environment::Environment;
use super::relation::{Output, Relation};
use super::scope::{Scope, ScopeTable, folded};
use crate::bound::{BoundLocking, BoundRowLock, LockPolicy, RowLockStrength};
use crate::error::{BindError, Result};
use crate::row_lock_syntax::{self, RowLockClause};
use crate::schema::{ROW_KEY, ROW_VERSION};

/// Stands in a plan for the rows of the statement's `number`-th locking query.
#[derive(Debug)]
pub struct LockedRows {
    pub number: usize,
    schema: SchemaRef,
}

impl TableSource for LockedRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Where a table's row is in a plan, for a FROM item that is a table.
#[derive(Clone, Debug)]
pub(crate) struct ScopeRow {
    pub(crate) reference: TableReference,
    pub(crate) relation: common::ids::Oid,
}

impl Binder<'_> {
    /// Binds a query with locking clauses, and puts its result in the place of a plan.
    pub(crate) fn locking_query(&self, query: &Query, outer: Option<&Environment<'_>>, ctes: Option<&Ctes<'_>>) -> Result<Relation> {
        let clauses: Vec<RowLockClause> = query.locks.iter().map(row_lock_syntax::read).collect();
        let first = clauses[0].strength.clause();
        let select = match query.body.as_ref() {
            SetExpr::Select(select) => select,
            SetExpr::SetOperation { .. } => return Err(not_allowed(first, "UNION/INTERSECT/EXCEPT")),
            SetExpr::Values(_) => {
                return Err(BindError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("FOR {first} cannot be applied to VALUES")));
            }
            _ => return Err(BindError::unsupported(format!("FOR {first} behind a query in parentheses"))),
        };
        check_select(select, first)?;
        let own;
        let ctes = match &query.with {
            Some(with) => {
                own = Ctes::of_clause(with, ctes);
                Some(&own)
            }
            None => ctes,
        };
        let select = &with_inherited(select, query, &clauses);
        let no_scope = Scope::default();
        let env = Environment::new(&no_scope, outer, ctes, "LIMIT");
        let mut locks = Vec::new();
        let mut relation = self.select_with_rows(select, query.order_by.as_ref(), outer, ctes, first, |scope| {
            self.lock_targets(scope, select, &clauses, &mut locks)
        })?;
        if super::has_outer_reference(&relation.plan) {
            return Err(BindError::unsupported(format!("FOR {first} in a correlated subquery")));
        }
        relation.columns.truncate(relation.columns.len() - 2 * locks.len());
        let (limit, offset) = match &query.limit_clause {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit.as_ref(), offset.as_ref().map(|o| &o.value)),
            Some(LimitClause::OffsetCommaLimit { .. }) => {
                return Err(BindError::new(SqlState::SYNTAX_ERROR, "LIMIT #,# syntax is not supported"));
            }
        };
        let mut limit = limit.map(|tree| self.row_count(tree, &env, "LIMIT")).transpose()?;
        let offset = offset.map(|tree| self.row_count(tree, &env, "OFFSET")).transpose()?;
        if let Some(fetch) = &query.fetch {
            if fetch.with_ties {
                return Err(BindError::unsupported(format!("FOR {first} with FETCH FIRST … WITH TIES")));
            }
            let one = sqlparser::ast::Expr::Value(sqlparser::ast::Value::Number("1".into(), false).with_empty_span());
            limit = Some(self.row_count(fetch.quantity.as_ref().unwrap_or(&one), &env, "LIMIT")?);
        }
        self.place_locked_rows(relation, locks, limit, offset)
    }

    fn place_locked_rows(
        &self,
        relation: Relation,
        locks: Vec<BoundRowLock>,
        limit: Option<Expr>,
        offset: Option<Expr>,
    ) -> Result<Relation> {
        let count = relation.columns.len();
        let fields: Vec<Field> =
            relation.plan.schema().fields().iter().take(count).map(|f| Field::new(f.name(), f.data_type().clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let mut locking = self.locking.borrow_mut();
        let source = Arc::new(LockedRows { number: locking.len(), schema: Arc::clone(&schema) });
        let types: Vec<SqlType> = relation.columns.iter().map(|c| c.value.ty).collect();
        locking.push(BoundLocking { plan: relation.plan, types, locks, limit, offset });
        let alias = TableReference::bare(self.unique("l"));
        let scan = TableScanBuilder::new(alias.clone(), source).build()?;
        let columns = relation.columns.into_iter().zip(schema.fields()).map(|(output, field)| {
            let expr = Expr::Column(Column::new(Some(alias.clone()), field.name()));
            Output { value: TypedExpr { expr, ..output.value }, ..output }
        });
        Ok(Relation { plan: LogicalPlan::TableScan(scan), columns: columns.collect() })
    }

    /// What is locked; answers the columns that tell which rows these are: key and version for each lock.
    fn lock_targets(
        &self,
        scope: &Scope,
        select: &Select,
        clauses: &[RowLockClause],
        locks: &mut Vec<BoundRowLock>,
    ) -> Result<Vec<Output>> {
        let mut nullable = Vec::new();
        select.from.iter().for_each(|item| nullable_names(item, false, &mut nullable));
        let mut chosen: Vec<(&ScopeRow, RowLockStrength, LockPolicy)> = Vec::new();
        for clause in clauses {
            let tables = if clause.tables.is_empty() { scope.tables.iter().collect() } else { self.named_tables(scope, clause)? };
            for table in tables {
                let Some(row) = &table.row else {
                    if !clause.tables.is_empty() && !is_derived(select, &table.name) {
                        return Err(no_table(clause, &table.name));
                    }
                    continue;
                };
                if nullable.contains(&table.name) {
                    let what = format!("FOR {} cannot be applied to the nullable side of an outer join", clause.strength.clause());
                    return Err(BindError::new(SqlState::FEATURE_NOT_SUPPORTED, what));
                }
                let policy = policy_of(clause);
                match chosen.iter_mut().find(|(other, ..)| other.reference == row.reference) {
                    Some((_, strength, before)) => {
                        *strength = (*strength).max(clause.strength);
                        *before = (*before).max(policy);
                    }
                    None => chosen.push((row, clause.strength, policy)),
                }
            }
        }
        let mut outputs = Vec::with_capacity(2 * chosen.len());
        for (row, strength, policy) in chosen {
            locks.push(BoundRowLock { relation: row.relation, strength, policy });
            for (name, ty) in [(ROW_KEY, Scalar::Bytea), (ROW_VERSION, Scalar::Int8)] {
                let expr = Expr::Column(Column::new(Some(row.reference.clone()), name));
                outputs.push(Output { name: String::new(), value: TypedExpr::new(expr, ty), origin: None });
            }
        }
        Ok(outputs)
    }

    fn named_tables<'s>(&self, scope: &'s Scope, clause: &RowLockClause) -> Result<Vec<&'s ScopeTable>> {
        let find = |ident: &Ident| {
            let name = folded(ident);
            scope.tables.iter().find(|table| table.name == name).ok_or_else(|| {
                let message = format!("relation \"{name}\" in FOR {} clause not found in FROM clause", clause.strength.clause());
                self.error_at(ident, BindError::new(SqlState::UNDEFINED_TABLE, message))
            })
        };
        clause.tables.iter().map(find).collect()
    }
}

fn no_table(clause: &RowLockClause, name: &str) -> BindError {
    BindError::unsupported(format!("FOR {} OF \"{name}\", which is no table,", clause.strength.clause()))
}

fn policy_of(clause: &RowLockClause) -> LockPolicy {
    match clause.nonblock {
        Some(NonBlock::Nowait) => LockPolicy::NoWait,
        Some(NonBlock::SkipLocked) => LockPolicy::SkipLocked,
        None => LockPolicy::Wait,
    }
}

fn not_allowed(clause: &str, with: &str) -> BindError {
    BindError::new(SqlState::FEATURE_NOT_SUPPORTED, format!("FOR {clause} is not allowed with {with}"))
}

/// What tells the clauses of a SELECT; aggregates and the like are found when it is bound.
fn check_select(select: &Select, clause: &str) -> Result<()> {
    if matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_))) {
        return Err(not_allowed(clause, "DISTINCT clause"));
    }
    if !matches!(&select.group_by, GroupByExpr::Expressions(items, modifiers) if items.is_empty() && modifiers.is_empty()) {
        return Err(not_allowed(clause, "GROUP BY clause"));
    }
    if select.having.is_some() {
        return Err(not_allowed(clause, "HAVING clause"));
    }
    Ok(())
}

/// What is found in the expressions of a SELECT.
pub(crate) fn check_calls(clause: &str, has_aggregates: bool, has_windows: bool, has_sets: bool) -> Result<()> {
    let refused = [
        (has_aggregates, "aggregate functions"),
        (has_windows, "window functions"),
        (has_sets, "set-returning functions in the target list"),
    ];
    match refused.iter().find(|(is_there, _)| *is_there) {
        Some((_, what)) => Err(not_allowed(clause, what)),
        None => Ok(()),
    }
}

/// The names of the tables whose rows an outer join may leave out.
fn nullable_names(item: &TableWithJoins, is_nullable: bool, names: &mut Vec<String>) {
    // A join makes nullable what stands left of it, too.
    let left_is = |at: usize| {
        item.joins[at..]
            .iter()
            .any(|j| matches!(j.join_operator, JoinOperator::Right(_) | JoinOperator::RightOuter(_) | JoinOperator::FullOuter(_)))
    };
    factor_names(&item.relation, is_nullable || left_is(0), names);
    for (at, join) in item.joins.iter().enumerate() {
        let right_is = matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_) | JoinOperator::FullOuter(_));
        factor_names(&join.relation, is_nullable || right_is || left_is(at + 1), names);
    }
}

fn factor_names(factor: &TableFactor, is_nullable: bool, names: &mut Vec<String>) {
    let mut alias_or = |alias: &Option<TableAlias>, name: Option<&Ident>| {
        let ident = alias.as_ref().map(|alias| &alias.name).or(name);
        if is_nullable {
            names.extend(ident.map(folded));
        }
    };
    match factor {
        TableFactor::Table { name, alias, .. } => alias_or(alias, name.0.last().and_then(|part| part.as_ident())),
        TableFactor::Derived { alias, .. } => alias_or(alias, None),
        TableFactor::NestedJoin { table_with_joins, .. } => nullable_names(table_with_joins, is_nullable, names),
        _ => {}
    }
}

/// The SELECT, with the clauses of its query in those subqueries of FROM that they are about: these lock their own rows.
fn with_inherited(select: &Select, query: &Query, clauses: &[RowLockClause]) -> Select {
    let mut select = select.clone();
    for item in &mut select.from {
        let factors = std::iter::once(&mut item.relation).chain(item.joins.iter_mut().map(|join| &mut join.relation));
        for factor in factors {
            let TableFactor::Derived { subquery, alias, .. } = factor else { continue };
            let name = alias.as_ref().map(|alias| folded(&alias.name));
            let is_about = |clause: &RowLockClause| clause.tables.is_empty() || clause.tables.iter().any(|t| Some(folded(t)) == name);
            let about = query.locks.iter().zip(clauses).filter(|(_, clause)| is_about(clause));
            subquery.locks.extend(about.map(|(lock, _)| LockClause {
                // The strength alone.
                of: lock.of.as_ref().map(|of| ObjectName(of.0.iter().take(1).cloned().collect())),
                ..lock.clone()
            }));
        }
    }
    select
}

fn is_derived(select: &Select, name: &str) -> bool {
    let factors = select.from.iter().flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)));
    factors.into_iter().any(|factor| matches!(factor, TableFactor::Derived { alias: Some(alias), .. } if folded(&alias.name) == name))
}
