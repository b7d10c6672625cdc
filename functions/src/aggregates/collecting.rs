//! Aggregates that keep their rows until the end: for DISTINCT, for ORDER BY inside the call, and for window frames that rows leave.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};

use common::datum::Datum;
use common::types::SqlType;
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::Accumulator;

use super::udf::{Plan, packed, row_of, unpacked};
use crate::conditional::compare;
use crate::error::raise;
use crate::keys::write_key;

/// What one kept value takes besides its content, about.
const VALUE_BYTES: usize = 48;

fn content_bytes(row: &[Datum]) -> usize {
    let one = |value: &Datum| match value {
        Datum::Text(text) => text.len(),
        Datum::Bytea(bytes) => bytes.len(),
        Datum::Array(elements) => elements.len() * VALUE_BYTES,
        _ => 0,
    };
    row.iter().map(|value| VALUE_BYTES + one(value)).sum()
}

/// Whether a row takes part at all.
fn counts(plan: &Plan, row: &[Datum]) -> DataFusionResult<bool> {
    Ok(!plan.kind()?.strict || !row[..plan.count].iter().any(Datum::is_null))
}

/// Rows in the order of the keys, or for DISTINCT without one, of the arguments.
fn sort(plan: &Plan, rows: &mut [Vec<Datum>]) -> DataFusionResult<()> {
    let mut failure = None;
    let mut one = |a: &Datum, b: &Datum, ty: SqlType| {
        compare(a, b, ty).unwrap_or_else(|error| {
            failure = Some(error);
            Ordering::Equal
        })
    };
    rows.sort_by(|a, b| {
        for (at, direction) in plan.order.iter().enumerate() {
            let (x, y, ty) = (&a[plan.count + at], &b[plan.count + at], plan.types[plan.count + at]);
            let order = match (x.is_null(), y.is_null()) {
                (true, true) => Ordering::Equal,
                (true, false) => {
                    if direction.nulls_first {
                        Ordering::Less
                    } else {
                        Ordering::Greater
                    }
                }
                (false, true) => {
                    if direction.nulls_first {
                        Ordering::Greater
                    } else {
                        Ordering::Less
                    }
                }
                (false, false) => {
                    let order = one(x, y, ty);
                    if direction.descending { order.reverse() } else { order }
                }
            };
            if order.is_ne() {
                return order;
            }
        }
        if plan.distinct {
            let parts = a.iter().zip(b).take(plan.count).zip(&plan.types);
            return parts.map(|((x, y), ty)| one(x, y, *ty)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal);
        }
        Ordering::Equal
    });
    failure.map_or(Ok(()), Err)
}

/// The result over these rows.
fn result(plan: &Plan, mut rows: Vec<Vec<Datum>>) -> DataFusionResult<ScalarValue> {
    if plan.collects() {
        sort(plan, &mut rows)?;
    }
    let mut seen = HashSet::new();
    let mut state = plan.state()?;
    for row in &rows {
        if plan.distinct {
            let mut key = Vec::new();
            for (value, ty) in row.iter().zip(&plan.types).take(plan.count) {
                key.push(u8::from(value.is_null()));
                write_key(value, *ty, &mut key).map_err(raise)?;
            }
            if !seen.insert(key) {
                continue;
            }
        }
        state.update(&row[..plan.count]).map_err(raise)?;
    }
    plan.scalar(&state.evaluate().map_err(raise)?)
}

/// Keeps all rows of a group.
#[derive(Debug)]
pub(crate) struct Collecting {
    plan: Plan,
    rows: Vec<Vec<Datum>>,
    bytes: usize,
}

impl Collecting {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, rows: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, row: Vec<Datum>) {
        self.bytes += content_bytes(&row);
        self.rows.push(row);
    }
}

impl Accumulator for Collecting {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        for row in 0..values.first().map_or(0, |v| v.len()) {
            let row = row_of(values, row, &self.plan.types)?;
            if counts(&self.plan, &row)? {
                self.push(row);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        result(&self.plan, self.rows.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let column = |(at, ty): (usize, &SqlType)| packed(self.rows.iter().map(|row| row[at].clone()).collect(), *ty);
        self.plan.types.iter().enumerate().map(column).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for part in 0..states.first().map_or(0, |v| v.len()) {
            let columns = states.iter().zip(&self.plan.types).map(|(state, ty)| Ok(unpacked(state, part, *ty)?.into_iter()));
            let mut columns = columns.collect::<DataFusionResult<Vec<std::vec::IntoIter<Datum>>>>()?;
            let count = columns.first().map_or(0, ExactSizeIterator::len);
            for _ in 0..count {
                self.push(columns.iter_mut().map(|c| c.next().unwrap_or(Datum::Null)).collect());
            }
        }
        Ok(())
    }
}

/// Computes anew for each frame of a window: for aggregates from which no row can be taken back.
#[derive(Debug)]
pub(crate) struct Sliding {
    plan: Plan,
    rows: VecDeque<Vec<Datum>>,
}

impl Sliding {
    pub(crate) fn new(plan: Plan) -> Self {
        Self { plan, rows: VecDeque::new() }
    }
}

impl Accumulator for Sliding {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        for row in 0..values.first().map_or(0, |v| v.len()) {
            self.rows.push_back(row_of(values, row, &self.plan.types)?);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let mut rows = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            if counts(&self.plan, row)? {
                rows.push(row.clone());
            }
        }
        result(&self.plan, rows)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows.iter().map(|row| content_bytes(row)).sum::<usize>()
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Err(crate::error::internal("a window's aggregate has no state to send"))
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> DataFusionResult<()> {
        Err(crate::error::internal("a window's aggregate merges no states"))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        // Rows leave a frame in the order in which they came.
        let count = values.first().map_or(0, |v| v.len()).min(self.rows.len());
        self.rows.drain(..count);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}
