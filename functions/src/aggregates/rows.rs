//! Aggregates that take one row at a time: booleans, bits, strings, arrays, extremes.

use common::array::Dimension;
use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use types::array;
use types::error::ValueError;

use super::table::{RowKind, Shape};
use crate::definition::fail;

/// The running state of one aggregate over one group.
pub(crate) trait RowState: Send + Sync + std::fmt::Debug {
    /// Takes a row's arguments.
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError>;
    /// The state as values of the kind's state types.
    fn state(&self) -> Vec<Datum>;
    /// Takes what [`Self::state`] of another part answered.
    fn merge(&mut self, state: &[Datum]) -> Result<(), ValueError>;
    /// The result over all rows so far.
    fn evaluate(&self) -> Result<Datum, ValueError>;
    /// Bytes that it holds, about.
    fn size(&self) -> usize {
        64
    }
}

pub(crate) fn kinds() -> Vec<(String, RowKind)> {
    let mut out: Vec<(String, RowKind)> = Vec::new();
    for name in ["bool_and", "bool_or", "every"] {
        out.push((format!("{name}(bool) bool"), RowKind::new(folded, result_state).idempotent()));
    }
    for ty in ["int2", "int4", "int8"] {
        for name in ["bit_and", "bit_or"] {
            out.push((format!("{name}({ty}) {ty}"), RowKind::new(folded, result_state).idempotent()));
        }
        out.push((format!("bit_xor({ty}) {ty}"), RowKind::new(folded, result_state)));
    }
    for ty in ["interval", "anyarray"] {
        out.push((format!("min({ty}) {ty}"), RowKind::new(folded, result_state).idempotent()));
        out.push((format!("max({ty}) {ty}"), RowKind::new(folded, result_state).idempotent()));
    }
    out.push(("string_agg(text,text) text".into(), RowKind::new(|_| Box::<Joined>::default(), joined_state).nullable().ordered()));
    out.push(("string_agg(bytea,bytea) bytea".into(), RowKind::new(|_| Box::new(Joined::bytes()), joined_state).nullable().ordered()));
    out.push(("array_agg(anynonarray) anyarray".into(), RowKind::new(|_| Box::<Collected>::default(), result_state).nullable().ordered()));
    out.push(("array_agg(anyarray) anyarray".into(), RowKind::new(|_| Box::<Nested>::default(), result_state).nullable().ordered()));
    out
}

fn result_state(shape: &Shape<'_>) -> Vec<SqlType> {
    vec![shape.result]
}

type Step = fn(&Datum, &Datum) -> Option<Datum>;

/// An aggregate that combines two values of its result type into one.
#[derive(Debug)]
struct Folded {
    step: Step,
    value: Datum,
}

fn folded(shape: &Shape<'_>) -> Box<dyn RowState> {
    let step: Step = match shape.name {
        "bool_and" | "every" => |a, b| if let (Datum::Bool(a), Datum::Bool(b)) = (a, b) { Some(Datum::Bool(*a && *b)) } else { None },
        "bool_or" => |a, b| if let (Datum::Bool(a), Datum::Bool(b)) = (a, b) { Some(Datum::Bool(*a || *b)) } else { None },
        "bit_and" => |a, b| bits(a, b, |x, y| x & y),
        "bit_or" => |a, b| bits(a, b, |x, y| x | y),
        "bit_xor" => |a, b| bits(a, b, |x, y| x ^ y),
        "min" => |a, b| Some(if b.sql_cmp(a).is_lt() { b.clone() } else { a.clone() }),
        _ => |a, b| Some(if b.sql_cmp(a).is_gt() { b.clone() } else { a.clone() }),
    };
    Box::new(Folded { step, value: Datum::Null })
}

fn bits(a: &Datum, b: &Datum, op: fn(i64, i64) -> i64) -> Option<Datum> {
    // The operations keep to the operands' range.
    Some(match (a, b) {
        (Datum::Int2(a), Datum::Int2(b)) => Datum::Int2(op(i64::from(*a), i64::from(*b)) as i16),
        (Datum::Int4(a), Datum::Int4(b)) => Datum::Int4(op(i64::from(*a), i64::from(*b)) as i32),
        (Datum::Int8(a), Datum::Int8(b)) => Datum::Int8(op(*a, *b)),
        _ => return None,
    })
}

impl RowState for Folded {
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError> {
        let Some(value) = args.first().filter(|v| !v.is_null()) else { return Ok(()) };
        if self.value.is_null() {
            self.value = value.clone();
        } else if let Some(next) = (self.step)(&self.value, value) {
            self.value = next;
        }
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.value.clone()]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<(), ValueError> {
        self.update(state)
    }

    fn evaluate(&self) -> Result<Datum, ValueError> {
        Ok(self.value.clone())
    }
}

/// `string_agg`: each value after its own delimiter; the first delimiter is cut off in the end.
#[derive(Debug, Default)]
struct Joined {
    bytes: Vec<u8>,
    /// The length of the first delimiter; `None` before the first value.
    skip: Option<usize>,
    is_bytea: bool,
}

impl Joined {
    fn bytes() -> Self {
        Self { is_bytea: true, ..Self::default() }
    }

    fn datum(&self, bytes: &[u8]) -> Datum {
        if self.is_bytea { Datum::Bytea(bytes.to_vec().into()) } else { Datum::Text(String::from_utf8_lossy(bytes).into_owned()) }
    }
}

fn joined_state(shape: &Shape<'_>) -> Vec<SqlType> {
    vec![shape.result, Scalar::Int8.into()]
}

fn content(value: &Datum) -> Option<&[u8]> {
    match value {
        Datum::Text(text) => Some(text.as_bytes()),
        Datum::Bytea(bytes) => Some(bytes),
        _ => None,
    }
}

impl RowState for Joined {
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError> {
        let Some(value) = args.first().and_then(content) else { return Ok(()) };
        let delimiter = args.get(1).and_then(content).unwrap_or_default();
        self.skip.get_or_insert(delimiter.len());
        self.bytes.extend_from_slice(delimiter);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        match self.skip {
            Some(skip) => vec![self.datum(&self.bytes), Datum::Int8(i64::try_from(skip).unwrap_or(0))],
            None => vec![Datum::Null, Datum::Null],
        }
    }

    fn merge(&mut self, state: &[Datum]) -> Result<(), ValueError> {
        if let [part, Datum::Int8(skip)] = state
            && let Some(bytes) = content(part)
        {
            self.skip.get_or_insert(usize::try_from(*skip).unwrap_or(0));
            self.bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<Datum, ValueError> {
        Ok(self.skip.map_or(Datum::Null, |skip| self.datum(self.bytes.get(skip..).unwrap_or_default())))
    }

    fn size(&self) -> usize {
        self.bytes.capacity() + 64
    }
}

/// `array_agg`.
#[derive(Debug, Default)]
struct Collected {
    values: Vec<Datum>,
}

impl RowState for Collected {
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError> {
        self.values.push(args.first().cloned().unwrap_or(Datum::Null));
        Ok(())
    }

    fn state(&self) -> Vec<Datum> {
        vec![if self.values.is_empty() { Datum::Null } else { Datum::Array(self.values.clone().into()) }]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<(), ValueError> {
        if let Some(Datum::Array(values)) = state.first() {
            self.values.extend_from_slice(values);
        }
        Ok(())
    }

    fn evaluate(&self) -> Result<Datum, ValueError> {
        Ok(self.state().pop().unwrap_or(Datum::Null))
    }

    fn size(&self) -> usize {
        self.values.capacity() * 48 + 64
    }
}

/// `array_agg` over arrays: an array of one dimension more.
#[derive(Debug, Default)]
struct Nested {
    inner: Vec<Dimension>,
    count: i32,
    elements: Vec<Datum>,
}

impl Nested {
    fn take(&mut self, inner: &[Dimension], count: i32, elements: &[Datum]) -> Result<(), ValueError> {
        if self.count == 0 {
            self.inner = inner.to_vec();
        } else if self.inner != inner {
            return fail(SqlState::ARRAY_SUBSCRIPT_ERROR, "cannot accumulate arrays of different dimensionality");
        }
        self.count = self.count.checked_add(count).ok_or_else(array::too_large)?;
        self.elements.extend_from_slice(elements);
        Ok(())
    }

    fn array(&self) -> Result<Datum, ValueError> {
        if self.count == 0 {
            return Ok(Datum::Null);
        }
        let mut dimensions = vec![Dimension { length: self.count, lower: 1 }];
        dimensions.extend_from_slice(&self.inner);
        array::build(dimensions, self.elements.clone()).map(Datum::Array)
    }
}

impl RowState for Nested {
    fn update(&mut self, args: &[Datum]) -> Result<(), ValueError> {
        let Some(Datum::Array(array)) = args.first() else {
            return fail(SqlState::NULL_VALUE_NOT_ALLOWED, "cannot accumulate null arrays");
        };
        if array.is_empty() {
            return fail(SqlState::ARRAY_SUBSCRIPT_ERROR, "cannot accumulate empty arrays");
        }
        self.take(array.dimensions(), 1, array)
    }

    fn state(&self) -> Vec<Datum> {
        vec![self.array().unwrap_or(Datum::Null)]
    }

    fn merge(&mut self, state: &[Datum]) -> Result<(), ValueError> {
        let Some(Datum::Array(array)) = state.first() else { return Ok(()) };
        let Some((outer, inner)) = array.dimensions().split_first() else { return Ok(()) };
        self.take(inner, outer.length, array)
    }

    fn evaluate(&self) -> Result<Datum, ValueError> {
        self.array()
    }

    fn size(&self) -> usize {
        self.elements.capacity() * 48 + 64
    }
}
