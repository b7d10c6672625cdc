//! Versions of rows: their order, and how the base stores them.
//!
//! # The order
//!
//! Versions are sorted by relation, then by key as plain bytes, then from new to old. Keys may be prefixes of each other, so a key with its timestamp
//! behind it must not be compared as one byte string: the timestamp of the short key would be compared with the rest of the long one. Escaping would
//! make that safe, but it costs a pass over each key at each read and one more byte for each zero (integer keys are mostly zeros). Both ordered
//! structures take a comparison of our own, so none is needed: the memtable compares the three fields, and the base's key type
//! [`VersionKey`] compares everything before the last 8 bytes first and the last 8 bytes (the complement of the timestamp, big-endian) then. Keys
//! stand raw on disk and in memory, and a scan lends them to its visitor without decoding.

use std::cmp::Ordering;

use common::ids::{RelationId, Timestamp, TransactionId};
use redb::{Key, TypeName, Value};
use smallvec::SmallVec;

/// Bytes of the relation in front of a base key.
pub(crate) const RELATION: usize = 4;
/// Bytes of the timestamp at the end of a base key.
const SUFFIX: usize = 8;

/// An encoded base key; short ones need no allocation.
pub(crate) type KeyBuffer = SmallVec<[u8; 96]>;

/// A base key: relation (big-endian), key, complement of the timestamp (big-endian).
#[derive(Debug)]
pub(crate) struct VersionKey;

impl VersionKey {
    /// Encodes a key.
    pub(crate) fn encode(relation: RelationId, key: &[u8], at: Timestamp) -> KeyBuffer {
        let mut out = KeyBuffer::with_capacity(key.len() + RELATION + SUFFIX);
        out.extend_from_slice(&relation.0.to_be_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(&(!at.0).to_be_bytes());
        out
    }

    /// The key without relation and timestamp. Every key in the base has both.
    pub(crate) fn key(encoded: &[u8]) -> &[u8] {
        &encoded[RELATION..encoded.len() - SUFFIX]
    }

    /// The relation.
    pub(crate) fn relation(encoded: &[u8]) -> RelationId {
        RelationId(u32::from_be_bytes([encoded[0], encoded[1], encoded[2], encoded[3]]))
    }

    /// The timestamp.
    pub(crate) fn timestamp(encoded: &[u8]) -> Timestamp {
        let (_, suffix) = split(encoded);
        Timestamp(!suffix)
    }
}

/// The part that orders first, and the suffix. Shorter input than a suffix (redb compares an empty key nowhere, but must not make us panic) has none.
fn split(encoded: &[u8]) -> (&[u8], u64) {
    match encoded.split_last_chunk::<SUFFIX>() {
        Some((prefix, suffix)) => (prefix, u64::from_be_bytes(*suffix)),
        None => (encoded, 0),
    }
}

impl Value for VersionKey {
    type SelfType<'a> = &'a [u8];
    type AsBytes<'a> = &'a [u8];

    fn fixed_width() -> Option<usize> {
        None
    }

    fn from_bytes<'a>(data: &'a [u8]) -> &'a [u8]
    where
        Self: 'a,
    {
        data
    }

    fn as_bytes<'a, 'b: 'a>(value: &'a &'b [u8]) -> &'a [u8]
    where
        Self: 'b,
    {
        value
    }

    fn type_name() -> TypeName {
        TypeName::new("partita::version_key")
    }
}

impl Key for VersionKey {
    fn compare(left: &[u8], right: &[u8]) -> Ordering {
        let ((left_key, left_suffix), (right_key, right_suffix)) = (split(left), split(right));
        left_key.cmp(right_key).then(left_suffix.cmp(&right_suffix))
    }
}

const ROW: u8 = 0;
const DELETION: u8 = 1;
const TAGGED_ROW: u8 = 2;
const TAGGED_DELETION: u8 = 3;

/// A version's content: a row or a deletion, maybe tagged by the transaction that wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) tag: Option<TransactionId>,
    /// `None` is a deletion.
    pub(crate) value: Option<&'a [u8]>,
}

impl<'a> Content<'a> {
    /// Appends the encoded content.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self.tag {
            None => out.push(if self.value.is_some() { ROW } else { DELETION }),
            Some(transaction) => {
                out.push(if self.value.is_some() { TAGGED_ROW } else { TAGGED_DELETION });
                out.extend_from_slice(&transaction.0.to_le_bytes());
            }
        }
        out.extend_from_slice(self.value.unwrap_or_default());
    }

    /// The encoded length.
    pub(crate) fn encoded_len(&self) -> usize {
        1 + if self.tag.is_some() { 8 } else { 0 } + self.value.map_or(0, <[u8]>::len)
    }

    /// Reads a content; `None` when the bytes are none.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        match kind {
            ROW => Some(Self { tag: None, value: Some(rest) }),
            DELETION => Some(Self { tag: None, value: None }),
            TAGGED_ROW | TAGGED_DELETION => {
                let (id, value) = rest.split_first_chunk::<8>()?;
                let tag = Some(TransactionId(u64::from_le_bytes(*id)));
                Some(Self { tag, value: (kind == TAGGED_ROW).then_some(value) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        // Few byte values, so that prefixes and 0x00/0xff borders happen often.
        proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xfe), Just(0xff)], 0..12)
    }

    fn time() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..4, any::<u64>(), Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn base_order_is_relation_key_newest(a in (0u32..3, key(), time()), b in (0u32..3, key(), time())) {
            let encode = |(relation, key, at): &(u32, Vec<u8>, u64)| VersionKey::encode(RelationId(*relation), key, Timestamp(*at));
            let expected = (a.0, &a.1, std::cmp::Reverse(a.2)).cmp(&(b.0, &b.1, std::cmp::Reverse(b.2)));
            prop_assert_eq!(VersionKey::compare(&encode(&a), &encode(&b)), expected);
        }

        #[test]
        fn contents_round_trip(tag in proptest::option::of(any::<u64>()), value in proptest::option::of(key())) {
            let content = Content { tag: tag.map(TransactionId), value: value.as_deref() };
            let mut out = Vec::new();
            content.encode(&mut out);
            prop_assert_eq!(out.len(), content.encoded_len());
            prop_assert_eq!(Content::decode(&out), Some(content));
        }
    }

    #[test]
    fn parts_of_a_key() {
        let encoded = VersionKey::encode(RelationId(7), b"abc", Timestamp(9));
        assert_eq!((VersionKey::relation(&encoded), VersionKey::key(&encoded)), (RelationId(7), &b"abc"[..]));
        assert_eq!(VersionKey::timestamp(&encoded), Timestamp(9));
    }

    #[test]
    fn garbage_is_no_content() {
        assert_eq!(Content::decode(&[]), None);
        assert_eq!(Content::decode(&[9]), None);
        assert_eq!(Content::decode(&[TAGGED_ROW, 1, 2]), None);
    }
}
