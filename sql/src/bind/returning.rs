//! RETURNING: expressions over the rows that a change wrote, which the executor gives as `t.<i>` and `from.<i>`.

use common::types::SqlType;
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::SelectItem;

use super::Binder;
use super::ctes::Ctes;
use super::environment::Environment;
use super::relation::Output;
use super::scope::{Scope, ScopeTable};
use crate::bound::{BoundReturning, OutputColumn, WRITTEN_ROWS};
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
        let place = Expr::Column(Column::new(Some(TableReference::bare("from")), at.to_string()));
        column.value = TypedExpr::new(place, column.value.ty);
    }
    tables
}

impl Binder<'_> {
    /// `scope` is the table's columns, and then those of `from`.
    pub(crate) fn returning(
        &self,
        items: Option<&[SelectItem]>,
        scope: &Scope,
        from: &[ScopeTable],
        ctes: Option<&Ctes<'_>>,
    ) -> Result<Option<BoundReturning>> {
        let Some(items) = items else { return Ok(None) };
        let env = Environment::new(scope, None, ctes, "RETURNING");
        let outputs = self.select_list(items, &env)?;
        let from_types: Vec<SqlType> = from.iter().flat_map(|t| &t.columns).map(|c| c.value.ty).collect();
        let mut expressions = Vec::with_capacity(outputs.len());
        let mut columns = Vec::with_capacity(outputs.len());
        for output in outputs {
            let value = resolve::settle_unknown(&self.cx(), output.value)?;
            columns.push(OutputColumn { name: output.name, ty: value.ty, origin: output.origin });
            columns.last().map_or(Ok(()), reject_row)?;
            expressions.push(value);
        }
        let mut plan = None;
        if expressions.iter().any(|value| super::has_subquery(&value.expr)) {
            let own: Vec<SqlType> = scope.tables.first().map(|t| t.columns.iter().map(|c| c.value.ty).collect()).unwrap_or_default();
            let rows = self.written_rows(&[("t", &own), ("from", &from_types)])?;
            let types: Vec<SqlType> = expressions.iter().map(|value| value.ty).collect();
            let outputs = expressions.iter().map(|value| Output { name: String::new(), value: value.clone(), origin: None }).collect();
            let relation = self.project(rows, outputs)?;
            plan = Some(self.cast_columns(relation, &types, false)?.plan);
        }
        let expressions = expressions.into_iter().map(|value| value.expr).collect();
        Ok(Some(BoundReturning { expressions, columns, from_types, plan }))
    }

    /// The rows that a change writes, as columns `<qualifier>.<i>`.
    pub(crate) fn written_rows(&self, qualifiers: &[(&str, &[SqlType])]) -> Result<LogicalPlan> {
        let types: Vec<SqlType> = qualifiers.iter().flat_map(|(_, types)| types.iter().copied()).collect();
        let scan = self.given_rows(WRITTEN_ROWS, &types)?;
        let mut fields = scan.schema().columns().into_iter();
        let mut named = Vec::with_capacity(types.len());
        for (qualifier, types) in qualifiers {
            for (at, field) in (0..types.len()).zip(&mut fields) {
                named.push(Expr::Column(field).alias_qualified(Some(TableReference::bare(*qualifier)), at.to_string()));
            }
        }
        Ok(LogicalPlan::Projection(Projection::try_new(named, std::sync::Arc::new(scan))?))
    }
}

/// Rows are known to functions only, and not to clients.
pub(crate) fn reject_row(column: &OutputColumn) -> Result<()> {
    if column.ty.scalar == common::types::Scalar::Record {
        return Err(BindError::unsupported("a row as an output column"));
    }
    Ok(())
}
