//! Totals over columns: of one group, and of many at once.

use std::sync::Arc;

use common::columns::array_from;
use common::datum::Datum;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use types::error::ValueError;

use super::number::Number;
use super::{TotalPlan, finish_float, finish_numeric};
use crate::error::{internal, raise, raise_row};

fn overflow(plan: &TotalPlan) -> DataFusionError {
    raise(match plan.sum {
        DataType::Float64 => ValueError::new(common::sqlstate::SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"),
        _ => ValueError::out_of_range("numeric"),
    })
}

fn finish<N: Number>(plan: &TotalPlan, sum: N, count: i64) -> DataFusionResult<Datum> {
    if count == 0 {
        return Ok(Datum::Null);
    }
    let scale = match plan.sum {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => scale,
        _ => 0,
    };
    match sum.exact(scale) {
        Some(exact) => finish_numeric(plan.goal, &exact, count, plan.result).map_err(raise),
        None => Ok(finish_float(plan.goal, sum.float(), count, plan.result)),
    }
}

fn inputs(values: &[ArrayRef]) -> DataFusionResult<&ArrayRef> {
    values.first().ok_or_else(|| internal("a total has one argument"))
}

fn state_columns(states: &[ArrayRef]) -> DataFusionResult<(&ArrayRef, &Int64Array)> {
    let [sums, counts] = states else { return Err(internal("a total's state has two columns")) };
    Ok((sums, counts.as_primitive::<Int64Type>()))
}

/// The total of one group.
#[derive(Debug)]
pub(super) struct TotalAccumulator<N> {
    plan: TotalPlan,
    sum: N,
    count: i64,
}

impl<N: Number> TotalAccumulator<N> {
    pub(super) fn new(plan: TotalPlan) -> Self {
        Self { plan, sum: N::default(), count: 0 }
    }
}

impl<N: Number> Accumulator for TotalAccumulator<N> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let Self { plan, sum, count } = self;
        N::each(inputs(values)?, |_, value| {
            *sum = sum.plus(value).ok_or_else(|| overflow(plan))?;
            *count += 1;
            Ok(())
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let Self { plan, sum, count } = self;
        N::each(inputs(values)?, |_, value| {
            *sum = sum.minus(value).ok_or_else(|| overflow(plan))?;
            *count -= 1;
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        self.plan.is_exact()
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        super::super::udf::scalar(&finish(&self.plan, self.sum, self.count)?, self.plan.result)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let column = N::column(vec![self.sum], NullBuffer::new_valid(1), &self.plan.sum)?;
        Ok(vec![ScalarValue::try_from_array(&column, 0)?, ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let (sums, counts) = state_columns(states)?;
        let Self { plan, sum, count } = self;
        N::each(sums, |row, value| {
            *sum = sum.plus(value).ok_or_else(|| overflow(plan))?;
            *count += if counts.is_valid(row) { counts.value(row) } else { 0 };
            Ok(())
        })
    }
}

/// The totals of many groups.
#[derive(Debug)]
pub(super) struct TotalGroups<N> {
    plan: TotalPlan,
    sums: Vec<N>,
    counts: Vec<i64>,
}

impl<N: Number> TotalGroups<N> {
    pub(super) fn new(plan: TotalPlan) -> Self {
        Self { plan, sums: Vec::new(), counts: Vec::new() }
    }

    fn resize(&mut self, groups: usize) {
        self.sums.resize(groups, N::default());
        self.counts.resize(groups, 0);
    }
}

impl<N: Number> GroupsAccumulator for TotalGroups<N> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> DataFusionResult<()> {
        self.resize(total_num_groups);
        let Self { plan, sums, counts } = self;
        N::each(inputs(values)?, |row, value| {
            if opt_filter.is_some_and(|filter| filter.is_null(row) || !filter.value(row)) {
                return Ok(());
            }
            let group = group_indices[row];
            sums[group] = sums[group].plus(value).ok_or_else(|| overflow(plan))?;
            counts[group] += 1;
            Ok(())
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let counts = emit_to.take_needed(&mut self.counts);
        let results: DataFusionResult<Vec<Datum>> =
            sums.into_iter().zip(counts).map(|(sum, count)| finish(&self.plan, sum, count)).collect();
        array_from(self.plan.result, &results?).map_err(raise_row)
    }

    fn state(&mut self, emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        let sums = emit_to.take_needed(&mut self.sums);
        let counts = emit_to.take_needed(&mut self.counts);
        let valid = NullBuffer::new_valid(sums.len());
        Ok(vec![N::column(sums, valid, &self.plan.sum)?, Arc::new(Int64Array::from(counts))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> DataFusionResult<()> {
        self.resize(total_num_groups);
        let (column, parts) = state_columns(values)?;
        let Self { plan, sums, counts } = self;
        N::each(column, |row, value| {
            let group = group_indices[row];
            sums[group] = sums[group].plus(value).ok_or_else(|| overflow(plan))?;
            counts[group] += if parts.is_valid(row) { parts.value(row) } else { 0 };
            Ok(())
        })
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> DataFusionResult<Vec<ArrayRef>> {
        let input = inputs(values)?;
        let mut sums = vec![N::default(); input.len()];
        let mut counts = vec![0; input.len()];
        N::each(input, |row, value| {
            if !opt_filter.is_some_and(|filter| filter.is_null(row) || !filter.value(row)) {
                sums[row] = value;
                counts[row] = 1;
            }
            Ok::<(), DataFusionError>(())
        })?;
        let valid = NullBuffer::new_valid(sums.len());
        Ok(vec![N::column(sums, valid, &self.plan.sum)?, Arc::new(Int64Array::from(counts))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<N>() + self.counts.capacity() * size_of::<i64>()
    }
}
