//! RETURNING: expressions over the rows that a change wrote.

use common::datum::Datum;
use common::error::Report;
use common::types::SqlType;
use functions::context::SessionSettings;
use sql::bound::BoundReturning;

use crate::row_expression::RowExpression;

/// A RETURNING list, ready to run.
pub struct Returning(Vec<RowExpression>);

impl Returning {
    /// Compiles it over visible columns `t.<i>` and, for UPDATE … FROM and DELETE … USING, `from.<i>`.
    pub fn compile(
        bound: &BoundReturning,
        visible: &[SqlType],
        from: &[SqlType],
        parameters: &[SqlType],
        settings: &SessionSettings,
    ) -> Result<Self, Report> {
        let compiled = bound
            .expressions
            .iter()
            .zip(&bound.columns)
            .map(|(expr, column)| RowExpression::compile(expr, &[("t", visible), ("from", from)], parameters, column.ty, settings));
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// The output row.
    pub fn row(&self, visible: &[Datum], from: &[Datum], parameters: &[Datum]) -> Result<Vec<Datum>, Report> {
        self.0.iter().map(|e| e.evaluate(&[visible, from], parameters)).collect()
    }
}
