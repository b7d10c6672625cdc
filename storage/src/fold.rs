//! Folding a frozen memtable into a base.
//!
//! For each key of the memtable the fold takes the key's versions from both, decides what any snapshot at or above the oldest one may still
//! need, and writes the difference, in sorted transactions of [`ROWS_PER_TRANSACTION`] rows. Committed tagged versions lose their tag and move to their
//! commit timestamp; aborted ones go; undecided ones keep the tag.
//!
//! A fold may be cut off after any of its transactions: the log position is written with the last one only, so recovery builds the memtable anew
//! and folds it again over what is there already. For that each step gives the same result when it is done twice; in particular only decisions
//! that stand in the folded part of the log count.
//!
//! A key that keeps more than the snapshots will need for long (older versions, deletions, tags) is noted in the table `stale`, and visited again
//! ([`sweep`]) once the oldest snapshot has passed it.

use std::collections::HashMap;
use std::ops::Bound;

use common::ids::{LogPosition, RelationId, Timestamp, TransactionId};
use redb::{AccessGuard, Range, ReadableTable, Table, WriteTransaction};

use crate::base::{self, APPLIED, Base, BaseView, METADATA, NEWEST, STALE, STATE, TAGGED, VERSIONS};
use crate::column_cache::Survivors;
use crate::error::StorageError;
use crate::memtable::Memtable;
use crate::transactions::{State, TransactionTable};
use crate::version::{Content, VersionKey};

/// Rows that one transaction of the base takes.
const ROWS_PER_TRANSACTION: usize = 262_144;
/// Bytes that one transaction of the base takes, about.
const BYTES_PER_TRANSACTION: usize = 64 << 20;
/// How many versions are stepped over before seeking costs less.
const STEPS_BEFORE_SEEK: usize = 16;
/// Stale keys that one sweep visits.
const STALE_PER_SWEEP: usize = ROWS_PER_TRANSACTION;

/// By how much the number of tagged versions of each transaction changed.
pub(crate) type TagChanges = HashMap<TransactionId, i64>;

/// What decides about versions during one fold.
pub(crate) struct Rules<'a> {
    pub(crate) transactions: &'a TransactionTable,
    /// The end of the folded part of the log.
    pub(crate) position: LogPosition,
    /// No reader has an older snapshot.
    pub(crate) oldest: Timestamp,
}

/// Called with the new state of the base after each transaction; it reports changes of tags that are now in the base.
pub(crate) type Publish<'a> = &'a mut dyn FnMut(BaseView, TagChanges);

/// Folds a memtable, everything up to the rules' position.
pub(crate) fn fold(base: &Base, memtable: &Memtable, rules: &Rules<'_>, publish: Publish<'_>) -> Result<(), StorageError> {
    for dropped in memtable.drops().iter() {
        while drop_some(base, dropped.relation, &dropped.lo, dropped.hi.as_deref(), publish)? {}
    }
    let mut rows = memtable.rows().peekable();
    loop {
        let view = base.view()?;
        let transaction = base.begin()?;
        let mut blocks = base.take_blocks();
        let mut merge = Merge::new(base, &view, &transaction, rules, &mut blocks)?;
        let mut fresh: Vec<Version> = Vec::new();
        let (mut taken, mut bytes) = (0, 0);
        while let Some(row) = rows.next() {
            let row = row.key();
            let content = row.content();
            fresh.push(Version { written: row.at(), tag: content.tag, value: content.value.map(<[u8]>::to_vec), stored: false });
            let ends = rows.peek().is_none_or(|next| (next.key().relation(), next.key().key()) != (row.relation(), row.key()));
            taken += 1;
            bytes += row.key().len() + content.value.map_or(0, <[u8]>::len);
            if ends {
                merge.key(row.relation(), row.key(), &mut fresh)?;
                if taken >= ROWS_PER_TRANSACTION || bytes >= BYTES_PER_TRANSACTION {
                    break;
                }
            }
        }
        let tags = merge.finish(&transaction)?;
        let last = rows.peek().is_none();
        if last {
            finish(base, &transaction, memtable, rules.position)?;
        }
        drop(view);
        base.commit(transaction)?;
        base.keep_blocks(blocks);
        publish(base.view()?, tags);
        if last {
            return Ok(());
        }
    }
}

/// Writes what belongs to the last transaction.
fn finish(base: &Base, transaction: &WriteTransaction, memtable: &Memtable, position: LogPosition) -> Result<(), StorageError> {
    let group = base.group;
    let mut metadata = transaction.open_table(METADATA).map_err(StorageError::base(group))?;
    for (key, value) in memtable.metadata_changes() {
        match value {
            Some(value) => metadata.insert(&*key, &*value).map(drop).map_err(StorageError::base(group))?,
            None => metadata.remove(&*key).map(drop).map_err(StorageError::base(group))?,
        }
    }
    let mut state = transaction.open_table(STATE).map_err(StorageError::base(group))?;
    state.insert(APPLIED, position.0).map_err(StorageError::base(group))?;
    Ok(())
}

/// Removes some versions of a range; says whether there may be more.
fn drop_some(base: &Base, relation: RelationId, lo: &[u8], hi: Option<&[u8]>, publish: Publish<'_>) -> Result<bool, StorageError> {
    let group = base.group;
    let (lower, upper) = base::bounds(relation, lo, hi);
    if hi.is_some_and(|hi| hi <= lo) {
        return Ok(false);
    }
    let transaction = base.begin()?;
    let mut blocks = base.take_blocks();
    let mut tags = TagChanges::new();
    let mut removed = 0;
    {
        let mut versions = transaction.open_table(VERSIONS).map_err(StorageError::base(group))?;
        let bounds = (Bound::Included(&*lower), upper.as_ref().map(|upper| &**upper));
        let mut extracted = versions.extract_from_if::<&[u8], _>(bounds, |_, _| true).map_err(StorageError::base(group))?;
        for version in extracted.by_ref().take(ROWS_PER_TRANSACTION) {
            let (_, content) = version.map_err(StorageError::base(group))?;
            removed += 1;
            if let Some(transaction) = Content::decode(content.value()).and_then(|content| content.tag) {
                *tags.entry(transaction).or_default() -= 1;
            }
        }
        extracted.close().map_err(StorageError::base(group))?;
    }
    if removed == 0 {
        transaction.abort().map_err(StorageError::base(group))?;
        base.keep_blocks(blocks);
        return Ok(false);
    }
    store_tags(base, &transaction, &tags)?;
    base.commit(transaction)?;
    blocks.touch_range(relation, lo, hi);
    base.keep_blocks(blocks);
    publish(base.view()?, tags);
    Ok(removed == ROWS_PER_TRANSACTION)
}

/// Visits stale keys that the oldest snapshot has passed. Says whether there may be more.
pub(crate) fn sweep(base: &Base, rules: &Rules<'_>, publish: Publish<'_>) -> Result<bool, StorageError> {
    let group = base.group;
    let transaction = base.begin()?;
    let mut keys = Vec::new();
    {
        let mut stale = transaction.open_table(STALE).map_err(StorageError::base(group))?;
        let end = rules.oldest.0.saturating_add(1).to_be_bytes();
        let mut passed = stale.extract_from_if::<&[u8], _>(..&end[..], |_, ()| true).map_err(StorageError::base(group))?;
        for entry in passed.by_ref().take(STALE_PER_SWEEP) {
            let (key, _) = entry.map_err(StorageError::base(group))?;
            keys.push(key.value().get(8..).ok_or_else(|| corrupt(base, "a stale key without timestamp"))?.to_vec());
        }
        passed.close().map_err(StorageError::base(group))?;
    }
    if keys.is_empty() {
        transaction.abort().map_err(StorageError::base(group))?;
        return Ok(false);
    }
    let more = keys.len() == STALE_PER_SWEEP;
    keys.sort_unstable();
    keys.dedup();
    let view = base.view()?;
    let mut blocks = base.take_blocks();
    let mut merge = Merge::new(base, &view, &transaction, rules, &mut blocks)?;
    for key in keys {
        let (relation, key) = key.split_first_chunk::<4>().ok_or_else(|| corrupt(base, "a stale key without relation"))?;
        merge.key(RelationId(u32::from_be_bytes(*relation)), key, &mut Vec::new())?;
    }
    let tags = merge.finish(&transaction)?;
    drop(view);
    base.commit(transaction)?;
    base.keep_blocks(blocks);
    publish(base.view()?, tags);
    Ok(more)
}

fn store_tags(base: &Base, transaction: &WriteTransaction, tags: &TagChanges) -> Result<(), StorageError> {
    let group = base.group;
    let mut table = transaction.open_table(TAGGED).map_err(StorageError::base(group))?;
    for (id, change) in tags.iter().filter(|(_, change)| **change != 0) {
        let before = table.get(id.0).map_err(StorageError::base(group))?.map_or(0, |count| count.value());
        match before.saturating_add_signed(*change) {
            0 => table.remove(id.0).map(drop).map_err(StorageError::base(group))?,
            count => table.insert(id.0, count).map(drop).map_err(StorageError::base(group))?,
        }
    }
    Ok(())
}

fn corrupt(base: &Base, what: &str) -> StorageError {
    StorageError::base::<redb::Error>(base.group)(redb::Error::Corrupted(what.to_owned()))
}

/// One version of the key at hand.
#[derive(Debug)]
struct Version {
    written: Timestamp,
    tag: Option<TransactionId>,
    value: Option<Vec<u8>>,
    /// From the base; otherwise from the memtable.
    stored: bool,
}

/// What a version has become.
enum Fate {
    Committed(Timestamp),
    Aborted,
    Undecided,
}

impl Rules<'_> {
    fn fate(&self, version: &Version) -> Fate {
        let Some(transaction) = version.tag else {
            return Fate::Committed(version.written);
        };
        let Some(entry) = self.transactions.entry(transaction) else { return Fate::Undecided };
        let is_undone = entry.undone.span_of(version.written).is_some_and(|span| span.noted <= self.position);
        match entry.state {
            State::Aborted { decided } if decided <= self.position => Fate::Aborted,
            State::Open | State::Prepared { .. } | State::Committed { .. } if is_undone => Fate::Aborted,
            State::Committed { at, decided } if decided <= self.position => Fate::Committed(at),
            State::Open | State::Prepared { .. } | State::Committed { .. } | State::Aborted { .. } => Fate::Undecided,
        }
    }
}

/// The merge of keys, in order, into one transaction.
struct Merge<'a> {
    base: &'a Base,
    rules: &'a Rules<'a>,
    stored: Stored<'a>,
    versions: Table<'a, VersionKey, &'static [u8]>,
    stale: Table<'a, &'static [u8], ()>,
    tags: TagChanges,
    newest: Timestamp,
    buffer: Vec<u8>,
    blocks: &'a mut Survivors,
}

impl<'a> Merge<'a> {
    fn new(
        base: &'a Base,
        view: &'a BaseView,
        transaction: &'a WriteTransaction,
        rules: &'a Rules<'a>,
        blocks: &'a mut Survivors,
    ) -> Result<Self, StorageError> {
        let group = base.group;
        Ok(Self {
            base,
            rules,
            stored: Stored { view, empty: view.len()? == 0, rows: None, head: None },
            versions: transaction.open_table(VERSIONS).map_err(StorageError::base(group))?,
            stale: transaction.open_table(STALE).map_err(StorageError::base(group))?,
            tags: TagChanges::new(),
            newest: Timestamp::MIN,
            buffer: Vec::new(),
            blocks,
        })
    }

    /// Merges a key's fresh versions (newest first; emptied) with the stored ones.
    fn key(&mut self, relation: RelationId, key: &[u8], fresh: &mut Vec<Version>) -> Result<(), StorageError> {
        self.stored.versions_of(relation, key, fresh)?;
        // What else changes is in no block: versions that no snapshot needs, and those that are not decided. Losing its tag changes no row.
        if fresh.iter().any(|version| !version.stored) {
            self.blocks.touch(relation, key);
        }
        // Stable: of equal timestamps the memtable's version comes first.
        fresh.sort_by_key(|version| std::cmp::Reverse(version.written));
        let floor = self.floor(fresh);
        let mut kept = Kept::default();
        // Where the version before came from and went to.
        let mut before: Option<(Timestamp, Option<Timestamp>)> = None;
        let mut last_committed = None;
        for (index, version) in fresh.iter().enumerate() {
            let shadowed = before.is_some_and(|(written, _)| written == version.written);
            let target = match self.rules.fate(version) {
                _ if shadowed => None,
                Fate::Aborted => None,
                Fate::Undecided => Some((version.written, version.tag)),
                Fate::Committed(at) => {
                    let needed = floor.as_ref().is_none_or(|floor| index < floor.index || (index == floor.index && floor.needed));
                    let repeated = last_committed.replace(at) == Some(at);
                    (needed && !repeated).then_some((at, None))
                }
            };
            if let Some((at, tag)) = target {
                kept.add(at, tag.is_some(), version.value.is_none());
            }
            let overwritten = shadowed && before.is_some_and(|(_, target)| target == Some(version.written));
            self.store(relation, key, version, target, overwritten)?;
            before = Some((version.written, target.map(|(at, _)| at).or(before.filter(|_| shadowed).and_then(|(_, target)| target))));
        }
        if let Some(newest) = kept.stale_from() {
            self.note_stale(relation, key, newest, kept.tagged)?;
        }
        fresh.clear();
        Ok(())
    }

    /// The newest committed version at or below the oldest snapshot: nobody sees what is behind it.
    fn floor(&self, versions: &[Version]) -> Option<Floor> {
        let is_floor = |version: &Version| matches!(self.rules.fate(version), Fate::Committed(at) if at <= self.rules.oldest);
        let index = versions.iter().position(is_floor)?;
        // A deletion with nothing behind it says nothing. An undecided version behind it cannot be, but would need it.
        let behind = versions[index + 1..].iter().any(|version| matches!(self.rules.fate(version), Fate::Undecided));
        Some(Floor { index, needed: versions[index].value.is_some() || behind })
    }

    /// Writes one version as `target` says, and removes it from where it was (unless another was written over it).
    fn store(
        &mut self,
        relation: RelationId,
        key: &[u8],
        version: &Version,
        target: Option<(Timestamp, Option<TransactionId>)>,
        overwritten: bool,
    ) -> Result<(), StorageError> {
        let group = self.base.group;
        if version.stored {
            if let Some(tag) = version.tag {
                *self.tags.entry(tag).or_default() -= 1;
            }
            let stays = target == Some((version.written, version.tag));
            if !stays && !overwritten {
                let place = VersionKey::encode(relation, key, version.written);
                self.versions.remove(&*place).map_err(StorageError::base(group))?;
            }
            if stays && version.tag.is_none() {
                return Ok(());
            }
        }
        if let Some((at, tag)) = target {
            if let Some(tag) = tag {
                *self.tags.entry(tag).or_default() += 1;
            }
            self.newest = self.newest.max(at);
            if !(version.stored && at == version.written && tag == version.tag) {
                self.buffer.clear();
                Content { tag, value: version.value.as_deref() }.encode(&mut self.buffer);
                let place = VersionKey::encode(relation, key, at);
                self.versions.insert(&*place, self.buffer.as_slice()).map_err(StorageError::base(group))?;
            }
        }
        Ok(())
    }

    fn note_stale(&mut self, relation: RelationId, key: &[u8], newest: Timestamp, tagged: bool) -> Result<(), StorageError> {
        // What is undecided now is looked at again when the oldest snapshot has moved on.
        let from = if tagged { newest.max(Timestamp(self.rules.oldest.0.saturating_add(1))) } else { newest };
        self.buffer.clear();
        self.buffer.extend_from_slice(&from.0.to_be_bytes());
        self.buffer.extend_from_slice(&relation.0.to_be_bytes());
        self.buffer.extend_from_slice(key);
        self.stale.insert(self.buffer.as_slice(), ()).map_err(StorageError::base(self.base.group))?;
        Ok(())
    }

    /// Writes what the merged keys add up to.
    fn finish(self, transaction: &WriteTransaction) -> Result<TagChanges, StorageError> {
        let group = self.base.group;
        drop(self.versions);
        drop(self.stale);
        store_tags(self.base, transaction, &self.tags)?;
        if self.newest > self.stored.view.newest {
            let mut state = transaction.open_table(STATE).map_err(StorageError::base(group))?;
            state.insert(NEWEST, self.newest.0).map_err(StorageError::base(group))?;
        }
        Ok(self.tags)
    }
}

struct Floor {
    index: usize,
    /// Whether it is itself needed.
    needed: bool,
}

/// What a key keeps.
#[derive(Default)]
struct Kept {
    versions: usize,
    /// The newest one, and whether it is a deletion.
    newest: Option<(Timestamp, bool)>,
    tagged: bool,
}

impl Kept {
    fn add(&mut self, at: Timestamp, tagged: bool, deleted: bool) {
        self.versions += 1;
        self.newest.get_or_insert((at, deleted));
        self.tagged |= tagged;
    }

    /// If the key will need less in time: its newest timestamp.
    fn stale_from(&self) -> Option<Timestamp> {
        self.newest.filter(|(_, deleted)| self.versions > 1 || *deleted || self.tagged).map(|(at, _)| at)
    }
}

/// Reads the stored versions of keys that come in order.
struct Stored<'a> {
    view: &'a BaseView,
    empty: bool,
    rows: Option<Range<'static, VersionKey, &'static [u8]>>,
    head: Option<(AccessGuard<'static, VersionKey>, AccessGuard<'static, &'static [u8]>)>,
}

impl Stored<'_> {
    /// Adds the versions of a key, newest first.
    fn versions_of(&mut self, relation: RelationId, key: &[u8], out: &mut Vec<Version>) -> Result<(), StorageError> {
        if self.empty {
            return Ok(());
        }
        self.go_to(relation, key)?;
        while let Some((encoded, content)) = &self.head {
            let encoded = encoded.value();
            if VersionKey::relation(encoded) != relation || VersionKey::key(encoded) != key {
                break;
            }
            let content = Content::decode(content.value()).ok_or_else(|| {
                StorageError::base::<redb::Error>(self.view.group)(redb::Error::Corrupted("a version with unknown content".to_owned()))
            })?;
            let written = VersionKey::timestamp(encoded);
            out.push(Version { written, tag: content.tag, value: content.value.map(<[u8]>::to_vec), stored: true });
            self.step()?;
        }
        Ok(())
    }

    /// Goes to the first version at or behind a key, by steps if it is near.
    fn go_to(&mut self, relation: RelationId, key: &[u8]) -> Result<(), StorageError> {
        if self.rows.is_some() {
            for _ in 0..STEPS_BEFORE_SEEK {
                let reached = self.head.as_ref().is_none_or(|(encoded, _)| {
                    let encoded = encoded.value();
                    (VersionKey::relation(encoded), VersionKey::key(encoded)) >= (relation, key)
                });
                if reached {
                    return Ok(());
                }
                self.step()?;
            }
        }
        let place = VersionKey::encode(relation, key, Timestamp::MAX);
        self.rows = Some(self.view.versions.range::<&[u8]>(&*place..).map_err(StorageError::base(self.view.group))?);
        self.step()
    }

    fn step(&mut self) -> Result<(), StorageError> {
        self.head = match &mut self.rows {
            Some(rows) => rows.next().transpose().map_err(StorageError::base(self.view.group))?,
            None => None,
        };
        Ok(())
    }
}
