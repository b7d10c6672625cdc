//! RETURNING: expressions over the rows that a change wrote.

use common::datum::Datum;
use common::error::Report;
use common::types::SqlType;
use datafusion::logical_expr::LogicalPlan;
use functions::context::SessionSettings;
use sql::bound::BoundReturning;

use crate::execute::given::Given;
use crate::row_expression::RowExpression;
use crate::session::Session;

/// A RETURNING list, ready to run.
pub struct Returning {
    how: How,
    /// Types of the visible columns, and then of those of FROM or USING.
    inputs: Vec<SqlType>,
    outputs: Vec<SqlType>,
}

enum How {
    /// Row by row.
    Rows(Vec<RowExpression>),
    /// Over all rows at once: there are subqueries in it.
    Plan(LogicalPlan),
}

impl Returning {
    /// Compiles it over visible columns `t.<i>` and, for UPDATE … FROM and DELETE … USING, `from.<i>`.
    pub fn compile(
        bound: &BoundReturning,
        visible: &[SqlType],
        from: &[SqlType],
        parameters: &[SqlType],
        settings: &SessionSettings,
    ) -> Result<Self, Report> {
        let inputs = visible.iter().chain(from).copied().collect();
        let outputs = bound.columns.iter().map(|column| column.ty).collect();
        if let Some(plan) = &bound.plan {
            return Ok(Self { how: How::Plan(plan.clone()), inputs, outputs });
        }
        let compiled = bound
            .expressions
            .iter()
            .zip(&bound.columns)
            .map(|(expr, column)| RowExpression::compile(expr, &[("t", visible), ("from", from)], parameters, column.ty, settings));
        Ok(Self { how: How::Rows(compiled.collect::<Result<_, _>>()?), inputs, outputs })
    }

    /// The output row of a written row and the columns of FROM or USING beside it; where the list is a plan, the row that this reads.
    pub fn row(&self, visible: &[Datum], from: &[Datum], parameters: &[Datum]) -> Result<Vec<Datum>, Report> {
        match &self.how {
            How::Rows(expressions) => expressions.iter().map(|e| e.evaluate(&[visible, from], parameters)).collect(),
            How::Plan(_) => Ok(visible.iter().chain(from).cloned().collect()),
        }
    }

    /// The output rows of what [`Self::row`] gave.
    pub async fn finish(&self, session: &Session, given: &Given<'_>, rows: Vec<Vec<Datum>>) -> Result<Vec<Vec<Datum>>, Report> {
        match &self.how {
            How::Rows(_) => Ok(rows),
            How::Plan(plan) => given.over_written(session, plan, (&self.inputs, &rows), &self.outputs).await,
        }
    }
}
