//! Views in FROM: the view's query is bound in the place of its name.
//!
//! Its text names relations by oid, and means the columns that they had when the view was made, under the names that they had then
//! ([`crate::schema::ViewUse`]): what is renamed or added later changes nothing.

use std::sync::Arc;

use common::ids::Oid;
use common::sqlstate::SqlState;
use sqlparser::ast::{ObjectName, Statement};

use super::Binder;
use super::from_clause::name_parts;
use super::relation::Output;
use super::scope::{ScopeColumn, ScopeTable};
use crate::error::{BindError, Result};
use crate::parse::{Syntax, parse_statements};
use crate::schema::{RELATION_REFERENCE, RelationInfo, ViewInfo};

/// How deep views may stand in views.
const NESTING_MAX: usize = 64;

impl Binder<'_> {
    /// The view's rows, and the names of its columns.
    pub(crate) fn view(&self, info: &RelationInfo, view: &Arc<ViewInfo>) -> Result<(datafusion::logical_expr::LogicalPlan, ScopeTable)> {
        if self.views.borrow().len() >= NESTING_MAX {
            return Err(BindError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
        }
        let parsed = parse_statements(&view.query)?.into_iter().next();
        let query = match parsed.as_ref().map(|p| &p.syntax) {
            Some(Syntax::Statement(tree)) => match tree.as_ref() {
                Statement::Query(query) => query,
                _ => return Err(BindError::unsupported("a view of something that is no query")),
            },
            _ => return Err(BindError::unsupported("a view of something that is no query")),
        };
        self.views.borrow_mut().push(Arc::clone(view));
        let bound = self.query(query, None, None).and_then(|relation| self.settled(relation));
        self.views.borrow_mut().pop();
        let relation = bound?;
        let named = relation.columns.iter().zip(&info.columns);
        let outputs = named.map(|(column, shown)| Output { name: shown.name.clone(), ..column.clone() });
        let relation = self.project(relation.plan, outputs.collect())?;
        let mut columns = Vec::with_capacity(relation.columns.len());
        for (column, shown) in relation.columns.iter().zip(&info.columns) {
            columns.push(ScopeColumn {
                name: shown.name.clone(),
                value: column.value.clone(),
                arrow: super::select::arrow_type(&column.value, &relation.plan)?,
                origin: Some((info.oid, shown.attnum)),
                merged: false,
            });
        }
        let table = ScopeTable { schema: Some(info.schema.clone()), name: info.name.clone(), columns, ..ScopeTable::default() };
        Ok((relation.plan, table))
    }

    /// Gives a relation that a view's text names the names that it had when the view was made.
    pub(crate) fn named_as_in_view(&self, name: &ObjectName, info: &RelationInfo, table: &mut ScopeTable) -> Result<()> {
        if referenced(name)?.is_none() {
            return Ok(());
        }
        let views = self.views.borrow();
        let Some(used) = views.last().and_then(|view| view.uses.iter().find(|u| u.relation == info.oid)) else { return Ok(()) };
        table.name.clone_from(&used.name);
        let mut columns = Vec::with_capacity(used.columns.len());
        for (attnum, name) in &used.columns {
            // A column that has gone since is one that the view does not need.
            if let Some(at) = info.columns.iter().position(|c| c.attnum == *attnum) {
                columns.push(ScopeColumn { name: name.clone(), ..table.columns[at].clone() });
            }
        }
        let place = |at: &usize| used.columns.iter().position(|(attnum, _)| info.columns[*at].attnum == *attnum);
        table.primary_key = table.primary_key.iter().filter_map(place).collect();
        table.columns = columns;
        Ok(())
    }
}

/// The oid of a relation that a view's text names.
pub(crate) fn referenced(name: &ObjectName) -> Result<Option<Oid>> {
    let parts = name_parts(name)?;
    let [only] = parts.as_slice() else { return Ok(None) };
    Ok(only.strip_prefix(RELATION_REFERENCE).and_then(|oid| oid.parse().ok()).map(Oid))
}
