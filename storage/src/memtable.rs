//! What a group was told since its last checkpoint: versions in memory, sorted.
//!
//! One writer (who holds the engine's append mutex) and any number of readers without locks. A row is one allocation: key, then content, with
//! relation, timestamp and key length beside it; see [`crate::version`] for the order.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Atomic};

use arc_swap::ArcSwap;
use bytes::Bytes;
use common::ids::{RelationId, Timestamp, TransactionId};
use crossbeam_skiplist::SkipMap;
use crossbeam_skiplist::map::Entry;
use parking_lot::Mutex;

use crate::key_filter::KeyFilter;
use crate::record::Change;
use crate::version::Content;

/// What a row takes beside its bytes: the node with its links, and the allocator's rounding.
const ROW_OVERHEAD: usize = 112;

/// One version of a row.
#[derive(Debug)]
pub(crate) struct Row {
    relation: RelationId,
    key_len: u32,
    at: Timestamp,
    /// Key, then encoded content.
    data: Box<[u8]>,
}

impl Row {
    fn new(relation: RelationId, key: &[u8], at: Timestamp, content: Content<'_>) -> Self {
        let mut data = Vec::with_capacity(key.len() + content.encoded_len());
        data.extend_from_slice(key);
        content.encode(&mut data);
        let key_len = u32::try_from(key.len()).expect("a frame is shorter than 4 GiB");
        Self { relation, key_len, at, data: data.into_boxed_slice() }
    }

    pub(crate) fn relation(&self) -> RelationId {
        self.relation
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.data[..self.key_len as usize]
    }

    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    pub(crate) fn content(&self) -> Content<'_> {
        Content::decode(&self.data[self.key_len as usize..]).expect("encoded by new")
    }

    fn size(&self) -> usize {
        self.data.len() + ROW_OVERHEAD
    }
}

/// A place in the order of versions: a row, or what one looks for.
trait Place {
    fn place(&self) -> (RelationId, &[u8], Timestamp);
}

impl Place for Row {
    fn place(&self) -> (RelationId, &[u8], Timestamp) {
        (self.relation, self.key(), self.at)
    }
}

impl Place for (RelationId, &[u8], Timestamp) {
    fn place(&self) -> (RelationId, &[u8], Timestamp) {
        *self
    }
}

fn order(left: (RelationId, &[u8], Timestamp), right: (RelationId, &[u8], Timestamp)) -> Ordering {
    left.0.cmp(&right.0).then_with(|| left.1.cmp(right.1)).then_with(|| right.2.cmp(&left.2))
}

macro_rules! ordered_by_place {
    ($type:ty) => {
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.cmp(other).is_eq()
            }
        }

        impl Eq for $type {}

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                order(self.place(), other.place())
            }
        }
    };
}

ordered_by_place!(Row);
ordered_by_place!(dyn Place + '_);

impl<'a> Borrow<dyn Place + 'a> for Row {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

/// A row in a memtable, as readers hold it.
pub(crate) type Held<'a> = Entry<'a, Row, ()>;

/// A range that was dropped while this memtable was the active one: older memtables and the base have nothing in it.
#[derive(Clone, Debug)]
pub(crate) struct Dropped {
    pub(crate) relation: RelationId,
    pub(crate) lo: Bytes,
    pub(crate) hi: Option<Bytes>,
}

impl Dropped {
    pub(crate) fn covers(&self, relation: RelationId, key: &[u8]) -> bool {
        self.relation == relation && *self.lo <= *key && self.hi.as_ref().is_none_or(|hi| key < &**hi)
    }
}

/// The changes of one group since its last checkpoint.
#[derive(Debug)]
pub(crate) struct Memtable {
    rows: SkipMap<Row, ()>,
    keys: KeyFilter,
    /// The newest timestamp of any row.
    newest: AtomicU64,
    drops: ArcSwap<Vec<Dropped>>,
    metadata: Mutex<BTreeMap<Bytes, Option<Bytes>>>,
    touched: AtomicBool,
}

impl Memtable {
    pub(crate) fn new() -> Self {
        Self {
            rows: SkipMap::new(),
            keys: KeyFilter::new(),
            newest: AtomicU64::new(0),
            drops: ArcSwap::default(),
            metadata: Mutex::default(),
            touched: AtomicBool::new(false),
        }
    }

    /// Adds versions written at `at`. Returns by how much the memory grew.
    pub(crate) fn write(&self, at: Timestamp, tag: Option<TransactionId>, changes: &[Change]) -> usize {
        let mut grown = 0;
        for change in changes {
            let row = Row::new(change.relation, &change.key, at, Content { tag, value: change.value.as_deref() });
            grown += row.size();
            self.keys.add(change.relation, &change.key);
            self.rows.insert(row, ());
        }
        self.newest.fetch_max(at.0, Atomic::AcqRel);
        self.touched.store(true, Atomic::Release);
        grown
    }

    /// Drops a range: rows here go, and whatever is older than this memtable is hidden. Returns by how much the memory grew.
    pub(crate) fn drop_range(&self, dropped: Dropped) -> usize {
        // Hidden first: a reader must not see an older version come back.
        let mut drops = Vec::clone(&self.drops.load());
        drops.push(dropped.clone());
        self.drops.store(Arc::new(drops));
        let mut next = self.seek(dropped.relation, &dropped.lo, Timestamp::MAX);
        while let Some(entry) = next {
            if !dropped.covers(entry.key().relation, entry.key().key()) {
                break;
            }
            next = entry.next();
            entry.remove();
        }
        self.touched.store(true, Atomic::Release);
        ROW_OVERHEAD + dropped.lo.len() + dropped.hi.as_ref().map_or(0, Bytes::len)
    }

    /// Remembers a metadata change for the checkpoint. Returns by how much the memory grew, at most.
    pub(crate) fn metadata(&self, key: &Bytes, value: Option<&Bytes>) -> usize {
        self.metadata.lock().insert(Bytes::copy_from_slice(key), value.map(|value| Bytes::copy_from_slice(value)));
        self.touched.store(true, Atomic::Release);
        ROW_OVERHEAD + key.len() + value.map_or(0, Bytes::len)
    }

    pub(crate) fn metadata_changes(&self) -> Vec<(Bytes, Option<Bytes>)> {
        self.metadata.lock().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Whether there is anything to fold.
    pub(crate) fn is_touched(&self) -> bool {
        self.touched.load(Atomic::Acquire)
    }

    pub(crate) fn newest(&self) -> Timestamp {
        Timestamp(self.newest.load(Atomic::Acquire))
    }

    /// The ranges that older sources do not have any more.
    pub(crate) fn drops(&self) -> Arc<Vec<Dropped>> {
        self.drops.load_full()
    }

    /// Whether older sources have this key no more.
    pub(crate) fn hides(&self, relation: RelationId, key: &[u8]) -> bool {
        self.drops.load().iter().any(|dropped| dropped.covers(relation, key))
    }

    /// All rows, in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Held<'_>> {
        self.rows.iter()
    }

    /// Whether there may be a version of this key.
    pub(crate) fn may_have(&self, relation: RelationId, key: &[u8]) -> bool {
        self.keys.may_have(relation, key)
    }

    /// The first version at or behind a place: of that key, those at or below `at` come first.
    pub(crate) fn seek(&self, relation: RelationId, key: &[u8], at: Timestamp) -> Option<Held<'_>> {
        let place = (relation, key, at);
        let place: &dyn Place = &place;
        self.rows.lower_bound(Bound::Included(place))
    }

    /// The last version before the key `hi` of the relation, or before the relation's end.
    pub(crate) fn seek_back(&self, relation: RelationId, hi: Option<&[u8]>) -> Option<Held<'_>> {
        let place = match (hi, relation.0.checked_add(1)) {
            (Some(hi), _) => (relation, hi, Timestamp::MAX),
            (None, Some(next)) => (RelationId(next), &[][..], Timestamp::MAX),
            (None, None) => return self.rows.back(),
        };
        let place: &dyn Place = &place;
        self.rows.upper_bound(Bound::Excluded(place))
    }
}
