//! A [`Definition`] as DataFusion sees it: one UDF for each definition and choice of argument types.
//!
//! Scalar functions are lifted to columns here: constants are read once, each row's values are collected, and NULL arguments of a
//! strict function answer NULL without a call.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::columns::{array_from, cell, lists_from};
use common::datum::Datum;
use common::error::Report;
use common::sqlstate::SqlState;
use common::types::SqlType;
use datafusion::arrow::array::{Array, new_null_array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

use crate::context::settings_of;
use crate::definition::{Args, Body, Call, Definition, WaitFn};
use crate::error::{internal, raise, raise_row};

/// A definition with the SQL types of its arguments and result.
#[derive(Debug)]
pub(crate) struct LiftedFunction {
    /// Unique: the definition's key and, where that does not tell them, the types. See [`crate::registry`].
    name: String,
    definition: &'static Definition,
    arg_types: Vec<SqlType>,
    result: SqlType,
    signature: Signature,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key)
    }
}

impl PartialEq for LiftedFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for LiftedFunction {}

impl Hash for LiftedFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl LiftedFunction {
    pub(crate) fn new(definition: &'static Definition, arg_types: Vec<SqlType>, result: SqlType) -> Self {
        let name = crate::registry::unique_name(definition, &arg_types, result);
        let signature = match definition.body {
            // DataFusion does not ask asynchronous functions how to coerce.
            Body::Ask if arg_types.is_empty() => Signature::nullary(definition.volatility),
            Body::Wait(_) | Body::Ask => Signature::any(arg_types.len(), definition.volatility),
            _ => Signature::user_defined(definition.volatility),
        };
        Self { name, definition, arg_types, result, signature }
    }

    /// The Arrow type of the result for arguments of these Arrow types.
    pub(crate) fn arrow_type(&self, args: &[DataType]) -> DataType {
        match self.definition.body {
            Body::Columns(_, Some(arrow_type)) => arrow_type(args),
            Body::Row(_) if self.row_of_set().is_some() => self.row_of_set().unwrap_or(self.result).arrow_list(),
            Body::Columns(_, None) | Body::Row(_) | Body::Build(_) | Body::Wait(_) | Body::Ask => self.result.arrow(),
        }
    }

    /// For a function that answers a set, the type of a row: a set is a list in Arrow.
    fn row_of_set(&self) -> Option<SqlType> {
        let name = self.definition.name.strip_prefix(crate::set_returning::PREFIX)?;
        Some(crate::set_returning::row_type(name, self.result))
    }

    pub(crate) fn arg_types(&self) -> &[SqlType] {
        &self.arg_types
    }

    fn call<'a>(&'a self, config: &'a Arc<ConfigOptions>) -> Call<'a> {
        Call { name: &self.definition.name, arg_types: &self.arg_types, result: self.result, settings: settings_of(config), config }
    }

    /// The function as DataFusion calls it.
    pub(crate) fn into_udf(self) -> ScalarUDF {
        match self.definition.body {
            Body::Wait(_) | Body::Ask => AsyncScalarUDF::new(Arc::new(self)).into_scalar_udf(),
            _ => ScalarUDF::new_from_impl(self),
        }
    }

    /// Whether this makes keys for comparisons.
    pub(crate) fn is_key(&self) -> bool {
        self.definition.hidden && self.definition.name.ends_with("_key")
    }

    fn lift(&self, body: crate::definition::RowFn, call: &Call<'_>, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)))
            && self.definition.volatility != datafusion::logical_expr::Volatility::Volatile;
        let rows = if constant { 1 } else { args.number_rows };
        let mut values = vec![Datum::Null; args.args.len()];
        let mut arrays = Vec::new();
        for (i, arg) in args.args.iter().enumerate() {
            match arg {
                ColumnarValue::Scalar(scalar) => {
                    let array = scalar.to_array()?;
                    values[i] = cell(&array, 0, call.arg_types[i]).map_err(raise_row)?;
                }
                ColumnarValue::Array(array) => arrays.push((i, Arc::clone(array))),
            }
        }
        let never = self.definition.strict && args.args.iter().any(|a| matches!(a, ColumnarValue::Scalar(s) if s.is_null()));
        if never {
            let nulls = new_null_array(&self.arrow_type(&[]), rows);
            return self.answer(nulls, constant);
        }
        let mut results = Vec::with_capacity(rows);
        for r in 0..rows {
            let mut has_null = false;
            for (i, array) in &arrays {
                has_null |= array.is_null(r);
                values[*i] = cell(array, r, call.arg_types[*i]).map_err(raise_row)?;
            }
            if has_null && self.definition.strict {
                results.push(Datum::Null);
                continue;
            }
            results.push(body(&Args { values: &values, call }).map_err(raise)?);
        }
        let array: Arc<dyn Array> = match self.row_of_set() {
            Some(row) => Arc::new(lists_from(row, &results).map_err(raise_row)?),
            None => array_from(self.result, &results).map_err(raise_row)?,
        };
        self.answer(array, constant)
    }

    #[allow(clippy::unused_self, reason = "it ends lift")]
    fn answer(&self, array: Arc<dyn Array>, constant: bool) -> DataFusionResult<ColumnarValue> {
        if constant { Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)) } else { Ok(ColumnarValue::Array(array)) }
    }
}

impl ScalarUDFImpl for LiftedFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.arrow_type(arg_types))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    /// A strict function of a NULL is NULL, and its other arguments are not computed: they may hold errors.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> DataFusionResult<ExprSimplifyResult> {
        let is_null = |arg: &Expr| matches!(arg, Expr::Literal(value, _) if value.is_null());
        if !self.definition.strict || self.is_key() || !args.iter().any(is_null) {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let types = args.iter().map(|arg| info.get_data_type(arg)).collect::<DataFusionResult<Vec<_>>>()?;
        let null = ScalarValue::try_from(&self.arrow_type(&types))?;
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(null, None)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let call = self.call(&args.config_options);
        match self.definition.body {
            Body::Row(body) => self.lift(body, &call, &args),
            Body::Columns(body, _) => body(&call, &args),
            Body::Build(_) => Err(internal(format!("{} is a rule, not a function", self.name))),
            Body::Wait(_) | Body::Ask => Err(internal(format!("{} waits, and cannot be computed at once", self.name))),
        }
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for LiftedFunction {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let body = match self.definition.body {
            Body::Wait(body) => body,
            Body::Ask => return self.ask(&args).await,
            _ => return self.invoke_with_args(args),
        };
        for row in 0..args.number_rows {
            let pause = self.pause(body, &args, row)?;
            tokio::time::sleep(pause).await;
        }
        Ok(ColumnarValue::Array(new_null_array(args.return_field.data_type(), args.number_rows)))
    }
}

impl LiftedFunction {
    /// Asks the catalog, row by row.
    async fn ask(&self, args: &ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let mut results = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let values = self.row_values(args, row)?;
            if self.definition.strict && values.iter().any(Datum::is_null) {
                results.push(Datum::Null);
                continue;
            }
            let Some(catalog) = crate::context::catalog_of(&args.config_options) else {
                let message = format!("{} outside a coordinator is not supported", self.definition.name);
                return Err(raise(crate::definition::from_report(Report::new(SqlState::FEATURE_NOT_SUPPORTED, message))));
            };
            let answer = catalog.ask(&self.definition.name, &values).await;
            results.push(answer.map_err(|report| raise(crate::definition::from_report(report)))?);
        }
        Ok(ColumnarValue::Array(array_from(self.result, &results).map_err(raise_row)?))
    }

    fn row_values(&self, args: &ScalarFunctionArgs, row: usize) -> DataFusionResult<Vec<Datum>> {
        let value = |(arg, ty): (&ColumnarValue, &SqlType)| {
            let value = match arg {
                ColumnarValue::Array(array) => cell(array, row, *ty),
                ColumnarValue::Scalar(scalar) => cell(&scalar.to_array()?, 0, *ty),
            };
            value.map_err(raise_row)
        };
        args.args.iter().zip(&self.arg_types).map(value).collect()
    }

    /// How long a row waits: not at all for NULL.
    fn pause(&self, body: WaitFn, args: &ScalarFunctionArgs, row: usize) -> DataFusionResult<Duration> {
        let values = self.row_values(args, row)?;
        if self.definition.strict && values.iter().any(Datum::is_null) {
            return Ok(Duration::ZERO);
        }
        let call = self.call(&args.config_options);
        body(&Args { values: &values, call: &call }).map_err(raise)
    }
}

/// The call of a definition as an expression.
pub(crate) fn call_expr(definition: &'static Definition, arg_types: Vec<SqlType>, result: SqlType, args: Vec<Expr>) -> Expr {
    let udf = Arc::new(LiftedFunction::new(definition, arg_types, result).into_udf());
    Expr::ScalarFunction(ScalarFunction { func: udf, args })
}
