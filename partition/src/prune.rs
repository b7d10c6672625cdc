//! From what a condition says of the key columns to the key ranges that it can meet.
//!
//! Each key column has at most one [`Constraint`]; columns are taken in key order. A list of values multiplies the prefixes, an interval ends
//! the walk with a range under each prefix, and the first column without a constraint ends it with the prefixes themselves. Under a hash prefix all
//! hashed columns need values: otherwise any key is possible.
//!
//! Worked example: key (a, b, c), `a in (1, 2) and b >= 5`: prefixes `1` and `2`, then under each the keys from `b = 5` to the last non-NULL b.

use bytes::Bytes;
use common::datum::Datum;

use crate::error::KeyError;
use crate::key::{KeySchema, NULL_LAST, VALUE};
use crate::range::{KeyRange, normalise, successor};

/// More combinations of listed values than this are not told apart.
pub const POINTS_MAX: usize = 4_096;

/// What is known of one key column.
#[derive(Clone, PartialEq, Debug)]
pub enum Constraint {
    /// It is one of these values; NULL stands for IS NULL. No values: nothing matches.
    OneOf(Vec<Datum>),
    /// It is not NULL, and between the bounds; each is a value and whether it is included.
    Between { lo: Option<(Datum, bool)>, hi: Option<(Datum, bool)> },
}

/// The ranges that the constraints leave, in key order, and how many key columns they stand on.
#[derive(Clone, PartialEq, Debug)]
pub struct Pruned {
    pub ranges: Vec<KeyRange>,
    pub columns_used: usize,
}

/// The key ranges that rows under `constraints` (one for each key column, in key order) can have.
pub fn key_ranges(schema: &KeySchema, constraints: &[Option<Constraint>]) -> Result<Pruned, KeyError> {
    let all = Pruned { ranges: vec![KeyRange::all()], columns_used: 0 };
    let listed = |at: usize| match constraints.get(at) {
        Some(Some(Constraint::OneOf(values))) => Some(values),
        _ => None,
    };
    let mut prefixes: Vec<Vec<Datum>> = vec![Vec::new()];
    let mut used = 0;
    while let Some(values) = listed(used).filter(|_| used < schema.columns.len()) {
        if prefixes.len() * values.len() > POINTS_MAX {
            break;
        }
        prefixes = prefixes
            .iter()
            .flat_map(|prefix| {
                values.iter().map(move |value| {
                    let mut longer = prefix.clone();
                    longer.push(value.clone());
                    longer
                })
            })
            .collect();
        used += 1;
    }
    if used < schema.hash_columns {
        return Ok(all);
    }
    let interval = match constraints.get(used) {
        Some(Some(Constraint::Between { lo, hi })) if used < schema.columns.len() => Some((lo, hi)),
        _ => None,
    };
    let mut ranges = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        let encoded = schema.key(&prefix)?;
        ranges.push(match interval {
            Some((lo, hi)) => interval_range(schema, used, &encoded, lo.as_ref(), hi.as_ref())?,
            None => KeyRange::prefix(&encoded),
        });
    }
    Ok(Pruned { ranges: normalise(ranges), columns_used: used + usize::from(interval.is_some()) })
}

/// The keys under `prefix` whose next column is within the bounds.
fn interval_range(
    schema: &KeySchema,
    at: usize,
    prefix: &[u8],
    lo: Option<&(Datum, bool)>,
    hi: Option<&(Datum, bool)>,
) -> Result<KeyRange, KeyError> {
    let column = schema.columns[at];
    // In key order: a descending column's upper bound comes first.
    let (first, last) = if column.descending { (hi, lo) } else { (lo, hi) };
    let bound = |value: &Datum| -> Result<Vec<u8>, KeyError> {
        let mut key = prefix.to_vec();
        column.encode(value, &mut key)?;
        Ok(key)
    };
    let start = match first {
        Some((value, true)) => Bytes::from(bound(value)?),
        Some((value, false)) => successor(&bound(value)?).unwrap_or_default(),
        None => marked(prefix, VALUE),
    };
    let end = match last {
        Some((value, true)) => successor(&bound(value)?),
        Some((value, false)) => Some(Bytes::from(bound(value)?)),
        None => Some(marked(prefix, NULL_LAST)),
    };
    Ok(KeyRange { lo: start, hi: end })
}

fn marked(prefix: &[u8], marker: u8) -> Bytes {
    let mut key = prefix.to_vec();
    key.push(marker);
    key.into()
}

#[cfg(test)]
mod tests {
    use common::types::Scalar;
    use proptest::prelude::*;

    use super::*;
    use crate::bounds::Bounds;
    use crate::hash::hash_split_points;
    use crate::key::KeyColumn;

    fn small() -> impl Strategy<Value = Datum> + Clone {
        prop_oneof![5 => (-3i32..4).prop_map(Datum::Int4), 1 => Just(Datum::Null)]
    }

    fn constraint() -> impl Strategy<Value = Option<Constraint>> {
        let value = (-3i32..4).prop_map(Datum::Int4);
        let end = proptest::option::of((value, any::<bool>()));
        prop_oneof![
            Just(None),
            proptest::collection::vec(small(), 0..4).prop_map(|values| Some(Constraint::OneOf(values))),
            (end.clone(), end).prop_map(|(lo, hi)| Some(Constraint::Between { lo, hi })),
        ]
    }

    fn holds(constraint: Option<&Constraint>, value: &Datum) -> bool {
        match constraint {
            None => true,
            Some(Constraint::OneOf(values)) => values.contains(value),
            Some(Constraint::Between { lo, hi }) => {
                let Datum::Int4(value) = value else { return false };
                let above = lo.as_ref().is_none_or(|(lo, with)| match lo {
                    Datum::Int4(lo) => value > lo || (*with && value == lo),
                    _ => false,
                });
                let below = hi.as_ref().is_none_or(|(hi, with)| match hi {
                    Datum::Int4(hi) => value < hi || (*with && value == hi),
                    _ => false,
                });
                above && below
            }
        }
    }

    proptest! {
        #[test]
        fn a_row_that_matches_is_in_a_range(
            constraints in proptest::collection::vec(constraint(), 3),
            row in proptest::collection::vec(small(), 3),
            flags in proptest::collection::vec(any::<(bool, bool)>(), 3),
            hash_columns in 0usize..3,
        ) {
            let columns = flags.iter().map(|&(descending, nulls_first)| KeyColumn { ty: Scalar::Int4.into(), descending, nulls_first });
            let schema = KeySchema { columns: columns.collect(), hash_columns };
            let pruned = key_ranges(&schema, &constraints).unwrap();
            let key = schema.key(&row).unwrap();
            let matches = constraints.iter().zip(&row).all(|(c, v)| holds(c.as_ref(), v));
            let inside = pruned.ranges.iter().filter(|range| range.contains(&key)).count();
            prop_assert!(inside <= 1, "ranges do not overlap");
            if matches {
                prop_assert_eq!(inside, 1);
                let bounds = Bounds::new(hash_split_points(7));
                let met = pruned.ranges.iter().any(|range| bounds.overlapping(range).contains(&bounds.route(&key)));
                prop_assert!(met, "the row's partition is read");
            }
            let used = constraints.iter().zip(&row).take(pruned.columns_used).all(|(c, v)| holds(c.as_ref(), v));
            prop_assert_eq!(inside == 1, used, "the ranges say exactly what the used constraints say");
        }

        #[test]
        fn every_key_is_in_the_range_of_its_partition(partitions in 1u32..300, key: Vec<u8>) {
            let bounds = Bounds::new(hash_split_points(partitions));
            prop_assert_eq!(bounds.len(), partitions as usize);
            prop_assert!(bounds.range(bounds.route(&key)).contains(&key));
        }
    }
}
