//! How frames stand in the log.
//!
//! A frame is a header of [`HEADER`] bytes and a body:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic, with the version in its last byte |
//! | 4 | length of the body |
//! | 4 | CRC-32 of everything after this field, header and body |
//! | 8 | position of the frame in the log |
//! | 4 | how many bytes before the frame were not yet durable when it was written |
//!
//! The last field tells a torn tail from corruption: a damaged frame followed by a whole one is a torn tail as long as the whole one was
//! written before the damaged one was synced (the disk may persist pages in any order), and corruption otherwise.
//!
//! The body is, for each record, the group, a term and an index (both 0 as long as a group has one copy; there so that replication needs no new
//! format), a kind and the record's fields. Integers are little-endian base-128 varints, byte strings have their length before them.

use bytes::Bytes;
use common::ids::{GroupId, LogPosition, RelationId, Timestamp, TransactionId, WorkerId};

use crate::record::{Change, Frame, Record};

const MAGIC: [u8; 4] = *b"PLG\x01";
/// The header's length.
pub(crate) const HEADER: usize = 24;
/// The longest body: more is refused at append and not believed at reading.
pub(crate) const MAX_BODY: usize = 1 << 30;

const WRITE: u8 = 1;
const PROVISIONAL: u8 = 2;
const PREPARE: u8 = 3;
const DECIDE: u8 = 4;
const METADATA: u8 = 5;
const DROP_RANGE: u8 = 6;
const UNDO: u8 = 7;

/// A frame's header, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) body: usize,
    pub(crate) position: LogPosition,
    /// The durable end of the log when the frame was written.
    pub(crate) durable: LogPosition,
    crc: u32,
}

impl Header {
    /// Reads a header; `None` when these bytes are none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let body = word(4) as usize;
        if bytes[..4] != MAGIC || body > MAX_BODY {
            return None;
        }
        let position = u64::from(word(12)) | u64::from(word(16)) << 32;
        let durable = position.checked_sub(u64::from(word(20)))?;
        Some(Self { body, position: LogPosition(position), durable: LogPosition(durable), crc: word(8) })
    }

    /// Whether the frame is the one that was written; `frame` is header and body.
    pub(crate) fn verify(&self, frame: &[u8]) -> bool {
        frame.len() == HEADER + self.body && crc32fast::hash(&frame[12..]) == self.crc
    }

    /// The frame's length with its header.
    pub(crate) fn len(&self) -> u64 {
        (HEADER + self.body) as u64
    }
}

/// The first byte of every frame, to search for.
pub(crate) const FIRST_BYTE: u8 = MAGIC[0];

/// A bound of a frame's encoded body: what [`encode_frame`] writes is at most this long.
pub(crate) fn body_bound(frame: &Frame) -> usize {
    const NUMBER: usize = 10;
    let change = |change: &Change| {
        let values = change.value.as_ref().map_or(0, Bytes::len) + change.before.as_ref().map_or(0, Bytes::len);
        5 * NUMBER + change.key.len() + values
    };
    let record = |record: &Record| match record {
        Record::Write { changes, .. } | Record::Provisional { changes, .. } => changes.iter().map(change).sum(),
        Record::Prepare { participants, .. } => participants.len() * NUMBER,
        Record::Decide { .. } | Record::Undo { .. } => 0,
        Record::Metadata { key, value } => key.len() + value.as_ref().map_or(0, Bytes::len),
        Record::DropRange { lo, hi, .. } => lo.len() + hi.as_ref().map_or(0, Bytes::len),
    };
    frame.iter().map(|(_, one)| 7 * NUMBER + record(one)).sum()
}

/// Appends a frame to `out`. Its [`body_bound`] is at most [`MAX_BODY`].
pub(crate) fn encode_frame(frame: &Frame, position: LogPosition, durable: LogPosition, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    for (group, record) in frame {
        put_u64(out, u64::from(group.0));
        put_u64(out, 0);
        put_u64(out, 0);
        encode_record(record, out);
    }
    let length = u32::try_from(out.len() - start - HEADER).expect("bounded by MAX_BODY");
    let unsynced = u32::try_from(position.0 - durable.0).expect("the log syncs long before");
    out[start..start + 4].copy_from_slice(&MAGIC);
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out[start + 12..start + 20].copy_from_slice(&position.0.to_le_bytes());
    out[start + 20..start + 24].copy_from_slice(&unsynced.to_le_bytes());
    let crc = crc32fast::hash(&out[start + 12..]);
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
}

fn encode_record(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Write { at, changes } => {
            out.push(WRITE);
            put_u64(out, at.0);
            put_changes(out, changes);
        }
        Record::Provisional { transaction, at, changes } => {
            out.push(PROVISIONAL);
            put_u64(out, transaction.0);
            put_u64(out, at.0);
            put_changes(out, changes);
        }
        Record::Prepare { transaction, at, participants } => {
            out.push(PREPARE);
            put_u64(out, transaction.0);
            put_u64(out, at.0);
            put_u64(out, participants.len() as u64);
            for worker in participants {
                put_u64(out, u64::from(worker.0));
            }
        }
        Record::Decide { transaction, outcome } => {
            out.push(DECIDE);
            put_u64(out, transaction.0);
            put_option(out, outcome.as_ref(), |out, at| put_u64(out, at.0));
        }
        Record::Undo { transaction, after, at } => {
            out.push(UNDO);
            put_u64(out, transaction.0);
            put_u64(out, after.0);
            put_u64(out, at.0);
        }
        Record::Metadata { key, value } => {
            out.push(METADATA);
            put_bytes(out, key);
            put_option(out, value.as_ref(), |out, value| put_bytes(out, value));
        }
        Record::DropRange { relation, lo, hi } => {
            out.push(DROP_RANGE);
            put_u64(out, u64::from(relation.0));
            put_bytes(out, lo);
            put_option(out, hi.as_ref(), |out, hi| put_bytes(out, hi));
        }
    }
}

fn put_changes(out: &mut Vec<u8>, changes: &[Change]) {
    put_u64(out, changes.len() as u64);
    for change in changes {
        put_u64(out, u64::from(change.relation.0));
        put_bytes(out, &change.key);
        put_option(out, change.value.as_ref(), |out, value| put_bytes(out, value));
        put_option(out, change.before.as_ref(), |out, value| put_bytes(out, value));
    }
}

pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, put: impl FnOnce(&mut Vec<u8>, &T)) {
    match value {
        None => out.push(0),
        Some(value) => {
            out.push(1);
            put(out, value);
        }
    }
}

/// Reads the fields of an encoded body one after the other. `None` from any method: the bytes are not what was written.
pub(crate) struct Reader<'a> {
    all: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(all: &'a Bytes) -> Self {
        Self { all, at: 0 }
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at == self.all.len()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.all.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.u64()?).ok()
    }

    /// A byte string that shares the body's memory.
    pub(crate) fn bytes(&mut self) -> Option<Bytes> {
        let len = usize::try_from(self.u64()?).ok()?;
        let end = self.at.checked_add(len).filter(|end| *end <= self.all.len())?;
        let bytes = self.all.slice(self.at..end);
        self.at = end;
        Some(bytes)
    }

    pub(crate) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    /// A count of things that take at least one byte each, so that no allocation can exceed the body's size.
    pub(crate) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.u64()?).ok().filter(|count| *count <= self.all.len() - self.at)
    }
}

/// Reads a body. `None` when it is not one.
pub(crate) fn decode_body(body: &Bytes) -> Option<Frame> {
    let mut reader = Reader::new(body);
    let mut frame = Frame::new();
    while !reader.at_end() {
        let group = GroupId(reader.u32()?);
        let (_term, _index) = (reader.u64()?, reader.u64()?);
        frame.push((group, decode_record(&mut reader)?));
    }
    Some(frame)
}

fn decode_record(reader: &mut Reader<'_>) -> Option<Record> {
    Some(match reader.byte()? {
        WRITE => Record::Write { at: Timestamp(reader.u64()?), changes: decode_changes(reader)? },
        PROVISIONAL => Record::Provisional {
            transaction: TransactionId(reader.u64()?),
            at: Timestamp(reader.u64()?),
            changes: decode_changes(reader)?,
        },
        PREPARE => {
            let (transaction, at) = (TransactionId(reader.u64()?), Timestamp(reader.u64()?));
            let count = reader.count()?;
            let participants = (0..count).map(|_| reader.u32().map(WorkerId)).collect::<Option<_>>()?;
            Record::Prepare { transaction, at, participants }
        }
        DECIDE => {
            Record::Decide { transaction: TransactionId(reader.u64()?), outcome: reader.option(|reader| reader.u64().map(Timestamp))? }
        }
        UNDO => Record::Undo { transaction: TransactionId(reader.u64()?), after: Timestamp(reader.u64()?), at: Timestamp(reader.u64()?) },
        METADATA => Record::Metadata { key: reader.bytes()?, value: reader.option(Reader::bytes)? },
        DROP_RANGE => Record::DropRange { relation: RelationId(reader.u32()?), lo: reader.bytes()?, hi: reader.option(Reader::bytes)? },
        _ => return None,
    })
}

fn decode_changes(reader: &mut Reader<'_>) -> Option<Vec<Change>> {
    let count = reader.count()?;
    (0..count)
        .map(|_| {
            Some(Change {
                relation: RelationId(reader.u32()?),
                key: reader.bytes()?,
                value: reader.option(Reader::bytes)?,
                before: reader.option(Reader::bytes)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let change = (any::<u32>(), bytes(), proptest::option::of(bytes()), proptest::option::of(bytes()));
        proptest::collection::vec(
            change.prop_map(|(relation, key, value, before)| Change { relation: RelationId(relation), key, value, before }),
            0..5,
        )
    }

    fn record() -> impl Strategy<Value = Record> {
        let id = || any::<u64>().prop_map(TransactionId);
        let time = || any::<u64>().prop_map(Timestamp);
        prop_oneof![
            (time(), changes()).prop_map(|(at, changes)| Record::Write { at, changes }),
            (id(), time(), changes()).prop_map(|(transaction, at, changes)| Record::Provisional { transaction, at, changes }),
            (id(), time(), proptest::collection::vec(any::<u32>().prop_map(WorkerId), 0..4))
                .prop_map(|(transaction, at, participants)| Record::Prepare { transaction, at, participants }),
            (id(), proptest::option::of(time())).prop_map(|(transaction, outcome)| Record::Decide { transaction, outcome }),
            (id(), time(), time()).prop_map(|(transaction, after, at)| Record::Undo { transaction, after, at }),
            (bytes(), proptest::option::of(bytes())).prop_map(|(key, value)| Record::Metadata { key, value }),
            (any::<u32>(), bytes(), proptest::option::of(bytes())).prop_map(|(relation, lo, hi)| Record::DropRange {
                relation: RelationId(relation),
                lo,
                hi
            }),
        ]
    }

    fn frame() -> impl Strategy<Value = Frame> {
        proptest::collection::vec((any::<u32>().prop_map(GroupId), record()), 0..5)
    }

    proptest! {
        #[test]
        fn frames_round_trip(frame in frame(), durable in any::<u32>(), unsynced in any::<u32>()) {
            let durable = LogPosition(u64::from(durable));
            let position = LogPosition(durable.0 + u64::from(unsynced));
            let mut out = vec![7];
            encode_frame(&frame, position, durable, &mut out);
            let encoded = &out[1..];
            let header = Header::read(encoded).unwrap();
            prop_assert!(header.body <= body_bound(&frame));
            prop_assert_eq!((header.position, header.durable), (position, durable));
            prop_assert!(header.verify(encoded));
            prop_assert_eq!(decode_body(&Bytes::copy_from_slice(&encoded[HEADER..])).unwrap(), frame);
        }

        #[test]
        fn any_damage_is_seen(frame in frame(), byte in any::<prop::sample::Index>(), bit in 0..8) {
            let mut out = Vec::new();
            encode_frame(&frame, LogPosition(5), LogPosition(3), &mut out);
            let byte = byte.index(out.len());
            out[byte] ^= 1u8 << bit;
            prop_assert!(!Header::read(&out).is_some_and(|header| header.verify(&out)));
        }

        #[test]
        fn garbage_does_not_panic(body in bytes()) {
            let _ = decode_body(&body);
        }
    }
}
