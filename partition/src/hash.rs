//! The hash prefix of keys: the two leading bytes of XXH3-64 over the encoded partition columns.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// Length of the prefix, in bytes.
pub const HASH_PREFIX_LEN: usize = 2;
/// The number of hash values, and so the most partitions that a hash table can be cut into.
pub const HASH_VALUES: u32 = 1 << 16;

/// The prefix of a key whose encoded partition columns are `encoded`.
pub fn hash_prefix(encoded: &[u8]) -> [u8; HASH_PREFIX_LEN] {
    let hash = xxh3_64(encoded).to_be_bytes();
    [hash[0], hash[1]]
}

/// The bounds between `partitions` equal shares of the hash space: one less than there are partitions.
pub fn hash_split_points(partitions: u32) -> Vec<Bytes> {
    let partitions = u64::from(partitions.clamp(1, HASH_VALUES));
    (1..partitions)
        .map(|i| {
            let value = i * u64::from(HASH_VALUES) / partitions;
            let value = u16::try_from(value).expect("a share below the whole is below 65536");
            Bytes::copy_from_slice(&value.to_be_bytes())
        })
        .collect()
}
