//! Aggregates: how a call resolves, and what computes it.
//!
//! `count`, and `min` and `max` of types that Arrow orders as PostgreSQL does, are DataFusion's. All others are an [`udf::OwnAggregate`]
//! over a [`rows::RowState`], which takes one row at a time; sums and averages of numbers have accumulators over columns besides
//! ([`totals`]). `DISTINCT` and `ORDER BY` inside the call belong to the function object (its sort keys are further arguments), so that
//! no plan has to sort for it.

mod collecting;
mod documents;
mod ordered;
mod rows;
mod statistics;
mod table;
mod totals;
mod udf;

use std::sync::Arc;

use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{AggregateUDF, Expr, lit};

use crate::casts::coerce;
use crate::context::{CastContext, ExprContext};
use crate::error::{FunctionError, Result};
use crate::keys::{group_key_expr, sort_key_expr};
use crate::literals::settle_unknown;
use crate::resolution::{Selection, select, type_list};
use crate::typed_expr::TypedExpr;

use table::Implementation;
use udf::{OwnAggregate, SortDirection};

pub(crate) use udf::udf_by_name;

/// One aggregate call as it is written.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    pub name: String,
    pub args: Vec<TypedExpr>,
    /// `count(*)`.
    pub star: bool,
    pub distinct: bool,
    pub order_by: Vec<SortKey>,
    pub filter: Option<Expr>,
    /// The order is `WITHIN GROUP`.
    pub within_group: bool,
}

impl AggregateCall {
    /// A call without any clause.
    pub fn plain(name: &str, args: Vec<TypedExpr>) -> Self {
        Self { name: name.to_owned(), args, star: false, distinct: false, order_by: Vec::new(), filter: None, within_group: false }
    }
}

/// One item of an ORDER BY; `expr` as [`sort_key_expr`] made it, or as written.
#[derive(Debug, Clone)]
pub struct SortKey {
    pub expr: TypedExpr,
    pub descending: bool,
    pub nulls_first: bool,
}

/// Whether the name is an aggregate's.
pub fn is_aggregate(name: &str) -> bool {
    !table::named(name).is_empty()
}

/// A call that is resolved: the function with its arguments, not yet an aggregate's or a window's expression.
pub(crate) struct Resolved {
    pub(crate) function: Arc<AggregateUDF>,
    pub(crate) args: Vec<Expr>,
    pub(crate) distinct: bool,
    pub(crate) result: TypedExpr,
}

/// The expression of an aggregate call, with PostgreSQL's result type.
pub fn aggregate(cx: &ExprContext<'_>, call: AggregateCall) -> Result<TypedExpr> {
    let filter = call.filter.clone().map(Box::new);
    let resolved = resolve(cx, call)?;
    let function = AggregateFunction::new_udf(resolved.function, resolved.args, resolved.distinct, filter, Vec::new(), None);
    Ok(TypedExpr { expr: Expr::AggregateFunction(function), ..resolved.result })
}

fn undefined(name: &str, args: &[TypedExpr]) -> FunctionError {
    FunctionError::UndefinedFunction(format!("{name}({})", type_list(args)))
}

fn wrong(sqlstate: SqlState, message: String) -> FunctionError {
    FunctionError::WrongUse { sqlstate, message }
}

pub(crate) fn resolve(cx: &ExprContext<'_>, mut call: AggregateCall) -> Result<Resolved> {
    if call.star {
        if call.name != "count" {
            return Err(FunctionError::UndefinedFunction(format!("{}()", call.name)));
        }
        return Ok(count(vec![lit(1_i64)], false));
    }
    let ordered_set = table::is_ordered_set(&call.name);
    if ordered_set != call.within_group {
        return Err(if ordered_set {
            wrong(SqlState::WRONG_OBJECT_TYPE, format!("WITHIN GROUP is required for ordered-set aggregate {}", call.name))
        } else {
            let message = format!("{} is not an ordered-set aggregate, so it cannot have WITHIN GROUP", call.name);
            wrong(SqlState::WRONG_OBJECT_TYPE, message)
        });
    }
    if ordered_set {
        if call.distinct {
            return Err(wrong(SqlState::FEATURE_NOT_SUPPORTED, "cannot use DISTINCT with WITHIN GROUP".into()));
        }
        call.args.extend(call.order_by.iter().map(|key| crate::keys::without_key(key.expr.clone())));
    }
    let types: Vec<SqlType> = call.args.iter().map(|a| a.ty).collect();
    let candidate = match select(table::named(&call.name), &types) {
        Selection::Found(candidate) => candidate,
        Selection::Nothing => return Err(undefined(&call.name, &call.args)),
        Selection::Ambiguous => return Err(FunctionError::AmbiguousFunction(format!("{}({})", call.name, type_list(&call.args)))),
    };
    let (args, result) = crate::resolution::cast_arguments(cx, &candidate, call.args.clone())?;
    let definition = candidate.definition;
    let implementation = table::implementation(&definition.key);
    let args = prepare(cx, implementation, args)?;
    match implementation {
        Implementation::Count => {
            let args = if call.distinct { args.into_iter().map(|a| group_key_expr(cx, a)).collect::<Result<_>>()? } else { args };
            Ok(count(args.into_iter().map(|a| a.expr).collect(), call.distinct))
        }
        Implementation::Native(function) => {
            let Some(arg) = args.into_iter().next() else { return Err(undefined(&call.name, &call.args)) };
            let result = TypedExpr { expr: arg.expr.clone(), ty: result, decimal: arg.decimal };
            Ok(Resolved { function: function(), args: vec![arg.expr], distinct: false, result })
        }
        Implementation::Rows(kind) => {
            let order = if kind.ordered { call.order_by } else { Vec::new() };
            own(cx, definition, args, result, call.distinct && kind.counts_duplicates, order)
        }
    }
}

fn count(args: Vec<Expr>, distinct: bool) -> Resolved {
    let result = TypedExpr::new(lit(0_i64), Scalar::Int8);
    Resolved { function: count_udaf(), args, distinct, result }
}

/// Arguments whose text depends on the session's settings are made text before they are collected: accumulators know no settings.
fn prepare(cx: &ExprContext<'_>, implementation: &Implementation, args: Vec<TypedExpr>) -> Result<Vec<TypedExpr>> {
    let Implementation::Rows(kind) = implementation else { return Ok(args) };
    let Some(document) = kind.document else { return Ok(args) };
    let count = args.len();
    let prepared = args.into_iter().enumerate().map(|(at, arg)| {
        if count == 2 && at == 0 {
            coerce(cx, arg, Scalar::Text.into(), CastContext::Explicit)
        } else {
            let on_a_line = count == 1 && document == "to_json" && (arg.ty.is_array || arg.ty.scalar == Scalar::Record);
            let arg = crate::resolve::call(cx, document, vec![arg], false)?;
            Ok(if on_a_line { crate::library::json_building::on_a_line(arg) } else { arg })
        }
    });
    prepared.collect()
}

fn own(
    cx: &ExprContext<'_>,
    definition: &'static crate::definition::Definition,
    args: Vec<TypedExpr>,
    result: SqlType,
    distinct: bool,
    order_by: Vec<SortKey>,
) -> Result<Resolved> {
    let count = args.len();
    let mut directions = Vec::with_capacity(order_by.len());
    let mut all = args;
    for key in order_by {
        directions.push(SortDirection { descending: key.descending, nulls_first: key.nulls_first });
        let expr = settle_unknown(cx, key.expr)?;
        all.push(sort_key_expr(cx, expr)?);
    }
    let types = all.iter().map(|a| a.ty.without_typmod()).collect();
    let function = OwnAggregate::new(definition, count, types, result, distinct, directions);
    let args = all.into_iter().map(|a| a.expr).collect();
    let result = TypedExpr::new(lit(0_i64), result);
    Ok(Resolved { function: Arc::new(AggregateUDF::new_from_impl(function)), args, distinct: false, result })
}
