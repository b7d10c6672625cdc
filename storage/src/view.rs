//! Reading a group: point gets here, scans in [`scan`], scans of columns in [`columns`].
//!
//! A group's state is three layers: the active memtable, the one that a checkpoint is folding (if any), and the base. A reader finds a key's
//! versions in all of them. Nearly always a newer layer's version is newer; when an older layer may have a newer one (rows copied with their old
//! timestamps), the newest timestamps of the layers tell, and it is asked too.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use bytes::Bytes;
use common::ids::{OwnWrites, RelationId, Timestamp, TransactionId};
use redb::ReadableTable;

use crate::base::BaseView;
use crate::columns::RowLayout;
use crate::error::StorageError;
use crate::memtable::Memtable;
use crate::transactions::{Outcome, TransactionTable, Undone};
use crate::version::{Content, VersionKey};

mod changes;
mod columns;
mod scan;

pub use columns::{ColumnVisitor, Piece, Progress};

/// What a point get finds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// No row at that snapshot.
    Missing,
    /// The row. Its version is its commit timestamp; [`Timestamp::MAX`] for the reader's own uncommitted one.
    Row { version: Timestamp, value: Bytes },
    /// A prepared transaction may or may not have changed the row by then: wait for its decision and read again.
    Undecided(TransactionId),
}

/// Which keys a scan visits: `lo..hi`, or to the relation's end without `hi`.
#[derive(Clone, Copy, Debug)]
pub struct ScanRange<'a> {
    pub relation: RelationId,
    pub lo: &'a [u8],
    pub hi: Option<&'a [u8]>,
    /// From the end to the beginning.
    pub reverse: bool,
}

/// Called with key, version and value of each row of a scan.
pub type Visitor<'a> = dyn FnMut(&[u8], Timestamp, &[u8]) -> ControlFlow<()> + 'a;

/// How a scan ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanEnd {
    /// All rows were visited.
    Done,
    /// The visitor stopped it.
    Stopped,
    /// As [`ReadOutcome::Undecided`], for the key after the last visited one.
    Undecided(TransactionId),
}

/// The layers of a group's state, newest first.
#[derive(Debug)]
pub(crate) struct Layers {
    pub(crate) active: Arc<Memtable>,
    pub(crate) frozen: Option<Arc<Memtable>>,
    pub(crate) base: Option<Arc<BaseView>>,
}

impl Layers {
    pub(crate) fn empty() -> Self {
        Self { active: Arc::new(Memtable::new()), frozen: None, base: None }
    }
}

/// A group's state for readers. It has everything that was applied before it was taken, and may show later changes; the
/// snapshot's timestamp is what makes reads consistent. Long-lived views keep memory and disk space from being reused.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) layers: Arc<Layers>,
    pub(crate) transactions: Arc<TransactionTable>,
}

/// What one version is to a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Skip,
    Visible(Timestamp),
    Undecided(TransactionId),
}

/// Decides which versions a reader sees.
struct Reader<'a> {
    transactions: &'a TransactionTable,
    at: Timestamp,
    own: Option<OwnWrites>,
    /// Where a key's versions begin that it may see.
    from: Timestamp,
    /// The last transaction that was looked up: neighbours are often of the same one.
    last: Option<(TransactionId, Outcome, Undone)>,
}

impl<'a> Reader<'a> {
    fn new(transactions: &'a TransactionTable, at: Timestamp, own: Option<OwnWrites>) -> Self {
        let from = own.map_or(at, |own| own.up_to.max(at));
        Self { transactions, at, own, from, last: None }
    }

    #[inline]
    fn judge(&mut self, written: Timestamp, tag: Option<TransactionId>) -> Verdict {
        match tag {
            None if written > self.at => Verdict::Skip,
            None => Verdict::Visible(written),
            Some(transaction) => self.judge_tagged(written, transaction),
        }
    }

    fn judge_tagged(&mut self, written: Timestamp, transaction: TransactionId) -> Verdict {
        let own = self.own.filter(|own| own.transaction == transaction);
        // A tagged version commits after it was written, so the snapshot bounds both.
        if written > own.map_or(self.at, |own| own.up_to) {
            return Verdict::Skip;
        }
        if self.last.as_ref().is_none_or(|last| last.0 != transaction) {
            let (outcome, undone) = self.transactions.outcome(transaction);
            self.last = Some((transaction, outcome, undone));
        }
        let Some((_, outcome, undone)) = &self.last else { return Verdict::Skip };
        if undone.span_of(written).is_some() {
            return Verdict::Skip;
        }
        if own.is_some() {
            return Verdict::Visible(Timestamp::MAX);
        }
        match *outcome {
            Outcome::Committed(at) if at <= self.at => Verdict::Visible(at),
            Outcome::Prepared(at) if at <= self.at => Verdict::Undecided(transaction),
            Outcome::Committed(_) | Outcome::Prepared(_) | Outcome::Absent => Verdict::Skip,
        }
    }
}

/// The deciding version of a key in one layer.
struct Found {
    written: Timestamp,
    outcome: ReadOutcome,
}

impl Found {
    fn new(written: Timestamp, verdict: Verdict, content: Content<'_>) -> Option<Self> {
        let outcome = match (verdict, content.value) {
            (Verdict::Skip, _) => return None,
            (Verdict::Undecided(transaction), _) => ReadOutcome::Undecided(transaction),
            (Verdict::Visible(_), None) => ReadOutcome::Missing,
            (Verdict::Visible(version), Some(value)) => ReadOutcome::Row { version, value: Bytes::copy_from_slice(value) },
        };
        Some(Self { written, outcome })
    }

    fn newer(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        match (left, right) {
            (Some(left), Some(right)) => Some(if right.written > left.written { right } else { left }),
            (left, right) => left.or(right),
        }
    }
}

impl View {
    /// The row of a key at snapshot `at`, with the reader's own writes.
    pub fn get(&self, relation: RelationId, key: &[u8], at: Timestamp, own: Option<OwnWrites>) -> Result<ReadOutcome, StorageError> {
        let mut reader = Reader::new(&self.transactions, at, own);
        let layers = &*self.layers;
        let base_newest = layers.base.as_ref().map_or(Timestamp::MIN, |base| base.newest);
        let frozen_newest = layers.frozen.as_ref().map_or(Timestamp::MIN, |frozen| frozen.newest());
        // Drops are read before rows: a row written after the drop is then not hidden by it.
        let mut hidden = layers.active.hides(relation, key);
        let mut found = get_in_memory(&layers.active, relation, key, &mut reader);
        if let Some(frozen) = layers.frozen.as_ref().filter(|_| !hidden) {
            if found.as_ref().is_none_or(|found| found.written <= frozen_newest) {
                found = Found::newer(found, get_in_memory(frozen, relation, key, &mut reader));
            }
            hidden = frozen.hides(relation, key);
        }
        if let Some(base) = layers.base.as_ref().filter(|_| !hidden)
            && found.as_ref().is_none_or(|found| found.written <= base_newest)
        {
            found = Found::newer(found, get_in_base(base, relation, key, &mut reader)?);
        }
        Ok(found.map_or(ReadOutcome::Missing, |found| found.outcome))
    }

    /// Calls `visit` with key, version and value of each row of the range that is visible as for [`Self::get`], in order of keys. After
    /// [`ScanEnd::Undecided`] or [`ScanEnd::Stopped`] the caller goes on with the range past (in reverse: before) the last key that it was given.
    pub fn scan(
        &self,
        range: ScanRange<'_>,
        at: Timestamp,
        own: Option<OwnWrites>,
        visit: &mut Visitor<'_>,
    ) -> Result<ScanEnd, StorageError> {
        let reader = Reader::new(&self.transactions, at, own);
        scan::scan(&self.layers, range, reader, visit)
    }

    /// As [`Self::scan`], forward, with columns where the base has (or now gets) them and rows elsewhere; see [`Piece`]. `progress` is handed from call to
    /// call of one scan.
    pub fn scan_columns(
        &self,
        range: ScanRange<'_>,
        (at, own): (Timestamp, Option<OwnWrites>),
        layout: &RowLayout,
        progress: &mut Progress,
        visit: &mut ColumnVisitor<'_>,
    ) -> Result<ScanEnd, StorageError> {
        columns::ColumnScan { view: self, relation: range.relation, hi: range.hi, at, own, layout, progress }.run(range.lo, visit)
    }
}

impl View {
    /// Whether somebody but `own` has committed a change to the range's keys after `since`, or has voted for one.
    pub fn has_changed(&self, range: ScanRange<'_>, since: Timestamp, own: TransactionId) -> Result<bool, StorageError> {
        changes::has_changed(&self.layers, &self.transactions, range, since, own)
    }
}

fn get_in_memory(memtable: &Memtable, relation: RelationId, key: &[u8], reader: &mut Reader<'_>) -> Option<Found> {
    if !memtable.may_have(relation, key) {
        return None;
    }
    let mut next = memtable.seek(relation, key, reader.from);
    while let Some(entry) = next {
        let row = entry.key();
        if row.relation() != relation || row.key() != key {
            return None;
        }
        let content = row.content();
        let found = Found::new(row.at(), reader.judge(row.at(), content.tag), content);
        if found.is_some() {
            return found;
        }
        next = entry.next();
    }
    None
}

fn get_in_base(base: &BaseView, relation: RelationId, key: &[u8], reader: &mut Reader<'_>) -> Result<Option<Found>, StorageError> {
    let place = VersionKey::encode(relation, key, reader.from);
    let mut cursor = base.versions.lower_bound(Bound::Included(&*place)).map_err(StorageError::base(base.group))?;
    while let Some((encoded, content)) = cursor.next().map_err(StorageError::base(base.group))? {
        let encoded = encoded.value();
        if VersionKey::relation(encoded) != relation || VersionKey::key(encoded) != key {
            return Ok(None);
        }
        let written = VersionKey::timestamp(encoded);
        let content = content_of(base, content.value())?;
        let found = Found::new(written, reader.judge(written, content.tag), content);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The content of a base version.
fn content_of<'a>(base: &BaseView, bytes: &'a [u8]) -> Result<Content<'a>, StorageError> {
    Content::decode(bytes).ok_or_else(|| corrupt_base(base))
}

#[cold]
fn corrupt_base(base: &BaseView) -> StorageError {
    StorageError::base::<redb::Error>(base.group)(redb::Error::Corrupted("a version with unknown content".to_owned()))
}
