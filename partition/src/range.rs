//! Half-open ranges of keys.

use bytes::Bytes;

/// The keys at or above `lo` and below `hi`; `hi` of `None` is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRange {
    pub lo: Bytes,
    pub hi: Option<Bytes>,
}

impl KeyRange {
    /// All keys.
    pub fn all() -> Self {
        Self { lo: Bytes::new(), hi: None }
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { lo: Bytes::copy_from_slice(prefix), hi: successor(prefix) }
    }

    /// One key.
    pub fn point(key: &[u8]) -> Self {
        let mut hi = key.to_vec();
        hi.push(0);
        Self { lo: Bytes::copy_from_slice(key), hi: Some(hi.into()) }
    }

    /// Whether the key is inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.lo.as_ref() <= key && self.hi.as_ref().is_none_or(|hi| key < hi.as_ref())
    }

    /// Whether no key can be inside.
    pub fn is_empty(&self) -> bool {
        self.hi.as_ref().is_some_and(|hi| hi <= &self.lo)
    }

    /// The keys that are in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let lo = self.lo.clone().max(other.lo.clone());
        let hi = match (&self.hi, &other.hi) {
            (Some(a), Some(b)) => Some(a.clone().min(b.clone())),
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        };
        Self { lo, hi }
    }
}

/// The least key above every key that begins with `prefix`; `None` when there is none.
pub fn successor(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next.into())
}

/// Sorts ranges, drops empty ones, and joins those that touch.
pub fn normalise(mut ranges: Vec<KeyRange>) -> Vec<KeyRange> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by(|a, b| a.lo.cmp(&b.lo));
    let mut merged: Vec<KeyRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.hi.as_ref().is_none_or(|hi| *hi >= range.lo) => {
                last.hi = match (last.hi.take(), range.hi) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    _ => None,
                };
            }
            _ => merged.push(range),
        }
    }
    merged
}
