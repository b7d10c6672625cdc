//! Statements over one table whose condition and values look at nothing but the row: what the point path may take. Their columns become `t.<i>`.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::Expr;
use functions::resolve;
use sqlparser::ast::{Assignment, Distinct, Expr as Tree, GroupByExpr, LimitClause, Query, Select, SetExpr, TableFactor};

use super::Binder;
use super::environment::Environment;
use super::query::{direction, order_expressions};
use super::scope::{Scope, ScopeTable};
use crate::bound::{SimpleChange, SimpleSelect};
use crate::error::Result;
use crate::schema::{RelationInfo, RelationKind};

impl Binder<'_> {
    /// The query as a simple select, if it is one.
    pub(crate) fn simple_select(&self, query: &Query) -> Result<Option<SimpleSelect>> {
        let SetExpr::Select(select) = query.body.as_ref() else { return Ok(None) };
        if query.with.is_some() || query.fetch.is_some() || !query.locks.is_empty() || !is_plain(select) {
            return Ok(None);
        }
        let [item] = select.from.as_slice() else { return Ok(None) };
        let TableFactor::Table { name, args: None, sample: None, alias, .. } = &item.relation else { return Ok(None) };
        if !item.joins.is_empty() || alias.as_ref().is_some_and(|a| !a.columns.is_empty()) {
            return Ok(None);
        }
        // What is wrong is told by the general way.
        let Ok(info) = self.relation(name) else { return Ok(None) };
        if info.kind != RelationKind::Table {
            return Ok(None);
        }
        let source = self.sources(&select.from, None, None)?;
        let table = &source.scope.tables[0];
        let env = Environment::new(&source.scope, None, None, "SELECT");
        let Ok(outputs) = self.select_list(&select.projection, &env) else { return Ok(None) };
        let mut values = Vec::with_capacity(outputs.len());
        for output in outputs {
            let Some(value) = simple(resolve::settle_unknown(&self.cx(), output.value)?.expr, table)? else { return Ok(None) };
            values.push(value);
        }
        let Some(filter) = self.simple_condition(select.selection.as_ref(), &source.scope)? else { return Ok(None) };
        let mut order_by = Vec::new();
        if let Some(order) = &query.order_by {
            for item in order_expressions(order)? {
                let Tree::Identifier(_) = &item.expr else { return Ok(None) };
                let Ok(bound) = self.expression(&item.expr, &env) else { return Ok(None) };
                let Some(at) = table.columns.iter().position(|c| c.value.expr == bound.expr) else { return Ok(None) };
                let (descending, nulls_first) = direction(item)?;
                order_by.push((at, descending, nulls_first));
            }
        }
        let (limit, offset) = match &query.limit_clause {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit.as_ref(), offset.as_ref().map(|o| &o.value)),
            Some(LimitClause::OffsetCommaLimit { .. }) => return Ok(None),
        };
        let count = |tree: Option<&Tree>, what| tree.map(|tree| self.row_count(tree, &env, what)).transpose();
        let (Ok(limit), Ok(offset)) = (count(limit, "LIMIT"), count(offset, "OFFSET")) else { return Ok(None) };
        Ok(Some(SimpleSelect { relation: info.oid, filter, outputs: values, order_by, limit, offset }))
    }

    /// `None`: not simple. `Some(None)`: no condition.
    fn simple_condition(&self, condition: Option<&Tree>, scope: &Scope) -> Result<Option<Option<Expr>>> {
        let Some(tree) = condition else { return Ok(Some(None)) };
        let env = Environment::new(scope, None, None, "WHERE").filtering();
        let Ok(bound) = self.expression(tree, &env) else { return Ok(None) };
        let Ok(predicate) = resolve::to_boolean(&self.cx(), bound, "WHERE") else { return Ok(None) };
        Ok(simple(predicate.expr, &scope.tables[0])?.map(Some))
    }

    pub(crate) fn simple_change(
        &self,
        table: &ScopeTable,
        info: &RelationInfo,
        condition: Option<&Tree>,
        assignments: &[Assignment],
    ) -> Result<Option<SimpleChange>> {
        let scope = Scope { tables: vec![table.clone()], merged: Vec::new() };
        let Some(filter) = self.simple_condition(condition, &scope)? else { return Ok(None) };
        let env = Environment::new(&scope, None, None, "UPDATE");
        let mut values = Vec::with_capacity(assignments.len());
        // What is wrong, or names a WITH query, is told by the general way.
        let Ok(assigned) = self.assignments(info, assignments, &env) else { return Ok(None) };
        for (at, value) in assigned {
            let Some(value) = simple(value, table)? else { return Ok(None) };
            values.push((at, value));
        }
        Ok(Some(SimpleChange { filter, assignments: values }))
    }
}

fn is_plain(select: &Select) -> bool {
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(items, modifiers) if items.is_empty() && modifiers.is_empty());
    let distinct = matches!(select.distinct, Some(Distinct::Distinct | Distinct::On(_)));
    ungrouped && !distinct && select.having.is_none() && select.named_window.is_empty()
}

/// The expression over `t.<i>`; `None` when it looks at anything but the row.
fn simple(expr: Expr, table: &ScopeTable) -> Result<Option<Expr>> {
    if super::has_subquery(&expr) || expr.contains_outer() {
        return Ok(None);
    }
    let mut foreign = false;
    let renamed = expr.transform_down(|e| {
        if !matches!(e, Expr::Column(_)) {
            return Ok(Transformed::no(e));
        }
        match table.columns.iter().position(|c| c.value.expr == e) {
            Some(at) => {
                let column = Column::new(Some(TableReference::bare("t")), at.to_string());
                Ok(Transformed::new(Expr::Column(column), true, datafusion::common::tree_node::TreeNodeRecursion::Jump))
            }
            None => {
                foreign = true;
                Ok(Transformed::no(e))
            }
        }
    })?;
    Ok((!foreign).then_some(renamed.data))
}
