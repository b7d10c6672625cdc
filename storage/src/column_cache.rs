//! Columns of the base, kept in memory for scans.
//!
//! A base keeps rows; a scan that has turned a stretch of them into columns leaves these behind as a [`Block`], and the next scan takes them as
//! they are, without a copy. A block has what every reader with a recent enough snapshot finds in the base between two keys: of each key the
//! newest version, unless that is a deletion. It is made only of stretches where each tagged version is committed, so no decision of a transaction changes it;
//! a reader whose snapshot is older than the block's newest version reads the rows.
//!
//! # Which blocks are valid
//!
//! Each published state of a base ([`crate::base::BaseView`]) has its own set of blocks ([`Blocks`]), and a reader adds to the set of the state that it
//! reads: what it adds is true of that state for ever. A fold takes the blocks over into the set of the next state, but for those in whose range
//! it wrote ([`Survivors`]). Rows in memtables are no part of blocks; a scan merges them in.
//!
//! # How much is kept
//!
//! All blocks of an engine share one limit ([`ColumnCache`]). When it is reached, blocks that were not used for long give up their columns; if
//! there are none, new columns are not kept, so that a scan of a table that is larger than the cache finds at least a part of it the next time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use arrow::array::{Array, ArrayRef, BinaryArray};
use common::datum::Datum;
use common::ids::{RelationId, Timestamp};
use common::types::SqlType;
use parking_lot::Mutex;

use crate::columns::{RowColumn, RowLayout};

/// A block is idle when it was not used while the cache was asked for room this many times as often as it has blocks.
const IDLE_ROUNDS: u64 = 4;
/// Blocks that are looked at for room at a time.
const LOOKED_AT_MAX: usize = 64;
/// What a block takes beside its columns, about.
const BLOCK_OVERHEAD: usize = 256;

/// What all blocks of an engine take, and may take.
#[derive(Debug)]
pub(crate) struct ColumnCache {
    bytes_max: usize,
    bytes: AtomicUsize,
    /// Rows of a block.
    block_rows: usize,
    /// How often room was asked for.
    clock: AtomicU64,
    blocks: Mutex<VecDeque<Weak<Block>>>,
}

impl ColumnCache {
    pub(crate) fn new(bytes_max: usize, block_rows: usize) -> Self {
        Self { bytes_max, bytes: AtomicUsize::new(0), block_rows, clock: AtomicU64::new(0), blocks: Mutex::default() }
    }

    /// The memory of all blocks.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let sum = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, sum).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Takes room for that many bytes, from idle blocks if need be.
    fn admit(&self, bytes: usize) -> bool {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        if self.take(bytes) {
            return true;
        }
        let mut blocks = self.blocks.lock();
        let idle = now.saturating_sub(IDLE_ROUNDS * blocks.len() as u64);
        for _ in 0..blocks.len().min(LOOKED_AT_MAX) {
            let Some(next) = blocks.pop_front() else { break };
            let Some(block) = next.upgrade() else { continue };
            if block.used.load(Ordering::Relaxed) < idle {
                block.empty();
            }
            blocks.push_back(next);
            if self.take(bytes) {
                return true;
            }
        }
        false
    }

    fn register(&self, block: &Arc<Block>) {
        let mut blocks = self.blocks.lock();
        // Two out, one in: those that are gone do not pile up.
        for _ in 0..2 {
            if let Some(front) = blocks.pop_front()
                && front.strong_count() > 0
            {
                blocks.push_back(front);
            }
        }
        blocks.push_back(Arc::downgrade(block));
    }
}

/// A stored column, or that of the versions, as it was read.
#[derive(Clone, Debug)]
struct Kept {
    column: RowColumn,
    ty: Option<SqlType>,
    missing: Datum,
    values: ArrayRef,
}

/// The rows of a block.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    /// In order.
    pub(crate) keys: BinaryArray,
    /// The newest version in the range, deletions included.
    pub(crate) newest: Timestamp,
    columns: Vec<Kept>,
}

impl Contents {
    pub(crate) fn new(keys: BinaryArray, newest: Timestamp) -> Self {
        Self { keys, newest, columns: Vec::new() }
    }

    pub(crate) fn rows(&self) -> usize {
        self.keys.len()
    }

    /// Adds columns that were read as `layout` says: its columns' values.
    pub(crate) fn add(&mut self, layout: &RowLayout, values: Vec<ArrayRef>) {
        for (column, values) in layout.columns.iter().zip(values) {
            let (ty, missing) = match *column {
                RowColumn::Key => continue,
                RowColumn::Version => (None, Datum::Null),
                RowColumn::Stored(place) => (Some(layout.reading(place).0), layout.reading(place).1.clone()),
            };
            self.columns.retain(|kept| kept.column != *column);
            self.columns.push(Kept { column: *column, ty, missing, values });
        }
    }

    /// A column's values, if they are there and were read in the same way.
    pub(crate) fn column(&self, layout: &RowLayout, column: RowColumn) -> Option<ArrayRef> {
        if column == RowColumn::Key {
            return Some(Arc::new(self.keys.clone()));
        }
        let kept = self.columns.iter().find(|kept| kept.column == column)?;
        let is_same = match column {
            RowColumn::Stored(place) => (kept.ty, &kept.missing) == (Some(layout.reading(place).0), layout.reading(place).1),
            RowColumn::Key | RowColumn::Version => true,
        };
        is_same.then(|| Arc::clone(&kept.values))
    }

    /// The wanted columns that are not there, each once.
    pub(crate) fn lacking(&self, layout: &RowLayout) -> Vec<RowColumn> {
        let mut lacking = Vec::new();
        for column in &layout.columns {
            if !lacking.contains(column) && self.column(layout, *column).is_none() {
                lacking.push(*column);
            }
        }
        lacking
    }

    /// The first row at or behind a key.
    pub(crate) fn row_at(&self, key: &[u8]) -> usize {
        let (mut from, mut to) = (0, self.rows());
        while from < to {
            let middle = from + (to - from) / 2;
            if self.keys.value(middle) < key { from = middle + 1 } else { to = middle }
        }
        from
    }

    fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(|kept| kept.values.get_array_memory_size()).sum();
        BLOCK_OVERHEAD + self.keys.get_array_memory_size() + columns
    }
}

/// Columns of a stretch of the base, from `lo` up to and without `hi`; without `hi` to the relation's end.
#[derive(Debug)]
pub(crate) struct Block {
    cache: Arc<ColumnCache>,
    relation: RelationId,
    pub(crate) lo: Box<[u8]>,
    pub(crate) hi: Option<Box<[u8]>>,
    /// The cache's clock when it was last used.
    used: AtomicU64,
    /// What it has and what that takes of the cache.
    held: Mutex<(Option<Arc<Contents>>, usize)>,
}

impl Block {
    /// What it has, unless it had to give that up.
    pub(crate) fn contents(&self) -> Option<Arc<Contents>> {
        self.used.store(self.cache.clock.load(Ordering::Relaxed), Ordering::Relaxed);
        self.held.lock().0.clone()
    }

    /// Replaces what it has, if there is room for more.
    pub(crate) fn hold(&self, contents: &Arc<Contents>) {
        let bytes = contents.bytes();
        let more = bytes.saturating_sub(self.held.lock().1);
        // Without the lock: making room may empty this block too.
        if more > 0 && !self.cache.admit(more) {
            return;
        }
        let mut held = self.held.lock();
        // What was admitted and what is there may not add up any more when another reader was faster.
        let taken = held.1 + more;
        if taken < bytes {
            self.cache.give(more);
            return;
        }
        self.cache.give(taken - bytes);
        *held = (Some(Arc::clone(contents)), bytes);
    }

    fn empty(&self) {
        let (_, bytes) = std::mem::take(&mut *self.held.lock());
        self.cache.give(bytes);
    }

    fn contains(&self, relation: RelationId, key: &[u8]) -> bool {
        self.relation == relation && *self.lo <= *key && self.hi.as_ref().is_none_or(|hi| key < &**hi)
    }

    fn overlaps(&self, relation: RelationId, lo: &[u8], hi: Option<&[u8]>) -> bool {
        self.relation == relation && hi.is_none_or(|hi| *self.lo < *hi) && self.hi.as_ref().is_none_or(|end| lo < &**end)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.empty();
    }
}

/// What is known about a place.
pub(crate) enum Found {
    Block(Arc<Block>),
    /// No block; the next one, if any, begins there.
    Gap(Option<Box<[u8]>>),
}

/// The blocks of one state of a base, none over another.
#[derive(Debug)]
pub(crate) struct Blocks {
    cache: Arc<ColumnCache>,
    by_start: Mutex<ByStart>,
}

type ByStart = BTreeMap<(RelationId, Box<[u8]>), Arc<Block>>;

impl Blocks {
    pub(crate) fn new(cache: &Arc<ColumnCache>) -> Self {
        Self { cache: Arc::clone(cache), by_start: Mutex::default() }
    }

    /// How many rows a block is made of.
    pub(crate) fn block_rows(&self) -> usize {
        self.cache.block_rows
    }

    /// The block that a key is in.
    pub(crate) fn find(&self, relation: RelationId, key: &[u8]) -> Found {
        let by_start = self.by_start.lock();
        let place = (relation, Box::from(key));
        if let Some((_, block)) = by_start.range(..=&place).next_back()
            && block.contains(relation, key)
        {
            return Found::Block(Arc::clone(block));
        }
        let next = by_start.range(&place..).next().filter(|((next, _), _)| *next == relation);
        Found::Gap(next.map(|((_, lo), _)| lo.clone()))
    }

    /// Keeps a new block, if there is room and no other reader was faster.
    pub(crate) fn insert(&self, relation: RelationId, lo: &[u8], hi: Option<&[u8]>, contents: &Arc<Contents>) {
        let block = Arc::new(Block {
            cache: Arc::clone(&self.cache),
            relation,
            lo: Box::from(lo),
            hi: hi.map(Box::from),
            used: AtomicU64::new(self.cache.clock.load(Ordering::Relaxed)),
            held: Mutex::default(),
        });
        block.hold(contents);
        if block.held.lock().0.is_none() {
            return;
        }
        let mut by_start = self.by_start.lock();
        let place = (relation, block.lo.clone());
        let before = by_start.range(..=&place).next_back();
        let after = by_start.range(&place..).next();
        if before.into_iter().chain(after).any(|(_, other)| other.overlaps(relation, lo, hi)) {
            return;
        }
        by_start.insert(place, Arc::clone(&block));
        drop(by_start);
        self.cache.register(&block);
    }

    /// The blocks for the next state of the base.
    pub(crate) fn survivors(&self) -> Survivors {
        Survivors(self.by_start.lock().values().map(|block| (Arc::clone(block), true)).collect())
    }

    /// The set of those that no change has touched.
    pub(crate) fn of(cache: &Arc<ColumnCache>, survivors: Survivors) -> Self {
        let kept = survivors.0.into_iter().filter(|(_, survives)| *survives);
        let by_start = kept.map(|(block, _)| ((block.relation, block.lo.clone()), block)).collect();
        Self { cache: Arc::clone(cache), by_start: Mutex::new(by_start) }
    }
}

/// The blocks of a base while it is changed, in order, and whether each is still true.
#[derive(Debug)]
pub(crate) struct Survivors(Vec<(Arc<Block>, bool)>);

impl Survivors {
    /// A key's row changes.
    pub(crate) fn touch(&mut self, relation: RelationId, key: &[u8]) {
        let behind = self.0.partition_point(|(block, _)| (block.relation, &*block.lo) <= (relation, key));
        if let Some((block, survives)) = behind.checked_sub(1).and_then(|at| self.0.get_mut(at))
            && block.contains(relation, key)
        {
            *survives = false;
        }
    }

    /// All rows of a range may change.
    pub(crate) fn touch_range(&mut self, relation: RelationId, lo: &[u8], hi: Option<&[u8]>) {
        for (block, survives) in &mut self.0 {
            *survives &= !block.overlaps(relation, lo, hi);
        }
    }
}
