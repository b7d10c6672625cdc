//! A set of keys as ranges: what a transaction has read or written, never larger than [`RANGES_MAX`] ranges.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::range::KeyRange;

/// A set that would have more ranges becomes one, from its first key to its last: it may say of a key too many that it is in, never of one too few
/// that it is not.
pub const RANGES_MAX: usize = 1_024;

/// Ranges that do not touch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RangeSet {
    /// By their first keys.
    ranges: BTreeMap<Bytes, Option<Bytes>>,
}

impl RangeSet {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.ranges.iter().map(|(lo, hi)| (lo, hi.as_ref()))
    }

    /// Adds one key.
    pub fn add_key(&mut self, key: &[u8]) {
        if self.overlaps_key(key) {
            return;
        }
        let KeyRange { lo, hi } = KeyRange::point(key);
        self.add(lo, hi);
    }

    /// Adds a range.
    pub fn add(&mut self, mut lo: Bytes, mut hi: Option<Bytes>) {
        if hi.as_ref().is_some_and(|hi| *hi <= lo) {
            return;
        }
        if let Some((before, end)) = self.ranges.range(..=lo.clone()).next_back() {
            if end.as_ref().is_none_or(|end| hi.as_ref().is_some_and(|hi| hi <= end)) {
                return;
            }
            if end.as_ref().is_some_and(|end| *end >= lo) {
                lo = before.clone();
            }
        }
        // Those that begin inside, or where it ends, become one with it.
        let upper = hi.clone().map_or(Bound::Unbounded, Bound::Included);
        let inside: Vec<Bytes> = self.ranges.range((Bound::Included(lo.clone()), upper)).map(|(key, _)| key.clone()).collect();
        for key in inside {
            if let Some(end) = self.ranges.remove(&key) {
                hi = match (hi, end) {
                    (Some(hi), Some(end)) => Some(hi.max(end)),
                    _ => None,
                };
            }
        }
        self.ranges.insert(lo, hi);
        if self.ranges.len() > RANGES_MAX {
            self.become_one();
        }
    }

    fn become_one(&mut self) {
        let (Some((lo, _)), Some((_, hi))) = (self.ranges.pop_first(), self.ranges.pop_last()) else { return };
        self.ranges.clear();
        self.ranges.insert(lo, hi);
    }

    /// Whether the key is in it.
    pub fn overlaps_key(&self, key: &[u8]) -> bool {
        let before = self.ranges.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        before.is_some_and(|(_, hi)| hi.as_ref().is_none_or(|hi| key < &**hi))
    }

    /// Whether a key is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (few, many) = if self.ranges.len() <= other.ranges.len() { (self, other) } else { (other, self) };
        few.ranges.iter().any(|(lo, hi)| {
            let upper = hi.as_ref().map_or(Bound::Unbounded, |hi| Bound::Excluded(&**hi));
            many.overlaps_key(lo) || many.ranges.range::<[u8], _>((Bound::Included(&**lo), upper)).next().is_some()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(ranges: &[(u8, u8)]) -> RangeSet {
        let mut set = RangeSet::default();
        for (lo, hi) in ranges {
            set.add(Bytes::copy_from_slice(&[*lo]), (*hi < 200).then(|| Bytes::copy_from_slice(&[*hi])));
        }
        set
    }

    fn has(ranges: &[(u8, u8)], key: u8) -> bool {
        ranges.iter().any(|(lo, hi)| *lo <= key && (*hi >= 200 || key < *hi))
    }

    fn ranges() -> impl Strategy<Value = Vec<(u8, u8)>> {
        proptest::collection::vec((0u8..60, prop_oneof![9 => 0u8..60, 1 => Just(255)]), 0..12)
    }

    proptest! {
        #[test]
        fn a_set_has_the_keys_of_its_ranges(one in ranges(), other in ranges()) {
            let (a, b) = (set(&one), set(&other));
            for key in 0..=70 {
                prop_assert_eq!(a.overlaps_key(&[key]), has(&one, key), "{}", key);
            }
            let common = (0..=70).any(|key| has(&one, key) && has(&other, key));
            prop_assert_eq!(a.overlaps(&b), common);
            prop_assert_eq!(b.overlaps(&a), common);
            let bounds: Vec<_> = a.iter().collect();
            prop_assert!(bounds.windows(2).all(|w| w[0].1.is_some_and(|hi| hi < w[1].0)), "apart and in order");
        }
    }

    #[test]
    fn a_large_set_becomes_one_range() {
        let mut set = RangeSet::default();
        for n in 0..=u16::try_from(RANGES_MAX).unwrap() {
            set.add_key(&(n * 2).to_be_bytes());
        }
        assert_eq!(set.iter().count(), 1);
        assert!(set.overlaps_key(&3u16.to_be_bytes()));
        assert!(!set.overlaps_key(&u16::MAX.to_be_bytes()));
    }
}
