//! Ranges: what they are and what is computed with them. [`crate::range_text`] reads and writes them.
//!
//! A range travels as bytes whose order is the ranges': 0 for the empty range; else 1, the lower bound (0 when there is none, else 1, the value
//! in the form of keys, and 0 if it belongs to the range) and the upper bound (2 when there is none, else 1, the value, and 1 if it belongs to
//! it). Numerics keep their display scale, which [`key`] takes out of the order.

use std::cmp::Ordering;

use common::datum::Datum;
use common::numeric::Numeric;
use common::sqlstate::SqlState;
use common::types::RangeKind;

use crate::calendar::{DATE_INFINITY, DATE_NEGATIVE_INFINITY};
use crate::datetime;
use crate::error::ValueError;

/// One end of a range.
#[derive(Clone, PartialEq, Debug)]
pub struct Bound {
    /// `None`: the range does not end here.
    pub value: Option<Datum>,
    pub inclusive: bool,
    pub is_lower: bool,
}

impl Bound {
    /// An end; where there is no value, it does not belong to the range.
    pub fn new(value: Option<Datum>, inclusive: bool, is_lower: bool) -> Self {
        Self { inclusive: inclusive && value.is_some(), value, is_lower }
    }

    /// The order of ends, as places between values: just before an inclusive lower and an exclusive upper one, just behind the others.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (&self.value, &other.value) {
            (None, None) => other.is_lower.cmp(&self.is_lower),
            (None, Some(_)) => {
                if self.is_lower {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
            (Some(_), None) => {
                if other.is_lower {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (Some(a), Some(b)) => a.sql_cmp(b).then_with(|| self.side().cmp(&other.side())),
        }
    }

    /// Where the end is beside its value.
    fn side(&self) -> i8 {
        match (self.inclusive, self.is_lower) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => -1,
        }
    }

    /// The other side of the same place.
    fn opposite(&self) -> Self {
        Self { value: self.value.clone(), inclusive: !self.inclusive && self.value.is_some(), is_lower: !self.is_lower }
    }
}

/// A range; `None` is the empty one.
pub type Range = Option<(Bound, Bound)>;

/// A range of two ends, in the one form that its kind has; 22000 when the ends are in the wrong order.
pub fn make(lower: Bound, upper: Bound, kind: RangeKind) -> Result<Range, ValueError> {
    let (Some(a), Some(b)) = (&lower.value, &upper.value) else { return canonical(lower, upper, kind) };
    match a.sql_cmp(b) {
        Ordering::Greater => {
            Err(ValueError::new(SqlState::DATA_EXCEPTION, "range lower bound must be less than or equal to range upper bound"))
        }
        Ordering::Equal if !(lower.inclusive && upper.inclusive) => Ok(None),
        _ => canonical(lower, upper, kind),
    }
}

/// Discrete ranges include their lower end and not their upper one.
fn canonical(mut lower: Bound, mut upper: Bound, kind: RangeKind) -> Result<Range, ValueError> {
    if !kind.is_discrete() {
        return Ok(Some((lower, upper)));
    }
    if let (Some(value), false) = (&lower.value, lower.inclusive) {
        if let Some(next) = next(value)? {
            lower = Bound::new(Some(next), true, true);
        }
    }
    if let (Some(value), true) = (&upper.value, upper.inclusive) {
        if let Some(next) = next(value)? {
            upper = Bound::new(Some(next), false, false);
        }
    }
    let is_empty =
        matches!((&lower.value, &upper.value), (Some(a), Some(b)) if a.sql_cmp(b).is_ge() && !(lower.inclusive && upper.inclusive));
    Ok((!is_empty).then_some((lower, upper)))
}

/// The value after a discrete one; `None` for an infinite date.
fn next(value: &Datum) -> Result<Option<Datum>, ValueError> {
    Ok(match value {
        Datum::Int4(v) => Some(Datum::Int4(v.checked_add(1).ok_or_else(|| ValueError::out_of_range("integer"))?)),
        Datum::Int8(v) => Some(Datum::Int8(v.checked_add(1).ok_or_else(|| ValueError::out_of_range("bigint"))?)),
        Datum::Date(DATE_INFINITY | DATE_NEGATIVE_INFINITY) => None,
        Datum::Date(v) => Some(Datum::Date(datetime::add_days(*v, 1)?)),
        _ => None,
    })
}

/// The form in which it travels.
pub fn to_bytes(range: &Range) -> Vec<u8> {
    write(range, true)
}

fn write(range: &Range, with_scale: bool) -> Vec<u8> {
    let Some((lower, upper)) = range else { return vec![0] };
    let mut out = vec![1];
    match &lower.value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put_value(value, with_scale, &mut out);
            out.push(u8::from(!lower.inclusive));
        }
    }
    match &upper.value {
        None => out.push(2),
        Some(value) => {
            out.push(1);
            put_value(value, with_scale, &mut out);
            out.push(u8::from(upper.inclusive));
        }
    }
    out
}

fn put_value(value: &Datum, with_scale: bool, out: &mut Vec<u8>) {
    match value {
        Datum::Int4(v) | Datum::Date(v) => out.extend_from_slice(&(v.cast_unsigned() ^ (1 << 31)).to_be_bytes()),
        Datum::Int8(v) | Datum::Timestamp(v) => out.extend_from_slice(&(v.cast_unsigned() ^ (1 << 63)).to_be_bytes()),
        Datum::Numeric(v) => {
            let form = v.sortable();
            let end = if with_scale { form.len() } else { Numeric::sortable_prefix_len(&form) };
            out.extend_from_slice(&form[..end]);
        }
        _ => {}
    }
}

/// What stands for the range where it is compared bytewise.
pub fn key(bytes: &[u8], kind: RangeKind) -> Vec<u8> {
    match (kind, from_bytes(bytes, kind)) {
        (RangeKind::Num, Some(range)) => write(&range, false),
        _ => bytes.to_vec(),
    }
}

/// Reads what [`to_bytes`] made; `None` when it is something else.
pub fn from_bytes(bytes: &[u8], kind: RangeKind) -> Option<Range> {
    let (&first, mut rest) = bytes.split_first()?;
    if first == 0 {
        return Some(None);
    }
    let mut end = |is_lower: bool| {
        let (&marker, tail) = rest.split_first()?;
        rest = tail;
        if marker != 1 {
            return Some(Bound::new(None, false, is_lower));
        }
        let (value, used) = take_value(rest, kind)?;
        let flag = *rest.get(used)?;
        rest = &rest[used + 1..];
        Some(Bound::new(Some(value), (flag == 1) != is_lower, is_lower))
    };
    let lower = end(true)?;
    Some(Some((lower, end(false)?)))
}

fn take_value(bytes: &[u8], kind: RangeKind) -> Option<(Datum, usize)> {
    let int4 = || Some((u32::from_be_bytes(*bytes.first_chunk()?) ^ (1 << 31)).cast_signed());
    let int8 = || Some((u64::from_be_bytes(*bytes.first_chunk()?) ^ (1 << 63)).cast_signed());
    Some(match kind {
        RangeKind::Int4 => (Datum::Int4(int4()?), 4),
        RangeKind::Date => (Datum::Date(int4()?), 4),
        RangeKind::Int8 => (Datum::Int8(int8()?), 8),
        RangeKind::Ts | RangeKind::Tstz => (Datum::Timestamp(int8()?), 8),
        RangeKind::Num => {
            let (value, used) = Numeric::from_sortable(bytes)?;
            (Datum::Numeric(value), used)
        }
    })
}

/// Whether the value lies in the range.
pub fn contains_value(range: &Range, value: &Datum) -> bool {
    let Some((lower, upper)) = range else { return false };
    let above = lower.value.as_ref().is_none_or(|l| if lower.inclusive { l.sql_cmp(value).is_le() } else { l.sql_cmp(value).is_lt() });
    let below = upper.value.as_ref().is_none_or(|u| if upper.inclusive { u.sql_cmp(value).is_ge() } else { u.sql_cmp(value).is_gt() });
    above && below
}

/// `a @> b`
pub fn contains(a: &Range, b: &Range) -> bool {
    match (a, b) {
        (_, None) => true,
        (None, _) => false,
        (Some((la, ua)), Some((lb, ub))) => la.compare(lb).is_le() && ua.compare(ub).is_ge(),
    }
}

/// `a && b`
pub fn overlaps(a: &Range, b: &Range) -> bool {
    match (a, b) {
        (Some((la, ua)), Some((lb, ub))) => la.compare(ub).is_le() && lb.compare(ua).is_le(),
        _ => false,
    }
}

/// `a << b`
pub fn is_before(a: &Range, b: &Range) -> bool {
    matches!((a, b), (Some((_, ua)), Some((lb, _))) if ua.compare(lb).is_lt())
}

/// `a &< b`
pub fn ends_no_later(a: &Range, b: &Range) -> bool {
    matches!((a, b), (Some((_, ua)), Some((_, ub))) if ua.compare(ub).is_le())
}

/// `a &> b`
pub fn begins_no_earlier(a: &Range, b: &Range) -> bool {
    matches!((a, b), (Some((la, _)), Some((lb, _))) if la.compare(lb).is_ge())
}

/// Whether nothing lies between the end of one and the beginning of the other, and neither do they overlap.
fn meet(upper: &Bound, lower: &Bound, kind: RangeKind) -> bool {
    let (Some(a), Some(b)) = (&upper.value, &lower.value) else { return false };
    match a.sql_cmp(b) {
        Ordering::Equal => upper.inclusive != lower.inclusive,
        Ordering::Less => {
            let between = make(upper.opposite(), lower.opposite(), kind);
            kind.is_discrete() && matches!(between, Ok(None))
        }
        Ordering::Greater => false,
    }
}

/// `a -|- b`
pub fn is_adjacent(a: &Range, b: &Range, kind: RangeKind) -> bool {
    match (a, b) {
        (Some((la, ua)), Some((lb, ub))) => meet(ua, lb, kind) || meet(ub, la, kind),
        _ => false,
    }
}

fn lesser<'a>(a: &'a Bound, b: &'a Bound) -> &'a Bound {
    if a.compare(b).is_le() { a } else { b }
}

fn greater<'a>(a: &'a Bound, b: &'a Bound) -> &'a Bound {
    if a.compare(b).is_ge() { a } else { b }
}

/// `a + b`, or `range_merge`, which may span a gap; 22000 for a sum that is no range.
pub fn union(a: &Range, b: &Range, kind: RangeKind, spans_gaps: bool) -> Result<Range, ValueError> {
    let (Some((la, ua)), Some((lb, ub))) = (a, b) else { return Ok(if a.is_none() { b.clone() } else { a.clone() }) };
    if !spans_gaps && !overlaps(a, b) && !is_adjacent(a, b, kind) {
        return Err(ValueError::new(SqlState::DATA_EXCEPTION, "result of range union would not be contiguous"));
    }
    make(lesser(la, lb).clone(), greater(ua, ub).clone(), kind)
}

/// `a * b`
pub fn intersection(a: &Range, b: &Range, kind: RangeKind) -> Result<Range, ValueError> {
    match (a, b) {
        (Some((la, ua)), Some((lb, ub))) if overlaps(a, b) => make(greater(la, lb).clone(), lesser(ua, ub).clone(), kind),
        _ => Ok(None),
    }
}

/// `a - b`; 22000 for a difference that is no range.
pub fn difference(a: &Range, b: &Range, kind: RangeKind) -> Result<Range, ValueError> {
    let (Some((la, ua)), Some((lb, ub))) = (a, b) else { return Ok(a.clone()) };
    let (lower, upper) = (la.compare(lb), ua.compare(ub));
    if lower.is_lt() && upper.is_gt() {
        return Err(ValueError::new(SqlState::DATA_EXCEPTION, "result of range difference would not be contiguous"));
    }
    if la.compare(ub).is_gt() || ua.compare(lb).is_lt() {
        return Ok(a.clone());
    }
    if lower.is_ge() && upper.is_le() {
        return Ok(None);
    }
    if lower.is_le() && upper.is_le() { make(la.clone(), lb.opposite(), kind) } else { make(ub.opposite(), ua.clone(), kind) }
}

/// The order of ranges: the empty one first, then by lower end, then by upper end.
pub fn compare(a: &Range, b: &Range) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, _) => Ordering::Less,
        (_, None) => Ordering::Greater,
        (Some((la, ua)), Some((lb, ub))) => la.compare(lb).then_with(|| ua.compare(ub)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(lower: i32, upper: i32, flags: &str) -> Range {
        let lower = Bound::new(Some(Datum::Int4(lower)), flags.starts_with('['), true);
        make(lower, Bound::new(Some(Datum::Int4(upper)), flags.ends_with(']'), false), RangeKind::Int4).unwrap()
    }

    #[test]
    fn discrete_ranges_have_one_form() {
        assert_eq!(range(1, 3, "[]"), range(0, 4, "()"));
        assert_eq!(range(1, 2, "()"), None);
        assert!(is_adjacent(&range(1, 3, "[)"), &range(3, 5, "[)"), RangeKind::Int4));
        assert_eq!(difference(&range(1, 9, "[)"), &range(5, 20, "[)"), RangeKind::Int4).unwrap(), range(1, 5, "[)"));
    }

    #[test]
    fn bytes_are_in_order() {
        let all = [None, range(1, 3, "[)"), range(1, 4, "[)"), range(2, 3, "[)")];
        for pair in all.windows(2) {
            assert!(to_bytes(&pair[0]) < to_bytes(&pair[1]));
            assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less);
        }
        for range in all {
            assert_eq!(from_bytes(&to_bytes(&range), RangeKind::Int4), Some(range));
        }
    }
}
