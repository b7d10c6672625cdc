//! The aggregates of this crate as DataFusion sees them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use common::array::Array as CommonArray;
use common::columns::{array_from, cell};
use common::datum::Datum;
use common::row::{decode_array, encode_array};
use common::types::SqlType;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use super::collecting::{Collecting, Sliding};
use super::rows::RowState;
use super::table::{self, Implementation, RowKind, Shape};
use super::totals;
use crate::definition::Definition;
use crate::error::{internal, raise, raise_row};
use crate::registry::{read_type, read_types, write_type, write_types};

/// How one sort key sorts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SortDirection {
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

impl SortDirection {
    fn letter(self) -> char {
        match (self.descending, self.nulls_first) {
            (false, false) => 'a',
            (false, true) => 'A',
            (true, false) => 'd',
            (true, true) => 'D',
        }
    }

    fn from_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'a' => Self { descending: false, nulls_first: false },
            'A' => Self { descending: false, nulls_first: true },
            'd' => Self { descending: true, nulls_first: false },
            'D' => Self { descending: true, nulls_first: true },
            _ => return None,
        })
    }
}

/// An aggregate with its types, and with what DISTINCT and ORDER BY in the call say.
#[derive(Debug)]
pub(crate) struct OwnAggregate {
    /// `key#types>result;arguments;sort directions;d if distinct`.
    name: String,
    definition: &'static Definition,
    /// How many of the arguments are aggregated; the rest are sort keys.
    count: usize,
    types: Vec<SqlType>,
    result: SqlType,
    distinct: bool,
    order: Vec<SortDirection>,
    signature: Signature,
}

impl PartialEq for OwnAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for OwnAggregate {}

impl Hash for OwnAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// What accumulators keep of the aggregate.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) definition: &'static Definition,
    pub(crate) count: usize,
    pub(crate) types: Vec<SqlType>,
    pub(crate) result: SqlType,
    pub(crate) distinct: bool,
    pub(crate) order: Vec<SortDirection>,
}

impl Plan {
    pub(crate) fn kind(&self) -> DataFusionResult<&'static RowKind> {
        match table::implementation(&self.definition.key) {
            Implementation::Rows(kind) => Ok(kind),
            _ => Err(internal(format!("{} has no states", self.definition.key))),
        }
    }

    pub(crate) fn shape(&self) -> Shape<'_> {
        Shape { name: &self.definition.name, args: &self.types[..self.count], result: self.result }
    }

    pub(crate) fn state(&self) -> DataFusionResult<Box<dyn RowState>> {
        Ok((self.kind()?.make)(&self.shape()))
    }

    /// A value as the aggregate's result.
    pub(crate) fn scalar(&self, value: &Datum) -> DataFusionResult<ScalarValue> {
        scalar(value, self.result)
    }

    pub(crate) fn collects(&self) -> bool {
        self.distinct || !self.order.is_empty()
    }
}

/// A value in the Arrow form of its type.
pub(crate) fn scalar(value: &Datum, ty: SqlType) -> DataFusionResult<ScalarValue> {
    ScalarValue::try_from_array(&array_from(ty, [value]).map_err(raise_row)?, 0)
}

/// Several values of a type as one: how kept rows travel.
pub(crate) fn packed(values: Vec<Datum>, ty: SqlType) -> DataFusionResult<ScalarValue> {
    let mut bytes = Vec::new();
    encode_array(ty, &values.into(), &mut bytes).map_err(raise_row)?;
    Ok(ScalarValue::Binary(Some(bytes)))
}

/// What [`packed`] made, of one row of a column.
pub(crate) fn unpacked(array: &ArrayRef, row: usize, ty: SqlType) -> DataFusionResult<Vec<Datum>> {
    let bytes = array.as_binary_opt::<i32>().filter(|b| b.is_valid(row)).map_or(&[0_u8][..], |b| b.value(row));
    decode_array(ty, bytes).map(CommonArray::into_elements).map_err(raise_row)
}

/// The arguments of one row.
pub(crate) fn row_of(values: &[ArrayRef], row: usize, types: &[SqlType]) -> DataFusionResult<Vec<Datum>> {
    values.iter().zip(types).map(|(array, ty)| cell(array, row, *ty).map_err(raise_row)).collect()
}

impl OwnAggregate {
    pub(crate) fn new(
        definition: &'static Definition,
        count: usize,
        types: Vec<SqlType>,
        result: SqlType,
        distinct: bool,
        order: Vec<SortDirection>,
    ) -> Self {
        let letters: String = order.iter().map(|o| o.letter()).collect();
        let mark = if distinct { "d" } else { "" };
        let name = format!("{}#{}>{};{count};{letters};{mark}", definition.key, write_types(&types), write_type(result));
        Self { name, definition, count, types, result, distinct, order, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn plan(&self) -> Plan {
        Plan {
            definition: self.definition,
            count: self.count,
            types: self.types.clone(),
            result: self.result,
            distinct: self.distinct,
            order: self.order.clone(),
        }
    }

    /// What sums this argument column by column, if anything does.
    fn total(&self, input: Option<&DataType>) -> Option<totals::TotalPlan> {
        let plan = self.plan();
        if plan.collects() {
            return None;
        }
        totals::TotalPlan::new(plan.kind().ok()?.total?, input?, self.result)
    }
}

/// The aggregate of a unique name.
pub(crate) fn udf_by_name(name: &str) -> Option<Arc<AggregateUDF>> {
    let (key, rest) = name.rsplit_once('#')?;
    let mut parts = rest.split(';');
    let (types, result) = parts.next()?.split_once('>')?;
    let count: usize = parts.next()?.parse().ok()?;
    let order: Option<Vec<SortDirection>> = parts.next()?.chars().map(SortDirection::from_letter).collect();
    let distinct = parts.next()? == "d";
    let types = read_types(types)?;
    let order = order?;
    if count + order.len() != types.len() {
        return None;
    }
    let aggregate = OwnAggregate::new(table::by_key(key)?, count, types, read_type(result)?, distinct, order);
    Some(Arc::new(AggregateUDF::new_from_impl(aggregate)))
}

impl AggregateUDFImpl for OwnAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.result.arrow())
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arg_types.to_vec())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DataFusionResult<Vec<FieldRef>> {
        let plan = self.plan();
        let types: Vec<DataType> = if plan.collects() {
            vec![DataType::Binary; plan.types.len()]
        } else if let Some(total) = self.total(args.input_fields.first().map(|f| f.data_type())) {
            total.state_types()
        } else {
            (plan.kind()?.state)(&plan.shape()).into_iter().map(SqlType::arrow).collect()
        };
        let field = |(at, ty): (usize, DataType)| Arc::new(Field::new(format_state_name(args.name, &format!("state{at}")), ty, true));
        Ok(types.into_iter().enumerate().map(field).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        let plan = self.plan();
        if plan.collects() {
            return Ok(Box::new(Collecting::new(plan)));
        }
        if let Some(total) = self.total(args.expr_fields.first().map(|f| f.data_type())) {
            return Ok(total.accumulator());
        }
        Ok(Box::new(RowAccumulator::new(plan)?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn Accumulator>> {
        match self.total(args.expr_fields.first().map(|f| f.data_type())) {
            Some(total) if total.is_exact() => Ok(total.accumulator()),
            _ => Ok(Box::new(Sliding::new(self.plan()))),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.total(args.expr_fields.first().map(|f| f.data_type())).is_some()
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        let total = self.total(args.expr_fields.first().map(|f| f.data_type()));
        Ok(total.ok_or_else(|| internal("no accumulator over groups"))?.groups_accumulator())
    }
}

/// Feeds a [`RowState`].
#[derive(Debug)]
struct RowAccumulator {
    plan: Plan,
    strict: bool,
    state_types: Vec<SqlType>,
    state: Box<dyn RowState>,
}

impl RowAccumulator {
    fn new(plan: Plan) -> DataFusionResult<Self> {
        let kind = plan.kind()?;
        Ok(Self { strict: kind.strict, state_types: (kind.state)(&plan.shape()), state: plan.state()?, plan })
    }
}

impl Accumulator for RowAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        for row in 0..values.first().map_or(0, |v| v.len()) {
            let args = row_of(values, row, &self.plan.types)?;
            if self.strict && args.iter().any(Datum::is_null) {
                continue;
            }
            self.state.update(&args).map_err(raise)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        self.plan.scalar(&self.state.evaluate().map_err(raise)?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.state.size()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        self.state.state().iter().zip(&self.state_types).map(|(value, ty)| scalar(value, *ty)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for row in 0..states.first().map_or(0, |v| v.len()) {
            let state = row_of(states, row, &self.state_types)?;
            self.state.merge(&state).map_err(raise)?;
        }
        Ok(())
    }
}
