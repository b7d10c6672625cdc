//! `sum` and `avg`.
//!
//! Sums of integers and of decimals of up to 28 digits are kept in 128 bits, of longer decimals in 256, of floats as doubles; they are
//! exact where the input is. Numerics in byte form and intervals go through [`TotalState`], one row at a time; so does whatever has
//! DISTINCT.

use common::datum::Datum;
use common::interval::Interval;
use common::numeric::Numeric;
use common::types::{Scalar, SqlType};
use datafusion::arrow::datatypes::DataType;
use datafusion::logical_expr::{Accumulator, GroupsAccumulator};
use num_traits::ToPrimitive;
use types::error::ValueError;
use types::{decimal, interval};

use super::rows::RowState;
use super::table::{RowKind, Shape};
use crate::typed_expr::{DECIMAL128_DIGITS, DECIMAL256_DIGITS};

mod groups;
mod number;

use groups::{TotalAccumulator, TotalGroups};

/// With up to this many digits, 10^10 values fit a sum of 128 bits.
const NARROW_DIGITS: u8 = 28;

/// What is wanted of a total.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Goal {
    Sum,
    Average,
}

pub(crate) fn kinds() -> Vec<(String, RowKind)> {
    let make = |goal: Goal| {
        move |signature: &str| {
            let kind = match goal {
                Goal::Sum => RowKind::new(|shape| Box::new(TotalState::new(Goal::Sum, shape.result)), state_types),
                Goal::Average => RowKind::new(|shape| Box::new(TotalState::new(Goal::Average, shape.result)), state_types),
            };
            (signature.to_owned(), RowKind { total: Some(goal), ..kind })
        }
    };
    let sums =
        ["sum(int2) int8", "sum(int4) int8", "sum(int8) numeric", "sum(numeric) numeric", "sum(float4) float4", "sum(float8) float8"];
    let averages =
        ["avg(int2) numeric", "avg(int4) numeric", "avg(int8) numeric", "avg(numeric) numeric", "avg(float4) float8", "avg(float8) float8"];
    let mut out: Vec<_> = sums.into_iter().map(make(Goal::Sum)).chain(averages.into_iter().map(make(Goal::Average))).collect();
    out.push(make(Goal::Sum)("sum(interval) interval"));
    out.push(make(Goal::Average)("avg(interval) interval"));
    out
}

/// How a column of numbers is summed.
#[derive(Clone, Debug)]
pub(crate) struct TotalPlan {
    pub(crate) goal: Goal,
    /// The Arrow type of the sum.
    pub(crate) sum: DataType,
    pub(crate) result: SqlType,
}

impl TotalPlan {
    /// `None` for inputs that are not summed column by column.
    pub(crate) fn new(goal: Goal, input: &DataType, result: SqlType) -> Option<Self> {
        let sum = match input {
            DataType::Int16 | DataType::Int32 | DataType::Int64 => DataType::Decimal128(DECIMAL128_DIGITS, 0),
            DataType::Decimal128(precision, scale) if *precision <= NARROW_DIGITS => DataType::Decimal128(DECIMAL128_DIGITS, *scale),
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => DataType::Decimal256(DECIMAL256_DIGITS, *scale),
            DataType::Float32 | DataType::Float64 => DataType::Float64,
            _ => return None,
        };
        Some(Self { goal, sum, result })
    }

    pub(crate) fn state_types(&self) -> Vec<DataType> {
        vec![self.sum.clone(), DataType::Int64]
    }

    /// Whether a value that was added can be taken away again without a trace.
    pub(crate) fn is_exact(&self) -> bool {
        self.sum != DataType::Float64
    }

    pub(crate) fn accumulator(self) -> Box<dyn Accumulator> {
        match self.sum {
            DataType::Decimal128(..) => Box::new(TotalAccumulator::<i128>::new(self)),
            DataType::Decimal256(..) => Box::new(TotalAccumulator::<arrow::datatypes::i256>::new(self)),
            _ => Box::new(TotalAccumulator::<f64>::new(self)),
        }
    }

    pub(crate) fn groups_accumulator(self) -> Box<dyn GroupsAccumulator> {
        match self.sum {
            DataType::Decimal128(..) => Box::new(TotalGroups::<i128>::new(self)),
            DataType::Decimal256(..) => Box::new(TotalGroups::<arrow::datatypes::i256>::new(self)),
            _ => Box::new(TotalGroups::<f64>::new(self)),
        }
    }
}

/// A sum of whole or decimal numbers as the result's type.
fn finish_numeric(goal: Goal, sum: &Numeric, count: i64, result: SqlType) -> Result<Datum, ValueError> {
    if goal == Goal::Average {
        return Ok(Datum::Numeric(decimal::div(sum, &Numeric::from(count))?));
    }
    if result.scalar == Scalar::Int8 {
        let Numeric::Finite(value) = sum else { return Err(ValueError::out_of_range("bigint")) };
        return value.to_i64().map(Datum::Int8).ok_or_else(|| ValueError::out_of_range("bigint"));
    }
    Ok(Datum::Numeric(sum.clone()))
}

fn finish_float(goal: Goal, sum: f64, count: i64, result: SqlType) -> Datum {
    let value = if goal == Goal::Average { sum / count as f64 } else { sum };
    if result.scalar == Scalar::Float4 { Datum::Float4(value as f32) } else { Datum::Float8(value) }
}

fn state_types(shape: &Shape<'_>) -> Vec<SqlType> {
    let sum = match shape.args.first().map(|ty| ty.scalar) {
        Some(Scalar::Float4 | Scalar::Float8) => Scalar::Float8,
        Some(Scalar::Interval) => Scalar::Interval,
        _ => Scalar::Numeric,
    };
    vec![sum.into(), Scalar::Int8.into()]
}

#[derive(Debug)]
enum Sum {
    Numeric(Numeric),
    Float(f64),
    Interval(Interval),
}

/// A total that takes one value at a time.
#[derive(Debug)]
struct TotalState {
    goal: Goal,
    result: SqlType,
    sum: Option<Sum>,
    count: i64,
}

impl TotalState {
    fn new(goal: Goal, result: SqlType) -> Self {
        Self { goal, result, sum: None, count: 0 }
    }

    fn add(&mut self, value: &Datum, count: i64) -> Result<(), ValueError> {
        let next = match value {
            Datum::Int2(v) => Sum::Numeric(Numeric::from(*v)),
            Datum::Int4(v) => Sum::Numeric(Numeric::from(*v)),
            Datum::Int8(v) => Sum::Numeric(Numeric::from(*v)),
            Datum::Numeric(v) => Sum::Numeric(v.clone()),
            Datum::Float4(v) => Sum::Float(f64::from(*v)),
            Datum::Float8(v) => Sum::Float(*v),
            Datum::Interval(v) => Sum::Interval(*v),
            _ => return Ok(()),
        };
        self.count += count;
        self.sum = Some(match (self.sum.take(), next) {
            (Some(Sum::Numeric(a)), Sum::Numeric(b)) => Sum::Numeric(decimal::add(&a, &b)?),
            (Some(Sum::Float(a)), Sum::Float(b)) => Sum::Float(crate::operators_arithmetic::checked(a + b, a, b)?),
            (Some(Sum::Interval(a)), Sum::Interval(b)) => Sum::Interval(interval::add(a, b)?),
            (_, next) => next,
        });
        Ok(())
    }
}

impl RowState for TotalState {
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError> {
        args.first().map_or(Ok(()), |value| self.add(value, 1))
    }

    fn state(&self) -> Vec<Datum> {
        let sum = match &self.sum {
            Some(Sum::Numeric(v)) => Datum::Numeric(v.clone()),
            Some(Sum::Float(v)) => Datum::Float8(*v),
            Some(Sum::Interval(v)) => Datum::Interval(*v),
            None => Datum::Null,
        };
        vec![sum, Datum::Int8(self.count)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<(), ValueError> {
        match state {
            [sum, Datum::Int8(count)] => self.add(sum, *count),
            _ => Ok(()),
        }
    }

    fn evaluate(&self) -> Result<Datum, ValueError> {
        match &self.sum {
            None => Ok(Datum::Null),
            Some(Sum::Numeric(sum)) => finish_numeric(self.goal, sum, self.count, self.result),
            Some(Sum::Float(sum)) => Ok(finish_float(self.goal, *sum, self.count, self.result)),
            Some(Sum::Interval(sum)) if self.goal == Goal::Sum => Ok(Datum::Interval(*sum)),
            Some(Sum::Interval(sum)) => Ok(Datum::Interval(interval::div(*sum, self.count as f64)?)),
        }
    }
}
