//! The dependent join: for each row of an input, a plan that depends on the row.
//!
//! DataFusion turns some correlated subqueries into joins. What it cannot turn, or not without a change of meaning, is an [`Apply`]; see
//! [`crate::correlation`] for the choice and [`crate::apply_exec`] for how it runs.
//!
//! While a plan is optimised, the dependent plan is an input like any other, with the outer columns as `OuterReferenceColumn`s in it. Before operators
//! are made of the plan, the node is *sealed*: it hides the dependent plan, which becomes operators once for each set of outer values.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, TableReference};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

/// What the dependent plan's rows are to a row of the input.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum ApplyKind {
    /// One more column: the only column of the only row; NULL without a row, an error with several.
    Value,
    /// One more column: whether there is a row.
    Exists,
    /// The input's row beside each of them.
    Inner,
    /// The same; without any, the input's row beside NULLs.
    Left,
}

/// The node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Apply {
    pub(crate) input: Arc<LogicalPlan>,
    pub(crate) dependent: Arc<LogicalPlan>,
    pub(crate) kind: ApplyKind,
    /// A condition over the input: a row for which it does not hold needs no answer, and has NULL, or no row.
    pub(crate) guard: Option<Expr>,
    /// The qualifier of the column that a value or an existence becomes.
    name: String,
    is_sealed: bool,
    schema: DFSchemaRef,
}

/// The name of that column under its qualifier.
const RESULT: &str = "result";

impl Apply {
    pub(crate) fn new(input: Arc<LogicalPlan>, dependent: Arc<LogicalPlan>, kind: ApplyKind, name: String) -> Result<Self> {
        let added = match kind {
            ApplyKind::Value => {
                let ty = dependent.schema().field(0).data_type().clone();
                DFSchema::new_with_metadata(vec![result_field(&name, ty, true)], Default::default())?
            }
            ApplyKind::Exists => DFSchema::new_with_metadata(vec![result_field(&name, DataType::Boolean, false)], Default::default())?,
            ApplyKind::Inner => dependent.schema().as_ref().clone(),
            ApplyKind::Left => {
                let nullable = |(qualifier, field): (Option<&TableReference>, &Arc<Field>)| {
                    (qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(true)))
                };
                DFSchema::new_with_metadata(dependent.schema().iter().map(nullable).collect(), Default::default())?
            }
        };
        let schema = Arc::new(input.schema().join(&added)?);
        Ok(Self { input, dependent, kind, guard: None, name, is_sealed: false, schema })
    }

    /// The same for the rows for which a condition holds.
    pub(crate) fn guarded(self, guard: Option<Expr>) -> Self {
        Self { guard, ..self }
    }

    /// The column of a value or an existence.
    pub(crate) fn result(&self) -> Expr {
        Expr::Column(Column::new(Some(TableReference::bare(self.name.as_str())), RESULT))
    }

    pub(crate) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }

    /// The columns of the input that the dependent plan names, with their places.
    pub(crate) fn outer_columns(&self) -> Result<Vec<(Column, usize)>> {
        let mut columns = BTreeSet::new();
        visit_outer(&self.dependent, &mut |column| {
            if self.input.schema().has_column(column) {
                columns.insert(column.clone());
            }
        })?;
        columns.into_iter().map(|column| Ok((column.clone(), self.input.schema().index_of_column(&column)?))).collect()
    }
}

fn result_field(qualifier: &str, ty: DataType, nullable: bool) -> (Option<TableReference>, Arc<Field>) {
    (Some(TableReference::bare(qualifier)), Arc::new(Field::new(RESULT, ty, nullable)))
}

impl PartialOrd for Apply {
    fn partial_cmp(&self, _: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for Apply {
    fn name(&self) -> &str {
        "Apply"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        if self.is_sealed { vec![&self.input] } else { vec![&self.input, &self.dependent] }
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.guard.iter().cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Apply: {:?}", self.kind)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let mut inputs = inputs.into_iter().map(Arc::new);
        let input = inputs.next().ok_or_else(|| DataFusionError::Internal("an apply has an input".into()))?;
        let dependent = inputs.next().unwrap_or_else(|| Arc::clone(&self.dependent));
        let new = Self::new(input, dependent, self.kind, self.name.clone())?;
        Ok(Self { is_sealed: self.is_sealed, guard: exprs.into_iter().next(), ..new })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let mut of_input: BTreeSet<usize> = output_columns.iter().copied().filter(|at| *at < width).collect();
        of_input.extend(self.outer_columns().ok()?.into_iter().map(|(_, at)| at));
        for column in self.guard.iter().flat_map(Expr::column_refs) {
            of_input.insert(self.input.schema().index_of_column(column).ok()?);
        }
        let of_input = of_input.into_iter().collect();
        if self.is_sealed {
            return Some(vec![of_input]);
        }
        Some(vec![of_input, (0..self.dependent.schema().fields().len()).collect()])
    }
}

/// Calls `found` for each outer reference of a plan, those in its subqueries too.
pub(crate) fn visit_outer(plan: &LogicalPlan, found: &mut dyn FnMut(&Column)) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::OuterReferenceColumn(_, column) = part {
                    found(column);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// The plan with its outermost applies sealed.
pub(crate) fn seal(plan: LogicalPlan) -> Result<LogicalPlan> {
    let sealed = plan.transform_down(|node| {
        let LogicalPlan::Extension(extension) = &node else { return Ok(Transformed::no(node)) };
        match extension.node.as_any().downcast_ref::<Apply>() {
            Some(apply) if !apply.is_sealed => Ok(Transformed::yes(Apply { is_sealed: true, ..apply.clone() }.into_plan())),
            _ => Ok(Transformed::no(node)),
        }
    })?;
    Ok(sealed.data)
}
