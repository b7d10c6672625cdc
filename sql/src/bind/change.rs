//! UPDATE and DELETE: a query that gives the rows to change, each once.

use common::sqlstate::SqlState;
use common::types::Scalar;
use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{Expr, LogicalPlan};
use functions::context::CastContext;
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{Delete, Expr as Tree, FromTable, SelectItem, TableFactor, TableWithJoins, Update, UpdateTableFromKind};

use super::Binder;
use super::ctes::Ctes;
use super::environment::Environment;
use super::relation::{Output, Relation, filter};
use super::returning::{from_scope, row_scope};
use super::scope::{Scope, ScopeTable, folded};
use crate::bound::{BoundDelete, BoundReturning, BoundUpdate};
use crate::error::{BindError, Result};
use crate::schema::{ROW_KEY, ROW_VERSION, RelationInfo};

/// The target, and FROM or USING beside it.
struct Target {
    info: std::sync::Arc<RelationInfo>,
    plan: LogicalPlan,
    scope: Scope,
    /// Row key and version.
    identity: [TypedExpr; 2],
}

impl Binder<'_> {
    pub(crate) fn update(&self, update: &Update, ctes: Option<&Ctes<'_>>) -> Result<BoundUpdate> {
        if !update.order_by.is_empty() || update.limit.is_some() {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"LIMIT\""));
        }
        let from = match &update.from {
            None => &[][..],
            Some(UpdateTableFromKind::AfterSet(items)) => items.as_slice(),
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err(BindError::unsupported("FROM before SET")),
        };
        let target = self.change_target(&update.table, from, ctes)?;
        let env = Environment::new(&target.scope, None, ctes, "UPDATE");
        let assigned = self.assignments(&target.info, &update.assignments, &env)?;
        let plan = self.restricted(target.plan, &target.scope, update.selection.as_ref(), ctes)?;
        let mut outputs = outputs_of(&target.identity);
        let table = &target.scope.tables[0];
        outputs.extend(table.columns.iter().map(|c| Output { name: c.name.clone(), value: c.value.clone(), origin: None }));
        for (at, column) in target.info.columns.iter().enumerate() {
            let value = match assigned.iter().find(|(place, _)| *place == at) {
                Some((_, value)) => TypedExpr::new(value.clone(), column.ty),
                None => table.columns[at].value.clone(),
            };
            outputs.push(Output { name: column.name.clone(), value, origin: None });
        }
        let (returning, source) = self.change_source(plan, outputs, &target.scope, &target.info, update.returning.as_deref(), ctes)?;
        let simple = if from.is_empty() {
            self.simple_change(&target.scope.tables[0], &target.info, update.selection.as_ref(), &update.assignments)?
        } else {
            None
        };
        let assigned = assigned.into_iter().map(|(at, _)| at).collect();
        Ok(BoundUpdate { target: target.info.oid, source: source.plan, assigned, returning, simple })
    }

    pub(crate) fn delete(&self, delete: &Delete, ctes: Option<&Ctes<'_>>) -> Result<BoundDelete> {
        if !delete.order_by.is_empty() || delete.limit.is_some() || !delete.tables.is_empty() {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error in DELETE"));
        }
        let (FromTable::WithFromKeyword(items) | FromTable::WithoutKeyword(items)) = &delete.from;
        let [table] = items.as_slice() else {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \",\""));
        };
        let using = delete.using.as_deref().unwrap_or_default();
        let target = self.change_target(table, using, ctes)?;
        let plan = self.restricted(target.plan, &target.scope, delete.selection.as_ref(), ctes)?;
        let mut outputs = outputs_of(&target.identity);
        let table = &target.scope.tables[0];
        outputs.extend(table.columns.iter().map(|c| Output { name: c.name.clone(), value: c.value.clone(), origin: None }));
        let (returning, source) = self.change_source(plan, outputs, &target.scope, &target.info, delete.returning.as_deref(), ctes)?;
        let simple = if using.is_empty() {
            self.simple_change(&target.scope.tables[0], &target.info, delete.selection.as_ref(), &[])?
        } else {
            None
        };
        Ok(BoundDelete { target: target.info.oid, source: source.plan, returning, simple })
    }

    fn change_target(&self, table: &TableWithJoins, others: &[TableWithJoins], ctes: Option<&Ctes<'_>>) -> Result<Target> {
        if !table.joins.is_empty() {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"JOIN\""));
        }
        let TableFactor::Table { name, alias, .. } = &table.relation else {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{}\"", table.relation)));
        };
        let info = self.target(name)?;
        let (plan, own, identity) = self.target_scan(&info, alias.as_ref())?;
        let mut target = Target { info, plan, scope: Scope { tables: vec![own], merged: Vec::new() }, identity };
        if !others.is_empty() {
            let source = self.sources(others, None, ctes)?;
            target.scope.append(source.scope)?;
            let joined = datafusion::logical_expr::LogicalPlanBuilder::from(target.plan);
            target.plan = joined.join_on(source.plan, JoinType::Inner, [datafusion::logical_expr::lit(true)])?.build()?;
        }
        Ok(target)
    }

    /// The rows of a table that is written to: a scan, its columns under the alias, and the rows' keys and versions.
    pub(crate) fn target_scan(
        &self,
        info: &RelationInfo,
        alias: Option<&sqlparser::ast::TableAlias>,
    ) -> Result<(LogicalPlan, ScopeTable, [TypedExpr; 2])> {
        let (plan, mut own) = self.scan(info)?;
        if let Some(alias) = alias {
            own.name = folded(&alias.name);
            own.schema = None;
        }
        let reference = match &plan {
            LogicalPlan::TableScan(scan) => scan.table_name.clone(),
            _ => return Err(BindError::unsupported("this target")),
        };
        let hidden = |name: &str, ty: Scalar| TypedExpr::new(Expr::Column(Column::new(Some(reference.clone()), name)), ty);
        let identity = [hidden(ROW_KEY, Scalar::Bytea), hidden(ROW_VERSION, Scalar::Int8)];
        Ok((plan, own, identity))
    }

    fn restricted(&self, plan: LogicalPlan, scope: &Scope, condition: Option<&Tree>, ctes: Option<&Ctes<'_>>) -> Result<LogicalPlan> {
        match condition {
            None => Ok(plan),
            Some(tree) => {
                let env = Environment::new(scope, None, ctes, "WHERE").filtering();
                let bound = self.expression(tree, &env)?;
                filter(plan, resolve::to_boolean(&self.cx(), bound, "WHERE")?.expr)
            }
        }
    }

    /// The rows to change: identity and columns, then what RETURNING needs of the other tables; each target row once.
    fn change_source(
        &self,
        plan: LogicalPlan,
        mut outputs: Vec<Output>,
        scope: &Scope,
        info: &RelationInfo,
        returning: Option<&[SelectItem]>,
        ctes: Option<&Ctes<'_>>,
    ) -> Result<(Option<BoundReturning>, Relation)> {
        let others = &scope.tables[1..];
        let mut shown = row_scope("t", &scope.tables[0].name, info);
        for table in &mut shown.tables {
            table.schema.clone_from(&scope.tables[0].schema);
        }
        let from: Vec<ScopeTable> = from_scope(others);
        shown.tables.extend(from.iter().cloned());
        let bound = self.returning(returning, &shown, &from, ctes)?;
        if bound.is_some() {
            for column in others.iter().flat_map(|t| &t.columns) {
                // In the form that the type itself says.
                let value = resolve::cast(&self.cx(), column.value.clone(), column.value.ty, CastContext::Implicit)?;
                outputs.push(Output { name: column.name.clone(), value, origin: None });
            }
        }
        let mut relation = self.project(plan, outputs)?;
        if !others.is_empty() {
            let number = self.row_number(vec![relation.columns[0].value.expr.clone()], Vec::new())?;
            relation = self.with_window(relation, number)?;
            if let Some(number) = relation.columns.pop() {
                let first = number.value.expr.eq(resolve::literal(&common::datum::Datum::Int8(1), Scalar::Int8.into()).expr);
                relation.plan = filter(relation.plan, first)?;
                relation = self.project(relation.plan, relation.columns)?;
            }
        }
        Ok((bound, relation))
    }
}

fn outputs_of(identity: &[TypedExpr; 2]) -> Vec<Output> {
    identity.iter().map(|value| Output { name: String::new(), value: value.clone(), origin: None }).collect()
}
