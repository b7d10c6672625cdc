//! A bound query: a plan, and what its output columns are in SQL.

use std::sync::Arc;

use common::ids::Oid;
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use functions::typed_expr::{PLAN_NAME_SEPARATOR, TypedExpr};

use super::Binder;
use crate::bound::OutputColumn;
use crate::error::Result;

/// One output column: its name in SQL, and where it stands in the plan.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) value: TypedExpr,
    pub(crate) origin: Option<(Oid, i16)>,
}

/// A plan and its output columns; every value is a column of the plan.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    pub(crate) plan: LogicalPlan,
    pub(crate) columns: Vec<Output>,
}

impl Relation {
    pub(crate) fn output_columns(&self) -> Vec<OutputColumn> {
        self.columns.iter().map(|c| OutputColumn { name: c.name.clone(), ty: c.value.ty, origin: c.origin }).collect()
    }
}

impl Binder<'_> {
    /// Puts a projection on a plan: the outputs' values become columns of new unique names.
    pub(crate) fn project(&self, plan: LogicalPlan, outputs: Vec<Output>) -> Result<Relation> {
        let alias = self.unique("q");
        let reference = TableReference::bare(alias);
        let mut exprs = Vec::with_capacity(outputs.len());
        let mut columns = Vec::with_capacity(outputs.len());
        for (at, output) in outputs.into_iter().enumerate() {
            let shown = match &output.value.expr {
                Expr::Column(column) if output.name.is_empty() => column.name.split(PLAN_NAME_SEPARATOR).next().unwrap_or_default(),
                _ => output.name.as_str(),
            };
            let name = super::plan_name(shown, &format!("{}_{at}", reference.table()));
            let column = Expr::Column(Column::new(Some(reference.clone()), name.clone()));
            exprs.push(output.value.expr.clone().alias_qualified(Some(reference.clone()), name));
            columns.push(Output { value: TypedExpr { expr: column, ..output.value }, ..output });
        }
        Ok(Relation { plan: LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?), columns })
    }
}

/// A filter on a plan.
pub(crate) fn filter(plan: LogicalPlan, predicate: Expr) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Filter(datafusion::logical_expr::Filter::try_new(predicate, Arc::new(plan))?))
}

/// One row without columns.
pub(crate) fn one_row() -> LogicalPlan {
    LogicalPlan::EmptyRelation(datafusion::logical_expr::EmptyRelation {
        produce_one_row: true,
        schema: Arc::new(datafusion::common::DFSchema::empty()),
    })
}
