//! Expressions over one row, for the paths that build no plan: keys, filters and new values of point statements, CHECK, DEFAULT, ON CONFLICT, RETURNING.
//!
//! An expression is compiled once for each prepared statement. A column, a parameter and a constant cost a copy of the value; anything else
//! is a DataFusion physical expression over a batch of one row that has just the columns it reads. Parameters are columns of that batch as
//! well, so that nothing is compiled again when they change.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use common::columns;
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::types::SqlType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use functions::context::{CatalogExtension, CatalogLookup, SessionSettings};

/// The qualifier of parameters among the columns of the one-row batch.
const PARAMETERS: &str = "$";

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// (which row, which column)
    Row(usize, usize),
    Parameter(usize),
}

enum Compiled {
    Value(Source),
    Constant(Datum),
    Computed { schema: Arc<Schema>, inputs: Vec<(Source, SqlType)>, expr: Arc<dyn PhysicalExpr> },
}

/// An expression over rows and parameters, ready to run.
pub struct RowExpression {
    compiled: Compiled,
    ty: SqlType,
}

impl RowExpression {
    /// An expression without columns that may ask the catalog, for use within one statement.
    pub fn compile_here(expr: &Expr, ty: SqlType, settings: &SessionSettings, lookup: Arc<dyn CatalogLookup>) -> Result<Self, Report> {
        Self::compiled(expr, &[], &[], ty, &execution_props(settings, Some(lookup)))
    }

    /// Compiles `expr`, whose columns are `<qualifier>.<i>` for the `rows` given, and whose placeholders have the `parameters`' types. `ty` is the
    /// expression's SQL type.
    pub fn compile(
        expr: &Expr,
        rows: &[(&str, &[SqlType])],
        parameters: &[SqlType],
        ty: SqlType,
        settings: &SessionSettings,
    ) -> Result<Self, Report> {
        Self::compiled(expr, rows, parameters, ty, &execution_props(settings, None))
    }

    fn compiled(
        expr: &Expr,
        rows: &[(&str, &[SqlType])],
        parameters: &[SqlType],
        ty: SqlType,
        props: &ExecutionProps,
    ) -> Result<Self, Report> {
        let resolve = |column: &Column| -> Option<Source> {
            let qualifier = column.relation.as_ref().map(TableReference::table)?;
            let at: usize = column.name.parse().ok()?;
            if qualifier == PARAMETERS {
                return (at < parameters.len()).then_some(Source::Parameter(at));
            }
            let row = rows.iter().position(|(name, _)| *name == qualifier)?;
            (at < rows[row].1.len()).then_some(Source::Row(row, at))
        };
        let type_of = |source: Source| match source {
            Source::Row(row, at) => rows[row].1[at],
            Source::Parameter(at) => parameters[at],
        };
        let expr = parameters_as_columns(expr.clone())?;
        if let Expr::Column(column) = &expr
            && let Some(source) = resolve(column)
        {
            return Ok(Self { compiled: Compiled::Value(source), ty });
        }
        let mut names: Vec<Column> = Vec::new();
        expr.apply(|e| {
            if let Expr::Column(column) = e
                && !names.contains(column)
            {
                names.push(column.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(|e| query::errors::report(&e))?;
        let mut inputs = Vec::with_capacity(names.len());
        let mut fields = Vec::with_capacity(names.len());
        for column in &names {
            let source = resolve(column).ok_or_else(|| Report::internal(format!("unresolved column {column} in a row expression")))?;
            let field = Field::new(&column.name, type_of(source).arrow(), true);
            inputs.push((source, type_of(source)));
            fields.push((column.relation.clone(), Arc::new(field)));
        }
        let schema = DFSchema::new_with_metadata(fields, std::collections::HashMap::new()).map_err(|e| query::errors::report(&e))?;
        let physical =
            create_physical_expr(&expr, &schema, props, &PhysicalPlanningContext::default()).map_err(|e| query::errors::report(&e))?;
        let expression = Self { compiled: Compiled::Computed { schema: Arc::clone(schema.inner()), inputs, expr: physical }, ty };
        let is_constant = names.is_empty() && !is_volatile(&expr)?;
        if is_constant {
            let value = expression.evaluate(&[], &[])?;
            return Ok(Self { compiled: Compiled::Constant(value), ty });
        }
        Ok(expression)
    }

    /// The SQL type of the value.
    pub fn ty(&self) -> SqlType {
        self.ty
    }

    /// The column of the first row that this is, unchanged.
    pub fn as_column(&self) -> Option<usize> {
        match &self.compiled {
            Compiled::Value(Source::Row(0, at)) => Some(*at),
            Compiled::Value(_) | Compiled::Constant(_) | Compiled::Computed { .. } => None,
        }
    }

    /// The value for these rows and parameters.
    pub fn evaluate(&self, rows: &[&[Datum]], parameters: &[Datum]) -> Result<Datum, Report> {
        let value = |source: Source| match source {
            Source::Row(row, at) => &rows[row][at],
            Source::Parameter(at) => &parameters[at],
        };
        let (schema, inputs, expr) = match &self.compiled {
            Compiled::Value(source) => return Ok(value(*source).clone()),
            Compiled::Constant(constant) => return Ok(constant.clone()),
            Compiled::Computed { schema, inputs, expr } => (schema, inputs, expr),
        };
        let mut arrays = Vec::with_capacity(inputs.len());
        for (source, ty) in inputs {
            arrays.push(columns::array_from(*ty, std::iter::once(value(*source))).map_err(|e| e.report())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)
            .map_err(|e| Report::internal(format!("a row does not fit its expression: {e}")))?;
        let result = expr.evaluate(&batch).map_err(|e| query::errors::report(&e))?;
        let array = match result {
            ColumnarValue::Array(array) => array,
            ColumnarValue::Scalar(scalar) => scalar.to_array().map_err(|e| query::errors::report(&e))?,
        };
        if array.is_empty() {
            return Ok(Datum::Null);
        }
        columns::cell(&array, 0, self.ty).map_err(|e| e.report())
    }

    /// Whether a condition holds: NULL does not.
    pub fn holds(&self, rows: &[&[Datum]], parameters: &[Datum]) -> Result<bool, Report> {
        Ok(self.evaluate(rows, parameters)? == Datum::Bool(true))
    }
}

fn parameters_as_columns(expr: Expr) -> Result<Expr, Report> {
    let rewritten = expr.transform(|e| {
        let Expr::Placeholder(placeholder) = &e else { return Ok(Transformed::no(e)) };
        let number: Option<usize> = placeholder.id.strip_prefix('$').and_then(|n| n.parse().ok());
        match number.and_then(|n| n.checked_sub(1)) {
            Some(at) => Ok(Transformed::yes(Expr::Column(Column::new(Some(PARAMETERS), at.to_string())))),
            None => Ok(Transformed::no(e)),
        }
    });
    rewritten.map(|t| t.data).map_err(|e| query::errors::report(&e))
}

/// Whether an expression depends on more than its columns and parameters.
pub(crate) fn is_volatile(expr: &Expr) -> Result<bool, Report> {
    // A stable function depends on the statement's settings, which an expression that outlives the statement must not keep.
    let mut found = false;
    expr.apply(|e| {
        if let Expr::ScalarFunction(call) = e
            && call.func.signature().volatility != datafusion::logical_expr::Volatility::Immutable
        {
            found = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|e| query::errors::report(&e))?;
    Ok(found)
}

fn execution_props(settings: &SessionSettings, lookup: Option<Arc<dyn CatalogLookup>>) -> ExecutionProps {
    let mut options = ConfigOptions::new();
    options.extensions.insert(settings.clone());
    if let Some(lookup) = lookup {
        options.extensions.insert(CatalogExtension(lookup));
    }
    ExecutionProps { config_options: Some(Arc::new(options)), ..ExecutionProps::new() }
}
