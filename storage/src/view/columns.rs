//! Scans of columns: stretches of the base come as columns, out of the cache ([`crate::column_cache`]) or into it, with the memtables' rows merged
//! in; what cannot come so comes row by row, as [`super::scan`] gives it.
//!
//! A scan goes from stretch to stretch. For each it takes the block that is there, or makes one of the next rows ([`crate::EngineOptions::column_block_rows`]). It reads rows instead
//! where the reader's snapshot is older than the block, where the base has undecided or aborted versions, where a memtable decides a key with a version that is
//! not newer than the block (rows copied with their old timestamps), where more than [`OVERLAY_ROWS_MAX`] rows of memtables
//! are in the stretch, while a fold is under way, and where a reader must wait. A short scan does not make blocks: it may never be repeated.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder};
use arrow::compute::interleave;
use common::ids::{OwnWrites, RelationId, Timestamp};
use common::row::RowError;
use redb::AccessGuard;

use super::scan::{self, Version, forward, memory_streams};
use super::{Layers, Reader, ScanEnd, ScanRange, Verdict, View, content_of};
use crate::base::{self, BaseView};
use crate::column_cache::{Contents, Found};
use crate::columns::{RowColumns, RowLayout};
use crate::error::StorageError;
use crate::transactions::TransactionTable;
use crate::version::VersionKey;

/// Stored bytes of a block, roughly.
const BLOCK_BYTES: usize = 4 << 20;
/// A block with less than this part of the rows of a full one is made again each time.
const KEPT_PART_MIN: usize = 32;
/// Rows of memtables that are merged into a block.
const OVERLAY_ROWS_MAX: usize = 4_096;
/// How often in a row the rows that come one by one are doubled.
const FAILURES_MAX: u32 = 6;
/// The part of a block's rows that a scan reads before it makes blocks, unless it says that it is wide.
const NARROW_PART: usize = 8;

/// What a scan of columns finds next.
#[derive(Debug)]
pub enum Piece<'a> {
    /// One row.
    Row { key: &'a [u8], version: Timestamp, value: &'a [u8] },
    /// Some rows: the layout's columns. The scan goes on at the key `next` if it is stopped here.
    Columns { columns: Vec<ArrayRef>, rows: usize, next: &'a [u8] },
}

/// Called with each piece of a scan of columns.
pub type ColumnVisitor<'a> = dyn FnMut(Piece<'_>) -> ControlFlow<()> + 'a;

/// What a scan of columns remembers from call to call.
#[derive(Debug)]
pub struct Progress {
    wide: bool,
    rows: usize,
    /// So many rows more come one by one, where columns could not be given.
    rows_left: usize,
    /// How often in a row that was so.
    failures: u32,
}

impl Progress {
    /// At the beginning; a `wide` scan reads all that the relation has here, and makes blocks from the first row on.
    pub fn new(wide: bool) -> Self {
        Self { wide, rows: 0, rows_left: 0, failures: 0 }
    }

    /// How many rows came one by one.
    pub fn single_rows(&self) -> usize {
        self.rows
    }
}

/// The end of a stretch.
#[derive(Clone, PartialEq, Debug)]
enum Until {
    Key(Box<[u8]>),
    End,
}

impl Until {
    fn of(hi: Option<&[u8]>) -> Self {
        hi.map_or(Self::End, |hi| Self::Key(Box::from(hi)))
    }

    fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Key(key) => Some(key),
            Self::End => None,
        }
    }
}

/// A stretch of the base in columns.
struct Stretch {
    lo: Box<[u8]>,
    end: Until,
    contents: Arc<Contents>,
}

/// One call of [`View::scan_columns`].
pub(super) struct ColumnScan<'a> {
    pub(super) view: &'a View,
    pub(super) relation: RelationId,
    pub(super) hi: Option<&'a [u8]>,
    pub(super) at: Timestamp,
    pub(super) own: Option<OwnWrites>,
    pub(super) layout: &'a RowLayout,
    pub(super) progress: &'a mut Progress,
}

/// How a part of a scan ended.
enum Step {
    /// It goes on there.
    At(Until),
    Ended(ScanEnd),
}

impl ColumnScan<'_> {
    pub(super) fn run(&mut self, lo: &[u8], visit: &mut ColumnVisitor<'_>) -> Result<ScanEnd, StorageError> {
        let mut position: Box<[u8]> = Box::from(lo);
        loop {
            if self.hi.is_some_and(|hi| *hi <= *position) {
                return Ok(ScanEnd::Done);
            }
            match self.step(&position, visit)? {
                Step::Ended(end) => return Ok(end),
                Step::At(Until::End) => return Ok(ScanEnd::Done),
                Step::At(Until::Key(key)) => position = key,
            }
        }
    }

    fn step(&mut self, position: &[u8], visit: &mut ColumnVisitor<'_>) -> Result<Step, StorageError> {
        let view = self.view;
        if self.progress.rows_left > 0 {
            let rows_before = self.progress.rows;
            let step = self.rows(position, self.progress.rows_left, visit);
            self.progress.rows_left = self.progress.rows_left.saturating_sub(self.progress.rows - rows_before);
            return step;
        }
        let dropped = |memtable: &crate::memtable::Memtable| memtable.drops().iter().any(|dropped| dropped.relation == self.relation);
        let base = match &view.layers.base {
            Some(base) if !dropped(&view.layers.active) && !view.layers.frozen.as_deref().is_some_and(dropped) => base,
            _ => return self.rows(position, usize::MAX, visit),
        };
        let narrow = base.blocks.block_rows() / NARROW_PART;
        if !self.progress.wide && self.progress.rows < narrow {
            return self.rows(position, narrow - self.progress.rows, visit);
        }
        let Some(stretch) = self.stretch(base, position)? else {
            return Ok(self.by_rows(base, position));
        };
        let end = self.earlier(stretch.end.clone());
        let merged = self.merged(&stretch, position, &end)?;
        if merged.is_some() {
            self.progress.failures = 0;
        }
        match merged {
            None => Ok(self.by_rows(base, position)),
            Some((_, 0)) => Ok(Step::At(end)),
            Some((columns, rows)) => {
                let next = end.key().unwrap_or_default();
                let flow = visit(Piece::Columns { columns, rows, next });
                let at_end = end.key().is_none_or(|end| self.hi.is_some_and(|hi| hi <= end));
                match flow {
                    ControlFlow::Break(()) if !at_end => Ok(Step::Ended(ScanEnd::Stopped)),
                    ControlFlow::Break(()) => Ok(Step::Ended(ScanEnd::Done)),
                    ControlFlow::Continue(()) => Ok(Step::At(end)),
                }
            }
        }
    }

    /// Goes on with rows for a while, the longer the more often columns could not be given.
    fn by_rows(&mut self, base: &BaseView, position: &[u8]) -> Step {
        self.progress.rows_left = base.blocks.block_rows() << self.progress.failures;
        self.progress.failures = (self.progress.failures + 1).min(FAILURES_MAX);
        Step::At(Until::Key(Box::from(position)))
    }

    /// The scan's end, or that of a stretch.
    fn earlier(&self, end: Until) -> Until {
        match (self.hi, &end) {
            (Some(hi), Until::Key(key)) if hi < &**key => Until::of(Some(hi)),
            (Some(hi), Until::End) => Until::of(Some(hi)),
            _ => end,
        }
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.view.transactions, self.at, self.own)
    }

    /// Reads so many rows, one by one.
    fn rows(&mut self, position: &[u8], rows_max: usize, visit: &mut ColumnVisitor<'_>) -> Result<Step, StorageError> {
        let range = ScanRange { relation: self.relation, lo: position, hi: self.hi, reverse: false };
        let mut rows = 0;
        // Where it goes on when it has enough.
        let mut behind: Option<Box<[u8]>> = None;
        let ended = scan::scan(&self.view.layers, range, self.reader(), &mut |key, version, value| {
            rows += 1;
            let flow = visit(Piece::Row { key, version, value });
            if flow.is_continue() && rows >= rows_max {
                behind = Some(successor(key));
                return ControlFlow::Break(());
            }
            flow
        })?;
        self.progress.rows += rows;
        Ok(match (behind, ended) {
            (Some(behind), _) => Step::At(Until::Key(behind)),
            (None, ended) => Step::Ended(ended),
        })
    }

    /// The stretch of the base that a key is in, with the wanted columns; `None` where the base has what columns cannot show.
    fn stretch(&self, base: &BaseView, position: &[u8]) -> Result<Option<Stretch>, StorageError> {
        let block = match base.blocks.find(self.relation, position) {
            Found::Block(block) => block,
            // A fold is about to write in new ones.
            Found::Gap(_) if self.view.layers.frozen.is_some() => return Ok(None),
            Found::Gap(next) => return self.new_stretch(base, position, next.as_deref()),
        };
        let end = Until::of(block.hi.as_deref());
        let mut contents = block.contents();
        let lacking = contents.as_ref().map_or_else(|| self.layout.columns.clone(), |contents| contents.lacking(self.layout));
        if contents.is_none() || !lacking.is_empty() {
            let layout = self.layout.with_columns(lacking);
            let range = ScanRange { relation: self.relation, lo: &block.lo, hi: block.hi.as_deref(), reverse: false };
            let read = read(base, &self.view.transactions, range, usize::MAX, &layout)?;
            let mut all = match contents.as_deref() {
                // The same state of the base has the same rows.
                Some(there) if there.rows() == read.contents.rows() && read.is_clean => there.clone(),
                None if read.is_clean => read.contents,
                _ => return Ok(None),
            };
            all.add(&layout, read.columns);
            let all = Arc::new(all);
            block.hold(&all);
            contents = Some(all);
        }
        Ok(contents.map(|contents| Stretch { lo: block.lo.clone(), end, contents }))
    }

    /// Makes a block of the rows from a key on.
    fn new_stretch(&self, base: &BaseView, position: &[u8], next: Option<&[u8]>) -> Result<Option<Stretch>, StorageError> {
        let end = self.earlier(Until::of(next));
        let range = ScanRange { relation: self.relation, lo: position, hi: end.key(), reverse: false };
        let read = read(base, &self.view.transactions, range, base.blocks.block_rows(), self.layout)?;
        let end = read.end.unwrap_or(end);
        if end.key() == Some(position) {
            return Ok(None);
        }
        let mut contents = read.contents;
        contents.add(self.layout, read.columns);
        let contents = Arc::new(contents);
        if contents.rows() > base.blocks.block_rows() / KEPT_PART_MIN {
            base.blocks.insert(self.relation, position, end.key(), &contents);
        }
        Ok(Some(Stretch { lo: Box::from(position), end, contents }))
    }

    /// The wanted columns of a part of a stretch, with the memtables' rows, and how many rows there are; `None` when they must be read as rows.
    fn merged(&self, stretch: &Stretch, position: &[u8], end: &Until) -> Result<Option<(Vec<ArrayRef>, usize)>, StorageError> {
        let contents = &*stretch.contents;
        if contents.newest > self.at {
            return Ok(None);
        }
        let from = if position == &*stretch.lo { 0 } else { contents.row_at(position) };
        let to = if *end == stretch.end { contents.rows() } else { end.key().map_or(contents.rows(), |key| contents.row_at(key)) };
        let mut columns = Vec::with_capacity(self.layout.columns.len());
        for column in &self.layout.columns {
            let Some(values) = contents.column(self.layout, *column) else { return Ok(None) };
            columns.push(values);
        }
        let range = ScanRange { relation: self.relation, lo: position, hi: end.key(), reverse: false };
        let layers: &Layers = &self.view.layers;
        let (streams, _) = memory_streams(layers, &range)?;
        if streams.is_empty() {
            let rows = to - from;
            let whole = rows == contents.rows();
            return Ok(Some((if whole { columns } else { columns.iter().map(|values| values.slice(from, rows)).collect() }, rows)));
        }
        let mut overlay = Overlay::new(contents, self.layout, from);
        let ended = forward(streams, &range, self.reader(), &mut |version, at| overlay.take(version, at))?;
        if ended != ScanEnd::Done {
            return overlay.failure.map_or(Ok(None), |error| Err(malformed(layers, &error)));
        }
        overlay.finish(&columns, to).map(Some).map_err(|error| malformed(layers, &error))
    }
}

/// The smallest key behind a key.
fn successor(key: &[u8]) -> Box<[u8]> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into_boxed_slice()
}

/// Puts rows of memtables in their places among a block's.
struct Overlay<'a> {
    contents: &'a Contents,
    /// The rows of the memtables.
    fresh: RowColumns,
    /// The rows in order: of the block (0) and of the memtables (1).
    order: Vec<(usize, usize)>,
    /// The block's first row that is not in order yet.
    next: usize,
    decided: usize,
    failure: Option<RowError>,
}

impl<'a> Overlay<'a> {
    fn new(contents: &'a Contents, layout: &RowLayout, from: usize) -> Self {
        let order = Vec::with_capacity(contents.rows());
        Self { contents, fresh: RowColumns::new(layout), order, next: from, decided: 0, failure: None }
    }

    /// Takes what the memtables say of a key; they come in order.
    fn take(&mut self, version: &Version<'_>, at: Timestamp) -> ControlFlow<()> {
        self.decided += 1;
        if self.decided > OVERLAY_ROWS_MAX || version.written() <= self.contents.newest {
            return ControlFlow::Break(());
        }
        let place = self.contents.row_at(version.key());
        self.order.extend((self.next..place).map(|row| (0, row)));
        let is_there = place < self.contents.rows() && self.contents.keys.value(place) == version.key();
        self.next = place + usize::from(is_there);
        if let Some(value) = version.value() {
            self.order.push((1, self.fresh.rows()));
            if let Err(error) = self.fresh.append(version.key(), at, value) {
                self.failure = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn finish(mut self, columns: &[ArrayRef], to: usize) -> Result<(Vec<ArrayRef>, usize), RowError> {
        self.order.extend((self.next..to).map(|row| (0, row)));
        let (fresh, _) = self.fresh.finish()?;
        let merge = |(old, new): (&ArrayRef, &ArrayRef)| interleave(&[old.as_ref(), new.as_ref()], &self.order);
        let merged: Result<Vec<ArrayRef>, _> = columns.iter().zip(&fresh).map(merge).collect();
        Ok((merged.map_err(|_| RowError::Malformed("columns of another type"))?, self.order.len()))
    }
}

/// What was read of the base.
struct Read {
    contents: Contents,
    /// The wanted columns.
    columns: Vec<ArrayRef>,
    /// Where it ended before its time.
    end: Option<Until>,
    /// It did not end at a version that is not committed.
    is_clean: bool,
}

/// A key's newest version and its timestamp, held while the next key is looked for.
type Held = (AccessGuard<'static, VersionKey>, AccessGuard<'static, &'static [u8]>, Timestamp);

/// Reads the newest rows of the base, so many, or up to the first key with a version that is not committed.
fn read(
    base: &BaseView,
    transactions: &TransactionTable,
    range: ScanRange<'_>,
    rows_max: usize,
    layout: &RowLayout,
) -> Result<Read, StorageError> {
    let ScanRange { relation, lo, hi, .. } = range;
    // Sees all that is committed.
    let mut judge = Reader::new(transactions, Timestamp::MAX, None);
    let (lower, upper) = base::bounds(relation, lo, hi);
    let bounds = (Bound::Included(&*lower), upper.as_ref().map(|upper| &**upper));
    let mut versions = base.versions.range::<&[u8]>(bounds).map_err(StorageError::base(base.group))?;
    let mut reading =
        Reading { base, rows: RowColumns::new(layout), keys: BinaryBuilder::new(), count: 0, bytes: 0, newest: Timestamp::MIN };
    let mut pending: Option<Held> = None;
    let (mut end, mut is_clean) = (None, true);
    while let Some((encoded, content)) = versions.next().transpose().map_err(StorageError::base(base.group))? {
        let key = VersionKey::key(encoded.value());
        let is_older = pending.as_ref().is_some_and(|(pending, ..)| VersionKey::key(pending.value()) == key);
        let tag = content_of(base, content.value())?.tag;
        let Verdict::Visible(version) = judge.judge(VersionKey::timestamp(encoded.value()), tag) else {
            end = Some(Until::Key(Box::from(key)));
            is_clean = false;
            if is_older {
                pending = None;
            }
            break;
        };
        if is_older {
            continue;
        }
        if let Some(before) = pending.take() {
            reading.take(&before)?;
            if reading.count >= rows_max || reading.bytes >= BLOCK_BYTES && rows_max < usize::MAX {
                end = Some(Until::Key(Box::from(key)));
                break;
            }
        }
        pending = Some((encoded, content, version));
    }
    if let Some(last) = pending {
        reading.take(&last)?;
    }
    let (columns, _) = reading.rows.finish().map_err(|error| corrupt(base, &error))?;
    let columns = columns.into_iter().map(shrunk).collect();
    let mut keys: BinaryArray = reading.keys.finish();
    keys.shrink_to_fit();
    Ok(Read { contents: Contents::new(keys, reading.newest), columns, end, is_clean })
}

fn shrunk(mut values: ArrayRef) -> ArrayRef {
    values.shrink_to_fit();
    values
}

/// A stretch of the base while it is read.
struct Reading<'a> {
    base: &'a BaseView,
    rows: RowColumns,
    keys: BinaryBuilder,
    count: usize,
    bytes: usize,
    newest: Timestamp,
}

impl Reading<'_> {
    /// Takes the newest version of a key.
    fn take(&mut self, (encoded, content, version): &Held) -> Result<(), StorageError> {
        let (encoded, content) = (encoded.value(), content_of(self.base, content.value())?);
        let (key, version) = (VersionKey::key(encoded), *version);
        self.newest = self.newest.max(version);
        if let Some(value) = content.value {
            self.rows.append(key, version, value).map_err(|error| corrupt(self.base, &error))?;
            self.keys.append_value(key);
            self.count += 1;
            self.bytes += value.len();
        }
        Ok(())
    }
}

fn corrupt(base: &BaseView, error: &RowError) -> StorageError {
    StorageError::base::<redb::Error>(base.group)(redb::Error::Corrupted(error.to_string()))
}

fn malformed(layers: &Layers, error: &RowError) -> StorageError {
    match &layers.base {
        Some(base) => corrupt(base, error),
        None => StorageError::base::<redb::Error>(Default::default())(redb::Error::Corrupted(error.to_string())),
    }
}
