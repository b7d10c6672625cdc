//! RETURNING: expressions over the rows that a change wrote, which the executor gives as `t.<i>` and `from.<i>`.

use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::Expr;
use functions::resolve;
use sqlparser::ast::SelectItem;

use super::Binder;
use super::environment::Environment;
use super::scope::{Scope, ScopeTable};
use crate::bound::{BoundReturning, OutputColumn};
use crate::error::{BindError, Result};
use crate::schema::RelationInfo;

/// The columns of a table as `<qualifier>.<i>`, under a name of SQL.
pub(crate) fn row_scope(qualifier: &str, name: &str, info: &RelationInfo) -> Scope {
    let columns: Vec<_> = info.columns.iter().map(|c| (c.name.clone(), c.ty)).collect();
    let mut scope = Scope::of_row(qualifier, &columns);
    for table in &mut scope.tables {
        name.clone_into(&mut table.name);
        table.schema = Some(info.schema.clone());
        for (column, of) in table.columns.iter_mut().zip(&info.columns) {
            column.origin = Some((info.oid, of.attnum));
        }
    }
    scope
}

/// The tables of FROM or USING with their columns numbered as `from.<i>`.
pub(crate) fn from_scope(tables: &[ScopeTable]) -> Vec<ScopeTable> {
    let mut tables = tables.to_vec();
    for (at, column) in tables.iter_mut().flat_map(|t| &mut t.columns).enumerate() {
        column.value.expr = Expr::Column(Column::new(Some(TableReference::bare("from")), at.to_string()));
    }
    tables
}

impl Binder<'_> {
    pub(crate) fn returning(&self, items: Option<&[SelectItem]>, scope: &Scope, from: &[ScopeTable]) -> Result<Option<BoundReturning>> {
        let Some(items) = items else { return Ok(None) };
        let env = Environment::new(scope, None, None, "RETURNING");
        let outputs = self.select_list(items, &env)?;
        let mut expressions = Vec::with_capacity(outputs.len());
        let mut columns = Vec::with_capacity(outputs.len());
        for output in outputs {
            let value = resolve::settle_unknown(&self.cx(), output.value)?;
            if super::has_subquery(&value.expr) {
                return Err(BindError::unsupported("a subquery in RETURNING"));
            }
            columns.push(OutputColumn { name: output.name, ty: value.ty, origin: output.origin });
            columns.last().map_or(Ok(()), reject_row)?;
            expressions.push(value.expr);
        }
        let from_types = from.iter().flat_map(|t| &t.columns).map(|c| c.value.ty).collect();
        Ok(Some(BoundReturning { expressions, columns, from_types }))
    }
}

/// Rows are known to functions only, and not to clients.
pub(crate) fn reject_row(column: &OutputColumn) -> Result<()> {
    if column.ty.scalar == common::types::Scalar::Record {
        return Err(BindError::unsupported("a row as an output column"));
    }
    Ok(())
}
