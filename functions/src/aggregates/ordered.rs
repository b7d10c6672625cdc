//! Ordered-set aggregates: the rows come in the order that `WITHIN GROUP` says.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::SqlType;
use types::error::ValueError;
use types::interval;

use super::rows::RowState;
use super::table::{RowKind, Shape};
use crate::definition::fail;

pub(crate) fn kinds() -> Vec<(String, RowKind)> {
    let kind = || RowKind::new(make, state_types).nullable().ordered();
    [
        "mode(anyelement) anyelement",
        "percentile_cont(float8,float8) float8",
        "percentile_cont(float8,interval) interval",
        "percentile_cont(float8[],float8) float8[]",
        "percentile_cont(float8[],interval) interval[]",
        "percentile_disc(float8,anyelement) anyelement",
        "percentile_disc(float8[],anyelement) anyarray",
    ]
    .into_iter()
    .map(|signature| (signature.to_owned(), kind()))
    .collect()
}

fn make(shape: &Shape<'_>) -> Box<dyn RowState> {
    let goal = match shape.name {
        "mode" => Goal::Mode,
        "percentile_cont" => Goal::Continuous,
        _ => Goal::Discrete,
    };
    Box::new(Sorted { goal, fraction: Datum::Null, values: Vec::new() })
}

fn state_types(shape: &Shape<'_>) -> Vec<SqlType> {
    // Such aggregates always have an order, so that their rows are what is sent.
    shape.args.to_vec()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Mode,
    Continuous,
    Discrete,
}

#[derive(Debug)]
struct Sorted {
    goal: Goal,
    /// Which percentile; an array asks for several.
    fraction: Datum,
    values: Vec<Datum>,
}

impl RowState for Sorted {
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError> {
        if let [fraction, _] = args {
            self.fraction = fraction.clone();
        }
        if let Some(value) = args.last().filter(|v| !v.is_null()) {
            self.values.push(value.clone());
        }
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        Vec::new()
    }

    fn merge(&mut self, _: &[Datum]) -> Result<(), ValueError> {
        fail(SqlState::INTERNAL_ERROR, "an ordered-set aggregate has no partial state")
    }

    fn evaluate(&self) -> Result<Datum, ValueError> {
        if self.values.is_empty() {
            return Ok(Datum::Null);
        }
        if self.goal == Goal::Mode {
            return Ok(self.most_frequent());
        }
        match &self.fraction {
            Datum::Array(fractions) => fractions.try_map(|f| self.percentile(f)).map(Datum::Array),
            fraction => self.percentile(fraction),
        }
    }
}

impl Sorted {
    /// Of equally frequent values the first.
    fn most_frequent(&self) -> Datum {
        let mut best: (usize, &Datum) = (0, &Datum::Null);
        let mut start = 0;
        for end in 1..=self.values.len() {
            if end == self.values.len() || self.values[end].sql_cmp(&self.values[start]).is_ne() {
                if end - start > best.0 {
                    best = (end - start, &self.values[start]);
                }
                start = end;
            }
        }
        best.1.clone()
    }

    fn percentile(&self, fraction: &Datum) -> Result<Datum, ValueError> {
        let Datum::Float8(fraction) = *fraction else { return Ok(Datum::Null) };
        if !(0.0..=1.0).contains(&fraction) {
            return fail(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("percentile value {fraction} is not between 0 and 1"));
        }
        let count = self.values.len();
        if self.goal == Goal::Discrete {
            let row = (fraction * count as f64).ceil() as usize;
            return Ok(self.values[row.saturating_sub(1).min(count - 1)].clone());
        }
        let place = fraction * (count - 1) as f64;
        let (low, high) = (place.floor() as usize, (place.ceil() as usize).min(count - 1));
        let share = place - place.floor();
        match (&self.values[low], &self.values[high]) {
            (low, _) if share == 0.0 => Ok(low.clone()),
            (Datum::Float8(low), Datum::Float8(high)) => Ok(Datum::Float8(low + (high - low) * share)),
            (Datum::Interval(low), Datum::Interval(high)) => {
                let part = interval::mul(interval::sub(*high, *low)?, share)?;
                Ok(Datum::Interval(interval::add(*low, part)?))
            }
            (low, _) => Ok(low.clone()),
        }
    }
}
