//! TABLESAMPLE: each row is taken, or not, by itself; SYSTEM too, because a table has no pages here.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::Scalar;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan};
use functions::context::CastContext;
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{TableSample, TableSampleMethod};

use super::Binder;
use super::ctes::Ctes;
use super::environment::Environment;
use super::from_clause::Source;
use super::relation::filter;
use super::scope::Scope;
use crate::error::{BindError, Result};
use crate::schema::ROW_KEY;

/// Hexadecimal digits of a row's hash that decide.
const DIGITS: i32 = 7;

impl Binder<'_> {
    pub(crate) fn sampled(
        &self,
        source: Source,
        sample: &TableSample,
        (outer, ctes): (Option<&Environment<'_>>, Option<&Ctes<'_>>),
    ) -> Result<Source> {
        let LogicalPlan::TableScan(scan) = &source.plan else {
            return Err(BindError::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                "TABLESAMPLE clause can only be applied to tables and materialized views",
            ));
        };
        let (Some(TableSampleMethod::Bernoulli | TableSampleMethod::System), Some(quantity)) = (&sample.name, &sample.quantity) else {
            return Err(BindError::unsupported(format!("the sampling method of {sample}")));
        };
        let cx = self.cx();
        let scope = Scope::default();
        let env = Environment::new(&scope, outer, ctes, "TABLESAMPLE");
        let percent = resolve::cast(&cx, self.expression(&quantity.value, &env)?, Scalar::Float8.into(), CastContext::Assignment)?;
        if let Some(outer) = outer {
            outer.absorb(&env);
        }
        match resolve::constant(&percent.expr, percent.ty) {
            Some(Datum::Float8(value)) if !(0.0..=100.0).contains(&value) => return Err(percentage()),
            Some(Datum::Null) => {
                return Err(BindError::new(SqlState::INVALID_TABLESAMPLE_ARGUMENT, "TABLESAMPLE parameter cannot be null"));
            }
            _ => {}
        }
        let chance = match &sample.seed {
            None => resolve::call(&cx, "random", Vec::new(), false)?,
            Some(seed) => {
                let key = TypedExpr::new(Expr::Column(Column::new(Some(scan.table_name.clone()), ROW_KEY)), Scalar::Bytea);
                let seed = resolve::cast(&cx, self.literal(&seed.value.value)?, Scalar::Text.into(), CastContext::Explicit)?;
                self.chance_of(key, seed)?
            }
        };
        let hundred = resolve::literal(&Datum::Float8(100.0), Scalar::Float8.into());
        let scaled = resolve::binary_operator(&cx, "*", chance, hundred)?;
        let taken = resolve::binary_operator(&cx, "<", scaled, percent)?;
        Ok(Source { plan: filter(source.plan, taken.expr)?, scope: source.scope })
    }

    /// A number from 0 to 1 that a row always has for a seed.
    fn chance_of(&self, key: TypedExpr, seed: TypedExpr) -> Result<TypedExpr> {
        let cx = self.cx();
        let text = |value: &str| resolve::literal(&Datum::Text(value.to_owned()), Scalar::Text.into());
        let number = |value: i32| resolve::literal(&Datum::Int4(value), Scalar::Int4.into());
        let key = resolve::call(&cx, "encode", vec![key, text("hex")], false)?;
        let hash = resolve::call(&cx, "md5", vec![resolve::binary_operator(&cx, "||", key, seed)?], false)?;
        // 28 bits, as a number by way of bytea.
        let digits = resolve::call(&cx, "substr", vec![hash, number(1), number(DIGITS)], false)?;
        let padded = resolve::binary_operator(&cx, "||", text("0"), digits)?;
        let bytes = resolve::call(&cx, "decode", vec![padded, text("hex")], false)?;
        let mut sum: Option<TypedExpr> = None;
        for at in 0..4 {
            let byte = resolve::call(&cx, "get_byte", vec![bytes.clone(), number(at)], false)?;
            let byte = resolve::cast(&cx, byte, Scalar::Float8.into(), CastContext::Implicit)?;
            sum = Some(match sum {
                None => byte,
                Some(before) => {
                    let base = resolve::literal(&Datum::Float8(256.0), Scalar::Float8.into());
                    resolve::binary_operator(&cx, "+", resolve::binary_operator(&cx, "*", before, base)?, byte)?
                }
            });
        }
        let whole = resolve::literal(&Datum::Float8(16f64.powi(DIGITS)), Scalar::Float8.into());
        let sum = sum.ok_or_else(percentage)?;
        Ok(resolve::binary_operator(&cx, "/", sum, whole)?)
    }
}

fn percentage() -> BindError {
    BindError::new(SqlState::INVALID_TABLESAMPLE_ARGUMENT, "sample percentage must be between 0 and 100")
}
