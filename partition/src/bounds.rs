//! A relation cut into partitions, as nothing but its lower bounds.

use std::ops::Range;

use bytes::Bytes;

use crate::range::KeyRange;

/// The lower bounds of a relation's partitions, in key order; the first one is the empty key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    lowers: Vec<Bytes>,
}

impl Bounds {
    /// Bounds from lower bounds in ascending order. A first bound that is not empty gets the empty key put before it.
    pub fn new(mut lowers: Vec<Bytes>) -> Self {
        if lowers.first().is_none_or(|first| !first.is_empty()) {
            lowers.insert(0, Bytes::new());
        }
        debug_assert!(lowers.windows(2).all(|pair| pair[0] < pair[1]), "bounds ascend");
        Self { lowers }
    }

    /// How many partitions there are: one at least.
    pub fn len(&self) -> usize {
        self.lowers.len()
    }

    /// Never: there is always one partition.
    pub fn is_empty(&self) -> bool {
        self.lowers.is_empty()
    }

    /// The partition of a key. A boundary key belongs to the partition that it begins.
    pub fn route(&self, key: &[u8]) -> usize {
        self.lowers.partition_point(|lower| lower.as_ref() <= key) - 1
    }

    /// The range of a partition.
    pub fn range(&self, index: usize) -> KeyRange {
        KeyRange { lo: self.lowers[index].clone(), hi: self.lowers.get(index + 1).cloned() }
    }

    /// The partitions that a range meets.
    pub fn overlapping(&self, range: &KeyRange) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        let first = self.route(&range.lo);
        let end = match &range.hi {
            Some(hi) => self.lowers.partition_point(|lower| lower < hi),
            None => self.lowers.len(),
        };
        first..end.max(first + 1)
    }
}
