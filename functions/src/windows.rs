//! Window functions: the ranking functions with PostgreSQL's types, DataFusion's `lag`, `lead` and value functions, and aggregates
//! over windows.

use std::ops::Range;
use std::sync::Arc;

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_window::{lead_lag, nth_value};
use datafusion::logical_expr::expr::{NullTreatment, Sort, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Expr, PartitionEvaluator, Signature, Volatility, WindowFrame, WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};
use types::error::ValueError;

use crate::aggregates::{self, AggregateCall, SortKey};
use crate::casts::coerce;
use crate::common_types::one_form;
use crate::context::{CastContext, ExprContext};
use crate::error::{FunctionError, Result, internal, raise};
use crate::literals::{constant, literal, null, settle_unknown};
use crate::resolution::type_list;
use crate::typed_expr::TypedExpr;

/// One window call as it is written.
#[derive(Debug, Clone)]
pub struct WindowCall {
    pub function: AggregateCall,
    pub partition_by: Vec<Expr>,
    pub order_by: Vec<SortKey>,
    pub frame: WindowFrame,
    pub ignore_nulls: bool,
}

/// Whether the name is a window function's that is no aggregate.
pub fn is_window(name: &str) -> bool {
    Ranking::of(name).is_some() || matches!(name, "lag" | "lead" | "first_value" | "last_value" | "nth_value")
}

/// The expression of a window call, with PostgreSQL's result type.
pub fn window(cx: &ExprContext<'_>, call: WindowCall) -> Result<TypedExpr> {
    let name = call.function.name.clone();
    if !is_window(&name) {
        return over_aggregate(cx, call);
    }
    if call.function.distinct {
        return unsupported("DISTINCT is not implemented for window functions");
    }
    if !call.function.order_by.is_empty() {
        return unsupported("aggregate ORDER BY is not implemented for window functions");
    }
    if call.function.filter.is_some() {
        return unsupported("FILTER is not implemented for non-aggregate window functions");
    }
    let (function, args, result) = if let Some(ranking) = Ranking::of(&name) {
        ranking_call(cx, ranking, call.function.args.clone())?
    } else {
        value_call(cx, &name, call.function.args.clone())?
    };
    Ok(finish(function, args, result, &call, false))
}

fn unsupported<T>(message: &str) -> Result<T> {
    Err(FunctionError::WrongUse { sqlstate: SqlState::FEATURE_NOT_SUPPORTED, message: message.to_owned() })
}

fn finish(function: WindowFunctionDefinition, args: Vec<Expr>, result: TypedExpr, call: &WindowCall, distinct: bool) -> TypedExpr {
    let sort = |key: &SortKey| Sort { expr: key.expr.expr.clone(), asc: !key.descending, nulls_first: key.nulls_first };
    let params = WindowFunctionParams {
        args,
        partition_by: call.partition_by.clone(),
        order_by: call.order_by.iter().map(sort).collect(),
        window_frame: call.frame.clone(),
        filter: call.function.filter.clone().map(Box::new),
        null_treatment: call.ignore_nulls.then_some(NullTreatment::IgnoreNulls),
        distinct,
    };
    TypedExpr { expr: Expr::WindowFunction(Box::new(WindowFunction { fun: function, params })), ..result }
}

fn over_aggregate(cx: &ExprContext<'_>, call: WindowCall) -> Result<TypedExpr> {
    if call.function.distinct {
        return unsupported("DISTINCT is not implemented for window functions");
    }
    if call.function.within_group {
        return unsupported(&format!("OVER is not supported for ordered-set aggregate {}", call.function.name));
    }
    if !call.function.order_by.is_empty() {
        return unsupported("aggregate ORDER BY is not implemented for window functions");
    }
    let resolved = aggregates::resolve(cx, call.function.clone())?;
    let function = WindowFunctionDefinition::AggregateUDF(resolved.function);
    Ok(finish(function, resolved.args, resolved.result, &call, resolved.distinct))
}

fn undefined<T>(name: &str, args: &[TypedExpr]) -> Result<T> {
    Err(FunctionError::UndefinedFunction(format!("{name}({})", type_list(args))))
}

type Parts = (WindowFunctionDefinition, Vec<Expr>, TypedExpr);

fn ranking_call(cx: &ExprContext<'_>, ranking: Ranking, args: Vec<TypedExpr>) -> Result<Parts> {
    let wanted = usize::from(ranking == Ranking::Ntile);
    if args.len() != wanted {
        return undefined(ranking.name(), &args);
    }
    let args: Vec<TypedExpr> =
        args.into_iter().map(|a| coerce(cx, a, Scalar::Int4.into(), CastContext::Implicit)).collect::<Result<_>>()?;
    let udf = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(RankingFunction::new(ranking))));
    Ok((udf, args.into_iter().map(|a| a.expr).collect(), null(ranking.result())))
}

/// `lag`, `lead`, `first_value`, `last_value` and `nth_value`.
fn value_call(cx: &ExprContext<'_>, name: &str, mut args: Vec<TypedExpr>) -> Result<Parts> {
    let within = match name {
        "lag" | "lead" => 1..=3,
        "nth_value" => 2..=2,
        _ => 1..=1,
    };
    if !within.contains(&args.len()) {
        return undefined(name, &args);
    }
    let default = (args.len() == 3).then(|| args.pop()).flatten();
    let count = (args.len() == 2).then(|| args.pop()).flatten();
    let Some(value) = args.pop() else { return undefined(name, &args) };
    let mut value = settle_unknown(cx, value)?;
    let mut rest = Vec::new();
    if let Some(count) = count {
        rest.push(constant_count(cx, name, count)?);
    }
    if let Some(default) = default {
        let (unified, _) = crate::common_types::unify(cx, vec![value, default], name)?;
        let [first, second] =
            <[TypedExpr; 2]>::try_from(one_form(unified)).map_err(|_| FunctionError::Internal("two expressions stay two".into()))?;
        value = first;
        if constant(&second.expr, second.ty).is_none() {
            return Err(FunctionError::Unsupported(format!("a default of {name} that is no constant")));
        }
        rest.push(second.expr);
    }
    let function = match name {
        "lag" => lead_lag::lag_udwf(),
        "lead" => lead_lag::lead_udwf(),
        "first_value" => nth_value::first_value_udwf(),
        "last_value" => nth_value::last_value_udwf(),
        _ => nth_value::nth_value_udwf(),
    };
    let result = TypedExpr { expr: value.expr.clone(), ty: value.ty.without_typmod(), decimal: value.decimal };
    let mut all = vec![value.expr];
    all.extend(rest);
    Ok((WindowFunctionDefinition::WindowUDF(function), all, result))
}

/// The second argument, which DataFusion takes as a constant bigint.
fn constant_count(cx: &ExprContext<'_>, name: &str, count: TypedExpr) -> Result<Expr> {
    let count = coerce(cx, count, Scalar::Int4.into(), CastContext::Implicit)?;
    match constant(&count.expr, count.ty) {
        Some(Datum::Int4(n)) if name == "nth_value" && n <= 0 => {
            let message = "argument of nth_value must be greater than zero".to_owned();
            Err(FunctionError::WrongUse { sqlstate: SqlState::INVALID_ARGUMENT_FOR_NTH_VALUE, message })
        }
        Some(Datum::Int4(n)) => Ok(literal(&Datum::Int8(i64::from(n)), Scalar::Int8.into()).expr),
        _ => Err(FunctionError::Unsupported(format!("an offset of {name} that is no constant"))),
    }
}

/// The functions that number rows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Ranking {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    Ntile,
}

impl Ranking {
    const ALL: [Self; 6] = [Self::RowNumber, Self::Rank, Self::DenseRank, Self::PercentRank, Self::CumeDist, Self::Ntile];

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ranking| ranking.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::RowNumber => "row_number",
            Self::Rank => "rank",
            Self::DenseRank => "dense_rank",
            Self::PercentRank => "percent_rank",
            Self::CumeDist => "cume_dist",
            Self::Ntile => "ntile",
        }
    }

    /// The name in plans, apart from DataFusion's functions of other types.
    fn plan_name(self) -> &'static str {
        match self {
            Self::RowNumber => "pg_row_number",
            Self::Rank => "pg_rank",
            Self::DenseRank => "pg_dense_rank",
            Self::PercentRank => "pg_percent_rank",
            Self::CumeDist => "pg_cume_dist",
            Self::Ntile => "pg_ntile",
        }
    }

    fn result(self) -> SqlType {
        match self {
            Self::RowNumber | Self::Rank | Self::DenseRank => Scalar::Int8,
            Self::PercentRank | Self::CumeDist => Scalar::Float8,
            Self::Ntile => Scalar::Int4,
        }
        .into()
    }
}

/// The window function of a name in plans; also DataFusion's that are used.
pub(crate) fn udf_by_name(name: &str) -> Option<Arc<WindowUDF>> {
    Some(match name {
        "lag" => lead_lag::lag_udwf(),
        "lead" => lead_lag::lead_udwf(),
        "first_value" => nth_value::first_value_udwf(),
        "last_value" => nth_value::last_value_udwf(),
        "nth_value" => nth_value::nth_value_udwf(),
        _ => {
            let ranking = Ranking::ALL.into_iter().find(|ranking| ranking.plan_name() == name)?;
            Arc::new(WindowUDF::new_from_impl(RankingFunction::new(ranking)))
        }
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RankingFunction {
    ranking: Ranking,
    signature: Signature,
}

impl RankingFunction {
    fn new(ranking: Ranking) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { ranking, signature }
    }
}

impl WindowUDFImpl for RankingFunction {
    fn name(&self) -> &str {
        self.ranking.plan_name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs<'_>) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Numbering(self.ranking)))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), self.ranking.result().arrow(), true)))
    }
}

/// Numbers one partition.
#[derive(Debug)]
struct Numbering(Ranking);

impl PartitionEvaluator for Numbering {
    fn include_rank(&self) -> bool {
        !matches!(self.0, Ranking::RowNumber | Ranking::Ntile)
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> DataFusionResult<ArrayRef> {
        let rows = i64::try_from(num_rows).map_err(|_| internal("too many rows"))?;
        if self.0 == Ranking::RowNumber {
            return Ok(Arc::new(Int64Array::from_iter_values(1..=rows)));
        }
        let Some(buckets) = values.first().filter(|v| !v.is_empty()) else {
            return Ok(Arc::new(Int32Array::new_null(num_rows)));
        };
        let buckets = buckets.as_primitive::<Int32Type>();
        if buckets.is_null(0) {
            return Ok(Arc::new(Int32Array::new_null(num_rows)));
        }
        let count = i64::from(buckets.value(0));
        if count <= 0 {
            let error = ValueError::new(SqlState::INVALID_ARGUMENT_FOR_NTILE, "argument of ntile must be greater than zero");
            return Err(raise(error));
        }
        // The first `rows % count` buckets have one row more.
        let (small, larger) = (rows / count, rows % count);
        let bucket = |row: i64| {
            let in_larger = larger * (small + 1);
            if row < in_larger { row / (small + 1) } else { larger + (row - in_larger) / small.max(1) }
        };
        Ok(Arc::new(Int32Array::from_iter_values((0..rows).map(|row| i32::try_from(bucket(row) + 1).unwrap_or(i32::MAX)))))
    }

    fn evaluate_all_with_rank(&self, num_rows: usize, ranks: &[Range<usize>]) -> DataFusionResult<ArrayRef> {
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let spread = ranks.iter().enumerate().flat_map(|(at, range)| range.clone().map(move |_| (at, range)));
        Ok(match self.0 {
            Ranking::Rank => Arc::new(Int64Array::from_iter_values(spread.map(|(_, range)| whole(range.start) + 1))),
            Ranking::DenseRank => Arc::new(Int64Array::from_iter_values(spread.map(|(at, _)| whole(at) + 1))),
            Ranking::PercentRank => Arc::new(Float64Array::from_iter_values(
                spread.map(|(_, range)| if num_rows > 1 { range.start as f64 / (num_rows - 1) as f64 } else { 0.0 }),
            )),
            _ => Arc::new(Float64Array::from_iter_values(spread.map(|(_, range)| range.end as f64 / num_rows as f64))),
        })
    }
}
