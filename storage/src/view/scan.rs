//! Scans: a merge of the layers, key by key.
//!
//! Each layer is a sorted stream of versions. The merge takes the stream with the first version (of equal ones, that of the newest layer),
//! and decides row by row: forward, versions of a key come from new to old and the first one that the reader sees ends the key;
//! backward, they come from old to new, and the last one that the reader sees is kept until the key ends. Rows of the base are lent to the visitor from
//! redb's page; nothing is copied.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use common::ids::Timestamp;
use redb::{AccessGuard, Range};

use super::{Layers, Reader, ScanEnd, ScanRange, Verdict, Visitor, content_of};
use crate::base::{self, BaseView};
use crate::error::StorageError;
use crate::memtable::{Dropped, Held, Memtable};
use crate::version::{Content, VersionKey};

/// A version that a stream stands at.
pub(super) enum Version<'a> {
    Memory(Held<'a>),
    Base { key: AccessGuard<'static, VersionKey>, content: AccessGuard<'static, &'static [u8]> },
}

impl Version<'_> {
    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Memory(held) => held.key().key(),
            Self::Base { key, .. } => VersionKey::key(key.value()),
        }
    }

    /// `None` is a deletion.
    pub(super) fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Memory(held) => held.key().content().value,
            Self::Base { content, .. } => Content::decode(content.value()).and_then(|content| content.value),
        }
    }

    pub(super) fn written(&self) -> Timestamp {
        match self {
            Self::Memory(held) => held.key().at(),
            Self::Base { key, .. } => VersionKey::timestamp(key.value()),
        }
    }
}

/// One layer's versions in the range, in the scan's order.
pub(super) struct Stream<'a> {
    head: Option<Version<'a>>,
    base: Option<(&'a BaseView, Range<'static, VersionKey, &'static [u8]>)>,
    /// The drops of newer layers: these versions are gone.
    hidden: Vec<Arc<Vec<Dropped>>>,
}

impl<'a> Stream<'a> {
    fn memory(memtable: &'a Memtable, range: &ScanRange<'_>, hidden: Vec<Arc<Vec<Dropped>>>) -> Result<Self, StorageError> {
        let first = if range.reverse {
            memtable.seek_back(range.relation, range.hi)
        } else {
            memtable.seek(range.relation, range.lo, Timestamp::MAX)
        };
        let mut stream = Self { head: first.filter(|held| contains(range, held)).map(Version::Memory), base: None, hidden };
        stream.skip_hidden(range)?;
        Ok(stream)
    }

    fn base(base: &'a BaseView, range: &ScanRange<'_>, hidden: Vec<Arc<Vec<Dropped>>>) -> Result<Self, StorageError> {
        let (lower, upper) = base::bounds(range.relation, range.lo, range.hi);
        let bounds = (Bound::Included(&*lower), upper.as_ref().map(|upper| &**upper));
        let rows = base.versions.range::<&[u8]>(bounds).map_err(StorageError::base(base.group))?;
        let mut stream = Self { head: None, base: Some((base, rows)), hidden };
        stream.step(range)?;
        stream.skip_hidden(range)?;
        Ok(stream)
    }

    /// Goes one version on; hands back the one that it stood at.
    fn next(&mut self, range: &ScanRange<'_>) -> Result<Option<Version<'a>>, StorageError> {
        let last = self.step(range)?;
        if !self.hidden.is_empty() {
            self.skip_hidden(range)?;
        }
        Ok(last)
    }

    #[inline]
    fn step(&mut self, range: &ScanRange<'_>) -> Result<Option<Version<'a>>, StorageError> {
        let next = match (&mut self.base, &self.head) {
            (Some((base, rows)), _) => {
                let next = if range.reverse { rows.next_back() } else { rows.next() };
                next.transpose().map_err(StorageError::base(base.group))?.map(|(key, content)| Version::Base { key, content })
            }
            (None, Some(Version::Memory(held))) => {
                let next = if range.reverse { held.prev() } else { held.next() };
                next.filter(|held| contains(range, held)).map(Version::Memory)
            }
            (None, _) => None,
        };
        Ok(std::mem::replace(&mut self.head, next))
    }

    fn skip_hidden(&mut self, range: &ScanRange<'_>) -> Result<(), StorageError> {
        while let Some(head) = &self.head
            && self.hidden.iter().flat_map(|drops| drops.iter()).any(|dropped| dropped.covers(range.relation, head.key()))
        {
            self.step(range)?;
        }
        Ok(())
    }
}

fn contains(range: &ScanRange<'_>, held: &Held<'_>) -> bool {
    let row = held.key();
    // The other end is where the stream began.
    row.relation() == range.relation && if range.reverse { row.key() >= range.lo } else { range.hi.is_none_or(|hi| row.key() < hi) }
}

/// The streams of all layers that have something in the range, newest layer first.
fn streams<'a>(layers: &'a Layers, range: &ScanRange<'_>) -> Result<Vec<Stream<'a>>, StorageError> {
    let (mut streams, hidden) = memory_streams(layers, range)?;
    if let Some(base) = &layers.base {
        streams.push(Stream::base(base, range, hidden)?);
    }
    streams.retain(|stream| stream.head.is_some());
    Ok(streams)
}

type Drops = Vec<Arc<Vec<Dropped>>>;

/// The streams of the memtables, and what they hide of the base.
pub(super) fn memory_streams<'a>(layers: &'a Layers, range: &ScanRange<'_>) -> Result<(Vec<Stream<'a>>, Drops), StorageError> {
    let mut streams = Vec::with_capacity(3);
    let mut hidden = Vec::new();
    // Drops are read before rows: a row written after the drop is then not hidden by it.
    let drops = layers.active.drops();
    streams.push(Stream::memory(&layers.active, range, Vec::new())?);
    if !drops.is_empty() {
        hidden.push(drops);
    }
    if let Some(frozen) = &layers.frozen {
        streams.push(Stream::memory(frozen, range, hidden.clone())?);
        let drops = frozen.drops();
        if !drops.is_empty() {
            hidden.push(drops);
        }
    }
    streams.retain(|stream| stream.head.is_some());
    Ok((streams, hidden))
}

/// The stream whose version comes first. Of equal versions, the newest layer's is the last that was written: it comes first forward
/// and last backward, so that it decides.
fn first(streams: &[Stream<'_>], reverse: bool) -> Option<usize> {
    if let [only] = streams {
        return only.head.is_some().then_some(0);
    }
    let mut best: Option<(usize, &Version<'_>)> = None;
    for (index, stream) in streams.iter().enumerate() {
        let Some(head) = &stream.head else { continue };
        let better = best.is_none_or(|(_, best)| {
            let order = head.key().cmp(best.key()).then_with(|| best.written().cmp(&head.written()));
            if reverse { order.is_ge() } else { order.is_lt() }
        });
        if better {
            best = Some((index, head));
        }
    }
    best.map(|(index, _)| index)
}

/// See [`super::View::scan`].
pub(super) fn scan(layers: &Layers, range: ScanRange<'_>, reader: Reader<'_>, visit: &mut Visitor<'_>) -> Result<ScanEnd, StorageError> {
    if range.hi.is_some_and(|hi| hi <= range.lo) {
        return Ok(ScanEnd::Done);
    }
    let streams = streams(layers, &range)?;
    if range.reverse {
        backward(streams, &range, reader, visit)
    } else {
        forward(streams, &range, reader, &mut |version, at| lend(version, at, visit))
    }
}

fn judge(version: &Version<'_>, base: Option<&BaseView>, reader: &mut Reader<'_>) -> Result<Verdict, StorageError> {
    let tag = match (version, base) {
        (Version::Memory(held), _) => held.key().content().tag,
        (Version::Base { content, .. }, Some(base)) => content_of(base, content.value())?.tag,
        (Version::Base { .. }, None) => None,
    };
    Ok(reader.judge(version.written(), tag))
}

/// Lends a row to the visitor; deletions are not rows.
#[inline]
fn lend(version: &Version<'_>, at: Timestamp, visit: &mut Visitor<'_>) -> ControlFlow<()> {
    let content = match version {
        Version::Memory(held) => held.key().content(),
        Version::Base { content, .. } => Content::decode(content.value()).expect("judged before"),
    };
    content.value.map_or(ControlFlow::Continue(()), |value| visit(version.key(), at, value))
}

/// Calls `decided` with the version that each key has for the reader, deletions included.
#[inline]
pub(super) fn forward(
    mut streams: Vec<Stream<'_>>,
    range: &ScanRange<'_>,
    mut reader: Reader<'_>,
    visit: &mut impl FnMut(&Version<'_>, Timestamp) -> ControlFlow<()>,
) -> Result<ScanEnd, StorageError> {
    // The version that decided its key: the rest of the key's versions are passed over.
    let mut decided: Option<Version<'_>> = None;
    while let Some(index) = first(&streams, false) {
        let base = streams[index].base.as_ref().map(|(base, _)| *base);
        let Some(version) = streams[index].next(range)? else { break };
        if decided.as_ref().is_some_and(|decided| decided.key() == version.key()) {
            continue;
        }
        match judge(&version, base, &mut reader)? {
            Verdict::Skip => {}
            Verdict::Undecided(transaction) => return Ok(ScanEnd::Undecided(transaction)),
            Verdict::Visible(at) => {
                if visit(&version, at).is_break() {
                    return Ok(ScanEnd::Stopped);
                }
                decided = Some(version);
            }
        }
        if streams[index].head.is_none() {
            streams.remove(index);
        }
    }
    Ok(ScanEnd::Done)
}

fn backward(
    mut streams: Vec<Stream<'_>>,
    range: &ScanRange<'_>,
    mut reader: Reader<'_>,
    visit: &mut Visitor<'_>,
) -> Result<ScanEnd, StorageError> {
    // The newest version so far, of the key that the merge stands at, that the reader sees or must wait for.
    let mut candidate: Option<(Version<'_>, Verdict)> = None;
    loop {
        let index = first(&streams, true);
        let next = match index {
            Some(index) => {
                let base = streams[index].base.as_ref().map(|(base, _)| *base);
                streams[index].next(range)?.map(|version| (version, base))
            }
            None => None,
        };
        let ended = match (&candidate, &next) {
            (Some((candidate, _)), Some((version, _))) => candidate.key() != version.key(),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if ended && let Some((version, verdict)) = candidate.take() {
            match verdict {
                Verdict::Undecided(transaction) => return Ok(ScanEnd::Undecided(transaction)),
                Verdict::Visible(at) if lend(&version, at, visit).is_break() => return Ok(ScanEnd::Stopped),
                Verdict::Visible(_) | Verdict::Skip => {}
            }
        }
        let Some((version, base)) = next else { return Ok(ScanEnd::Done) };
        let verdict = judge(&version, base, &mut reader)?;
        if verdict != Verdict::Skip {
            candidate = Some((version, verdict));
        }
        if let Some(index) = index.filter(|index| streams[*index].head.is_none()) {
            streams.remove(index);
        }
    }
}
