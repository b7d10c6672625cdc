//! Which keys a memtable may have: most reads look for keys that it has not, and searching a large memtable for nothing is dear.
//!
//! A blocked Bloom filter: a key's hash chooses one word and four of its bits. Bits are only ever set, by the one writer, before the row
//! is put in; so who must see a row sees its bits. False alarms cost a search (about one in two hundred at 500,000 keys), a miss is certain.

use std::sync::atomic::{AtomicU64, Ordering};

use common::ids::RelationId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Words of the filter: 1 MiB.
const WORDS: usize = 1 << 17;
/// Bits of a word that one key sets, at most.
const BITS: u32 = 4;

/// The filter of one memtable.
#[derive(Debug)]
pub(crate) struct KeyFilter(Box<[AtomicU64]>);

impl KeyFilter {
    pub(crate) fn new() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Notes a key.
    pub(crate) fn add(&self, relation: RelationId, key: &[u8]) {
        let (word, bits) = place(relation, key);
        self.0[word].fetch_or(bits, Ordering::AcqRel);
    }

    /// Whether the key may have been noted.
    pub(crate) fn may_have(&self, relation: RelationId, key: &[u8]) -> bool {
        let (word, bits) = place(relation, key);
        self.0[word].load(Ordering::Acquire) & bits == bits
    }
}

fn place(relation: RelationId, key: &[u8]) -> (usize, u64) {
    let hash = xxh3_64_with_seed(key, u64::from(relation.0));
    let bits = (0..BITS).fold(0, |bits, at| bits | 1_u64 << (hash >> (6 * at) & 63));
    let word = usize::try_from(hash >> 40).expect("24 bits") % WORDS;
    (word, bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_found_and_little_else() {
        let filter = KeyFilter::new();
        for key in 0..100_000_u32 {
            filter.add(RelationId(1), &key.to_be_bytes());
        }
        assert!((0..100_000_u32).all(|key| filter.may_have(RelationId(1), &key.to_be_bytes())));
        let alarms = (0..100_000_u32).filter(|key| filter.may_have(RelationId(2), &key.to_be_bytes())).count();
        assert!(alarms < 1_000, "{alarms}");
    }
}
